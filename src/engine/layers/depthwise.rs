//! Depthwise convolutions over channels-last maps, forward and backward: each channel has a kernel of its own.
//!
//! Maps are zero-padded as in TensorFlow's `SAME`: at stride 2, for even sides, with one more zero after the map than
//! before it.

use pulp::Arch;
use rayon::prelude::*;

use super::conv::Map;
use super::maps::zeros;

/// Lines of the gradient that one task of [`Depthwise::weight_gradient`] sums over.
const LINES: usize = 16;

/// A depthwise convolution's kernels, laid out for channels-last maps.
#[derive(Debug)]
pub struct Depthwise {
    /// `[side, side, channels]`.
    taps: Vec<f32>,
    side: usize,
    stride: usize,
}

impl Depthwise {
    /// Of weights `[channels, 1, side, side]`; the stride is 1 or 2.
    pub fn new(weights: &[f32], side: usize, stride: usize) -> Self {
        Self { taps: transposed(weights, side * side), side, stride }
    }

    /// ReLU6 of the convolution, from `[batch, rows, columns, channels]` to `[batch, rows / stride, columns / stride,
    /// channels]`.
    pub fn forward(&self, map: Map, bias: &[f32]) -> Vec<f32> {
        let (out_rows, out_columns) = (map.rows / self.stride, map.columns / self.stride);
        let mut out = zeros(map.batch * out_rows * out_columns * map.channels);
        let arch = Arch::new();
        out.par_chunks_mut(out_columns * map.channels).enumerate().for_each(|(line, out)| {
            let image = map.image(line / out_rows);
            arch.dispatch(
                #[inline(always)]
                || self.forward_line(map, image, line % out_rows, bias, out),
            );
        });
        out
    }

    #[inline(always)]
    fn forward_line(&self, map: Map, image: &[f32], y: usize, bias: &[f32], out: &mut [f32]) {
        let Map { rows, columns, channels, .. } = map;
        for (x, out) in out.chunks_exact_mut(channels).enumerate() {
            out.copy_from_slice(bias);
            self.for_each_tap(
                y,
                x,
                [rows, columns],
                #[inline(always)]
                |pixel, tap| {
                    add_products(out, &image[pixel * channels..][..channels], &self.taps[tap * channels..][..channels]);
                },
            );
            out.iter_mut().for_each(|value| *value = value.clamp(0.0, 6.0));
        }
    }

    /// The gradient of the loss with respect to [`Depthwise::forward`]'s input map of `rows` and `columns`, from the
    /// gradient with respect to its result before ReLU6.
    pub fn input_gradient(&self, gradient: Map, [rows, columns]: [usize; 2]) -> Vec<f32> {
        let mut out = zeros(gradient.batch * rows * columns * gradient.channels);
        let (line, arch) = (columns * gradient.channels, Arch::new());
        out.par_chunks_mut(rows * line).enumerate().for_each(|(index, out)| {
            let image = gradient.image(index);
            arch.dispatch(
                #[inline(always)]
                || self.spread_image(gradient, image, [rows, columns], out),
            );
        });
        out
    }

    #[inline(always)]
    fn spread_image(&self, gradient: Map, image: &[f32], size: [usize; 2], out: &mut [f32]) {
        let channels = gradient.channels;
        for (place, slope) in image.chunks_exact(channels).enumerate() {
            self.for_each_tap(
                place / gradient.columns,
                place % gradient.columns,
                size,
                #[inline(always)]
                |pixel, tap| {
                    add_products(
                        &mut out[pixel * channels..][..channels],
                        slope,
                        &self.taps[tap * channels..][..channels],
                    );
                },
            );
        }
    }

    /// The gradient of the loss with respect to the weights, `[channels, 1, side, side]`, from the gradient with
    /// respect to the result before ReLU6.
    pub fn weight_gradient(&self, map: Map, gradient: Map) -> Vec<f32> {
        let (lines, arch) = (gradient.batch * gradient.rows, Arch::new());
        // Tasks of fixed length: the same sums on any number of threads.
        let tasks = (0..lines.div_ceil(LINES)).into_par_iter().map(|task| {
            let mut sums = vec![0.0; self.taps.len()];
            for line in task * LINES..lines.min((task + 1) * LINES) {
                arch.dispatch(
                    #[inline(always)]
                    || self.sum_line(map, gradient, line, &mut sums),
                );
            }
            sums
        });
        let parts: Vec<Vec<f32>> = tasks.collect();
        let mut sums = vec![0.0; self.taps.len()];
        for part in parts {
            sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        }
        transposed(&sums, map.channels)
    }

    #[inline(always)]
    fn sum_line(&self, map: Map, gradient: Map, line: usize, sums: &mut [f32]) {
        let (index, y, channels) = (line / gradient.rows, line % gradient.rows, map.channels);
        let slopes = gradient.image(index)[y * gradient.columns * channels..].chunks_exact(channels);
        for (x, slope) in slopes.take(gradient.columns).enumerate() {
            self.for_each_tap(
                y,
                x,
                [map.rows, map.columns],
                #[inline(always)]
                |pixel, tap| {
                    let pixel = &map.image(index)[pixel * channels..][..channels];
                    add_products(&mut sums[tap * channels..][..channels], pixel, slope);
                },
            );
        }
    }

    /// Calls `each` with every pixel of the map, of `rows` and `columns`, that contributes to the result's pixel at
    /// (`y`, `x`), and the tap that it is multiplied by.
    #[inline(always)]
    fn for_each_tap(&self, y: usize, x: usize, [rows, columns]: [usize; 2], mut each: impl FnMut(usize, usize)) {
        // Zeros before the map.
        let before = (self.side - self.stride) / 2;
        let (y, x) = (y * self.stride, x * self.stride);
        let inside = |at: usize, length: usize| before.saturating_sub(at)..self.side.min(length + before - at);
        for i in inside(y, rows) {
            for j in inside(x, columns) {
                each((y + i - before) * columns + x + j - before, i * self.side + j);
            }
        }
    }
}

#[inline(always)]
fn add_products(sums: &mut [f32], a: &[f32], b: &[f32]) {
    for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
        *sum += a * b;
    }
}

/// A matrix of rows of `columns` numbers, its columns now rows.
fn transposed(values: &[f32], columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| values.iter().skip(column).step_by(columns).copied()).collect()
}
