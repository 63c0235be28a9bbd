//! Connected regions of a label, measured.

use image::{GrayImage, ImageBuffer, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use crate::domain::mask::Mask;
use crate::domain::picture::{Levels, Picture};
use crate::domain::prediction::{Prediction, Uncertainty};

/// A connected region of one class; pixels that touch by their corners are connected.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its class.
    pub class: u8,
    /// Area in pixels.
    pub pixels: usize,
    /// Area in mm², where the file says how large a pixel is.
    pub area_mm2: Option<f64>,
    /// Perimeter in pixels, including holes: π/4 times the number of pixel edges on its border (Cauchy–Crofton with two
    /// directions).
    pub perimeter: f64,
    /// First column of the bounding box.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns of the bounding box.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Mean column of its pixels.
    pub centre_x: f64,
    /// Mean row.
    pub centre_y: f64,
    /// Mean value in the image's own units; for colour images, luma from 0 to 255.
    pub mean_intensity: f64,
    /// Mean predictive variance, where there is a prediction.
    pub mean_variance: Option<f64>,
}

/// Sums over the pixels of a region.
#[derive(Clone, Default)]
struct Sums {
    pixels: usize,
    sides: usize,
    x: f64,
    y: f64,
    intensity: f64,
    variance: f64,
    /// Left, top, right, bottom, all within.
    bounds: Option<[usize; 4]>,
}

/// The regions of a class, numbered from 1; 0 elsewhere.
pub fn numbered(label: &Mask, class: u8) -> ImageBuffer<Luma<u32>, Vec<u32>> {
    let is_class = |x: u32, y: u32| label.get(x as usize, y as usize) == Some(class);
    let (width, height) = (label.width() as u32, label.height() as u32);
    let binary = GrayImage::from_fn(width, height, |x, y| Luma([if is_class(x, y) { 255 } else { 0 }]));
    connected_components(&binary, Connectivity::Eight, Luma([0]))
}

/// The regions of each of `classes` classes in a label, the largest of a class first.
pub fn measure(label: &Mask, classes: u8, picture: &Picture, prediction: Option<&Prediction>) -> Vec<Region> {
    let (width, height) = (label.width(), label.height());
    let mut regions = Vec::new();
    for class in (1..=classes).filter(|class| label.pixels().contains(class)) {
        let is_class = |x: u32, y: u32| label.get(x as usize, y as usize) == Some(class);
        let parts = numbered(label, class);
        let count = parts.iter().copied().max().unwrap_or(0) as usize;
        let mut sums = vec![Sums::default(); count];
        for (x, y, part) in parts.enumerate_pixels().filter(|(.., part)| part.0[0] > 0) {
            let sums = &mut sums[part.0[0] as usize - 1];
            let (column, row) = (x as usize, y as usize);
            sums.pixels += 1;
            let inside = |x: Option<u32>, y: Option<u32>| matches!((x, y), (Some(x), Some(y)) if is_class(x, y));
            let beside = [
                (x.checked_sub(1), Some(y)),
                (Some(x + 1), Some(y)),
                (Some(x), y.checked_sub(1)),
                (Some(x), Some(y + 1)),
            ];
            sums.sides += beside.into_iter().filter(|(x, y)| !inside(*x, *y)).count();
            (sums.x, sums.y) = (sums.x + f64::from(x), sums.y + f64::from(y));
            sums.intensity += f64::from(picture.intensity(column, row));
            if let Some(prediction) = prediction {
                let share = |at: usize, side: usize| (at as f64 + 0.5) / side as f64;
                let index = prediction.index_at(share(column, width), share(row, height));
                sums.variance += f64::from(prediction.plane(Uncertainty::Variance).value(index));
            }
            let [left, top, right, bottom] = sums.bounds.unwrap_or([column, row, column, row]);
            sums.bounds = Some([left.min(column), top.min(row), right.max(column), bottom.max(row)]);
        }
        let from = regions.len();
        regions.extend(sums.into_iter().filter_map(|sums| {
            let [left, top, right, bottom] = sums.bounds?;
            let mean = |sum: f64| sum / sums.pixels as f64;
            let level = mean(sums.intensity) as f32;
            Some(Region {
                class,
                pixels: sums.pixels,
                area_mm2: picture.pixel_m.map(|side| sums.pixels as f64 * (side * 1e3).powi(2)),
                perimeter: std::f64::consts::FRAC_PI_4 * sums.sides as f64,
                left,
                top,
                width: right - left + 1,
                height: bottom - top + 1,
                centre_x: mean(sums.x),
                centre_y: mean(sums.y),
                mean_intensity: picture.values_of(Levels { low: level, high: level }).0,
                mean_variance: prediction.map(|_| mean(sums.variance)),
            })
        }));
        regions[from..].sort_by_key(|region| std::cmp::Reverse(region.pixels));
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_counted_and_measured() {
        let (width, height) = (200, 120);
        let disc = |x: usize, y: usize| (x as f64 - 60.0).hypot(y as f64 - 60.0) <= 40.0;
        let pixels = (0..width * height).map(|place| match (place % width, place / width) {
            (x, y) if disc(x, y) => 1,
            (150..=169, 20..=29) => 1,
            (150..=159, 60..=99) => 2,
            _ => 0,
        });
        let label = Mask::from_pixels(width, height, pixels.collect()).unwrap();
        let mut picture = Picture::of_colour(width, height, vec![100; width * height * 4]);
        picture.pixel_m = Some(0.5e-3);
        let regions = measure(&label, 2, &picture, None);
        assert_eq!(regions.iter().map(|region| region.class).collect::<Vec<_>>(), [1, 1, 2]);
        let [disc, bar, other] = &regions[..] else { panic!("{regions:?}") };
        let exact = std::f64::consts::PI * 40.0 * 40.0;
        assert!((disc.pixels as f64 / exact - 1.0).abs() < 0.01);
        assert!((disc.perimeter / (2.0 * std::f64::consts::PI * 40.0) - 1.0).abs() < 0.03, "{}", disc.perimeter);
        assert!(
            (disc.centre_x - 60.0).abs() < 0.01 && (disc.area_mm2.unwrap() - disc.pixels as f64 * 0.25).abs() < 1e-6
        );
        assert_eq!((bar.pixels, bar.left, bar.top, bar.width, bar.height), (200, 150, 20, 20, 10));
        assert!((other.mean_intensity - 100.0).abs() < 1e-3 && other.mean_variance.is_none());
        assert!(measure(&Mask::filled(8, 8, 0), 1, &Picture::of_colour(8, 8, vec![0; 256]), None).is_empty());
    }
}
