//! Where to look in the open image: its uncertain regions, and what is still unlabelled.

use crate::app::editor::Editor;
use crate::domain::mask::{BACKGROUND, UNLABELLED};

/// The regions of high variance, and how many of them were visited.
pub(super) struct UncertainRegions {
    places: Vec<(f64, f64)>,
    visited: usize,
}

/// The next of the uncertain regions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum NextRegion {
    /// A region: its centre as fractions of width and height, its number from 1, and the number of regions.
    Region((f64, f64), usize, usize),
    /// All regions, this many, have been visited; the next call starts over.
    NoMore(usize),
}

impl Editor {
    /// The next region of high variance, largest total variance first; `None` without a prediction.
    pub fn next_uncertain_region(&mut self) -> Option<NextRegion> {
        let prediction = self.prediction.as_ref()?;
        let regions = self
            .uncertain
            .get_or_insert_with(|| UncertainRegions { places: prediction.uncertain_regions(), visited: 0 });
        let all = regions.places.len();
        let Some(place) = regions.places.get(regions.visited) else {
            regions.visited = 0;
            return Some(NextRegion::NoMore(all));
        };
        regions.visited += 1;
        Some(NextRegion::Region(*place, regions.visited, all))
    }

    /// Whether the label as drawn has both background and unlabelled pixels: only then must the two look different.
    pub fn has_both_unpainted(&mut self) -> bool {
        let revision = self.revision;
        match self.has_background {
            Some((known, has)) if known == revision => has,
            _ => {
                let pixels = self.drawn_mask().pixels();
                let has = pixels.contains(&BACKGROUND) && pixels.contains(&UNLABELLED);
                self.has_background = Some((revision, has));
                has
            }
        }
    }
}
