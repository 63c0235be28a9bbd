//! Carries out an import plan: adds images and labels to the project.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::identity::{hash, path_bytes, path_from_bytes, set_stamp};
use super::import::{ImagePlan, OnProgress, PlannedImage, pairing};
use super::stamp::Stamp;
use super::{ImportPlan, ImportRules, Lock, MaskPlan, Project, Target, check_root, pseudo, schema};
use crate::domain::edit::{Edit, Step};
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::settings::Settings;
use crate::domain::size::Size;
use crate::domain::study::{Change, ImageId, Study};
use crate::project::error::{ProjectError, Result};
use crate::project::labels::{label_file, store_whole};
use crate::raster;
use crate::raster::folder::PROJECT_FILES;

/// The result of an import.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Import {
    /// Number of images added.
    pub images: usize,
    /// Number of images that received a label.
    pub masks: usize,
    /// Files that were left out, each with the reason.
    pub problems: Vec<String>,
}

/// Where a project's images come from.
pub struct ImageSource {
    /// The image folder.
    pub folder: PathBuf,
    /// Subfolders that are not searched: masks, and the project itself.
    pub skipped: Vec<PathBuf>,
    /// How masks are recognized among the images.
    pub rules: ImportRules,
}

impl ImageSource {
    /// Scans the folder for images.
    pub fn read(&self, on_progress: OnProgress) -> Result<ImportPlan> {
        let images = ImagePlan::read(&self.folder, None, &self.skipped, &self.rules, on_progress)?;
        Ok(ImportPlan { images, masks: None })
    }
}

/// Maximum number of label pixels per batch, unless a single file has more. A batch is processed on all cores and
/// stored together.
const AT_ONCE: usize = 1 << 25;
/// Longest component of a label file's path that is not shortened, in bytes; file systems allow 255.
const LONGEST_NAME: usize = 200;

impl Project {
    /// Creates a project in `root` from an import plan. A failed attempt leaves nothing behind.
    pub fn create(
        root: &Path,
        plan: &ImportPlan,
        settings: &Settings,
        on_progress: OnProgress,
    ) -> Result<(Self, Import)> {
        if root.join("qualm.db").exists() {
            return Err(ProjectError::AlreadyAProject(root.to_owned()));
        }
        check_root(root, &plan.images.folder, plan.masks.as_ref().map(|masks| masks.folder.as_path()))?;
        let questions = plan.questions();
        if !questions.is_empty() {
            return Err(ProjectError::Unsettled(questions));
        }
        let existed = root.exists();
        let made = Self::fill(root, plan, settings, on_progress);
        if made.is_err() {
            let _ = if existed { remove_unfinished(root) } else { std::fs::remove_dir_all(root) };
        }
        made
    }

    fn fill(root: &Path, plan: &ImportPlan, settings: &Settings, on_progress: OnProgress) -> Result<(Self, Import)> {
        for folder in [root.to_owned(), root.join("labels"), root.join("models"), root.join("cache")] {
            std::fs::create_dir_all(&folder).map_err(ProjectError::io(folder))?;
        }
        let lock = Lock::acquire(root)?;
        let db = schema::create(&root.join("qualm.db"))?;
        let mut project = Self { root: root.to_owned(), db, lock: Some(lock) };
        project.set_settings(settings)?;
        project.set_meta("images", &path_bytes(&plan.images.folder))?;
        project.add_class("foreground")?;
        project.add_images(&plan.images.images)?;
        let mut import = match &plan.masks {
            Some(masks) => project.import_masks(masks, on_progress)?,
            None => Import::default(),
        };
        import.images = plan.images.images.len();
        import.problems.splice(0..0, plan.images.left_out.iter().cloned());
        Ok((project, import))
    }

    /// Adds images and returns how many were new. Images that are already in the project are left as they are, except
    /// that their stack and slice number are updated, in case the stack has grown.
    fn add_images(&mut self, images: &[PlannedImage]) -> Result<usize> {
        let folder = self.image_folder()?;
        let mut taken = Taken::of(&self.db)?;
        let transaction = self.db.transaction()?;
        let mut added = 0;
        for image in images {
            let PlannedImage { path, page, width, height, stack } = image;
            let bytes = path_bytes(path);
            let known: Option<ImageId> = transaction
                .query_row("SELECT id FROM images WHERE path = ?1 AND page = ?2", params![bytes, page], |row| {
                    row.get(0)
                })
                .optional()?;
            if let Some(known) = known {
                if let Some((name, slice)) = stack {
                    transaction.execute(
                        "UPDATE images SET stack = ?2, slice = ?3 WHERE id = ?1",
                        params![known, name, slice],
                    )?;
                }
                continue;
            }
            let (stack, slice) = stack.as_ref().map(|(name, slice)| (name, slice)).unzip();
            let is_page = stack.is_some_and(|stack| *stack == path.display().to_string());
            let stem = taken.stem(path, is_page.then_some(*page));
            transaction.execute(
                "INSERT INTO images (path, page, stem, width, height, stack, slice)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![bytes, page, stem, width, height, stack, slice],
            )?;
            let id = ImageId(transaction.last_insert_rowid());
            if let Some(stamp) = Stamp::of(&folder.join(path)) {
                set_stamp(&transaction, id, stamp, None)?;
            }
            added += 1;
        }
        transaction.commit()?;
        Ok(added)
    }

