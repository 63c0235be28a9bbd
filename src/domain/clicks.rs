//! Segmentation by clicks and boxes: a random walker with priors (Grady, IEEE PAMI 28, 2006, and CVPR 2005).
//!
//! The pixel probabilities x minimise Σ w (xᵢ − xⱼ)² over neighbours, with weights w that decrease with the colour
//! difference, plus γ Σ (x − p)². The prior p combines the current label (or, where it is empty, the network's
//! prediction) with each pixel's similarity to the clicked pixels in colour and position; clicked pixels are held
//! fixed. Only regions connected to a click are changed.

use std::ops::Range;

use image::{ImageBuffer, Rgb};
use imageproc::filter::gaussian_blur_f32;

use crate::domain::cleanup::flood;
use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::picture::Picture;
use crate::domain::prediction::Prediction;

/// Maximum side of the grid on which the random walk is solved.
const GRID: usize = 192;
/// In larger images, only the region around the clicks is processed, up to this many pixels beyond them.
const AROUND: usize = 512;
/// Side of the grid for which the lengths below are given.
const REFERENCE: f32 = 128.0;
/// Standard deviation of the blur before colours are compared.
const BLUR: f32 = 1.5;
/// Radius of a click in grid cells, and its maximum in image pixels.
const RADIUS: f32 = 2.0;
const RADIUS_PX: f32 = 6.0;
/// Weight of the prior relative to a pixel's neighbours.
const PRIOR: f32 = 0.005;
/// Log-odds of a pixel that has a label.
const LABELLED: f32 = 2.5;
/// And of one in a box, where nothing else is known.
const BOXED: f32 = 1.2;
/// Weight of the similarity to clicked pixels.
const LIKENESS: f32 = 1.5;
/// Baseline similarity of every pixel to the background.
const UNLIKE: f32 = 0.15;
/// Baseline similarity to the object where nothing else is known.
const LEAST: f32 = 1e-3;
/// Standard deviations of the similarity: in colour (0 to 1), and in position (as a fraction of the grid's longer
/// side).
const COLOUR: f32 = 0.12;
const PLACE: f32 = 0.25;
/// The weight of two neighbours however different.
const LEAST_WEIGHT: f32 = 1e-3;
/// Maximum number of solver steps, and the relative residual at which the solver stops.
const STEPS: usize = 500;
const RESIDUAL: f32 = 1e-4;

/// A pixel marked as belonging to the object or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click {
    /// Column and row.
    pub at: (usize, usize),
    /// Whether it belongs to the object.
    pub is_positive: bool,
}

/// What the user has marked for an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clicks {
    /// Single pixels.
    pub points: Vec<Click>,
    /// A box, as columns and rows, that contains the whole object.
    pub within: Option<(Range<usize>, Range<usize>)>,
}

impl Clicks {
    /// Whether another click at this position, in an image of this size, belongs with these: it must lie within the box
    /// and, in a large image, in the region around the first click.
    pub fn take(&self, (x, y): (usize, usize), width: usize, height: usize) -> bool {
        let is_within = self.within.as_ref().is_none_or(|(columns, rows)| columns.contains(&x) && rows.contains(&y));
        let is_near = |a: usize, b: usize, side: usize| side <= 2 * AROUND || a.abs_diff(b) <= AROUND;
        let first = self.points.first().map_or((x, y), |click| click.at);
        is_within && is_near(x, first.0, width) && is_near(y, first.1, height)
    }
}

/// A run of pixels in a row that is added to the object (`true`) or removed from it.
pub type Run = (usize, Range<usize>, bool);

/// The region of an image that is processed, and its grid.
struct Grid {
    left: usize,
    top: usize,
    /// Pixels of the image.
    width: usize,
    height: usize,
    columns: usize,
    rows: usize,
}

