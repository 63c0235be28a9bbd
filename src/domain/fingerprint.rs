//! Properties of a study's images and labels, and the network geometry that fits them: modelled on nnU-Net's dataset
//! fingerprint (Isensee et al., Nature Methods 18, 2021), for two dimensions and one researcher.

use image::{GrayImage, Luma};
use imageproc::distance_transform::euclidean_squared_distance_transform;

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::settings::{Budget, Geometry, Settings};
use crate::domain::tiles::{self, Origin};

/// Minimum number of pixels of the network's input when whole images are resized to it.
const FEWEST_PIXELS: f64 = 12_288.0;
/// Maximum on a device of unknown speed: with more, a one-minute round on two cores has too few steps.
const MOST_PIXELS: f64 = 32_768.0;
/// Maximum on any device.
const MOST_PIXELS_FAST: f64 = 262_144.0;
/// Minimum number of steps in a round.
const FEWEST_STEPS: f64 = 250.0;
/// Desired width in pixels, at the network's input size, of the thinnest tenth of the structures.
const WIDE_ENOUGH: f64 = 3.0;
/// Width in pixels below which images are cut into tiles instead of being resized.
const TOO_THIN: f64 = 2.0;
/// Side of the part that is measured in larger labels.
const PART: usize = 2048;

/// Sizes of a study's images, and widths of the structures in its labels.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint {
    /// Columns and rows of each label.
    sizes: Vec<(usize, usize)>,
    /// Widths of the structures of each label that has any, in pixels, thinnest first.
    widths: Vec<Vec<f64>>,
}

/// A geometry that fits a study.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Whole images or tiles.
    pub geometry: Geometry,
    /// Rows of the network's input.
    pub rows: usize,
    /// Columns of the network's input.
    pub columns: usize,
    /// Why, in words.
    pub why: String,
}

impl Fingerprint {
    /// Adds a label.
    pub fn add(&mut self, label: &Mask) {
        self.sizes.push((label.width(), label.height()));
        let widths = if label.width() * label.height() > PART * PART {
            let origins = tiles::around_labels(label, PART, PART, 1, 0);
            let part = |origin: &Origin| Mask::from_pixels(PART, PART, label.cut(*origin, PART, PART)).ok();
            origins.first().and_then(part).map_or(Vec::new(), |part| structure_widths(&part))
        } else {
            structure_widths(label)
        };
        if !widths.is_empty() {
            self.widths.push(widths);
        }
    }

    /// The width in pixels that the thinnest tenth of the structures does not exceed, with equal weight for each label;
    /// `None` if no label has any structure.
    pub fn thin(&self) -> Option<f64> {
        let tenth = |widths: &Vec<f64>| widths[widths.len() / 10];
        let mut tenths: Vec<f64> = self.widths.iter().map(tenth).collect();
        tenths.sort_by(f64::total_cmp);
        tenths.get(tenths.len() / 2).copied()
    }

    /// The median of the columns, and of the rows.
    fn size(&self) -> Option<(f64, f64)> {
        let median = |side: fn(&(usize, usize)) -> usize| {
            let mut sides: Vec<usize> = self.sizes.iter().map(side).collect();
            sides.sort_unstable();
            sides.get(sides.len() / 2).map(|side| *side as f64)
        };
        Some((median(|size| size.0)?, median(|size| size.1)?))
    }

    /// The geometry that fits: the smallest size at which the thinnest tenth of the structures is wide enough, or tiles
    /// at full resolution if no size of at most `most_pixels` suffices. `None` without labels.
    pub fn fit(&self, settings: &Settings, most_pixels: f64) -> Option<Fit> {
        let (width, height) = self.size()?;
        let step = settings.input_step() as f64;
        let sides = |pixels: f64| {
            let scale = (pixels / (width * height)).sqrt();
            let side = |side: f64| (side * scale / step).round().max(2.0) * step;
            (side(height) as usize, side(width) as usize)
        };
        let Some(thin) = self.thin() else {
            let (rows, columns) = sides(FEWEST_PIXELS);
            let why = format!("resized to {columns} × {rows}: the labels have no structure to fit the size to");
            return Some(Fit { geometry: Geometry::Resize, rows, columns, why });
        };
        let wanted = (WIDE_ENOUGH / thin).min(1.0).powi(2) * width * height;
        let (rows, columns) = sides(wanted.clamp(FEWEST_PIXELS, most_pixels));
        let there = thin * (columns as f64 / width).min(rows as f64 / height);
        let (width, height) = (width as usize, height as usize);
        if there < TOO_THIN && (rows < height || columns < width) {
            // Half as many pixels as an image may have: what lies near a tile's border is seen twice.
            let side = ((most_pixels / 2.0).sqrt() / step).round() as usize * step as usize;
            let why = format!(
                "tiles of {side} × {side} at full resolution: the thinnest tenth of the structures is {thin:.0} px wide, \
                 and would be {there:.1} px in images of {width} × {height} resized to {columns} × {rows}"
            );
            return Some(Fit { geometry: Geometry::Tiles, rows: side, columns: side, why });
        }
        let why = format!(
            "resized to {columns} × {rows}: the thinnest tenth of the structures is {thin:.0} px wide in images of {width} × \
             {height}, and {there:.1} px there"
        );
        Some(Fit { geometry: Geometry::Resize, rows, columns, why })
    }
}

