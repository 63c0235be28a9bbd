//! Convolutions over channels-last maps, as sums of products over windows; maps are copied only to add a border.
//!
//! Everything the network needs is one of these: the 3 × 3 convolution, its input gradient (the same with the kernel
//! rotated by 180°), a 3 × 3 convolution over a map up-sampled × 2 (four 2 × 2 convolutions, each producing one pixel
//! of a 2 × 2 square), the input gradient of that (4 × 4 at stride 2), and sums of these over several maps.

use std::cell::RefCell;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Activation;
use super::panel::{Aligned, Block, Panels, blocks, lanes};
use super::tile::{SimdTile, add_columns, add_rows, most_rows, pieces, with_rows};

/// Maximum number of pixels in a line made by [`Map::flattened`]: those of a tile.
const LINE: usize = 12;

/// A channels-last map, `[batch, rows, columns, channels]`.
#[derive(Clone, Copy, Debug)]
pub struct Map<'a> {
    /// Its numbers.
    pub values: &'a [f32],
    /// Images in it.
    pub batch: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// Numbers per pixel.
    pub channels: usize,
}

impl<'a> Map<'a> {
    /// One image of the map; of a map of one image, that one.
    pub fn image(&self, index: usize) -> &'a [f32] {
        let size = self.rows * self.columns * self.channels;
        &self.values[(index % self.batch) * size..][..size]
    }

    /// For a window of one pixel, the same pixels as one image whose lines are as long as a tile: the lines of small
    /// maps are shorter, and each reads all weights again.
    pub fn flattened(self, window: ConvWindow) -> Self {
        if window != ConvWindow::ONE {
            return self;
        }
        let pixels = self.batch * self.rows * self.columns;
        let columns = (1..=LINE.min(pixels)).rev().find(|columns| pixels.is_multiple_of(*columns)).unwrap_or(1);
        let is_better = columns == LINE || columns > self.columns;
        if is_better { Self { batch: 1, rows: pixels / columns, columns, ..self } } else { self }
    }
}

/// What a pixel of the result at (y, x) sees of a map with a border of one zero pixel: `height × width` pixels from
/// (stride · y + row, stride · x + column).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvWindow {
    /// Rows seen.
    pub height: usize,
    /// Columns seen.
    pub width: usize,
    /// Step in pixels of the map from one pixel of the result to the next.
    pub stride: usize,
    /// First row seen by the result's first pixel, in the bordered map.
    pub row: usize,
    /// First column seen by the result's first pixel, in the bordered map.
    pub column: usize,
}

impl ConvWindow {
    /// The window of a 3 × 3 convolution that keeps the size.
    pub const THREE: Self = Self { height: 3, width: 3, stride: 1, row: 0, column: 0 };
    /// The window of a 1 × 1 convolution.
    pub const ONE: Self = Self { height: 1, width: 1, stride: 1, row: 1, column: 1 };
    /// The window of a 3 × 3 convolution at stride 2 of a map of even sides: the zeros lie behind the map only.
    pub const HALVING: Self = Self { height: 3, width: 3, stride: 2, row: 1, column: 1 };
    /// The pixels of a map of double size to which a pixel contributes when it is up-sampled and convolved 3 × 3.
    pub const FOUR: Self = Self { height: 4, width: 4, stride: 2, row: 0, column: 0 };

    /// Rows of the bordered map seen by rows `first..last` of the result.
    fn rows_of(&self, first: usize, last: usize) -> std::ops::Range<usize> {
        first * self.stride + self.row..(last - 1) * self.stride + self.row + self.height
    }
}

/// One map's contribution to a result.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// The map.
    pub map: Map<'a>,
    /// What is seen of it.
    pub window: ConvWindow,
    /// The weights: rows by (row, column, channel) of the window.
    pub weights: &'a Panels,
}

/// What the sums begin with.
#[derive(Clone, Copy, Debug)]
pub enum Start<'a> {
    /// One number per channel.
    Bias(&'a [f32]),
    /// A map of the result's size, for one image or for each.
    Map(Map<'a>),
}

/// The size of a result, and what is added and applied to it.
#[derive(Clone, Copy, Debug)]
pub struct Output<'a> {
    /// Images.
    pub batch: usize,
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub columns: usize,
    /// What the sums begin with.
    pub start: Start<'a>,
    /// What is done to the sums.
    pub activation: Activation,
}

