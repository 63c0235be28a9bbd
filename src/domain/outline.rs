//! Outlines of regions along pixel edges; filling them restores exactly the same pixels.

use image::{GrayImage, ImageBuffer, Luma};
use imageproc::region_labelling::{Connectivity, connected_components};

use crate::domain::mask::Mask;
use crate::domain::regions::numbered;

/// A closed line as columns and rows of pixel corners; the first corner is not repeated at the end.
pub type Ring = Vec<[u32; 2]>;

/// A part of a region whose pixels are connected by their sides. No ring crosses or touches itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Polygon {
    /// The outer outline.
    pub exterior: Ring,
    /// The outlines of the holes.
    pub holes: Vec<Ring>,
}

/// The regions of a class in the order of [`numbered`], each as one polygon or as several that touch at corners.
pub fn outlines(label: &Mask, class: u8) -> Vec<Vec<Polygon>> {
    let regions = numbered(label, class);
    let (width, height) = regions.dimensions();
    let is_class = |x: u32, y: u32| label.get(x as usize, y as usize) == Some(class);
    let binary = GrayImage::from_fn(width, height, |x, y| Luma([if is_class(x, y) { 255 } else { 0 }]));
    let parts = connected_components(&binary, Connectivity::Four, Luma([0]));
    let mut region_of = vec![0; parts.iter().copied().max().unwrap_or(0) as usize];
    for (part, region) in parts.pixels().zip(regions.pixels()).filter(|(part, _)| part.0[0] > 0) {
        region_of[part.0[0] as usize - 1] = region.0[0] as usize - 1;
    }
    let mut found = vec![Vec::new(); region_of.iter().max().map_or(0, |most| most + 1)];
    for (sides, region) in sides(&parts, region_of.len()).into_iter().zip(region_of) {
        found[region].push(polygon(sides));
    }
    found
}

/// An edge of a pixel, with the pixel on its right: its first corner, and its direction (0 to 3: east, south, west,
/// north).
type EdgeSide = ([u32; 2], u8);

/// The pixel edges between each part and everything outside it.
fn sides(parts: &ImageBuffer<Luma<u32>, Vec<u32>>, count: usize) -> Vec<Vec<EdgeSide>> {
    let mut sides = vec![Vec::new(); count];
    let at = |x: i64, y: i64| {
        let (x, y) = (u32::try_from(x).ok()?, u32::try_from(y).ok()?);
        parts.get_pixel_checked(x, y).map(|part| part.0[0])
    };
    for (x, y, part) in parts.enumerate_pixels().filter(|(.., part)| part.0[0] > 0) {
        let (column, row) = (i64::from(x), i64::from(y));
        let beside = [
            ((column, row - 1), ([x, y], 0)),
            ((column + 1, row), ([x + 1, y], 1)),
            ((column, row + 1), ([x + 1, y + 1], 2)),
            ((column - 1, row), ([x, y + 1], 3)),
        ];
        let own = beside.into_iter().filter(|((x, y), _)| at(*x, *y) != Some(part.0[0])).map(|(_, side)| side);
        sides[part.0[0] as usize - 1].extend(own);
    }
    sides
}

/// Joins the pixel edges of a part into rings.
fn polygon(mut sides: Vec<EdgeSide>) -> Polygon {
    sides.sort_unstable();
    let mut is_used = vec![false; sides.len()];
    let (mut exterior, mut holes) = (Ring::new(), Vec::new());
    for first in 0..sides.len() {
        if is_used[first] {
            continue;
        }
        let (mut ring, mut at, mut before) = (Ring::new(), first, None);
        while !std::mem::replace(&mut is_used[at], true) {
            let (corner, direction) = sides[at];
            if before != Some(direction) {
                ring.push(corner);
            }
            before = Some(direction);
            let end = match direction {
                0 => [corner[0] + 1, corner[1]],
                1 => [corner[0], corner[1] + 1],
                2 => [corner[0] - 1, corner[1]],
                _ => [corner[0], corner[1] - 1],
            };
            let from = sides.partition_point(|(corner, _)| *corner < end);
            let next = (from..sides.len()).take_while(|place| sides[*place].0 == end);
            // Where two pixels of the part touch by this corner, a turn to the left leads to the other: rings do not touch
            // themselves there.
            let left = (direction + 3) % 4;
            at = next.clone().find(|place| sides[*place].1 == left).or_else(|| next.clone().next()).unwrap_or(first);
        }
        if before == Some(sides[first].1) {
            ring.remove(0);
        }
        // Clockwise on the screen, the area comes out above 0.
        let area: i64 = (0..ring.len())
            .map(|i| {
                let ([x, y], [x2, y2]) = (ring[i], ring[(i + 1) % ring.len()]);
                i64::from(x) * i64::from(y2) - i64::from(x2) * i64::from(y)
            })
            .sum();
        if area > 0 {
            exterior = ring;
        } else {
            holes.push(ring);
        }
    }
    Polygon { exterior, holes }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Whether a pixel's centre lies within an odd number of rings.
    fn is_inside(polygon: &Polygon, x: usize, y: usize) -> bool {
        let rings = std::iter::once(&polygon.exterior).chain(&polygon.holes);
        let crossings = rings.flat_map(|ring| {
            (0..ring.len()).filter(move |i| {
                let ([ax, ay], [bx, by]) = (ring[*i], ring[(*i + 1) % ring.len()]);
                ax == bx && ax as usize > x && (ay.min(by) as usize..ay.max(by) as usize).contains(&y)
            })
        });
        crossings.count() % 2 == 1
    }

    proptest! {
        #[test]
        fn outlines_filled_give_the_pixels_back_and_no_ring_touches_itself(
            bits in proptest::collection::vec(proptest::bool::weighted(0.6), 12 * 9),
        ) {
            let label = Mask::from_pixels(12, 9, bits.iter().map(|bit| u8::from(*bit)).collect()).unwrap();
            let polygons: Vec<Polygon> = outlines(&label, 1).into_iter().flatten().collect();
            for (place, bit) in bits.iter().enumerate() {
                let (x, y) = (place % 12, place / 12);
                prop_assert_eq!(polygons.iter().filter(|polygon| is_inside(polygon, x, y)).count(), usize::from(*bit));
            }
            for ring in polygons.iter().flat_map(|polygon| polygon.holes.iter().chain([&polygon.exterior])) {
                let mut corners = ring.clone();
                corners.sort_unstable();
                corners.dedup();
                prop_assert_eq!(corners.len(), ring.len());
                prop_assert!(ring.len() >= 4);
            }
        }
    }

    #[test]
    fn a_region_that_touches_itself_by_a_corner_is_two_polygons_and_a_ring_has_a_hole() {
        let label = Mask::from_pixels(3, 3, vec![1, 0, 0, 0, 1, 0, 0, 0, 0]).unwrap();
        assert_eq!(outlines(&label, 1).iter().map(Vec::len).collect::<Vec<_>>(), [2]);
        let ring = Mask::from_pixels(3, 3, vec![1, 1, 1, 1, 0, 1, 1, 1, 1]).unwrap();
        let polygon = &outlines(&ring, 1)[0][0];
        assert_eq!(polygon.exterior, [[0, 0], [3, 0], [3, 3], [0, 3]]);
        assert_eq!(polygon.holes.len(), 1);
        assert!(outlines(&ring, 2).is_empty());
    }
}
