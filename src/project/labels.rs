//! Storage of labels: a mask at some position in the journal, and the journal of steps.
//!
//! Invariant: toggling the steps between `position` and `done` in the stored mask, which is at `position`, gives the
//! label; if no mask is stored, the unlabelled mask takes its place. Steps are their own inverse, so it does not matter
//! which of the two positions is larger.

use rusqlite::{OptionalExtension, Transaction, params};

use crate::domain::edit::{Edit, History, Step};
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::study::{Change, FileState, ImageId};
use crate::project::error::{ProjectError, Result};
use crate::project::identity::hash;
use crate::project::stamp::Stamp;
use crate::project::{Project, checksums, pseudo, stays_inside};
use crate::raster;

/// An image's label with its history.
pub struct Label {
    /// The current label, at the image's own size.
    pub mask: Mask,
    /// The steps that can be undone and redone.
    pub history: History,
}

impl Project {
    /// The label of an image. If the image has never been edited, every pixel is unlabelled. If the label is damaged,
    /// the error names the image.
    pub fn label(&self, image: ImageId) -> Result<Label> {
        self.stored_label(image).map_err(|error| {
            if !matches!(error, ProjectError::Damaged(_)) {
                return error;
            }
            let name = self.image_or_removed(image).ok().flatten().map(|record| record.name);
            ProjectError::DamagedLabel(name.unwrap_or_else(|| format!("image {image}")))
        })
    }

