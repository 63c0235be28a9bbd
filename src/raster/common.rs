//! JPEG, WebP, BMP and GIF: the formats of photographs and of the web.

use std::io::Cursor;
use std::path::Path;

use image::codecs::bmp::BmpDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::webp::WebPDecoder;
use image::{ColorType, DynamicImage, ImageDecoder};
use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;

use super::{Colour, Format, Header, Raster, RasterError, Result, SampleType, Samples};
use crate::domain::size::Size;
use crate::raster::memory;

fn bytes(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(RasterError::io(path))
}

/// Creates the decoder for a format that is decoded by the `image` crate.
fn decoder<'a>(bytes: &'a [u8], format: Format) -> image::ImageResult<Box<dyn ImageDecoder + 'a>> {
    let source = Cursor::new(bytes);
    Ok(match format {
        Format::WebP => Box::new(WebPDecoder::new(source)?),
        Format::Bmp => Box::new(BmpDecoder::new(source)?),
        // The other formats have readers of their own.
        Format::Jpeg | Format::Png | Format::Gif | Format::Tiff | Format::Dicom | Format::Nifti => {
            Box::new(JpegDecoder::new(source)?)
        }
    })
}

#[allow(clippy::wildcard_enum_match_arm)] // The enum is another crate's.
fn describe(decoder: &mut dyn ImageDecoder, format: Format) -> (Header, u8) {
    let (width, height) = decoder.dimensions();
    let colour = match decoder.color_type() {
        ColorType::L8 | ColorType::L16 => Colour::Grey,
        ColorType::La8 | ColorType::La16 => Colour::GreyAlpha,
        ColorType::Rgba8 | ColorType::Rgba16 | ColorType::Rgba32F => Colour::RgbAlpha,
        _ => Colour::Rgb,
    };
    let header = Header::new(format, Size::new(width as usize, height as usize), colour, SampleType::Unsigned(8));
    (header, decoder.orientation().map_or(1, |orientation| orientation.to_exif()))
}

pub(super) fn header(path: &Path, format: Format) -> Result<Header> {
    let bytes = bytes(path)?;
    if format == Format::Gif {
        return Ok(gif_header(path, &bytes)?.0);
    }
    if let Some(indexed) = IndexedBmp::read(&bytes).filter(|_| format == Format::Bmp) {
        return Ok(indexed.header());
    }
    let (bytes, _) = mended(path, format, bytes)?;
    let mut decoder = decoder(&bytes, format).map_err(|e| RasterError::damaged(path, format, e))?;
    let (mut header, orientation) = describe(&mut *decoder, format);
    header.turn(orientation);
    Ok(header)
}

pub(super) fn read(path: &Path, format: Format, page: usize) -> Result<Raster> {
    let bytes = bytes(path)?;
    if format == Format::Gif {
        memory::check(path, &gif_header(path, &bytes)?.0)?;
        return gif(path, &bytes, page);
    }
    if let Some(indexed) = IndexedBmp::read(&bytes).filter(|_| format == Format::Bmp) {
        memory::check(path, &indexed.header())?;
        return indexed
            .raster(&bytes)
            .ok_or_else(|| RasterError::damaged(path, format, "it ends before its pixels do"));
    }
    let damaged = |error: image::ImageError| RasterError::damaged(path, format, error);
    let (bytes, is_cut) = mended(path, format, bytes)?;
    let mut decoder = decoder(&bytes, format).map_err(damaged)?;
    let (header, orientation) = describe(&mut *decoder, format);
    memory::check(path, &header)?;
    if format == Format::Jpeg {
        match jpeg_samples(&bytes, header.colour) {
            Some(samples) if !is_cut => {
                let raster = Raster { header, samples: Samples::U8(samples), palette: Vec::new() };
                return Ok(raster.oriented(orientation));
            }
            Some(_) => {}
            // A second decoder, which does not fill in missing data either, is less strict about stray bytes.
            None if jpeg_decoder::Decoder::new(bytes.as_slice()).decode().is_ok() => {}
            None => return Err(RasterError::damaged(path, format, "its compressed data is broken")),
        }
    }
    let image = DynamicImage::from_decoder(decoder).map_err(damaged)?;
    if is_cut && !is_whole(&bytes, &image) {
        return Err(RasterError::damaged(path, format, "the file ends before the image does"));
    }
    let samples = match header.colour {
        Colour::Grey => image.into_luma8().into_raw(),
        Colour::GreyAlpha => image.into_luma_alpha8().into_raw(),
        Colour::RgbAlpha => image.into_rgba8().into_raw(),
        Colour::Rgb | Colour::Index | Colour::Channels => image.into_rgb8().into_raw(),
    };
    Ok(Raster { header, samples: Samples::U8(samples), palette: Vec::new() }.oriented(orientation))
}

