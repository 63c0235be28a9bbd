//! Predictions of a folder of images, written as files that other programs read.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, bounded, unbounded};
use image::{ImageBuffer, Luma};
use npyz::WriterBuilder;
use serde::Serialize;

use crate::domain::prediction::Prediction;
use crate::domain::scores::{Moments, Scores};
use crate::domain::settings::Settings;
use crate::domain::size::Size;
use crate::domain::study::{Class, ImageId};
use crate::engine::EngineError;
use crate::project::import::OnProgress;
use crate::project::import::pairing::stem;
use crate::project::{ImportPlan, ImportRules, ProjectError};
use crate::raster;
use crate::worker::Phase;
use crate::worker::context::{JobContext, POLL};
use crate::worker::failure::failure;
use crate::worker::images::for_each_image;
use crate::worker::pool_image::PoolImage;

/// The inputs for predicting a folder.
pub struct PredictPlan {
    /// The active model's folder.
    pub model: PathBuf,
    /// The settings, including the number of passes.
    pub settings: Settings,
    /// The folder of the images.
    pub folder: PathBuf,
    /// The folder for the results.
    pub out: PathBuf,
    /// Whether to write the passes themselves.
    pub npy: bool,
    /// The project's classes, class 1 first.
    pub classes: Vec<Class>,
}

/// One image's result.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Predicted {
    /// The image's file name.
    pub image: String,
    /// What its files' names begin with.
    pub stem: String,
    /// Its scores.
    pub scores: Scores,
    /// What `<stem>.mean.png` is the probability of: the class or, if there are several, any of them.
    pub mean_of: String,
    /// The probability that 65535 stands for in `<stem>.mean.png`.
    pub mean_scale: f64,
    /// The variance that 65535 stands for in `<stem>.variance.png`.
    pub variance_scale: f64,
}

/// Predicts every image and writes the results. Also returns the reasons for files that could not be read.
pub fn run(context: &mut JobContext, plan: PredictPlan) -> Result<(Vec<Predicted>, Vec<String>), EngineError> {
    let (images, left_out) = find_images(context, &plan.folder)?;
    std::fs::create_dir_all(&plan.out).map_err(EngineError::file(&plan.out))?;
    let model = context.model(&plan.model)?;
    let (mut made, mut problems) = (Vec::new(), Vec::new());
    let spec = model.frame_spec();
    if plan.npy && spec.size.is_none() {
        let reason = "single passes cannot be written when images are predicted in tiles; leave them out";
        return Err(EngineError::Other(reason.to_owned().into()));
    }
    let stems: HashMap<ImageId, String> = stems(&images, &plan.folder);
    let palette: Vec<[u8; 3]> = plan.classes.iter().map(|class| class.colour).collect();
    let scores = plan.out.join("scores.csv");
    check_own(&plan.out, &scores, stems.values())?;
    let read = move |image: &PoolImage| Ok(raster::frame(&raster::read(&image.path, image.page)?, &spec));
    for_each_image(context, &images, read, Phase::Scoring, &mut problems, |context, image, input| {
        let stem = stems[&image.id].clone();
        let moments = model.predict(&input, &plan.settings, image.id.0 as u64, || context.check_cancelled())?;
        let at = |ending: &str| plan.out.join(format!("{stem}.{ending}"));
        let size = Size::new(image.width, image.height);
        let prediction = Arc::new(Prediction::of(&moments));
        let mask = prediction.mask(0.5, size.width, size.height);
        let variance = moments.variance_at(size.width, size.height);
        let variance_scale = variance.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        context.on_files(|| {
            write_map(&at("mean.png"), size, &moments.foreground_at(size.width, size.height), 1.0)?;
            write_map(&at("variance.png"), size, &variance, variance_scale)?;
            raster::write_label(&at("mask.png"), &mask, &palette).map_err(|e| EngineError::Other(e.to_string().into()))
        })?;
        // The project may have classes that the network does not know.
        let known = plan.classes.iter().take(moments.classes).map(|class| class.name.as_str());
        if plan.npy {
            let stack = model.stack(&input.values, model.sampling(&plan.settings, image.id.0 as u64))?;
            write_npy(&at("passes.npy"), &stack, &plan.settings, &moments)?;
        }
        made.push(Predicted {
            image: image.name.clone(),
            stem,
            scores: prediction.scores,
            mean_of: known.collect::<Vec<_>>().join(" or "),
            mean_scale: 1.0,
            variance_scale: f64::from(variance_scale),
        });
        Ok(())
    })?;
    write_scores(&scores, &made)?;
    Ok((made, left_out.into_iter().chain(problems.into_iter().map(|(_, reason)| reason)).collect()))
}

/// Refuses to replace files that are not results of this program: a table of scores with other columns, a mask that is not
/// a label, or maps and passes where there is no table of scores of this program.
fn check_own<'a>(out: &Path, scores: &Path, stems: impl Iterator<Item = &'a String>) -> Result<(), EngineError> {
    let foreign = |path: &Path| {
        let path = path.display();
        let reason =
            format!("{path} exists and was not written by this program; choose another folder for the results");
        EngineError::Other(reason.into())
    };
    let is_own = match std::fs::read(scores) {
        Ok(bytes) if !bytes.starts_with(SCORES[..EARLIER].join(",").as_bytes()) => return Err(foreign(scores)),
        read => read.is_ok(),
    };
    for stem in stems {
        let at = |ending: &str| out.join(format!("{stem}.{ending}"));
        let mask = at("mask.png");
        if mask.exists() && !raster::header(&mask).is_ok_and(|header| header.is_label) {
            return Err(foreign(&mask));
        }
        let others = ["mean.png", "variance.png", "passes.npy"].map(at);
        if let Some(other) = others.iter().find(|path| !is_own && !mask.exists() && path.exists()) {
            return Err(foreign(other));
        }
    }
    Ok(())
}

