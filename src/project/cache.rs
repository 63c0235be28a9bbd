//! The project's `cache/` folder: predictions, thumbnails, and images at the network's input size. It may be deleted at
//! any time; an unreadable file counts as missing.

use std::path::{Path, PathBuf};

use image::RgbaImage;
use sha2::{Digest, Sha256};

use crate::domain::prediction::Prediction;
use crate::domain::settings::Settings;
use crate::domain::size::Size;
use crate::domain::study::ImageId;
use crate::domain::tiles::{Frame, FrameSpec};
use crate::project::error::{ProjectError, Result};
use crate::project::stamp::{Stamp, hex};
use crate::raster;

/// Maximum columns and rows of a thumbnail.
pub const THUMBNAIL: (u32, u32) = (96, 72);

/// Everything a prediction depends on besides the image: the model's hash, the stochastic passes, and the blending of
/// tiles.
#[derive(Clone, Debug, PartialEq)]
pub struct Key(String);

impl Key {
    /// The key for predictions of the model with this hash under these settings.
    pub fn new(model: &str, settings: &Settings) -> Self {
        let Settings { passes, seed, tile_overlap, passes_mirrored, .. } = settings;
        let mirrored = if *passes_mirrored { "-mirrored" } else { "" };
        Self(format!("{model}-{passes}-{seed}-{tile_overlap}{mirrored}"))
    }
}

fn predictions(root: &Path) -> PathBuf {
    root.join("cache").join("predictions")
}

/// The cached prediction of an image under a key.
pub fn prediction(root: &Path, key: &Key, image: ImageId) -> Option<Prediction> {
    let bytes = std::fs::read(predictions(root).join(&key.0).join(image.to_string())).ok()?;
    Prediction::from_bytes(&bytes)
}

/// Caches a prediction.
pub fn keep_prediction(root: &Path, key: &Key, image: ImageId, prediction: &Prediction) -> Result<()> {
    let folder = predictions(root).join(&key.0);
    std::fs::create_dir_all(&folder).map_err(ProjectError::io(&folder))?;
    let path = folder.join(image.to_string());
    std::fs::write(&path, prediction.to_bytes()).map_err(ProjectError::io(&path))
}

/// Deletes the cached predictions of all other keys.
pub fn forget_others(root: &Path, key: &Key) {
    forget_folders(&predictions(root), &key.0);
}

fn forget_folders(parent: &Path, kept: &str) {
    let Ok(folders) = std::fs::read_dir(parent) else { return };
    for folder in folders.flatten().filter(|folder| folder.file_name() != kept) {
        // A leftover folder only takes up space.
        let _ = std::fs::remove_dir_all(folder.path());
    }
}

/// Images as network input. When resized to the network's input size, they are cached across rounds, and entries made
/// with another [`FrameSpec`] are deleted. At their own size (tiles), they are decoded each time.
#[derive(Clone)]
pub struct Inputs {
    folder: PathBuf,
    spec: FrameSpec,
}

impl Inputs {
    /// The network inputs of the project in `root`.
    pub fn new(root: &Path, spec: FrameSpec) -> Self {
        let parent = root.join("cache").join("inputs");
        let name = hex(&Sha256::digest(format!("{spec:?}")))[..16].to_owned();
        let folder = parent.join(&name);
        if spec.size.is_some() {
            forget_folders(&parent, &name);
            // Without a writable cache, everything works, only slower.
            let _ = std::fs::create_dir_all(&folder);
        }
        Self { folder, spec }
    }

    /// A page of an image file, decoded again if the file's size or modification time has changed.
    pub fn get(&self, image: ImageId, path: &Path, page: usize) -> Result<Frame> {
        let decode = || -> Result<Frame> { Ok(raster::frame(&raster::read(path, page)?, &self.spec)) };
        let (Some(Size { width, height }), Some(stamp)) = (self.spec.size, Stamp::of(path)) else { return decode() };
        let stamp = [stamp.length.to_le_bytes(), stamp.modified_ns.to_le_bytes()].concat();
        let kept = self.folder.join(image.to_string());
        if let Ok(bytes) = std::fs::read(&kept)
            && bytes.len() == stamp.len() + 2 * width * height * self.spec.depth()
            && bytes.starts_with(&stamp)
        {
            let values = bytes[stamp.len()..].chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
            return Ok(Frame { width, height, values: values.collect() });
        }
        let frame = decode()?;
        let bytes = frame.values.iter().flat_map(|value| value.to_le_bytes());
        let _ = std::fs::write(&kept, stamp.iter().copied().chain(bytes).collect::<Vec<u8>>());
        Ok(frame)
    }
}

/// Deletes an image's thumbnail and cached predictions.
pub fn forget(root: &Path, image: ImageId) {
    let name = image.to_string();
    let _ = std::fs::remove_file(root.join("cache").join("thumbnails").join(format!("{name}.png")));
    for folder in std::fs::read_dir(predictions(root)).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(folder.path().join(&name));
    }
}

/// An image's thumbnail, generated if it is not cached; `None` if the image cannot be read.
pub fn thumbnail(root: &Path, image: ImageId, path: &Path, page: usize) -> Option<RgbaImage> {
    let folder = root.join("cache").join("thumbnails");
    let kept = folder.join(format!("{image}.png"));
    if let Ok(thumbnail) = image::open(&kept) {
        return Some(thumbnail.into_rgba8());
    }
    let picture = raster::picture(&raster::read(path, page).ok()?);
    let levels = picture.default_levels(|| picture.auto_levels());
    let whole = RgbaImage::from_raw(picture.width as u32, picture.height as u32, picture.as_rgba(levels))?;
    let (width, height) = (f64::from(whole.width()), f64::from(whole.height()));
    let scale = (f64::from(THUMBNAIL.0) / width).min(f64::from(THUMBNAIL.1) / height).min(1.0);
    let side = |length: f64| ((length * scale).round() as u32).max(1);
    let thumbnail = image::imageops::thumbnail(&whole, side(width), side(height));
    // Without a writable cache, everything works, only slower.
    let _ = std::fs::create_dir_all(&folder).and_then(|()| thumbnail.save(&kept).map_err(std::io::Error::other));
    Some(thumbnail)
}
