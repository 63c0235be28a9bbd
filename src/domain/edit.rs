//! Edits of a mask and their undo.
//!
//! An [`Edit`] holds, for each tile that a gesture changed, the exclusive-or of the pixels before and after, compressed.
//! Applying it twice is the identity, so the same bytes undo and redo, in memory and in the project's journal. An edit
//! that changed nothing does not exist.

use std::ops::Range;

use crate::domain::mask::Mask;

/// Side of a tile in pixels.
pub const TILE: usize = 64;

/// What one gesture changed, in a compact, invertible form that does not depend on the tool used. Empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    tiles: Vec<(u32, Vec<u8>)>,
}

/// The bytes are not an edit of this mask.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the stored edit does not fit this image; the journal may be damaged")]
pub struct BadEdit;

/// A rectangle of pixels: columns and rows.
pub type PixelRect = (Range<usize>, Range<usize>);

impl Edit {
    /// Applies the edit to `mask`; applying it again reverts it. Returns the rectangles touched, one per tile.
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

    fn some(self) -> Option<Self> {
        (!self.is_empty()).then_some(self)
    }

    /// Whether it changes nothing.
    pub fn is_empty(&self) -> bool {
        self.tiles.is_empty()
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
        let tiles = (0..tile_count(before)).filter_map(|tile| delta(&copy_tile(before, tile), after, tile)).collect();
        Self { tiles }.some()
    }
}

/// A gesture in progress: remembers each tile as it was before the first touch.
#[derive(Clone, Debug, Default)]
pub struct Gesture {
    /// By tile; as long as the highest tile touched.
    before: Vec<Option<Box<[u8]>>>,
}

impl Gesture {
    /// Sets `columns` of `row` to `value`, remembering what was there.
    pub fn paint(&mut self, mask: &mut Mask, row: usize, columns: Range<usize>, value: u8) {
        self.touch(mask, row, columns.clone());
        let width = mask.width();
        mask.pixels_mut()[row * width..][columns].fill(value);
    }

    /// Sets each of `columns` of `row` to what `value(column, class so far)` says, remembering what was there.
    pub fn paint_with(&mut self, mask: &mut Mask, row: usize, columns: Range<usize>, value: impl Fn(usize, u8) -> u8) {
        self.touch(mask, row, columns.clone());
        let width = mask.width();
        let pixels = &mut mask.pixels_mut()[row * width..][columns.clone()];
        pixels.iter_mut().zip(columns).for_each(|(pixel, column)| *pixel = value(column, *pixel));
    }

    fn touch(&mut self, mask: &Mask, row: usize, columns: Range<usize>) {
        if columns.is_empty() {
            return;
        }
        let across = mask.width().div_ceil(TILE);
        for tile_column in columns.start / TILE..=(columns.end - 1) / TILE {
            self.keep(mask, row / TILE * across + tile_column);
        }
    }

    /// Ends the gesture: the edit that leads to `mask` as it is now, or `None` when nothing changed.
    pub fn finish(self, mask: &Mask) -> Option<Edit> {
        let before = self.before.into_iter().enumerate();
        let tiles = before.filter_map(|(tile, before)| delta(&before?, mask, tile)).collect();
        Edit { tiles }.some()
    }

    fn keep(&mut self, mask: &Mask, tile: usize) {
        if self.before.len() <= tile {
            self.before.resize(tile + 1, None);
        }
        if self.before[tile].is_none() {
            self.before[tile] = Some(copy_tile(mask, tile).into());
        }
    }
}

/// The packed difference of a tile between `before` and `mask`, or `None` if they are equal.
fn delta(before: &[u8], mask: &Mask, tile: usize) -> Option<(u32, Vec<u8>)> {
    let mut delta = copy_tile(mask, tile);
    delta.iter_mut().zip(before).for_each(|(now, was)| *now ^= was);
    delta.iter().any(|&d| d != 0).then(|| (tile as u32, lz4_flex::block::compress(&delta)))
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
    let mut pixels = Vec::with_capacity(columns.len() * rows.len());
    rows.for_each(|row| pixels.extend_from_slice(&mask.pixels()[row * mask.width()..][columns.clone()]));
    pixels
}

