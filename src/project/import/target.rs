//! The image files that masks may belong to.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::domain::size::Size;

/// An image file that masks may belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Path relative to the image folder.
    pub path: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Number of images in the file.
    pub pages: usize,
    /// The stack it is a slice of, if each slice is a separate file.
    pub series: Option<String>,
}

impl Target {
    /// Collects the files of images; each image is given by its path, its size and its stack.
    pub fn of(images: impl Iterator<Item = (PathBuf, Size, Option<(String, usize)>)>) -> Vec<Self> {
        let mut targets: Vec<Self> = Vec::new();
        let mut places: HashMap<PathBuf, usize> = HashMap::new();
        for (path, Size { width, height }, stack) in images {
            let place = *places.entry(path.clone()).or_insert_with(|| {
                // A stack made of pages is named after its file.
                let series = stack.map(|(name, _)| name).filter(|name| *name != path.display().to_string());
                targets.push(Self { path, width, height, pages: 0, series });
                targets.len() - 1
            });
            targets[place].pages += 1;
        }
        targets
    }
}