/// The samples of a JPEG, or `None` if its compressed data is broken. The `image` crate instead lets its decoder fill
/// in what it cannot decode.
fn jpeg_samples(bytes: &[u8], colour: Colour) -> Option<Vec<u8>> {
    let colour = if colour == Colour::Grey { ColorSpace::Luma } else { ColorSpace::RGB };
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(usize::MAX)
        .set_max_height(usize::MAX)
        .jpeg_set_out_colorspace(colour);
    zune_jpeg::JpegDecoder::new_with_options(ZCursor::new(bytes), options).decode().ok()
}

/// Appends a missing end-of-image marker to a JPEG, and returns whether it was missing. Other formats are returned
/// unchanged.
fn mended(path: &Path, format: Format, mut bytes: Vec<u8>) -> Result<(Vec<u8>, bool)> {
    if format != Format::Jpeg {
        return Ok((bytes, false));
    }
    let Some(frame) = jpeg_frame(&bytes) else {
        return Err(RasterError::damaged(path, format, "it ends before its image begins"));
    };
    if frame.bits != 8 || !matches!(frame.marker, 0xc0..=0xc2) {
        let what = format!("a JPEG of {} bits or of a kind that is not supported (lossless, arithmetic)", frame.bits);
        return Err(RasterError::unsupported(path, what, "save it as PNG or TIFF"));
    }
    if frame.components == 2 {
        return Err(RasterError::unsupported(path, "a JPEG of two channels", "save it as TIFF"));
    }
    if let (Some(at), 3) = (frame.adobe_transform, frame.components)
        && bytes[at] == 0
        && !frame.is_named_rgb
    {
        return Err(RasterError::unsupported(path, "a JPEG of untransformed RGB (Adobe)", "save it as PNG or TIFF"));
    }
    let is_cut = frame.is_endless;
    if is_cut {
        while bytes.last() == Some(&0xff) {
            bytes.pop();
        }
        bytes.extend([0xff, 0xd9]);
    }
    Ok((bytes, is_cut))
}

/// Information from the markers of a JPEG (ITU T.81, annex B).
#[derive(Default)]
struct JpegFrame {
    marker: u8,
    bits: u8,
    components: u8,
    is_named_rgb: bool,
    /// Offset of the colour transform in Adobe's marker.
    adobe_transform: Option<usize>,
    /// Whether there is no end-of-image marker after the first scan.
    is_endless: bool,
}

/// Reads the markers up to the first scan; `None` if there is no scan.
fn jpeg_frame(bytes: &[u8]) -> Option<JpegFrame> {
    let mut frame = JpegFrame::default();
    let mut at = 2;
    loop {
        let [0xff, marker, high, low] = *bytes.get(at..at + 4)? else {
            // Stray bytes are skipped, as every decoder does.
            at += bytes.get(at + 1..)?.iter().position(|byte| *byte == 0xff)? + 1;
            continue;
        };
        let body = bytes.get(at + 4..)?;
        match marker {
            0xff => {
                at += 1;
                continue;
            }
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                (frame.marker, frame.bits, frame.components) = (marker, *body.first()?, *body.get(5)?);
                frame.is_named_rgb = [6, 9, 12].map(|place| body.get(place).copied()) == [b'R', b'G', b'B'].map(Some);
            }
            0xee if body.starts_with(b"Adobe") => {
                frame.adobe_transform = Some(at + 4 + 11).filter(|at| *at < bytes.len())
            }
            // Within a scan 0xff is followed by another byte than 0xd9.
            0xda => {
                frame.is_endless = !body.windows(2).any(|pair| pair == [0xff, 0xd9]);
                return (frame.marker != 0).then_some(frame);
            }
            _ => {}
        }
        at += 2 + usize::from(u16::from_be_bytes([high, low]));
    }
}

/// Whether the scan of a JPEG without an end marker is complete. Bytes appended to a complete scan do not change the
/// image, whereas the decoder would use them to continue a truncated one.
fn is_whole(mended: &[u8], image: &DynamicImage) -> bool {
    let scan = mended.strip_suffix(&[0xff, 0xd9]).unwrap_or(mended);
    [0x55, 0xaa].into_iter().all(|filler| {
        let longer = [scan, &[filler; 4096], &[0xff, 0xd9]].concat();
        let decoder = JpegDecoder::new(Cursor::new(&longer));
        decoder.and_then(DynamicImage::from_decoder).is_ok_and(|other| other.as_bytes() == image.as_bytes())
    })
}

/// An uncompressed bitmap whose samples are palette indices.
struct IndexedBmp {
    width: usize,
    height: usize,
    bits: u32,
    is_top_down: bool,
    at: usize,
    palette: Vec<[u8; 4]>,
}

