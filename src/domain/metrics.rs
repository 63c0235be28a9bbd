//! How well a predicted mask agrees with a label. Pixels labelled 255 count in nothing.

use serde::{Deserialize, Serialize};

use crate::domain::mask::UNLABELLED;

/// Agreement over a set of images: the mean over images of each image's mean over classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Dice coefficient, 0 to 1.
    pub dice: f64,
    /// Jaccard index (intersection over union), 0 to 1.
    pub jaccard: f64,
    /// Images averaged over.
    pub images: usize,
}

/// Dice and Jaccard of one image, averaged over classes 1..=`classes`. A class that neither mask has counts as 1, since
/// both agree that it is not there.
pub fn agreement(predicted: &[u8], label: &[u8], classes: usize) -> Agreement {
    let (mut dice, mut jaccard) = (0.0, 0.0);
    for class in 1..=classes as u8 {
        let (mut both, mut in_predicted, mut in_label) = (0u64, 0u64, 0u64);
        for (&p, &l) in predicted.iter().zip(label).filter(|&(_, &l)| l != UNLABELLED) {
            both += u64::from(p == class && l == class);
            in_predicted += u64::from(p == class);
            in_label += u64::from(l == class);
        }
        let union = in_predicted + in_label - both;
        let ratio = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        dice += ratio(2 * both, in_predicted + in_label);
        jaccard += ratio(both, union);
    }
    let classes = classes.max(1) as f64;
    Agreement { dice: dice / classes, jaccard: jaccard / classes, images: 1 }
}

/// The mean over images; `None` of no images.
pub fn mean(images: &[Agreement]) -> Option<Agreement> {
    if images.is_empty() {
        return None;
    }
    let n = images.len() as f64;
    Some(Agreement {
        dice: images.iter().map(|a| a.dice).sum::<f64>() / n,
        jaccard: images.iter().map(|a| a.jaccard).sum::<f64>() / n,
        images: images.len(),
    })
}
