//! Decodes strips and tiles to values: decompresses them, undoes predictors and unpacks bits.

use std::io::Read;

use half::f16;
use jpeg_decoder::{ColorTransform, PixelFormat};

use super::ifd::TiffSource;
use super::page::TiffPage;
use crate::raster::{Result, SampleType, Samples};

/// One strip or tile.
struct Chunk {
    /// Columns, including the padding of tiles at the edge.
    columns: usize,
    /// Rows.
    rows: usize,
    /// The bytes as stored.
    bytes: Vec<u8>,
}

impl TiffPage {
    /// The samples, `[rows, columns, channels]`, of the image stored `behind` images after the page's own (0: its own).
    pub fn samples(&self, source: &mut TiffSource, behind: usize) -> Result<Samples> {
        let total = self.width * self.height * self.samples;
        let (across, down) = (self.width.div_ceil(self.chunk.0), self.height.div_ceil(self.chunk.1));
        let planes = if self.is_planar { self.samples } else { 1 };
        if self.offsets.len() < across * down * planes
            || self.lengths.len() < self.offsets.len().min(across * down * planes)
        {
            return Err(source.damaged("it names too few strips or tiles"));
        }
        let skip = behind as u64 * self.chunk_bytes(self.height) as u64;
        let in_chunk = self.samples_in_chunk();
        let mut samples = zeros(self.sample_type, total);
        for plane in 0..planes {
            for number in 0..across * down {
                let place = plane * across * down + number;
                let (left, top) = (number % across * self.chunk.0, number / across * self.chunk.1);
                let rows = if self.is_tiled { self.chunk.1 } else { self.chunk.1.min(self.height - top) };
                let (at, length) = (self.offsets[place] + skip, self.lengths[place]);
                // A tile that was never written is empty.
                let bytes = if length == 0 { Vec::new() } else { source.bytes(at, length)? };
                let chunk = Chunk { columns: self.chunk.0, rows, bytes };
                let decoded = decoded(source, self, chunk)?;
                for row in 0..rows.min(self.height - top) {
                    let columns = self.chunk.0.min(self.width - left);
                    let values = decoded.row(self, row);
                    let to = ((top + row) * self.width + left) * self.samples;
                    if self.is_planar {
                        (0..columns).for_each(|x| samples.set(to + x * self.samples + plane, values[x]));
                    } else {
                        (0..columns * in_chunk).for_each(|i| samples.set(to + i, values[i]));
                    }
                }
            }
        }
        Ok(samples)
    }
}

/// Samples of a page's type, all 0.
fn zeros(sample_type: SampleType, total: usize) -> Samples {
    match sample_type {
        SampleType::Unsigned(..=8) => Samples::U8(vec![0; total]),
        SampleType::Unsigned(..=16) => Samples::U16(vec![0; total]),
        SampleType::Unsigned(..=32) => Samples::U32(vec![0; total]),
        SampleType::Signed(..=32) => Samples::I32(vec![0; total]),
        SampleType::Float(..=32) => Samples::F32(vec![0.0; total]),
        SampleType::Unsigned(_) | SampleType::Signed(_) | SampleType::Float(_) => Samples::F64(vec![0.0; total]),
    }
}

/// A decompressed chunk. A row of values is made of it at a time: as numbers of 64 bits, a chunk of bytes would take eight
/// times as much memory.
struct DecodedChunk {
    columns: usize,
    bytes: Vec<u8>,
    kind: ChunkContent,
}

/// What the bytes of a chunk are.
enum ChunkContent {
    /// Nothing: the chunk was never written, and all its values are 0.
    Empty,
    /// Values as stored.
    Stored {
        is_little_endian: bool,
        /// Whether each value, an integer, is the difference from the one before.
        has_differences: bool,
    },
    /// YCbCr with fewer chroma values than luma values.
    Subsampled,
    /// Values of one byte.
    Bytes,
}

