//! The stored values of one frame, from the file's bytes or from its decoded fragments.

use std::path::Path;

use dicom_core::VR;
use dicom_dictionary_std::tags;
use dicom_object::InMemDicomObject;

use super::Layout;
use super::codecs;
use super::elements::{File, int};
use crate::raster::{Format, RasterError, Result, Samples};

/// The samples of a frame, interleaved, colours as RGB.
pub(super) fn frame(path: &Path, file: &File, layout: &Layout, frame: usize) -> Result<Samples> {
    let damaged = |reason: &str| RasterError::damaged(path, Format::Dicom, reason);
    let is_fragments = file.pixels.length.is_none();
    if layout.is_float {
        return floats(file, layout, frame).ok_or_else(|| damaged("the file ends before its pixels do"));
    }
    let samples = if is_fragments {
        let bytes =
            codecs::fragment(file, layout, frame).ok_or_else(|| damaged("the frame is not in its fragments"))?;
        codecs::decode(path, file, layout, bytes)?
    } else {
        native(file, layout, frame).ok_or_else(|| damaged("the file ends before its pixels do"))?
    };
    Ok(to_rgb(file, layout, samples))
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
fn native(file: &File, layout: &Layout, frame: usize) -> Option<Samples> {
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
        return Some(layout.collect(pixels.flatten().map(i64::from)));
    }
    let samples = layout.unpack(&bytes, (first_bit % 8) as usize, file.is_big_endian)?;
    if !layout.is_planar || layout.samples_per_pixel == 1 {
        return Some(samples);
    }
    let (pixels, planes) = (layout.pixels(), layout.samples_per_pixel);
    Some(samples.reordered(1, |place| place % planes * pixels + place / planes))
}

/// Converts 8-bit YBR_FULL to RGB (DICOM PS3.3, C.7.6.3.1.2). Other colours are left alone, as are frames whose codec
/// returns RGB.
fn to_rgb(file: &File, layout: &Layout, mut samples: Samples) -> Samples {
    let is_ybr = matches!(layout.photometric.as_str(), "YBR_FULL" | "YBR_FULL_422") && layout.samples_per_pixel == 3;
    if is_ybr
        && layout.bits_stored == 8
        && !codecs::gives_rgb(&file.syntax)
        && let Samples::U8(values) = &mut samples
    {
        for pixel in values.chunks_exact_mut(3) {
            let [y, b, r] = [f64::from(pixel[0]), f64::from(pixel[1]) - 128.0, f64::from(pixel[2]) - 128.0];
            let rgb = [y + 1.402 * r, y - 0.344_136 * b - 0.714_136 * r, y + 1.772 * b];
            pixel.copy_from_slice(&rgb.map(|v| (v + 0.5).floor().clamp(0.0, 255.0) as u8));
        }
    }
    samples
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
