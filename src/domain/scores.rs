//! Uncertainty of one image from its T dropout passes, per pixel and per image.
//!
//! Variance is the population variance (divided by T); entropies are in nats. The per-image scores equal those of the
//! project's numpy reference, on maps of the network's size.

use image::{GrayImage, Luma};
use imageproc::distance_transform::euclidean_squared_distance_transform;
use serde::{Deserialize, Serialize};

/// The four per-pixel maps of one image, rows first, all of one size.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Classes besides the background. With one, the map is a sigmoid's foreground probability.
    pub classes: usize,
    /// Mean probability of each class, `[classes, rows, columns]`.
    pub mean: Vec<f32>,
    /// Predictive variance `[rows, columns]`: Var_t of the foreground probability; with several classes, the sum of the
    /// classes' variances.
    pub variance: Vec<f32>,
    /// Predictive entropy `[rows, columns]`: the entropy of the mean probabilities.
    pub entropy: Vec<f32>,
    /// Mutual information `[rows, columns]`: predictive entropy less the mean of the passes' entropies (BALD,
    /// Houlsby et al., arXiv 1112.5745).
    pub mutual_information: Vec<f32>,
}

/// One number per image, each a different way of asking how unsure the network is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Scores {
    /// Share of pixels predicted foreground, 0 to 1. Zero: nothing was detected.
    pub foreground_fraction: f64,
    /// Sum of the variance over all pixels.
    pub variance_sum: f64,
    /// The paper's score (Gorriz et al., arXiv 1711.09168): variance times the distance to the predicted contour,
    /// the distance scaled to at most 1, summed; 0 where nothing is detected.
    pub variance_edt_sum: f64,
    /// The same, divided by the summed distances: does not grow with the object.
    pub variance_edt_mean: f64,
    /// Mean predictive entropy, in nats.
    pub entropy_mean: f64,
    /// Mean mutual information, in nats.
    pub mutual_information_mean: f64,
}

impl Moments {
    /// The predicted class of each pixel, 1..=`classes`: with one class, where its probability reaches `threshold`;
    /// with several, the most probable class where their probabilities together reach it. 0 elsewhere.
    pub fn mask(&self, threshold: f32) -> Vec<u8> {
        let pixels = self.width * self.height;
        (0..pixels)
            .map(|pixel| {
                let (mut sum, mut best, mut class) = (0.0, f32::NEG_INFINITY, 0);
                for c in 0..self.classes {
                    let p = self.mean[c * pixels + pixel];
                    sum += p;
                    if p > best {
                        (best, class) = (p, c + 1);
                    }
                }
                if sum >= threshold { class as u8 } else { 0 }
            })
            .collect()
    }

    /// Probability that a pixel is not background, `[rows, columns]`.
    pub fn foreground(&self) -> Vec<f32> {
        let pixels = self.width * self.height;
        (0..pixels).map(|pixel| (0..self.classes).map(|c| self.mean[c * pixels + pixel]).sum()).collect()
    }

    /// The image's scores, its predicted mask taken at probability 0.5.
    pub fn scores(&self) -> Scores {
        let mask = self.mask(0.5);
        let weight = scaled_distance(&mask, self.width, self.height);
        let pixels = mask.len() as f64;
        let sum = |map: &[f32]| map.iter().map(|&v| f64::from(v)).sum::<f64>();
        let weighted: f64 = self.variance.iter().zip(&weight).map(|(&v, w)| f64::from(v) * w).sum();
        let total: f64 = weight.iter().sum();
        Scores {
            foreground_fraction: mask.iter().filter(|&&class| class != 0).count() as f64 / pixels,
            variance_sum: sum(&self.variance),
            variance_edt_sum: weighted,
            variance_edt_mean: if total > 0.0 { weighted / total } else { 0.0 },
            entropy_mean: sum(&self.entropy) / pixels,
            mutual_information_mean: sum(&self.mutual_information) / pixels,
        }
    }
}

/// Distance of each foreground pixel to the nearest background pixel, scaled so that the largest is 1; 0 on the
/// background. A mask without background has no contour, so every weight is 1.
pub fn scaled_distance(mask: &[u8], width: usize, height: usize) -> Vec<f64> {
    if mask.iter().all(|&class| class != 0) {
        return vec![1.0; mask.len()];
    }
    let background = GrayImage::from_fn(width as u32, height as u32, |x, y| {
        Luma([u8::from(mask[y as usize * width + x as usize] == 0)])
    });
    let squared = euclidean_squared_distance_transform(&background).into_raw();
    let largest = squared.iter().copied().fold(0.0, f64::max).sqrt();
    if largest == 0.0 {
        return squared;
    }
    squared.into_iter().map(|d| d.sqrt() / largest).collect()
}

impl Moments {
    /// The moments of a stack of T maps of foreground probability, `[T, rows, columns]`: the plain definition in double
    /// precision, as a reference for the engine's accumulation on the device.
    pub fn of_stack(stack: &[f32], width: usize, height: usize) -> Self {
        let pixels = width * height;
        let passes = (stack.len() / pixels) as f64;
        let over_passes = |pixel: usize, f: &dyn Fn(f64) -> f64| {
            stack.iter().skip(pixel).step_by(pixels).map(|&p| f(f64::from(p))).sum::<f64>() / passes
        };
        let (mut mean, mut variance, mut entropy, mut mutual) = (vec![], vec![], vec![], vec![]);
        for pixel in 0..pixels {
            let m = over_passes(pixel, &|p| p);
            let predictive = binary_entropy(m);
            mean.push(m as f32);
            variance.push(over_passes(pixel, &|p| (p - m) * (p - m)) as f32);
            entropy.push(predictive as f32);
            mutual.push((predictive - over_passes(pixel, &binary_entropy)) as f32);
        }
        Self { width, height, classes: 1, mean, variance, entropy, mutual_information: mutual }
    }
}

/// Entropy of a Bernoulli variable in nats, its probability kept 1e-7 away from 0 and 1.
fn binary_entropy(p: f64) -> f64 {
    let p = p.clamp(1e-7, 1.0 - 1e-7);
    -(p * p.ln() + (1.0 - p) * (1.0 - p).ln())
}