fn decoded(source: &TiffSource, page: &TiffPage, chunk: Chunk) -> Result<DecodedChunk> {
    let columns = chunk.columns;
    if chunk.bytes.is_empty() {
        return Ok(DecodedChunk { columns, bytes: Vec::new(), kind: ChunkContent::Empty });
    }
    if matches!(page.compression, 6 | 7) {
        let bytes = jpeg(page, &chunk).map_err(|reason| source.damaged(reason))?;
        return Ok(DecodedChunk { columns, bytes, kind: ChunkContent::Bytes });
    }
    let stride = page.samples_in_chunk();
    let is_subsampled = page.photometric == 6 && page.subsampling != (1, 1) && stride == 3;
    let (across, down) = page.subsampling;
    let wanted = if is_subsampled {
        columns.div_ceil(across) * chunk.rows.div_ceil(down) * (across * down + 2)
    } else {
        page.row_bytes() * chunk.rows
    };
    let mut bytes = decompress(page, chunk, wanted).map_err(|reason| source.damaged(reason))?;
    if bytes.len() < wanted {
        return Err(source.damaged("a strip or tile ends too early"));
    }
    bytes.truncate(wanted);
    let is_predicted = matches!(page.compression, 5 | 8 | 32946 | 50000);
    let kind = if is_subsampled {
        ChunkContent::Subsampled
    } else if is_predicted && page.predictor == 3 && matches!(page.bits, 16 | 24 | 32 | 64) {
        let row = page.row_bytes();
        bytes.chunks_exact_mut(row).for_each(|row| undo_float_predictor(row, stride, page.bits as usize / 8));
        // The bytes are now most significant first, whatever the file's order.
        ChunkContent::Stored { is_little_endian: false, has_differences: false }
    } else {
        let is_little_endian = source.is_little_endian;
        let mut has_differences = is_predicted && page.predictor == 2;
        if has_differences && matches!(page.sample_type, SampleType::Float(_)) {
            let (row, size) = (page.row_bytes(), page.bits as usize / 8);
            bytes.chunks_exact_mut(row).for_each(|row| undo_predictor_of_bits(row, stride, size, is_little_endian));
            has_differences = false;
        }
        ChunkContent::Stored { is_little_endian, has_differences }
    };
    Ok(DecodedChunk { columns, bytes, kind })
}

impl DecodedChunk {
    /// The values of row `y`, `[columns, samples of a pixel in the chunk]`.
    fn row(&self, page: &TiffPage, y: usize) -> Vec<f64> {
        let stride = page.samples_in_chunk();
        let in_row = self.columns * stride;
        match self.kind {
            ChunkContent::Empty => vec![0.0; in_row],
            ChunkContent::Bytes => self.bytes[y * in_row..][..in_row].iter().map(|byte| f64::from(*byte)).collect(),
            ChunkContent::Subsampled => subsampled(&self.bytes, page, self.columns, y),
            ChunkContent::Stored { is_little_endian, has_differences } => {
                let row = page.row_bytes();
                let mut values = numbers(&self.bytes[y * row..][..row], page, in_row, is_little_endian);
                if has_differences {
                    undo_predictor(&mut values, page, stride);
                }
                if page.photometric == 6 && page.bits == 8 && stride == 3 {
                    values.chunks_exact_mut(3).for_each(|pixel| {
                        let rgb = rgb([pixel[0], pixel[1], pixel[2]]);
                        pixel.copy_from_slice(&rgb);
                    });
                }
                values
            }
        }
    }
}

fn decompress(
    page: &TiffPage,
    Chunk { columns, rows, bytes: mut source }: Chunk,
    wanted: usize,
) -> std::result::Result<Vec<u8>, String> {
    if page.is_reversed {
        source.iter_mut().for_each(|byte| *byte = byte.reverse_bits());
    }
    let limit = wanted as u64;
    let mut bytes = Vec::new();
    match page.compression {
        5 => bytes = lzw(&source, wanted)?,
        8 | 32946 => {
            let read = flate2::read::ZlibDecoder::new(source.as_slice()).take(limit).read_to_end(&mut bytes);
            read.map_err(|error| error.to_string())?;
        }
        50000 => {
            let decoder = zstd::stream::read::Decoder::new(source.as_slice()).map_err(|error| error.to_string())?;
            decoder.take(limit).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        }
        32773 => bytes = pack_bits(&source, wanted).ok_or("its runs end too early")?,
        3 | 4 => bytes = fax(page.compression, &source, [columns, rows], wanted)?,
        _ => bytes = source,
    }
    Ok(bytes)
}

