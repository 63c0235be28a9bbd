//! What masks may belong to.

use std::collections::HashMap;
use std::path::PathBuf;

/// A file that masks may belong to.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Below the folder of images.
    pub path: PathBuf,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// How many images it holds.
    pub pages: usize,
    /// The stack that it is one slice of, where each slice is a file.
    pub series: Option<String>,
}

impl Target {
    /// The files of images, each given by its path, its columns and rows, and its stack.
    pub fn of(images: impl Iterator<Item = (PathBuf, (usize, usize), Option<(String, usize)>)>) -> Vec<Self> {
        let mut targets: Vec<Self> = Vec::new();
        let mut places: HashMap<PathBuf, usize> = HashMap::new();
        for (path, (width, height), stack) in images {
            let place = *places.entry(path.clone()).or_insert_with(|| {
                // A stack of pages has its file's name.
                let series = stack.map(|(name, _)| name).filter(|name| *name != path.display().to_string());
                targets.push(Self { path, width, height, pages: 0, series });
                targets.len() - 1
            });
            targets[place].pages += 1;
        }
        targets
    }
}