/// [`images_of`] on a thread of its own, so that the job can be cancelled and shows progress while headers are read.
fn find_images(context: &mut JobContext, folder: &Path) -> Result<(Vec<PoolImage>, Vec<String>), EngineError> {
    let mut progress = context.begin(Phase::Reading, 0);
    let begun = Instant::now();
    let ((report, reports), (answer, answers)) = (unbounded(), bounded(1));
    let folder = folder.to_owned();
    std::thread::spawn(move || {
        // After a cancel, nobody receives these.
        let found = images_of(&folder, &|done, total| {
            let _ = report.send((done, total));
        });
        let _ = answer.send(found);
    });
    loop {
        match answers.recv_timeout(POLL) {
            Ok(found) => return found.map_err(|error| EngineError::Other(failure(&error.into()))),
            Err(RecvTimeoutError::Timeout) => {
                (progress.done, progress.total) = reports.try_iter().last().unwrap_or((progress.done, progress.total));
                progress.elapsed_s = context.worked(begun);
                context.between_batches(&progress)?;
            }
            Err(RecvTimeoutError::Disconnected) => {
                return Err(EngineError::Other("the images could not be read: internal error".to_owned().into()));
            }
        }
    }
}

/// The images of a folder in order of name, and the reasons for files that cannot be read.
fn images_of(folder: &Path, on_progress: OnProgress) -> Result<(Vec<PoolImage>, Vec<String>), ProjectError> {
    let plan = ImportPlan::read(folder, None, None, &ImportRules::default(), on_progress)?;
    let questions = plan.questions();
    if !questions.is_empty() {
        return Err(ProjectError::Unsettled(questions));
    }
    let named = plan.images.images.iter().zip(1..).map(|(image, id)| PoolImage {
        id: ImageId(id),
        name: match &image.stack {
            Some((stack, slice)) => format!("{stack} [{}]", slice + 1),
            None => image.path.display().to_string(),
        },
        path: plan.images.folder.join(&image.path),
        page: image.page,
        width: image.width,
        height: image.height,
    });
    Ok((named.collect(), plan.images.left_out.iter().chain(&plan.images.notes).cloned().collect()))
}

/// The stem of the result files for each image: its file name without the extension or, if that is taken, its relative
/// path, followed by a number if that is taken too. For files with several pages, the page number is included.
fn stems(images: &[PoolImage], folder: &Path) -> HashMap<ImageId, String> {
    let mut taken = HashSet::new();
    let mut pages: HashMap<&Path, usize> = HashMap::new();
    images.iter().for_each(|image| *pages.entry(&image.path).or_default() += 1);
    let mut name = |image: &PoolImage| {
        let relative = image.path.strip_prefix(folder).unwrap_or(&image.path);
        let whole = relative.to_string_lossy().replace(['/', '\\'], "_");
        let page = if pages[image.path.as_path()] > 1 { format!("_{:04}", image.page + 1) } else { String::new() };
        let first = [stem(relative), whole.clone()].map(|name| format!("{name}{page}"));
        let numbered = (2..).map(|number| format!("{whole}{page}_{number}"));
        let mut names = first.into_iter().chain(numbered);
        names.find(|name| taken.insert(name.to_lowercase())).expect("numbers do not end")
    };
    images.iter().map(|image| (image.id, name(image))).collect()
}

/// The columns of `scores.csv`: scores as in [`Scores`], then what the maps are ([`Predicted`]).
const SCORES: [&str; 11] = [
    "image",
    "mask",
    "foreground_fraction",
    "variance_sum",
    "variance_edt_sum",
    "variance_edt_mean",
    "entropy_mean",
    "mutual_information_mean",
    "mean_of",
    "mean_scale",
    "variance_scale",
];
/// The number of columns that earlier versions wrote.
const EARLIER: usize = 8;

/// One line for each image: its name, its mask's file, its scores, its maps.
fn write_scores(path: &Path, made: &[Predicted]) -> Result<(), EngineError> {
    let write = || -> csv::Result<()> {
        let mut table = csv::WriterBuilder::new().has_headers(false).from_path(path)?;
        table.write_record(SCORES)?;
        for Predicted { image, stem, scores, mean_of, mean_scale, variance_scale } in made {
            table.serialize((image, format!("{stem}.mask.png"), scores, mean_of, mean_scale, variance_scale))?;
        }
        Ok(table.flush()?)
    };
    write().map_err(|error| EngineError::file(path)(error.into()))
}

/// Writes a map as 16-bit grey, where 65535 stands for `scale`.
fn write_map(path: &Path, size: Size, values: &[f32], scale: f32) -> Result<(), EngineError> {
    let words = values.iter().map(|v| (v / scale * 65535.0).round() as u16).collect();
    let map: ImageBuffer<Luma<u16>, Vec<u16>> =
        ImageBuffer::from_raw(size.width as u32, size.height as u32, words).expect("a value for each pixel");
    map.save(path).map_err(|e| EngineError::File(path.to_owned(), std::io::Error::other(e)))
}

/// Writes the individual passes, `[T, rows, columns]`, or `[T, classes, rows, columns]` with several classes.
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
