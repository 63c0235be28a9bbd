//! The project's folder: its database, its label files, its models, its cache.
//!
//! Invariant: images are never written to. The journal is the truth about labels; the PNG files follow it.

mod acceptances;
pub mod cache;
pub mod demo;
mod error;
pub mod groups;
mod labels;
pub mod pixels;
mod pseudo;
mod rounds;
mod schema;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;

pub use acceptances::Acceptance;
pub use error::{ProjectError, Result};
pub use labels::Label;
pub use pixels::ValueMap;
pub use pseudo::PseudoState;
pub use rounds::{Finished, Round};

use crate::domain::edit::{Edit, Step};
use crate::domain::mask::Mask;
use crate::domain::picture::Contrast;
use crate::domain::query::Reason;
use crate::domain::scores::Scores;
use crate::domain::settings::Settings;

/// An image's key in the database.
pub type ImageId = i64;

/// The Okabe–Ito colours, one for each of the first classes: told apart by colour-blind eyes too.
pub const CLASS_COLOURS: [[u8; 3]; 8] = [
    [0x56, 0xb4, 0xe9],
    [0xe6, 0x9f, 0x00],
    [0x00, 0x9e, 0x73],
    [0xf0, 0xe4, 0x42],
    [0xd5, 0x5e, 0x00],
    [0xcc, 0x79, 0xa7],
    [0x00, 0x72, 0xb2],
    [0xff, 0xff, 0xff],
];

/// An open project.
pub struct Project {
    root: PathBuf,
    db: Connection,
}

/// A class that pixels are labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Class {
    /// Its number, 1..=254.
    pub number: u8,
    /// Its name.
    pub name: String,
    /// Red, green, blue.
    pub colour: [u8; 3],
}

/// One image of the project.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageRecord {
    /// Its key.
    pub id: ImageId,
    /// The file.
    pub path: PathBuf,
    /// What a person calls it: the file's name; where another image of the project has that, with its folder before it.
    pub name: String,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The patient, volume or slide that it belongs to, where that is known.
    pub group: Option<String>,
    /// Whether a person has accepted its label.
    pub labelled: bool,
    /// Whether it is kept for validation; `None` until a round first sees it labelled.
    pub validation: Option<bool>,
    /// Why it was proposed, with its rank from 1, where it is.
    pub proposed: Option<(Reason, usize)>,
    /// Whether a person has painted anything in it.
    pub painted: bool,
    /// Whether the network has labelled it itself, and what a person has said of that.
    pub pseudo: Option<PseudoState>,
    /// Its scores from the last round that scored it.
    pub scores: Option<Scores>,
    /// Why it could not be read, where it could not.
    pub problem: Option<String>,
}

impl ImageRecord {
    /// Whether a round may learn from the network's own label of it.
    pub fn has_pseudo_to_learn(&self, settings: &Settings) -> bool {
        let is_used = match self.pseudo {
            Some(PseudoState::Accepted) => true,
            Some(PseudoState::Waiting) => !settings.pseudo_ask && settings.pseudo_from > 0 && settings.policy.is_ceal(),
            Some(PseudoState::Rejected) | None => false,
        };
        is_used && !self.labelled && !self.painted
    }
}

/// What [`Project::create`] found.
#[derive(Debug, Default, Serialize)]
pub struct Import {
    /// Images taken in.
    pub images: usize,
    /// Masks taken as accepted labels.
    pub masks: usize,
    /// Where masks were given: images that stayed without one.
    pub without_mask: Vec<String>,
    /// Files left out or not understood, each with the reason.
    pub problems: Vec<String>,
}

impl Project {
    /// Makes a project in `root` of the images in a folder, with the masks of another as accepted labels. A failed
    /// attempt leaves nothing behind.
    pub fn create(
        root: &Path,
        images: &Path,
        masks: Option<(&Path, Option<&ValueMap>)>,
        settings: &Settings,
    ) -> Result<(Self, Import)> {
        if root.join("qualm.db").exists() {
            return Err(ProjectError::AlreadyAProject(root.to_owned()));
        }
        let files = pixels::image_files(images)?;
        if files.is_empty() {
            return Err(ProjectError::NoImages(images.to_owned()));
        }
        let masks = match masks {
            Some((folder, map)) => Some((pixels::image_files(folder)?, map)),
            None => None,
        };
        let existed = root.exists();
        let made = Self::fill(root, &files, masks, settings);
        if made.is_err() {
            let _ = if existed { remove_unfinished(root) } else { std::fs::remove_dir_all(root) };
        }
        made
    }

