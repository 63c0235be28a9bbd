//! Checks that masks are aligned with their images. A correct outline follows visible edges, so the image gradient is
//! stronger along it than beside it. If the gradient is stronger along the shifted or mirrored outline, and in most
//! images, the masks are misplaced.

use crate::domain::mask::UNLABELLED;

/// Shifts that are tried to one side, at most.
const SHIFTS: usize = 8;
/// The largest shift that is tried, as a share of the shorter side.
const FARTHEST: f64 = 0.125;
/// Factor by which the image gradient at a candidate position must exceed the gradient at the mask's own position.
const STRONGER: f64 = 1.3;
/// Share of the images in which it must be stronger.
const MOST: f64 = 0.75;
/// Minimum number of images.
const FEWEST: usize = 5;

/// A position at which the masks would be better aligned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Shifted by columns and rows of the network's input.
    Shifted(isize, isize),
    /// Mirrored left to right.
    MirroredAcross,
    /// Mirrored top to bottom.
    MirroredDown,
    /// Rotated by 180°.
    Turned,
}

/// Accumulates, over images of one size, the image gradient along the outlines of their masks.
#[derive(Clone, Debug)]
pub struct Alignment {
    columns: usize,
    rows: usize,
    places: Vec<Place>,
    images: usize,
    /// For each candidate position, the sum over the images of the gradient there relative to the gradient at the
    /// mask's own position, and the number of images in which this ratio exceeds [`STRONGER`].
    sums: Vec<(f64, usize)>,
}

impl Alignment {
    /// Creates an accumulator for images of the given size.
    pub fn new(columns: usize, rows: usize) -> Self {
        let most = columns.min(rows) as f64 * FARTHEST;
        let step = (most / SHIFTS as f64).ceil().max(2.0) as isize;
        let most = most as isize / step * step;
        let shifts = || (-most..=most).step_by(step as usize);
        let shifted = shifts().flat_map(|y| shifts().map(move |x| Place::Shifted(x, y)));
        // The smallest shifts are within the accuracy of drawing.
        let shifted =
            shifted.filter(|place| !matches!(place, Place::Shifted(x, y) if x.abs() <= step && y.abs() <= step));
        let places: Vec<Place> =
            [Place::MirroredAcross, Place::MirroredDown, Place::Turned].into_iter().chain(shifted).collect();
        Self { columns, rows, images: 0, sums: vec![(0.0, 0); places.len()], places }
    }

    /// Adds an image, `[rows, columns, channels]`, and its label, `[rows, columns]`.
    pub fn add(&mut self, image: &[u16], label: &[u8]) {
        let (columns, rows) = (self.columns, self.rows);
        let channels = image.len() / label.len();
        let grey: Vec<f32> =
            image.chunks_exact(channels).map(|pixel| pixel.iter().map(|value| f32::from(*value)).sum()).collect();
        let change = |x: usize, y: usize| {
            let at = |x: usize, y: usize| grey[y.min(rows - 1) * columns + x.min(columns - 1)];
            let (across, down) = (at(x + 1, y) - at(x.saturating_sub(1), y), at(x, y + 1) - at(x, y.saturating_sub(1)));
            f64::from(across.hypot(down))
        };
        let changes: Vec<f64> = (0..label.len()).map(|at| change(at % columns, at / columns)).collect();
        let is_outline = |at: &usize| {
            let (x, y) = (at % columns, at / columns);
            let differs =
                |other: usize| label[other] != label[*at] && ![label[other], label[*at]].contains(&UNLABELLED);
            x + 1 < columns && differs(at + 1) || y + 1 < rows && differs(at + columns)
        };
        let outline: Vec<usize> = (0..label.len()).filter(is_outline).collect();
        let along = |place: Option<Place>| {
            let (mut sum, mut count) = (0.0, 0);
            for at in &outline {
                let (x, y) = (at % columns, at / columns);
                let (x, y) = match place {
                    None => (x, y),
                    Some(Place::Shifted(right, down)) => (x.wrapping_add_signed(right), y.wrapping_add_signed(down)),
                    Some(Place::MirroredAcross) => (columns - 1 - x, y),
                    Some(Place::MirroredDown) => (x, rows - 1 - y),
                    Some(Place::Turned) => (columns - 1 - x, rows - 1 - y),
                };
                if x < columns && y < rows {
                    sum += changes[y * columns + x];
                    count += 1;
                }
            }
            // An outline that falls mostly outside the image is not evaluated.
            (count * 2 > outline.len()).then(|| sum / f64::from(count as u32))
        };
        let Some(here) = along(None).filter(|here| *here > 0.0) else { return };
        self.images += 1;
        for (place, (sum, stronger)) in self.places.iter().zip(&mut self.sums) {
            let ratio = along(Some(*place)).unwrap_or(0.0) / here;
            *sum += ratio;
            *stronger += usize::from(ratio > STRONGER);
        }
    }

