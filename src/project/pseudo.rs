//! Storage of pseudo-labels. The study decides which of them take effect and which are discarded.

use rusqlite::{Transaction, params};

use crate::domain::mask::Mask;
use crate::domain::study::{Change, ClassMap, Effects, ImageId, Review};
use crate::project::Project;
use crate::project::error::{ProjectError, Result};

impl Project {
    /// The pseudo-label of an image, `[rows, columns]` of the network that made it; `None` if there is none.
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

    /// Stores the user's review of a pseudo-label.
    pub fn set_pseudo(&mut self, image: ImageId, review: Review) -> Result<()> {
        let (study, _) = self.after(&Change::Reviewed(image, review))?;
        let review = study.image(image).and_then(|record| record.pseudo);
        self.db.execute("UPDATE pseudo SET state = ?2 WHERE image = ?1", params![image, review])?;
        Ok(())
    }
}

/// Renumbers the classes in pseudo-labels that the user has reviewed, and deletes all others, including those of
/// removed images.
pub(super) fn renumber(transaction: &Transaction, map: &ClassMap) -> Result<()> {
    transaction.execute("DELETE FROM pseudo WHERE state = ?1", [Review::Unreviewed])?;
    let all: Vec<(ImageId, usize, usize, Vec<u8>)> = {
        let mut query = transaction.prepare("SELECT image, width, height, label FROM pseudo")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for (image, width, height, packed) in all {
        let damaged = || ProjectError::Damaged("pseudo-label");
        let pixels = lz4_flex::block::decompress(&packed, width * height).map_err(|_| damaged())?;
        let mut mask = Mask::from_pixels(width, height, pixels).map_err(|_| damaged())?;
        map.apply(&mut mask);
        let packed = lz4_flex::block::compress(mask.pixels());
        transaction.execute("UPDATE pseudo SET label = ?2 WHERE image = ?1", params![image, packed])?;
    }
    Ok(())
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