impl Grid {
    fn new(width: usize, height: usize, clicks: &Clicks) -> Self {
        let along = |side: usize, places: Vec<usize>| {
            if side <= 2 * AROUND {
                return 0..side;
            }
            let low = places.iter().min().map_or(0, |place| place.saturating_sub(AROUND));
            low..places.iter().max().map_or(side, |place| (place + AROUND).min(side))
        };
        let ends = |range: &Range<usize>| [range.start, range.end];
        let points = clicks.points.iter();
        let within = clicks.within.as_ref();
        let across = points.clone().map(|click| click.at.0).chain(within.into_iter().flat_map(|(c, _)| ends(c)));
        let down = points.map(|click| click.at.1).chain(within.into_iter().flat_map(|(_, r)| ends(r)));
        let (across, down) = (along(width, across.collect()), along(height, down.collect()));
        let scale = (across.len().max(down.len()) as f32 / GRID as f32).max(1.0);
        let cells = |side: usize| ((side as f32 / scale).round() as usize).max(1);
        let (columns, rows) = (cells(across.len()), cells(down.len()));
        Self { left: across.start, top: down.start, width: across.len(), height: down.len(), columns, rows }
    }

    /// The cell of a pixel of the image.
    fn cell(&self, x: usize, y: usize) -> (usize, usize) {
        let along = |at: usize, from: usize, side: usize, cells: usize| {
            (at.saturating_sub(from) * cells / side.max(1)).min(cells - 1)
        };
        (along(x, self.left, self.width, self.columns), along(y, self.top, self.height, self.rows))
    }

    fn scale(&self) -> f32 {
        self.columns.max(self.rows) as f32 / REFERENCE
    }
}

/// What is known of the cells before a click is looked at.
struct Known {
    /// Mean colour, blurred.
    colours: Vec<[f32; 3]>,
    /// Log-odds that the cell belongs to the object, or `None` without evidence.
    odds: Vec<Option<f32>>,
}

impl Known {
    fn new(grid: &Grid, picture: &Picture, label: &Mask, class: u8, prediction: Option<&Prediction>) -> Self {
        let cells = grid.columns * grid.rows;
        let mut sums = vec![[0.0f32; 3]; cells];
        let mut pixels = vec![0u32; cells];
        let mut labelled = vec![(0u32, 0i32); cells];
        for y in grid.top..grid.top + grid.height {
            for x in grid.left..grid.left + grid.width {
                let (column, row) = grid.cell(x, y);
                let cell = row * grid.columns + column;
                picture.colour(x, y).iter().zip(&mut sums[cell]).for_each(|(value, sum)| *sum += value);
                pixels[cell] += 1;
                match label.get(x, y) {
                    Some(UNLABELLED) | None => {}
                    Some(found) => {
                        labelled[cell].0 += 1;
                        labelled[cell].1 += if found == class { 1 } else { -1 };
                    }
                }
            }
        }
        let mean = |cell: usize| sums[cell].map(|sum| sum / pixels[cell].max(1) as f32);
        let small = ImageBuffer::from_fn(grid.columns as u32, grid.rows as u32, |x, y| {
            Rgb(mean(y as usize * grid.columns + x as usize))
        });
        let blurred = gaussian_blur_f32(&small, BLUR * grid.scale());
        let network = |cell: usize| {
            let prediction = prediction?;
            let share = |cell: usize, from: usize, side: usize, cells: usize, all: usize| {
                (from as f64 + (cell as f64 + 0.5) * side as f64 / cells as f64) / all as f64
            };
            let (column, row) = (cell % grid.columns, cell / grid.columns);
            let index = prediction.index_at(
                share(column, grid.left, grid.width, grid.columns, picture.width),
                share(row, grid.top, grid.height, grid.rows, picture.height),
            );
            let is_class = prediction.class[index] == class;
            let p = if is_class { f32::from(prediction.probability[index]) / 255.0 } else { 0.0 };
            let p = p.clamp(0.02, 0.98);
            Some((p / (1.0 - p)).ln())
        };
        let odds = (0..cells).map(|cell| match labelled[cell] {
            (some, sum) if 2 * some >= pixels[cell] && some > 0 => Some(if sum > 0 { LABELLED } else { -LABELLED }),
            _ => network(cell),
        });
        Self { odds: odds.collect(), colours: blurred.pixels().map(|pixel| pixel.0).collect() }
    }
}