    /// Plans the import of a folder of masks. Masks of images that already have a label are part of the plan, but are
    /// not imported unless the plan replaces labels.
    pub fn plan_masks(&self, masks: &Path, rules: &ImportRules, on_progress: OnProgress) -> Result<MaskPlan> {
        let folder = self.image_folder()?;
        let below = |path: &Path| path.strip_prefix(&folder).unwrap_or(path).to_owned();
        let images = self.images()?.into_iter();
        let targets =
            Target::of(images.map(|image| (below(&image.path), Size::new(image.width, image.height), image.stack)));
        let skipped = [self.root.join("cache"), self.root.join("models")];
        MaskPlan::of(masks, &folder, targets, &skipped, rules, on_progress)
    }

    /// Imports masks as accepted labels according to a plan. Images that already have a label are left as they are,
    /// unless the plan replaces labels. Each label is imported as a step, so it can be undone.
    pub fn import_masks(&mut self, plan: &MaskPlan, on_progress: OnProgress) -> Result<Import> {
        let targets: Vec<usize> = plan.labelled().collect();
        self.import_masks_of(plan, &targets, on_progress)
    }

    /// Same as [`Project::import_masks`], for some of the plan's targets.
    pub fn import_masks_of(&mut self, plan: &MaskPlan, targets: &[usize], on_progress: OnProgress) -> Result<Import> {
        let questions = plan.questions();
        if !questions.is_empty() {
            return Err(ProjectError::Unsettled(questions));
        }
        let mut import = Import { problems: plan.problems.clone(), ..Import::default() };
        let unpaired = plan.pairing.unpaired.iter();
        import.problems.extend(unpaired.map(|(mask, why)| format!("{}: {why}", plan.files[*mask].display())));
        let translated = self.add_classes_of(plan)?;
        self.remember_masks(plan)?;
        let palette: Vec<[u8; 3]> = self.classes()?.iter().map(|class| class.colour).collect();
        let folder = self.image_folder()?;
        let images: HashMap<(PathBuf, usize), _> = self
            .images()?
            .into_iter()
            .map(|image| ((image.path.strip_prefix(&folder).unwrap_or(&image.path).to_owned(), image.page), image))
            .collect();
        let pixels = |target: &usize| {
            let Target { width, height, pages, .. } = plan.targets[*target];
            width * height * pages
        };
        let mut done = 0;
        while done < targets.len() {
            let sums = targets[done..].iter().scan(0, |sum, target| {
                *sum += pixels(target);
                Some(*sum)
            });
            let count = sums.take_while(|sum| *sum <= AT_ONCE).count().max(1);
            let some = &targets[done..done + count];
            done += count;
            let made: Vec<_> = some
                .par_iter()
                .map(|target| {
                    let path = &plan.targets[*target].path;
                    let labels = plan.labels(*target)?;
                    let content = hash(&folder.join(path))?;
                    let mut made = Vec::new();
                    for (page, mut mask) in labels {
                        for pixel in mask.pixels_mut() {
                            *pixel = translated.get(pixel).copied().unwrap_or(*pixel);
                        }
                        let Some(image) = images.get(&(path.clone(), page)) else {
                            continue;
                        };
                        if image.labelled && !plan.replaces() {
                            continue;
                        }
                        let fresh = (!image.painted).then(|| -> Result<_> {
                            raster::write_label(&label_file(&self.root, &image.stem), &mask, &palette)?;
                            let before = Mask::filled(mask.width(), mask.height(), UNLABELLED);
                            let edit = Edit::between(&before, &mask).unwrap_or_default();
                            Ok((edit.to_bytes(), lz4_flex::block::compress(mask.pixels())))
                        });
                        let edited = Change::Edited { image: image.id, painted: true, labelled: Some(true) };
                        let effects = Study { images: vec![(*image).clone()], ..Study::default() }.apply(&edited);
                        made.push((image.id, mask, fresh.transpose()?, content.clone(), effects));
                    }
                    Ok(made)
                })
                .collect::<Vec<Result<Vec<_>>>>();
            let mut painted = Vec::new();
            let transaction = self.db.transaction()?;
            for labels in made {
                let labels = match labels {
                    Ok(labels) => labels,
                    // The file of an image, or of a mask, may have gone since the plan was made.
                    Err(error @ (ProjectError::BadMask { .. } | ProjectError::Raster(_) | ProjectError::Io { .. })) => {
                        import.problems.push(error.to_string());
                        continue;
                    }
                    Err(error) => return Err(error),
                };
                for (image, mask, fresh, content, effects) in labels {
                    import.masks += 1;
                    transaction.execute("UPDATE images SET hash = ?2 WHERE id = ?1", params![image, content])?;
                    match fresh {
                        Some((edit, packed)) => {
                            pseudo::discard(&transaction, &effects)?;
                            store_whole(&transaction, image, Some(&edit), &packed, true, true)?;
                        }
                        None => painted.push((image, mask)),
                    }
                }
            }
            transaction.commit()?;
            for (image, mask) in painted {
                let label = self.label(image)?;
                let edit = Edit::between(&label.mask, &mask).unwrap_or_default();
                let accepts = !self.image(image)?.is_some_and(|record| record.labelled);
                self.commit_step(image, label.history.done(), &Step { edit, accepts })?;
            }
            on_progress(done, targets.len());
        }
        self.export_labels()?;
        Ok(import)
    }

