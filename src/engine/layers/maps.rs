//! The network's layers over channels-last maps, forward and backward.
//!
//! Weights lie as PyTorch has them, `[outputs, inputs, rows, columns]`; a layer may look at some of the inputs only.

use pulp::Arch;
use rayon::prelude::*;

use super::Activation;
use super::conv::{ConvWindow, Map, Output, Start, Term, WeightGradient, convolve};
use super::panel::Panels;

/// A convolution's weights, or those over `count` of its inputs from `first`.
#[derive(Clone, Copy, Debug)]
pub struct Kernel<'a> {
    /// All weights.
    pub values: &'a [f32],
    /// Output channels.
    pub outputs: usize,
    /// Input channels of all weights.
    pub inputs: usize,
    /// Rows and columns: 1 or 3.
    pub side: usize,
    /// The first input used.
    pub first: usize,
    /// How many inputs are used.
    pub count: usize,
}

impl<'a> Kernel<'a> {
    /// All of a convolution's weights, `[outputs, inputs, side, side]`.
    pub fn new(values: &'a [f32], [outputs, inputs, side, _]: [usize; 4]) -> Self {
        Self { values, outputs, inputs, side, first: 0, count: inputs }
    }

    /// The weights over the inputs before `at` and over those from `at` on.
    pub fn split(self, at: usize) -> (Self, Self) {
        (Self { count: at, ..self }, Self { first: at, count: self.inputs - at, ..self })
    }

    /// What it sees of a map.
    pub fn window(&self) -> ConvWindow {
        if self.side == 1 { ConvWindow::ONE } else { ConvWindow::THREE }
    }

    /// From inputs to outputs.
    pub fn forward(&self) -> Panels {
        let (area, count) = (self.side * self.side, self.count);
        let offset = |row: usize| (self.first + row % count) * area + row / count;
        Panels::gather(area * count, self.outputs, self.values, offset, self.inputs * area)
    }

    /// The weights from gradients of the outputs to gradients of the inputs: the kernel rotated by 180°.
    fn turned(&self) -> Panels {
        let area = self.side * self.side;
        let offset =
            |row: usize| (row % self.outputs * self.inputs + self.first) * area + area - 1 - row / self.outputs;
        Panels::gather(area * self.outputs, self.count, self.values, offset, area)
    }

    /// The kernel as it acts between a map and the map up-sampled × 2: `[outputs, count, 4, 4]`, row `u` being the share
    /// of low-resolution row `i` in row `2i − 1 + u`.
    fn spread(&self) -> Vec<f32> {
        let mut spread = vec![0.0; self.outputs * self.count * 16];
        spread.par_chunks_mut(self.count * 16).enumerate().for_each(|(output, out)| {
            let weights = &self.values[(output * self.inputs + self.first) * 9..];
            for (out, weights) in out.as_chunks_mut::<16>().0.iter_mut().zip(weights.as_chunks::<9>().0) {
                for (i, weight) in weights.iter().enumerate() {
                    let (u, v) = (2 - i / 3, 2 - i % 3);
                    for at in [4 * u + v, 4 * u + v + 1, 4 * u + 4 + v, 4 * u + 5 + v] {
                        out[at] += weight;
                    }
                }
            }
        });
        spread
    }

    /// The windows of the low-resolution map seen by the top-left, top-right, bottom-left and bottom-right pixels of a
    /// 2 × 2 square, and their 2 × 2 kernels.
    pub fn phases(&self) -> Vec<(ConvWindow, Panels)> {
        let (spread, count) = (self.spread(), self.count);
        let phase = |phase: usize| {
            let (down, right) = (phase / 2, phase % 2);
            let offset = move |row: usize| {
                let (r, c) = (row / count / 2, row / count % 2);
                row % count * 16 + (3 - 2 * r - down) * 4 + 3 - 2 * c - right
            };
            let window = ConvWindow { height: 2, width: 2, stride: 1, row: down, column: right };
            (window, Panels::gather(4 * count, self.outputs, &spread, offset, count * 16))
        };
        (0..4).map(phase).collect()
    }
}

/// The convolution of a zero-padded map, seen through `window`.
pub fn conv(map: Map, window: ConvWindow, kernel: Kernel, bias: &[f32], activation: Activation) -> Vec<f32> {
    let weights = kernel.forward();
    let (map, stride) = (map.flattened(window), window.stride);
    let (rows, columns) = (map.rows / stride, map.columns / stride);
    let output = Output { batch: map.batch, rows, columns, start: Start::Bias(bias), activation };
    made(&output, &[vec![Term { map, window, weights: &weights }]])
}

