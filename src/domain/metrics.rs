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
    /// Share of the object that is found, 0 to 1.
    #[serde(default)]
    pub sensitivity: f64,
    /// Share of the rest that is left alone, 0 to 1.
    #[serde(default)]
    pub specificity: f64,
    /// Images averaged over.
    pub images: usize,
}

/// Agreement of one image, averaged over classes 1..=`classes`. Where a ratio is of nothing, as the Dice of a class that
/// neither mask has, it counts as 1: both agree that it is not there.
pub fn agreement(predicted: &[u8], label: &[u8], classes: usize) -> Agreement {
    let mut sum = Agreement { images: 1, ..Agreement::default() };
    for class in 1..=classes as u8 {
        let (mut both, mut in_predicted, mut in_label, mut all) = (0u64, 0u64, 0u64, 0u64);
        for (&p, &l) in predicted.iter().zip(label).filter(|&(_, &l)| l != UNLABELLED) {
            both += u64::from(p == class && l == class);
            in_predicted += u64::from(p == class);
            in_label += u64::from(l == class);
            all += 1;
        }
        let union = in_predicted + in_label - both;
        let ratio = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        sum.dice += ratio(2 * both, in_predicted + in_label);
        sum.jaccard += ratio(both, union);
        sum.sensitivity += ratio(both, in_label);
        sum.specificity += ratio(all - union, all - in_label);
    }
    sum.over(classes.max(1) as f64)
}

impl Agreement {
    /// Every share divided by `count`.
    fn over(self, count: f64) -> Self {
        Self {
            dice: self.dice / count,
            jaccard: self.jaccard / count,
            sensitivity: self.sensitivity / count,
            specificity: self.specificity / count,
            images: self.images,
        }
    }
}

/// The mean over images; `None` of no images.
pub fn mean(images: &[Agreement]) -> Option<Agreement> {
    let sum = images.iter().fold(Agreement::default(), |sum, image| Agreement {
        dice: sum.dice + image.dice,
        jaccard: sum.jaccard + image.jaccard,
        sensitivity: sum.sensitivity + image.sensitivity,
        specificity: sum.specificity + image.specificity,
        images: sum.images + image.images,
    });
    (!images.is_empty()).then(|| sum.over(images.len() as f64))
}
