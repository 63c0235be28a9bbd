//! Compressed frames: the supported transfer syntaxes, locating a frame's fragments, and decoding them.

use std::path::Path;

use dicom_dictionary_std::{tags, uids};
use hayro_jpeg2000::{DecodeSettings, DecoderContext, Image};
use jpeg_decoder::{CodingProcess, ColorTransform};

use super::Layout;
use super::elements::File;
use crate::raster::{Format, RasterError, Result, Samples};

/// How a file's frames are compressed.
#[derive(Clone, Copy, PartialEq)]
enum Codec {
    Rle,
    Jpeg,
    Jpeg2000,
    DeflatedFrame,
    /// Fragments of plain cells.
    Plain,
}

const RESAVE: &str = "save it uncompressed or as JPEG 2000 (gdcmconv --raw does)";

fn codec(path: &Path, file: &File) -> Result<Codec> {
    let unread = |what: &str| {
        Err(RasterError::unsupported(path, format!("DICOM compressed by {what}, which is not supported"), RESAVE))
    };
    match file.syntax.as_str() {
        uids::RLE_LOSSLESS => Ok(Codec::Rle),
        uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT | uids::JPEG_LOSSLESS | uids::JPEG_LOSSLESS_SV1 => {
            Ok(Codec::Jpeg)
        }
        uids::JPEG2000_LOSSLESS | uids::JPEG2000 | uids::JPEG2000MC_LOSSLESS | uids::JPEG2000MC => Ok(Codec::Jpeg2000),
        uids::DEFLATED_IMAGE_FRAME_COMPRESSION => Ok(Codec::DeflatedFrame),
        uids::JPEGLS_LOSSLESS | uids::JPEGLS_NEAR_LOSSLESS => unread("JPEG-LS"),
        syntax if syntax.starts_with("1.2.840.10008.1.2.4.20") => unread("High-Throughput JPEG 2000"),
        syntax if syntax.starts_with("1.2.840.10008.1.2.4.10") => unread("MPEG"),
        syntax if syntax.starts_with("1.2.840.10008.1.2.4.11") => unread("JPEG XL"),
        syntax if syntax.starts_with("1.2.840.10008.1.2.4.") => unread("a codec of its own"),
        _ => Ok(Codec::Plain),
    }
}

/// Returns an error if the headers show that the frames cannot be decoded.
pub(super) fn check(path: &Path, file: &File, layout: &Layout) -> Result<()> {
    if file.pixels.length.is_some() {
        return Ok(());
    }
    let codec = codec(path, file)?;
    let first = fragment(file, layout, 0).unwrap_or_default();
    if codec == Codec::Jpeg && jpeg_bits(&first).is_some_and(|(marker, bits)| marker != 0xc3 && bits > 8) {
        let what = "DICOM compressed by lossy JPEG of 12 bits, which is not supported";
        return Err(RasterError::unsupported(path, what, RESAVE));
    }
    Ok(())
}

/// Whether the codec of a transfer syntax returns RGB, whatever colour space the frames were stored in.
pub(super) fn gives_rgb(syntax: &str) -> bool {
    matches!(syntax, uids::JPEG_BASELINE8_BIT | uids::JPEG_EXTENDED12_BIT | uids::JPEG2000_LOSSLESS | uids::JPEG2000)
}

