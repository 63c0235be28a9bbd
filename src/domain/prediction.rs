//! The network's prediction for one image as planes of bytes at the network's size, small enough to keep and to pass
//! between threads.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::domain::cleanup;
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::scores::{Moments, Scores};
use crate::domain::size::Size;
use crate::domain::tiles::Tile;

/// Values 0 to `largest`, one byte each, rows first.
#[derive(Clone, Debug, PartialEq)]
pub struct MapPlane {
    /// 0 is 0.0, 255 is `largest`.
    pub bytes: Vec<u8>,
    /// The largest value.
    pub largest: f32,
    /// The 99th percentile of the values above 0: the top of the colour map, which a few outliers would otherwise leave
    /// dark.
    pub high: f32,
}

impl MapPlane {
    fn of(values: &[f32]) -> Self {
        let largest = values.iter().copied().fold(0.0, f32::max);
        let scale = if largest > 0.0 { 255.0 / largest } else { 0.0 };
        Self::new(values.iter().map(|v| (v * scale).round() as u8).collect(), largest)
    }

    fn new(bytes: Vec<u8>, largest: f32) -> Self {
        let mut counts = [0usize; 256];
        bytes.iter().for_each(|byte| counts[usize::from(*byte)] += 1);
        let mut left = (bytes.len() - counts[0]) / 100;
        let mut high = 255;
        while high > 1 && left >= counts[high] {
            left -= counts[high];
            high -= 1;
        }
        Self { bytes, largest, high: high as f32 / 255.0 * largest }
    }

    /// The value of pixel `index`.
    pub fn value(&self, index: usize) -> f32 {
        f32::from(self.bytes[index]) / 255.0 * self.largest
    }
}

/// A kind of uncertainty map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Uncertainty {
    /// Predictive variance.
    #[default]
    Variance,
    /// Predictive entropy, in nats.
    Entropy,
    /// Mutual information, in nats.
    MutualInformation,
}

impl Uncertainty {
    /// All, in the order shown.
    pub const ALL: [Self; 3] = [Self::Variance, Self::Entropy, Self::MutualInformation];

    /// Its name, with the unit.
    pub fn label(self) -> &'static str {
        match self {
            Self::Variance => "variance",
            Self::Entropy => "entropy (nats)",
            Self::MutualInformation => "mutual information (nats)",
        }
    }
}

/// Everything shown or decided from the dropout passes over one image.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Probability that a pixel is not background; 255 is 1.
    pub probability: Vec<u8>,
    /// The most probable class besides the background, 1..=254.
    pub class: Vec<u8>,
    /// The maps of [`Uncertainty::ALL`].
    pub uncertainty: [MapPlane; 3],
    /// The image's scores.
    pub scores: Scores,
}

/// The header before the planes in the stored form.
#[derive(Serialize, Deserialize)]
struct Head {
    width: usize,
    height: usize,
    largest: [f32; 3],
    scores: Scores,
}

impl Prediction {
    /// The moments, to eight bits.
    pub fn of(moments: &Moments) -> Self {
        Self {
            width: moments.width,
            height: moments.height,
            probability: moments.foreground().iter().map(|p| (p * 255.0).round() as u8).collect(),
            class: moments.mask(0.0),
            uncertainty: [&moments.variance, &moments.entropy, &moments.mutual_information]
                .map(|map| MapPlane::of(map)),
            scores: moments.scores(),
        }
    }

    /// The map of one kind of uncertainty.
    pub fn plane(&self, kind: Uncertainty) -> &MapPlane {
        &self.uncertainty[kind as usize]
    }

    /// The pseudo-label, `[rows, columns]`: the predicted mask at probability 0.5, unlabelled where the variance is
    /// above `variance`. `None` if no foreground pixel is that certain, since the rest would claim that there is
    /// nothing in the image.
    pub fn pseudo_label(&self, variance: f64) -> Option<Vec<u8>> {
        let variance_plane = self.plane(Uncertainty::Variance);
        let pixel = |i: usize| match (self.probability[i] >= 128, f64::from(variance_plane.value(i)) > variance) {
            (_, true) => UNLABELLED,
            (true, false) => self.class[i],
            (false, false) => BACKGROUND,
        };
        let label: Vec<u8> = (0..self.class.len()).map(pixel).collect();
        label.iter().any(|class| ![BACKGROUND, UNLABELLED].contains(class)).then_some(label)
    }

