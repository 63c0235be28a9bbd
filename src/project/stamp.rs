//! What tells one content of a file from another at little cost.

use std::path::Path;
use std::time::UNIX_EPOCH;

/// What of a file is cheap to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub length: u64,
    /// When it was written, nanoseconds since 1970.
    pub modified_ns: i64,
}

impl Stamp {
    /// Of a file; `None` where there is none.
    pub fn of(path: &Path) -> Option<Self> {
        let metadata = std::fs::metadata(path).ok()?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        Some(Self { length: metadata.len(), modified_ns: modified.map_or(0, |time| time.as_nanos() as i64) })
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
