//! Losses over logits and labels; pixels labelled 255 are ignored.

use burn::prelude::*;
use burn::tensor::activation::{log_softmax, relu, sigmoid, softmax};

use crate::domain::mask::UNLABELLED;
use crate::domain::settings::Loss;

/// Smoothing of the Dice loss: the paper's 1.
const SMOOTHING: f32 = 1.0;

/// Probabilities of classes 1..=C, `[batch, C, rows, columns]`: the sigmoid of one logit, or the softmax of several with
/// the background's map left out.
pub fn probabilities(logits: Tensor<4>) -> Tensor<4> {
    let outputs = logits.dims()[1];
    if outputs == 1 { sigmoid(logits) } else { softmax(logits, 1).narrow(1, 1, outputs - 1) }
}

/// The loss of logits `[batch, outputs, rows, columns]` against labels `[batch, 1, rows, columns]` (class numbers), as
/// a single number; each image's contribution is multiplied by its weight, `[batch, 1, 1, 1]`.
pub fn loss(kind: Loss, logits: Tensor<4>, labels: Tensor<4>, weights: Tensor<4>) -> Tensor<1> {
    let counted = labels.clone().not_equal_elem(f32::from(UNLABELLED)).float();
    match kind {
        Loss::Dice => dice(logits, &labels, counted, weights),
        Loss::CrossEntropy => cross_entropy(logits, &labels, counted, weights),
        Loss::Both => {
            dice(logits.clone(), &labels, counted.clone(), weights.clone())
                + cross_entropy(logits, &labels, counted, weights)
        }
    }
}

/// 1 − soft Dice, (2 Σ p t + s) / (Σ p + Σ t + s) per image and class, times the image's weight, averaged.
fn dice(logits: Tensor<4>, labels: &Tensor<4>, counted: Tensor<4>, weights: Tensor<4>) -> Tensor<1> {
    let p = probabilities(logits) * counted.clone();
    let classes = p.dims()[1];
    let targets = targets(labels, 1..classes + 1);
    let over_pixels = |x: Tensor<4>| x.sum_dim(3).sum_dim(2);
    let both = over_pixels(p.clone() * targets.clone());
    let total = over_pixels(p) + over_pixels(targets);
    let dice = (both * 2.0 + SMOOTHING) / (total + SMOOTHING);
    ((dice.neg() + 1.0) * weights).mean()
}

/// Cross-entropy times the image's weight, averaged over the counted pixels, in nats: binary for one logit (in the form
/// that cannot overflow), categorical for several.
fn cross_entropy(logits: Tensor<4>, labels: &Tensor<4>, counted: Tensor<4>, weights: Tensor<4>) -> Tensor<1> {
    let outputs = logits.dims()[1];
    let pixels = counted.clone().sum().clamp_min(1.0);
    let each = if outputs == 1 {
        let target = targets(labels, 1..2);
        relu(logits.clone()) - logits.clone() * target + (logits.abs().neg().exp() + 1.0).log()
    } else {
        (log_softmax(logits, 1) * targets(labels, 0..outputs)).sum_dim(1).neg()
    };
    (each * counted * weights).sum() / pixels
}

/// One map per class of the range, 1 where the label is that class.
fn targets(labels: &Tensor<4>, classes: std::ops::Range<usize>) -> Tensor<4> {
    let map = |class: usize| labels.clone().equal_elem(class as f32).float();
    if classes.len() == 1 { map(classes.start) } else { Tensor::cat(classes.map(map).collect(), 1) }
}
