//! Cheap detection of changed files.

use std::path::Path;
use std::time::UNIX_EPOCH;

/// Properties of a file that are cheap to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// File size in bytes.
    pub length: u64,
    /// Modification time, in nanoseconds since 1970; 0 if unknown.
    pub modified_ns: i64,
}

impl Stamp {
    /// The stamp of a file; `None` if the file does not exist.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Some(Self { length: metadata.len(), modified_ns: modified.map_or(0, |time| time.as_nanos() as i64) })
    }
}

/// Formats bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