    /// Connected regions whose variance is above half of the colour map's range, by descending total variance, down to
    /// a tenth of the largest total. For each, a point inside it, from 0 to 1 across and down.
    pub fn uncertain_regions(&self) -> Vec<(f64, f64)> {
        let plane = self.plane(Uncertainty::Variance);
        if plane.largest <= 0.0 {
            return Vec::new();
        }
        let least = (127.5 * plane.high / plane.largest).max(1.0) as u8;
        let (width, height) = (self.width, self.height);
        let mut seen = vec![false; width * height];
        let mut regions = Vec::new();
        for start in 0..width * height {
            if seen[start] || plane.bytes[start] < least {
                continue;
            }
            let is_high = |x: usize, y: usize| plane.bytes[y * width + x] >= least;
            let runs = cleanup::flood(width, height, (start % width, start / width), is_high);
            let mut held = 0u64;
            for (y, columns) in &runs {
                let run = y * width + columns.start..y * width + columns.end;
                held += plane.bytes[run.clone()].iter().map(|byte| u64::from(*byte)).sum::<u64>();
                seen[run].fill(true);
            }
            regions.push((held, runs));
        }
        regions.sort_by_key(|(held, _)| std::cmp::Reverse(*held));
        let most = regions.first().map_or(0, |(held, _)| *held);
        let place = |(_, runs): (u64, Vec<(usize, std::ops::Range<usize>)>)| {
            // The middle of the middle run: inside the region, where a mean need not be.
            let (row, columns) = runs.get(runs.len() / 2)?;
            let x = (columns.start + columns.end) as f64 / 2.0 / width as f64;
            Some((x, (*row as f64 + 0.5) / height as f64))
        };
        regions.into_iter().take_while(|(held, _)| held * 10 >= most).filter_map(place).collect()
    }

    /// The tile of `columns` × `rows` with the highest mean variance in an image of `width` × `height`, and that mean; an image
    /// that is smaller is one tile.
    pub fn most_uncertain_tile(&self, image: Size, tile: Size) -> (Tile, f64) {
        let Size { width, height } = image;
        let plane = self.plane(Uncertainty::Variance);
        let (columns, rows) = (tile.width.min(width), tile.height.min(height));
        // The tile's sides in map pixels, and its candidate origins, a quarter of a tile apart.
        let scaled = |side: usize, map: usize, image: usize| (side * map / image).clamp(1, map);
        let (across, down) = (scaled(columns, self.width, width), scaled(rows, self.height, height));
        let begins = |map: usize, side: usize| {
            let last = map - side;
            (0..last).step_by(side.div_ceil(4)).chain([last])
        };
        // Sums over all pixels above and to the left (Crow, SIGGRAPH 1984).
        let line = self.width + 1;
        let mut sums = vec![0u64; line * (self.height + 1)];
        for row in 0..self.height {
            let mut sum = 0;
            for column in 0..self.width {
                sum += u64::from(plane.bytes[row * self.width + column]);
                sums[(row + 1) * line + column + 1] = sums[row * line + column + 1] + sum;
            }
        }
        let (mut best, mut most) = ((0, 0), None);
        for top in begins(self.height, down) {
            for left in begins(self.width, across) {
                let (upper, lower) = (top * line, (top + down) * line);
                let sum =
                    sums[lower + left + across] + sums[upper + left] - sums[upper + left + across] - sums[lower + left];
                if most.is_none_or(|most| sum > most) {
                    (best, most) = ((left, top), Some(sum));
                }
            }
        }
        let at = |begin: usize, image: usize, map: usize, side: usize| (begin * image / map).min(image - side);
        let (left, top) = (at(best.0, width, self.width, columns), at(best.1, height, self.height, rows));
        let mean = most.unwrap_or(0) as f64 / (across * down) as f64 / 255.0 * f64::from(plane.largest);
        (Tile { left, top, width: columns, height: rows }, mean)
    }