impl Output<'_> {
    /// Numbers of the result, given its channels.
    pub fn length(&self, channels: usize) -> usize {
        self.batch * self.rows * self.columns * channels
    }
}

thread_local! {
    /// The rows that this thread is working on, kept so that their memory is reused.
    static COPIES: RefCell<Vec<Copied>> = const { RefCell::new(Vec::new()) };
}

/// Writes the sum of the terms of each phase over `values`. A single phase produces every pixel; four produce the
/// top-left, top-right, bottom-left and bottom-right pixels of each 2 × 2 square, with the windows given per square.
pub fn convolve(output: &Output, phases: &[Vec<Term>], values: &mut [f32]) {
    let side = if phases.len() == 4 { 2 } else { 1 };
    let channels = phases[0][0].weights.columns;
    let (rows, columns) = (output.rows / side, output.columns / side);
    let strip_rows = rows.div_ceil(strips(rows, output.batch));
    let image = output.rows * output.columns * channels;
    let row = side * output.columns * channels;
    let tasks: Vec<_> = values
        .chunks_mut(image)
        .enumerate()
        .flat_map(|(index, image)| image.chunks_mut(strip_rows * row).enumerate().map(move |(s, out)| (index, s, out)))
        .collect();
    let (arch, blocks) = (Arch::new(), blocks(channels));
    tasks.into_par_iter().for_each(|(image, strip, out)| {
        let first = strip * strip_rows;
        let last = first + out.len() / row;
        COPIES.with_borrow_mut(|copies| {
            let blocks = &blocks;
            arch.dispatch(Strip { output, phases, side, channels, columns, image, first, last, blocks, copies, out });
        });
    });
}

/// How many strips to cut an image of `rows` rows into: enough for every thread, tall enough to be worth their borders.
fn strips(rows: usize, batch: usize) -> usize {
    let wanted = (4 * rayon::current_num_threads()).div_ceil(batch);
    rows.div_ceil(8).max(wanted.min(rows.div_ceil(2)))
}

/// The rows `first..last` of one image of the result (of squares of four, where there are four phases).
struct Strip<'a, 's> {
    output: &'a Output<'a>,
    phases: &'a [Vec<Term<'a>>],
    side: usize,
    channels: usize,
    /// Columns, or columns of squares.
    columns: usize,
    image: usize,
    first: usize,
    last: usize,
    blocks: &'a [Block],
    copies: &'s mut Vec<Copied>,
    out: &'s mut [f32],
}

/// Rows of a map with their border.
#[derive(Default)]
struct Copied {
    values: Vec<f32>,
    /// The first row copied, in the bordered map.
    first: usize,
    /// Numbers from one row to the next.
    row: usize,
}

impl Copied {
    /// Copies rows of one image, counted in the bordered map.
    fn fill(&mut self, map: &Map, image: usize, rows: std::ops::Range<usize>) {
        let (source, width) = (map.image(image), map.columns * map.channels);
        self.row = (map.columns + 2) * map.channels;
        self.first = rows.start;
        let length = rows.len() * self.row;
        if self.values.len() < length {
            self.values.resize(length, 0.0);
        }
        for (row, out) in rows.zip(self.values.chunks_exact_mut(self.row)) {
            let inside = (1..=map.rows).contains(&row);
            out[..map.channels].fill(0.0);
            out[map.channels + width..].fill(0.0);
            let out = &mut out[map.channels..][..width];
            if inside { out.copy_from_slice(&source[(row - 1) * width..][..width]) } else { out.fill(0.0) }
        }
    }
}

impl WithSimd for Strip<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { output, phases, side, channels, columns, image, first, last, blocks, copies, out } = self;
        copies.resize_with(copies.len().max(phases[0].len()), Copied::default);
        // The phases see the same maps, each from another corner: one copy of each map serves them all.
        for (term, copied) in copies.iter_mut().enumerate().take(phases[0].len()) {
            let windows = || phases.iter().map(|terms| terms[term].window.rows_of(first, last));
            let start = windows().map(|rows| rows.start).min().expect("there are phases");
            let end = windows().map(|rows| rows.end).max().expect("there are phases");
            copied.fill(&phases[0][term].map, image, start..end);
        }
        let row_length = output.columns * channels;
        for (phase, terms) in phases.iter().enumerate() {
            let (down, right) = (phase / 2, phase % 2);
            for &block in blocks {
                for y in first..last {
                    for (from, to) in pieces(columns, most_rows::<S>(block.vectors)) {
                        let at = ((y - first) * side + down) * row_length + (from * side + right) * channels;
                        let place = TilePlace { y, x: from, block, channels, step: side * channels };
                        let before = match output.start {
                            Start::Bias(bias) => Before::Bias(&bias[block.first..]),
                            Start::Map(map) => {
                                Before::Map(&map.image(image)[first * side * row_length + at + block.first..])
                            }
                        };
                        let out = &mut out[at + block.first..];
                        with_rows!(
                            to - from,
                            block.vectors,
                            simd,
                            sum_tile(terms, copies, place, before, output.activation, out)
                        );
                    }
                }
            }
        }
    }
}

