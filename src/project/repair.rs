//! Finds and reports damaged labels, models and rounds, and repairs labels from their label files, label files from the
//! database, and rounds from their models' folders. What cannot be repaired is kept as it is.

use std::path::Path;

use serde::Serialize;

use crate::domain::edit::Edit;
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::study::ImageRecord;
use crate::project::RoundRecord;
use crate::project::error::{ProjectError, Result};
use crate::project::labels::{label_file, store_whole};
use crate::project::{Project, backup};
use crate::raster;

/// What was found, and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Repaired {
    /// Labels that were made again from their label files.
    pub from_files: Vec<String>,
    /// Labels that could not be read, and have no sound file to be made from: their images are unlabelled now. A file
    /// that could not be read either is moved to the folder `kept`.
    pub lost: Vec<String>,
    /// Label files that were written again from the database.
    pub files: Vec<String>,
    /// Rounds whose model is not the one that was recorded, or cannot be read: they cannot predict.
    pub models: Vec<usize>,
    /// Rounds whose record in the database was damaged, and was written again from their models' folders.
    pub rounds: Vec<usize>,
    /// Rounds whose record is damaged in both places: nothing of them is changed, and they are left out.
    pub lost_rounds: Vec<usize>,
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
    /// Checks every label against its checksums and every label file against its label, also of removed images, and
    /// repairs what it can: a label from its file, a file from its label. A label that cannot be repaired is cleared,
    /// and its file moved aside. A round's damaged record is written again from its model's folder; if that is damaged
    /// too, the round is only named. The database is copied first. With `is_dry`, nothing is changed. `is_sound_model`
    /// takes a round's model folder and the recorded hash of its model, and returns whether they match.
    pub fn repair(&mut self, is_dry: bool, is_sound_model: impl Fn(&Path, &str) -> bool) -> Result<Repaired> {
        let mut found = Repaired::default();
        let records = self.round_records()?;
        for RoundRecord { number, round, is_damaged } in &records {
            match round {
                Some(round) => {
                    found.rounds.extend(is_damaged.then_some(*number));
                    let is_sound = is_sound_model(&self.model_folder(*number), &round.report.model);
                    found.models.extend((!is_sound).then_some(*number));
                }
                None => found.lost_rounds.push(*number),
            }
        }
        let (mut mended, mut stale) = (Vec::new(), Vec::new());
        for image in self.images_with_removed()? {
            let file = || raster::read_label(&self.label_path(&image.stem));
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
        if is_dry || mended.is_empty() && stale.is_empty() && found.rounds.is_empty() {
            return Ok(found);
        }
        let kept = backup::set_aside(&self.root, "before-repair")?;
        self.mend_rounds(&records)?;
        for (image, _) in mended.iter().filter(|(_, mask)| mask.is_none()) {
            self.set_label_file_aside(image, &kept)?;
        }
        found.kept = Some(kept);
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

    /// Moves an image's label file, if there is one, to the folder `labels` in `to`: it may be all that is left of the
    /// label, and somebody may be able to read it.
    fn set_label_file_aside(&self, image: &ImageRecord, to: &Path) -> Result<()> {
        let from = self.label_path(&image.stem);
        if !from.exists() {
            return Ok(());
        }
        let to = label_file(to, &image.stem);
        let folder = to.parent().unwrap_or(&to);
        std::fs::create_dir_all(folder).map_err(ProjectError::io(folder))?;
        std::fs::rename(&from, &to).map_err(ProjectError::io(&from))
    }
}

/// Replaces a label and its history with a mask, or clears them.
fn replace(db: &rusqlite::Connection, image: &ImageRecord, mask: Option<&Mask>) -> Result<()> {
    let empty = Mask::filled(image.width, image.height, UNLABELLED);
    let mask = mask.unwrap_or(&empty);
    let edit = Edit::between(&empty, mask).map(|edit| edit.to_bytes());
    // Recreate the row, which may be unreadable.
    db.execute("DELETE FROM labels WHERE image = ?1", [image.id])?;
    let packed = lz4_flex::block::compress(mask.pixels());
    store_whole(db, image.id, edit.as_deref(), &packed, image.labelled, false)
}
