//! What a person can do about an error. The window puts it into words as one of its commands, the command line as an
//! option or a command of its own.

use std::path::PathBuf;

use super::mask_values::Question;

/// What a person can do about an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Label a few images and accept the labels.
    AcceptLabels,
    /// Train a round.
    TrainRound,
    /// Make a project in this folder.
    CreateProject(PathBuf),
    /// Look for files that are new, missing or replaced.
    RefreshFiles,
    /// Open this project, which an earlier version wrote, for writing.
    Upgrade(PathBuf),
    /// Draw the validation set again, whole groups on one side.
    RedrawValidation,
    /// Look at the list of settings.
    Settings,
    /// Mend damaged labels and rounds from their files.
    Repair,
    /// Bring back a backup of the database.
    Restore,
    /// Import a network although its classes have other names.
    IgnoreNames,
    /// Say what the pages of a mask are.
    Pages,
    /// Say what the names of masks have after those of their images.
    MaskSuffix,
    /// Take several masks of one image as one class, or each as a class of its own.
    Several,
    /// Take several masks of one image as one class.
    Union,
    /// Answer a question about the values of masks.
    MaskValues(Question),
}

/// An error on its way to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// The complete reason.
    pub text: String,
    /// What can be done about it, where the text does not say.
    pub remedy: Option<Remedy>,
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Self { text, remedy: None }
    }
}
