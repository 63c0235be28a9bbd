//! Files that are written under a temporary name and renamed once complete, so that a partial file is never visible
//! under the final name.

use std::fs::File;
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::{RasterError, Result};

/// A file being written. Dropping it before [`NewFile::finish`] deletes it.
pub struct NewFile {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
}

impl NewFile {
    /// Creates a file, and its folder if needed.
    pub fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(RasterError::io(folder))?;
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".part");
        let unfinished = path.with_file_name(name);
        let file = File::create(&unfinished).map_err(RasterError::io(path))?;
        Ok(Self { path: path.to_owned(), unfinished, file: BufWriter::new(file) })
    }

    /// Creates a file, fills it with `write`, and finishes it.
    pub fn write_all(path: &Path, write: impl FnOnce(&mut Self) -> std::io::Result<()>) -> Result<()> {
        let mut file = Self::create(path)?;
        write(&mut file).map_err(RasterError::io(path))?;
        file.finish()
    }

    /// The file's final path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Moves the complete file to its final path.
    pub fn finish(mut self) -> Result<()> {
        self.file
            .flush()
            .and_then(|()| std::fs::rename(&self.unfinished, &self.path))
            .map_err(RasterError::io(&self.path))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        // After a rename there is nothing left to remove.
        let _ = std::fs::remove_file(&self.unfinished);
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Seek for NewFile {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        self.file.seek(to)
    }
}
