//! The identity of image files: the path relative to the image folder, and the size, time and hash that distinguish the
//! file from another one of the same name.
//!
//! Invariant: a label is never trained on, and an image never scored, if the file has been replaced since.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rusqlite::params;
use sha2::{Digest, Sha256};

use crate::domain::size::Size;
use crate::domain::study::{FileState, ImageId};
use crate::project::error::{ProjectError, Result};
use crate::project::stamp::{Stamp, hex};
use crate::project::{Project, cache};

/// The stored form of a path: the operating system's own bytes.
pub fn path_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

/// The inverse of [`path_bytes`].
#[cfg(unix)]
pub fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

/// The inverse of [`path_bytes`].
#[cfg(not(unix))]
pub fn path_from_bytes(bytes: Vec<u8>) -> PathBuf {
    PathBuf::from(String::from_utf8_lossy(&bytes).into_owned())
}

/// SHA-256 of a file, in hexadecimal.
pub fn hash(path: &Path) -> Result<String> {
    let mut file = File::open(path).map_err(ProjectError::io(path))?;
    let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 16]);
    loop {
        let length = file.read(&mut part).map_err(ProjectError::io(path))?;
        if length == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&part[..length]);
    }
}

/// An image's file as recorded in the database.
struct KnownFile {
    id: ImageId,
    path: PathBuf,
    state: FileState,
    stamp: Option<Stamp>,
    hash: Option<String>,
    has_label: bool,
}