/// The gradient of the loss with respect to [`conv`]'s input map, for a window of stride 1, from the gradient with
/// respect to its result before activation.
pub fn conv_input_gradient(gradient: Map, kernel: Kernel) -> Vec<f32> {
    let (weights, window) = (kernel.turned(), kernel.window());
    let map = gradient.flattened(window);
    let zeros = vec![0.0; kernel.count];
    let (start, activation) = (Start::Bias(&zeros), Activation::None);
    let output = Output { batch: map.batch, rows: map.rows, columns: map.columns, start, activation };
    made(&output, &[vec![Term { map, window, weights: &weights }]])
}

/// Writes the gradient of the loss with respect to [`conv`]'s weights into `out`, which is laid out as all the weights
/// are.
pub fn conv_weight_gradient(map: Map, window: ConvWindow, gradient: Map, kernel: Kernel, out: &mut [f32]) {
    let sums = WeightGradient::new(map.flattened(window), window, gradient.flattened(window));
    write_weights(kernel, out, |output| {
        let column = sums.output(output);
        move |input, row, col| column.at(row, col, input)
    });
}

/// ReLU of a 3 × 3 convolution over the concatenation of `low`, up-sampled × 2 by nearest neighbour, and `skip`.
pub fn up_conv(low: Map, skip: Map, kernel: Kernel, bias: &[f32]) -> Vec<f32> {
    let (up, rest) = kernel.split(low.channels);
    let (phases, weights) = (up.phases(), rest.forward());
    let terms = phases.iter().map(|(window, phase)| {
        // Squares of four: the window moves by two pixels of the skip map.
        let seen = ConvWindow { stride: 2, row: window.row, column: window.column, ..ConvWindow::THREE };
        vec![Term { map: low, window: *window, weights: phase }, Term { map: skip, window: seen, weights: &weights }]
    });
    let terms: Vec<_> = terms.collect();
    let Map { rows, columns, .. } = skip;
    made(&Output { batch: low.batch, rows, columns, start: Start::Bias(bias), activation: Activation::Relu }, &terms)
}

/// [`convolve`] into a map of its own.
fn made(output: &Output, phases: &[Vec<Term>]) -> Vec<f32> {
    let mut values = zeros(output.length(phases[0][0].weights.columns));
    convolve(output, phases, &mut values);
    values
}

/// Zeros, by all threads: the first touch of fresh memory is what costs.
pub fn zeros(length: usize) -> Vec<f32> {
    let mut values = Vec::new();
    (0..length).into_par_iter().with_min_len(SHARE).map(|_| 0.0).collect_into_vec(&mut values);
    values
}

/// The gradient of the loss with respect to [`up_conv`]'s low-resolution map.
pub fn up_conv_input_gradient(gradient: Map, kernel: Kernel) -> Vec<f32> {
    let spread = kernel.spread();
    let (outputs, count) = (kernel.outputs, kernel.count);
    let offset = |row: usize| row % outputs * count * 16 + row / outputs;
    let weights = Panels::gather(16 * outputs, count, &spread, offset, 16);
    let zeros = vec![0.0; count];
    let (rows, columns) = (gradient.rows / 2, gradient.columns / 2);
    let output =
        Output { batch: gradient.batch, rows, columns, start: Start::Bias(&zeros), activation: Activation::None };
    made(&output, &[vec![Term { map: gradient, window: ConvWindow::FOUR, weights: &weights }]])
}

/// Writes the gradient of the loss with respect to [`up_conv`]'s weights over the low-resolution map.
pub fn up_conv_weight_gradient(low: Map, gradient: Map, kernel: Kernel, out: &mut [f32]) {
    // Gradient and map swap roles: the sums run over what a low-resolution pixel sees of the gradient.
    let sums = WeightGradient::new(gradient, ConvWindow::FOUR, low);
    let columns: Vec<_> = (0..kernel.count).map(|input| sums.output(input)).collect();
    write_weights(kernel, out, |output| {
        let columns = &columns;
        move |input, row, col| {
            let (u, v) = (2 - row, 2 - col);
            let at = |u, v| columns[input].at(u, v, output);
            at(u, v) + at(u, v + 1) + at(u + 1, v) + at(u + 1, v + 1)
        }
    });
}

/// Writes what `weight(output)(input, row, column)` gives into the part of `out` that the kernel looks at.
fn write_weights<F>(kernel: Kernel, out: &mut [f32], weight: impl Fn(usize) -> F + Sync)
where
    F: Fn(usize, usize, usize) -> f32,
{
    let (side, area) = (kernel.side, kernel.side * kernel.side);
    out.par_chunks_mut(kernel.inputs * area).enumerate().for_each(|(output, out)| {
        let weight = weight(output);
        for (input, out) in out[kernel.first * area..].chunks_exact_mut(area).take(kernel.count).enumerate() {
            for (row, out) in out.chunks_exact_mut(side).enumerate() {
                out.iter_mut().enumerate().for_each(|(column, out)| *out = weight(input, row, column));
            }
        }
    });
}

