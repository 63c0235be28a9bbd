//! The messages between the window or command line and the two threads.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbaImage;

use crate::domain::edit::{Edit, Step};
use crate::domain::mask::Mask;
use crate::domain::picture::{Contrast, Picture};
use crate::domain::prediction::Prediction;
use crate::domain::remedy::Failure;
use crate::domain::round::{EpochPoint, Report};
use crate::domain::settings::{Settings, Start};
use crate::domain::study::{Acceptance, Change, ClassMap, ImageId, Review, Study};
use crate::engine::device::{DeviceChoice, DeviceReport};
use crate::engine::remote::servers::Server;
use crate::project::{ExportPlan, Exported, Import, ImportRules, Label, StudyRegions, Summary};
use crate::worker::predict::Predicted;

/// Maximum side of the reduced picture that is shown in place of a larger one when zoomed out.
pub const OVERVIEW: usize = 2048;

/// The number of a job, repeated in each of its events. Never 0.
pub type JobId = u64;

/// Requests to the disk thread and, through it, to the engine.
pub enum Request {
    /// Export the labels in the format of another program, or only report what would be written.
    Export {
        /// The export.
        plan: ExportPlan,
        /// Whether to report without writing anything.
        is_dry: bool,
    },
    /// Open the project in a folder.
    Open(PathBuf),
    /// Close the open project: its labels are exported, and its lock is let go.
    Close,
    /// Open the project in a folder read-only.
    OpenToRead(PathBuf),
    /// Plan an import under the given rules. The answer is [`Event::ImportPlanned`].
    PlanImport(ImportTarget, Box<ImportRules>),
    /// Do the import that was planned last; a new project gets these settings.
    Import(Box<Settings>),
    /// Discard the import plan.
    AbandonImport,
    /// Look for files that are new, missing or replaced. The answer is [`Event::FilesChecked`].
    RefreshFiles,
    /// Set the new location of the image folder.
    Relocate(PathBuf),
    /// Remove an image from the project.
    RemoveImage(ImageId),
    /// Restore the images that were removed from the project.
    RestoreImages,
    /// Accept the replaced files of images, and keep or delete the labels of these images.
    AcceptReplaced {
        /// Whether the labels are kept.
        keeps_labels: bool,
    },
    /// Create a slice's label from the labels of other slices in its stack. The answer is [`Event::SliceLabel`].
    SliceLabel(ImageId, SliceLabel),
    /// Create the demo project in a folder, unless it exists already, and open it.
    Demo(PathBuf),
    /// Group images by a rule ([`crate::project::groups::GroupRule`]).
    Groups(String),
    /// Load an image with its label and prediction. The answer repeats the ticket, because an older answer may still be
    /// on its way, with another state of the label or from another project.
    Show {
        /// The image.
        image: ImageId,
        /// A number chosen by the caller.
        ticket: u64,
    },
    /// Send the current state of images and rounds again.
    Refresh,
    /// Get the active model's prediction for an image.
    Preview(ImageId),
    /// Get the prediction of another round's model for an image.
    PreviewBy(ImageId, usize),
    /// Load an image's thumbnail.
    Thumbnail(ImageId),
    /// Change the project.
    Write(Write),
    /// Find and check the device, and report the result.
    Device(DeviceChoice),
    /// List the servers that are remembered. The answer is [`Event::Servers`].
    Servers,
    /// Connect to a server, check and measure it, and leave it again. The answer is [`Event::ServerTried`].
    TryServer(Server),
    /// Remember a server, in place of another of its name. The answer is [`Event::Servers`].
    AddServer(Server),
    /// Forget the server of this name. The answer is [`Event::Servers`].
    ForgetServer(String),
    /// Compute an edit of an image's label that would take longer than one frame of the window.
    Compute(Computation),
    /// Measure the labels of all labelled images. The answer is [`Event::StudyRegions`].
    StudyRegions,
    /// Change the labels of images. The answer is [`Event::ManyChanged`].
    ManyLabels(Vec<ImageId>, ManyLabels),
    /// Merge, delete or reorder classes. The answer is [`Event::ClassesMapped`].
    MapClasses(ClassMap),
    /// Make an earlier round's model the active one.
    Activate(usize),
    /// Run a job on the engine.
    Job {
        /// Its number.
        id: JobId,
        /// The device to run it on.
        device: DeviceChoice,
        /// The kind of job.
        kind: JobKind,
    },
}

