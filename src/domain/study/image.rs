//! One image of a study.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::domain::round::Reason;
use crate::domain::scores::Scores;
use crate::domain::study::{Review, Side};
use crate::domain::tiles::Tile;

/// An image's key in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct ImageId(pub i64);

impl fmt::Display for ImageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One image.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecord {
    /// Its key.
    pub id: ImageId,
    /// The file.
    pub path: PathBuf,
    /// The page of the file, from 0.
    pub page: usize,
    /// Its name: the path below the folder of images; for a slice, the stack's name and the slice's number.
    pub name: String,
    /// Its label file below `labels/`, without the extension.
    pub stem: String,
    /// For a slice, the name of its stack and its position in the stack, from 0.
    pub stack: Option<(String, usize)>,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The patient, volume or slide that it belongs to, if known; for a slice, at least its stack.
    pub group: Option<String>,
    /// The state of its file.
    pub file: FileState,
    /// Whether the user has accepted its label.
    pub labelled: bool,
    /// What it is used for once labelled.
    pub side: Side,
    /// Why it was proposed, with its rank from 1.
    pub proposed: Option<(Reason, usize)>,
    /// The tile of it that was proposed; `None` means the whole image.
    pub tile: Option<Tile>,
    /// Whether the user has painted anything in it.
    pub painted: bool,
    /// The review of its pseudo-label; `None` where it has none.
    pub pseudo: Option<Review>,
    /// Its scores from the last round that scored it.
    pub scores: Option<Scores>,
    /// Why it cannot be read.
    pub problem: Option<String>,
}

/// The state of an image's file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileState {
    /// It is there, unchanged.
    #[default]
    Present,
    /// It is gone.
    Missing,
    /// It is not the one that was labelled.
    Replaced,
}

impl FileState {
    /// What is wrong with the file, and what the user can do about it; `None` if nothing is.
    pub fn problem(self, path: &Path) -> Option<String> {
        match self {
            Self::Present => None,
            Self::Missing => Some(format!(
                "{} is missing; put it back, or choose the folder of images again if it was moved",
                path.display()
            )),
            Self::Replaced => Some(format!(
                "{} is not the file that was labelled; put the earlier file back, or decide whether the labels of replaced \
                 files are kept or cleared",
                path.display()
            )),
        }
    }
}
