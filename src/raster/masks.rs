//! Reads mask files as raw values, before they are mapped to classes.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::{Colour, Header, Raster, RasterError, Result, Samples};
use crate::domain::mask::{Mask, UNLABELLED, connected_parts};
use crate::domain::mask_values::{FEWEST_INSTANCES, FileValues, MaskValue, ValueMap};

/// Maximum number of distinct values in a mask file; an image with more is a photograph.
const MOST_VALUES: usize = 1 << 16;

/// The pixels of a mask file, as indices into the list of its values.
pub struct MaskPixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The values.
    pub values: Vec<MaskValue>,
    /// `[rows, columns]`: indices into `values`.
    pub places: Vec<u16>,
    is_label: bool,
    is_inverted: bool,
    palette: Vec<[u8; 4]>,
    is_smooth: bool,
}

/// The values of a mask file's page. With a threshold, numbers are made 0 (below it) and 1.
pub(super) fn of_raster(path: &Path, raster: Raster, threshold: Option<f64>) -> Result<MaskPixels> {
    let many = || {
        RasterError::unsupported(
            path,
            "not a mask: it holds more than 65,536 different values",
            "give a mask with one value per class",
        )
    };
    let Header { width, height, channels, colour, is_label, .. } = raster.header.clone();
    let mut places = ValueIndex::default();
    let mut is_smooth = false;
    let pixels: Option<Vec<u16>> = match (colour, threshold) {
        (Colour::Channels, _) if channels > 1 => {
            let what = format!("not a mask: it has {channels} channels");
            return Err(RasterError::unsupported(path, what, "save one mask per file, or one value per class"));
        }
        (_, Some(threshold)) => {
            let foreground = thresholded(&raster, threshold);
            foreground.into_iter().map(|is| places.of(MaskValue::Number(i64::from(is)))).collect()
        }
        (Colour::Grey | Colour::Index | Colour::Channels, None) => {
            let number = |value: f64| match value {
                255.0 if is_label => Some(MaskValue::NotLabelled),
                value if value.fract() == 0.0 && value.abs() < 9e15 => Some(MaskValue::Number(value as i64)),
                _ => None,
            };
            let Some(pixels) = numbered(&raster.samples, number, &mut places) else {
                return Err(RasterError::unsupported(
                    path,
                    "not a mask of whole numbers but a probability map",
                    "choose the threshold from which on a value is foreground",
                ));
            };
            pixels
        }
        (Colour::GreyAlpha | Colour::Rgb | Colour::RgbAlpha, None) => {
            let Some(bytes) = eight_bits(&raster.samples) else {
                let what =
                    "not a mask of 8-bit colours: its colours have more bits, and lower bits that tell them apart";
                return Err(RasterError::unsupported(path, what, "save it with 8 bits per channel, or as grey"));
            };
            let has_alpha = colour != Colour::Rgb;
            if has_alpha {
                let mut alphas = [false; 256];
                bytes.chunks_exact(channels).for_each(|pixel| alphas[usize::from(pixel[channels - 1])] = true);
                // RootPainter paints with a single alpha value; more than a few mean smoothed edges.
                is_smooth = alphas[1..].iter().filter(|alpha| **alpha).count() > 3;
            }
            let value = |pixel: &[u8]| match pixel {
                [_, 0] | [_, _, _, 0] => MaskValue::Transparent,
                [grey, _] => MaskValue::Number(i64::from(*grey)),
                [r, g, b, ..] => MaskValue::of_colour([*r, *g, *b]),
                _ => MaskValue::Number(0),
            };
            let mut last = None;
            let mut place = |pixel: &[u8]| match &last {
                Some((before, place)) if before == pixel => Some(*place),
                _ => {
                    let place = places.of(value(pixel))?;
                    last = Some((pixel.to_vec(), place));
                    Some(place)
                }
            };
            bytes.chunks_exact(channels).map(&mut place).collect()
        }
    };
    let places_of = pixels.ok_or_else(many)?;
    let palette = if is_label || threshold.is_some() { Vec::new() } else { raster.palette };
    let is_inverted = raster.header.is_inverted && threshold.is_none();
    Ok(MaskPixels {
        width,
        height,
        values: places.values,
        places: places_of,
        is_label,
        is_inverted,
        palette,
        is_smooth,
    })
}

/// Distinct values, in order of first occurrence.
#[derive(Default)]
struct ValueIndex {
    values: Vec<MaskValue>,
    known: HashMap<MaskValue, u16>,
}

impl ValueIndex {
    fn of(&mut self, value: MaskValue) -> Option<u16> {
        if let Some(place) = self.known.get(&value) {
            return Some(*place);
        }
        let place = u16::try_from(self.values.len()).ok().filter(|_| self.values.len() < MOST_VALUES)?;
        self.values.push(value);
        self.known.insert(value, place);
        Some(place)
    }
}