/// A change to the labels of several images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManyLabels {
    /// Withdraw their acceptance, keeping what is painted.
    Unaccept,
    /// Nothing is labelled any more; a step that can be undone.
    Clear,
}

/// The source of a slice's label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceLabel {
    /// The label of the slice before.
    Before,
    /// Those of the nearest labelled slices on both sides.
    Between,
}

/// The result of checking a project's files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FilesFound {
    /// New images; they are added only if the user asked for the check.
    pub added: usize,
    /// Images whose file is missing.
    pub missing: usize,
    /// Images whose file is no longer the one that was labelled.
    pub replaced: usize,
    /// Whether the user asked for the check.
    pub was_asked: bool,
}

/// The target of an import.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportTarget {
    /// A new project.
    Project {
        /// Its folder.
        root: PathBuf,
        /// The folder of its images.
        images: PathBuf,
        /// A folder of masks to import as labels.
        masks: Option<PathBuf>,
    },
    /// A folder of masks, as labels of the open project's images that have none.
    Masks(PathBuf),
}

/// An import plan that waits for the user's decision.
#[derive(Clone, Debug, PartialEq)]
pub struct PlannedImport {
    /// What is imported.
    pub target: ImportTarget,
    /// The rules that the user has chosen so far.
    pub rules: ImportRules,
    /// A summary of what the import would do.
    pub summary: Summary,
}

/// An edit of a label to be computed in the background.
pub struct Computation {
    /// The image.
    pub image: ImageId,
    /// Which state of the label it starts from.
    pub revision: u64,
    /// Whether it also declares the image labelled.
    pub accepts: bool,
    /// Computes the edit; `None` if nothing changes.
    pub edit: Box<dyn FnOnce() -> Option<Edit> + Send>,
}

/// A change to the project, which is kept and retried until it is on disk.
#[derive(Clone, Debug)]
pub enum Write {
    /// A step of an image's label, its number `position` from 0.
    Step {
        /// The image.
        image: ImageId,
        /// The number of steps in effect before it.
        position: usize,
        /// The step.
        step: Step,
    },
    /// An undo or redo, given by the number of steps that are in effect after it.
    MoveTo {
        /// The image.
        image: ImageId,
        /// The number of steps in effect.
        done: usize,
        /// Whether the image is labelled, if that changed.
        labelled: Option<bool>,
    },
    /// The method's settings.
    Settings(Box<Settings>),
    /// A label was accepted, with the effort that it took.
    Accepted(Acceptance),
    /// The user's review of a pseudo-label.
    Pseudo(ImageId, Review),
    /// The window and level at which images are shown.
    Contrast(Contrast),
    /// A new class of this name.
    AddClass(String),
    /// Another name for a class.
    RenameClass(u8, String),
    /// Another colour for a class: red, green, blue.
    RecolourClass(u8, [u8; 3]),
}

