//! TIFF directories: the tags and where their values are stored, for classic TIFF and BigTIFF in either byte order.
//!
//! The `tiff` crate decodes only files whose colours it can interpret: it rejects palettes, unusual bit depths and much
//! else, and inverts WhiteIsZero. So the directories are read here, and the codecs come from separate crates.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::raster::{Format, RasterError, Result};

/// The values of a tag: their type, count and file offset.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    kind: u16,
    count: u64,
    at: u64,
}

/// One directory, which describes an image.
pub(super) type Directory = BTreeMap<u16, Entry>;

/// Tags that are used here (TIFF 6.0, section 8 and the supplements).
pub(super) mod tag {
    pub const NEW_SUBFILE_TYPE: u16 = 254;
    pub const SUBFILE_TYPE: u16 = 255;
    pub const WIDTH: u16 = 256;
    pub const HEIGHT: u16 = 257;
    pub const BITS: u16 = 258;
    pub const COMPRESSION: u16 = 259;
    pub const PHOTOMETRIC: u16 = 262;
    pub const FILL_ORDER: u16 = 266;
    pub const DESCRIPTION: u16 = 270;
    pub const STRIP_OFFSETS: u16 = 273;
    pub const ORIENTATION: u16 = 274;
    pub const SAMPLES: u16 = 277;
    pub const ROWS_PER_STRIP: u16 = 278;
    pub const STRIP_LENGTHS: u16 = 279;
    pub const X_RESOLUTION: u16 = 282;
    pub const Y_RESOLUTION: u16 = 283;
    pub const PLANAR: u16 = 284;
    pub const T4_OPTIONS: u16 = 292;
    pub const RESOLUTION_UNIT: u16 = 296;
    pub const SOFTWARE: u16 = 305;
    pub const PREDICTOR: u16 = 317;
    pub const COLOR_MAP: u16 = 320;
    pub const TILE_WIDTH: u16 = 322;
    pub const TILE_HEIGHT: u16 = 323;
    pub const TILE_OFFSETS: u16 = 324;
    pub const TILE_LENGTHS: u16 = 325;
    pub const EXTRA_SAMPLES: u16 = 338;
    pub const SAMPLE_FORMAT: u16 = 339;
    pub const JPEG_TABLES: u16 = 347;
    pub const JPEG_START: u16 = 513;
    pub const JPEG_LENGTH: u16 = 514;
    pub const YCBCR_SUBSAMPLING: u16 = 530;
}

/// An open file.
pub(super) struct TiffSource {
    pub path: PathBuf,
    file: BufReader<File>,
    length: u64,
    pub is_little_endian: bool,
    is_big: bool,
    first: u64,
}

/// Size in bytes of a value of the given type; 0 for an unknown type.
fn width(kind: u16) -> u64 {
    match kind {
        1 | 2 | 6 | 7 => 1,
        3 | 8 => 2,
        4 | 9 | 11 | 13 => 4,
        5 | 10 | 12 | 16..=18 => 8,
        _ => 0,
    }
}

impl TiffSource {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(RasterError::io(path))?;
        let length = file.metadata().map_err(RasterError::io(path))?.len();
        let file = BufReader::new(file);
        let mut source = Self { path: path.to_owned(), file, length, is_little_endian: true, is_big: false, first: 0 };
        let head = source.bytes(0, 8)?;
        source.is_little_endian = head[0] == b'I';
        source.is_big = source.number(&head[2..4]) == 43;
        source.first = if source.is_big {
            let offset = source.bytes(8, 8)?;
            source.number(&offset)
        } else {
            source.number(&head[4..8])
        };
        Ok(source)
    }

    pub fn damaged(&self, reason: impl ToString) -> RasterError {
        RasterError::damaged(&self.path, Format::Tiff, reason)
    }

    /// Reads `length` bytes at offset `at`. A range beyond the end of the file is an error, found before anything is
    /// allocated.
    pub fn bytes(&mut self, at: u64, length: u64) -> Result<Vec<u8>> {
        if at.checked_add(length).is_none_or(|end| end > self.length) {
            return Err(self.damaged("it ends before its data does"));
        }
        let mut bytes = vec![0; length as usize];
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(&mut bytes));
        read.map_err(RasterError::io(&self.path))?;
        Ok(bytes)
    }

    /// The file's length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// An unsigned number of up to 8 bytes in the file's order.
    pub fn number(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.is_little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }

    fn directory(&mut self, at: u64) -> Result<(Directory, u64)> {
        let (count_size, entry_size, inline) = if self.is_big { (8, 20, 8) } else { (2, 12, 4) };
        let head = self.bytes(at, count_size)?;
        let count = self.number(&head);
        if count > 65_535 {
            return Err(self.damaged("a directory of too many tags"));
        }
        let bytes = self.bytes(at + count_size, count * entry_size + inline)?;
        let mut directory = Directory::new();
        for (place, entry) in (0..).zip(bytes[..(count * entry_size) as usize].chunks_exact(entry_size as usize)) {
            let (tag, kind) = (self.number(&entry[..2]) as u16, self.number(&entry[2..4]) as u16);
            let value = 4 + inline as usize;
            let count = self.number(&entry[4..value]);
            let Some(length) = count.checked_mul(width(kind)).filter(|length| *length > 0) else { continue };
            let inline_at = at + count_size + place * entry_size + value as u64;
            let at = if length <= inline { inline_at } else { self.number(&entry[value..]) };
            directory.insert(tag, Entry { kind, count, at });
        }
        let next = self.number(&bytes[(count * entry_size) as usize..]);
        Ok((directory, next))
    }

    /// The directories that are pages: not smaller copies, nor masks of others.
    pub fn pages(&mut self) -> Result<Vec<Directory>> {
        let (mut pages, mut seen, mut next) = (Vec::new(), HashSet::new(), self.first);
        while next != 0 && seen.insert(next) {
            let (directory, after) = match self.directory(next) {
                Ok(read) => read,
                // If the file is truncated after the first page, the pages before the cut can still be read.
                Err(_) if !pages.is_empty() => break,
                Err(error) => return Err(error),
            };
            let kind = self.first(&directory, tag::NEW_SUBFILE_TYPE)?.unwrap_or(0);
            let old_kind = self.first(&directory, tag::SUBFILE_TYPE)?.unwrap_or(1);
            if kind & 0b101 == 0 && old_kind != 2 {
                pages.push(directory);
            }
            next = after;
        }
        if pages.is_empty() { Err(self.damaged("it has no image")) } else { Ok(pages) }
    }

    /// All values of a tag; a fraction is a numerator followed by a denominator. Empty if the tag is missing.
    pub fn values(&mut self, directory: &Directory, tag: u16) -> Result<Vec<u64>> {
        let Some(entry) = directory.get(&tag).copied() else { return Ok(Vec::new()) };
        let bytes = self.bytes(entry.at, entry.count * width(entry.kind))?;
        let each = if matches!(entry.kind, 5 | 10) { 4 } else { width(entry.kind) as usize };
        Ok(bytes.chunks_exact(each).map(|value| self.number(value)).collect())
    }

    /// The first value of a tag.
    pub fn first(&mut self, directory: &Directory, tag: u16) -> Result<Option<u64>> {
        Ok(self.values(directory, tag)?.first().copied())
    }

    /// A tag's bytes.
    pub fn raw(&mut self, directory: &Directory, tag: u16) -> Result<Vec<u8>> {
        match directory.get(&tag).copied() {
            Some(entry) => self.bytes(entry.at, entry.count * width(entry.kind)),
            None => Ok(Vec::new()),
        }
    }
}
