//! Predictions of a folder of images, written as files that other programs read.

use std::collections::HashSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use image::{ImageBuffer, Luma};
use npyz::WriterBuilder;
use serde::Serialize;

use crate::domain::prediction::Prediction;
use crate::domain::scores::{Moments, Scores};
use crate::domain::settings::Settings;
use crate::engine::EngineError;
use crate::engine::passes::image_seed;
use crate::project::pixels;
use crate::worker::Phase;
use crate::worker::engine::Bench;
use crate::worker::round::{PoolImage, for_each_image, moments};

/// What a prediction of a folder needs to know.
pub struct PredictPlan {
    /// The active model's folder.
    pub model: PathBuf,
    /// Settings, the passes among them.
    pub settings: Settings,
    /// The images, in name order.
    pub images: Vec<PoolImage>,
    /// Where the results go.
    pub out: PathBuf,
    /// Whether to write the passes themselves.
    pub npy: bool,
    /// Class colours of the masks, class 1 first.
    pub palette: Vec<[u8; 3]>,
}

/// One image's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Predicted {
    /// The image's file name.
    pub image: String,
    /// What its files' names begin with.
    pub stem: String,
    /// Its scores.
    pub scores: Scores,
    /// The probability that 65535 stands for in `<stem>.mean.png`.
    pub mean_scale: f64,
    /// The variance that 65535 stands for in `<stem>.variance.png`.
    pub variance_scale: f64,
}

/// Predicts and writes every image; also returns what could not be read.
pub fn run(bench: &mut Bench, plan: PredictPlan) -> Result<(Vec<Predicted>, Vec<String>), EngineError> {
    std::fs::create_dir_all(&plan.out).map_err(EngineError::file(&plan.out))?;
    let model = bench.model(&plan.model)?;
    let (mut made, mut problems) = (Vec::new(), Vec::new());
    let mut stems = HashSet::new();
    let (size, is_grey) = (model.frame_size(), model.input().channels == 1);
    if plan.npy && size.is_none() {
        let reason = "the passes of tiles are blended and have no one size: leave --npy out";
        return Err(EngineError::Refused(reason.to_owned()));
    }
    let read = |image: &PoolImage| pixels::frame(&image.path, size, is_grey);
    for_each_image(bench, &plan.images, read, Phase::Scoring, &mut problems, |bench, image, input| {
        let stem = image.path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Images may differ in their ending or folder only: then a later one's files carry as much more of the path.
        let folders = image.path.ancestors().skip(1).filter_map(|folder| folder.file_name());
        let longer = folders.scan(image.name.clone(), |name, folder| {
            let now = name.clone();
            *name = format!("{}_{name}", folder.to_string_lossy());
            Some(now)
        });
        let stem = [stem].into_iter().chain(longer).find(|stem| stems.insert(stem.clone())).unwrap_or_default();
        let moments = moments(&model, &input, &plan.settings, image.id, || bench.breathe())?;
        let at = |ending: &str| plan.out.join(format!("{stem}.{ending}"));
        write_map(&at("mean.png"), &moments, &moments.foreground(), 1.0)?;
        let variance_scale = moments.variance.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        write_map(&at("variance.png"), &moments, &moments.variance, variance_scale)?;
        let (width, height) = pixels::dimensions(&image.path).map_err(|e| EngineError::Refused(e.to_string()))?;
        let prediction = Arc::new(Prediction::of(&moments));
        pixels::write_label(&at("mask.png"), &prediction.mask(0.5, width, height), &plan.palette)
            .map_err(|e| EngineError::Refused(e.to_string()))?;
        if plan.npy {
            let seed = image_seed(plan.settings.seed, image.id as u64);
            let stack = model.stack(&input.bytes, plan.settings.passes, seed)?;
            write_npy(&at("passes.npy"), &stack, &plan.settings, &moments)?;
        }
        made.push(Predicted {
            image: image.name.clone(),
            stem,
            scores: prediction.scores,
            mean_scale: 1.0,
            variance_scale: f64::from(variance_scale),
        });
        Ok(())
    })?;
    Ok((made, problems.into_iter().map(|(_, reason)| reason).collect()))
}

/// A map of the network's size as 16-bit grey, 65535 standing for `scale`.
fn write_map(path: &Path, moments: &Moments, values: &[f32], scale: f32) -> Result<(), EngineError> {
    let words = values.iter().map(|v| (v / scale * 65535.0).round() as u16).collect();
    let map: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(moments.width as u32, moments.height as u32, words).expect("a value for each pixel");
    map.save(path).map_err(|e| EngineError::File(path.to_owned(), std::io::Error::other(e)))
}

/// The passes, `[T, rows, columns]`; with several classes `[T, classes, rows, columns]`.
fn write_npy(path: &Path, stack: &[f32], settings: &Settings, moments: &Moments) -> Result<(), EngineError> {
    let mut shape = vec![settings.passes as u64, moments.height as u64, moments.width as u64];
    if moments.classes > 1 {
        shape.insert(1, moments.classes as u64);
    }
    let write = || {
        let file = BufWriter::new(File::create(path)?);
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(&shape).writer(file).begin_nd()?;
        writer.extend(stack.iter().copied())?;
        writer.finish()
    };
    write().map_err(EngineError::file(path))
}
