//! Pseudo-labels as they are stored. What discards them, and which ones hold, are the study's rules.

use rusqlite::{Transaction, params};

use crate::domain::mask::Mask;
use crate::domain::study::{Change, Effects, ImageId, Review};
use crate::project::Project;
use crate::project::error::{ProjectError, Result};

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

    /// Stores the review of a pseudo-label.
    pub fn set_pseudo(&mut self, image: ImageId, review: Review) -> Result<()> {
        let (study, _) = self.after(&Change::Reviewed(image, review))?;
        let review = study.image(image).and_then(|record| record.pseudo);
        self.db.execute("UPDATE pseudo SET state = ?2 WHERE image = ?1", params![image, review])?;
        Ok(())
    }
}

/// Deletes the pseudo-labels that a change discards.
pub(super) fn discard(transaction: &Transaction, effects: &Effects) -> Result<()> {
    for image in &effects.discarded {
        transaction.execute("DELETE FROM pseudo WHERE image = ?1", [image])?;
    }
    Ok(())
}

/// Stores a new pseudo-label.
pub(super) fn insert(transaction: &Transaction, round: usize, image: ImageId, mask: &Mask) -> Result<()> {
    transaction.execute(
        "INSERT INTO pseudo VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            image,
            round,
            Review::Unreviewed,
            mask.width(),
            mask.height(),
            lz4_flex::block::compress(mask.pixels())
        ],
    )?;
    Ok(())
}
