//! Random augmentation of training samples on the host, and the batches made of them.

use rand::{Rng, RngExt};
use rayon::prelude::*;

use crate::domain::mask::UNLABELLED;
use crate::domain::settings::Settings;
use crate::engine::sample::{Sample, Shape};
use crate::engine::statistics::Statistics;

/// The augmentation of one training image for one step.
#[derive(Clone, Copy, Debug)]
struct Augmentation {
    /// Maps a point of the augmented image, relative to its centre, to the original: `[a, b, c, d]` of a 2 × 2 matrix.
    matrix: [f32; 4],
    contrast: f32,
    brightness: f32,
}

impl Augmentation {
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

/// A batch on the host, ready to be copied to the device.
#[derive(Debug)]
pub struct HostBatch {
    /// Normalised images, `[batch, channels, rows, columns]`.
    pub images: Vec<f32>,
    /// Classes as numbers, `[batch, 1, rows, columns]`; 255 carries no loss.
    pub labels: Vec<f32>,
    /// Weight of each image in the loss, `[batch]`.
    pub weights: Vec<f32>,
}

/// Lays the samples out for the network, each randomly augmented as the settings say and normalised by `statistics`.
pub fn augmented_batch(
    samples: &[&Sample],
    shape: Shape,
    statistics: &Statistics,
    settings: &Settings,
    rng: &mut impl Rng,
) -> HostBatch {
    let changes: Vec<Augmentation> = samples.iter().map(|_| Augmentation::draw(settings, rng)).collect();
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

/// The position in the original image of the pixel centre at `row`, `column` of the augmented image, as (row, column).
fn source(change: &Augmentation, shape: Shape, row: usize, column: usize) -> (f32, f32) {
    let (middle_row, middle_column) = ((shape.rows as f32 - 1.0) / 2.0, (shape.columns as f32 - 1.0) / 2.0);
    let (x, y) = (column as f32 - middle_column, row as f32 - middle_row);
    let [a, b, c, d] = change.matrix;
    (c * x + d * y + middle_row, a * x + b * y + middle_column)
}

/// Augments the image with bilinear interpolation, repeating the border outwards.
fn change_image(sample: &Sample, shape: Shape, statistics: &Statistics, change: &Augmentation) -> Vec<f32> {
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

/// Augments the label by nearest neighbour; pixels from outside the image carry no loss.
fn change_label(sample: &Sample, shape: Shape, change: &Augmentation) -> Vec<f32> {
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
