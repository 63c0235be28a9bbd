//! Detects classes that are distinguished by the side they lie on, such as the left and right lung: a network trained
//! on mirrored images cannot tell them apart.

use std::collections::BTreeMap;

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::settings::Flips;

/// Minimum number of labels with both classes: in fewer, a consistent side may be chance.
const FEWEST: usize = 6;
/// The share of labels that must agree: a flipped scan, or a slip of the brush, does not make a side meaningless.
const AGREEING: f64 = 0.95;
/// Minimum mean distance between the centroids, as a fraction of the image's side.
const APART: f64 = 0.1;

/// The relative positions of the classes in a study's labels.
#[derive(Clone, Debug, Default)]
pub struct Laterality {
    pairs: BTreeMap<(u8, u8), Pair>,
}

/// Two classes in the labels that have both.
#[derive(Clone, Copy, Debug, Default)]
struct Pair {
    labels: usize,
    along: [Axis; 2],
}

#[derive(Clone, Copy, Debug, Default)]
struct Axis {
    /// Labels in which the first class's centroid comes first.
    first: usize,
    /// Sum of the distances between the centroids, as fractions of the image's side.
    apart: f64,
}

impl Axis {
    /// Whether one class always comes before the other, and by a clear margin.
    fn is_one_sided(self, labels: usize) -> bool {
        let agreeing = self.first.max(labels - self.first);
        labels >= FEWEST && agreeing as f64 >= AGREEING * labels as f64 && self.apart >= APART * labels as f64
    }
}

impl Laterality {
    /// Adds a label.
    pub fn add(&mut self, label: &Mask) {
        let mut sums = [(0u64, 0u64, 0u64); 256];
        for (row, line) in label.pixels().chunks(label.width().max(1)).enumerate() {
            for (column, class) in line.iter().enumerate() {
                let (pixels, columns, rows) = &mut sums[usize::from(*class)];
                (*pixels, *columns, *rows) = (*pixels + 1, *columns + column as u64, *rows + row as u64);
            }
        }
        let centroid = |class: u8| {
            let (pixels, columns, rows) = sums[usize::from(class)];
            let share = |sum: u64, side: usize| sum as f64 / pixels as f64 / side as f64;
            (pixels > 0).then(|| [share(columns, label.width()), share(rows, label.height())])
        };
        let present: Vec<(u8, [f64; 2])> =
            (BACKGROUND + 1..UNLABELLED).filter_map(|class| Some((class, centroid(class)?))).collect();
        for (place, (first, from)) in present.iter().enumerate() {
            for (second, to) in &present[place + 1..] {
                let pair = self.pairs.entry((*first, *second)).or_default();
                pair.labels += 1;
                for (axis, (from, to)) in pair.along.iter_mut().zip(from.iter().zip(to)) {
                    axis.first += usize::from(from < to);
                    axis.apart += (to - from).abs();
                }
            }
        }
    }

    /// The flips that keep the classes distinguishable, and the reasons for excluding the others. `names` are the class
    /// names, class 1 first.
    pub fn flips(&self, names: &[String]) -> (Flips, Vec<String>) {
        let mut reasons = Vec::new();
        let mut may_flip = |axis: usize, title: &str, [before, after]: [&str; 2]| {
            let found = self.pairs.iter().find(|(_, pair)| pair.along[axis].is_one_sided(pair.labels));
            let Some(((first, second), pair)) = found else { return true };
            let name = |class: &u8| names.get(usize::from(*class) - 1).cloned().unwrap_or_else(|| class.to_string());
            let is_before = 2 * pair.along[axis].first > pair.labels;
            let (side, agreeing) = match is_before {
                true => (before, pair.along[axis].first),
                false => (after, pair.labels - pair.along[axis].first),
            };
            reasons.push(format!(
                "training images are not mirrored {title}: “{}” lies {side} “{}” in {agreeing} of {} labels that have both; to \
                 mirror them all the same, set augment_flips=both",
                name(first),
                name(second),
                pair.labels
            ));
            false
        };
        let left_right = may_flip(0, "left–right", ["to the left of", "to the right of"]);
        let top_bottom = may_flip(1, "top–bottom", ["above", "below"]);
        (Flips::of(left_right, top_bottom), reasons)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Class 1 and class 2, each a square of 4 × 4 at its place in 32 × 32.
    fn label(places: [(usize, usize); 2]) -> Mask {
        let mut pixels = vec![BACKGROUND; 32 * 32];
        for (class, (left, top)) in (1..).zip(places) {
            for row in top..top + 4 {
                pixels[row * 32 + left..][..4].fill(class);
            }
        }
        Mask::from_pixels(32, 32, pixels).unwrap()
    }

    #[test]
    fn classes_that_keep_their_sides_are_not_mirrored_across_them() {
        let names = ["left lung".to_owned(), "right lung".to_owned()];
        let mut lungs = Laterality::default();
        for place in 0..6 {
            assert_eq!(lungs.flips(&names).0, Flips::Both, "{place} labels tell nothing");
            lungs.add(&label([(20, 8 + 2 * place), (4, 18 - 2 * place)]));
        }
        let (flips, reasons) = lungs.flips(&names);
        assert_eq!(flips, Flips::TopBottom);
        assert!(reasons[0].contains("“left lung” lies to the right of “right lung” in 6 of 6 labels"), "{reasons:?}");
        // Among a few labels one that has them the other way round means that the side says nothing; among many it is a slip.
        lungs.add(&label([(4, 8), (20, 8)]));
        assert_eq!(lungs.flips(&names).0, Flips::Both);
        (0..20).for_each(|place| lungs.add(&label([(20, 4 + place), (4, 24 - place)])));
        assert_eq!(lungs.flips(&names).0, Flips::TopBottom);
        assert!(lungs.flips(&names).1[0].contains("in 26 of 27 labels"));
        // Layers, and classes that lie nearly in one place.
        let of = |places| {
            let mut laterality = Laterality::default();
            (0..6).for_each(|_| laterality.add(&label(places)));
            laterality.flips(&names).0
        };
        assert_eq!(of([(8, 4), (8, 20)]), Flips::LeftRight);
        assert_eq!(of([(4, 4), (20, 20)]), Flips::None);
        assert_eq!(of([(8, 8), (10, 12)]), Flips::LeftRight, "a tenth of the side below");
        assert_eq!(Laterality::default().flips(&names).0, Flips::Both);
    }
}
