//! Damaged labels and models: found, named, and mended where there is something to mend them from.

use std::path::Path;

use rusqlite::params;
use serde::Serialize;

use crate::domain::edit::Edit;
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::study::ImageRecord;
use crate::project::error::{ProjectError, Result};
use crate::project::{Project, backup, checksums};
use crate::raster;

/// What was found, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Repaired {
    /// Labels that were made again from their label files.
    pub from_files: Vec<String>,
    /// Labels that could not be read, and have no file to be made from: their images are unlabelled now.
    pub lost: Vec<String>,
    /// Label files that were written again from the database.
    pub files: Vec<String>,
    /// Rounds whose model is not the one that was recorded, or cannot be read: they cannot predict.
    pub models: Vec<usize>,
    /// Where the database was copied to before anything was changed; nothing where nothing was.
    pub kept: Option<std::path::PathBuf>,
}

impl Repaired {
    /// Whether nothing was wrong.
    pub fn is_sound(&self) -> bool {
        *self == Self::default()
    }
}

impl Project {
    /// Checks every label against its checksums and every label file against its label, and mends what can be mended: a
    /// label from its file, a file from its label. The database is copied first. With `is_dry`, nothing is changed.
    /// `is_sound_model` says of a round whether its model is the one recorded.
    pub fn repair(&mut self, is_dry: bool, is_sound_model: impl Fn(&Path, &str) -> bool) -> Result<Repaired> {
        let mut found = Repaired::default();
        for round in self.rounds()? {
            if !is_sound_model(&self.model_folder(round.report.round), &round.report.model) {
                found.models.push(round.report.round);
            }
        }
        let (mut mended, mut stale) = (Vec::new(), Vec::new());
        for image in self.images()? {
            let file = || raster::guarded(&self.label_path(&image.stem), raster::read_label);
            let fits = |mask: &Mask| (mask.width(), mask.height()) == (image.width, image.height);
            match self.label(image.id) {
                Ok(label) if label.history.done() > 0 => {
                    if file().ok().as_ref() != Some(&label.mask) {
                        found.files.push(image.name.clone());
                        stale.push(image.id);
                    }
                }
                Ok(_) => {}
                Err(ProjectError::DamagedLabel(_)) => {
                    let mask = file().ok().filter(fits);
                    let list = if mask.is_some() { &mut found.from_files } else { &mut found.lost };
                    list.push(image.name.clone());
                    mended.push((image, mask));
                }
                Err(error) => return Err(error),
            }
        }
        if is_dry || mended.is_empty() && stale.is_empty() {
            return Ok(found);
        }
        found.kept = Some(backup::set_aside(&self.root, "before-repair")?);
        let transaction = self.db.transaction()?;
        for (image, mask) in &mended {
            replace(&transaction, image, mask.as_ref())?;
        }
        for image in stale {
            transaction.execute("UPDATE labels SET exported = -1 WHERE image = ?1", [image])?;
        }
        transaction.commit()?;
        self.export_labels()?;
        Ok(found)
    }
}

/// Replaces a label and its history by a mask, or by nothing.
fn replace(db: &rusqlite::Connection, image: &ImageRecord, mask: Option<&Mask>) -> Result<()> {
    let id = image.id;
    db.execute("DELETE FROM journal WHERE image = ?1", [id])?;
    db.execute("DELETE FROM labels WHERE image = ?1", [id])?;
    let before = Mask::filled(image.width, image.height, UNLABELLED);
    let Some((mask, edit)) = mask.and_then(|mask| Some((mask, Edit::between(&before, mask)?))) else {
        db.execute("UPDATE images SET status = 'unlabelled' WHERE id = ?1", [id])?;
        return Ok(());
    };
    let (edit, packed) = (edit.to_bytes(), lz4_flex::block::compress(mask.pixels()));
    let crc = checksums::of_step(id, 0, image.labelled, &edit);
    db.execute(
        "INSERT INTO journal (image, position, edit, accepts, crc) VALUES (?1, 0, ?2, ?3, ?4)",
        params![id, edit, image.labelled, crc],
    )?;
    db.execute(
        "INSERT INTO labels (image, mask, position, done, revision, mask_crc) VALUES (?1, ?2, 1, 1, 1, ?3)",
        params![id, packed, checksums::of_mask(&packed)],
    )?;
    checksums::seal_row(db, id)
}
