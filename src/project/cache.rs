//! The project's `cache/`: predictions and thumbnails. May be deleted at any time; a file that does not read back is as
//! if it were not there.

use std::path::{Path, PathBuf};

use image::RgbaImage;

use crate::domain::prediction::Prediction;
use crate::project::error::{ProjectError, Result};
use crate::project::{ImageId, pixels};

/// Columns and rows that a thumbnail fits in.
pub const THUMBNAIL: (u32, u32) = (96, 72);

fn predictions(root: &Path, model: &str) -> PathBuf {
    root.join("cache").join("predictions").join(model)
}

/// What the model of this identity says of an image, where it is known.
pub fn prediction(root: &Path, model: &str, image: ImageId) -> Option<Prediction> {
    let bytes = std::fs::read(predictions(root, model).join(image.to_string())).ok()?;
    Prediction::from_bytes(&bytes)
}

/// Keeps a prediction.
pub fn keep_prediction(root: &Path, model: &str, image: ImageId, prediction: &Prediction) -> Result<()> {
    let folder = predictions(root, model);
    std::fs::create_dir_all(&folder).map_err(ProjectError::io(&folder))?;
    let path = folder.join(image.to_string());
    std::fs::write(&path, prediction.to_bytes()).map_err(ProjectError::io(&path))
}

/// Forgets the predictions of every model but this one.
pub fn forget_others(root: &Path, model: &str) {
    let Ok(folders) = std::fs::read_dir(root.join("cache").join("predictions")) else { return };
    for folder in folders.flatten().filter(|folder| folder.file_name() != model) {
        // The cache is allowed to be larger than it need be.
        let _ = std::fs::remove_dir_all(folder.path());
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
