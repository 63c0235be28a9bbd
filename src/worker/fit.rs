//! Fits the automatic settings to the study before a round: how images become the network's input, whether the network
//! sees their colours, and along which axes they may be flipped.

use anyhow::{Result, bail};

use crate::domain::fingerprint::{Fingerprint, most_pixels};
use crate::domain::laterality::Laterality;
use crate::domain::mask::Mask;
use crate::domain::settings::{Budget, Channels, Flips, Geometry, Settings};
use crate::domain::size::Size;
use crate::domain::study::{FileState, ImageRecord};
use crate::domain::tiles::FrameSpec;
use crate::engine::EngineError;
use crate::project::{Project, ProjectError};
use crate::raster;

/// Approximate number of pixels of labels, or of images, that are examined, about a second's work. If there are more,
/// an evenly spread subset is used.
const MOST_PIXELS: usize = 1 << 23;
/// Maximum number of images that are checked for colour.
const MOST_IMAGES: usize = 32;
/// Minimum number of images that are checked for colour, however large they are.
const FEWEST_IMAGES: usize = 4;
/// Maximum number of labels that are searched for classes that keep to one side.
const MOST_SIDES: usize = 200;
/// Side to which an image is resized to check it for colour.
const SIDE: usize = 64;
/// A pixel whose channels differ by more than this has colour. Grey images that were stored in colour differ slightly.
const COLOUR: u16 = u16::MAX / 20;

/// The settings, if the device's speed determines the input size of a first round, which they leave open; otherwise
/// `None`.
pub fn depends_on_speed(project: &Project) -> Result<Option<Settings>> {
    let settings = project.settings()?;
    let is_open = settings.geometry == Geometry::Auto && settings.budget == Budget::Seconds;
    Ok((is_open && project.rounds()?.is_empty()).then_some(settings))
}

/// Resolves the automatic settings, and returns notes on what was chosen and why. Geometry and channels are kept from
/// earlier rounds where possible. `pixels_per_s` is the training speed of the device, if it was measured.
pub fn fit(project: &mut Project, settings: &mut Settings, pixels_per_s: Option<f64>) -> Result<Vec<String>> {
    let mut notes = Vec::new();
    let names = project.class_names()?;
    let (mut fingerprint, mut laterality) = (Fingerprint::default(), Laterality::default());
    let (is_measured, has_sides) =
        (settings.geometry == Geometry::Auto, settings.augment_flips == Flips::Auto && names.len() > 1);
    let labelled = if is_measured || has_sides { project.labelled_images(settings)? } else { Vec::new() };
    let rounds = project.rounds()?;
    if is_measured {
        for_labels(project, some(&labelled, usize::MAX, 1), |label| fingerprint.add(label))?;
    }
    if has_sides {
        let step = labelled.len().div_ceil(MOST_SIDES).max(1);
        for_labels(project, labelled.iter().step_by(step), |label| laterality.add(label))?;
    }
    if settings.augment_flips == Flips::Auto {
        let (flips, reasons) = laterality.flips(&names);
        settings.augment_flips = flips;
        notes.extend(reasons);
        let before = rounds
            .last()
            .map(|round| round.settings.augment_flips)
            .filter(|before| ![flips, Flips::Auto].contains(before));
        notes.extend(before.map(|before| {
            format!("mirrored training images: {} now, {} in the last round", flips.word(), before.word())
        }));
    }
    if settings.geometry == Geometry::Auto {
        notes.push(geometry(project, &fingerprint, settings, most_pixels(settings, pixels_per_s))?);
    }
    if settings.channels == Channels::Auto {
        notes.extend(channels(project, settings)?);
    }
    Ok(notes)
}