/// The largest number of input pixels that leaves enough steps in a round of the configured length on a device that
/// trains `pixels_per_s`, if known; never fewer than two cores can handle.
pub fn most_pixels(settings: &Settings, pixels_per_s: Option<f64>) -> f64 {
    let can = |speed: f64| speed * settings.seconds / (FEWEST_STEPS * settings.batch as f64);
    match settings.budget {
        Budget::Seconds => pixels_per_s.map_or(MOST_PIXELS, can).clamp(MOST_PIXELS, MOST_PIXELS_FAST),
        Budget::Steps | Budget::Epochs => MOST_PIXELS,
    }
}

impl Fit {
    /// The settings with this geometry.
    pub fn apply(&self, settings: &mut Settings) {
        (settings.geometry, settings.rows, settings.columns) = (self.geometry, self.rows, self.columns);
    }
}

/// Widths of a label's structures along their centre lines in pixels, thinnest first: twice the distance to the border
/// at each of its local maxima.
fn structure_widths(label: &Mask) -> Vec<f64> {
    let (width, height) = (label.width(), label.height());
    // A border of background: a structure that the image cuts is as wide as what is seen of it.
    let (columns, rows) = (width + 2, height + 2);
    let mut outside = GrayImage::from_pixel(columns as u32, rows as u32, Luma([255]));
    let mut is_empty = true;
    for (place, class) in label.pixels().iter().enumerate() {
        if ![BACKGROUND, UNLABELLED].contains(class) {
            outside.put_pixel((place % width) as u32 + 1, (place / width) as u32 + 1, Luma([0]));
            is_empty = false;
        }
    }
    if is_empty {
        return Vec::new();
    }
    let squared = euclidean_squared_distance_transform(&outside).into_raw();
    let mut widths = Vec::new();
    for row in 1..=height {
        for column in 1..=width {
            let at = row * columns + column;
            let here = squared[at];
            let above = at - columns;
            let below = at + columns;
            let around = [above - 1, above, above + 1, at - 1, at + 1, below - 1, below, below + 1];
            if here > 0.0 && around.iter().all(|beside| squared[*beside] <= here) {
                widths.push(2.0 * here.sqrt() - 1.0);
            }
        }
    }
    widths.sort_by(f64::total_cmp);
    widths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::Encoder;

    fn label(width: usize, height: usize, is_object: impl Fn(usize, usize) -> bool) -> Mask {
        let pixels = (0..width * height).map(|place| u8::from(is_object(place % width, place / width))).collect();
        Mask::from_pixels(width, height, pixels).unwrap()
    }

    #[test]
    fn a_structure_is_as_wide_as_it_is_drawn() {
        let bar = label(100, 60, |x, y| (10..90).contains(&x) && (20..25).contains(&y));
        let widths = structure_widths(&bar);
        assert!(widths.iter().all(|width| (4.0..=6.0).contains(width)), "{widths:?}");
        assert!(structure_widths(&label(10, 10, |_, _| false)).is_empty());
    }

    #[test]
    fn wide_structures_are_resized_thin_ones_are_cut_into_tiles_and_those_between_get_a_larger_input() {
        let settings = Settings { encoder: Encoder::Unet, ..Settings::default() };
        let of = |label: Mask| {
            let mut fingerprint = Fingerprint::default();
            fingerprint.add(&label);
            fingerprint.fit(&settings, most_pixels(&settings, None)).unwrap()
        };
        let wide = of(label(640, 480, |x, y| (100..300).contains(&x) && (100..300).contains(&y)));
        assert_eq!((wide.geometry, wide.rows, wide.columns), (Geometry::Resize, 96, 128));
        let thin = of(label(640, 480, |x, _| x % 40 < 2));
        assert_eq!((thin.geometry, thin.rows), (Geometry::Tiles, 128));
        let between = of(label(640, 480, |x, y| x % 40 < 9 && y % 40 < 9));
        assert!(between.geometry == Geometry::Resize && between.columns > 200, "{between:?}");
        // An image that is small is not made larger than it has to be.
        let small = of(label(64, 64, |x, _| x % 16 < 2));
        assert_eq!((small.geometry, small.rows, small.columns), (Geometry::Resize, 112, 112));
        assert!(Fingerprint::default().fit(&settings, MOST_PIXELS).is_none());
    }

    #[test]
    fn a_fast_device_gets_a_larger_input_before_images_are_cut_into_tiles() {
        let settings = Settings::default();
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(&label(640, 480, |x, _| x % 40 < 4));
        let of = |pixels_per_s| fingerprint.fit(&settings, most_pixels(&settings, pixels_per_s)).unwrap();
        // Two cores: 12,288 pixels, four images per step, in 90 ms.
        assert_eq!(of(Some(4.0 * 12_288.0 / 0.09)), of(None));
        assert_eq!((of(None).geometry, of(None).rows), (Geometry::Tiles, 128));
        let fast = of(Some(1e8));
        assert!(fast.geometry == Geometry::Resize && fast.columns >= 448, "{fast:?}");
        assert_eq!(of(Some(1e4)), of(None), "a slow one is given longer rather than too small an input");
        let repeatable = Settings { budget: Budget::Steps, ..settings.clone() };
        assert_eq!(
            most_pixels(&repeatable, Some(1e8)),
            MOST_PIXELS,
            "what can be repeated does not depend on the device"
        );
    }
}
