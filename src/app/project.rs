//! The open project as the window shows it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::Instant;

use image::RgbaImage;

use crate::app::editor::Editor;
use crate::app::list::{self, List, next_proposed};
use crate::domain::noise::{self, Interval};
use crate::domain::picture::Contrast;
use crate::domain::round::{Report, TrainingEnd};
use crate::domain::study::{Change, ImageId, ImageRecord, Status, Study};
use crate::domain::tiles::Tile;

/// The open project as the window shows it.
pub struct OpenProject {
    /// Its folder.
    pub root: PathBuf,
    /// Its images, rounds, classes and settings.
    pub study: Study,
    /// Window and level of the images.
    pub(super) contrast: Contrast,
    /// When they were last changed, if the change is not stored yet.
    pub(super) contrast_changed: Option<Instant>,
    /// The interval of each round's validation Dice.
    pub intervals: Vec<Option<Interval>>,
    /// The gain over the last rounds.
    pub last_gain: Option<Interval>,
    /// The round whose prediction is compared with the active round's.
    pub compared: Option<usize>,
    /// The list.
    pub list: List,
    /// Whether the user has started on the proposed images.
    pub(super) is_queue_begun: bool,
    /// The image looked at.
    pub current: Current,
    /// Thumbnails by image; `None` where one was asked for.
    pub thumbnails: HashMap<ImageId, Option<RgbaImage>>,
}

/// The image looked at.
pub enum Current {
    /// None.
    None,
    /// It is being loaded.
    Loading(ImageId),
    /// It cannot be shown, and why.
    Failed(ImageId, String),
    /// It is open.
    Open(Box<Editor>),
}

impl Current {
    /// Which image.
    pub fn id(&self) -> Option<ImageId> {
        match self {
            Self::None => None,
            Self::Loading(id) | Self::Failed(id, _) => Some(*id),
            Self::Open(editor) => Some(editor.image),
        }
    }
}

impl OpenProject {
    /// A reason to continue training the active network, if there is one.
    pub fn reason_to_continue(&self) -> Option<&'static str> {
        let report = &self.study.rounds.last().filter(|round| round.active)?.report;
        match report.end {
            TrainingEnd::StillRising => Some("The network was still improving when training stopped."),
            TrainingEnd::Whole | TrainingEnd::Longer if report.is_poor() => Some("The network segments poorly so far."),
            TrainingEnd::Whole | TrainingEnd::Longer | TrainingEnd::Flat => None,
        }
    }

    pub(super) fn is_proposed(&self, image: ImageId) -> bool {
        self.study.image(image).is_some_and(|record| matches!(Status::of(record), Status::Proposed(..)))
    }

    /// The proposed image after the open one; the first of a query that the user has not started on.
    pub fn next_proposed(&self) -> Option<ImageId> {
        let (images, current) = (&self.study.images, self.current.id());
        let first = || next_proposed(images, None).filter(|first| Some(*first) != current);
        if self.is_queue_begun { None } else { first() }.or_else(|| next_proposed(images, current))
    }

    /// The unlabelled image after the open one in the list, or slice of a stack.
    pub fn next_unlabelled(&self) -> Option<ImageId> {
        let listed = &self.list.behind;
        let at = self.list.after_open(&self.study.images);
        let records = listed[at..].iter().chain(&listed[..at]).map(|&i| &self.study.images[i]);
        let is_next = |record: &&ImageRecord| !record.labelled && Some(record.id) != self.current.id();
        records.into_iter().find(is_next).map(|record| record.id)
    }

    /// The tile of the open image that is to be labelled; `None` if it is the whole image.
    pub fn tile(&self) -> Option<Tile> {
        self.editor()?.tile
    }

    /// The open image.
    pub fn editor(&self) -> Option<&Editor> {
        if let Current::Open(editor) = &self.current { Some(editor) } else { None }
    }

    /// The open image.
    pub fn editor_mut(&mut self) -> Option<&mut Editor> {
        if let Current::Open(editor) = &mut self.current { Some(editor) } else { None }
    }

    /// Recomputes the intervals of the rounds' Dice and the last gain.
    pub(super) fn update_noise(&mut self) {
        let reports: Vec<&Report> = self.study.rounds.iter().map(|round| &round.report).collect();
        // A round's measurements never change.
        let known = std::mem::take(&mut self.intervals);
        let interval = |(i, report): (usize, &&Report)| known.get(i).copied().unwrap_or_else(|| noise::dice(report));
        self.intervals = reports.iter().enumerate().map(interval).collect();
        self.last_gain = noise::last_gain(&reports, self.study.settings.stop_rounds);
    }

    /// Applies a change to the study.
    pub(super) fn apply(&mut self, change: &Change) {
        let stroke = if let Change::Edited { image, labelled: None, .. } = change { Some(*image) } else { None };
        let is_begun = |study: &Study| stroke.and_then(|image| study.image(image)).is_some_and(list::is_begun);
        let before = is_begun(&self.study);
        let effects = self.study.apply(change);
        // A stroke after the first changes nothing that the list shows.
        let is_further_stroke = stroke.is_some() && is_begun(&self.study) == before && effects.discarded.is_empty();
        if !is_further_stroke {
            self.list.update_around_open(&self.study.images, self.study.settings.score);
        }
    }

    /// Recomputes the list.
    pub fn update_list(&mut self) {
        self.list.update(&self.study.images, self.study.settings.score);
    }
}