fn for_labels<'a>(
    project: &Project,
    records: impl Iterator<Item = &'a ImageRecord>,
    mut see: impl FnMut(&Mask),
) -> Result<()> {
    for record in records {
        match project.label(record.id) {
            Ok(label) => see(&label.mask),
            // The round names it.
            Err(ProjectError::DamagedLabel(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// An evenly spread subset of at most `most` images, with about [`MOST_PIXELS`] pixels in total, but of `least` images
/// whatever their size.
fn some(records: &[ImageRecord], most: usize, least: usize) -> impl Iterator<Item = &ImageRecord> {
    let pixels: usize = records.iter().map(|record| record.width * record.height).sum();
    let step = pixels.div_ceil(MOST_PIXELS).min(records.len() / least.max(1));
    records.iter().step_by(step.max(records.len().div_ceil(most)).max(1))
}

/// Chooses the geometry of a project's first round, which later rounds keep. Returns what was chosen and why.
fn geometry(project: &Project, fingerprint: &Fingerprint, settings: &mut Settings, most_pixels: f64) -> Result<String> {
    let last = project.rounds()?.pop();
    // Later rounds are not measured again: what the first one could train, they can.
    let used = last.as_ref().map_or(0, |last| match last.settings.geometry {
        Geometry::Tiles => 2 * last.settings.rows * last.settings.columns,
        Geometry::Auto | Geometry::Resize => last.settings.rows * last.settings.columns,
    });
    let Some(fit) = fingerprint.fit(settings, most_pixels.max(used as f64)) else { bail!(EngineError::NothingToLearn) };
    let Some(last) = last else {
        fit.apply(settings);
        return Ok(fit.why);
    };
    let Settings { geometry, rows, columns, .. } = last.settings;
    if [rows, columns].iter().any(|side| !side.is_multiple_of(settings.input_step())) {
        fit.apply(settings);
        return Ok(format!("{}; {columns} × {rows}, used in earlier rounds, does not suit the network", fit.why));
    }
    (settings.geometry, settings.rows, settings.columns) = (geometry, rows, columns);
    let ratio = (fit.rows * fit.columns) as f64 / (rows * columns) as f64;
    let now = match geometry {
        Geometry::Tiles => format!("tiles of {columns} × {rows}, as in earlier rounds"),
        Geometry::Auto | Geometry::Resize => format!("resized to {columns} × {rows}, as in earlier rounds"),
    };
    if fit.geometry == geometry && (0.5..2.0).contains(&ratio) {
        return Ok(now);
    }
    Ok(format!(
        "{now}; today's labels would suggest another size: {}. To change, set geometry={} rows={} columns={}",
        fit.why,
        fit.geometry.word(),
        fit.rows,
        fit.columns
    ))
}

/// Chooses whether the network sees colours. Returns a note if it sees grey from the first round on, or if it keeps
/// seeing grey although an image has colour.
fn channels(project: &mut Project, settings: &mut Settings) -> Result<Option<String>> {
    if settings.image_channels.len() == 1 {
        settings.channels = Channels::Grey;
        return Ok(None);
    }
    let mut images = project.images()?;
    images.retain(|image| image.file == FileState::Present);
    let range = project.value_range(settings)?;
    let spec = FrameSpec {
        size: Some(Size::new(SIDE, SIDE)),
        is_grey: false,
        channels: settings.image_channels.clone(),
        range,
    };
    let has_colour = |record: &ImageRecord| {
        // One that cannot be read is named by the round, and says nothing of colour.
        let frame = raster::read(&record.path, record.page).map(|raster| raster::frame(&raster, &spec));
        let is_coloured = |pixel: &[u16]| {
            let (low, high) = (pixel.iter().min(), pixel.iter().max());
            high.zip(low).is_some_and(|(high, low)| high - low > COLOUR)
        };
        frame.ok().map(|frame| frame.values.chunks_exact(3).any(is_coloured))
    };
    let (mut seen, mut coloured) = (0, None);
    for record in some(&images, MOST_IMAGES, FEWEST_IMAGES) {
        let Some(is_coloured) = has_colour(record) else { continue };
        seen += 1;
        if is_coloured {
            coloured = Some(record);
            break;
        }
    }
    let before = project.rounds()?.pop().map(|round| round.settings.channels);
    let is_grey = coloured.is_none() && seen > 0;
    settings.channels = before.unwrap_or(if is_grey { Channels::Grey } else { Channels::Rgb });
    Ok(match (settings.channels, before, coloured) {
        (Channels::Grey, None, _) => Some(format!("the network sees grey: none of {seen} images has colour")),
        (Channels::Grey, Some(_), Some(record)) => Some(format!(
            "the network sees grey, as in earlier rounds, but {} has colour. To change, set channels=rgb: training then starts \
             from new weights",
            record.name
        )),
        (Channels::Grey | Channels::Rgb | Channels::Auto, ..) => None,
    })
}
