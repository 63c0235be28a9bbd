//! Questions that an import asks the user.

use crate::domain::remedy::Remedy;

/// Something that a person must say before an import can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// What is not clear, or wrong.
    pub what: String,
    /// How to answer it.
    pub remedy: Option<Remedy>,
}

impl std::fmt::Display for Ask {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.what)
    }
}
