//! Sets of samples: in memory, or in a file, so that memory does not grow with them.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::engine::EngineError;
use crate::engine::sample::{Sample, Shape};

/// Samples of one shape, accessed by index.
pub trait SampleSource {
    /// How many there are.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sample at an index.
    fn get(&self, place: usize) -> Result<Cow<'_, Sample>, EngineError>;
}

impl SampleSource for Vec<Sample> {
    fn len(&self) -> usize {
        self.len()
    }

    fn get(&self, place: usize) -> Result<Cow<'_, Sample>, EngineError> {
        Ok(Cow::Borrowed(&self[place]))
    }
}

/// Samples stored consecutively in an anonymous temporary file, which is deleted when this is dropped.
#[derive(Debug)]
pub struct SampleFile {
    folder: PathBuf,
    file: Mutex<File>,
    shape: Shape,
    /// Weight and number of each.
    heads: Vec<(f32, usize)>,
}

impl SampleFile {
    /// Creates an empty file for samples of this shape in a folder, which is created if necessary.
    pub fn new(folder: &Path, shape: Shape) -> Result<Self, EngineError> {
        std::fs::create_dir_all(folder).map_err(EngineError::file(folder))?;
        let file = tempfile::tempfile_in(folder).map_err(EngineError::file(folder))?;
        Ok(Self { folder: folder.to_owned(), file: Mutex::new(file), shape, heads: Vec::new() })
    }

    /// Adds a sample.
    pub fn push(&mut self, sample: &Sample) -> Result<(), EngineError> {
        let Shape { channels, .. } = self.shape;
        assert_eq!((sample.image.len(), sample.label.len()), (self.shape.pixels() * channels, self.shape.pixels()));
        let file = self.file.get_mut().unwrap_or_else(|e| e.into_inner());
        let image: Vec<u8> = sample.image.iter().flat_map(|value| value.to_le_bytes()).collect();
        let written = file.write_all(&image).and_then(|()| file.write_all(&sample.label));
        written.map_err(EngineError::file(&self.folder))?;
        self.heads.push((sample.weight, sample.number));
        Ok(())
    }
}

impl SampleSource for SampleFile {
    fn len(&self) -> usize {
        self.heads.len()
    }

    fn get(&self, place: usize) -> Result<Cow<'_, Sample>, EngineError> {
        let (weight, number) = self.heads[place];
        let pixels = self.shape.pixels();
        let mut image = vec![0; 2 * pixels * self.shape.channels];
        let mut label = vec![0; pixels];
        let mut file = self.file.lock().unwrap_or_else(|e| e.into_inner());
        let at = (place * (image.len() + label.len())) as u64;
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut image));
        read.and_then(|()| file.read_exact(&mut label)).map_err(EngineError::file(&self.folder))?;
        let image = image.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect();
        Ok(Cow::Owned(Sample { image, label, weight, number }))
    }
}