    fn fill(
        root: &Path,
        files: &[PathBuf],
        masks: Option<(Vec<PathBuf>, Option<&ValueMap>)>,
        settings: &Settings,
    ) -> Result<(Self, Import)> {
        for folder in [root.to_owned(), root.join("labels"), root.join("models"), root.join("cache")] {
            std::fs::create_dir_all(&folder).map_err(ProjectError::io(folder))?;
        }
        let mut project = Self { root: root.to_owned(), db: schema::create(&root.join("qualm.db"))? };
        project.set_settings(settings)?;
        project.add_class("foreground")?;
        let mut import = Import::default();
        project.add_images(files, &mut import)?;
        if let Some((masks, map)) = masks {
            let Import { masks, without_mask, problems, .. } = project.import_masks(&masks, map)?;
            import.masks = masks;
            import.without_mask = without_mask;
            import.problems.extend(problems);
        }
        Ok((project, import))
    }

    /// Opens the project in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let path = root.join("qualm.db");
        if !path.is_file() {
            return Err(ProjectError::NotAProject(root.to_owned()));
        }
        Ok(Self { root: root.to_owned(), db: schema::open(&path)? })
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The method's settings.
    pub fn settings(&self) -> Result<Settings> {
        let text: String = self.db.query_row("SELECT value FROM meta WHERE key = 'settings'", [], |row| row.get(0))?;
        serde_json::from_str(&text).map_err(|_| ProjectError::Damaged("settings"))
    }

    /// Stores the method's settings.
    pub fn set_settings(&mut self, settings: &Settings) -> Result<()> {
        let text = serde_json::to_string(settings).expect("settings are plain data");
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('settings', ?1)", [text])?;
        Ok(())
    }

