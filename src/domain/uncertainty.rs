//! Uncertainty quality: whether the network's probabilities are calibrated, and whether its variance is high where it
//! is wrong. Pixels labelled 255 are ignored. Memory use does not grow with the number of images.

use serde::{Deserialize, Serialize};

use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::domain::scores::Moments;

/// Number of confidence bins of equal width from 0 to 1.
const CONFIDENCES: usize = 15;
/// Variances are binned by the upper 16 bits of their float: values within 0.8 % of each other count as equal.
const VARIANCES: usize = 1 << 15;
/// Shares of the pixels, most uncertain first, that are set aside.
const SHARES: [f64; 8] = [0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5];

/// Uncertainty quality over the validation images.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct UncertaintyQuality {
    /// Expected calibration error of the most probable class, 0 to 1 (Guo et al., arXiv 1706.04599).
    pub ece: f64,
    /// Confidence, share that is right, and share of the pixels, for each part of the confidences that has any.
    pub reliability: Vec<[f64; 3]>,
    /// Probability that a wrong pixel has a higher variance than a right one, equals half (area under the receiver
    /// operating characteristic); `None` where all are right or all wrong.
    pub error_auroc: Option<f64>,
    /// Area under the risk–coverage curve: the share of wrong pixels among the most certain ones, mean over all shares of
    /// the pixels; lower is better (Geifman & El-Yaniv, arXiv 1705.08500). `None` in a round of before it was measured.
    #[serde(default)]
    pub aurc: Option<f64>,
    /// Share of the pixels set aside, most uncertain first, and the Dice coefficient of the foreground over the rest of
    /// all images together.
    pub set_aside: Vec<[f64; 2]>,
}

/// Pixels by how they were predicted.
#[derive(Clone, Copy, Default)]
struct ErrorCounts {
    all: u64,
    wrong: u64,
    /// Predicted foreground, labelled foreground, and both with the same class.
    predicted: u64,
    labelled: u64,
    both: u64,
}

impl ErrorCounts {
    fn plus(self, other: Self) -> Self {
        Self {
            all: self.all + other.all,
            wrong: self.wrong + other.wrong,
            predicted: self.predicted + other.predicted,
            labelled: self.labelled + other.labelled,
            both: self.both + other.both,
        }
    }
}

/// Pixels of a growing set of images, counted by confidence and by variance.
pub struct PixelCounts {
    /// For each bin: sum of the confidences, number of correct pixels, number of pixels.
    confidences: [(f64, u64, u64); CONFIDENCES],
    variances: Vec<ErrorCounts>,
}

impl Default for PixelCounts {
    fn default() -> Self {
        Self { confidences: [(0.0, 0, 0); CONFIDENCES], variances: vec![ErrorCounts::default(); VARIANCES] }
    }
}

impl PixelCounts {
    /// Counts one image with its label, `[rows, columns]`.
    pub fn add(&mut self, moments: &Moments, label: &[u8]) {
        let pixels = moments.width * moments.height;
        let mask = moments.mask(0.5);
        for pixel in (0..pixels).filter(|pixel| label[*pixel] != UNLABELLED) {
            let predicted = mask[pixel];
            let foreground = || (0..moments.classes).map(|class| moments.mean[class * pixels + pixel]);
            let confidence = match predicted {
                BACKGROUND => 1.0 - foreground().sum::<f32>(),
                class => moments.mean[(usize::from(class) - 1) * pixels + pixel],
            };
            let truth = label[pixel];
            let right = predicted == truth;
            let part = ((confidence.clamp(0.0, 1.0) * CONFIDENCES as f32) as usize).min(CONFIDENCES - 1);
            let (sum, correct, all) = &mut self.confidences[part];
            *sum += f64::from(confidence);
            *correct += u64::from(right);
            *all += 1;
            let counts = &mut self.variances[(moments.variance[pixel].max(0.0).to_bits() >> 16) as usize];
            counts.all += 1;
            counts.wrong += u64::from(!right);
            counts.predicted += u64::from(predicted != BACKGROUND);
            counts.labelled += u64::from(truth != BACKGROUND);
            counts.both += u64::from(right && truth != BACKGROUND);
        }
    }

    /// The measures; `None` of no pixel.
    pub fn quality(&self) -> Option<UncertaintyQuality> {
        let total = self.variances.iter().copied().fold(ErrorCounts::default(), ErrorCounts::plus);
        if total.all == 0 {
            return None;
        }
        let all = total.all as f64;
        let reliability: Vec<[f64; 3]> = self
            .confidences
            .iter()
            .filter(|(_, _, pixels)| *pixels > 0)
            .map(|(sum, right, pixels)| {
                let pixels = *pixels as f64;
                [sum / pixels, *right as f64 / pixels, pixels / all]
            })
            .collect();
        Some(UncertaintyQuality {
            ece: reliability.iter().map(|[confidence, right, share]| (confidence - right).abs() * share).sum(),
            reliability,
            error_auroc: self.error_auroc(total),
            aurc: Some(self.aurc(total)),
            set_aside: SHARES.iter().map(|share| [*share, self.dice_without(*share, total)]).collect(),
        })
    }

    fn error_auroc(&self, total: ErrorCounts) -> Option<f64> {
        let (wrong, right) = (total.wrong as f64, (total.all - total.wrong) as f64);
        let (mut below, mut won) = (0.0, 0.0);
        for counts in &self.variances {
            let right_here = (counts.all - counts.wrong) as f64;
            won += counts.wrong as f64 * (below + right_here / 2.0);
            below += right_here;
        }
        (wrong > 0.0 && right > 0.0).then(|| won / (wrong * right))
    }

    /// Area under the risk–coverage curve. Pixels of equal variance are covered in proportion: within a bin, the risk
    /// is (wrong + rate · x) / (covered + x), whose integral is a linear and a logarithmic term.
    fn aurc(&self, total: ErrorCounts) -> f64 {
        let (mut covered, mut wrong, mut area) = (0.0, 0.0, 0.0);
        for counts in self.variances.iter().filter(|counts| counts.all > 0) {
            let (all, rate) = (counts.all as f64, counts.wrong as f64 / counts.all as f64);
            area += rate * all;
            if covered > 0.0 {
                area += (wrong - rate * covered) * ((covered + all) / covered).ln();
            }
            covered += all;
            wrong += counts.wrong as f64;
        }
        area / total.all as f64
    }

    /// Dice of the foreground without the most uncertain `share` of the pixels; pixels of equal variance are removed in
    /// proportion.
    fn dice_without(&self, share: f64, total: ErrorCounts) -> f64 {
        let mut left = share * total.all as f64;
        let (mut predicted, mut labelled, mut both) =
            (total.predicted as f64, total.labelled as f64, total.both as f64);
        for counts in self.variances.iter().rev().filter(|counts| counts.all > 0) {
            let part = (left / counts.all as f64).min(1.0);
            predicted -= part * counts.predicted as f64;
            labelled -= part * counts.labelled as f64;
            both -= part * counts.both as f64;
            left -= part * counts.all as f64;
            if left <= 0.0 {
                break;
            }
        }
        if predicted + labelled < 0.5 { 1.0 } else { 2.0 * both / (predicted + labelled) }
    }
}
