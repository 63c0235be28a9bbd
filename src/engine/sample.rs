//! Training samples at the network's size, and their augmentation, on the host.

use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::domain::mask::UNLABELLED;
use crate::domain::settings::Settings;
use crate::engine::EngineError;
use crate::engine::lite0;
use crate::engine::samples::Samples;

/// One image, or a tile of one, with its label, both at the network's size.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Pixel-interleaved channels, 0 to 65535, `[rows, columns, channels]`.
    pub image: Vec<u16>,
    /// Class per pixel, `[rows, columns]`; 255 carries no loss.
    pub label: Vec<u8>,
    /// What it counts in the loss: 1 for a human label.
    pub weight: f32,
    /// Which image of its set it is, or is a tile of: tiles of one image are measured together.
    pub number: usize,
}

/// The shape all samples of a set share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Channels of the image.
    pub channels: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
}

impl Shape {
    /// Pixels of one map.
    pub fn pixels(self) -> usize {
        self.rows * self.columns
    }
}

/// How one training image is changed before one step.
#[derive(Clone, Copy, Debug)]
struct Change {
    /// Maps a point of the changed image, relative to its centre, to the original: `[a, b, c, d]` of a 2 × 2 matrix.
    matrix: [f32; 4],
    contrast: f32,
    brightness: f32,
}

impl Change {
    fn draw(settings: &Settings, rng: &mut impl Rng) -> Self {
        let mut within = |range: f64| if range > 0.0 { rng.random_range(-range..=range) as f32 } else { 0.0 };
        let angle = within(settings.augment_rotation).to_radians();
        let scale = 1.0 / (1.0 + within(settings.augment_scale));
        let (contrast, brightness) = (1.0 + within(settings.augment_contrast), within(settings.augment_brightness));
        let mut side = |may_flip: bool| if may_flip && rng.random_bool(0.5) { -1.0 } else { 1.0 };
        let flips = settings.augment_flips;
        let (flip_x, flip_y) = (side(flips.left_right()), side(flips.top_bottom()));
        let (sin, cos) = angle.sin_cos();
        let matrix = [flip_x * scale * cos, -flip_x * scale * sin, flip_y * scale * sin, flip_y * scale * cos];
        Self { matrix, contrast, brightness }
    }

    fn moves_nothing(&self) -> bool {
        self.matrix == [1.0, 0.0, 0.0, 1.0]
    }
}

/// A batch on the host: what goes to the device in two copies.
#[derive(Debug)]
pub struct HostBatch {
    /// Normalised images, `[batch, channels, rows, columns]`.
    pub images: Vec<f32>,
    /// Classes as numbers, `[batch, 1, rows, columns]`; 255 carries no loss.
    pub labels: Vec<f32>,
    /// What each image counts in the loss, `[batch]`.
    pub weights: Vec<f32>,
}

/// Lays the samples out for the network, each changed at random as the settings say, normalised by `statistics`.
pub fn augmented_batch(
    samples: &[&Sample],
    shape: Shape,
    statistics: &Statistics,
    settings: &Settings,
    rng: &mut impl Rng,
) -> HostBatch {
    let changes: Vec<Change> = samples.iter().map(|_| Change::draw(settings, rng)).collect();
    let made: Vec<(Vec<f32>, Vec<f32>)> = samples
        .par_iter()
        .zip(changes)
        .map(|(sample, change)| {
            (change_image(sample, shape, statistics, &change), change_label(sample, shape, &change))
        })
        .collect();
    let (images, labels): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let weights = samples.iter().map(|sample| sample.weight).collect();
    HostBatch { images: images.concat(), labels: labels.concat(), weights }
}

/// Where the pixel centre at `row`, `column` of the changed image lies in the original, as (row, column).
fn source(change: &Change, shape: Shape, row: usize, column: usize) -> (f32, f32) {
    let (middle_row, middle_column) = ((shape.rows as f32 - 1.0) / 2.0, (shape.columns as f32 - 1.0) / 2.0);
    let (x, y) = (column as f32 - middle_column, row as f32 - middle_row);
    let [a, b, c, d] = change.matrix;
    (c * x + d * y + middle_row, a * x + b * y + middle_column)
}

