//! The report's example images: the best and the worst of the validation images, and the most uncertain of the pool.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::imageops::{FilterType, resize};
use image::{ImageFormat, Rgb, RgbImage};

use qualm::domain::mask::Mask;
use qualm::domain::prediction::{Prediction, SampledPrediction, Uncertainty};
use qualm::domain::study::{FileState, ImageId, ImageRecord, Study};
use qualm::project::Project;
use qualm::raster;
use qualm::worker::{Event, Request, Worker};

/// Images of each kind.
const EACH: usize = 3;
/// Width in pixels that an image is scaled to fit.
const WIDTH: f64 = 260.0;
/// How long a prediction may take.
const LIMIT: Duration = Duration::from_secs(600);

/// One image of the report.
pub struct Example {
    /// Its name in the project.
    pub name: String,
    /// Why it is shown.
    pub why: String,
    /// The image with the outlines of the label and of the prediction, and the variance; as data URLs.
    pub pictures: [String; 2],
}

/// The examples; predictions that are not stored are computed.
pub fn of(project: &Project, study: &Study, worker: &Worker) -> Result<Vec<Example>> {
    let Some(active) = study.active_round() else { return Ok(Vec::new()) };
    let mut measured = active.report.validation_images.clone();
    measured.sort_by(|a, b| b.dice.total_cmp(&a.dice));
    let best = measured.iter().take(EACH).map(|found| (found.image.clone(), format!("best, Dice {:.3}", found.dice)));
    let left = measured.len().saturating_sub(EACH).min(EACH);
    let worst = measured.iter().rev().take(left);
    let worst = worst.map(|found| (found.image.clone(), format!("worst, Dice {:.3}", found.dice)));
    let score = study.settings.score;
    let mut pool: Vec<(&ImageRecord, f64)> =
        study.pool().filter_map(|image| Some((image, image.scores?.by(score)))).collect();
    pool.sort_by(|a, b| b.1.total_cmp(&a.1));
    let uncertain = pool.iter().take(EACH);
    let uncertain = uncertain.map(|(image, score)| (image.name.clone(), format!("most uncertain, score {score:.4}")));
    let chosen: Vec<(String, String)> = best.chain(worst).chain(uncertain).collect();
    let mut examples = Vec::new();
    for (name, why) in chosen {
        let record = study.images.iter().find(|image| image.name == name && image.file == FileState::Present);
        // Skip images whose file has been removed.
        let Some(record) = record else { continue };
        let prediction = predicted(worker, record.id)?;
        let label = record.labelled.then(|| project.label(record.id)).transpose()?.map(|label| label.mask);
        examples.push(Example { name, why, pictures: pictures(record, &prediction, label.as_ref())? });
    }
    Ok(examples)
}

fn predicted(worker: &Worker, image: ImageId) -> Result<Arc<Prediction>> {
    worker.ask(Request::Preview(image)).ok().context("the program is busy; try again")?;
    loop {
        let event = worker.wait(LIMIT).context("a prediction did not come")?;
        // Other events do not matter: a read-only project cannot store predictions, but they still arrive.
        if let Event::Predicted(of, prediction) = event {
            if of == image {
                return Ok(prediction);
            }
        } else if let Event::NotPredicted(of, None, failure) = event
            && of == image
        {
            bail!(failure);
        }
    }
}

fn pictures(record: &ImageRecord, prediction: &Arc<Prediction>, label: Option<&Mask>) -> Result<[String; 2]> {
    let picture = raster::picture(&raster::read(&record.path, record.page)?);
    let levels = picture.default_levels(|| picture.auto_levels());
    let rgba = picture.as_rgba(levels);
    let (width, height) = (picture.width, picture.height);
    let pixels = rgba.chunks_exact(4).flat_map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect();
    let image = RgbImage::from_raw(width as u32, height as u32, pixels).context("an image of another size")?;
    let wide = (width as f64).clamp(1.0, WIDTH) as usize;
    let high = ((height * wide) as f64 / width as f64).round().max(1.0) as usize;
    let mut small = resize(&image, wide as u32, high as u32, FilterType::Triangle);
    let found = prediction.mask(0.5, wide, high);
    outline(&mut small, &found, Rgb([0xd5, 0x5e, 0x00]));
    if let Some(label) = label {
        outline(&mut small, &label.resized(wide, high), Rgb([0x56, 0xb4, 0xe9]));
    }
    let at = SampledPrediction::new(prediction.clone(), 0.5, wide, high);
    let top = prediction.plane(Uncertainty::Variance).high.max(f32::MIN_POSITIVE);
    let heat = RgbImage::from_fn(wide as u32, high as u32, |x, y| {
        let share = at.uncertainty(Uncertainty::Variance, x as usize, y as usize) / top;
        let colour = colorous::INFERNO.eval_continuous(f64::from(share.clamp(0.0, 1.0)));
        Rgb([colour.r, colour.g, colour.b])
    });
    Ok([data_url(&small)?, data_url(&heat)?])
}

/// Colours the pixels of a mask that touch another class.
fn outline(image: &mut RgbImage, mask: &Mask, colour: Rgb<u8>) {
    for (x, y) in (0..mask.height()).flat_map(|y| (0..mask.width()).map(move |x| (x, y))) {
        let class = mask.get(x, y);
        let is_border = class.is_some_and(|class| class != 0 && class != 255)
            && [(x + 1, y), (x.wrapping_sub(1), y), (x, y + 1), (x, y.wrapping_sub(1))]
                .into_iter()
                .any(|(x, y)| mask.get(x, y) != class);
        if is_border {
            image.put_pixel(x as u32, y as u32, colour);
        }
    }
}

fn data_url(image: &RgbImage) -> Result<String> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png)?;
    Ok(format!("data:image/png;base64,{}", STANDARD.encode(bytes.into_inner())))
}