/// Segments the object of `class` from the clicks. Returns the pixels to add to the object in `label` or to remove from
/// it; `prediction` is the network's, if there is one.
pub fn segment(
    picture: &Picture,
    label: &Mask,
    class: u8,
    prediction: Option<&Prediction>,
    clicks: &Clicks,
) -> Vec<Run> {
    let grid = Grid::new(picture.width, picture.height, clicks);
    let known = Known::new(&grid, picture, label, class, prediction);
    let (prior, fixed) = priors(&grid, &known, clicks);
    let x = walk(&grid, &known.colours, &prior, &fixed);
    let belongs = |column: usize, row: usize| at(&grid, &x, column, row) > 0.5;
    let is_labelled = |x: usize, y: usize| label.get(x + grid.left, y + grid.top) == Some(class);
    let mut runs: Vec<Run> = Vec::new();
    for click in &clicks.points {
        let (column, row) = (click.at.0.wrapping_sub(grid.left), click.at.1.wrapping_sub(grid.top));
        if column >= grid.width || row >= grid.height {
            continue;
        }
        let is_more = click.is_positive && is_labelled(column, row);
        let spreads = |x: usize, y: usize| match click.is_positive {
            // A click on what is labelled asks for the rest of the object.
            true if is_more => belongs(x, y),
            true => belongs(x, y) && !is_labelled(x, y),
            false => !belongs(x, y) && is_labelled(x, y),
        };
        for (y, columns) in flood(grid.width, grid.height, (column, row), spreads) {
            runs.push((y + grid.top, columns.start + grid.left..columns.end + grid.left, click.is_positive));
        }
    }
    runs
}

/// The prior of each cell, and its value if it is fixed.
fn priors(grid: &Grid, known: &Known, clicks: &Clicks) -> (Vec<f32>, Vec<Option<f32>>) {
    let cells = grid.columns * grid.rows;
    let (mut like, mut unlike) = (vec![0.0f32; cells], vec![UNLIKE; cells]);
    let mut fixed = vec![None; cells];
    let mut nearest = vec![f32::INFINITY; cells];
    let cell_px = grid.width as f32 / grid.columns as f32;
    let radius = (RADIUS * grid.scale()).min(RADIUS_PX / cell_px).max(0.5);
    let spread = 2.0 * (PLACE * grid.columns.max(grid.rows) as f32).powi(2);
    let place = |cell: usize| ((cell % grid.columns) as f32, (cell / grid.columns) as f32);
    let mut say = |(column, row): (usize, usize), is_positive: bool, fixes: bool| {
        let distance = |cell: usize| {
            let (x, y) = place(cell);
            (x - column as f32).powi(2) + (y - row as f32).powi(2)
        };
        let clicked: Vec<usize> = (0..cells).filter(|cell| distance(*cell) <= radius * radius).collect();
        let mut colour = [0.0f32; 3];
        for cell in &clicked {
            known.colours[*cell].iter().zip(&mut colour).for_each(|(value, sum)| *sum += value / clicked.len() as f32);
            // Where clicks are close to each other, the nearer one counts, of equally near ones the later.
            if fixes && distance(*cell) <= nearest[*cell] {
                nearest[*cell] = distance(*cell);
                fixed[*cell] = Some(f32::from(u8::from(is_positive)));
            }
        }
        let likeness = if is_positive { &mut like } else { &mut unlike };
        for (cell, likeness) in likeness.iter_mut().enumerate() {
            let off: f32 = known.colours[cell].iter().zip(colour).map(|(a, b)| (a - b).powi(2)).sum();
            let near = (-off / (2.0 * COLOUR * COLOUR) - distance(cell) / spread).exp();
            *likeness = likeness.max(near);
        }
    };
    for click in &clicks.points {
        say(grid.cell(click.at.0, click.at.1), click.is_positive, true);
    }
    if let Some((columns, rows)) = &clicks.within {
        let (left, top) = grid.cell(columns.start, rows.start);
        let (right, bottom) = grid.cell(columns.end.saturating_sub(1), rows.end.saturating_sub(1));
        // What lies around the box looks like background.
        let around = |low: usize, high: usize, cells: usize| {
            [low.checked_sub(2), Some((low + high) / 2), (high + 2 < cells).then_some(high + 2)]
        };
        for (x, column) in around(left, right, grid.columns).into_iter().enumerate() {
            for (y, row) in around(top, bottom, grid.rows).into_iter().enumerate() {
                if let (Some(column), Some(row), false) = (column, row, (x, y) == (1, 1)) {
                    say((column, row), false, false);
                }
            }
        }
        for (cell, fixed) in fixed.iter_mut().enumerate() {
            let (column, row) = (cell % grid.columns, cell / grid.columns);
            if !(left..=right).contains(&column) || !(top..=bottom).contains(&row) {
                fixed.get_or_insert(0.0);
            }
        }
    }
    let prior = |cell: usize| {
        let (odds, least) = match known.odds[cell] {
            Some(odds) => (odds, UNLIKE),
            // In a box, what does not look like its surroundings.
            None if clicks.within.is_some() && fixed[cell].is_none() => (BOXED, UNLIKE),
            None => (0.0, LEAST),
        };
        let odds = odds + LIKENESS * ((like[cell] + least).ln() - (unlike[cell] + LEAST).ln());
        1.0 / (1.0 + (-odds).exp())
    };
    ((0..cells).map(prior).collect(), fixed)
}