    /// Adds the masks' classes that the project lacks. If the classes are matched by name, returns the project's class
    /// number for each class number of the masks.
    fn add_classes_of(&mut self, plan: &MaskPlan) -> Result<HashMap<u8, u8>> {
        let names = plan.class_names();
        let numbers: Vec<u8> = plan.summary().classes.iter().map(|row| row.class).collect();
        let known = self.classes()?;
        let is_fresh = known.len() == 1 && !self.images()?.iter().any(|image| image.labelled || image.painted);
        let mut translated = HashMap::new();
        if names.is_empty() || is_fresh {
            // The class that every new project starts with has only a default name.
            if let Some(name) = names.get(&1).filter(|_| is_fresh) {
                self.rename_class(1, name)?;
            }
            for number in known.len() + 1..=numbers.iter().copied().max().unwrap_or(0).into() {
                let name = names.get(&(number as u8)).cloned().unwrap_or_else(|| format!("class {number}"));
                let name = self.free_class_name(&name)?;
                self.add_class(&name)?;
            }
            return Ok(translated);
        }
        // Not those that this import adds: it may use a name for two of its numbers.
        let before = self.classes()?;
        for (number, name) in names {
            let class = match before.iter().find(|class| class.is_named(&name)) {
                Some(class) => class.number,
                None => self.add_class(&self.free_class_name(&name)?)?,
            };
            translated.insert(number, class);
        }
        Ok(translated)
    }

    /// Remembers where the masks came from, so that they are not later mistaken for new images.
    fn remember_masks(&mut self, plan: &MaskPlan) -> Result<()> {
        let mut known = self.mask_folders()?;
        if !known.contains(&plan.folder) {
            known.push(plan.folder.clone());
        }
        let bytes = known.iter().map(|folder| path_bytes(folder)).collect::<Vec<_>>().join(&0);
        self.set_meta("mask folders", &bytes)?;
        if let Some(suffix) = plan.suffix() {
            self.set_meta("mask suffix", &suffix.to_owned())?;
        }
        Ok(())
    }

    fn mask_folders(&self) -> Result<Vec<PathBuf>> {
        let query = "SELECT value FROM meta WHERE key = 'mask folders'";
        let bytes: Option<Vec<u8>> = self.db.query_row(query, [], |row| row.get(0)).optional()?;
        let folders = bytes.unwrap_or_default();
        let folders = folders.split(|byte| *byte == 0).filter(|folder| !folder.is_empty());
        Ok(folders.map(|folder| path_from_bytes(folder.to_vec())).collect())
    }

    /// The source of the project's images: the image folder, the folders to skip, and the suffix of masks.
    pub fn image_source(&self) -> Result<ImageSource> {
        let folder = self.image_folder()?;
        let masks = self.mask_folders()?.into_iter().filter(|masks| *masks != folder);
        let query = "SELECT value FROM meta WHERE key = 'mask suffix'";
        let suffix: Option<String> = self.db.query_row(query, [], |row| row.get(0)).optional()?;
        let skipped = masks.chain([self.root.clone()]).collect();
        Ok(ImageSource { folder, skipped, rules: ImportRules { suffix, ..ImportRules::default() } })
    }

