//! What the window, the command line and the two threads tell each other.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbaImage;

use crate::domain::edit::{Edit, Step};
use crate::domain::mask::Mask;
use crate::domain::picture::{Contrast, Picture};
use crate::domain::prediction::Prediction;
use crate::domain::round::{EpochPoint, Report};
use crate::domain::settings::{Settings, Start};
use crate::domain::study::{Acceptance, Change, ClassMap, ImageId, Review, Study};
use crate::engine::device::{DeviceChoice, DeviceReport};
use crate::project::{ExportPlan, Exported, Import, ImportRules, Label, StudyRegions, Summary};
use crate::worker::predict::Predicted;

/// Largest side of the picture that stands for a larger one when it is seen from afar.
pub const OVERVIEW: usize = 2048;

/// A job's number: each of its events repeats it. Never 0.
pub type JobId = u64;

/// What the disk thread, and through it the engine, can be asked.
pub enum Request {
    /// Write the labels in a format of other programs; `is_dry`: only say what would be written.
    Export {
        /// The export.
        plan: ExportPlan,
        /// Whether nothing is to be written.
        is_dry: bool,
    },
    /// Open the project in a folder.
    Open(PathBuf),
    /// Open the project in a folder to read from it alone.
    OpenToRead(PathBuf),
    /// Find out what an import would do, under rules. The answer is [`Event::ImportPlanned`].
    PlanImport(ImportTarget, Box<ImportRules>),
    /// Do the import that was planned last; a new project gets these settings.
    Import(Box<Settings>),
    /// Forget the plan.
    AbandonImport,
    /// Look for files that are new, missing or replaced. The answer is [`Event::FilesChecked`].
    RefreshFiles,
    /// Say where the folder of images is now.
    Relocate(PathBuf),
    /// Take an image out of the project.
    RemoveImage(ImageId),
    /// Bring back the images that were taken out of the project.
    RestoreImages,
    /// Say of the images whose files were replaced whether their labels hold for the new ones.
    AcceptReplaced {
        /// Whether they do.
        keeps_labels: bool,
    },
    /// Make a slice's label from those of others of its stack. The answer is [`Event::SliceLabel`].
    SliceLabel(ImageId, SliceLabel),
    /// Write the demo project into a folder, unless it is there, and open it.
    Demo(PathBuf),
    /// Say by a rule ([`crate::project::groups::Rule`]) which images belong together.
    Groups(String),
    /// Load an image with its label and prediction. The answer repeats the ticket: an older one may be on its way, of
    /// another state of the label, or of another project.
    Show {
        /// The image.
        image: ImageId,
        /// A number of the caller's own.
        ticket: u64,
    },
    /// Say anew which images and rounds there are.
    Refresh,
    /// Say what the active model says of an image.
    Preview(ImageId),
    /// Say what another round's model says of an image.
    PreviewBy(ImageId, usize),
    /// Load an image's thumbnail.
    Thumbnail(ImageId),
    /// Change the project.
    Write(Write),
    /// Find and check the device, and say what was found.
    Device(DeviceChoice),
    /// Compute an edit of an image's label that takes longer than a frame may.
    Compute(Computation),
    /// Measure the labels of all labelled images. The answer is [`Event::StudyRegions`].
    StudyRegions,
    /// Change the labels of images. The answer is [`Event::ManyChanged`].
    ManyLabels(Vec<ImageId>, ManyLabels),
    /// Merge, delete or reorder classes. The answer is [`Event::ClassesMapped`].
    MapClasses(ClassMap),
    /// Make an earlier round's model the active one.
    Activate(usize),
    /// Something for the engine.
    Job {
        /// Its number.
        id: JobId,
        /// Where it runs.
        device: DeviceChoice,
        /// What it is.
        kind: JobKind,
    },
}

/// What is done with the labels of many images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManyLabels {
    /// They are no longer accepted; what is painted stays.
    Unaccept,
    /// Nothing is labelled any more; a step that can be undone.
    Clear,
}

/// What a slice's label is made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceLabel {
    /// The label of the slice before.
    Before,
    /// Those of the nearest labelled slices on both sides.
    Between,
}

/// What was found of a project's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesFound {
    /// Images that are new: taken in where a person asked for it.
    pub added: usize,
    /// Images whose file is not there.
    pub missing: usize,
    /// Images whose file is another than the one labelled.
    pub replaced: usize,
    /// Whether a person asked for it.
    pub was_asked: bool,
}

/// What is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportTarget {
    /// A new project.
    Project {
        /// Its folder.
        root: PathBuf,
        /// The folder of its images.
        images: PathBuf,
        /// A folder of masks to take as labels.
        masks: Option<PathBuf>,
    },
    /// A folder of masks, as labels of the open project's images that have none.
    Masks(PathBuf),
}