fn lzw(source: &[u8], wanted: usize) -> std::result::Result<Vec<u8>, String> {
    use weezl::{BitOrder, LzwStatus, decode::Decoder};
    // Old writers begin with the least significant bit.
    let is_old = source.len() > 1 && source[0] == 0 && source[1] & 1 == 1;
    let mut decoder =
        if is_old { Decoder::new(BitOrder::Lsb, 8) } else { Decoder::with_tiff_size_switch(BitOrder::Msb, 8) };
    let mut bytes = vec![0; wanted];
    let (mut read, mut written) = (0, 0);
    while written < wanted {
        let step = decoder.decode_bytes(&source[read..], &mut bytes[written..]);
        (read, written) = (read + step.consumed_in, written + step.consumed_out);
        match step.status {
            Ok(LzwStatus::Ok) if step.consumed_in + step.consumed_out > 0 => {}
            Ok(_) => break,
            Err(error) => return Err(error.to_string()),
        }
    }
    bytes.truncate(written);
    Ok(bytes)
}

fn pack_bits(mut source: &[u8], wanted: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(wanted);
    while bytes.len() < wanted {
        let (&head, rest) = source.split_first()?;
        source = rest;
        match head as i8 {
            count @ 0.. => {
                let (literal, rest) = source.split_at_checked(count as usize + 1)?;
                bytes.extend_from_slice(literal);
                source = rest;
            }
            -128 => {}
            count => {
                let (&byte, rest) = source.split_first()?;
                bytes.extend(std::iter::repeat_n(byte, usize::from(count.unsigned_abs()) + 1));
                source = rest;
            }
        }
    }
    Some(bytes)
}

/// Decodes one-dimensional CCITT Group 3, or Group 4, to one bit per pixel, 1 for black.
fn fax(
    compression: u64,
    source: &[u8],
    [columns, rows]: [usize; 2],
    wanted: usize,
) -> std::result::Result<Vec<u8>, String> {
    use fax::decoder::{DecodeStatus, Group3Decoder, Group4Decoder, pels};
    let width = u16::try_from(columns).map_err(|_| "a fax of more than 65,535 columns".to_owned())?;
    let row = columns.div_ceil(8);
    let mut bytes: Vec<u8> = Vec::with_capacity(wanted);
    let mut add = |transitions: &[u16]| {
        let mut line = vec![0; row];
        for (x, colour) in pels(transitions, width).enumerate() {
            if colour == fax::Color::Black {
                line[x / 8] |= 0x80 >> (x % 8);
            }
        }
        bytes.extend(line);
    };
    let reader = source.iter().map(|byte| Ok::<u8, std::convert::Infallible>(*byte));
    if compression == 4 {
        let mut decoder = Group4Decoder::new(reader, width).map_err(|error| format!("{error:?}"))?;
        for _ in 0..rows {
            match decoder.advance().map_err(|error| format!("{error:?}"))? {
                DecodeStatus::End => break,
                DecodeStatus::Incomplete => add(decoder.transition()),
            }
        }
    } else {
        let mut decoder = Group3Decoder::new(reader).map_err(|error| format!("{error:?}"))?;
        for _ in 0..rows {
            let status = decoder.advance();
            // The last line may lack its end-of-line code, but its runs are decoded all the same.
            add(decoder.transitions());
            if !matches!(status, Ok(DecodeStatus::Incomplete)) {
                break;
            }
        }
    }
    // Lines left out at the end are white.
    bytes.resize(wanted, 0);
    Ok(bytes)
}

