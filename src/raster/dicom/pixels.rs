//! The stored values of one frame, from the file's bytes or from its decoded fragments.

use std::path::Path;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Layout;
use super::codecs::{self, DecodedFrame};
use super::elements::{File, int};
use crate::raster::{Format, RasterError, Result, Samples};

/// The samples of a frame, interleaved, colours as RGB.
pub(super) fn frame(path: &Path, file: &File, layout: &Layout, frame: usize) -> Result<Samples> {
    let damaged = |reason: &str| RasterError::damaged(path, Format::Dicom, reason);
    let is_fragments = file.pixels.length.is_none();
    if layout.is_float {
        return floats(file, layout, frame).ok_or_else(|| damaged("the file ends before its pixels do"));
    }
    let values = if is_fragments {
        let bytes =
            codecs::fragment(file, layout, frame).ok_or_else(|| damaged("the frame is not in its fragments"))?;
        match codecs::decode(path, file, layout, &bytes)? {
            DecodedFrame::Values(values) => values,
            DecodedFrame::Bytes(bytes) => {
                unpack(&bytes, layout, 0, false).ok_or_else(|| damaged("the frame ends before its pixels do"))?
            }
        }
    } else {
        native(file, layout, frame).ok_or_else(|| damaged("the file ends before its pixels do"))?
    };
    let values = if layout.samples_per_pixel == 3 { to_rgb(file, layout, values) } else { values };
    Ok(narrowest(values, layout))
}

/// Reads floating-point pixels, which are never compressed.
fn floats(file: &File, layout: &Layout, frame: usize) -> Option<Samples> {
    let samples = layout.samples();
    let is_double = file.pixels.tag == tags::DOUBLE_FLOAT_PIXEL_DATA;
    let size = if is_double { 8 } else { 4 };
    let length = (samples * size) as u64;
    let bytes = file.bytes(file.pixels.at + frame as u64 * length, length).ok()?;
    if bytes.len() as u64 != length {
        return None;
    }
    Some(if is_double {
        let number = |b: &[u8]| {
            let b: [u8; 8] = b.try_into().unwrap_or_default();
            if file.is_big_endian { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) }
        };
        Samples::F64(bytes.chunks_exact(8).map(number).collect())
    } else {
        let number = |b: &[u8]| {
            let b: [u8; 4] = b.try_into().unwrap_or_default();
            if file.is_big_endian { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }
        };
        Samples::F32(bytes.chunks_exact(4).map(number).collect())
    })
}

/// Reads uncompressed pixels; frames are packed without padding, to the bit.
fn native(file: &File, layout: &Layout, frame: usize) -> Option<Vec<i64>> {
    let is_halved = layout.photometric == "YBR_FULL_422" && layout.samples_per_pixel == 3;
    let samples = if is_halved { layout.pixels() as u64 * 2 } else { layout.samples() as u64 };
    let bits = samples * u64::from(layout.bits_allocated);
    let first_bit = bits * frame as u64;
    let (from, to) = (first_bit / 8, (first_bit + bits).div_ceil(8));
    let bytes = if file.is_big_endian && layout.bits_allocated <= 8 && file.pixels.vr == VR::OW {
        // Bytes are stored in 16-bit words, with the second byte first.
        let start = from & !1;
        let mut words = file.bytes(file.pixels.at + start, to.next_multiple_of(2) - start).ok()?;
        words.chunks_exact_mut(2).for_each(|pair| pair.swap(0, 1));
        words.get((from - start) as usize..(to - start) as usize)?.to_vec()
    } else {
        file.bytes(file.pixels.at + from, to - from).ok()?
    };
    if (bytes.len() as u64) < to - from {
        return None;
    }
    if is_halved {
        // Two pixels share their colour: Y Y Cb Cr.
        let pixels = bytes.chunks_exact(4).flat_map(|q| [[q[0], q[2], q[3]], [q[1], q[2], q[3]]]);
        return Some(pixels.flatten().map(i64::from).collect());
    }
    let values = unpack(&bytes, layout, (first_bit % 8) as usize, file.is_big_endian)?;
    if !layout.is_planar || layout.samples_per_pixel == 1 {
        return Some(values);
    }
    let (pixels, planes) = (layout.pixels(), layout.samples_per_pixel);
    Some(
        (0..pixels).flat_map(|pixel| (0..planes).map(move |plane| plane * pixels + pixel)).map(|i| values[i]).collect(),
    )
}

