//! The project folder: database, label files, models and cache.
//!
//! Invariant: image files are never modified. The journal is authoritative for labels; the PNG files are derived from
//! it.

mod acceptances;
pub mod backup;
pub mod cache;
mod checksums;
mod classes;
mod columns;
pub mod demo;
mod error;
mod export;
pub mod groups;
mod identity;
pub mod import;
mod intake;
mod labels;
mod lock;
mod pseudo;
mod repair;
mod rounds;
mod schema;
mod stamp;
mod study;

use std::path::{Component, Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};

pub use error::{ProjectError, Result};
pub use export::{ExportFormat, ExportPlan, ExportWhat, Exported, Exporter, Part, Sheet, StudyRegions};
pub use import::{ImagePlan, ImportPlan, ImportRules, MaskPlan, PlannedImage, Summary, Target};
pub use intake::{ImageSource, Import};
pub use labels::Label;
pub use repair::Repaired;
pub use rounds::{Finished, RoundRecord};

use crate::domain::picture::Contrast;
use crate::domain::settings::{Settings, ValueRangeBy};
use crate::domain::study::{FileState, ImageId, ImageRecord};
use crate::domain::text::escaped;
use crate::domain::value_range::ValueRange;
use crate::project::lock::Lock;
use crate::raster;
use crate::raster::folder::PROJECT_FOLDERS;

/// Whether a path is inside a folder or is the folder itself.
pub fn is_within(path: &Path, folder: &Path) -> bool {
    resolved(path).zip(resolved(folder)).is_some_and(|(path, folder)| path.starts_with(folder))
}

/// Whether a path is inside one of the folders in which the project in `root` keeps its own files.
fn is_among_own(path: &Path, root: &Path) -> bool {
    PROJECT_FOLDERS.iter().any(|name| is_within(path, &root.join(name)))
}

/// Returns an error if a project in `root` would mix its own files with images or masks: they would be taken for each
/// other, or replaced.
fn check_root(root: &Path, images: &Path, masks: Option<&Path>) -> Result<()> {
    let is_image_folder = is_within(root, images) && is_within(images, root);
    let is_mixed = is_image_folder || [Some(images), masks].into_iter().flatten().any(|path| is_among_own(path, root));
    if is_mixed { Err(ProjectError::AmongImages(root.to_owned())) } else { Ok(()) }
}

