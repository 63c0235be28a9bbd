//! The project's `cache/`: predictions, thumbnails, images at the network's size. May be deleted at any time; a file that
//! does not read back is as if it were not there.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use image::RgbaImage;

use crate::domain::prediction::Prediction;
use crate::domain::settings::Settings;
use crate::domain::tiles::Frame;
use crate::project::error::{ProjectError, Result};
use crate::project::{ImageId, pixels};

/// Columns and rows that a thumbnail fits in.
pub const THUMBNAIL: (u32, u32) = (96, 72);

/// What a prediction hangs on besides the image: the model's identity, how many passes, which masks, how
/// tiles are blended.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(String);

impl Key {
    /// The key of what the model of this identity says under these settings.
    pub fn new(model: &str, settings: &Settings) -> Self {
        Self(format!("{model}-{}-{}-{}", settings.passes, settings.seed, settings.tile_overlap))
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

/// Images as the network sees them. At the network's size they are kept from one round to the next, and those of another
/// size forgotten; at their own size (tiles) they are decoded each time.
pub struct Inputs {
    folder: PathBuf,
    size: Option<(usize, usize)>,
    grey: bool,
}

impl Inputs {
    /// Those of the project in `root`, resized to `size`, columns and rows, or as they are.
    pub fn new(root: &Path, size: Option<(usize, usize)>, grey: bool) -> Self {
        let parent = root.join("cache").join("inputs");
        let name =
            size.map_or(String::new(), |(columns, rows)| format!("{columns}x{rows}x{}", if grey { 1 } else { 3 }));
        let folder = parent.join(&name);
        if size.is_some() {
            forget_folders(&parent, &name);
            // A cache that cannot be written is only slower.
            let _ = std::fs::create_dir_all(&folder);
        }
        Self { folder, size, grey }
    }

    /// An image as [`pixels::frame`] gives it; decoded again where its file's length or time has changed.
    pub fn get(&self, image: ImageId, path: &Path) -> Result<Frame> {
        let Some((width, height)) = self.size else { return pixels::frame(path, None, self.grey) };
        let metadata = std::fs::metadata(path).map_err(ProjectError::io(path))?;
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let stamp = [metadata.len(), modified.map_or(0, |time| time.as_nanos() as u64)].map(u64::to_le_bytes).concat();
        let kept = self.folder.join(image.to_string());
        let length = width * height * if self.grey { 1 } else { 3 };
        if let Ok(mut bytes) = std::fs::read(&kept)
            && bytes.len() == stamp.len() + length
            && bytes.starts_with(&stamp)
        {
            bytes.drain(..stamp.len());
            return Ok(Frame { width, height, bytes });
        }
        let frame = pixels::frame(path, self.size, self.grey)?;
        let _ = std::fs::write(&kept, [&stamp[..], &frame.bytes].concat());
        Ok(frame)
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
