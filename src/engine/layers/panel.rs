//! Matrices in the layout that tiles read: columns in blocks of one or two vectors, with each block's rows stored
//! consecutively.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

/// Numbers aligned to a cache line, so that no vector straddles two.
#[derive(Clone, Debug, Default)]
pub struct Aligned {
    values: Vec<f32>,
    start: usize,
    length: usize,
}

impl Aligned {
    /// Makes it `length` zeros.
    pub fn reset(&mut self, length: usize) {
        self.values.clear();
        self.values.resize(length + 16, 0.0);
        self.start = self.values.as_ptr().align_offset(64).min(16);
        self.length = length;
    }

    /// The numbers.
    pub fn get(&self) -> &[f32] {
        &self.values[self.start..][..self.length]
    }

    /// The numbers, to write.
    pub fn get_mut(&mut self) -> &mut [f32] {
        &mut self.values[self.start..][..self.length]
    }
}

/// A block of columns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    /// Its first column; also, times the number of rows, where its panel begins.
    pub first: usize,
    /// Vectors in each of its rows: 1 or 2.
    pub vectors: usize,
}

/// The blocks of `columns` columns: pairs of vectors as long as they fill, then single vectors, the last one padded.
pub fn blocks(columns: usize) -> Vec<Block> {
    let lanes = lanes();
    let pairs = columns / (2 * lanes);
    let pair = |i| Block { first: i * 2 * lanes, vectors: 2 };
    let single = |first| Block { first, vectors: 1 };
    (0..pairs).map(pair).chain((pairs * 2 * lanes..columns).step_by(lanes).map(single)).collect()
}

/// Floats in one vector of this processor.
pub fn lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// A matrix cut into panels, padded with zeros to whole vectors.
#[derive(Clone, Debug)]
pub struct Panels {
    rows: usize,
    /// Columns of the matrix.
    pub columns: usize,
    values: Aligned,
}

impl Panels {
    /// The matrix whose row `r` holds every `step`th number of `source` from `offset(r)`.
    pub fn gather(
        rows: usize,
        columns: usize,
        source: &[f32],
        offset: impl Fn(usize) -> usize + Sync,
        step: usize,
    ) -> Self {
        let (blocks, lanes) = (blocks(columns), lanes());
        let mut values = Aligned::default();
        values.reset(rows * columns.next_multiple_of(lanes));
        let mut left = values.get_mut();
        let mut panels = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (panel, rest) = left.split_at_mut(rows * block.vectors * lanes);
            panels.push((block, panel));
            left = rest;
        }
        panels.into_par_iter().for_each(|(block, panel)| {
            let width = block.vectors * lanes;
            let used = width.min(columns - block.first);
            for (row, out) in panel.chunks_exact_mut(width).enumerate() {
                let (out, source) = (&mut out[..used], &source[offset(row) + block.first * step..]);
                if step == 1 {
                    out.copy_from_slice(&source[..used]);
                } else {
                    out.iter_mut().zip(source.iter().step_by(step)).for_each(|(out, value)| *out = *value);
                }
            }
        });
        Self { rows, columns, values }
    }

    /// The rows of one block, from its first.
    pub fn block(&self, block: Block) -> &[f32] {
        &self.values.get()[block.first * self.rows..]
    }
}
