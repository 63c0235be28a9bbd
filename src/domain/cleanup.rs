//! Operations on all of one class at once: holes, islands, growing, shrinking, smoothing.
//!
//! Each returns a new mask in which pixels of locked classes are unchanged. Pixels removed from the class become
//! background.

use image::{GrayImage, Luma};
use imageproc::distance_transform::Norm;
use imageproc::morphology::{close_mut, dilate_mut, erode_mut, open_mut};
use imageproc::region_labelling::{Connectivity, connected_components};

use crate::domain::mask::{BACKGROUND, Mask};

/// An operation on one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanup {
    /// Holes that the class encloses completely become part of it.
    FillHoles,
    /// Connected parts of fewer pixels than this become background.
    RemoveIslands(u32),
    /// Every connected part but the largest becomes background.
    KeepLargest,
    /// The class grows by this many pixels, in Euclidean distance.
    Grow(u8),
    /// The class shrinks by this many pixels.
    Shrink(u8),
    /// Opening, then closing, by this many pixels: spikes and notches of that width go.
    Smooth(u8),
}

impl Cleanup {
    /// Applies the operation to `class` and returns the new mask. Components are 8-connected.
    pub fn apply(self, mask: &Mask, class: u8, locked: &Locked) -> Mask {
        let Some((left, top, width, height)) = self.box_around(mask, class) else { return mask.clone() };
        let mut region = GrayImage::from_fn(width as u32, height as u32, |x, y| {
            let is = mask.get(left + x as usize, top + y as usize) == Some(class);
            Luma([if is { 255 } else { 0 }])
        });
        match self {
            Self::FillHoles => fill_holes(&mut region),
            Self::RemoveIslands(fewest) => keep_parts(&mut region, |size, _| size >= fewest),
            Self::KeepLargest => keep_parts(&mut region, |size, largest| size == largest),
            Self::Grow(by) => dilate_mut(&mut region, Norm::L2, by),
            Self::Shrink(by) => erode_mut(&mut region, Norm::L2, by),
            Self::Smooth(by) => {
                open_mut(&mut region, Norm::L2, by);
                close_mut(&mut region, Norm::L2, by);
            }
        }
        let mut out = mask.clone();
        let across = mask.width();
        for (row, line) in region.as_raw().chunks(width).enumerate() {
            let pixels = &mut out.pixels_mut()[(top + row) * across + left..][..width];
            for (pixel, &is) in pixels.iter_mut().zip(line) {
                match (is != 0, *pixel == class) {
                    (true, false) if !locked.contains(*pixel) => *pixel = class,
                    (false, true) if !locked.contains(class) => *pixel = BACKGROUND,
                    _ => {}
                }
            }
        }
        out
    }

    /// Left, top, width and height of the area that the operation may change: the class's bounding box enlarged by the
    /// operation's reach, so that the work depends on the size of the object, not of the image.
    fn box_around(self, mask: &Mask, class: u8) -> Option<(usize, usize, usize, usize)> {
        let reach = match self {
            Self::Grow(by) | Self::Shrink(by) | Self::Smooth(by) => usize::from(by) + 1,
            Self::FillHoles | Self::RemoveIslands(_) | Self::KeepLargest => 1,
        };
        let (mut left, mut right, mut top, mut bottom) = (usize::MAX, 0, usize::MAX, 0);
        for (row, line) in mask.pixels().chunks(mask.width()).enumerate() {
            let Some(first) = line.iter().position(|&c| c == class) else { continue };
            let last = line.iter().rposition(|&c| c == class).unwrap_or(first);
            (left, right) = (left.min(first), right.max(last));
            (top, bottom) = (top.min(row), row);
        }
        if left == usize::MAX {
            return None;
        }
        let (left, top) = (left.saturating_sub(reach), top.saturating_sub(reach));
        let (right, bottom) = ((right + reach + 1).min(mask.width()), (bottom + reach + 1).min(mask.height()));
        Some((left, top, right - left, bottom - top))
    }
}

/// Classes that nothing may overwrite.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locked(Vec<u8>);

impl Locked {
    /// Whether the class is locked.
    pub fn contains(&self, class: u8) -> bool {
        self.0.contains(&class)
    }

    /// Whether no class is locked.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Locks or unlocks a class.
    pub fn toggle(&mut self, class: u8) {
        match self.0.iter().position(|&c| c == class) {
            Some(place) => {
                self.0.remove(place);
            }
            None => self.0.push(class),
        }
    }
}

/// Background that is not 4-connected to the border becomes part of the region. A hole at the image's own border is
/// open.
fn fill_holes(region: &mut GrayImage) {
    let (width, height) = region.dimensions();
    let mut ground = region.clone();
    ground.iter_mut().for_each(|v| *v = 255 - *v);
    let parts = connected_components(&ground, Connectivity::Four, Luma([0]));
    let count = parts.iter().copied().max().unwrap_or(0) as usize;
    let mut open = vec![false; count + 1];
    for x in 0..width {
        open[parts.get_pixel(x, 0).0[0] as usize] = true;
        open[parts.get_pixel(x, height - 1).0[0] as usize] = true;
    }
    for y in 0..height {
        open[parts.get_pixel(0, y).0[0] as usize] = true;
        open[parts.get_pixel(width - 1, y).0[0] as usize] = true;
    }
    for (value, &part) in region.iter_mut().zip(parts.as_raw()) {
        if part != 0 && !open[part as usize] {
            *value = 255;
        }
    }
}

/// Keeps the connected parts for which `keep(size, largest size)` holds.
fn keep_parts(region: &mut GrayImage, keep: impl Fn(u32, u32) -> bool) {
    let parts = connected_components(region, Connectivity::Eight, Luma([0]));
    let mut sizes = vec![0u32; parts.iter().copied().max().unwrap_or(0) as usize + 1];
    parts.iter().for_each(|&part| sizes[part as usize] += 1);
    let largest = sizes.iter().skip(1).copied().max().unwrap_or(0);
    for (value, &part) in region.iter_mut().zip(parts.as_raw()) {
        if part != 0 && !keep(sizes[part as usize], largest) {
            *value = 0;
        }
    }
}

/// Flood fill: the pixels that are 4-connected to `seed` and for which `belongs(column, row)` holds, as one run of
/// columns after another, each with its row.
pub fn flood(
    width: usize,
    height: usize,
    seed: (usize, usize),
    belongs: impl Fn(usize, usize) -> bool,
) -> Vec<(usize, std::ops::Range<usize>)> {
    let mut seen = vec![false; width * height];
    let mut runs = Vec::new();
    let mut waiting = vec![seed];
    while let Some((x, y)) = waiting.pop() {
        if x >= width || y >= height || seen[y * width + x] || !belongs(x, y) {
            continue;
        }
        let joins = |x: usize| !seen[y * width + x] && belongs(x, y);
        let start = (0..x).rev().take_while(|&x| joins(x)).last().unwrap_or(x);
        let end = (x..width).take_while(|&x| joins(x)).last().unwrap_or(x) + 1;
        seen[y * width + start..y * width + end].fill(true);
        for row in [y.checked_sub(1), (y + 1 < height).then_some(y + 1)].into_iter().flatten() {
            // One seed for each stretch of the neighbouring row is enough.
            let mut before = false;
            for x in start..end {
                let open = !seen[row * width + x] && belongs(x, row);
                if open && !before {
                    waiting.push((x, row));
                }
                before = open;
            }
        }
        runs.push((y, start..end));
    }
    runs
}
