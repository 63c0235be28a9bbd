//! Tiles of large images at full resolution: where they lie, how they are cut, and how their maps are blended.

use std::collections::HashSet;
use std::fmt;

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::scores::Moments;
use crate::domain::size::Size;
use crate::domain::value_range::ValueRange;

/// Maps of larger images are stored reduced by an integer factor to at most this many pixels.
const MOST_PIXELS: usize = 1 << 22;

/// A part of an image, in the image's pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Tile {
    /// First column.
    pub left: usize,
    /// First row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Tile {
    /// Whether the pixel at a column and row lies in it.
    pub fn contains(&self, column: usize, row: usize) -> bool {
        (self.left..self.left + self.width).contains(&column) && (self.top..self.top + self.height).contains(&row)
    }
}

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, top, width, height } = self;
        write!(f, "the tile of {width} × {height} at column {left}, row {top}")
    }
}

/// Column and row of a part's top left corner.
pub type Origin = (usize, usize);

/// An image as the network sees it: its value range mapped to 0..=65535, channels interleaved.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `[rows, columns, channels]`.
    pub values: Vec<u16>,
}

/// How an image becomes a [`Frame`].
#[derive(Clone, Debug, PartialEq)]
pub struct FrameSpec {
    /// The size that the image is resized to, without keeping its aspect ratio; `None` keeps its own size.
    pub size: Option<Size>,
    /// Whether the frame has a single grey channel, rather than red, green and blue.
    pub is_grey: bool,
    /// The image's channels, numbered from 1, that become red, green and blue; a single one becomes grey.
    pub channels: Vec<usize>,
    /// The values that become 0 and 65535.
    pub range: ValueRange,
}

impl FrameSpec {
    /// Values of a pixel.
    pub fn depth(&self) -> usize {
        if self.is_grey { 1 } else { 3 }
    }
}

impl Frame {
    /// A part of this size, `[rows, columns, channels]`; what lies outside repeats the border.
    pub fn cut(&self, (left, top): Origin, columns: usize, rows: usize) -> Vec<u16> {
        let channels = self.values.len() / (self.width * self.height).max(1);
        let mut part = Vec::with_capacity(columns * rows * channels);
        for row in top..top + rows {
            let line = row.min(self.height - 1) * self.width;
            for column in left..left + columns {
                let at = (line + column.min(self.width - 1)) * channels;
                part.extend_from_slice(&self.values[at..at + channels]);
            }
        }
        part
    }
}

impl Mask {
    /// A part of this size, rows first; what lies outside is not labelled.
    pub fn cut(&self, (left, top): Origin, columns: usize, rows: usize) -> Vec<u8> {
        let pixels = (top..top + rows).flat_map(|row| (left..left + columns).map(move |column| (column, row)));
        pixels.map(|(column, row)| self.get(column, row).unwrap_or(UNLABELLED)).collect()
    }

    /// The mask restricted to a tile; pixels outside it become unlabelled.
    pub fn only(mut self, tile: Tile) -> Self {
        let width = self.width();
        for (place, pixel) in self.pixels_mut().iter_mut().enumerate() {
            if !tile.contains(place % width, place / width) {
                *pixel = UNLABELLED;
            }
        }
        self
    }
}

/// Origins along one side: the first at 0, the last at the end, between them evenly, overlapping by at least `overlap` of
/// a tile.
fn along(side: usize, tile: usize, overlap: f64) -> Vec<usize> {
    if side <= tile {
        return vec![0];
    }
    let step = ((tile as f64 * (1.0 - overlap)).floor() as usize).max(1);
    let gaps = (side - tile).div_ceil(step);
    (0..=gaps).map(|i| i * (side - tile) / gaps).collect()
}

/// Origins of tiles that cover an image.
pub fn grid(width: usize, height: usize, columns: usize, rows: usize, overlap: f64) -> Vec<Origin> {
    let lefts = along(width, columns, overlap);
    along(height, rows, overlap).into_iter().flat_map(|top| lefts.iter().map(move |left| (*left, top))).collect()
}

/// Cuts a label into tiles that cover it, `[rows, columns]` each. Every pixel belongs to one tile only: where tiles
/// overlap, it is unlabelled in the later one.
pub fn partition(label: &Mask, columns: usize, rows: usize) -> Vec<(Origin, Vec<u8>)> {
    // Origins along a side, each with its overlap with the tile before.
    let cuts = |side: usize, tile: usize| -> Vec<(usize, usize)> {
        let origins = along(side, tile, 0.0);
        let before = |i: usize| if i == 0 { 0 } else { origins[i - 1] + tile - origins[i] };
        (0..origins.len()).map(|i| (origins[i], before(i))).collect()
    };
    let across = cuts(label.width(), columns);
    let tile = |(top, above): (usize, usize), (left, beside): (usize, usize)| {
        let mut part = label.cut((left, top), columns, rows);
        for (row, line) in part.chunks_exact_mut(columns).enumerate() {
            line[..if row < above { columns } else { beside }].fill(UNLABELLED);
        }
        ((left, top), part)
    };
    let down = cuts(label.height(), rows);
    down.into_iter().flat_map(|down| across.iter().map(move |across| tile(down, *across))).collect()
}

