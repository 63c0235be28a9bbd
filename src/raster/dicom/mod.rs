//! DICOM, read one frame at a time, as stored values with the rescale slope and intercept applied.
//!
//! Of the patient data, reading uses only what orders the slices; names and identifiers are never shown.

mod cells;
mod codecs;
mod elements;
mod pixels;
mod segmentation;
mod write;

use std::path::Path;

use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use self::elements::{File, first, fixed, floats, framed, int, text};
pub use self::segmentation::{SegmentFrame, Segmentation};
pub use self::write::{Segment, SegmentationWriter};
use super::{Colour, Format, Header, Plane, Raster, RasterError, Result, SampleType, Samples, Series};
use crate::domain::size::Size;
use crate::raster::memory;

/// Maximum number of pixels that a frame may claim; more mean a damaged header.
const MOST_PIXELS: u64 = 1 << 30;

/// The validated layout of the pixels.
#[derive(Clone, Debug)]
struct Layout {
    rows: usize,
    columns: usize,
    samples_per_pixel: usize,
    bits_allocated: u32,
    bits_stored: u32,
    high_bit: u32,
    is_signed: bool,
    is_planar: bool,
    is_float: bool,
    photometric: String,
    frames: usize,
}

impl Layout {
    fn read(path: &Path, object: &InMemDicomObject, is_float: bool) -> Result<Self> {
        let damaged = |reason: String| RasterError::damaged(path, Format::Dicom, reason);
        let missing = |name: &str| damaged(format!("{name} is missing"));
        let whole = |tag, default: Option<i64>| int(object, tag).or(default);
        let rows = whole(tags::ROWS, None).filter(|n| *n > 0).ok_or_else(|| missing("Rows"))? as usize;
        let columns = whole(tags::COLUMNS, None).filter(|n| *n > 0).ok_or_else(|| missing("Columns"))? as usize;
        if rows as u64 * columns as u64 > MOST_PIXELS {
            return Err(damaged(format!("{columns} × {rows} pixels")));
        }
        let default_bits = if is_float { 32 } else { 16 };
        let bits_allocated = whole(tags::BITS_ALLOCATED, Some(default_bits)).unwrap_or(default_bits);
        let bits_allocated = u32::try_from(bits_allocated).ok().filter(|bits| (1..=64).contains(bits));
        let bits_allocated = bits_allocated.ok_or_else(|| damaged("Bits Allocated is not 1 to 64".to_owned()))?;
        let bits_stored = whole(tags::BITS_STORED, None).and_then(|bits| u32::try_from(bits).ok());
        let bits_stored = bits_stored.filter(|bits| (1..=bits_allocated).contains(bits)).unwrap_or(bits_allocated);
        let high_bit = whole(tags::HIGH_BIT, None).and_then(|bit| u32::try_from(bit).ok());
        let high_bit =
            high_bit.filter(|bit| (bits_stored - 1..bits_allocated).contains(bit)).unwrap_or(bits_stored - 1);
        let samples_per_pixel = whole(tags::SAMPLES_PER_PIXEL, Some(1)).filter(|n| (1..=4).contains(n));
        Ok(Self {
            rows,
            columns,
            samples_per_pixel: samples_per_pixel.ok_or_else(|| damaged("Samples per Pixel".to_owned()))? as usize,
            bits_allocated,
            bits_stored,
            high_bit,
            is_signed: int(object, tags::PIXEL_REPRESENTATION) == Some(1),
            is_planar: int(object, tags::PLANAR_CONFIGURATION) == Some(1),
            is_float,
            photometric: text(object, tags::PHOTOMETRIC_INTERPRETATION).unwrap_or_default().to_uppercase(),
            frames: whole(tags::NUMBER_OF_FRAMES, Some(1)).filter(|n| *n > 0).unwrap_or(1) as usize,
        })
    }

    fn pixels(&self) -> usize {
        self.rows * self.columns
    }

    fn samples(&self) -> usize {
        self.pixels() * self.samples_per_pixel
    }

    fn sample_type(&self) -> SampleType {
        match (self.is_float, self.is_signed) {
            (true, _) => SampleType::Float(self.bits_allocated as u8),
            (false, true) => SampleType::Signed(self.bits_stored as u8),
            (false, false) => SampleType::Unsigned(self.bits_stored as u8),
        }
    }
}

/// Rescale slope and intercept of a frame; 1 and 0 if the file has none, or a lookup table instead.
fn rescale(object: &InMemDicomObject, frame: usize) -> (f64, f64) {
    if object.get(tags::MODALITY_LUT_SEQUENCE).is_some() {
        return (1.0, 0.0);
    }
    let value = |tag| {
        let element = framed(object, frame, tags::PIXEL_VALUE_TRANSFORMATION_SEQUENCE, tag)?;
        floats(element).first().copied().filter(|value| value.is_finite())
    };
    let slope = value(tags::RESCALE_SLOPE).filter(|slope| *slope != 0.0).unwrap_or(1.0);
    (slope, value(tags::RESCALE_INTERCEPT).unwrap_or(0.0))
}

/// The values that the file's first window shows black and white, after rescaling.
fn window(object: &InMemDicomObject) -> Option<[f64; 2]> {
    let value = |tag| framed(object, 0, tags::FRAME_VOILUT_SEQUENCE, tag).map(floats).and_then(|v| v.first().copied());
    let (centre, width) = (value(tags::WINDOW_CENTER)?, value(tags::WINDOW_WIDTH)?);
    (centre.is_finite() && width > 0.0).then(|| [centre - width / 2.0, centre + width / 2.0])
}