/// The frame marker of a JPEG stream, and its number of bits per sample.
fn jpeg_bits(bytes: &[u8]) -> Option<(u8, u8)> {
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *bytes.get(at..at + 4)? else { return None };
        match marker {
            0xff => at += 1,
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Some((marker, *bytes.get(at + 4)?)),
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
}

/// The bytes of a frame's fragments, joined.
pub(super) fn fragment(file: &File, layout: &Layout, frame: usize) -> Option<Vec<u8>> {
    // Each item is a tag, a length and bytes. The first item is the offset table.
    let mut at = file.pixels.at;
    let mut table: Vec<u64> = Vec::new();
    let mut fragments: Vec<(u64, u64)> = Vec::new();
    let mut is_table = true;
    loop {
        let head = file.bytes(at, 8).ok()?;
        if head.len() < 8 || head[..4] != [0xfe, 0xff, 0x00, 0xe0] {
            break;
        }
        let length = u64::from(u32::from_le_bytes(head[4..8].try_into().ok()?));
        if is_table {
            let bytes = file.bytes(at + 8, length).ok()?;
            table = bytes.chunks_exact(4).map(|b| u64::from(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))).collect();
            is_table = false;
        } else {
            fragments.push((at + 8, length));
        }
        at += 8 + length;
    }
    if let Some(extended) = file.object.get(tags::EXTENDED_OFFSET_TABLE)
        && let Ok(bytes) = extended.to_bytes()
    {
        table = bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default())).collect();
    }
    let first = fragments.first()?.0 - 8;
    let place = |offset: u64| fragments.iter().position(|(at, _)| at - 8 - first == offset);
    let begins = |at: u64| file.bytes(at, 2).is_ok_and(|head| head == [0xff, 0xd8] || head == [0xff, 0x4f]);
    let of_frame = if fragments.len() == layout.frames {
        frame..frame + 1
    } else if layout.frames == 1 {
        0..fragments.len()
    } else if table.len() == layout.frames {
        let end = if frame + 1 < layout.frames { place(table[frame + 1])? } else { fragments.len() };
        place(table[frame])?..end
    } else {
        let starts: Vec<usize> = (0..fragments.len()).filter(|i| begins(fragments[*i].0)).collect();
        if starts.len() != layout.frames {
            return None;
        }
        starts[frame]..starts.get(frame + 1).copied().unwrap_or(fragments.len())
    };
    let mut bytes = Vec::new();
    for (at, length) in fragments.get(of_frame)? {
        bytes.extend(file.bytes(*at, *length).ok()?);
    }
    Some(bytes)
}

/// Decodes a frame to its stored values.
pub(super) fn decode(path: &Path, file: &File, layout: &Layout, bytes: Vec<u8>) -> Result<Samples> {
    let damaged = |reason: String| RasterError::damaged(path, Format::Dicom, reason);
    // Cells of `bits_allocated`, little-endian, interleaved.
    let cells = match codec(path, file)? {
        Codec::Jpeg => return jpeg(&bytes, layout).map_err(damaged),
        Codec::Jpeg2000 => return jpeg_2000(&bytes, layout).map_err(damaged),
        Codec::Plain => bytes,
        Codec::Rle => rle(&bytes, layout).ok_or_else(|| damaged("its run lengths end too early".to_owned()))?,
        Codec::DeflatedFrame => {
            use std::io::Read;
            let length = (layout.samples() * layout.bits_allocated as usize).div_ceil(8) as u64;
            let mut inflated = Vec::new();
            let read = flate2::read::DeflateDecoder::new(&bytes[..]).take(length + 1).read_to_end(&mut inflated);
            read.map_err(|error| damaged(error.to_string()))?;
            inflated
        }
    };
    layout.unpack(&cells, 0, false).ok_or_else(|| damaged("the frame ends before its pixels do".to_owned()))
}

/// Decodes DICOM's run-length encoding (PS3.5, annex G): one segment for each byte of each sample of a pixel, most
/// significant byte first.
fn rle(bytes: &[u8], layout: &Layout) -> Option<Vec<u8>> {
    let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?) as usize);
    let (pixels, size) = (layout.pixels(), layout.bits_allocated as usize / 8);
    let segments = number(0)?;
    if segments != layout.samples_per_pixel * size || segments > 15 {
        return None;
    }
    let mut cells = vec![0; pixels * segments];
    for segment in 0..segments {
        let end = if segment + 1 < segments { number(8 + 4 * segment)? } else { bytes.len() };
        let runs = bytes.get(number(4 + 4 * segment)?..end.min(bytes.len()))?;
        let (sample, byte) = (segment / size, size - 1 - segment % size);
        let place = |pixel: usize| (pixel * layout.samples_per_pixel + sample) * size + byte;
        let (mut at, mut pixel) = (0, 0);
        while pixel < pixels {
            let head = *runs.get(at)? as i8;
            at += 1;
            let (count, is_literal) = match head {
                0.. => (head as usize + 1, true),
                -128 => continue,
                _ => (1 + usize::from(head.unsigned_abs()), false),
            };
            for i in 0..count.min(pixels - pixel) {
                cells[place(pixel + i)] = *runs.get(at + if is_literal { i } else { 0 })?;
            }
            pixel += count;
            at += if is_literal { count } else { 1 };
        }
    }
    Some(cells)
}

