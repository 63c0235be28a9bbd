//! PNG: samples as stored, palettes unexpanded; and the label files that this program writes.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use png::{BitDepth, ColorType, Decoder, Limits, Reader, Transformations, Unit};

use super::output::NewFile;
use super::{Colour, Format, Header, LABEL_MARK, Raster, RasterError, Result, SampleType, Samples};
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::size::Size;
use crate::raster::memory;

/// The text chunk that marks a label file of this program.
const MARK: (&str, &str) = ("Software", LABEL_MARK);
/// The palette's last entry in a label file.
const UNLABELLED_COLOUR: [u8; 3] = [127; 3];

fn open(path: &Path) -> Result<Reader<BufReader<File>>> {
    let file = File::open(path).map_err(RasterError::io(path))?;
    let mut decoder = Decoder::new_with_limits(BufReader::new(file), Limits { bytes: usize::MAX });
    decoder.set_transformations(Transformations::IDENTITY);
    decoder.read_info().map_err(|e| RasterError::damaged(path, Format::Png, e))
}

fn describe(reader: &Reader<BufReader<File>>) -> Header {
    let info = reader.info();
    let colour = match info.color_type {
        ColorType::Grayscale => Colour::Grey,
        ColorType::GrayscaleAlpha => Colour::GreyAlpha,
        ColorType::Rgb => Colour::Rgb,
        ColorType::Rgba => Colour::RgbAlpha,
        ColorType::Indexed => Colour::Index,
    };
    let bits = SampleType::Unsigned(info.bit_depth as u8);
    let mut header = Header::new(Format::Png, Size::new(info.width as usize, info.height as usize), colour, bits);
    header.spacing_mm = info
        .pixel_dims
        .filter(|size| size.unit == Unit::Meter && size.xppu > 0 && size.yppu > 0)
        .map(|size| [1e3 / f64::from(size.xppu), 1e3 / f64::from(size.yppu)]);
    header.is_label = is_label(info);
    if info.animation_control.is_some_and(|control| control.num_frames > 1) {
        header.note = Some("an animation; its first frame is read".to_owned());
    }
    header
}

/// Whether this program wrote the file as a label: by its mark, or, before there was one, by its palette.
fn is_label(info: &png::Info) -> bool {
    let is_marked = info.uncompressed_latin1_text.iter().any(|t| (t.keyword.as_str(), t.text.as_str()) == MARK);
    let has_palette = info.palette.as_ref().is_some_and(|palette| {
        let colours: Vec<&[u8]> = palette.chunks_exact(3).collect();
        // Entries beyond the project's classes are grey, with their index as the value.
        let is_plain = |class: usize| colours[class] == [class as u8; 3];
        colours.len() == 256 && colours[255] == UNLABELLED_COLOUR && is_plain(0) && (200..=254).all(is_plain)
    });
    info.color_type == ColorType::Indexed && info.bit_depth == BitDepth::Eight && (is_marked || has_palette)
}

fn orientation(info: &png::Info) -> u8 {
    let exif = info.exif_metadata.as_ref();
    exif.and_then(|exif| image::metadata::Orientation::from_exif_chunk(exif)).map_or(1, |o| o.to_exif())
}

pub(super) fn header(path: &Path) -> Result<Header> {
    let reader = open(path)?;
    let mut header = describe(&reader);
    header.turn(orientation(reader.info()));
    Ok(header)
}

pub(super) fn read(path: &Path) -> Result<Raster> {
    let mut reader = open(path)?;
    let header = describe(&reader);
    memory::check(path, &header)?;
    let damaged = |reason: &dyn ToString| RasterError::damaged(path, Format::Png, reason.to_string());
    let size = reader.output_buffer_size().ok_or_else(|| damaged(&"it is too large"))?;
    // Deflate expands one byte to at most 1,032.
    let stored = std::fs::metadata(path).map_err(RasterError::io(path))?.len();
    if size as u64 > stored.saturating_mul(1032) {
        return Err(damaged(&"it claims more pixels than its bytes can hold"));
    }
    let mut bytes = vec![0; size];
    let frame = reader.next_frame(&mut bytes).map_err(|e| damaged(&e))?;
    bytes.truncate(frame.buffer_size());
    let info = reader.info();
    let samples = match info.bit_depth {
        BitDepth::Eight => Samples::U8(bytes),
        BitDepth::Sixteen => {
            Samples::U16(bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect())
        }
        depth @ (BitDepth::One | BitDepth::Two | BitDepth::Four) => {
            let row = header.width * header.channels;
            Samples::U8(unpacked(&bytes, row, frame.line_size, depth as u32))
        }
    };
    let mut palette: Vec<[u8; 4]> = Vec::new();
    if header.colour == Colour::Index {
        let colours = info.palette.as_ref().ok_or_else(|| damaged(&"its palette is missing"))?;
        palette = colours.chunks_exact(3).map(|c| [c[0], c[1], c[2], 255]).collect();
        let alphas = info.trns.iter().flat_map(|trns| trns.iter());
        palette.iter_mut().zip(alphas).for_each(|(colour, alpha)| colour[3] = *alpha);
    }
    let orientation = orientation(info);
    Ok(Raster { header, samples, palette }.oriented(orientation))
}

/// Unpacks samples of fewer than 8 bits, most significant first; each row starts at a byte boundary.
pub(super) fn unpacked(bytes: &[u8], row: usize, line: usize, bits: u32) -> Vec<u8> {
    let each = (8 / bits) as usize;
    let mask = ((1u16 << bits) - 1) as u8;
    let sample = |line: &[u8], i: usize| line[i / each] >> (8 - bits as usize * (i % each + 1)) & mask;
    bytes.chunks_exact(line.max(1)).flat_map(|line| (0..row).map(move |i| sample(line, i))).collect()
}

/// Writes a label as an 8-bit indexed PNG, coloured by `palette` (class 1 first), through a [`NewFile`].
pub fn write_label(path: &Path, mask: &Mask, palette: &[[u8; 3]]) -> Result<()> {
    let mut colours = vec![0; 3];
    (1..=254).for_each(|class| colours.extend(palette.get(class - 1).copied().unwrap_or([class as u8; 3])));
    colours.extend(UNLABELLED_COLOUR);
    debug_assert_eq!(colours.len(), 3 * (UNLABELLED as usize + 1));
    let mut file = NewFile::create(path)?;
    let mut encoder = png::Encoder::new(&mut file, mask.width() as u32, mask.height() as u32);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(colours);
    // Uniform areas compress well at any compression level.
    encoder.set_compression(png::Compression::Fast);
    let written = encoder.add_text_chunk(MARK.0.to_owned(), MARK.1.to_owned()).and_then(|()| {
        let mut writer = encoder.write_header()?;
        writer.write_image_data(mask.pixels())?;
        writer.finish()
    });
    written.map_err(|e| RasterError::Io { path: path.to_owned(), reason: std::io::Error::other(e) })?;
    file.finish()
}

pub(super) fn read_label(path: &Path) -> Result<Mask> {
    let Raster { header, samples, .. } = read(path)?;
    let Header { width, height, .. } = header;
    let mask = if let Samples::U8(pixels) = samples { Mask::from_pixels(width, height, pixels).ok() } else { None };
    mask.filter(|_| header.is_label)
        .ok_or_else(|| RasterError::unsupported(path, "no label file of this program", "give one that it has written"))
}