/// Numbers per task of an element-wise pass.
const SHARE: usize = 1 << 16;

/// Sets the gradient to 0 where the activation's output is at a bound of its range.
pub fn activation_backward(activation: Activation, gradient: &mut [f32], output: &[f32]) {
    let most = match activation {
        Activation::None => return,
        Activation::Relu => f32::INFINITY,
        Activation::Relu6 => 6.0,
    };
    let arch = Arch::new();
    gradient.par_chunks_mut(SHARE).zip(output.par_chunks(SHARE)).for_each(|(gradient, output)| {
        arch.dispatch(
            #[inline(always)]
            || {
                for (gradient, output) in gradient.iter_mut().zip(output) {
                    // Branchless, so that it is vectorised.
                    let value = *gradient;
                    *gradient = if (*output > 0.0) & (*output < most) { value } else { 0.0 };
                }
            },
        );
    });
}

/// Adds number by number.
pub fn add(sum: &mut [f32], values: &[f32]) {
    sum.par_chunks_mut(SHARE).zip(values.par_chunks(SHARE)).for_each(|(sum, values)| {
        sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    });
}

/// Sums over all pixels of each channel.
pub fn channel_sums(values: &[f32], channels: usize) -> Vec<f32> {
    let sum = |part: &[f32]| {
        let mut sums = vec![0.0; channels];
        for pixel in part.chunks_exact(channels) {
            sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        sums
    };
    // Parts of fixed length: the same sums on any number of threads.
    let parts: Vec<Vec<f32>> = values.par_chunks(channels * (SHARE / channels).max(1)).map(sum).collect();
    let mut sums = vec![0.0; channels];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sums
}

/// The maximum of each 2 × 2 square.
pub fn max_pool(map: Map) -> Vec<f32> {
    let Map { batch, rows, columns, channels, .. } = map;
    let (row, out_row) = (columns * channels, columns / 2 * channels);
    let mut out = zeros(batch * (rows / 2) * out_row);
    out.par_chunks_mut(out_row).enumerate().for_each(|(y, out)| {
        let top = &map.values[(y / (rows / 2) * rows + y % (rows / 2) * 2) * row..][..2 * row];
        let (top, bottom) = top.split_at(row);
        for ((out, top), bottom) in
            out.chunks_exact_mut(channels).zip(top.chunks_exact(2 * channels)).zip(bottom.chunks_exact(2 * channels))
        {
            for (c, out) in out.iter_mut().enumerate() {
                *out = top[c].max(top[channels + c]).max(bottom[c]).max(bottom[channels + c]);
            }
        }
    });
    out
}

/// The gradient of the loss with respect to [`max_pool`]'s input map: that of each square goes to the first pixel with
/// the maximum. `onto` is the gradient already accumulated from other uses of the map.
pub fn max_pool_backward(map: Map, pooled: &[f32], gradient: &[f32], onto: Option<Vec<f32>>) -> Vec<f32> {
    let Map { columns, channels, .. } = map;
    let (row, out_row) = (columns * channels, columns / 2 * channels);
    let mut out = onto.unwrap_or_else(|| zeros(map.values.len()));
    out.par_chunks_mut(2 * row).enumerate().for_each(|(y, out)| {
        let (top, bottom) = map.values[y * 2 * row..][..2 * row].split_at(row);
        let (out_top, out_bottom) = out.split_at_mut(row);
        let (pooled, gradient) = (&pooled[y * out_row..][..out_row], &gradient[y * out_row..][..out_row]);
        let mut pending = Vec::with_capacity(channels);
        for x in 0..columns / 2 {
            let (pooled, gradient) = (&pooled[x * channels..][..channels], &gradient[x * channels..][..channels]);
            // Branchless, so that the channels of a pixel are vectorised.
            pending.clear();
            pending.extend_from_slice(gradient);
            for (values, out) in [(top, &mut *out_top), (bottom, &mut *out_bottom)] {
                for at in [2 * x * channels, (2 * x + 1) * channels] {
                    give(&values[at..][..channels], pooled, &mut pending, &mut out[at..][..channels]);
                }
            }
        }
    });
    out
}

/// Adds the pending gradient where the value is the maximum, and clears it there.
fn give(values: &[f32], greatest: &[f32], pending: &mut [f32], out: &mut [f32]) {
    for ((value, greatest), (pending, out)) in values.iter().zip(greatest).zip(pending.iter_mut().zip(out)) {
        let given = if value == greatest { *pending } else { 0.0 };
        *out += given;
        *pending -= given;
    }
}