/// One step of an image's history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it changes in the label.
    pub edit: Edit,
    /// Whether it also marks the image as labelled or, if it leaves nothing labelled, as unlabelled; undoing it does
    /// the reverse.
    pub accepts: bool,
}

impl From<Edit> for Step {
    fn from(edit: Edit) -> Self {
        Self { edit, accepts: false }
    }
}

/// The steps of one image: the first `done` are applied, the rest were undone and can be redone. A first step that
/// changes nothing cannot be undone: it stands for a label whose earlier steps are gone.
#[derive(Clone, Debug, Default)]
pub struct History {
    steps: Vec<Step>,
    done: usize,
}

impl History {
    /// A history in which the first `done` of `steps` are applied.
    pub fn new(steps: Vec<Step>, done: usize) -> Self {
        let done = done.min(steps.len());
        Self { steps, done }
    }

    /// Records a step that has been applied; any undone steps are discarded.
    pub fn push(&mut self, step: Step) {
        self.steps.truncate(self.done);
        self.steps.push(step);
        self.done += 1;
    }

    /// Number of steps applied.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Number of steps at the start that cannot be undone.
    fn fixed(&self) -> usize {
        usize::from(self.steps.first().is_some_and(|step| step.edit.is_empty() && !step.accepts))
    }

    /// Whether there is a step to undo.
    pub fn can_undo(&self) -> bool {
        self.done > self.fixed()
    }

    /// Whether there is a step to redo.
    pub fn can_redo(&self) -> bool {
        self.done < self.steps.len()
    }

    /// Undoes the last step; returns `None` if there was none.
    pub fn undo(&mut self, mask: &mut Mask) -> Result<Option<Toggled>, BadEdit> {
        if !self.can_undo() {
            return Ok(None);
        }
        let step = &self.steps[self.done - 1];
        // A step that left nothing labelled is the one that marked the image as unlabelled.
        let labelled = step.accepts.then(|| mask.is_unlabelled());
        let touched = step.edit.toggle(mask)?;
        self.done -= 1;
        Ok(Some(Toggled::new(touched, labelled, mask)))
    }

    /// Redoes the last undone step; returns `None` if there was none.
    pub fn redo(&mut self, mask: &mut Mask) -> Result<Option<Toggled>, BadEdit> {
        let Some(step) = self.steps.get(self.done) else { return Ok(None) };
        let labelled = step.accepts.then_some(true);
        let touched = step.edit.toggle(mask)?;
        self.done += 1;
        Ok(Some(Toggled::new(touched, labelled, mask)))
    }

    /// Whether `has` holds for the class of any pixel of the label, `mask`, as it is now or after any undo or redo.
    pub fn ever_has(&self, mask: &Mask, has: impl Fn(u8) -> bool) -> Result<bool, BadEdit> {
        if mask.pixels().iter().any(|class| has(*class)) {
            return Ok(true);
        }
        let back: Vec<usize> = (0..self.done).rev().collect();
        let forth: Vec<usize> = (self.done..self.steps.len()).collect();
        for places in [back, forth] {
            let mut mask = mask.clone();
            for place in places {
                for (columns, rows) in self.steps[place].edit.toggle(&mut mask)? {
                    let mut lines = rows.map(|row| &mask.pixels()[row * mask.width()..][columns.clone()]);
                    if lines.any(|line| line.iter().any(|class| has(*class))) {
                        return Ok(true);
                    }
                }
            }
        }
        Ok(false)
    }
}

/// What undoing or redoing one step changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toggled {
    /// Rectangles of the label, one a tile.
    pub touched: Vec<PixelRect>,
    /// Whether the image is labelled now, if the step says so. An image without a labelled pixel is not.
    pub labelled: Option<bool>,
}

impl Toggled {
    fn new(touched: Vec<PixelRect>, labelled: Option<bool>, mask: &Mask) -> Self {
        Self { touched, labelled: labelled.map(|labelled| labelled && !mask.is_unlabelled()) }
    }
}