/// Solves the walk by conjugate gradients with a diagonal preconditioner.
fn walk(grid: &Grid, colours: &[[f32; 3]], prior: &[f32], fixed: &[Option<f32>]) -> Vec<f32> {
    let edges = Edges::new(grid, colours);
    let gamma = PRIOR / grid.scale().powi(2);
    let hold: Vec<f32> = fixed.iter().map(|fixed| if fixed.is_some() { 1e3 } else { gamma }).collect();
    let mut x: Vec<f32> = fixed.iter().zip(prior).map(|(fixed, prior)| fixed.unwrap_or(*prior)).collect();
    let mut diagonal = hold.clone();
    edges.for_each(|a, b, weight| {
        diagonal[a] += weight;
        diagonal[b] += weight;
    });
    let times = |x: &[f32]| -> Vec<f32> {
        let mut out: Vec<f32> = x.iter().zip(&diagonal).map(|(x, d)| x * d).collect();
        edges.for_each(|a, b, weight| {
            out[a] -= weight * x[b];
            out[b] -= weight * x[a];
        });
        out
    };
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let precondition = |r: &[f32]| -> Vec<f32> { r.iter().zip(&diagonal).map(|(r, d)| r / d).collect() };
    let mut residual: Vec<f32> = times(&x).iter().zip(&x).zip(&hold).map(|((ax, x), hold)| hold * x - ax).collect();
    let mut z = precondition(&residual);
    let mut direction = z.clone();
    let mut rz = dot(&residual, &z);
    let end = rz * f64::from(RESIDUAL).powi(2);
    for _ in 0..STEPS {
        if rz <= end || rz <= 0.0 {
            break;
        }
        let a = times(&direction);
        let alpha = (rz / dot(&direction, &a)) as f32;
        x.iter_mut().zip(&direction).for_each(|(x, d)| *x += alpha * d);
        residual.iter_mut().zip(&a).for_each(|(r, a)| *r -= alpha * a);
        z = precondition(&residual);
        let next = dot(&residual, &z);
        let beta = (next / rz) as f32;
        direction.iter_mut().zip(&z).for_each(|(d, z)| *d = z + beta * *d);
        rz = next;
    }
    x
}

/// Offsets in columns and rows of a cell's following neighbours, and a factor on their weight. Including diagonal
/// neighbours, weighted by distance, makes borders as smooth across the grid as along it.
const AFTER: [(isize, usize, f32); 4] =
    [(1, 0, 1.0), (0, 1, 1.0), (1, 1, std::f32::consts::FRAC_1_SQRT_2), (-1, 1, std::f32::consts::FRAC_1_SQRT_2)];