    fn stored_label(&self, image: ImageId) -> Result<Label> {
        // Read from a single snapshot, since another connection may be writing.
        let is_alone = self.db.is_autocommit();
        let _snapshot = is_alone.then(|| self.db.unchecked_transaction()).transpose()?;
        let (width, height): (usize, usize) =
            self.db.query_row("SELECT width, height FROM images WHERE id = ?1", [image], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        type LabelRow = (Option<Vec<u8>>, usize, usize, Option<u32>, Option<u32>);
        let query = "SELECT mask, position, done, mask_crc, row_crc FROM labels WHERE image = ?1";
        let read = |row: &rusqlite::Row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?));
        let stored: Option<LabelRow> =
            self.db.query_row(query, [image], read).optional().map_err(unreadable("label"))?;
        let Some((packed, position, done, mask_crc, row_crc)) = stored else {
            return Ok(Label { mask: Mask::filled(width, height, UNLABELLED), history: History::default() });
        };
        let is_sound = row_crc.is_none_or(|crc| crc == checksums::of_row(image, mask_crc, position, done))
            && mask_crc.is_none_or(|crc| packed.as_ref().is_some_and(|packed| crc == checksums::of_mask(packed)));
        if !is_sound {
            return Err(ProjectError::Damaged("label"));
        }
        let pixels = match packed {
            Some(packed) => {
                lz4_flex::block::decompress(&packed, width * height).map_err(|_| ProjectError::Damaged("label"))?
            }
            None => vec![UNLABELLED; width * height],
        };
        let mut mask = Mask::from_pixels(width, height, pixels).map_err(|_| ProjectError::Damaged("label"))?;
        let mut query =
            self.db.prepare_cached("SELECT edit, accepts, crc FROM journal WHERE image = ?1 ORDER BY position")?;
        let rows = query.query_map([image], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, bool>(1)?, row.get::<_, Option<u32>>(2)?))
        })?;
        let steps = rows
            .enumerate()
            .map(|(place, row)| {
                let (edit, accepts, crc) = row.map_err(unreadable("journal"))?;
                if crc.is_some_and(|crc| crc != checksums::of_step(image, place, accepts, &edit)) {
                    return Err(ProjectError::Damaged("journal"));
                }
                Ok(Step { edit: Edit::from_bytes(&edit)?, accepts })
            })
            .collect::<Result<Vec<Step>>>()?;
        let (low, high) = (position.min(done), position.max(done));
        for step in steps.get(low..high).ok_or(ProjectError::Damaged("journal"))? {
            step.edit.toggle(&mut mask)?;
        }
        Ok(Label { mask, history: History::new(steps, done) })
    }

    /// Stores a step at index `position` (from 0), discarding undone steps. The step is on disk once this returns.
    pub fn commit_step(&mut self, image: ImageId, position: usize, step: &Step) -> Result<()> {
        self.commit(image, position, step, step.accepts.then_some(true))
    }

    /// The same, with whether the image is labelled after it, if that changes.
    fn commit(&mut self, image: ImageId, position: usize, step: &Step, labelled: Option<bool>) -> Result<()> {
        self.rebase(image, position)?;
        let (_, effects) = self.after(&Change::Edited { image, painted: true, labelled })?;
        let transaction = self.db.transaction()?;
        ensure_label(&transaction, image)?;
        pseudo::discard(&transaction, &effects)?;
        let before: usize = transaction.query_row(
            "SELECT count(*) FROM journal WHERE image = ?1 AND position < ?2",
            params![image, position],
            |row| row.get(0),
        )?;
        if before != position {
            return Err(ProjectError::Damaged("journal"));
        }
        transaction.execute("DELETE FROM journal WHERE image = ?1 AND position >= ?2", params![image, position])?;
        let edit = step.edit.to_bytes();
        let crc = checksums::of_step(image, position, step.accepts, &edit);
        transaction.execute(
            "INSERT INTO journal (image, position, edit, accepts, crc) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![image, position, edit, step.accepts, crc],
        )?;
        set_done(&transaction, image, position + 1)?;
        if let Some(labelled) = labelled {
            set_labelled(&transaction, image, labelled)?;
        }
        Ok(transaction.commit()?)
    }

    /// Sets the number of applied steps to `done` after an undo or redo. The change is on disk once this returns.
    pub fn move_to(&mut self, image: ImageId, done: usize, labelled: Option<bool>) -> Result<()> {
        let (_, effects) = self.after(&Change::Edited { image, painted: done > 0, labelled })?;
        let transaction = self.db.transaction()?;
        set_done(&transaction, image, done)?;
        pseudo::discard(&transaction, &effects)?;
        if let Some(labelled) = labelled {
            set_labelled(&transaction, image, labelled)?;
        }
        Ok(transaction.commit()?)
    }

    /// Clears the label of an image, as a step that can be undone. The image is then not labelled.
    pub fn clear_label(&mut self, image: ImageId) -> Result<()> {
        let label = self.label(image)?;
        let done = label.history.done();
        // Undoing it marks the image as labelled again.
        let accepts = self.image_or_removed(image)?.is_some_and(|record| record.labelled);
        let empty = Mask::filled(label.mask.width(), label.mask.height(), UNLABELLED);
        match Edit::between(&label.mask, &empty) {
            Some(edit) => self.commit(image, done, &Step { edit, accepts }, Some(false)),
            None if accepts => self.move_to(image, done, Some(false)),
            None => Ok(()),
        }
    }

    /// Updates the PNG files to match the journal. The file of a damaged label is left as it is. May run on its own
    /// connection while another one is writing; changes made in the meantime are exported next time.
    pub fn export_labels(&mut self) -> Result<()> {
        let palette: Vec<[u8; 3]> = self.classes()?.iter().map(|class| class.colour).collect();
        let stale: Vec<(ImageId, String)> = {
            let mut query = self.db.prepare(
                "SELECT image, stem FROM labels JOIN images ON images.id = image WHERE exported <> revision",
            )?;
            let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        if !stale.iter().all(|(_, stem)| stays_inside(stem)) {
            return Err(ProjectError::Damaged("images"));
        }
        for (image, stem) in stale {
            let revision = |db: &rusqlite::Connection| -> Result<i64> {
                Ok(db.query_row("SELECT revision FROM labels WHERE image = ?1", [image], |row| row.get(0))?)
            };
            let before = revision(&self.db)?;
            let label = match self.label(image) {
                Ok(label) => label,
                // It is reported where it is used, and does not stop the others.
                Err(error @ ProjectError::DamagedLabel(_)) => {
                    tracing::warn!("{error}");
                    continue;
                }
                Err(error) => return Err(error),
            };
            raster::write_label(&self.label_path(&stem), &label.mask, &palette)?;
            let (packed, done) = (lz4_flex::block::compress(label.mask.pixels()), label.history.done());
            // Only if nothing has changed since; then the label read has revision `before` and is at position `done`.
            let (mask_crc, transaction) = (checksums::of_mask(&packed), self.db.transaction()?);
            transaction.execute(
                "UPDATE labels SET mask = ?2, position = ?3, exported = ?4, mask_crc = ?5
                 WHERE image = ?1 AND revision = ?4",
                params![image, packed, done, before, mask_crc],
            )?;
            checksums::seal_row(&transaction, image)?;
            transaction.commit()?;
        }
        Ok(())
    }

    /// Records the hash of each labelled image's file if it has none yet, so that a replaced file can be detected.
    pub fn hash_labelled(&mut self) -> Result<()> {
        let unknown: Vec<ImageId> = {
            let mut query = self.db.prepare("SELECT id FROM images WHERE status = 'labelled' AND hash IS NULL")?;
            let rows = query.query_map([], |row| row.get(0))?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for id in unknown {
            let Some(image) = self.image(id)?.filter(|image| image.file == FileState::Present) else { continue };
            let Some(stamp) = Stamp::of(&image.path) else { continue };
            if let Ok(content) = hash(&image.path) {
                // Only if the file still has the recorded stamp; otherwise it is not the file that was labelled.
                self.db.execute(
                    "UPDATE images SET hash = ?2 WHERE id = ?1 AND hash IS NULL
                     AND length = ?3 AND modified_ns = ?4",
                    params![id, content, stamp.length, stamp.modified_ns],
                )?;
            }
        }
        Ok(())
    }

    /// Truncates the write-ahead log and updates SQLite's table statistics. Best called when idle.
    pub fn compact(&mut self) -> Result<()> {
        self.db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA optimize;")?;
        Ok(())
    }

    /// The label file of the image with this stem.
    pub fn label_path(&self, stem: &str) -> std::path::PathBuf {
        label_file(&self.root, stem)
    }

    /// Moves the stored mask back to `position` if its own position is among the steps about to be discarded.
    fn rebase(&mut self, image: ImageId, position: usize) -> Result<()> {
        let at: Option<usize> =
            self.db.query_row("SELECT position FROM labels WHERE image = ?1", [image], |row| row.get(0)).optional()?;
        if at.is_none_or(|at| at <= position) {
            return Ok(());
        }
        let label = self.label(image)?;
        debug_assert_eq!(label.history.done(), position);
        let packed = lz4_flex::block::compress(label.mask.pixels());
        let (mask_crc, transaction) = (checksums::of_mask(&packed), self.db.transaction()?);
        transaction.execute(
            "UPDATE labels SET mask = ?2, position = done, mask_crc = ?3 WHERE image = ?1",
            params![image, packed, mask_crc],
        )?;
        checksums::seal_row(&transaction, image)?;
        Ok(transaction.commit()?)
    }
}

/// Replaces a label and its history with a mask (`packed`) and the single step that produces it, encoded as bytes.
/// Without a step, the history is empty. The image is marked as labelled if the step `accepts`. `is_written` means that
/// the label file is already up to date.
pub(super) fn store_whole(
    db: &rusqlite::Connection,
    image: ImageId,
    edit: Option<&[u8]>,
    packed: &[u8],
    accepts: bool,
    is_written: bool,
) -> Result<()> {
    store(db, image, edit.map(|edit| (edit, accepts)), packed, is_written)?;
    set_labelled(db, image, accepts && edit.is_some())
}

/// Replaces a label with a mask (`packed`) that cannot be undone ([`History`]). Whether the image is labelled stays.
pub(super) fn store_fixed(db: &rusqlite::Connection, image: ImageId, packed: &[u8]) -> Result<()> {
    let nothing = Edit::default().to_bytes();
    store(db, image, Some((nothing.as_slice(), false)), packed, false)
}

/// Replaces a label and its history with a mask and a single step, if any: its bytes, and whether it accepts.
fn store(
    db: &rusqlite::Connection,
    image: ImageId,
    step: Option<(&[u8], bool)>,
    packed: &[u8],
    is_written: bool,
) -> Result<()> {
    db.execute("DELETE FROM journal WHERE image = ?1", [image])?;
    if let Some((edit, accepts)) = step {
        db.execute(
            "INSERT INTO journal (image, position, edit, accepts, crc) VALUES (?1, 0, ?2, ?3, ?4)",
            params![image, edit, accepts, checksums::of_step(image, 0, accepts, edit)],
        )?;
    }
    db.execute("INSERT OR IGNORE INTO labels (image, position, done) VALUES (?1, 0, 0)", [image])?;
    db.execute(
        "UPDATE labels SET mask = ?2, position = ?3, done = ?3, mask_crc = ?4, revision = revision + 1,
             exported = CASE WHEN ?5 THEN revision + 1 ELSE -1 END WHERE image = ?1",
        params![image, packed, usize::from(step.is_some()), checksums::of_mask(packed), is_written],
    )?;
    checksums::seal_row(db, image)
}

/// The label file of the image with this stem in the project in `root`.
pub(super) fn label_file(root: &std::path::Path, stem: &str) -> std::path::PathBuf {
    root.join("labels").join(format!("{stem}.png"))
}

fn ensure_label(transaction: &Transaction, image: ImageId) -> Result<()> {
    transaction.execute("INSERT OR IGNORE INTO labels (image, position, done) VALUES (?1, 0, 0)", [image])?;
    Ok(())
}

fn set_done(transaction: &Transaction, image: ImageId, done: usize) -> Result<()> {
    // The exported file is now stale, even if an undo followed by a new step results in the same `done`.
    transaction
        .execute("UPDATE labels SET done = ?2, revision = revision + 1 WHERE image = ?1", params![image, done])?;
    checksums::seal_row(transaction, image)
}

/// Maps a type mismatch in a row to [`ProjectError::Damaged`].
fn unreadable(what: &'static str) -> impl Fn(rusqlite::Error) -> ProjectError {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    move |error| {
        let is_type =
            matches!(error, FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) | InvalidColumnType(..));
        if is_type { ProjectError::Damaged(what) } else { ProjectError::Database(error) }
    }
}

fn set_labelled(db: &rusqlite::Connection, image: ImageId, labelled: bool) -> Result<()> {
    let status = if labelled { "labelled" } else { "unlabelled" };
    db.execute("UPDATE images SET status = ?2 WHERE id = ?1", params![image, status])?;
    Ok(())
}
