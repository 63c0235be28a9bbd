//! The reasons for which a file is rejected, with what the user can do about them.

use std::path::{Path, PathBuf};

use super::Format;

/// A file that cannot be read as an image or a mask.
#[derive(Debug, thiserror::Error)]
pub enum RasterError {
    /// The operating system reported an error.
    #[error("{path}: {reason}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The operating system's error.
        reason: std::io::Error,
    },
    /// The file's content is not supported.
    #[error("{path} is {what}; {remedy}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What the file contains.
        what: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The decoded image would exceed the memory limit.
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
        /// Memory needed for its samples in MiB.
        needed_mib: u64,
        /// The memory limit in MiB.
        limit_mib: u64,
    },
    /// The decoder failed in a way that it does not explain.
    #[error("{path} cannot be decoded ({reason}); save it again with another program")]
    Undecodable {
        /// The file.
        path: PathBuf,
        /// The decoder's last words.
        reason: String,
    },
    /// Reading did not end within the time limit.
    #[error("{path}: reading it took longer than {seconds} s; check the disk that it is on, or replace the file")]
    TimedOut {
        /// The file.
        path: PathBuf,
        /// The time limit in seconds.
        seconds: u64,
    },
    /// The content is not a recognized format.
    #[error("{0} is not an image")]
    NotAnImage(PathBuf),
    /// The content is inconsistent or truncated.
    #[error("{path} is damaged ({format}: {reason}); replace the file")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The detected format.
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

/// The result type of this module.
pub type Result<T> = std::result::Result<T, RasterError>;
