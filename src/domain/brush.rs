//! A round brush dragged from one point to the next, as horizontal runs of pixels.
//!
//! A pixel is covered when its centre lies within `radius` of the segment, so one drag covers the same pixels however
//! the pointer's events cut it, up to the ends they add.

use std::ops::Range;

/// A point in image coordinates: the pixel at column `x`, row `y` spans `x..x + 1`, `y..y + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Column, growing to the right.
    pub x: f64,
    /// Row, growing downwards.
    pub y: f64,
}

/// Calls `paint(row, columns)` once for each row of a `width` × `height` image that the brush covers.
///
/// The work is proportional to the rows covered: each row's run is the union of the two discs' and the swept
/// rectangle's intervals, which is one interval because the covered shape is convex.
pub fn sweep(
    from: Point,
    to: Point,
    radius: f64,
    width: usize,
    height: usize,
    mut paint: impl FnMut(usize, Range<usize>),
) {
    let top = (from.y.min(to.y) - radius - 0.5).ceil().max(0.0);
    let bottom = (from.y.max(to.y) + radius - 0.5).floor().min(height as f64 - 1.0);
    if top > bottom || top.is_nan() || bottom.is_nan() || width == 0 {
        return;
    }
    for row in top as usize..=bottom as usize {
        let y = row as f64 + 0.5;
        let mut run = Interval::EMPTY;
        run.join(disc(from, radius, y));
        run.join(disc(to, radius, y));
        run.join(swept_rectangle(from, to, radius, y));
        let first = (run.low - 0.5).ceil().max(0.0);
        let last = (run.high - 0.5).floor().min(width as f64 - 1.0);
        if first <= last {
            paint(row, first as usize..last as usize + 1);
        }
    }
}

/// True where the pixel centre (`x` + ½, `y` + ½) lies within `radius` of the segment: the definition [`sweep`] keeps.
pub fn covers(from: Point, to: Point, radius: f64, x: usize, y: usize) -> bool {
    let (px, py) = (x as f64 + 0.5 - from.x, y as f64 + 0.5 - from.y);
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length2 = dx * dx + dy * dy;
    let along = if length2 > 0.0 { ((px * dx + py * dy) / length2).clamp(0.0, 1.0) } else { 0.0 };
    let (ex, ey) = (px - along * dx, py - along * dy);
    ex * ex + ey * ey <= radius * radius
}

#[derive(Clone, Copy)]
struct Interval {
    low: f64,
    high: f64,
}

impl Interval {
    const EMPTY: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };

    fn join(&mut self, other: Self) {
        if other.low <= other.high {
            self.low = self.low.min(other.low);
            self.high = self.high.max(other.high);
        }
    }
}

fn disc(centre: Point, radius: f64, y: f64) -> Interval {
    let dy = y - centre.y;
    let half2 = radius * radius - dy * dy;
    if half2 < 0.0 {
        return Interval::EMPTY;
    }
    Interval { low: centre.x - half2.sqrt(), high: centre.x + half2.sqrt() }
}

/// Row `y`'s interval of the rectangle of half-width `radius` around the segment.
fn swept_rectangle(from: Point, to: Point, radius: f64, y: f64) -> Interval {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy);
    if length == 0.0 {
        return Interval::EMPTY;
    }
    // Along the row x = from.x + s: 0 <= s·dx + h·dy <= length² and |s·dy - h·dx| <= radius·length.
    let h = y - from.y;
    let (low, high) = slab(dx, h * dy, 0.0, length * length);
    let (low2, high2) = slab(dy, -h * dx, -radius * length, radius * length);
    Interval { low: from.x + low.max(low2), high: from.x + high.min(high2) }
}

/// The `s` with `low <= s * slope + offset <= high`.
fn slab(slope: f64, offset: f64, low: f64, high: f64) -> (f64, f64) {
    if slope == 0.0 {
        if (low..=high).contains(&offset) {
            return (f64::NEG_INFINITY, f64::INFINITY);
        }
        return (f64::INFINITY, f64::NEG_INFINITY);
    }
    let (a, b) = ((low - offset) / slope, (high - offset) / slope);
    (a.min(b), a.max(b))
}