/// The number of cells of `columns` × `rows`, laid from the first labelled column and row on, that hold any labelled pixel.
pub fn labelled_cells(label: &Mask, columns: usize, rows: usize) -> usize {
    let width = label.width();
    let labelled = || (0..).zip(label.pixels()).filter(|(_, class)| **class != UNLABELLED).map(|(place, _)| place);
    let left = labelled().map(|place: usize| place % width).min().unwrap_or(0);
    let top = labelled().next().unwrap_or(0) / width;
    let cells: HashSet<Origin> =
        labelled().map(|place| ((place % width - left) / columns, (place / width - top) / rows)).collect();
    cells.len()
}

/// Origins of `count` tiles around labelled pixels. The first half are centred on random foreground pixels, divided
/// evenly between the classes present, so that a rare class is not missed; the rest on random labelled pixels. Empty if
/// nothing is labelled.
pub fn around_labels(label: &Mask, columns: usize, rows: usize, count: usize, seed: u64) -> Vec<Origin> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut pixels = [0usize; 256];
    label.pixels().iter().for_each(|class| pixels[usize::from(*class)] += 1);
    let labelled = label.pixels().len() - pixels[usize::from(UNLABELLED)];
    if labelled == 0 {
        return Vec::new();
    }
    // Draws ranks among the matching pixels, then finds their positions, so that the pixels of a large image are not
    // listed.
    let mut draw = |number: usize, all: usize, wanted: &dyn Fn(u8) -> bool| -> Vec<usize> {
        let mut ranks: Vec<usize> = (0..number).map(|_| rng.random_range(0..all)).collect();
        ranks.sort_unstable();
        let mut places = (0..).zip(label.pixels()).filter(|(_, class)| wanted(**class)).map(|(place, _)| place);
        let (mut next, mut place) = (0, 0);
        let mut place_of = |rank: usize| {
            while next <= rank {
                place = places.next().unwrap_or(place);
                next += 1;
            }
            place
        };
        ranks.into_iter().map(&mut place_of).collect()
    };
    let classes: Vec<u8> = (BACKGROUND + 1..UNLABELLED).filter(|class| pixels[usize::from(*class)] > 0).collect();
    let mut middles = Vec::new();
    for (place, class) in classes.iter().enumerate() {
        let number = (count.div_ceil(2) + classes.len() - 1 - place) / classes.len();
        middles.extend(draw(number, pixels[usize::from(*class)], &|found| found == *class));
    }
    middles.extend(draw(count - middles.len(), labelled, &|found| found != UNLABELLED));
    let from = |at: usize, tile: usize, side: usize| at.saturating_sub(tile / 2).min(side.saturating_sub(tile));
    let origin = |place: usize| {
        let (column, row) = (place % label.width(), place / label.width());
        (from(column, columns, label.width()), from(row, rows, label.height()))
    };
    middles.into_iter().map(origin).collect()
}

/// Assembles the maps of a large image from those of its tiles. Where tiles overlap, each has less weight towards its
/// border. The moments themselves are blended, as if the passes of different tiles came from one distribution.
pub struct Blend {
    factor: usize,
    width: usize,
    height: usize,
    classes: usize,
    weight: Vec<f32>,
    /// Means of each class, variance, predictive entropy, mutual information.
    maps: Vec<Vec<f32>>,
}

impl Blend {
    /// Creates a blend for an image of this size.
    pub fn new(width: usize, height: usize, classes: usize) -> Self {
        let factor = (1..).find(|f| width.div_ceil(*f) * height.div_ceil(*f) <= MOST_PIXELS).unwrap_or(1);
        let (width, height) = (width.div_ceil(factor), height.div_ceil(factor));
        let zeros = || vec![0.0; width * height];
        Self { factor, width, height, classes, weight: zeros(), maps: (0..classes + 3).map(|_| zeros()).collect() }
    }

    /// Adds a tile's moments; missing maps count as 0.
    pub fn add(&mut self, (left, top): Origin, tile: &Moments) {
        let pixels = tile.width * tile.height;
        let parts: Vec<&[f32]> = tile.mean.chunks_exact(pixels).collect();
        let others = [&tile.variance[..], &tile.entropy, &tile.mutual_information];
        // 1 at the border, growing linearly to the middle.
        let tent = |at: usize, side: usize| (at + 1).min(side - at) as f32;
        for row in 0..tile.height {
            let y = (top + row) / self.factor;
            for column in 0..tile.width {
                let x = (left + column) / self.factor;
                if x >= self.width || y >= self.height {
                    continue;
                }
                let (from, to) = (row * tile.width + column, y * self.width + x);
                let weight = tent(row, tile.height) * tent(column, tile.width);
                self.weight[to] += weight;
                for (map, part) in self.maps.iter_mut().zip(parts.iter().chain(&others)) {
                    map[to] += weight * part.get(from).copied().unwrap_or(0.0);
                }
            }
        }
    }

    /// The whole image's moments.
    pub fn finish(mut self) -> Moments {
        for map in &mut self.maps {
            map.iter_mut().zip(&self.weight).for_each(|(value, weight)| *value /= weight.max(f32::MIN_POSITIVE));
        }
        let mut others = self.maps.split_off(self.classes).into_iter();
        let mut next = || others.next().unwrap_or_default();
        Moments {
            width: self.width,
            height: self.height,
            classes: self.classes,
            mean: self.maps.concat(),
            variance: next(),
            entropy: next(),
            mutual_information: next(),
        }
    }
}
