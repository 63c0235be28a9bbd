//! One directory of a TIFF file as a picture: how its samples are laid out, and the samples.

use super::ifd::{Directory, TiffSource, tag};
use crate::raster::{Colour, RasterError, Result, SampleType, memory_limit};

/// Samples that a page may claim.
const MOST_SAMPLES: u64 = 1 << 31;
const RESAVE: &str = "save it as 8 or 16-bit integers or 32-bit float";

/// The validated layout of a page.
#[derive(Clone, Debug)]
pub(super) struct TiffPage {
    pub width: usize,
    pub height: usize,
    pub samples: usize,
    pub bits: u32,
    pub sample_type: SampleType,
    pub colour: Colour,
    pub photometric: u64,
    pub orientation: u8,
    pub palette: Vec<[u8; 4]>,
    pub(super) compression: u64,
    pub(super) predictor: u64,
    pub(super) is_reversed: bool,
    pub(super) t4_options: u64,
    pub(super) subsampling: (usize, usize),
    pub(super) jpeg_tables: Vec<u8>,
    pub(super) is_planar: bool,
    pub(super) is_tiled: bool,
    pub(super) chunk: (usize, usize),
    pub(super) offsets: Vec<u64>,
    pub(super) lengths: Vec<u64>,
}

impl TiffPage {
    pub fn read(source: &mut TiffSource, directory: &Directory) -> Result<Self> {
        let number = |source: &mut TiffSource, tag: u16, default: u64| -> Result<u64> {
            Ok(source.first(directory, tag)?.unwrap_or(default))
        };
        let (width, height) = (number(source, tag::WIDTH, 0)?, number(source, tag::HEIGHT, 0)?);
        let samples = number(source, tag::SAMPLES, 1)?;
        if width == 0 || height == 0 || samples == 0 || samples > 4096 {
            return Err(source.damaged("it has no size"));
        }
        let total = width.checked_mul(height).and_then(|pixels| pixels.checked_mul(samples));
        if total.is_none_or(|total| total > MOST_SAMPLES) {
            return Err(source.damaged(format!("it claims {width} × {height} pixels")));
        }
        let (width, height, samples) = (width as usize, height as usize, samples as usize);
        let all_bits = source.values(directory, tag::BITS)?;
        let bits = all_bits.first().copied().unwrap_or(1) as u32;
        let format = number(source, tag::SAMPLE_FORMAT, 1)?;
        let unread = |source: &TiffSource, what: String| {
            RasterError::unsupported(&source.path, format!("a TIFF of {what}, which is not supported"), RESAVE)
        };
        if all_bits.iter().any(|other| *other != u64::from(bits)) {
            return Err(unread(source, "channels of different depths".to_owned()));
        }
        let sample_type = match (format, bits) {
            (1 | 4, 1..=32 | 64) => SampleType::Unsigned(bits as u8),
            (2, 8 | 16 | 32 | 64) => SampleType::Signed(bits as u8),
            (3, 16 | 24 | 32 | 64) => SampleType::Float(bits as u8),
            (5 | 6, _) => return Err(unread(source, format!("{bits}-bit complex numbers"))),
            _ => return Err(unread(source, format!("{bits}-bit samples of format {format}"))),
        };
        let photometric = number(source, tag::PHOTOMETRIC, 1)?;
        let extra = source.values(directory, tag::EXTRA_SAMPLES)?;
        let has_alpha = extra.first().is_some_and(|kind| matches!(kind, 1 | 2));
        let colour = match (photometric, samples) {
            (3, 1) => Colour::Index,
            (3, 2) if !extra.is_empty() => Colour::Channels,
            (0 | 1 | 4 | 32844, 1) => Colour::Grey,
            (0 | 1, 2) if has_alpha => Colour::GreyAlpha,
            (2 | 6, 3) => Colour::Rgb,
            (2 | 6, 4) if has_alpha || extra.is_empty() => Colour::RgbAlpha,
            (0..=2 | 5, _) => Colour::Channels,
            (8..=10, _) => return Err(unread(source, "L*a*b* colours".to_owned())),
            (32803 | 34892, _) => return Err(unread(source, "a camera's raw mosaic".to_owned())),
            (32845, _) => return Err(unread(source, "LogLuv colours".to_owned())),
            _ => return Err(unread(source, format!("photometric interpretation {photometric}"))),
        };
        let is_tiled = directory.contains_key(&tag::TILE_OFFSETS);
        let (offset_tag, length_tag) =
            if is_tiled { (tag::TILE_OFFSETS, tag::TILE_LENGTHS) } else { (tag::STRIP_OFFSETS, tag::STRIP_LENGTHS) };
        let rows = number(source, tag::ROWS_PER_STRIP, height as u64)?.clamp(1, height as u64) as usize;
        let chunk = if is_tiled {
            (number(source, tag::TILE_WIDTH, 0)? as usize, number(source, tag::TILE_HEIGHT, 0)? as usize)
        } else {
            (width, rows)
        };
        if chunk.0 == 0
            || chunk.1 == 0
            || (chunk.0 as u64).saturating_mul(chunk.1 as u64).saturating_mul(samples as u64) > MOST_SAMPLES
        {
            return Err(source.damaged("its tiles have no size"));
        }
        let palette =
            if colour == Colour::Index { palette(&source.values(directory, tag::COLOR_MAP)?) } else { Vec::new() };
        let subsampling = source.values(directory, tag::YCBCR_SUBSAMPLING)?;
        let subsampling = match subsampling.as_slice() {
            [across, down, ..] if (1..=4).contains(across) && (1..=4).contains(down) => {
                (*across as usize, *down as usize)
            }
            _ => (2, 2),
        };
        let mut page = Self {
            width,
            height,
            samples,
            bits,
            sample_type,
            colour,
            photometric,
            orientation: number(source, tag::ORIENTATION, 1)? as u8,
            palette,
            compression: number(source, tag::COMPRESSION, 1)?,
            predictor: number(source, tag::PREDICTOR, 1)?,
            is_reversed: number(source, tag::FILL_ORDER, 1)? == 2,
            t4_options: number(source, tag::T4_OPTIONS, 0)?,
            subsampling,
            jpeg_tables: source.raw(directory, tag::JPEG_TABLES)?,
            is_planar: samples > 1 && number(source, tag::PLANAR, 1)? == 2,
            is_tiled,
            chunk,
            offsets: source.values(directory, offset_tag)?,
            lengths: source.values(directory, length_tag)?,
        };
        if page.compression == 6 && directory.contains_key(&tag::JPEG_START) {
            // An old-style JPEG is stored as a single stream.
            page.offsets = vec![number(source, tag::JPEG_START, 0)?];
            let left = source.length().saturating_sub(page.offsets[0]);
            page.lengths = vec![number(source, tag::JPEG_LENGTH, left)?.min(left)];
            page.chunk = (width, height);
        }
        if page.lengths.is_empty() && page.compression == 1 {
            page.lengths = vec![page.chunk_bytes(page.chunk.1) as u64; page.offsets.len()];
        }
        if page.predictor == 2 && page.bits == 64 && !matches!(page.sample_type, SampleType::Float(_)) {
            return Err(unread(source, "64-bit integers with a predictor".to_owned()));
        }
        // A tile may be larger than its image, but not without limit: the memory check knows the image alone.
        let row = (page.width as u64 * page.samples_in_chunk() as u64 * u64::from(page.bits)).div_ceil(8);
        let image = row * page.height as u64;
        if page.chunk_bytes(page.chunk.1) as u64 > image.max(memory_limit()) {
            return Err(source.damaged(format!("its tiles are {} × {} pixels", page.chunk.0, page.chunk.1)));
        }
        check(source, &page)?;
        Ok(page)
    }

