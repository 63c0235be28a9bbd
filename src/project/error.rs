//! Errors of a project on disk, each with what the user can do about it.

use std::path::PathBuf;

use crate::domain::remedy::Remedy;
use crate::domain::size::Size;
use crate::project::import::ask::Ask;
use crate::raster::RasterError;

/// An error concerning the project folder, its database or its images. The message gives the complete reason, so there
/// is no source.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The folder is not a project.
    #[error("{0} is not a Qualm project (it has no qualm.db)")]
    NotAProject(PathBuf),
    /// The folder already contains a project.
    #[error("{0} holds a project already; open it, or choose an empty folder")]
    AlreadyAProject(PathBuf),
    /// A new project among whose own files images or masks lie, or whose folder is that of its images.
    #[error(
        "a project cannot lie in {0}: its own files would be mixed with the images or masks; choose another folder for \
         it, such as a new one beside them"
    )]
    AmongImages(PathBuf),
    /// An export of labels from a project that has none.
    #[error("no image is labelled: there is nothing to export")]
    NothingToExport,
    /// An operation that needs a trained network, in a project without one.
    #[error("no network can predict: no round has been trained, or none with the current classes")]
    NoRound,
    /// An export of DICOM segmentations when no image is a DICOM file.
    #[error("no image is a DICOM file, and a DICOM segmentation needs one; choose another format")]
    NoDicom,
    /// Two images have the same slice number in a stack.
    #[error("{stack}: two images are slice {slice}; remove one of them")]
    TwoSlices {
        /// The stack.
        stack: String,
        /// The slice number, from 1.
        slice: usize,
    },
    /// Results would be written where they must not be.
    #[error("{0} is in the folder of the images, or among the project's own files; choose another folder")]
    NotThere(PathBuf),
    /// An export would overwrite a file.
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
        /// The newest version that this program can read.
        known: i64,
    },
    /// Written by an earlier version of the program and opened read-only, so it cannot be upgraded.
    #[error("{0} was written by an earlier Qualm, and must be opened for writing once")]
    OlderVersion(PathBuf),
    /// Another program has the project open.
    #[error("{path} is open in another Qualm ({holder}); close it there, or wait until it has ended")]
    InUse {
        /// The project.
        path: PathBuf,
        /// The process that holds the lock.
        holder: String,
    },
    /// An import that needs answers from the user first.
    #[error("{}", .0.iter().map(Ask::to_string).collect::<Vec<_>>().join("\n"))]
    Unsettled(Vec<Ask>),
    /// A folder that contains none of the project's images.
    #[error("{path} contains none of the project's images, such as {missing}; choose the folder that contains them")]
    NotTheImages {
        /// The folder.
        path: PathBuf,
        /// One of the missing images.
        missing: PathBuf,
    },
    /// An image or mask file that cannot be read or written.
    #[error(transparent)]
    Raster(#[from] RasterError),
    /// A mask whose size differs from that of its image.
    #[error("{path}: the mask is {mask}, its image {image}; export it at the image's own size")]
    MaskSize {
        /// The mask's file.
        path: PathBuf,
        /// Columns and rows of the mask.
        mask: Size,
        /// Columns and rows of the image.
        image: Size,
    },
    /// A mask with several pages for an image with one.
    #[error("{path}: the mask has {pages} pages, its image one; say what its pages are")]
    MaskPages {
        /// The mask's file.
        path: PathBuf,
        /// Number of pages in the mask.
        pages: usize,
    },
    /// A mask that cannot be imported.
    #[error("{path}: {reason}")]
    BadMask {
        /// The mask's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A class with the name of another one.
    #[error("there is a class {0} already; choose another name")]
    SameClassName(String),
    /// A round trained before the classes were renumbered.
    #[error("round {0} was trained with other classes than the project has now; train a new round")]
    OtherClasses(usize),
    /// A grouping rule that is invalid or cannot be applied.
    #[error("groups `{rule}`: {reason}")]
    BadGroups {
        /// The rule, as written by the user.
        rule: String,
        /// What is wrong.
        reason: String,
    },
    /// A grouping under which no labelled image would be left in training.
    #[error("the validation set has an image of every group: nothing would be left to train on")]
    ValidationOfEveryGroup,
    /// A file operation failed.
    #[error("{path}: {reason}; check that the folder exists, is writable and has space")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's error.
        reason: std::io::Error,
    },
    /// A database operation failed.
    #[error("the project's database: {0}; check that the folder is writable and has space")]
    Database(rusqlite::Error),
    /// A label that fails its checksum or cannot be decoded.
    #[error("the label of {0} is damaged and is not used; repairing the project makes it again from its label file")]
    DamagedLabel(String),
    /// A database that fails SQLite's integrity check.
    #[error("{path} is damaged ({reason})")]
    DamagedDatabase {
        /// The database.
        path: PathBuf,
        /// The problem reported by SQLite.
        reason: String,
    },
    /// Stored data that cannot be decoded.
    #[error("the project's stored {0} cannot be read; the database may be damaged")]
    Damaged(&'static str),
}

impl ProjectError {
    /// What can be done about it, where the message does not say.
    pub fn remedy(&self) -> Option<Remedy> {
        match self {
            Self::NotAProject(folder) => Some(Remedy::CreateProject(folder.clone())),
            Self::NoRound => Some(Remedy::TrainRound),
            Self::TwoSlices { .. } => Some(Remedy::RefreshFiles),
            Self::OlderVersion(project) => Some(Remedy::Upgrade(project.clone())),
            Self::MaskPages { .. } => Some(Remedy::Pages),
            Self::ValidationOfEveryGroup => Some(Remedy::RedrawValidation),
            Self::DamagedLabel(_) => Some(Remedy::Repair),
            Self::DamagedDatabase { .. } => Some(Remedy::Restore),
            Self::AlreadyAProject(_)
            | Self::AmongImages(_)
            | Self::NothingToExport
            | Self::NoDicom
            | Self::NotThere(_)
            | Self::WouldOverwrite(_)
            | Self::NewerVersion { .. }
            | Self::InUse { .. }
            | Self::Unsettled(_)
            | Self::NotTheImages { .. }
            | Self::Raster(_)
            | Self::MaskSize { .. }
            | Self::BadMask { .. }
            | Self::SameClassName(_)
            | Self::OtherClasses(_)
            | Self::BadGroups { .. }
            | Self::Io { .. }
            | Self::Database(_)
            | Self::Damaged(_) => None,
        }
    }

    /// Wraps an I/O error on `path`; for use with `map_err`.
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

/// A `Result` whose error is a [`ProjectError`].
pub type Result<T> = std::result::Result<T, ProjectError>;