/// Unpacks the values of a row, `in_row` of them, of the page's sample type.
fn numbers(bytes: &[u8], page: &TiffPage, in_row: usize, is_little_endian: bool) -> Vec<f64> {
    let bits = page.bits as usize;
    let is_float = matches!(page.sample_type, SampleType::Float(_));
    let is_signed = matches!(page.sample_type, SampleType::Signed(_));
    if !matches!(bits, 8 | 16 | 32 | 64) && !is_float {
        // Most significant bit first, in either byte order.
        let (mut waiting, mut have, mut bytes) = (0u64, 0, bytes.iter());
        let value = |_| {
            while have < bits {
                waiting = waiting << 8 | bytes.next().map_or(0, |byte| u64::from(*byte));
                have += 8;
            }
            have -= bits;
            ((waiting >> have) & ((1 << bits) - 1)) as f64
        };
        return (0..in_row).map(value).collect();
    }
    let number = |cell: &[u8]| {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        let raw = if is_little_endian { cell.iter().rev().fold(0, add) } else { cell.iter().fold(0, add) };
        match (is_float, is_signed, bits) {
            (true, _, 16) => f64::from(f16::from_bits(raw as u16)),
            // 24-bit floats have a 7-bit exponent.
            (true, _, 24) => float_24(raw as u32),
            (true, _, 32) => f64::from(f32::from_bits(raw as u32)),
            (true, ..) => f64::from_bits(raw),
            (_, true, 8) => f64::from(raw as u8 as i8),
            (_, true, 16) => f64::from(raw as u16 as i16),
            (_, true, 32) => f64::from(raw as u32 as i32),
            (_, true, _) => raw as i64 as f64,
            _ => raw as f64,
        }
    };
    bytes.chunks_exact(bits / 8).map(number).collect()
}

/// Converts a 24-bit float: a sign bit, 7 exponent bits with bias 63, 16 fraction bits.
fn float_24(raw: u32) -> f64 {
    let sign = if raw >> 23 & 1 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (raw >> 16 & 0x7f, f64::from(raw & 0xffff) / 65536.0);
    match exponent {
        0 => sign * fraction * 2f64.powi(-62),
        0x7f if fraction == 0.0 => sign * f64::INFINITY,
        0x7f => f64::NAN,
        _ => sign * (1.0 + fraction) * 2f64.powi(exponent as i32 - 63),
    }
}

/// Undoes horizontal differencing (TIFF 6.0, section 14) of integers: sums up a row, with overflow wrapping at the bit
/// depth.
fn undo_predictor(row: &mut [f64], page: &TiffPage, stride: usize) {
    let range = 2f64.powi(page.bits as i32);
    let wrap: Box<dyn Fn(f64) -> f64> = match page.sample_type {
        SampleType::Unsigned(_) => Box::new(move |value: f64| value.rem_euclid(range)),
        SampleType::Signed(_) => Box::new(move |value: f64| (value + range / 2.0).rem_euclid(range) - range / 2.0),
        SampleType::Float(_) => unreachable!("those of floats are undone in their bits"),
    };
    for place in stride..row.len() {
        row[place] = wrap(row[place] + row[place - stride]);
    }
}

/// Undoes horizontal differencing of floats of `size` bytes, whose bits were subtracted as integers. This is done
/// before they are numbers: a difference may have the bits of a NaN, of which a conversion need not keep all.
fn undo_predictor_of_bits(row: &mut [u8], stride: usize, size: usize, is_little_endian: bool) {
    for at in (stride * size..row.len()).step_by(size) {
        let before = at - stride * size;
        let mut carry = 0u16;
        for significance in 0..size {
            let place = if is_little_endian { significance } else { size - 1 - significance };
            let sum = u16::from(row[before + place]) + u16::from(row[at + place]) + carry;
            (row[at + place], carry) = (sum as u8, sum >> 8);
        }
    }
}

/// Undoes the floating-point predictor (Adobe's technical note 3): the bytes are stored as differences, grouped by
/// significance, the most significant first.
fn undo_float_predictor(row: &mut [u8], stride: usize, size: usize) {
    for place in stride..row.len() {
        row[place] = row[place].wrapping_add(row[place - stride]);
    }
    let apart = row.to_vec();
    let count = row.len() / size;
    for sample in 0..count {
        for byte in 0..size {
            row[sample * size + byte] = apart[byte * count + sample];
        }
    }
}

