//! The innermost loop: a tile of sums held in registers, with one row per pixel or weight.
//!
//! A tile has `P` rows of `V` vectors. Each step loads one panel row of `V` vectors and one number per tile row, so
//! that a step of 12 × 2 vectors makes 24 multiply-adds from 14 loads: arithmetic is the limit, not memory.

use pulp::Simd;

/// A tile of sums.
pub type SimdTile<S, const P: usize, const V: usize> = [[<S as Simd>::f32s; V]; P];

/// Maximum number of rows of a tile with `vectors` vectors per row that stays in registers.
pub const fn most_rows<S: Simd>(vectors: usize) -> usize {
    (if S::REGISTER_COUNT >= 32 { 24 } else { 12 }) / vectors
}

/// `tile[j] += Σᵢ a[j · step + i] · panel[i]`: the rows of `a` are products' left sides.
#[inline(always)]
pub fn add_rows<S: Simd, const P: usize, const V: usize>(
    simd: S,
    tile: &mut SimdTile<S, P, V>,
    a: &[f32],
    step: usize,
    panel: &[f32],
) {
    let panel = S::as_simd_f32s(panel).0.as_chunks::<V>().0;
    assert!(a.len() >= (P - 1) * step + panel.len(), "the map reaches as far as its panel");
    let first = a.as_ptr();
    for (i, weights) in panel.iter().enumerate() {
        for (j, tile) in tile.iter_mut().enumerate() {
            // SAFETY: j < P and i < panel.len(), so that j · step + i lies within `a`, as asserted above. A bounds
            // check here would cost a third of the time: the compiler does not see that all rows have the same length.
            #[allow(unsafe_code)]
            let x = simd.splat_f32s(unsafe { *first.add(j * step + i) });
            for v in 0..V {
                tile[v] = simd.mul_add_e_f32s(x, weights[v], tile[v]);
            }
        }
    }
}

/// `tile[j] += Σᵢ a[i · step + j] · panel[i]`: the columns of `a` are products' left sides.
#[inline(always)]
pub fn add_columns<S: Simd, const P: usize, const V: usize>(
    simd: S,
    tile: &mut SimdTile<S, P, V>,
    a: &[f32],
    step: usize,
    panel: &[f32],
) {
    let panel = S::as_simd_f32s(panel).0.as_chunks::<V>().0;
    for (i, weights) in panel.iter().enumerate() {
        let column: &[f32; P] = a[i * step..].first_chunk().expect("the map reaches as far as its panel");
        for (tile, x) in tile.iter_mut().zip(column) {
            let x = simd.splat_f32s(*x);
            for v in 0..V {
                tile[v] = simd.mul_add_e_f32s(x, weights[v], tile[v]);
            }
        }
    }
}

/// Calls `$work::<$simd, P, V>` compiled for the processor, with the number of rows at hand as the constant `P`.
macro_rules! with_rows {
    ($rows:expr, $vectors:expr, $simd:ident, $work:ident ( $($argument:expr),* )) => {
        with_rows!(@ $rows, $vectors, $simd, $work, ($($argument),*),
            (1 2 3 4 5 6 7 8 9 10 11 12), (13 14 15 16 17 18 19 20 21 22 23 24))
    };
    (@ $rows:expr, $vectors:expr, $simd:ident, $work:ident, $arguments:tt, ($($few:literal)*), ($($many:literal)*)) => {
        match ($rows, $vectors) {
            $(($few, 2) => with_rows!(! $simd, $work, $few, 2, $arguments),)*
            $(($few, 1) => with_rows!(! $simd, $work, $few, 1, $arguments),)*
            $(($many, 1) => with_rows!(! $simd, $work, $many, 1, $arguments),)*
            (rows, vectors) => unreachable!("a tile of {rows} rows of {vectors} vectors"),
        }
    };
    (! $simd:ident, $work:ident, $rows:literal, $vectors:literal, ($($argument:expr),*)) => {
        $simd.vectorize(#[inline(always)] || $work::<S, $rows, $vectors>($simd, $($argument),*))
    };
}
pub(super) use with_rows;

/// Cuts `length` into pieces of at most `most`, as even as can be: `(start, end)` of each.
pub fn pieces(length: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let count = length.div_ceil(most);
    (0..count).map(move |i| (i * length / count, (i + 1) * length / count))
}
