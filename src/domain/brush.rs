//! A round brush dragged from one point to the next, as horizontal runs of pixels.
//!
//! A pixel is covered when its centre lies within `radius` of the segment, so a drag covers the same pixels however it
//! is split into pointer events, apart from the ends that these add. An outline is filled by the same rule on pixel
//! centres.

use std::ops::Range;

/// A point in image coordinates: the pixel at column `x`, row `y` spans `x..x + 1`, `y..y + 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Column, growing to the right.
    pub x: f64,
    /// Row, growing downwards.
    pub y: f64,
}

/// Calls `paint(row, columns)` for each run of pixels that the brush covers on its way from one point to the next, in a
/// `width` × `height` image.
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
    for row in rows(from, to, radius, height) {
        if let Some(run) = covered(from, to, radius, row).pixels(width) {
            paint(row, run);
        }
    }
}

/// Like [`sweep`], but leaves out what the brush already covered at `from`. Only newly covered pixels are painted, so a
/// large brush moves as easily as a small one.
pub fn advance(
    from: Point,
    to: Point,
    radius: f64,
    width: usize,
    height: usize,
    mut paint: impl FnMut(usize, Range<usize>),
) {
    for row in rows(from, to, radius, height) {
        let Some(run) = covered(from, to, radius, row).pixels(width) else { continue };
        let known = disc(from, radius, row as f64 + 0.5).pixels(width).unwrap_or(run.end..run.end);
        for part in [run.start..known.start.min(run.end), known.end.max(run.start)..run.end] {
            if !part.is_empty() {
                paint(row, part);
            }
        }
    }
}

/// The rows that a sweep can touch.
fn rows(from: Point, to: Point, radius: f64, height: usize) -> Range<usize> {
    let top = (from.y.min(to.y) - radius - 0.5).ceil().max(0.0);
    let bottom = (from.y.max(to.y) + radius - 0.5).floor().min(height as f64 - 1.0);
    // Also where a coordinate is not a number.
    if bottom >= top { top as usize..bottom as usize + 1 } else { 0..0 }
}

fn covered(from: Point, to: Point, radius: f64, row: usize) -> RowSpan {
    let y = row as f64 + 0.5;
    let mut run = RowSpan::EMPTY;
    run.join(disc(from, radius, y));
    run.join(disc(to, radius, y));
    run.join(swept_rectangle(from, to, radius, y));
    run
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
struct RowSpan {
    low: f64,
    high: f64,
}

impl RowSpan {
    /// The pixels of a row whose centres lie within; `None` where there are none.
    fn pixels(self, width: usize) -> Option<Range<usize>> {
        let first = (self.low - 0.5).ceil().max(0.0);
        let last = (self.high - 0.5).floor().min(width as f64 - 1.0);
        (first <= last).then(|| first as usize..last as usize + 1)
    }

    const EMPTY: Self = Self { low: f64::INFINITY, high: f64::NEG_INFINITY };

    fn join(&mut self, other: Self) {
        if other.low <= other.high {
            self.low = self.low.min(other.low);
            self.high = self.high.max(other.high);
        }
    }
}

fn disc(centre: Point, radius: f64, y: f64) -> RowSpan {
    let dy = y - centre.y;
    let half2 = radius * radius - dy * dy;
    if half2 < 0.0 {
        return RowSpan::EMPTY;
    }
    RowSpan { low: centre.x - half2.sqrt(), high: centre.x + half2.sqrt() }
}

/// Row `y`'s interval of the rectangle of half-width `radius` around the segment.
fn swept_rectangle(from: Point, to: Point, radius: f64, y: f64) -> RowSpan {
    let (dx, dy) = (to.x - from.x, to.y - from.y);
    let length = dx.hypot(dy);
    if length == 0.0 {
        return RowSpan::EMPTY;
    }
    // Along the row x = from.x + s: 0 <= s·dx + h·dy <= length² and |s·dy - h·dx| <= radius·length.
    let h = y - from.y;
    let (low, high) = slab(dx, h * dy, 0.0, length * length);
    let (low2, high2) = slab(dy, -h * dx, -radius * length, radius * length);
    RowSpan { low: from.x + low.max(low2), high: from.x + high.min(high2) }
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

/// Calls `paint(row, columns)` for each run of pixels inside a closed outline, by the even-odd rule: a pixel is inside
/// when a ray from its centre crosses the outline an odd number of times.
pub fn fill_outline(outline: &[Point], width: usize, height: usize, mut paint: impl FnMut(usize, Range<usize>)) {
    let edges = || outline.iter().zip(outline.iter().cycle().skip(1));
    let low = outline.iter().map(|p| p.y).fold(f64::INFINITY, f64::min);
    let high = outline.iter().map(|p| p.y).fold(f64::NEG_INFINITY, f64::max);
    let mut crossings = Vec::new();
    for row in rows(Point { x: 0.0, y: low }, Point { x: 0.0, y: high }, 0.0, height) {
        let y = row as f64 + 0.5;
        crossings.clear();
        crossings.extend(edges().filter_map(|(a, b)| crossing(*a, *b, y)));
        crossings.sort_unstable_by(f64::total_cmp);
        for pair in crossings.chunks_exact(2) {
            // A centre on the left edge is inside, one on the right edge is not: no pixel belongs to two neighbours.
            let first = (pair[0] - 0.5).ceil().max(0.0);
            let end = (pair[1] - 0.5).ceil().min(width as f64);
            if first < end {
                paint(row, first as usize..end as usize);
            }
        }
    }
}

/// Where the edge from `a` to `b` crosses the height `y`: each edge owns its lower end, so a corner counts once.
pub fn crossing(a: Point, b: Point, y: f64) -> Option<f64> {
    ((a.y <= y) != (b.y <= y)).then(|| a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x))
}
