//! The network's own labels of the images it is sure of: in quarantine until a person says yes or no.
//!
//! Invariant: an image that a person has painted or labelled has none. What a person has accepted stays as it is; what
//! waits is made anew by each scoring; what was rejected is not labelled by the network again until that is revoked.

use rusqlite::{Transaction, params};
use serde::Serialize;

use crate::domain::mask::Mask;
use crate::project::error::{ProjectError, Result};
use crate::project::{ImageId, Project};

/// What a person has said of a pseudo-label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PseudoState {
    /// Nothing yet.
    Waiting,
    /// It is to be learned from.
    Accepted,
    /// It is not, and no other of this image.
    Rejected,
}

impl PseudoState {
    fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
        }
    }

    pub(super) fn read(word: &str) -> Option<Self> {
        [Self::Waiting, Self::Accepted, Self::Rejected].into_iter().find(|state| state.word() == word)
    }
}

impl Project {
    /// A pseudo-label, `[rows, columns]` of the network that made it; `None` where the image has none.
    pub fn pseudo_label(&self, image: ImageId) -> Result<Option<Mask>> {
        let mut query = self.db.prepare_cached("SELECT width, height, label FROM pseudo WHERE image = ?1")?;
        let mut rows = query.query([image])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (width, height): (usize, usize) = (row.get(0)?, row.get(1)?);
        let pixels = lz4_flex::block::decompress(&row.get::<_, Vec<u8>>(2)?, width * height);
        let pixels = pixels.map_err(|_| ProjectError::Damaged("pseudo-label"))?;
        let mask = Mask::from_pixels(width, height, pixels);
        mask.map(Some).map_err(|_| ProjectError::Damaged("pseudo-label"))
    }

    /// Stores what a person says of a pseudo-label; nothing where the image has none any more.
    pub fn set_pseudo(&mut self, image: ImageId, state: PseudoState) -> Result<()> {
        self.db.execute("UPDATE pseudo SET state = ?2 WHERE image = ?1", params![image, state.word()])?;
        Ok(())
    }
}

/// Replaces the pseudo-labels that nobody has spoken of by those of a scoring.
pub(super) fn replace_waiting(transaction: &Transaction, round: usize, labels: &[(ImageId, Mask)]) -> Result<()> {
    forget_waiting(transaction)?;
    for (image, mask) in labels {
        // What was labelled, accepted or rejected since the scoring began stays as the person has it.
        transaction.execute(
            "INSERT OR IGNORE INTO pseudo SELECT ?1, ?2, 'waiting', ?3, ?4, ?5
             WHERE NOT EXISTS (SELECT 1 FROM images LEFT JOIN labels ON labels.image = images.id
                               WHERE images.id = ?1 AND (status = 'labelled' OR done > 0))",
            params![image, round, mask.width(), mask.height(), lz4_flex::block::compress(mask.pixels())],
        )?;
    }
    Ok(())
}

/// None of them holds any more, whether a person has accepted it or not.
pub(super) fn forget_all(transaction: &Transaction) -> Result<()> {
    transaction.execute("DELETE FROM pseudo WHERE state <> 'rejected'", [])?;
    Ok(())
}

/// Those that nobody has spoken of hold no more.
pub(super) fn forget_waiting(transaction: &Transaction) -> Result<()> {
    transaction.execute("DELETE FROM pseudo WHERE state = 'waiting'", [])?;
    Ok(())
}

/// A person has painted the image: what the network made of it is gone. That it was rejected is remembered.
pub(super) fn forget(transaction: &rusqlite::Connection, image: ImageId) -> Result<()> {
    transaction.execute("DELETE FROM pseudo WHERE image = ?1 AND state <> 'rejected'", [image])?;
    Ok(())
}