    /// Number of images in a plan that are not yet in the project.
    pub fn count_new(&self, plan: &ImportPlan) -> Result<usize> {
        let mut query = self.db.prepare("SELECT 1 FROM images WHERE path = ?1 AND page = ?2")?;
        let mut new = 0;
        for image in &plan.images.images {
            new += usize::from(!query.exists(params![path_bytes(&image.path), image.page])?);
        }
        Ok(new)
    }

    /// Adds the images of a plan that are not yet in the project, and returns how many there were.
    pub fn add_new_files(&mut self, plan: &ImportPlan) -> Result<usize> {
        self.add_images(&plan.images.images)
    }

    /// Removes an image from the project. Its label is kept and returns with it ([`Project::restore_images`]).
    pub fn remove_image(&mut self, image: ImageId) -> Result<()> {
        let transaction = self.db.transaction()?;
        transaction.execute("DELETE FROM proposals WHERE image = ?1", [image])?;
        transaction.execute("UPDATE images SET removed = 1 WHERE id = ?1", [image])?;
        Ok(transaction.commit()?)
    }

    /// Restores all removed images and returns how many there were.
    pub fn restore_images(&mut self) -> Result<usize> {
        Ok(self.db.execute("UPDATE images SET removed = 0 WHERE removed", [])?)
    }
}

/// The names of label files already in use, in lower case.
struct Taken(std::collections::HashSet<String>);

impl Taken {
    fn of(db: &Connection) -> Result<Self> {
        let mut query = db.prepare("SELECT stem FROM images")?;
        let stems = query.query_map([], |row| row.get::<_, String>(0))?;
        Ok(Self(stems.map(|stem| Ok(stem?.to_lowercase())).collect::<Result<_>>()?))
    }

    /// Reserves the label file of an image and returns its path, relative to `labels/` and without extension. This is
    /// the image's path without its extension, or with it if that name is taken. For a page, it is the page number in a
    /// folder named after the file.
    fn stem(&mut self, path: &Path, page: Option<usize>) -> String {
        let part = |name: &str, is_exact: bool| {
            if is_exact && name.len() <= LONGEST_NAME {
                return name.to_owned();
            }
            let digest = Sha256::digest(name.as_bytes());
            let end = (0..=LONGEST_NAME.min(name.len())).rev().find(|at| name.is_char_boundary(*at)).unwrap_or(0);
            format!("{}-{:02x}{:02x}{:02x}{:02x}", &name[..end], digest[0], digest[1], digest[2], digest[3])
        };
        let text = |name: &std::ffi::OsStr| part(&name.to_string_lossy(), name.to_str().is_some());
        let folders = path.parent().into_iter().flat_map(Path::iter).map(text).collect::<Vec<_>>();
        let below = |name: String| [folders.as_slice(), &[name]].concat().join("/");
        let whole = text(path.file_name().unwrap_or_default());
        let mut names: Vec<String> = match page {
            Some(page) => vec![below(format!("{whole}/{:04}", page + 1))],
            None => vec![below(part(&pairing::stem(path), path.to_str().is_some())), below(whole.clone())],
        };
        names.extend((2..).take(1000).map(|number| below(format!("{whole}-{number}"))));
        let is_free = |name: &String| !self.0.contains(&name.to_lowercase());
        let name = names.into_iter().find(is_free).unwrap_or(whole);
        self.0.insert(name.to_lowercase());
        name
    }
}

/// Removes the files that a failed [`Project::create`] wrote to a folder that already existed.
fn remove_unfinished(root: &Path) -> std::io::Result<()> {
    for file in PROJECT_FILES {
        let _ = std::fs::remove_file(root.join(file));
    }
    for folder in ["labels", "models", "cache"] {
        // Not remove_dir_all: a non-empty folder of that name was not created by us.
        let _ = std::fs::remove_dir(root.join(folder));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_file_has_a_name_that_every_file_system_takes() {
        let mut taken = Taken(Default::default());
        assert_eq!(taken.stem(Path::new("p1/T1/s0.png"), None), "p1/T1/s0");
        assert_eq!(taken.stem(Path::new("p1/T1/S0.jpg"), None), "p1/T1/S0.jpg", "not told apart by case");
        assert_eq!(taken.stem(Path::new("scan.tif"), Some(11)), "scan.tif/0012");
        let long = "x".repeat(251);
        let stem = taken.stem(Path::new(&format!("{long}.png")), None);
        assert!(stem.len() < 220 && stem.starts_with("xxx"));
        assert_ne!(stem, taken.stem(Path::new(&format!("{long}y.png")), None));
        let latin = path_from_bytes(b"M\xfcller.png".to_vec());
        let stem = taken.stem(&latin, None);
        assert_ne!(stem, taken.stem(&path_from_bytes(b"M\xe4ller.png".to_vec()), None));
    }
}