impl IndexedBmp {
    /// Parses the header; `None` for any other kind of bitmap.
    fn read(bytes: &[u8]) -> Option<Self> {
        let word = |at: usize| Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        let number = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let at = number(10)? as usize;
        let header = number(14)? as usize;
        let (width, height, bits, colours, entry) = if header == 12 {
            (i32::from(word(18)?), i32::from(word(20)?), word(24)?, 0, 3)
        } else {
            if header < 40 || number(30)? != 0 {
                return None;
            }
            (number(18)? as i32, number(22)? as i32, word(28)?, number(46)? as usize, 4)
        };
        if !matches!(bits, 1 | 2 | 4 | 8) || width <= 0 || height == 0 {
            return None;
        }
        let colours = if colours == 0 { 1 << bits } else { colours.min(1 << bits) };
        let map = bytes.get(14 + header..(14 + header + colours * entry).min(at))?;
        let palette: Vec<[u8; 4]> = map.chunks_exact(entry).map(|c| [c[2], c[1], c[0], 255]).collect();
        let (width, is_top_down, height) = (width as usize, height < 0, height.unsigned_abs() as usize);
        Some(Self { width, height, bits: u32::from(bits), is_top_down, at, palette })
    }

    fn header(&self) -> Header {
        Header::new(
            Format::Bmp,
            Size::new(self.width, self.height),
            Colour::Index,
            SampleType::Unsigned(self.bits as u8),
        )
    }

    fn raster(self, bytes: &[u8]) -> Option<Raster> {
        let line = (self.width * self.bits as usize).div_ceil(32) * 4;
        let stored = bytes.get(self.at..self.at.checked_add(line.checked_mul(self.height)?)?)?;
        let samples = if self.bits == 8 {
            stored.chunks_exact(line).flat_map(|line| line[..self.width].to_vec()).collect()
        } else {
            super::png::unpacked(stored, self.width, line, self.bits)
        };
        let raster = Raster { header: self.header(), samples: Samples::U8(samples), palette: self.palette };
        Some(if self.is_top_down { raster } else { raster.oriented(4) })
    }
}

fn gif_options(path: &Path, bytes: &[u8], counts_only: bool) -> Result<gif::Decoder<Cursor<Vec<u8>>>> {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::Indexed);
    options.skip_frame_decoding(counts_only);
    options.read_info(Cursor::new(bytes.to_vec())).map_err(|e| RasterError::damaged(path, Format::Gif, e))
}

/// Reads the header of a GIF, and whether its samples are palette indices, which they are if it has a single opaque
/// frame that covers the whole screen.
fn gif_header(path: &Path, bytes: &[u8]) -> Result<(Header, bool)> {
    let damaged = |error: gif::DecodingError| RasterError::damaged(path, Format::Gif, error);
    let mut decoder = gif_options(path, bytes, true)?;
    let size = Size::new(usize::from(decoder.width()), usize::from(decoder.height()));
    let (mut frames, mut is_plain) = (0, true);
    while let Some(frame) = decoder.next_frame_info().map_err(damaged)? {
        is_plain &= (frame.left, frame.top) == (0, 0);
        is_plain &=
            Size::new(usize::from(frame.width), usize::from(frame.height)) == size && frame.transparent.is_none();
        frames += 1;
    }
    let is_indexed = is_plain && frames == 1;
    let colour = if is_indexed { Colour::Index } else { Colour::RgbAlpha };
    let mut header = Header::new(Format::Gif, size, colour, SampleType::Unsigned(8));
    header.pages = frames;
    if frames == 0 {
        return Err(RasterError::damaged(path, Format::Gif, "it has no frame"));
    }
    Ok((header, is_indexed))
}

fn gif(path: &Path, bytes: &[u8], page: usize) -> Result<Raster> {
    let (header, is_indexed) = gif_header(path, bytes)?;
    if is_indexed {
        let mut decoder = gif_options(path, bytes, false)?;
        let global: Vec<u8> = decoder.global_palette().unwrap_or(&[]).to_vec();
        let frame = decoder.read_next_frame().map_err(|e| RasterError::damaged(path, Format::Gif, e))?;
        let frame = frame.ok_or_else(|| RasterError::damaged(path, Format::Gif, "it has no frame"))?;
        let colours = frame.palette.as_deref().unwrap_or(&global);
        let palette = colours.chunks_exact(3).map(|c| [c[0], c[1], c[2], 255]).collect();
        return Ok(Raster { header, samples: Samples::U8(frame.buffer.to_vec()), palette });
    }
    use image::AnimationDecoder;
    let damaged = |error: image::ImageError| RasterError::damaged(path, Format::Gif, error);
    let decoder = image::codecs::gif::GifDecoder::new(Cursor::new(bytes)).map_err(damaged)?;
    let frame = decoder.into_frames().nth(page);
    let frame =
        frame.ok_or_else(|| RasterError::damaged(path, Format::Gif, format!("it has no frame {}", page + 1)))?;
    let samples = frame.map_err(damaged)?.into_buffer().into_raw();
    Ok(Raster { header, samples: Samples::U8(samples), palette: Vec::new() })
}
