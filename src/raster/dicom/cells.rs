//! From the cells of a frame to its stored values.

use super::Layout;
use crate::raster::Samples;

impl Layout {
    /// Unpacks stored values of `bits_allocated` bits each; `None` if there are too few bytes.
    pub(super) fn unpack(&self, bytes: &[u8], first_bit: usize, is_big_endian: bool) -> Option<Samples> {
        let samples = self.samples();
        let bits = self.bits_allocated as usize;
        if (bytes.len() * 8).saturating_sub(first_bit) < samples * bits {
            return None;
        }
        if !bits.is_multiple_of(8) {
            // Packed, least significant bit first.
            let bit = |at: usize| u64::from(bytes[at / 8] >> (at % 8) & 1);
            let value = |i: usize| (0..bits).fold(0, |value, b| value | bit(first_bit + i * bits + b) << b);
            return Some(self.collect((0..samples).map(|i| self.stored(value(i)))));
        }
        let size = bits / 8;
        let value = |chunk: &[u8]| {
            let fold = |value: u64, byte: &u8| value << 8 | u64::from(*byte);
            let raw = if is_big_endian { chunk.iter().fold(0, fold) } else { chunk.iter().rev().fold(0, fold) };
            self.stored(raw)
        };
        Some(self.collect(bytes.chunks_exact(size).take(samples).map(value)))
    }

    /// A stored value out of its cell: the bits up to the high bit, signed or not.
    pub(super) fn stored(&self, cell: u64) -> i64 {
        let bits = self.bits_stored;
        let value = cell >> (self.high_bit + 1 - bits);
        let value = if bits == 64 { value } else { value & ((1 << bits) - 1) };
        if self.is_signed { ((value << (64 - bits)) as i64) >> (64 - bits) } else { value as i64 }
    }

    /// Stored values in the narrowest type for the layout. The type does not depend on the values, so that all frames of
    /// a file have the same.
    pub(super) fn collect(&self, values: impl Iterator<Item = i64>) -> Samples {
        match (self.is_signed, self.bits_stored) {
            (false, ..=8) => Samples::U8(values.map(|v| v as u8).collect()),
            (false, ..=16) => Samples::U16(values.map(|v| v as u16).collect()),
            (false, ..=32) => Samples::U32(values.map(|v| v as u32).collect()),
            (true, ..=32) => Samples::I32(values.map(|v| v as i32).collect()),
            _ => Samples::F64(values.map(|v| v as f64).collect()),
        }
    }
}
