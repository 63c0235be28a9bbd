//! The status of an image, in one word.

use serde::Serialize;

use crate::domain::round::Reason;
use crate::domain::study::ImageRecord;

/// What a labelled image is used for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Side {
    /// Not decided: no round has seen it labelled yet.
    #[default]
    Undrawn,
    /// Trained on.
    Training,
    /// Used for validation, and never trained on.
    Validation,
}

/// What a person has decided on a pseudo-label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Review {
    /// Nothing yet.
    Unreviewed,
    /// It is trained on as it is.
    Accepted,
    /// Neither it nor any later one of this image is trained on.
    Rejected,
}

/// An image's status: each image has one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Status {
    /// Not labelled.
    Unlabelled,
    /// Proposed for labelling: why, and its rank from 1.
    Proposed(Reason, usize),
    /// It has a pseudo-label.
    Pseudo(Review),
    /// Labelled, and trained on.
    Labelled,
    /// Labelled, and used for validation.
    Validation,
    /// It cannot be read.
    Unreadable,
}

impl Status {
    /// The status of an image.
    pub fn of(image: &ImageRecord) -> Self {
        match image {
            ImageRecord { problem: Some(_), .. } => Self::Unreadable,
            ImageRecord { labelled: true, side: Side::Validation, .. } => Self::Validation,
            ImageRecord { labelled: true, .. } => Self::Labelled,
            ImageRecord { proposed: Some((reason, rank)), .. } => Self::Proposed(*reason, *rank),
            ImageRecord { pseudo: Some(review), .. } => Self::Pseudo(*review),
            _ => Self::Unlabelled,
        }
    }

    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Unlabelled => "unlabelled",
            Self::Proposed(reason, _) => reason.label(),
            Self::Pseudo(Review::Unreviewed) => "pseudo-label: not reviewed",
            Self::Pseudo(Review::Accepted) => "pseudo-label: accepted",
            Self::Pseudo(Review::Rejected) => "pseudo-label: rejected",
            Self::Labelled => "labelled",
            Self::Validation => "validation",
            Self::Unreadable => "unreadable",
        }
    }
}