/// An import that waits for a person.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedImport {
    /// What is imported.
    pub target: ImportTarget,
    /// What the person has said so far.
    pub rules: ImportRules,
    /// What would be done.
    pub summary: Summary,
}

/// An edit of a label being computed beside the window.
pub struct Computation {
    /// The image.
    pub image: ImageId,
    /// Which state of the label it starts from.
    pub revision: u64,
    /// Whether it also declares the image labelled.
    pub accepts: bool,
    /// Gives the edit; `None` where nothing changes.
    pub edit: Box<dyn FnOnce() -> Option<Edit> + Send>,
}

/// A change of the project. Kept and tried again until it is on disk.
#[derive(Clone, Debug)]
pub enum Write {
    /// A step of an image's label, its number `position` from 0.
    Step {
        /// The image.
        image: ImageId,
        /// How many steps held before it.
        position: usize,
        /// The step.
        step: Step,
    },
    /// After an undo or redo: how many steps of an image hold.
    MoveTo {
        /// The image.
        image: ImageId,
        /// How many steps hold.
        done: usize,
        /// Whether the image is labelled, where that changed.
        labelled: Option<bool>,
    },
    /// The method's settings.
    Settings(Box<Settings>),
    /// A label was accepted, and what it cost.
    Accepted(Acceptance),
    /// What a person says of a pseudo-label.
    Pseudo(ImageId, Review),
    /// The levels that images are shown at.
    Contrast(Contrast),
    /// A new class of this name.
    AddClass(String),
    /// Another name for a class.
    RenameClass(u8, String),
    /// Another colour for a class: red, green, blue.
    RecolourClass(u8, [u8; 3]),
}

impl Write {
    /// What it changes of the study; `None` where it changes none of it.
    pub fn change(&self) -> Option<Change> {
        Some(match self {
            Self::Step { image, step, .. } => {
                Change::Edited { image: *image, painted: true, labelled: step.accepts.then_some(true) }
            }
            Self::MoveTo { image, done, labelled } => {
                Change::Edited { image: *image, painted: *done > 0, labelled: *labelled }
            }
            Self::Settings(settings) => Change::Settings(settings.clone()),
            Self::Accepted(acceptance) => Change::Accepted(acceptance.clone()),
            Self::Pseudo(image, review) => Change::Reviewed(*image, *review),
            Self::AddClass(name) => Change::ClassAdded(name.clone()),
            Self::RenameClass(number, name) => Change::ClassRenamed(*number, name.clone()),
            Self::RecolourClass(number, colour) => Change::ClassRecoloured(*number, *colour),
            Self::Contrast(_) => return None,
        })
    }
}

/// Long pieces of work.
#[derive(Clone, Debug)]
pub enum JobKind {
    /// Train, validate, score the pool, propose; from which weights, where not from those of the settings.
    Round(Option<Start>),
    /// Score the pool with the active model, and propose.
    Score,
    /// Propose images that stand for others, without a network.
    Propose,
    /// Export predictions of the project's images, and labels where the plan says so.
    Export(ExportPlan),
    /// Take over the network of a folder that [`crate::worker::model_files::export`] wrote, as a round without training.
    ImportModel {
        /// The folder.
        folder: PathBuf,
        /// Whether its classes are the project's, in order, whatever they are called.
        ignores_names: bool,
    },
    /// Predict a folder of images with the active model.
    Predict {
        /// The images.
        images: PathBuf,
        /// Where the results go.
        out: PathBuf,
        /// Dropout passes, where not the project's.
        passes: Option<usize>,
        /// Whether to write the passes themselves.
        npy: bool,
    },
}