/// The index of each sample's value. The inner `None` means too many values, the outer one a sample that is not an
/// integer.
fn numbered(
    samples: &Samples,
    number: impl Fn(f64) -> Option<MaskValue>,
    places: &mut ValueIndex,
) -> Option<Option<Vec<u16>>> {
    let (mut all, mut is_whole, mut fits) = (Vec::with_capacity(samples.len()), true, true);
    let mut last = (f64::NAN, 0);
    samples.visit(1, |value| {
        if value != last.0 {
            match number(value).map(|value| places.of(value)) {
                Some(Some(place)) => last = (value, place),
                Some(None) => fits = false,
                None => is_whole = false,
            }
        }
        all.push(last.1);
    });
    is_whole.then_some(fits.then_some(all))
}

/// The samples as 8 bits: those stored so, or 16-bit samples that are 8-bit values times 257; `None` for others.
fn eight_bits(samples: &Samples) -> Option<Vec<u8>> {
    match samples {
        Samples::U8(values) => Some(values.clone()),
        Samples::U16(values) => {
            values.iter().map(|value| value.is_multiple_of(257).then_some((value / 257) as u8)).collect()
        }
        Samples::I32(_) | Samples::U32(_) | Samples::F32(_) | Samples::F64(_) => None,
    }
}

/// Whether each pixel reaches the threshold: by alpha if all pixels have one colour, else by their brightest channel.
fn thresholded(raster: &Raster, threshold: f64) -> Vec<bool> {
    let channels = raster.header.channels;
    if !raster.palette.is_empty() {
        // For an indexed image, the palette's colour counts, not the index.
        let is_bright = |index: f64| {
            let colour = raster.palette.get(index as usize).copied().unwrap_or_default();
            colour[..3].iter().any(|value| f64::from(*value) >= threshold)
        };
        return raster.samples.map(is_bright);
    }
    let values = raster.samples.map(|value| value);
    let pixels = values.chunks_exact(channels);
    let has_alpha = matches!(raster.header.colour, Colour::GreyAlpha | Colour::RgbAlpha);
    let colours = channels - usize::from(has_alpha);
    let is_one_colour = pixels.clone().all(|pixel| pixel[..colours] == values[..colours]);
    let by = if has_alpha && is_one_colour { colours..channels } else { 0..colours };
    pixels.map(|pixel| pixel[by.clone()].iter().any(|value| *value >= threshold)).collect()
}

impl MaskPixels {
    /// Rebuilds a mask that was read earlier from its values and, for each pixel, the index of its value.
    pub fn new(width: usize, height: usize, values: Vec<MaskValue>, places: Vec<u16>) -> Self {
        Self {
            width,
            height,
            values,
            places,
            is_label: false,
            is_inverted: false,
            palette: Vec::new(),
            is_smooth: false,
        }
    }

    /// The file's contribution to the census of a folder.
    pub fn file_values(&self) -> FileValues {
        let mut counts = vec![0u64; self.values.len()];
        self.places.iter().for_each(|place| counts[usize::from(*place)] += 1);
        let numbers = self.values.iter().filter(|value| matches!(value, MaskValue::Number(n) if *n != 0)).count();
        let in_one_part = if numbers >= FEWEST_INSTANCES && !self.is_label { self.in_one_part() } else { 0 };
        FileValues {
            counts: self.values.iter().copied().zip(counts).filter(|(_, pixels)| *pixels > 0).collect(),
            is_label: self.is_label,
            in_one_part,
            colours: self.values.iter().filter_map(|value| self.colour_of(*value)).collect(),
            is_inverted: self.is_inverted,
            is_smooth: self.is_smooth,
        }
    }

    fn colour_of(&self, value: MaskValue) -> Option<(i64, [u8; 3])> {
        let MaskValue::Number(index) = value else { return None };
        let [r, g, b, _] = *self.palette.get(usize::try_from(index).ok()?)?;
        Some((index, [r, g, b]))
    }

    /// Number of values other than 0 whose pixels form a single connected component (8-connected).
    fn in_one_part(&self) -> usize {
        let counts = |place: u16| self.values[usize::from(place)] != MaskValue::Number(0);
        let (_, found) = connected_parts(&self.places, self.width, counts);
        let mut parts: BTreeMap<u16, usize> = BTreeMap::new();
        found.into_iter().for_each(|place| *parts.entry(place).or_default() += 1);
        parts.values().filter(|parts| **parts == 1).count()
    }

    /// Maps each value to its class in `classes`; values that it lacks become unlabelled.
    pub fn to_mask(&self, classes: &ValueMap) -> Mask {
        let table: Vec<u8> =
            self.values.iter().map(|value| classes.get(value).copied().unwrap_or(UNLABELLED)).collect();
        let pixels = self.places.iter().map(|place| table[usize::from(*place)]).collect();
        Mask::from_pixels(self.width, self.height, pixels).expect("a place for each pixel")
    }
}
