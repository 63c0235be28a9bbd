//! Questions that an import asks the user.

use serde::Serialize;

/// Something that a person must say before an import can be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Ask {
    /// What is not clear, or wrong.
    pub what: String,
    /// What settles it on the command line.
    pub flags: String,
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        if self.flags.is_empty() { f.write_str(&self.what) } else { write!(f, "{}; {}", self.what, self.flags) }
    }
}