/// A path without links and `..`: as far as it exists, as the file system resolves it; the rest by its words alone.
fn resolved(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let existing = path.ancestors().find_map(|ancestor| Some((ancestor, ancestor.canonicalize().ok()?)));
    let (mut whole, rest) = match &existing {
        Some((ancestor, real)) => (real.clone(), path.strip_prefix(ancestor).ok()?),
        None => (PathBuf::new(), path.as_path()),
    };
    for part in rest.components() {
        match part {
            Component::ParentDir => {
                whole.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => whole.push(part),
        }
    }
    Some(whole)
}

/// Whether a stored name, joined to a folder, stays inside it. A project from somebody else may hold any name.
fn stays_inside(name: &str) -> bool {
    Path::new(name).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}

/// An open project.
pub struct Project {
    root: PathBuf,
    db: Connection,
    /// The lock that keeps other programs out; `None` if the project is open read-only or if this program already holds
    /// the lock.
    lock: Option<Lock>,
}

impl Project {
    /// Opens the project in `root` for reading and writing, locking out other programs.
    pub fn open(root: &Path) -> Result<Self> {
        let path = Self::database(root)?;
        let lock = Lock::acquire(root)?;
        if Self::was_cut_off(&path) {
            backup::check(&Connection::open(&path)?, &path)?;
        }
        Ok(Self { db: schema::open(&path)?, lock: Some(lock), root: root.to_owned() })
    }

    /// Opens the project in `root` read-only: other programs may have it open, and its folder need not be writable.
    pub fn open_to_read(root: &Path) -> Result<Self> {
        let path = Self::database(root)?;
        Ok(Self { db: schema::open_to_read(&path)?, lock: None, root: root.to_owned() })
    }

    /// Opens a second connection to the project in `root` while this program already has it open.
    pub(crate) fn reopen(root: &Path) -> Result<Self> {
        let path = Self::database(root)?;
        Ok(Self { db: schema::open(&path)?, lock: None, root: root.to_owned() })
    }

    /// Returns an error if results written to `out` would end up among the images or among the project's own files.
    pub fn check_out(&self, out: &Path) -> Result<()> {
        let images = self.image_folder()?;
        // The project may be in a subfolder of the image folder.
        let is_in_project = is_within(&self.root, &images) && is_within(out, &self.root);
        let is_among_images = is_within(out, &images) && !is_in_project;
        if is_among_images || is_among_own(out, &self.root) {
            return Err(ProjectError::NotThere(out.to_owned()));
        }
        Ok(())
    }

    /// Whether the project is open for writing.
    pub fn is_writable(&self) -> bool {
        self.lock.is_some()
    }

    fn database(root: &Path) -> Result<PathBuf> {
        let path = root.join("qualm.db");
        if path.is_file() { Ok(path) } else { Err(ProjectError::NotAProject(root.to_owned())) }
    }

    /// The project folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The image folder.
    pub fn image_folder(&self) -> Result<PathBuf> {
        let bytes: Vec<u8> = self.db.query_row("SELECT value FROM meta WHERE key = 'images'", [], |row| row.get(0))?;
        Ok(identity::path_from_bytes(bytes))
    }

    fn set_meta(&mut self, key: &str, value: &dyn rusqlite::ToSql) -> Result<()> {
        self.db.execute("INSERT OR REPLACE INTO meta VALUES (?1, ?2)", params![key, value])?;
        Ok(())
    }

    /// The method's settings.
    pub fn settings(&self) -> Result<Settings> {
        let text: String = self.db.query_row("SELECT value FROM meta WHERE key = 'settings'", [], |row| row.get(0))?;
        serde_json::from_str(&text).map_err(|_| ProjectError::Damaged("settings"))
    }

    /// Stores the method's settings.
    pub fn set_settings(&mut self, settings: &Settings) -> Result<()> {
        let text = serde_json::to_string(settings).expect("settings are plain data");
        self.set_meta("settings", &text)
    }

    /// The image values that map to 0 and 1 in the network's input. Percentiles are computed once, from images sampled
    /// across the project, and stored, so that images are scaled the same way in all later rounds.
    pub fn value_range(&mut self, settings: &Settings) -> Result<ValueRange> {
        if settings.value_range != ValueRangeBy::Percentiles {
            return Ok(raster::value_range(settings, &[]));
        }
        let stored: Option<String> =
            self.db.query_row("SELECT value FROM meta WHERE key = 'value range'", [], |row| row.get(0)).optional()?;
        if let Some(range) = stored.and_then(|text| serde_json::from_str(&text).ok()) {
            return Ok(range);
        }
        let images = self.images()?.into_iter().filter(|image| image.file == FileState::Present);
        let range = raster::value_range(settings, &images.map(|image| (image.path, image.page)).collect::<Vec<_>>());
        // Without images of more than 8 bits there is no range to store; such images may be added later.
        if range != ValueRange::default() {
            self.set_meta("value range", &serde_json::to_string(&range).expect("a range is plain data"))?;
        }
        Ok(range)
    }

    /// The levels used to display the images.
    pub fn contrast(&self) -> Result<Contrast> {
        let text: Option<String> =
            self.db.query_row("SELECT value FROM meta WHERE key = 'contrast'", [], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Stores the levels used to display the images.
    pub fn set_contrast(&mut self, contrast: &Contrast) -> Result<()> {
        let text = serde_json::to_string(contrast).expect("levels are plain data");
        self.set_meta("contrast", &text)
    }

    /// All images, sorted by name.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        self.select_images("NOT removed", &[])
    }

    /// All images, also those that were removed from the project.
    fn images_with_removed(&self) -> Result<Vec<ImageRecord>> {
        self.select_images("TRUE", &[])
    }

    /// The image with this key, or `None` if the project has no such image.
    pub fn image(&self, image: ImageId) -> Result<Option<ImageRecord>> {
        Ok(self.select_images("NOT removed AND id = ?1", &[&image])?.pop())
    }

    /// The image with this key, also if it was removed from the project.
    fn image_or_removed(&self, image: ImageId) -> Result<Option<ImageRecord>> {
        Ok(self.select_images("id = ?1", &[&image])?.pop())
    }

    /// The images for which an SQL condition holds. Fails if the stored name of one leads out of the project's folders.
    fn select_images(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<ImageRecord>> {
        let folder = self.image_folder()?;
        let mut query = self.db.prepare_cached(&format!(
            "SELECT id, path, images.width, images.height, status, validation, reason, rank, scores.scores, problem, grp,
                    pseudo.state, labels.done, stem, page, stack, slice, file, tile
             FROM images LEFT JOIN proposals ON proposals.image = id LEFT JOIN scores ON scores.image = id
                  LEFT JOIN pseudo ON pseudo.image = id LEFT JOIN labels ON labels.image = id
             WHERE {condition} ORDER BY coalesce(stack, CAST(path AS TEXT)), slice, path",
        ))?;
        let rows = query.query_map(values, |row| {
            let relative = identity::path_from_bytes(row.get(1)?);
            let reason: Option<String> = row.get(6)?;
            let scores: Option<String> = row.get(8)?;
            let stack = row.get::<_, Option<String>>(15)?.zip(row.get(16)?);
            let path = folder.join(&relative);
            let file: FileState = row.get(17)?;
            Ok(ImageRecord {
                id: row.get(0)?,
                page: row.get(14)?,
                name: match &stack {
                    Some((stack, slice)) => escaped(&format!("{stack} [{}]", slice + 1), false).into_owned(),
                    None => escaped(&relative.display().to_string(), false).into_owned(),
                },
                stem: row.get(13)?,
                width: row.get(2)?,
                height: row.get(3)?,
                labelled: row.get::<_, String>(4)? == "labelled",
                side: row.get(5)?,
                proposed: reason.and_then(|r| serde_json::from_str(&r).ok()).zip(row.get(7)?),
                tile: row.get::<_, Option<String>>(18)?.and_then(|tile| serde_json::from_str(&tile).ok()),
                scores: scores.and_then(|s| serde_json::from_str(&s).ok()),
                problem: file.problem(&path).or(row.get(9)?),
                group: row.get::<_, Option<String>>(10)?.or_else(|| stack.as_ref().map(|(stack, _)| stack.clone())),
                pseudo: row.get(11)?,
                painted: row.get::<_, Option<usize>>(12)?.is_some_and(|done| done > 0),
                stack,
                file,
                path,
            })
        })?;
        let images = rows.collect::<rusqlite::Result<Vec<ImageRecord>>>()?;
        let names = images.iter().flat_map(|image| [Some(&image.stem), image.stack.as_ref().map(|(stack, _)| stack)]);
        if names.flatten().all(|name| stays_inside(name)) { Ok(images) } else { Err(ProjectError::Damaged("images")) }
    }

    /// Records why an image cannot be read, or clears the problem with `None`.
    pub fn set_problem(&mut self, image: ImageId, problem: Option<&str>) -> Result<()> {
        self.db.execute("UPDATE images SET problem = ?2 WHERE id = ?1", params![image, problem])?;
        Ok(())
    }
}