/// Where a tile lies.
#[derive(Clone, Copy)]
struct TilePlace {
    y: usize,
    x: usize,
    block: Block,
    channels: usize,
    /// Numbers from one of its pixels to the next in the output.
    step: usize,
}

enum Before<'a> {
    Bias(&'a [f32]),
    Map(&'a [f32]),
}

#[inline(always)]
fn sum_tile<S: Simd, const P: usize, const V: usize>(
    simd: S,
    terms: &[Term],
    copies: &[Copied],
    place: TilePlace,
    before: Before,
    activation: Activation,
    out: &mut [f32],
) {
    let TilePlace { y, x, block, channels, step } = place;
    let used = (V * S::F32_LANES).min(channels - block.first);
    let mut tile: SimdTile<S, P, V> = match before {
        Before::Bias(bias) => [load(simd, &bias[..used]); P],
        Before::Map(map) => std::array::from_fn(|j| load(simd, &map[j * step..][..used])),
    };
    for (term, copied) in terms.iter().zip(copies) {
        let ConvWindow { height, width, stride, row, column } = term.window;
        let run = width * term.map.channels;
        let panel = term.weights.block(block);
        let width = V * S::F32_LANES;
        for i in 0..height {
            let a = (y * stride + row + i - copied.first) * copied.row + (x * stride + column) * term.map.channels;
            let panel = &panel[i * run * width..][..run * width];
            add_rows(simd, &mut tile, &copied.values[a..], stride * term.map.channels, panel);
        }
    }
    let [zero, six] = [0.0, 6.0].map(|bound| simd.splat_f32s(bound));
    for (j, row) in tile.iter().enumerate() {
        let out = &mut out[j * step..][..used];
        for v in 0..V {
            let sum = match activation {
                Activation::None => row[v],
                Activation::Relu => simd.max_f32s(row[v], zero),
                Activation::Relu6 => simd.min_f32s(simd.max_f32s(row[v], zero), six),
            };
            let out = &mut out[v * S::F32_LANES..];
            if out.len() >= S::F32_LANES {
                S::as_mut_simd_f32s(&mut out[..S::F32_LANES]).0[0] = sum;
            } else {
                simd.partial_store_f32s(out, sum);
            }
        }
    }
}

#[inline(always)]
fn load<S: Simd, const V: usize>(simd: S, values: &[f32]) -> [S::f32s; V] {
    std::array::from_fn(|v| {
        let values = &values[v * S::F32_LANES..];
        if values.len() >= S::F32_LANES {
            S::as_simd_f32s(&values[..S::F32_LANES]).0[0]
        } else {
            simd.partial_load_f32s(values)
        }
    })
}

/// The gradient of a loss with respect to a convolution's weights: sums of window × gradient over a batch's pixels.
pub struct WeightGradient {
    channels: usize,
    width: usize,
    lanes: usize,
    blocks: Vec<Block>,
    /// For each block `[height, width, channels, lanes]`.
    sums: Vec<Aligned>,
}

impl WeightGradient {
    /// The sums for what `window` sees of `map`, given the gradient of the loss with respect to the output.
    pub fn new(map: Map, window: ConvWindow, gradient: Map) -> Self {
        let (blocks, lanes) = (blocks(gradient.channels), lanes());
        // With few blocks, some threads would be idle: the pixels are then divided too, each share with its own sums.
        let shares = (2 * rayon::current_num_threads()).div_ceil(blocks.len()).min(gradient.batch * gradient.rows);
        let lines = gradient.batch * gradient.rows;
        let arch = Arch::new();
        let task = |i: usize| {
            let (block, share) = (blocks[i / shares], i % shares);
            let lines = (share * lines / shares, (share + 1) * lines / shares);
            arch.dispatch(Share { map, window, gradient, block, lines })
        };
        let parts: Vec<Aligned> = (0..blocks.len() * shares).into_par_iter().map(task).collect();
        let mut parts = parts.into_iter();
        let sums = blocks
            .iter()
            .map(|_| {
                let mut sum = parts.next().expect("a part for each block and share");
                for part in parts.by_ref().take(shares - 1) {
                    sum.get_mut().iter_mut().zip(part.get()).for_each(|(sum, part)| *sum += part);
                }
                sum
            })
            .collect();
        Self { channels: map.channels, width: window.width, lanes, blocks, sums }
    }

    /// The sums for one channel of the result.
    pub fn output(&self, output: usize) -> WeightColumn<'_> {
        let block = self.blocks.partition_point(|block| block.first <= output) - 1;
        let Block { first, vectors } = self.blocks[block];
        WeightColumn { gradient: self, sums: &self.sums[block].get()[output - first..], width: vectors * self.lanes }
    }
}