    /// Mean variance over the pixels that are predicted as each of `classes`, class 1 first; 0 where there are none.
    pub fn class_variances(&self, classes: usize) -> Vec<f64> {
        let plane = self.plane(Uncertainty::Variance);
        let mut sums = vec![(0u64, 0u64); classes];
        for (place, class) in self.class.iter().enumerate().filter(|(place, _)| self.probability[*place] >= 128) {
            if let Some((sum, pixels)) = sums.get_mut(usize::from(*class).wrapping_sub(1)) {
                (*sum, *pixels) = (*sum + u64::from(plane.bytes[place]), *pixels + 1);
            }
        }
        let mean = |(sum, pixels): (u64, u64)| sum as f64 / pixels.max(1) as f64 / 255.0 * f64::from(plane.largest);
        sums.into_iter().map(mean).collect()
    }

    /// The pixel under the point (`x`, `y`) of an image, both from 0 to 1.
    pub fn index_at(&self, x: f64, y: f64) -> usize {
        let along = |share: f64, side: usize| ((share * side as f64) as usize).min(side - 1);
        along(y, self.height) * self.width + along(x, self.width)
    }

    /// The predicted mask at an image's size.
    pub fn mask(self: &Arc<Self>, threshold: f32, width: usize, height: usize) -> Mask {
        let predicted = SampledPrediction::new(self.clone(), threshold, width, height);
        let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).map(|(x, y)| predicted.class(x, y));
        Mask::from_pixels(width, height, pixels.collect()).expect("a value for each pixel")
    }

    /// The prediction as bytes: the length of a JSON head, the head, then the planes, compressed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let largest = self.uncertainty.each_ref().map(|plane| plane.largest);
        let head = Head { width: self.width, height: self.height, largest, scores: self.scores };
        let head = serde_json::to_vec(&head).expect("plain data");
        let [a, b, c] = self.uncertainty.each_ref().map(|plane| plane.bytes.as_slice());
        let planes = [&self.probability[..], &self.class, a, b, c].concat();
        [&(head.len() as u32).to_le_bytes()[..], &head, &lz4_flex::block::compress(&planes)].concat()
    }

    /// The inverse of [`Prediction::to_bytes`]; `None` of anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (head, packed) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let Head { width, height, largest, scores } = serde_json::from_slice(head).ok()?;
        let pixels = width.checked_mul(height).filter(|&pixels| 0 < pixels && pixels < 1 << 28)?;
        let planes = lz4_flex::block::decompress(packed, 5 * pixels).ok().filter(|p| p.len() == 5 * pixels)?;
        let plane = |number: usize| planes[number * pixels..][..pixels].to_vec();
        let uncertainty = [0, 1, 2].map(|i| MapPlane::new(plane(i + 2), largest[i]));
        Some(Self { width, height, probability: plane(0), class: plane(1), uncertainty, scores })
    }
}

/// A prediction sampled at an image's size: probability by bilinear interpolation, class by nearest neighbour.
#[derive(Clone, Debug)]
pub struct SampledPrediction {
    prediction: Arc<Prediction>,
    columns: Vec<Between>,
    rows: Vec<Between>,
    threshold: f32,
}

impl SampledPrediction {
    /// The prediction for an image of `width` × `height`, its mask taken at `threshold`.
    pub fn new(prediction: Arc<Prediction>, threshold: f32, width: usize, height: usize) -> Self {
        let (columns, rows) = (stretch(prediction.width, width), stretch(prediction.height, height));
        Self { prediction, columns, rows, threshold }
    }

    /// Probability that the image's pixel at column `x`, row `y` is not background.
    pub fn probability(&self, x: usize, y: usize) -> f32 {
        self.between(&self.prediction.probability, x, y) / 255.0
    }

    /// Uncertainty of the image's pixel, in the map's unit.
    pub fn uncertainty(&self, kind: Uncertainty, x: usize, y: usize) -> f32 {
        let plane = self.prediction.plane(kind);
        self.between(&plane.bytes, x, y) / 255.0 * plane.largest
    }

    /// The predicted class of the image's pixel: background where the probability does not reach the threshold.
    pub fn class(&self, x: usize, y: usize) -> u8 {
        if self.probability(x, y) < self.threshold {
            return BACKGROUND;
        }
        self.prediction.class[self.rows[y].nearest() * self.prediction.width + self.columns[x].nearest()]
    }

