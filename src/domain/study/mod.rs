//! A study: its images and their state, its classes, its rounds. The rules of the active-learning loop that need no
//! computation are defined here, in one place: which images are in the pool, which may receive pseudo-labels, which
//! pseudo-labels are trained on, which images are held out for validation, and what status an image has.

mod change;
mod classes;
mod event;
mod image;
mod status;

use std::collections::HashSet;

use crate::domain::round::Report;
use crate::domain::settings::Settings;

pub use change::{Change, Effects};
pub use classes::ClassMap;
pub use event::{StudyEvent, between};
pub use image::{FileState, ImageId, ImageRecord};
pub use status::{Review, Side, Status};

/// The Okabe–Ito colours, one for each of the first classes: colour-blind people can tell them apart.
pub const CLASS_COLOURS: [[u8; 3]; 8] = [
    [0x56, 0xb4, 0xe9],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x9e, 0x73],
    [0xf0, 0xe4, 0x42],
    [0xd5, 0x5e, 0x00],
    [0xcc, 0x79, 0xa7],
    [0x00, 0x72, 0xb2],
    [0xff, 0xff, 0xff],
];

/// A class that pixels are labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// 1 to 254.
    pub number: u8,
    /// The name given by the user.
    pub name: String,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

impl Class {
    /// Whether this is its name. Two classes may not differ only in case, or in spaces around their names.
    pub fn is_named(&self, name: &str) -> bool {
        self.name.trim().to_lowercase() == name.trim().to_lowercase()
    }
}

/// A round of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// What it did.
    pub report: Report,
    /// The settings that it was trained with.
    pub settings: Settings,
    /// Whether its model is the active one.
    pub active: bool,
    /// Whether the classes were renumbered since, so that its model knows other classes and can no longer be used.
    pub outdated: bool,
    /// When it ended, seconds since 1970.
    pub finished_s: u64,
}

/// The label of an image was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// Which image.
    pub image: ImageId,
    /// When, seconds since 1970.
    pub at_s: u64,
    /// Seconds spent on it, pauses left out.
    pub seconds: f64,
    /// The round whose model predicted it; `None` before the first.
    pub round: Option<usize>,
    /// Dice of that prediction against the label: the corrective Dice (Smith et al., New Phytol. 236, 2022).
    pub dice: Option<f64>,
}

/// A study, with everything known about it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Study {
    /// The method's settings.
    pub settings: Settings,
    /// By number.
    pub classes: Vec<Class>,
    /// In name order; the slices of a stack one after another.
    pub images: Vec<ImageRecord>,
    /// Oldest first.
    pub rounds: Vec<Round>,
    /// Oldest first, including those of images that are no longer labelled.
    pub acceptances: Vec<Acceptance>,
}

impl Study {
    /// The record of an image.
    pub fn image(&self, image: ImageId) -> Option<&ImageRecord> {
        self.images.iter().find(|record| record.id == image)
    }

    /// The record of an image.
    pub fn image_mut(&mut self, image: ImageId) -> Option<&mut ImageRecord> {
        self.images.iter_mut().find(|record| record.id == image)
    }

    /// The round whose model is active.
    pub fn active_round(&self) -> Option<&Round> {
        self.rounds.iter().find(|round| round.active)
    }

    /// The images that are scored and proposed: those without an accepted label whose file is present.
    pub fn pool(&self) -> impl Iterator<Item = &ImageRecord> {
        self.images.iter().filter(|image| !image.labelled && image.file == FileState::Present)
    }

    /// What is held out for validation: the groups with images in validation, and validation images without a group.
    pub fn held_out(&self) -> HeldOut<'_> {
        let validation = self.images.iter().filter(|image| image.side == Side::Validation);
        HeldOut(validation.filter_map(|image| image.group.as_deref()).collect())
    }

    /// The images of the pool that must not receive pseudo-labels: those that the user has begun to paint or has
    /// reviewed, and those held out for validation.
    pub fn barred_from_pseudo_labels(&self) -> HashSet<ImageId> {
        let held_out = self.held_out();
        let is_reviewed = |image: &ImageRecord| matches!(image.pseudo, Some(Review::Accepted | Review::Rejected));
        let is_barred = |image: &&ImageRecord| image.painted || is_reviewed(image) || held_out.has(image);
        self.pool().filter(is_barred).map(|image| image.id).collect()
    }

    /// The images whose pseudo-labels a round trains on.
    pub fn trained_pseudo_labels(&self) -> impl Iterator<Item = &ImageRecord> {
        let Settings { pseudo_ask, pseudo_from, policy, .. } = self.settings;
        let takes_unreviewed = !pseudo_ask && pseudo_from > 0 && policy.is_ceal();
        let held_out = self.held_out();
        let is_used = move |image: &&ImageRecord| {
            let is_taken = match image.pseudo {
                Some(Review::Accepted) => true,
                Some(Review::Unreviewed) => takes_unreviewed,
                Some(Review::Rejected) | None => false,
            };
            is_taken && !image.labelled && !image.painted && !held_out.has(image)
        };
        self.images.iter().filter(is_used)
    }

    /// Whether the last round was trained but the pool has not been scored with it.
    pub fn scoring_is_due(&self) -> bool {
        self.rounds.last().is_some_and(|round| round.report.scored == 0)
            && self.pool().any(|image| image.problem.is_none())
    }

    /// Minutes spent on the current labels, counting those accepted up to `until_s`, in seconds since 1970.
    pub fn minutes_labelling(&self, until_s: u64) -> f64 {
        self.acceptances_of_labelled().filter(|a| a.at_s <= until_s).fold(0.0, |sum, a| sum + a.seconds) / 60.0
    }

    /// The acceptances of the currently labelled images, oldest first.
    pub fn acceptances_of_labelled(&self) -> impl Iterator<Item = &Acceptance> {
        let labelled: HashSet<ImageId> = self.images.iter().filter(|i| i.labelled).map(|i| i.id).collect();
        self.acceptances.iter().filter(move |acceptance| labelled.contains(&acceptance.image))
    }
}

/// What is held out for validation: neither these images nor their groups are ever trained on.
pub struct HeldOut<'a>(HashSet<&'a str>);

impl HeldOut<'_> {
    /// Whether an image is held out.
    pub fn has(&self, image: &ImageRecord) -> bool {
        image.side == Side::Validation || image.group.as_deref().is_some_and(|group| self.0.contains(group))
    }
}
