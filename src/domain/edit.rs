//! Edits of a mask and their undo.
//!
//! An [`Edit`] holds, for each tile that a gesture changed, the exclusive-or of the pixels before and after, compressed.
//! Applying it twice is the identity, so the same bytes undo and redo, in memory and in the project's journal. An edit
//! that changed nothing does not exist.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::domain::mask::Mask;

/// Side of a tile in pixels.
pub const TILE: usize = 64;

/// What one gesture changed: invertible, compact, independent of what was painted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    tiles: Vec<(u32, Vec<u8>)>,
}

/// Bytes that are not an edit of the mask at hand.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored edit does not fit this image; the journal may be damaged")]
pub struct BadEdit;

/// A rectangle of pixels: columns and rows.
pub type PixelRect = (Range<usize>, Range<usize>);

impl Edit {
    /// Changes `mask`; a second time changes it back. Returns the rectangles touched, one a tile.
    pub fn toggle(&self, mask: &mut Mask) -> Result<Vec<PixelRect>, BadEdit> {
        let mut deltas = Vec::with_capacity(self.tiles.len());
        for (tile, packed) in &self.tiles {
            let rect = tile_rect(mask, *tile as usize).ok_or(BadEdit)?;
            let delta = lz4_flex::block::decompress(packed, TILE * TILE).map_err(|_| BadEdit)?;
            if delta.len() != rect.0.len() * rect.1.len() {
                return Err(BadEdit);
            }
            deltas.push((rect, delta));
        }
        let width = mask.width();
        for ((columns, rows), delta) in &deltas {
            for (row, line) in rows.clone().zip(delta.chunks(columns.len())) {
                let pixels = &mut mask.pixels_mut()[row * width..][columns.clone()];
                pixels.iter_mut().zip(line).for_each(|(pixel, d)| *pixel ^= d);
            }
        }
        Ok(deltas.into_iter().map(|(rect, _)| rect).collect())
    }

    /// The edit as bytes: for each tile its index and length as little-endian `u32`, then the packed exclusive-or.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (tile, packed) in &self.tiles {
            bytes.extend(tile.to_le_bytes());
            bytes.extend((packed.len() as u32).to_le_bytes());
            bytes.extend(packed);
        }
        bytes
    }

    /// The inverse of [`Edit::to_bytes`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, BadEdit> {
        let mut tiles = Vec::new();
        while !bytes.is_empty() {
            let (head, rest) = bytes.split_at_checked(8).ok_or(BadEdit)?;
            let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
            let (packed, rest) = rest.split_at_checked(number(4) as usize).ok_or(BadEdit)?;
            tiles.push((number(0), packed.to_vec()));
            bytes = rest;
        }
        Ok(Self { tiles })
    }

    /// The edit that turns `before` into `after`; `None` where they are equal. Both must be of one size.
    pub fn between(before: &Mask, after: &Mask) -> Option<Self> {
        debug_assert_eq!((before.width(), before.height()), (after.width(), after.height()));
        let mut gesture = Gesture::default();
        for tile in 0..tile_count(before) {
            gesture.keep(before, tile);
        }
        gesture.finish(after)
    }
}

/// A gesture in progress: remembers each tile as it was before the first touch.
#[derive(Clone, Debug, Default)]
pub struct Gesture {
    before: BTreeMap<usize, Vec<u8>>,
}

impl Gesture {
    /// Sets `columns` of `row` to `value`, remembering what was there.
    pub fn paint(&mut self, mask: &mut Mask, row: usize, columns: Range<usize>, value: u8) {
        if columns.is_empty() {
            return;
        }
        let across = mask.width().div_ceil(TILE);
        for tile_column in columns.start / TILE..=(columns.end - 1) / TILE {
            self.keep(mask, row / TILE * across + tile_column);
        }
        let width = mask.width();
        mask.pixels_mut()[row * width..][columns].fill(value);
    }

    /// Ends the gesture: the edit that leads to `mask` as it is now, or `None` when nothing changed.
    pub fn finish(self, mask: &Mask) -> Option<Edit> {
        let mut tiles = Vec::new();
        for (tile, before) in self.before {
            let mut delta = copy_tile(mask, tile);
            delta.iter_mut().zip(&before).for_each(|(now, was)| *now ^= was);
            if delta.iter().any(|&d| d != 0) {
                tiles.push((tile as u32, lz4_flex::block::compress(&delta)));
            }
        }
        (!tiles.is_empty()).then_some(Edit { tiles })
    }

    fn keep(&mut self, mask: &Mask, tile: usize) {
        self.before.entry(tile).or_insert_with(|| copy_tile(mask, tile));
    }
}

fn tile_count(mask: &Mask) -> usize {
    mask.width().div_ceil(TILE) * mask.height().div_ceil(TILE)
}

fn tile_rect(mask: &Mask, tile: usize) -> Option<PixelRect> {
    if tile >= tile_count(mask) {
        return None;
    }
    let across = mask.width().div_ceil(TILE);
    let (left, top) = (tile % across * TILE, tile / across * TILE);
    Some((left..(left + TILE).min(mask.width()), top..(top + TILE).min(mask.height())))
}

fn copy_tile(mask: &Mask, tile: usize) -> Vec<u8> {
    let (columns, rows) = tile_rect(mask, tile).expect("a tile of this mask");
    rows.flat_map(|row| mask.pixels()[row * mask.width()..][columns.clone()].iter().copied()).collect()
}

/// The edits of one image: `done` of them hold, the rest were undone and can be redone.
#[derive(Clone, Debug, Default)]
pub struct History {
    edits: Vec<Edit>,
    done: usize,
}

impl History {
    /// A history in which the first `done` of `edits` hold.
    pub fn new(edits: Vec<Edit>, done: usize) -> Self {
        let done = done.min(edits.len());
        Self { edits, done }
    }

    /// Adds an edit that has been made; what was undone before it is gone.
    pub fn push(&mut self, edit: Edit) {
        self.edits.truncate(self.done);
        self.edits.push(edit);
        self.done += 1;
    }

    /// How many edits hold.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether there is an edit to undo.
    pub fn can_undo(&self) -> bool {
        self.done > 0
    }

    /// Whether there is an edit to redo.
    pub fn can_redo(&self) -> bool {
        self.done < self.edits.len()
    }

    /// Takes the last edit back; the rectangles touched, none when there was nothing to undo.
    pub fn undo(&mut self, mask: &mut Mask) -> Result<Vec<PixelRect>, BadEdit> {
        let Some(last) = self.done.checked_sub(1) else { return Ok(Vec::new()) };
        let touched = self.edits[last].toggle(mask)?;
        self.done = last;
        Ok(touched)
    }

    /// Makes the last undone edit again; the rectangles touched, none when there was nothing to redo.
    pub fn redo(&mut self, mask: &mut Mask) -> Result<Vec<PixelRect>, BadEdit> {
        let Some(edit) = self.edits.get(self.done) else { return Ok(Vec::new()) };
        let touched = edit.toggle(mask)?;
        self.done += 1;
        Ok(touched)
    }
}