impl Write {
    /// The resulting change to the study; `None` if the study is not affected.
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

/// The kinds of long-running jobs.
#[derive(Clone, Debug)]
pub enum JobKind {
    /// Train, validate, score the pool, and propose images. The value overrides the settings' choice of initial
    /// weights.
    Round(Option<Start>),
    /// Score the pool with the active model, and propose.
    Score,
    /// Propose representative images, without a trained network.
    Propose,
    /// Export predictions of the project's images, and labels if the plan includes them.
    Export(ExportPlan),
    /// Import a network from a folder written by [`crate::worker::model_files::export`], as a round without training.
    ImportModel {
        /// The folder.
        folder: PathBuf,
        /// Whether to match its classes to the project's by order, whatever their names.
        ignores_names: bool,
    },
    /// Predict a folder of images with the active model.
    Predict {
        /// The images.
        images: PathBuf,
        /// Where the results go.
        out: PathBuf,
        /// Number of dropout passes, if different from the project's.
        passes: Option<usize>,
        /// Whether to write the passes themselves.
        npy: bool,
    },
}

/// Events sent by the threads.
pub enum Event {
    /// An export has ended, or, in a dry run, its plan is ready.
    Exported {
        /// The export.
        plan: ExportPlan,
        /// Whether nothing was written.
        is_dry: bool,
        /// The result.
        result: Result<Exported, Failure>,
    },
    /// A project could not be opened, and why; the one that was open still is.
    NotOpened(Failure),
    /// A project is open.
    Opened(Box<Opened>),
    /// Masks were imported as labels. Sent after [`Event::Refreshed`].
    Imported(Import),
    /// Images were grouped: the number of images in groups, the number of groups, and the number of labelled images
    /// that are no longer used for training because other images of their groups are in the validation set. Sent after
    /// [`Event::Refreshed`].
    Grouped(usize, usize, usize),
    /// A slice's label, made from the labels of other slices.
    SliceLabel(ImageId, Mask),
    /// The regions of all labels.
    StudyRegions(Result<StudyRegions, Failure>),
    /// The labels of this many images were changed. Sent after [`Event::Refreshed`].
    ManyChanged(ManyLabels, usize),
    /// The classes were renumbered, along with the labels. Sent after [`Event::Refreshed`].
    ClassesMapped,
    /// The project's files were checked. Sent after [`Event::Refreshed`], if anything changed.
    FilesChecked(FilesFound),
    /// An import is planned.
    ImportPlanned(Box<PlannedImport>),
    /// An import cannot be planned.
    ImportFailed(Failure),
    /// An image is loaded.
    Shown(Box<Shown>),
    /// An image cannot be shown.
    NotShown(ImageId, Failure),
    /// A thumbnail of the project in this folder is loaded.
    Thumbnail(PathBuf, ImageId, RgbaImage),
    /// A prediction is ready.
    Predicted(ImageId, Arc<Prediction>),
    /// An image cannot be predicted by the active round's model, or by that of the round to compare with, and why.
    NotPredicted(ImageId, Option<usize>, Failure),
    /// The prediction of another round's model is ready.
    PredictedBy(ImageId, usize, Arc<Prediction>),
    /// A computed edit: the image, the revision of the label that it starts from, the edit, and whether it accepts the
    /// label.
    Computed(ImageId, u64, Option<Edit>, bool),
    /// This many further writes are on disk, and none are pending.
    Saved(usize),
    /// A write failed; it is kept and retried.
    NotSaved(String),
    /// The device in use, preceded by the devices that were rejected, or an error.
    Device(DeviceChoice, Result<Vec<DeviceReport>, String>),
    /// The names of the servers that are remembered.
    Servers(Result<Vec<String>, String>),
    /// What was found of this server's device, or why it cannot be used.
    ServerTried(Box<Server>, Result<DeviceReport, String>),
    /// The settings changed: the batch size was reduced to fit the device's memory.
    SmallerBatch(Box<Settings>),
    /// Images and rounds changed: a job ended, or another model became active.
    Refreshed(Box<Study>),
    /// A job succeeded. If it changed the project, [`Event::Refreshed`] was sent before.
    Finished(JobId, Box<Outcome>),
    /// A job was cancelled.
    Cancelled(JobId),
    /// A job failed.
    Failed(JobId, Failure),
    /// Something else failed.
    Error(Failure),
}

/// The result of a job.
#[derive(Debug)]
pub enum Outcome {
    /// Number of images proposed without a trained network.
    Proposed(usize),
    /// A round.
    Round(Box<Report>),
    /// A scoring: images scored, images proposed.
    Scored(usize, usize),
    /// An export that includes predictions.
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
    /// The window and level at which its images are shown.
    pub contrast: Contrast,
    /// The result of the import, if the project was just created.
    pub import: Option<Import>,
}

/// An image as the window shows it.
pub struct Shown {
    /// The image's key.
    pub image: ImageId,
    /// The ticket of the request.
    pub ticket: u64,
    /// Its pixels.
    pub picture: Arc<Picture>,
    /// A reduced copy, if the picture is larger than [`OVERVIEW`] on a side.
    pub overview: Option<Picture>,
    /// Its label.
    pub label: Label,
    /// Its pseudo-label at the image's size, if there is one that was not rejected.
    pub pseudo_label: Option<Mask>,
    /// The active model's prediction, if it is in the cache.
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
    /// Comparing images by similarity.
    Comparing,
    /// Writing results.
    Saving,
}

impl Phase {
    /// The phase in words.
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

/// The progress of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Which job.
    pub job: JobId,
    /// What it is doing.
    pub phase: Phase,
    /// Images done in this phase.
    pub done: usize,
    /// Total number of images in this phase.
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

    /// Estimated remaining time of the phase in seconds, at its pace so far.
    pub fn left_s(&self) -> Option<f64> {
        (self.done > 0 && self.total >= self.done)
            .then(|| self.elapsed_s / self.done as f64 * (self.total - self.done) as f64)
    }
}