    /// The levels that images are shown at.
    pub fn contrast(&self) -> Result<Contrast> {
        let text: Option<String> =
            self.db.query_row("SELECT value FROM meta WHERE key = 'contrast'", [], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
    }

    /// Stores the levels that images are shown at.
    pub fn set_contrast(&mut self, contrast: &Contrast) -> Result<()> {
        let text = serde_json::to_string(contrast).expect("levels are plain data");
        self.db.execute("INSERT OR REPLACE INTO meta VALUES ('contrast', ?1)", [text])?;
        Ok(())
    }

    /// All classes, by number.
    pub fn classes(&self) -> Result<Vec<Class>> {
        let mut query = self.db.prepare("SELECT class, name, colour FROM classes ORDER BY class")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get::<_, String>(2)?)))?;
        rows.map(|row| {
            let (number, name, colour) = row?;
            let rgb = u32::from_str_radix(&colour, 16).map_err(|_| ProjectError::Damaged("class colours"))?;
            Ok(Class { number, name, colour: [(rgb >> 16) as u8, (rgb >> 8) as u8, rgb as u8] })
        })
        .collect()
    }

    /// Adds a class with the next number and colour. Masks of a network that did not know it are not learned from: they
    /// would say that it is nowhere.
    pub fn add_class(&mut self, name: &str) -> Result<Class> {
        let number: u8 = self.db.query_row("SELECT coalesce(max(class), 0) + 1 FROM classes", [], |row| row.get(0))?;
        let colour = CLASS_COLOURS[(usize::from(number) - 1) % CLASS_COLOURS.len()];
        let hex = format!("{:02x}{:02x}{:02x}", colour[0], colour[1], colour[2]);
        let transaction = self.db.transaction()?;
        transaction.execute("INSERT INTO classes VALUES (?1, ?2, ?3)", params![number, name, hex])?;
        pseudo::forget_all(&transaction)?;
        transaction.commit()?;
        Ok(Class { number, name: name.to_owned(), colour })
    }

    /// Gives a class another name.
    pub fn rename_class(&mut self, number: u8, name: &str) -> Result<()> {
        self.db.execute("UPDATE classes SET name = ?2 WHERE class = ?1", params![number, name])?;
        Ok(())
    }

    /// All images, in name order.
    pub fn images(&self) -> Result<Vec<ImageRecord>> {
        self.select_images("", &[])
    }

    /// One image; `None` where the project has none of this key.
    pub fn image(&self, image: ImageId) -> Result<Option<ImageRecord>> {
        Ok(self.select_images("WHERE id = ?1", &[&image])?.pop())
    }

    fn select_images(&self, condition: &str, values: &[&dyn rusqlite::ToSql]) -> Result<Vec<ImageRecord>> {
        let mut query = self.db.prepare_cached(&format!(
            "SELECT id, path, images.width, images.height, status, validation, reason, rank, scores.scores, problem, grp,
                    pseudo.state, labels.done, stem
             FROM images LEFT JOIN proposals ON proposals.image = id LEFT JOIN scores ON scores.image = id
                  LEFT JOIN pseudo ON pseudo.image = id LEFT JOIN labels ON labels.image = id
             {condition} ORDER BY path",
        ))?;
        let rows = query.query_map(values, |row| {
            let path = PathBuf::from(row.get::<_, String>(1)?);
            let reason: Option<String> = row.get(6)?;
            let scores: Option<String> = row.get(8)?;
            let pseudo: Option<String> = row.get(11)?;
            Ok(ImageRecord {
                id: row.get(0)?,
                name: name(&path, row.get(13)?),
                path,
                width: row.get(2)?,
                height: row.get(3)?,
                labelled: row.get::<_, String>(4)? == "labelled",
                validation: row.get(5)?,
                proposed: reason.and_then(|r| serde_json::from_str(&r).ok()).zip(row.get(7)?),
                scores: scores.and_then(|s| serde_json::from_str(&s).ok()),
                problem: row.get(9)?,
                group: row.get(10)?,
                pseudo: pseudo.and_then(|word| PseudoState::read(&word)),
                painted: row.get::<_, Option<usize>>(12)?.is_some_and(|done| done > 0),
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Remembers why an image cannot be read, or that it can.
    pub fn set_problem(&mut self, image: ImageId, problem: Option<&str>) -> Result<()> {
        self.db.execute("UPDATE images SET problem = ?2 WHERE id = ?1", params![image, problem])?;
        Ok(())
    }

    fn add_images(&mut self, files: &[PathBuf], import: &mut Import) -> Result<()> {
        let transaction = self.db.transaction()?;
        for file in files {
            let path = std::path::absolute(file).map_err(ProjectError::io(file))?;
            let (width, height) = match pixels::dimensions(&path) {
                Ok(size) => size,
                Err(error) => {
                    import.problems.push(error.to_string());
                    continue;
                }
            };
            let stem = label_stem(&transaction, &path)?;
            transaction.execute(
                "INSERT INTO images (path, stem, width, height) VALUES (?1, ?2, ?3, ?4)",
                params![path.to_string_lossy(), stem, width, height],
            )?;
            import.images += 1;
        }
        transaction.commit()?;
        Ok(())
    }

    /// Takes masks as accepted labels, paired by name. Images labelled already stay as they are. Each label comes in as a
    /// step, so it can be undone.
    pub fn import_masks(&mut self, masks: &[PathBuf], map: Option<&ValueMap>) -> Result<Import> {
        let mut import = Import::default();
        let mut unknown = BTreeSet::new();
        let mut found = Vec::new();
        let images = self.images()?;
        let is_shared = pixels::shared_stems(images.iter().map(|image| image.path.as_path()));
        for image in images.into_iter().filter(|image| !image.labelled) {
            let Some(path) = pixels::mask_of(&image.path, masks, is_shared(&image.path)) else {
                import.without_mask.push(image.name);
                continue;
            };
            match pixels::read_mask(path, image.width, image.height, map) {
                Ok(_) => found.push((image.id, path, image.width, image.height)),
                Err(ProjectError::UnknownValues(values)) => unknown.extend(values),
                Err(error) => {
                    import.problems.push(error.to_string());
                    import.without_mask.push(image.name);
                }
            }
        }
        if !unknown.is_empty() {
            return Err(ProjectError::UnknownValues(unknown.into_iter().collect()));
        }
        for (image, path, width, height) in found {
            // Read again: all masks at once might not fit into memory.
            let mask = pixels::read_mask(path, width, height, map)?;
            self.add_classes_of(&mask)?;
            let label = self.label(image)?;
            let edit = Edit::between(&label.mask, &mask).unwrap_or_default();
            self.commit_step(image, label.history.done(), &Step { edit, accepts: true })?;
            import.masks += 1;
        }
        self.export_labels()?;
        Ok(import)
    }

    fn add_classes_of(&mut self, mask: &Mask) -> Result<()> {
        let highest =
            mask.pixels().iter().copied().filter(|&c| c != crate::domain::mask::UNLABELLED).max().unwrap_or(0);
        for number in self.classes()?.len() + 1..=usize::from(highest) {
            self.add_class(&format!("class {number}"))?;
        }
        Ok(())
    }
}

/// The name of an image's label file: the image's own without its ending; where another image has that, as much more of
/// the path as it takes.
/// What a person calls the image in a file: its label's stem is the file's unless that was taken, and has folders then.
fn name(path: &Path, stem: String) -> String {
    let is_plain = path.file_stem().is_some_and(|of_file| *of_file == *stem);
    if is_plain { path.file_name().unwrap_or_default().to_string_lossy().into_owned() } else { stem }
}

fn label_stem(db: &Connection, path: &Path) -> Result<String> {
    let text = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let mut stem = text(path.file_stem());
    let mut longer = text(path.file_name());
    for folder in path.ancestors().skip(1) {
        let taken = db.query_row("SELECT id FROM images WHERE stem = ?1", [&stem], |row| row.get::<_, i64>(0));
        if taken.optional()?.is_none() {
            break;
        }
        stem.clone_from(&longer);
        longer = format!("{}_{longer}", text(folder.file_name()));
    }
    Ok(stem)
}

/// Removes what an unfinished [`Project::create`] wrote into a folder that was there before.
fn remove_unfinished(root: &Path) -> std::io::Result<()> {
    for file in ["qualm.db", "qualm.db-wal", "qualm.db-shm"] {
        let _ = std::fs::remove_file(root.join(file));
    }
    for folder in ["labels", "models", "cache"] {
        // Not remove_dir_all: a folder of that name with something in it was not ours.
        let _ = std::fs::remove_dir(root.join(folder));
    }
    Ok(())
}
