//! An image as represented in jobs.

use std::path::PathBuf;

use crate::domain::study::{ImageId, ImageRecord};

/// One image of the pool, or of a folder to predict.
#[derive(Clone, Debug)]
pub struct PoolImage {
    /// Its key in the project; for a folder to predict, its number in the folder.
    pub id: ImageId,
    /// The name shown to the user.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The page of the file, from 0.
    pub page: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl PoolImage {
    /// An image of a study.
    pub fn of(record: &ImageRecord) -> Self {
        Self {
            id: record.id,
            name: record.name.clone(),
            path: record.path.clone(),
            page: record.page,
            width: record.width,
            height: record.height,
        }
    }
}