/// Pixel spacing in mm, along the rows and along the columns. DICOM stores the distance between rows first.
fn spacing(object: &InMemDicomObject) -> Option<[f64; 2]> {
    let measured = framed(object, 0, tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING);
    let spacing = fixed::<2>(measured).or_else(|| fixed::<2>(object.get(tags::IMAGER_PIXEL_SPACING)))?;
    spacing.iter().all(|mm| *mm > 0.0).then_some([spacing[1], spacing[0]])
}

/// The plane of a frame.
fn plane(object: &InMemDicomObject, layout: &Layout, frame: usize) -> Option<Plane> {
    let position = fixed::<3>(framed(object, frame, tags::PLANE_POSITION_SEQUENCE, tags::IMAGE_POSITION_PATIENT))?;
    let directions = framed(object, frame, tags::PLANE_ORIENTATION_SEQUENCE, tags::IMAGE_ORIENTATION_PATIENT);
    let [a, b, c, d, e, f] = fixed::<6>(directions)?;
    // DICOM names the distance of the rows first.
    let [rows, columns] = fixed::<2>(framed(object, frame, tags::PIXEL_MEASURES_SEQUENCE, tags::PIXEL_SPACING))?;
    Some(Plane {
        size: [layout.columns, layout.rows],
        origin: position,
        column_step: [a, b, c].map(|v| v * columns),
        row_step: [d, e, f].map(|v| v * rows),
    })
}

/// The file's position in its series: along the slice normal, or else its instance number.
fn series(object: &InMemDicomObject) -> Option<Series> {
    let mut uid = text(object, tags::SERIES_INSTANCE_UID)?;
    if let Some(orientation) = fixed::<6>(object.get(tags::IMAGE_ORIENTATION_PATIENT)) {
        // Planes of different directions, as of a localizer, are no stack.
        uid.push_str(&format!(" {orientation:.2?}"));
    }
    let along = || {
        let position: [f64; 3] = fixed(object.get(tags::IMAGE_POSITION_PATIENT))?;
        let [a, b, c, d, e, f]: [f64; 6] = fixed(object.get(tags::IMAGE_ORIENTATION_PATIENT))?;
        let normal = [b * f - c * e, c * d - a * f, a * e - b * d];
        Some(position.iter().zip(normal).map(|(p, n)| p * n).sum())
    };
    let position = along().or_else(|| first(object, tags::INSTANCE_NUMBER)).unwrap_or(0.0);
    Some(Series { uid, position })
}

fn describe(file: &File, layout: &Layout) -> Header {
    let object = &file.object;
    let colour = match (layout.photometric.as_str(), layout.samples_per_pixel) {
        ("PALETTE COLOR", 1) => Colour::Index,
        (_, 1) => Colour::Grey,
        (_, 3) => Colour::Rgb,
        _ => Colour::Channels,
    };
    let mut header = Header::new(Format::Dicom, Size::new(layout.columns, layout.rows), colour, layout.sample_type());
    header.channels = layout.samples_per_pixel;
    // No more frames than the file has bytes for.
    let frame_bits = (layout.samples() as u64 * u64::from(layout.bits_allocated)).max(1);
    let most = file.pixels.length.map_or(file.length(), |length| length.saturating_mul(8) / frame_bits).max(1);
    header.pages = layout.frames.min(most as usize);
    header.is_inverted = layout.photometric == "MONOCHROME1";
    header.spacing_mm = spacing(object);
    header.window = window(object);
    header.series = series(object);
    header.is_segmentation = segmentation::is_segmentation(object);
    header
}

fn open(path: &Path) -> Result<(File, Layout)> {
    let file = File::open(path)?;
    let layout = Layout::read(path, &file.object, file.is_float())?;
    codecs::check(path, &file, &layout)?;
    Ok((file, layout))
}

pub(super) fn planes(path: &Path) -> Result<Vec<Option<Plane>>> {
    let (file, layout) = open(path)?;
    Ok((0..describe(&file, &layout).pages).map(|frame| plane(&file.object, &layout, frame)).collect())
}

pub(super) fn segmentation(path: &Path) -> Result<Option<Segmentation>> {
    let (file, layout) = open(path)?;
    segmentation::segmentation(path, &file, &layout)
}

pub(super) fn instance(path: &Path) -> Result<Option<String>> {
    let (file, _) = open(path)?;
    Ok(text(&file.object, tags::SOP_INSTANCE_UID))
}

pub(super) fn header(path: &Path) -> Result<Header> {
    let (file, layout) = open(path)?;
    Ok(describe(&file, &layout))
}

pub(super) fn read(path: &Path, frame: usize) -> Result<Raster> {
    let (file, layout) = open(path)?;
    if frame >= layout.frames {
        return Err(RasterError::damaged(path, Format::Dicom, format!("frame {} of {}", frame + 1, layout.frames)));
    }
    let mut header = describe(&file, &layout);
    memory::check(path, &header)?;
    let samples = pixels::frame(path, &file, &layout, frame)?;
    let mut palette = Vec::new();
    if header.colour == Colour::Index {
        let table = pixels::palette(&file.object, &layout);
        palette = table.ok_or_else(|| {
            RasterError::unsupported(path, "DICOM with a segmented palette", "save it with a plain palette or as grey")
        })?;
        if palette.len() > 1 << 16 || !matches!(samples, Samples::U8(_) | Samples::U16(_)) {
            header.colour = Colour::Grey;
        }
    }
    let (slope, intercept) = rescale(&file.object, frame);
    let samples = if header.colour == Colour::Grey { samples.rescaled(slope, intercept) } else { samples };
    Ok(Raster { header, samples, palette })
}
