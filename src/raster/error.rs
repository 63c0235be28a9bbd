//! Why a file is not taken, each with what the person can do about it.

use std::path::{Path, PathBuf};

use super::Format;

/// A file that cannot be read as an image or a mask.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// The system refused.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// Its content is of no format that is read.
    #[error("{path} is {what}; {remedy}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: String,
        /// The way out.
        remedy: &'static str,
    },
    /// It takes more memory than one image may.
    #[error(
        "{path} has {width} × {height} pixels and takes {needed_mib} MiB; an image may take {limit_mib} MiB. Scale it down \
         or cut it, or set QUALM_IMAGE_MEMORY to a larger number of MiB"
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// What its samples take.
        needed_mib: u64,
        /// What they may take.
        limit_mib: u64,
    },
    /// Its content is nothing that is known.
    #[error("{0} is no image")]
    NotAnImage(PathBuf),
    /// Its content contradicts itself, or ends too early.
    #[error("{path} is damaged ({format}: {reason}); replace the file")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What it seems to be.
        format: Format,
        /// What is wrong.
        reason: String,
    },
}

impl RasterError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |reason| Self::Io { path, reason }
    }

    pub(super) fn unsupported(path: &Path, what: impl Into<String>, remedy: &'static str) -> Self {
        Self::Unsupported { path: path.to_owned(), what: what.into(), remedy }
    }

    pub(super) fn damaged(path: &Path, format: Format, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), format, reason: reason.to_string() }
    }
}

/// Shorthand of this room.
pub type Result<T> = std::result::Result<T, RasterError>;