    fn between(&self, bytes: &[u8], x: usize, y: usize) -> f32 {
        bilinear(bytes, self.prediction.width, &self.columns[x], &self.rows[y])
    }
}

impl Moments {
    /// The probability of a class at an image's size, interpolated bilinearly as in [`SampledPrediction`]; NaN if the network
    /// does not know the class.
    pub fn class_at(&self, class: u8, width: usize, height: usize) -> Vec<f32> {
        let pixels = self.width * self.height;
        if usize::from(class) > self.classes {
            return vec![f32::NAN; width * height];
        }
        self.stretched(&self.mean[(usize::from(class) - 1) * pixels..][..pixels], width, height)
    }

    /// The probability that a pixel is not background at an image's size, bilinear.
    pub fn foreground_at(&self, width: usize, height: usize) -> Vec<f32> {
        self.stretched(&self.foreground(), width, height)
    }

    /// The variance at an image's size, bilinear.
    pub fn variance_at(&self, width: usize, height: usize) -> Vec<f32> {
        self.stretched(&self.variance, width, height)
    }

    fn stretched(&self, map: &[f32], width: usize, height: usize) -> Vec<f32> {
        let (columns, rows) = (stretch(self.width, width), stretch(self.height, height));
        let line = |row| columns.iter().map(move |column| bilinear(map, self.width, column, row));
        rows.iter().flat_map(line).collect()
    }
}

fn bilinear<T: Copy + Into<f32>>(map: &[T], width: usize, column: &Between, row: &Between) -> f32 {
    let across = |row: usize| {
        let line = &map[row * width..];
        line[column.low].into() * (1.0 - column.share) + line[column.high].into() * column.share
    };
    across(row.low) * (1.0 - row.share) + across(row.high) * row.share
}

/// The position of a pixel of a resampled line between two pixels of the original line.
#[derive(Clone, Debug)]
struct Between {
    low: usize,
    high: usize,
    share: f32,
}

impl Between {
    fn nearest(&self) -> usize {
        if self.share < 0.5 { self.low } else { self.high }
    }
}

fn stretch(from: usize, to: usize) -> Vec<Between> {
    let between = |i: usize| {
        let at = ((i as f32 + 0.5) * from as f32 / to as f32 - 0.5).clamp(0.0, from as f32 - 1.0);
        let low = at.floor() as usize;
        Between { low, high: (low + 1).min(from - 1), share: at - low as f32 }
    };
    (0..to).map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_uncertain_tile_is_where_the_variance_is_at_the_images_size() {
        // A map of half the image's size, uncertain in columns 30 to 37 and rows 4 to 11.
        let is_uncertain = |place: usize| (30..38).contains(&(place % 50)) && (4..12).contains(&(place / 50));
        let variance: Vec<f32> = (0..50 * 40).map(|place| if is_uncertain(place) { 0.2 } else { 0.01 }).collect();
        let flat = vec![0.0; 50 * 40];
        let moments = Moments {
            width: 50,
            height: 40,
            classes: 2,
            mean: [vec![0.7; 50 * 40], vec![0.1; 50 * 40]].concat(),
            variance,
            entropy: flat.clone(),
            mutual_information: flat,
        };
        let prediction = Prediction::of(&moments);
        let (tile, mean) = prediction.most_uncertain_tile(Size::new(100, 80), Size::new(16, 16));
        assert_eq!(tile, Tile { left: 60, top: 8, width: 16, height: 16 });
        assert!((mean - 0.2).abs() < 0.002, "{mean}");
        let (whole, mean) = prediction.most_uncertain_tile(Size::new(100, 80), Size::new(128, 128));
        assert_eq!(whole, Tile { left: 0, top: 0, width: 100, height: 80 });
        let expected = (64.0 * 0.2 + 1936.0 * 0.01) / 2000.0;
        assert!((mean - expected).abs() < 0.002, "{mean} for {expected}");
        // At the far corner nothing is left over.
        let (last, _) = prediction.most_uncertain_tile(Size::new(100, 80), Size::new(99, 79));
        assert!(last.left + last.width <= 100 && last.top + last.height <= 80, "{last:?}");
        let variances = prediction.class_variances(2);
        assert!((variances[0] - expected).abs() < 0.002 && variances[1] == 0.0, "{variances:?}");
    }
}
