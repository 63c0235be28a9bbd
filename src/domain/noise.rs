//! How much of a round's Dice, and of its gain over an earlier round, is noise due to the choice of validation images,
//! by a percentile bootstrap over the images (Efron, Ann. Statist. 7, 1979).

use std::collections::HashMap;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::round::Report;

const RESAMPLES: usize = 2000;
/// Minimum number of validation images that two rounds must share for their difference to be meaningful.
const FEWEST: usize = 4;
/// A drop in Dice too large to be noise, however few the images.
const COLLAPSE: f64 = 0.2;

/// A mean over images with its 95 % bootstrap interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The mean.
    pub mean: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The mean of the values with its interval; `None` of no values. The same values always give the same interval.
pub fn interval(values: &[f64]) -> Option<Interval> {
    if values.is_empty() {
        return None;
    }
    let count = values.len() as f64;
    let mut rng = Pcg64Mcg::seed_from_u64(values.len() as u64);
    let mut resample = || (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum::<f64>() / count;
    let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
    means.sort_by(f64::total_cmp);
    let at = |share: f64| means[(share * (RESAMPLES - 1) as f64).round() as usize];
    Some(Interval { mean: values.iter().sum::<f64>() / count, low: at(0.025), high: at(0.975) })
}

/// The interval of a round's validation Dice; `None` for fewer than two images: of one, resampling knows no spread.
pub fn dice(report: &Report) -> Option<Interval> {
    let dice: Vec<f64> = report.validation_images.iter().map(|image| image.dice).collect();
    if dice.len() > 1 { interval(&dice) } else { None }
}

/// The gain in validation Dice from one round to another, paired over the images measured in both; `None` for fewer
/// than four images.
pub fn gain(from: &Report, to: &Report) -> Option<Interval> {
    let gains = gains(from, to);
    if gains.len() >= FEWEST { interval(&gains) } else { None }
}

/// The rise of the Dice of each image that both rounds measured.
fn gains(from: &Report, to: &Report) -> Vec<f64> {
    let before: HashMap<&str, f64> = from.validation_images.iter().map(|i| (i.image.as_str(), i.dice)).collect();
    to.validation_images.iter().filter_map(|i| Some(i.dice - before.get(i.image.as_str())?)).collect()
}

/// Whether a new round's model may replace the active one. Over the validation images measured in both rounds, its Dice
/// must not have fallen by more than `tolerance`, unless noise can explain the drop; a drop of more than `COLLAPSE` is
/// never taken for noise. Without such images, or if the number of classes has changed, it may replace it, since it was
/// trained on more labels.
pub fn may_replace(active: &Report, new: &Report, tolerance: f64) -> bool {
    let gains = gains(active, new);
    if active.classes.len() != new.classes.len() {
        return true;
    }
    match interval(&gains) {
        None => true,
        Some(gain) if gain.mean >= -tolerance => true,
        Some(gain) => gain.mean >= -COLLAPSE && (gains.len() < FEWEST || gain.high >= 0.0),
    }
}

/// The gain over the last `rounds` rounds, or `None` if there are not that many.
pub fn last_gain(reports: &[&Report], rounds: usize) -> Option<Interval> {
    let to = reports.last()?;
    gain(reports[..reports.len() - 1].iter().rev().nth(rounds - 1)?, to)
}

impl Interval {
    /// Whether the gain cannot be told from noise: no gain, or even a loss, would be consistent with it.
    pub fn is_noise(&self) -> bool {
        self.low <= 0.0
    }
}