    /// Whether another page is of the same size and kind.
    pub fn is_like(&self, other: &Self) -> bool {
        (self.width, self.height, self.samples, self.bits, self.sample_type, self.colour)
            == (other.width, other.height, other.samples, other.bits, other.sample_type, other.colour)
    }

    /// Whether the file can hold `pictures` uncompressed images of this kind in a row, from the first offset on.
    pub fn holds(&self, source: &TiffSource, pictures: usize) -> bool {
        let picture = self.chunk_bytes(self.height) as u64;
        let first = self.offsets.first().copied().unwrap_or(0);
        self.compression == 1
            && !self.is_tiled
            && picture.checked_mul(pictures as u64).and_then(|all| all.checked_add(first)) <= Some(source.length())
    }

    /// Samples of one pixel in a chunk.
    pub(super) fn samples_in_chunk(&self) -> usize {
        if self.is_planar { 1 } else { self.samples }
    }

    /// Bytes of one row of a chunk.
    pub(super) fn row_bytes(&self) -> usize {
        (self.chunk.0 * self.samples_in_chunk() * self.bits as usize).div_ceil(8)
    }

    pub(super) fn chunk_bytes(&self, rows: usize) -> usize {
        self.row_bytes() * rows
    }
}

/// Returns an error if the page's compression is not supported.
fn check(source: &TiffSource, page: &TiffPage) -> Result<()> {
    let unread = |what: &str| {
        let what = format!("a TIFF compressed by {what}, which is not supported");
        Err(RasterError::unsupported(&source.path, what, "save it uncompressed, or with LZW or Deflate"))
    };
    match page.compression {
        1 | 5..=8 | 32773 | 32946 | 50000 => Ok(()),
        3 | 4 if page.bits != 1 || page.samples != 1 => Err(source.damaged("a fax of more than one bit per pixel")),
        4 => Ok(()),
        3 if page.t4_options & 1 == 0 => Ok(()),
        2 | 3 => unread("two-dimensional or modified CCITT Group 3"),
        33003 | 33004 | 33005 | 34712 => unread("JPEG 2000"),
        34887 => unread("LERC"),
        34925 => unread("LZMA"),
        50001 => unread("WebP"),
        other => unread(&format!("codec {other}")),
    }
}

/// Converts a 16-bit colour map: all reds, then all greens, then all blues. Some programs store 8-bit values in it.
fn palette(map: &[u64]) -> Vec<[u8; 4]> {
    let entries = map.len() / 3;
    let shift = if map.iter().any(|value| *value > 255) { 8 } else { 0 };
    let channel = |channel: usize, entry: usize| (map[channel * entries + entry] >> shift) as u8;
    (0..entries).map(|entry| [channel(0, entry), channel(1, entry), channel(2, entry), 255]).collect()
}