/// What the threads tell.
pub enum Event {
    /// What an export has written, or, where that was asked, would write.
    Exported {
        /// The export.
        plan: ExportPlan,
        /// Whether nothing was written.
        is_dry: bool,
        /// What came of it.
        result: Result<Exported, String>,
    },
    /// A project could not be opened, and why; the one that was open still is.
    NotOpened(String),
    /// A project is open.
    Opened(Box<Opened>),
    /// Masks were taken as labels. The [`Event::Refreshed`] came before.
    Imported(Import),
    /// This many images are in groups, so many; and how many labelled images are not learned from any more, for validation
    /// has others of their groups. The [`Event::Refreshed`] came before.
    Grouped(usize, usize, usize),
    /// A slice's label, as it follows from others.
    SliceLabel(ImageId, Mask),
    /// The regions of all labels.
    StudyRegions(Result<StudyRegions, String>),
    /// The labels of so many images were changed. The [`Event::Refreshed`] came before.
    ManyChanged(ManyLabels, usize),
    /// The classes were renumbered, and the labels with them. The [`Event::Refreshed`] came before.
    ClassesMapped,
    /// What was found of the project's files. The [`Event::Refreshed`] came before.
    FilesChecked(FilesFound),
    /// What an import would do.
    ImportPlanned(Box<PlannedImport>),
    /// An import cannot be planned.
    ImportFailed(String),
    /// An image is loaded.
    Shown(Box<Shown>),
    /// An image cannot be shown.
    NotShown(ImageId, String),
    /// A thumbnail of the project in this folder is loaded.
    Thumbnail(PathBuf, ImageId, RgbaImage),
    /// A prediction is ready.
    Predicted(ImageId, Arc<Prediction>),
    /// What another round's model says of an image is ready.
    PredictedBy(ImageId, usize, Arc<Prediction>),
    /// A computed edit: the image, the label's state it starts from, the edit, whether it accepts.
    Computed(ImageId, u64, Option<Edit>, bool),
    /// This many writes more are on disk: none is waiting.
    Saved(usize),
    /// A write fails; it is kept and tried again.
    NotSaved(String),
    /// The device in use, after those refused on the way to it.
    Device(DeviceChoice, Result<Vec<DeviceReport>, String>),
    /// The settings changed: batches of the size they said do not fit the device's memory.
    SmallerBatch(Box<Settings>),
    /// Images and rounds changed: a job ended, or another model became active.
    Refreshed(Box<Study>),
    /// A job ended well. Its [`Event::Refreshed`] came before.
    Finished(JobId, Box<Outcome>),
    /// A job was cancelled.
    Cancelled(JobId),
    /// A job failed.
    Failed(JobId, String),
    /// Something else failed.
    Error(String),
}

/// What a job came to.
#[derive(Debug)]
pub enum Outcome {
    /// Images proposed without a network.
    Proposed(usize),
    /// A round.
    Round(Box<Report>),
    /// A scoring: images scored, images proposed.
    Scored(usize, usize),
    /// An export that predictions are part of.
    Exported(Exported),
    /// A folder's predictions.
    Predicted(Vec<Predicted>, Vec<String>),
}

/// An open project.
pub struct Opened {
    /// Its folder.
    pub root: PathBuf,
    /// Its images, rounds, classes and settings.
    pub study: Study,
    /// The levels that its images are shown at.
    pub contrast: Contrast,
    /// What was taken in, where it was made just now.
    pub import: Option<Import>,
}

/// An image as the window shows it.
pub struct Shown {
    /// The image's key.
    pub image: ImageId,
    /// The ticket that it was asked for with.
    pub ticket: u64,
    /// Its pixels.
    pub picture: Arc<Picture>,
    /// The same made smaller, where it is larger than [`OVERVIEW`] a side.
    pub overview: Option<Picture>,
    /// Its label.
    pub label: Label,
    /// What the network made of it, at the image's size, where that is not rejected.
    pub pseudo_label: Option<Mask>,
    /// What the active model says of it, where that is known already.
    pub prediction: Option<Arc<Prediction>>,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Checking the device.
    Device,
    /// Reading images.
    Reading,
    /// Training.
    Training,
    /// Dropout passes over the validation images.
    Validating,
    /// Scoring the pool, or predicting.
    Scoring,
    /// Finding out which images look alike.
    Comparing,
    /// Writing results.
    Saving,
}

impl Phase {
    /// In words.
    pub fn label(self) -> &'static str {
        match self {
            Self::Device => "checking the device",
            Self::Reading => "reading images",
            Self::Training => "training",
            Self::Validating => "validating",
            Self::Scoring => "scoring",
            Self::Comparing => "comparing images",
            Self::Saving => "saving",
        }
    }
}

/// How a job goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which job.
    pub job: JobId,
    /// What it is doing.
    pub phase: Phase,
    /// Images done in this phase.
    pub done: usize,
    /// Images of this phase.
    pub total: usize,
    /// Mean loss of the epoch so far.
    pub loss: Option<f64>,
    /// One point a finished epoch.
    pub curve: Vec<EpochPoint>,
    /// Seconds since the phase began.
    pub elapsed_s: f64,
}

impl Progress {
    pub(super) fn new(job: JobId, phase: Phase, total: usize) -> Self {
        Self { job, phase, done: 0, total, loss: None, curve: Vec::new(), elapsed_s: 0.0 }
    }

    /// Seconds that the phase will take from here, at its pace so far.
    pub fn left_s(&self) -> Option<f64> {
        (self.done > 0 && self.total >= self.done)
            .then(|| self.elapsed_s / self.done as f64 * (self.total - self.done) as f64)
    }
}