    /// Describes a position in words, with distances as percentages of the image's width and height.
    pub fn in_words(&self, place: Place) -> String {
        let share = |pixels: isize, side: usize| 100.0 * pixels as f64 / side as f64;
        match place {
            Place::Shifted(x, y) => format!(
                "shifted by {:+.0} % of the width and {:+.0} % of the height",
                share(x, self.columns),
                share(y, self.rows)
            ),
            Place::MirroredAcross => "mirrored left to right".to_owned(),
            Place::MirroredDown => "mirrored top to bottom".to_owned(),
            Place::Turned => "rotated by 180°".to_owned(),
        }
    }

    /// The position at which the masks would be better aligned, or `None` if the evidence is not clear.
    pub fn better(&self) -> Option<Place> {
        let images = self.images as f64;
        let is_plain = |sum: f64, stronger: usize| sum > STRONGER * images && stronger as f64 >= MOST * images;
        let found = self.places.iter().zip(&self.sums).filter(|(_, (sum, stronger))| is_plain(*sum, *stronger));
        let best = found.max_by(|a, b| a.1.0.total_cmp(&b.1.0));
        best.filter(|_| self.images >= FEWEST).map(|(place, _)| *place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIDE: usize = 64;

    /// Discs on an uneven ground, with their masks moved by `place`.
    fn of_discs(images: usize, moved: impl Fn(isize, isize) -> (isize, isize)) -> Option<Place> {
        let mut alignment = Alignment::new(SIDE, SIDE);
        for number in 0..images as isize {
            let (cx, cy, r) = (22 + number, 38 - 2 * number, 7 + number % 4);
            let is_inside = |x: isize, y: isize| (x - cx).pow(2) + (y - cy).pow(2) <= r * r;
            let places = || (0..SIDE * SIDE).map(|at| ((at % SIDE) as isize, (at / SIDE) as isize));
            let image: Vec<u16> = places()
                .map(|(x, y)| {
                    9000 + (x * 37 + y * 91 + number * 13) as u16 % 2000 + u16::from(is_inside(x, y)) * 20_000
                })
                .collect();
            let label: Vec<u8> = places()
                .map(|(x, y)| {
                    let (x, y) = moved(x, y);
                    u8::from(is_inside(x, y))
                })
                .collect();
            alignment.add(&image, &label);
        }
        alignment.better()
    }

    #[test]
    fn masks_that_lie_beside_their_images_are_told_from_those_that_do_not() {
        let last = SIDE as isize - 1;
        assert_eq!(of_discs(8, |x, y| (x, y)), None);
        assert_eq!(of_discs(8, |x, y| (x - 1, y + 1)), None, "a pixel is drawing");
        // The mask lies 6 columns too far right.
        assert_eq!(of_discs(8, |x, y| (x - 6, y)), Some(Place::Shifted(-6, 0)));
        assert_eq!(of_discs(8, |x, y| (last - x, y)), Some(Place::MirroredAcross));
        assert_eq!(of_discs(8, |x, y| (x, last - y)), Some(Place::MirroredDown));
        assert_eq!(of_discs(4, |x, y| (x - 6, y)), None, "four images are too few to tell");
    }
}