/// Bilinear, the border repeated outwards.
fn change_image(sample: &Sample, shape: Shape, statistics: &Statistics, change: &Change) -> Vec<f32> {
    let Shape { channels, rows, columns } = shape;
    let mut out = vec![0.0; channels * rows * columns];
    for row in 0..rows {
        for column in 0..columns {
            let (y, x) = source(change, shape, row, column);
            let (y, x) = (y.clamp(0.0, rows as f32 - 1.0), x.clamp(0.0, columns as f32 - 1.0));
            let (top, left) = (y as usize, x as usize);
            let (bottom, right) = ((top + 1).min(rows - 1), (left + 1).min(columns - 1));
            let (fy, fx) = (y - top as f32, x - left as f32);
            for channel in 0..channels {
                let at =
                    |row: usize, column: usize| f32::from(sample.image[(row * columns + column) * channels + channel]);
                let value = if change.moves_nothing() {
                    at(row, column)
                } else {
                    (at(top, left) * (1.0 - fx) + at(top, right) * fx) * (1.0 - fy)
                        + (at(bottom, left) * (1.0 - fx) + at(bottom, right) * fx) * fy
                };
                let value = (value / 65535.0 - 0.5) * change.contrast + 0.5 + change.brightness;
                out[(channel * rows + row) * columns + column] = statistics.normalise(channel, value);
            }
        }
    }
    out
}

/// Nearest pixel; what comes from outside the image carries no loss.
fn change_label(sample: &Sample, shape: Shape, change: &Change) -> Vec<f32> {
    let mut out = Vec::with_capacity(shape.pixels());
    for row in 0..shape.rows {
        for column in 0..shape.columns {
            let (y, x) = source(change, shape, row, column);
            let (y, x) = (y.round(), x.round());
            let inside = y >= 0.0 && x >= 0.0 && y < shape.rows as f32 && x < shape.columns as f32;
            let class = if inside { sample.label[y as usize * shape.columns + x as usize] } else { UNLABELLED };
            out.push(f32::from(class));
        }
    }
    out
}

/// Mean and standard deviation of each channel that images are normalised by, on a scale of 0 to 1. Stored with the model.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, never 0.
    pub deviation: Vec<f32>,
}

impl Statistics {
    /// Statistics of the samples' images.
    pub fn of(samples: &impl Samples, channels: usize) -> Result<Self, EngineError> {
        let mut counts = vec![vec![0u64; 1 << 16]; channels];
        for place in 0..samples.len() {
            for pixel in samples.get(place)?.image.chunks_exact(channels) {
                pixel.iter().zip(&mut counts).for_each(|(value, counts)| counts[usize::from(*value)] += 1);
            }
        }
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for counts in counts {
            let all = counts.iter().sum::<u64>().max(1) as f64;
            let sum =
                |f: &dyn Fn(f64) -> f64| (0..).zip(&counts).map(|(v, n)| f(f64::from(v)) * *n as f64).sum::<f64>();
            let m = sum(&|v| v) / all;
            let variance = sum(&|v| (v - m).powi(2)) / all;
            mean.push((m / 65535.0) as f32);
            deviation.push((variance.sqrt() / 65535.0).max(1e-3) as f32);
        }
        Ok(Self { mean, deviation })
    }

    /// Those that the pre-trained encoder was trained with.
    pub fn of_photographs(channels: usize) -> Self {
        Self { mean: vec![lite0::INPUT_MEAN; channels], deviation: vec![lite0::INPUT_DEVIATION; channels] }
    }

    fn normalise(&self, channel: usize, value: f32) -> f32 {
        (value - self.mean[channel]) / self.deviation[channel]
    }

    /// One image as the network takes it, `[channels, rows, columns]`, from interleaved values.
    pub fn network_input(&self, image: &[u16]) -> Vec<f32> {
        let channels = self.mean.len();
        (0..channels)
            .flat_map(|channel| {
                image
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .map(move |&v| self.normalise(channel, f32::from(v) / 65535.0))
            })
            .collect()
    }
}