/// Weights between neighbouring cells.
struct Edges {
    columns: usize,
    /// For each cell, of each of [`AFTER`]; 0 where it has no such neighbour.
    weights: Vec<[f32; AFTER.len()]>,
}

impl Edges {
    fn new(grid: &Grid, colours: &[[f32; 3]]) -> Self {
        let off = |a: usize, b: usize| -> f32 { colours[a].iter().zip(colours[b]).map(|(a, b)| (a - b).powi(2)).sum() };
        let neighbours = |cell: usize| {
            let (column, row) = (cell % grid.columns, cell / grid.columns);
            AFTER.map(|(across, down, _)| {
                let column = column.checked_add_signed(across).filter(|column| *column < grid.columns)?;
                (row + down < grid.rows).then_some((row + down) * grid.columns + column)
            })
        };
        let (mut sum, mut count) = (0.0f64, 0u32);
        for cell in 0..colours.len() {
            for next in neighbours(cell).into_iter().take(2).flatten() {
                sum += f64::from(off(cell, next));
                count += 1;
            }
        }
        let mean = (sum / f64::from(count.max(1))) as f32 + 1e-9;
        let weights = (0..colours.len()).map(|cell| {
            let mut weights = [0.0; AFTER.len()];
            for ((next, weight), (_, _, share)) in neighbours(cell).into_iter().zip(&mut weights).zip(AFTER) {
                *weight = next.map_or(0.0, |next| share * ((-off(cell, next) / mean).exp() + LEAST_WEIGHT));
            }
            weights
        });
        Self { columns: grid.columns, weights: weights.collect() }
    }

    /// Calls `visit` with each pair of neighbours and their weight.
    fn for_each(&self, mut visit: impl FnMut(usize, usize, f32)) {
        for (cell, weights) in self.weights.iter().enumerate() {
            for (weight, (across, down, _)) in weights.iter().zip(AFTER) {
                if *weight > 0.0 {
                    visit(cell, (cell + down * self.columns).wrapping_add_signed(across), *weight);
                }
            }
        }
    }
}