/// Decodes JPEG, lossy with 8 bits or lossless with up to 16. Colours of lossy streams are returned as RGB.
fn jpeg(bytes: &[u8], layout: &Layout) -> std::result::Result<Samples, String> {
    let mut decoder = jpeg_decoder::Decoder::new(bytes);
    decoder.read_info().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no frame header")?;
    let size = (usize::from(info.width), usize::from(info.height));
    if size != (layout.columns, layout.rows) {
        return Err(format!("the frame is {} × {}, the image {} × {}", size.0, size.1, layout.columns, layout.rows));
    }
    if layout.samples_per_pixel == 3 && info.coding_process != CodingProcess::Lossless {
        let is_rgb = jpeg_is_rgb(bytes, layout);
        decoder.set_color_transform(if is_rgb { ColorTransform::RGB } else { ColorTransform::YCbCr });
    }
    let decoded = decoder.decode().map_err(|error| error.to_string())?;
    let stored = |cell: u16| layout.stored(u64::from(cell));
    match decoded.len() / layout.samples().max(1) {
        1 => Ok(layout.collect(decoded.iter().map(|byte| stored(u16::from(*byte))))),
        2 => Ok(layout.collect(decoded.chunks_exact(2).map(|pair| stored(u16::from_ne_bytes([pair[0], pair[1]]))))),
        _ => Err("the frame has another number of samples than the image".to_owned()),
    }
}

/// Whether the three components of a JPEG stream are red, green and blue: according to Adobe's marker and the component
/// names, or else the photometric interpretation. A JFIF marker is ignored.
fn jpeg_is_rgb(bytes: &[u8], layout: &Layout) -> bool {
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        let body = bytes.get(at + 4..).unwrap_or(&[]);
        match marker {
            0xff => {
                at += 1;
                continue;
            }
            0xee if body.starts_with(b"Adobe") => return body.get(11) == Some(&0),
            0xc0..=0xc2 => {
                let names = [6, 9, 12].map(|place| body.get(place).copied().unwrap_or_default());
                return names == *b"RGB" || layout.photometric == "RGB";
            }
            _ => {}
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
    layout.photometric == "RGB"
}

/// Decodes JPEG 2000 to stored values, exactly if the stream is lossless. The decoder returns floating-point numbers,
/// which represent integers of up to 24 bits, and shifts signed components up by half their range.
fn jpeg_2000(bytes: &[u8], layout: &Layout) -> std::result::Result<Samples, String> {
    let start = bytes.windows(4).position(|four| four == b"\xff\x4f\xff\x51").ok_or("no code stream")?;
    let stream = &bytes[start..];
    let number = |at: usize| -> Option<u32> { Some(u32::from_be_bytes(stream.get(at..at + 4)?.try_into().ok()?)) };
    let sizes = || {
        let (columns, rows) = (number(8)?.checked_sub(number(16)?)?, number(12)?.checked_sub(number(20)?)?);
        let (tile_columns, tile_rows) = (number(24)?, number(28)?);
        let tiles =
            u64::from(number(8)?.div_ceil(tile_columns.max(1))) * u64::from(number(12)?.div_ceil(tile_rows.max(1)));
        let components = usize::from(u16::from_be_bytes([*stream.get(40)?, *stream.get(41)?]));
        Some((columns as usize, rows as usize, tiles, components))
    };
    let (columns, rows, tiles, components) = sizes().ok_or("its size marker ends too early")?;
    if (columns, rows) != (layout.columns, layout.rows) || tiles > 65_535 || components < layout.samples_per_pixel {
        return Err(format!("the frame is {columns} × {rows} with {components} components"));
    }
    let settings = DecodeSettings { resolve_palette_indices: false, strict: false, target_resolution: None };
    let image = Image::new(stream, &settings).map_err(|error| error.to_string())?;
    let mut context = DecoderContext::default();
    let decoded = image.decode(&mut context).map_err(|error| error.to_string())?;
    let planes = layout.samples_per_pixel;
    let mut components = Vec::with_capacity(planes);
    for (channel, component) in decoded.components().iter().take(planes).enumerate() {
        let bits = u32::from(component.bit_depth());
        if !(1..=24).contains(&bits) || component.samples().len() != layout.pixels() {
            return Err(format!("a component of {bits} bits, or of another size"));
        }
        let is_signed = stream.get(42 + 3 * channel).is_some_and(|depth| depth & 0x80 != 0);
        components.push((component.samples(), 1i64 << (bits - 1), is_signed));
    }
    if components.len() != planes {
        return Err("the frame has fewer components than it says".to_owned());
    }
    let value = |place: usize| {
        let (samples, half, is_signed) = components[place % planes];
        let mut value = (samples[place / planes].round_ties_even() as i64).clamp(0, 2 * half - 1);
        if is_signed {
            value -= half;
        }
        // Only the bits matter here: whether they are signed is defined by the DICOM header.
        value &= 2 * half - 1;
        if layout.is_signed && value >= half { value - 2 * half } else { value }
    };
    Ok(layout.collect((0..layout.samples()).map(value)))
}
