//! How well a predicted mask agrees with a label. Pixels labelled 255 are ignored.

use serde::{Deserialize, Serialize};

use crate::domain::mask::UNLABELLED;

/// Agreement over a set of images: the mean over images of each image's mean over classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
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

/// Agreement over a set of images, in detail.
///
/// A class that occurs in no label of the set is left out of every mean. In each image, only classes that occur in its
/// label or its prediction count; an image with none of them counts as full agreement.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Mean over images of each image's mean over classes.
    pub mean: Agreement,
    /// For each class, class 1 first, the mean over the images that count for it; over 0 images if no label has the
    /// class.
    pub classes: Vec<Agreement>,
    /// Dice coefficient of each image, mean over its classes.
    pub dice: Vec<f64>,
}

impl Measured {
    /// Computes the agreement from the counts of each image and class; `None` if no label has any class, since there is
    /// nothing to find.
    pub fn of(images: &[Vec<Counts>]) -> Option<Self> {
        let classes = images.first()?.len();
        let is_labelled: Vec<bool> =
            (0..classes).map(|class| images.iter().any(|image| image[class].in_label > 0)).collect();
        if !is_labelled.contains(&true) {
            return None;
        }
        let counts = |image: &[Counts], class: usize| {
            let counts = image[class];
            (is_labelled[class] && counts.in_label + counts.in_predicted > 0).then(|| counts.agreement())
        };
        let of_image = |image: &Vec<Counts>| {
            let found: Vec<Agreement> = (0..classes).filter_map(|class| counts(image, class)).collect();
            let agreement = mean(&found).unwrap_or(Agreement::WHOLE);
            Agreement { images: 1, ..agreement }
        };
        let each: Vec<Agreement> = images.iter().map(of_image).collect();
        let of_class = |class: usize| {
            let found: Vec<Agreement> = images.iter().filter_map(|image| counts(image, class)).collect();
            mean(&found).unwrap_or_default()
        };
        Some(Self {
            mean: mean(&each)?,
            classes: (0..classes).map(of_class).collect(),
            dice: each.iter().map(|image| image.dice).collect(),
        })
    }
}

/// Agreement of one image, averaged over classes 1..=`classes`.
pub fn agreement(predicted: &[u8], label: &[u8], classes: usize) -> Agreement {
    over_classes(&agreement_by_class(predicted, label, classes))
}

/// Agreement of one image for each class 1..=`classes`.
pub fn agreement_by_class(predicted: &[u8], label: &[u8], classes: usize) -> Vec<Agreement> {
    let mut counts = vec![Counts::default(); classes];
    count(&mut counts, predicted, label);
    counts.into_iter().map(Counts::agreement).collect()
}

/// Pixels of one class, as predicted and as labelled.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    both: u64,
    in_predicted: u64,
    in_label: u64,
    all: u64,
}

/// Adds the pixels of an image, or of a part of it, to the counts of class 1 and on.
pub fn count(counts: &mut [Counts], predicted: &[u8], label: &[u8]) {
    for (class, counts) in (1..).zip(counts) {
        for (&p, &l) in predicted.iter().zip(label).filter(|&(_, &l)| l != UNLABELLED) {
            counts.both += u64::from(p == class && l == class);
            counts.in_predicted += u64::from(p == class);
            counts.in_label += u64::from(l == class);
            counts.all += 1;
        }
    }
}

impl Counts {
    /// The agreement by these counts. A ratio with a denominator of 0, such as the Dice of a class that neither mask
    /// has, counts as 1: both agree that the class is absent.
    pub fn agreement(self) -> Agreement {
        let Self { both, in_predicted, in_label, all } = self;
        let union = in_predicted + in_label - both;
        let ratio = |part: u64, whole: u64| if whole == 0 { 1.0 } else { part as f64 / whole as f64 };
        Agreement {
            dice: ratio(2 * both, in_predicted + in_label),
            jaccard: ratio(both, union),
            sensitivity: ratio(both, in_label),
            specificity: ratio(all - union, all - in_label),
            images: 1,
        }
    }
}

/// One image's mean over its classes.
fn over_classes(classes: &[Agreement]) -> Agreement {
    Agreement { images: 1, ..mean(classes).unwrap_or_default() }
}

impl Agreement {
    /// The agreement of identical masks.
    const WHOLE: Self = Self { dice: 1.0, jaccard: 1.0, sensitivity: 1.0, specificity: 1.0, images: 1 };

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