/// Unpacks stored values of `bits_allocated` bits each; `None` if there are too few bytes.
fn unpack(bytes: &[u8], layout: &Layout, first_bit: usize, is_big_endian: bool) -> Option<Vec<i64>> {
    let samples = layout.samples();
    let bits = layout.bits_allocated as usize;
    if (bytes.len() * 8).saturating_sub(first_bit) < samples * bits {
        return None;
    }
    if !bits.is_multiple_of(8) {
        // Packed, least significant bit first.
        let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
        let value = |i: usize| (0..bits).fold(0, |value, b| value | bit(first_bit + i * bits + b) << b);
        return Some((0..samples).map(|i| layout.stored(value(i))).collect());
    }
    let size = bits / 8;
    let value = |chunk: &[u8]| {
        let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
        let raw = if is_big_endian { chunk.iter().fold(0, fold) } else { chunk.iter().rev().fold(0, fold) };
        layout.stored(raw)
    };
    Some(bytes.chunks_exact(size).take(samples).map(value).collect())
}

impl Layout {
    /// A stored value out of its cell: the bits up to the high bit, signed or not.
    pub(super) fn stored(&self, cell: u64) -> i64 {
        let bits = self.bits_stored;
        let value = cell >> (self.high_bit + 1 - bits);
        let value = if bits == 64 { value } else { value & ((1 << bits) - 1) };
        if self.is_signed { ((value << (64 - bits)) as i64) >> (64 - bits) } else { value as i64 }
    }
}

/// Converts YBR_FULL to RGB (DICOM PS3.3, C.7.6.3.1.2). Other colours are left alone, as are frames
/// whose codec returns RGB.
fn to_rgb(file: &File, layout: &Layout, values: Vec<i64>) -> Vec<i64> {
    let is_ybr = matches!(layout.photometric.as_str(), "YBR_FULL" | "YBR_FULL_422");
    if !is_ybr || layout.bits_stored != 8 || codecs::gives_rgb(&file.syntax) {
        return values;
    }
    let convert = |p: &[i64]| {
        let (y, b, r) = (p[0] as f64, p[1] as f64 - 128.0, p[2] as f64 - 128.0);
        [y + 1.402 * r, y - 0.344_136 * b - 0.714_136 * r, y + 1.772 * b]
    };
    values.chunks_exact(3).flat_map(convert).map(|v| (v + 0.5).floor().clamp(0.0, 255.0) as i64).collect()
}

fn narrowest(values: Vec<i64>, layout: &Layout) -> Samples {
    // Chosen by the declared layout, not by the values, so that all frames of a file have the same type.
    match (layout.is_signed, layout.bits_stored) {
        (false, ..=8) => Samples::U8(values.into_iter().map(|v| v as u8).collect()),
        (false, ..=16) => Samples::U16(values.into_iter().map(|v| v as u16).collect()),
        (false, ..=32) => Samples::U32(values.into_iter().map(|v| v as u32).collect()),
        (true, ..=32) => Samples::I32(values.into_iter().map(|v| v as i32).collect()),
        _ => Samples::F64(values.into_iter().map(|v| v as f64).collect()),
    }
}

/// The palette's colours by stored value; `None` if the palette is segmented or broken.
pub(super) fn palette(object: &InMemDicomObject, layout: &Layout) -> Option<Vec<[u8; 4]>> {
    let channels = [
        (tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::RED_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::GREEN_PALETTE_COLOR_LOOKUP_TABLE_DATA),
        (tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DESCRIPTOR, tags::BLUE_PALETTE_COLOR_LOOKUP_TABLE_DATA),
    ];
    let table = |(descriptor, data)| {
        let described = object.get(descriptor)?.to_multi_int::<i64>().ok()?;
        let [entries, first, bits] = described.get(..3)?.try_into().ok()?;
        let entries = if entries == 0 { 65536 } else { entries as usize };
        let bytes = object.get(data)?.to_bytes().ok()?;
        let values: Vec<u8> = if bits == 8 && bytes.len() <= entries + 1 {
            bytes.to_vec()
        } else {
            // The upper 8 of 16 bits are used; some 8-bit palettes store each entry in 16 bits.
            let at = usize::from(bits > 8);
            bytes.chunks_exact(2).map(|pair| pair[at]).collect()
        };
        Some((first, values))
    };
    let tables: Vec<(i64, Vec<u8>)> = channels.into_iter().map(table).collect::<Option<_>>()?;
    if int(object, tags::PIXEL_REPRESENTATION) == Some(1) || tables.iter().any(|(_, values)| values.is_empty()) {
        return None;
    }
    let colour = |value: i64| {
        let channel =
            |(first, values): &(i64, Vec<u8>)| values[((value - first).max(0) as usize).min(values.len() - 1)];
        [channel(&tables[0]), channel(&tables[1]), channel(&tables[2]), 255]
    };
    Some((0..1i64 << layout.bits_stored.min(16)).map(colour).collect())
}
