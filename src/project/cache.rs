//! The project's `cache/`: predictions, thumbnails, images at the network's size. May be deleted at any time; a file that does not read back is as
//! if it were not there.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use image::RgbaImage;

use crate::domain::prediction::Prediction;
use crate::domain::settings::Settings;
use crate::project::error::{ProjectError, Result};
use crate::project::{ImageId, pixels};

/// Columns and rows that a thumbnail fits in.
pub const THUMBNAIL: (u32, u32) = (96, 72);

/// What a prediction hangs on besides the image: the model's identity, how many passes, which masks.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(String);

impl Key {
    /// The key of what the model of this identity says under these settings.
    pub fn new(model: &str, settings: &Settings) -> Self {
        Self(format!("{model}-{}-{}", settings.passes, settings.seed))
    }
}

fn predictions(root: &Path) -> PathBuf {
    root.join("cache").join("predictions")
}

/// What is known of an image under a key.
pub fn prediction(root: &Path, key: &Key, image: ImageId) -> Option<Prediction> {
    let bytes = std::fs::read(predictions(root).join(&key.0).join(image.to_string())).ok()?;
    Prediction::from_bytes(&bytes)
}

/// Keeps a prediction.
pub fn keep_prediction(root: &Path, key: &Key, image: ImageId, prediction: &Prediction) -> Result<()> {
    let folder = predictions(root).join(&key.0);
    std::fs::create_dir_all(&folder).map_err(ProjectError::io(&folder))?;
    let path = folder.join(image.to_string());
    std::fs::write(&path, prediction.to_bytes()).map_err(ProjectError::io(&path))
}

/// Forgets the predictions of every other key.
pub fn forget_others(root: &Path, key: &Key) {
    forget_folders(&predictions(root), &key.0);
}

fn forget_folders(parent: &Path, kept: &str) {
    let Ok(folders) = std::fs::read_dir(parent) else { return };
    for folder in folders.flatten().filter(|folder| folder.file_name() != kept) {
        // The cache is allowed to be larger than it need be.
        let _ = std::fs::remove_dir_all(folder.path());
    }
}

/// Images at the network's size, kept from one round to the next; those of another size are forgotten.
pub struct Inputs {
    folder: PathBuf,
    columns: usize,
    rows: usize,
    grey: bool,
}

impl Inputs {
    /// Those of the project in `root`, for a network of this input.
    pub fn new(root: &Path, columns: usize, rows: usize, grey: bool) -> Self {
        let (parent, name) =
            (root.join("cache").join("inputs"), format!("{columns}x{rows}x{}", if grey { 1 } else { 3 }));
        forget_folders(&parent, &name);
        let folder = parent.join(name);
        // A cache that cannot be written is only slower.
        let _ = std::fs::create_dir_all(&folder);
        Self { folder, columns, rows, grey }
    }

    /// An image as [`pixels::network_input`] gives it; decoded again where its file's length or time has changed.
    pub fn get(&self, image: ImageId, path: &Path) -> Result<Vec<u8>> {
        let metadata = std::fs::metadata(path).map_err(ProjectError::io(path))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let stamp = [metadata.len(), modified.map_or(0, |time| time.as_nanos() as u64)].map(u64::to_le_bytes).concat();
        let kept = self.folder.join(image.to_string());
        let size = self.columns * self.rows * if self.grey { 1 } else { 3 };
        if let Ok(mut bytes) = std::fs::read(&kept)
            && bytes.len() == stamp.len() + size
            && bytes.starts_with(&stamp)
        {
            bytes.drain(..stamp.len());
            return Ok(bytes);
        }
        let input = pixels::network_input(path, self.columns, self.rows, self.grey)?;
        let _ = std::fs::write(&kept, [&stamp[..], &input].concat());
        Ok(input)
    }
}

/// An image's thumbnail, made where it is not there; `None` where the image cannot be read.
pub fn thumbnail(root: &Path, image: ImageId, path: &Path) -> Option<RgbaImage> {
    let folder = root.join("cache").join("thumbnails");
    let kept = folder.join(format!("{image}.png"));
    if let Ok(thumbnail) = pixels::decode(&kept) {
        return Some(thumbnail.into_rgba8());
    }
    let thumbnail = pixels::decode(path).ok()?.thumbnail(THUMBNAIL.0, THUMBNAIL.1).into_rgb8();
    // A cache that cannot be written is only slower.
    let _ = std::fs::create_dir_all(&folder).and_then(|()| thumbnail.save(&kept).map_err(std::io::Error::other));
    Some(image::DynamicImage::from(thumbnail).into_rgba8())
}