/// One output channel's share of a [`WeightGradient`].
pub struct WeightColumn<'a> {
    gradient: &'a WeightGradient,
    sums: &'a [f32],
    width: usize,
}

impl WeightColumn<'_> {
    /// The sum for a pixel of the window and a channel of the map.
    pub fn at(&self, row: usize, column: usize, channel: usize) -> f32 {
        let index = (row * self.gradient.width + column) * self.gradient.channels + channel;
        self.sums[index * self.width]
    }
}

/// One block's sums over some lines of the gradient, counted through the batch.
struct Share<'a> {
    map: Map<'a>,
    window: ConvWindow,
    gradient: Map<'a>,
    block: Block,
    lines: (usize, usize),
}

/// Numbers of both maps together that one pass over the sums takes in, so that they stay in the cache.
const CHUNK: usize = 48 << 10;

impl WithSimd for Share<'_> {
    type Output = Aligned;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Aligned {
        let Self { map, window, gradient, block, lines } = self;
        let width = block.vectors * S::F32_LANES;
        let run = window.width * map.channels;
        let mut sums = Aligned::default();
        sums.reset(window.height * run * width);
        let (mut copied, mut panel) = (Copied::default(), Aligned::default());
        let per_line = gradient.columns * (map.channels * window.stride * window.stride + width);
        let most = (CHUNK / per_line).max(1);
        let mut line = lines.0;
        while line < lines.1 {
            let (image, y) = (line / gradient.rows, line % gradient.rows);
            let count = most.min(lines.1 - line).min(gradient.rows - y);
            copied.fill(&map, image, window.rows_of(y, y + count));
            panel.reset(count * gradient.columns * width);
            let used = width.min(gradient.channels - block.first);
            let pixels =
                gradient.image(image)[y * gradient.columns * gradient.channels..].chunks_exact(gradient.channels);
            for (out, pixel) in panel.get_mut().chunks_exact_mut(width).zip(pixels) {
                out[..used].copy_from_slice(&pixel[block.first..][..used]);
            }
            for i in 0..window.height {
                for (from, to) in pieces(run, most_rows::<S>(block.vectors)) {
                    let out = &mut sums.get_mut()[(i * run + from) * width..];
                    let a = &copied.values[i * copied.row + window.column * map.channels + from..];
                    let (step, down) = (window.stride * map.channels, window.stride * copied.row);
                    with_rows!(
                        to - from,
                        block.vectors,
                        simd,
                        sum_weights(a, step, down, panel.get(), gradient.columns, out)
                    );
                }
            }
            line += count;
        }
        sums
    }
}

/// Adds to one tile of weights the products of every line of the chunk.
#[inline(always)]
fn sum_weights<S: Simd, const P: usize, const V: usize>(
    simd: S,
    a: &[f32],
    step: usize,
    down: usize,
    panel: &[f32],
    columns: usize,
    out: &mut [f32],
) {
    let (out, _) = S::as_mut_simd_f32s(out).0.as_chunks_mut::<V>();
    let out: &mut [[S::f32s; V]; P] = out.first_chunk_mut().expect("the sums hold the tile");
    let mut tile = *out;
    for (line, panel) in panel.chunks_exact(columns * V * S::F32_LANES).enumerate() {
        add_columns(simd, &mut tile, &a[line * down..], step, panel);
    }
    *out = tile;
}
