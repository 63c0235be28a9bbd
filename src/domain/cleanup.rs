//! Operations on all of one class at once: holes, islands, growing, shrinking, smoothing.
//!
//! Each returns a new mask in which pixels of locked classes are unchanged. Pixels removed from the class become
//! background.

use image::{GrayImage, Luma};
use imageproc::distance_transform::Norm;
use imageproc::morphology::{dilate_mut, erode_mut};
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
    /// A median: a pixel is of the class if most pixels within this distance are; in a tie it stays as it is.
    /// Spikes, notches and islands narrower than about the distance go, and objects further apart are not joined.
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
            Self::Smooth(by) => median(&mut region, width, by.into()),
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
            Self::Grow(by) | Self::Shrink(by) => usize::from(by) + 1,
            // Beyond the pixels that may change, all those that decide on them.
            Self::Smooth(by) => 2 * usize::from(by) + 1,
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

/// Each pixel becomes 255 or 0, whichever more of the pixels within `radius` are. Those outside the image do not count.
///
/// The votes of a disc (1 for 255, -1 for 0) are, row by row, differences of running sums.
fn median(region: &mut [u8], width: usize, radius: usize) {
    let (height, kept) = (region.len() / width, 2 * radius + 1);
    // Of the rows within reach, continued by `radius` to both sides: at `radius + x` the sum before column x.
    let length = width + 2 * radius + 1;
    let mut sums = vec![0i32; kept * length];
    let mut votes = vec![0i32; width];
    let mut next = 0;
    for y in 0..height {
        while next < height && next <= y + radius {
            let sums = &mut sums[next % kept * length..][..length];
            let mut sum = 0;
            for (after, value) in sums[radius + 1..].iter_mut().zip(&region[next * width..][..width]) {
                sum += if *value == 0 { -1 } else { 1 };
                *after = sum;
            }
            sums[radius + width..].fill(sum);
            next += 1;
        }
        votes.fill(0);
        for row in y.saturating_sub(radius)..(y + radius + 1).min(height) {
            let half = (radius.pow(2) - row.abs_diff(y).pow(2)).isqrt();
            let sums = &sums[row % kept * length..][..length];
            let (before, after) = (&sums[radius - half..], &sums[radius + half + 1..]);
            votes.iter_mut().zip(before).zip(after).for_each(|((vote, before), after)| *vote += after - before);
        }
        for (pixel, vote) in region[y * width..][..width].iter_mut().zip(&votes) {
            *pixel = match vote.signum() {
                1 => 255,
                -1 => 0,
                _ => *pixel,
            };
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