impl Project {
    /// Compares every image's file with its recorded size, time and hash. A replaced file is marked as such only if the
    /// image has a label; otherwise, everything computed from the earlier file is deleted.
    pub fn check_files(&mut self) -> Result<()> {
        let folder = self.image_folder()?;
        let known: Vec<KnownFile> = {
            let mut query = self.db.prepare(
                "SELECT id, path, file, length, modified_ns, hash, status = 'labelled' OR coalesce(done, 0) > 0
                 FROM images LEFT JOIN labels ON labels.image = id WHERE NOT removed",
            )?;
            let rows = query.query_map([], |row| {
                Ok(KnownFile {
                    id: row.get(0)?,
                    path: folder.join(path_from_bytes(row.get(1)?)),
                    state: row.get(2)?,
                    stamp: row
                        .get::<_, Option<u64>>(3)?
                        .zip(row.get(4)?)
                        .map(|(length, modified_ns)| Stamp { length, modified_ns }),
                    hash: row.get(5)?,
                    has_label: row.get(6)?,
                })
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        let root = self.root.clone();
        let mut hashes: HashMap<PathBuf, String> = HashMap::new();
        let transaction = self.db.transaction()?;
        for known in known {
            let Some(now) = Stamp::of(&known.path) else {
                set_file(&transaction, known.id, FileState::Missing)?;
                continue;
            };
            if known.state == FileState::Present
                && known.stamp == Some(now)
                && (known.hash.is_some() || !known.has_label)
            {
                continue;
            }
            // The pages of a file share one hash. A file that cannot be read now is reported when it is used.
            let content = match hashes.get(&known.path) {
                _ if !known.has_label => None,
                Some(content) => Some(content.clone()),
                None => {
                    let Ok(content) = hash(&known.path) else { continue };
                    hashes.insert(known.path.clone(), content.clone());
                    Some(content)
                }
            };
            // Without a hash of before or of now, only size and time can be compared.
            let is_other = match (&known.hash, &content, known.stamp) {
                (Some(before), Some(now), _) => before != now,
                (None, _, Some(before)) | (Some(_), None, Some(before)) => before != now,
                (Some(_), None, None) | (None, _, None) => false,
            };
            if is_other && known.has_label {
                set_file(&transaction, known.id, FileState::Replaced)?;
                continue;
            }
            set_file(&transaction, known.id, FileState::Present)?;
            set_stamp(&transaction, known.id, now, content.as_deref())?;
            if is_other {
                // The hash is that of the earlier file.
                transaction.execute("UPDATE images SET hash = NULL WHERE id = ?1", [known.id])?;
                forget_computed(&transaction, &root, known.id)?;
                if let Ok(header) = crate::raster::header(&known.path) {
                    let resized = transaction.execute(
                        "UPDATE images SET width = ?2, height = ?3 WHERE id = ?1 AND (width, height) <> (?2, ?3)",
                        params![known.id, header.width, header.height],
                    )?;
                    if resized > 0 {
                        // Steps that were undone cannot be redone at another size.
                        for table in ["journal", "labels"] {
                            transaction.execute(&format!("DELETE FROM {table} WHERE image = ?1"), [known.id])?;
                        }
                    }
                }
            }
        }
        Ok(transaction.commit()?)
    }

    /// Accepts the new files of all images whose files were replaced, keeping or deleting their labels, and returns how
    /// many there were. Fails if a label is to be kept but the new file has a different size.
    pub fn accept_replaced(&mut self, keeps_labels: bool) -> Result<usize> {
        let replaced: Vec<_> = self.images()?.into_iter().filter(|image| image.file == FileState::Replaced).collect();
        for image in &replaced {
            let header = crate::raster::header(&image.path)?;
            let size = header.size();
            if keeps_labels && size != Size::new(image.width, image.height) {
                let mask = Size::new(image.width, image.height);
                return Err(ProjectError::MaskSize { path: image.path.clone(), mask, image: size });
            }
            let root = self.root.clone();
            let content = hash(&image.path)?;
            let transaction = self.db.transaction()?;
            if !keeps_labels {
                for table in ["journal", "labels", "acceptances"] {
                    transaction.execute(&format!("DELETE FROM {table} WHERE image = ?1"), [image.id])?;
                }
                transaction.execute(
                    "UPDATE images SET status = 'unlabelled', validation = NULL, width = ?2, height = ?3 WHERE id = ?1",
                    params![image.id, size.width, size.height],
                )?;
            }
            set_file(&transaction, image.id, FileState::Present)?;
            if let Some(stamp) = Stamp::of(&image.path) {
                set_stamp(&transaction, image.id, stamp, Some(&content))?;
            }
            forget_computed(&transaction, &root, image.id)?;
            transaction.commit()?;
            if !keeps_labels {
                let _ = std::fs::remove_file(self.label_path(&image.stem));
            }
        }
        Ok(replaced.len())
    }

    /// Changes the image folder, and returns the number of images found in it and the paths of those missing. Fails if
    /// it contains none of the images.
    pub fn relocate(&mut self, folder: &Path) -> Result<(usize, Vec<String>)> {
        let folder = std::path::absolute(folder).map_err(ProjectError::io(folder))?;
        std::fs::read_dir(&folder).map_err(ProjectError::io(&folder))?;
        let before = self.image_folder()?;
        let images = self.images()?;
        let relative = |path: &Path| path.strip_prefix(&before).unwrap_or(path).to_owned();
        let (found, missing): (Vec<_>, Vec<_>) =
            images.iter().map(|image| relative(&image.path)).partition(|path| folder.join(path).is_file());
        if found.is_empty() && !images.is_empty() {
            return Err(ProjectError::NotTheImages { path: folder, missing: missing[0].clone() });
        }
        self.set_meta("images", &path_bytes(&folder))?;
        self.check_files()?;
        Ok((found.len(), missing.iter().map(|path| path.display().to_string()).collect()))
    }
}

pub(super) fn set_file(db: &rusqlite::Connection, image: ImageId, state: FileState) -> Result<()> {
    db.execute("UPDATE images SET file = ?2 WHERE id = ?1 AND file <> ?2", params![image, state])?;
    Ok(())
}

/// Records the stamp of an image's file; without a new `hash`, the recorded one is kept.
pub(super) fn set_stamp(db: &rusqlite::Connection, image: ImageId, stamp: Stamp, hash: Option<&str>) -> Result<()> {
    db.execute(
        "UPDATE images SET length = ?2, modified_ns = ?3, hash = coalesce(?4, hash) WHERE id = ?1",
        params![image, stamp.length, stamp.modified_ns, hash],
    )?;
    Ok(())
}

/// Deletes everything computed from an image's earlier file.
fn forget_computed(db: &rusqlite::Connection, root: &Path, image: ImageId) -> Result<()> {
    for table in ["scores", "proposals", "pseudo"] {
        db.execute(&format!("DELETE FROM {table} WHERE image = ?1"), [image])?;
    }
    cache::forget(root, image);
    Ok(())
}