/// The value at a pixel of the processed region, interpolated bilinearly between the centres of the cells.
fn at(grid: &Grid, x: &[f32], column: usize, row: usize) -> f32 {
    let along = |at: usize, side: usize, cells: usize| {
        let place = ((at as f32 + 0.5) * cells as f32 / side as f32 - 0.5).clamp(0.0, cells as f32 - 1.0);
        let low = place as usize;
        (low, (low + 1).min(cells - 1), place - low as f32)
    };
    let (left, right, across) = along(column, grid.width, grid.columns);
    let (top, bottom, down) = along(row, grid.height, grid.rows);
    let value = |column: usize, row: usize| x[row * grid.columns + column];
    let upper = value(left, top) * (1.0 - across) + value(right, top) * across;
    let lower = value(left, bottom) * (1.0 - across) + value(right, bottom) * across;
    upper * (1.0 - down) + lower * down
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two bright discs on a dark ground with some texture.
    fn picture(side: usize) -> Picture {
        let bytes = (0..side * side).flat_map(|place| {
            let (x, y) = ((place % side) as f32 / side as f32, (place / side) as f32 / side as f32);
            let inside = |cx: f32, cy: f32| (x - cx).hypot(y - cy) < 0.15;
            let value = if inside(0.3, 0.4) || inside(0.75, 0.6) { 180 } else { 60 };
            let value = value + (place * 7919 % 13) as u8;
            [value, value, value, 255]
        });
        Picture::of_colour(side, side, bytes.collect())
    }

    fn applied(label: &Mask, runs: &[Run]) -> Mask {
        let mut out = label.clone();
        for (row, columns, joins) in runs {
            out.pixels_mut()[row * label.width()..][columns.clone()].fill(u8::from(*joins));
        }
        out
    }

    fn share(mask: &Mask) -> f64 {
        mask.pixels().iter().filter(|class| **class == 1).count() as f64 / mask.pixels().len() as f64
    }

    #[test]
    fn a_click_takes_the_object_under_it_and_no_other_and_a_negative_one_gives_it_back() {
        let disc = std::f64::consts::PI * 0.15 * 0.15;
        for side in [150, 700, 1500] {
            let picture = picture(side);
            let empty = Mask::filled(side, side, UNLABELLED);
            let place = |x: f64, y: f64| ((x * side as f64) as usize, (y * side as f64) as usize);
            let first = Click { at: place(0.3, 0.4), is_positive: true };
            let clicks = Clicks { points: vec![first], within: None };
            let label = applied(&empty, &segment(&picture, &empty, 1, None, &clicks));
            assert!((share(&label) / disc - 1.0).abs() < 0.15, "{side}: {} of {disc}", share(&label));
            let (x, y) = place(0.75, 0.6);
            assert_eq!(label.get(x, y), Some(UNLABELLED), "the other disc was not clicked");
            let negative = Clicks { points: vec![Click { is_positive: false, ..first }], within: None };
            let without = applied(&label, &segment(&picture, &label, 1, None, &negative));
            assert!(share(&without) < 0.3 * disc, "{side}: {}", share(&without));
        }
    }

    #[test]
    fn clicks_go_together_within_a_box_and_within_the_part_of_a_large_image() {
        let at = |at| Click { at, is_positive: true };
        let boxed = Clicks { points: vec![at((50, 50))], within: Some((0..100, 0..100)) };
        assert!(boxed.take((99, 0), 300, 300) && !boxed.take((100, 0), 300, 300));
        let far = Clicks { points: vec![at((500, 500))], within: None };
        assert!(
            far.take((1000, 500), 5000, 5000)
                && !far.take((500, 4000), 5000, 5000)
                && far.take((0, 4000), 5000, 800 + 224)
        );
        // Two clicks close to each other: each keeps its own place.
        let picture = picture(150);
        let empty = Mask::filled(150, 150, UNLABELLED);
        let clicks = Clicks { points: vec![at((45, 60)), Click { at: (46, 60), is_positive: false }], within: None };
        let runs = segment(&picture, &empty, 1, None, &clicks);
        assert!(runs.iter().any(|(row, columns, joins)| *row == 60 && columns.contains(&45) && *joins), "{runs:?}");
    }

    #[test]
    fn a_box_bounds_the_object_and_the_network_is_believed_where_nothing_else_is_known() {
        let picture = picture(300);
        let empty = Mask::filled(300, 300, UNLABELLED);
        let middle = Click { at: (90, 120), is_positive: true };
        let clicks = Clicks { points: vec![middle], within: Some((40..140, 70..170)) };
        let label = applied(&empty, &segment(&picture, &empty, 1, None, &clicks));
        let disc = std::f64::consts::PI * 0.15 * 0.15;
        assert!((share(&label) / disc - 1.0).abs() < 0.15, "{}", share(&label));
        // A network that is sure of a square around the click, whatever the image shows.
        let is_square = |place: usize| (60..120).contains(&(place % 300)) && (90..150).contains(&(place / 300));
        let mean: Vec<f32> = (0..300 * 300).map(|place| if is_square(place) { 0.99 } else { 0.01 }).collect();
        let zeros = vec![0.0; mean.len()];
        let moments = crate::domain::scores::Moments {
            width: 300,
            height: 300,
            classes: 1,
            mean,
            variance: zeros.clone(),
            entropy: zeros.clone(),
            mutual_information: zeros,
        };
        let flat = Picture::of_colour(300, 300, vec![90; 300 * 300 * 4]);
        let clicks = Clicks { points: vec![middle], within: None };
        let label = applied(&empty, &segment(&flat, &empty, 1, Some(&Prediction::of(&moments)), &clicks));
        let agrees = label.pixels().iter().enumerate().filter(|(i, class)| (**class == 1) == is_square(*i)).count();
        assert!(agrees > 300 * 300 * 97 / 100, "{agrees}");
    }
}