/// YCbCr as RGB, both 0 to 255 (ITU-R BT.601, full range).
fn rgb([y, b, r]: [f64; 3]) -> [f64; 3] {
    let (b, r) = (b - 128.0, r - 128.0);
    [y + 1.402 * r, y - 0.344_136 * b - 0.714_136 * r, y + 1.772 * b].map(|v| (v + 0.5).floor().clamp(0.0, 255.0))
}

/// A row of subsampled YCbCr as RGB: each unit holds the luma of its pixels, followed by the Cb and Cr that they share.
fn subsampled(bytes: &[u8], page: &TiffPage, columns: usize, y: usize) -> Vec<f64> {
    let (across, down) = page.subsampling;
    let (units, size) = (columns.div_ceil(across), across * down + 2);
    let pixel = |x: usize| {
        let unit = &bytes[(y / down * units + x / across) * size..][..size];
        let brightness = unit[y % down * across + x % across];
        rgb([brightness, unit[size - 2], unit[size - 1]].map(f64::from))
    };
    (0..columns).flat_map(pixel).collect()
}

/// Decodes a JPEG strip or tile, after prepending the page's tables: `[rows, columns, channels]`.
fn jpeg(page: &TiffPage, chunk: &Chunk) -> std::result::Result<Vec<u8>, String> {
    if !chunk.bytes.starts_with(&[0xff, 0xd8]) {
        return Err("an old-style JPEG without a stream of its own".to_owned());
    }
    let tables = page.jpeg_tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(&page.jpeg_tables);
    let stream = if tables.len() > 2 { [tables, &chunk.bytes[2..]].concat() } else { chunk.bytes.clone() };
    let mut decoder = jpeg_decoder::Decoder::new(stream.as_slice());
    decoder.read_info().map_err(|error| error.to_string())?;
    let info = decoder.info().ok_or("no frame header")?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    // A frame may be a little larger than its chunk, and that of the last strip as large as the others'; one that
    // claims to be far larger is not decoded.
    let full = page.chunk.1;
    if width * height > 4 * chunk.columns * full {
        return Err(format!("a JPEG of {width} × {height} in a strip or tile of {} × {full}", chunk.columns));
    }
    let channels = match info.pixel_format {
        PixelFormat::L8 | PixelFormat::L16 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => 4,
    };
    if width < chunk.columns || channels != page.samples_in_chunk() || info.pixel_format == PixelFormat::L16 {
        return Err(format!("a JPEG tile of {width} × {height} with {channels} channels"));
    }
    if channels == 3 {
        decoder.set_color_transform(if page.photometric == 2 { ColorTransform::RGB } else { ColorTransform::YCbCr });
    }
    let decoded = decoder.decode().map_err(|error| error.to_string())?;
    let row = chunk.columns * channels;
    let mut values: Vec<u8> =
        (0..chunk.rows.min(height)).flat_map(|y| &decoded[y * width * channels..][..row]).copied().collect();
    if channels == 4 {
        // The decoder gives CMYK as Adobe stores it, with 255 for no ink.
        values.iter_mut().for_each(|value| *value = 255 - *value);
    }
    values.resize(row * chunk.rows, 0);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_of_floats_are_added_as_bits_in_either_byte_order() {
        let (first, second) = (1f32.to_bits(), 0.6f32.to_bits());
        let stored = [first, second.wrapping_sub(first)];
        assert!(f32::from_bits(stored[1]).is_nan(), "a conversion would not keep it");
        let mut little = stored.map(u32::to_le_bytes).concat();
        undo_predictor_of_bits(&mut little, 1, 4, true);
        assert_eq!(little, [first, second].map(u32::to_le_bytes).concat());
        let mut big = stored.map(u32::to_be_bytes).concat();
        undo_predictor_of_bits(&mut big, 1, 4, false);
        assert_eq!(big, [first, second].map(u32::to_be_bytes).concat());
    }
}
