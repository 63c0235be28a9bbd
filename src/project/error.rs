//! What can go wrong with a project on disk, each with what the person can do about it.

use std::path::PathBuf;

use crate::project::import::ask::Ask;
use crate::raster::RasterError;

/// An error of the project's folder, its database or its images. Its text says the whole reason: it has no source.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The folder holds no project.
    #[error("{0} is not a Qualm project (it has no qualm.db); make one with `qualm new {0} --images DIR`")]
    NotAProject(PathBuf),
    /// The folder holds one already.
    #[error("{0} holds a project already; open it, or choose an empty folder")]
    AlreadyAProject(PathBuf),
    /// An export of a project without labels.
    #[error("no image is labelled: there is nothing to export")]
    NothingToExport,
    /// Something that needs a trained network, of a project without one.
    #[error(
        "no network can predict: no round has been trained, or none with the current classes; train one (Ctrl+T, or `qualm round`)"
    )]
    NoRound,
    /// An export of DICOM segmentations, and no image is a DICOM file.
    #[error("no image is a DICOM file, and a DICOM segmentation needs one; choose another format")]
    NoDicom,
    /// Two images claim one place in a stack.
    #[error("{stack}: two images are slice {slice}; look for new files (qualm refresh), and remove one of them")]
    TwoSlices {
        /// The stack.
        stack: String,
        /// The place, from 1.
        slice: usize,
    },
    /// Results would lie where they must not.
    #[error("{0} is in the folder of the images, or among the project's own files; choose another folder")]
    NotThere(PathBuf),
    /// An export would replace a file.
    #[error("{0} is there already; choose another folder, or say that files may be replaced")]
    WouldOverwrite(PathBuf),
    /// Written by a later version of the program.
    #[error(
        "{path} was written by a newer Qualm (project version {found}, this program reads up to {known}); update Qualm"
    )]
    NewerVersion {
        /// The project.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// The newest this program knows.
        known: i64,
    },
    /// Written by an earlier version of the program, and only to be read from.
    #[error(
        "{0} was written by an earlier Qualm; open it in the window once, or run qualm refresh {0}, to bring it over"
    )]
    OlderVersion(PathBuf),
    /// Another program works on the project.
    #[error("{path} is open in another Qualm ({holder}); close it there, or wait until it has ended")]
    InUse {
        /// The project.
        path: PathBuf,
        /// Who holds it.
        holder: String,
    },
    /// An import that a person must say more of first.
    #[error("{}", .0.iter().map(Ask::to_string).collect::<Vec<_>>().join("\n"))]
    Unsettled(Vec<Ask>),
    /// A folder that has none of the project's images.
    #[error("{path} contains none of the project's images, such as {missing}; choose the folder that contains them")]
    NotTheImages {
        /// The folder.
        path: PathBuf,
        /// One that is missing.
        missing: PathBuf,
    },
    /// A file that is no image.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// A mask of another size than its image.
    #[error("{path}: the mask is {} × {}, its image {} × {}; export it at the image's own size", mask.0, mask.1, image.0, image.1)]
    MaskSize {
        /// The mask's file.
        path: PathBuf,
        /// Columns and rows of the mask.
        mask: (usize, usize),
        /// Columns and rows of the image.
        image: (usize, usize),
    },
    /// A mask of several pages for an image of one.
    #[error("{path}: the mask has {pages} pages, its image one; say what its pages are (--pages)")]
    MaskPages {
        /// The mask's file.
        path: PathBuf,
        /// Its pages.
        pages: usize,
    },
    /// A mask that cannot be taken.
    #[error("{path}: {reason}")]
    BadMask {
        /// The mask's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A round of before the classes were renumbered.
    #[error("round {0} was trained with other classes than the project has now; train a new round")]
    OtherClasses(usize),
    /// A rule of grouping that cannot be read.
    #[error("groups `{rule}`: {reason}")]
    BadGroups {
        /// The rule as given.
        rule: String,
        /// What is wrong.
        reason: String,
    },
    /// The system refused a file operation.
    #[error("{path}: {reason}; check that the folder exists, is writable and has space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// The database refused.
    #[error("the project's database: {0}; check that the folder is writable and has space")]
    Database(rusqlite::Error),
    /// A label that is not what was stored.
    #[error("the label of {0} is damaged and is not used; `qualm repair` makes it again from its label file")]
    DamagedLabel(String),
    /// A database whose pages are not in order.
    #[error("{path} is damaged ({reason}); `qualm restore` brings back a backup of it")]
    DamagedDatabase {
        /// The database.
        path: PathBuf,
        /// What SQLite found.
        reason: String,
    },
    /// Something stored does not read back.
    #[error("the project's stored {0} cannot be read; the database may be damaged")]
    Damaged(&'static str),
}

impl ProjectError {
    /// An I/O error at `path`.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |reason| Self::Io { path, reason }
    }
}

impl From<rusqlite::Error> for ProjectError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl From<crate::domain::edit::BadEdit> for ProjectError {
    fn from(_: crate::domain::edit::BadEdit) -> Self {
        Self::Damaged("edits")
    }
}

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, ProjectError>;
