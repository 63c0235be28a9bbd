//! The position of slices in the patient.

use std::path::Path;

use super::{Format, Result, dicom, nifti, sniff};

/// A slice's pixel grid in patient coordinates: millimetres towards left, posterior and superior (LPS, as in DICOM).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    /// Columns and rows.
    pub size: [usize; 2],
    /// The centre of the first pixel.
    pub origin: [f64; 3],
    /// Step from a pixel to the next one in its row.
    pub column_step: [f64; 3],
    /// Step from a pixel to the next one in its column.
    pub row_step: [f64; 3],
}

/// The length of a vector.
pub(super) fn length(vector: [f64; 3]) -> f64 {
    vector.iter().map(|mm| mm * mm).sum::<f64>().sqrt()
}

impl Plane {
    fn shifted(self, step: [f64; 3], count: f64) -> Self {
        Self { origin: [0, 1, 2].map(|axis| self.origin[axis] + count * step[axis]), ..self }
    }

    fn corner(&self, columns: usize, rows: usize) -> [f64; 3] {
        let step = |axis: usize| columns as f64 * self.column_step[axis] + rows as f64 * self.row_step[axis];
        [0, 1, 2].map(|axis| self.origin[axis] + step(axis))
    }

    /// Whether the two grids coincide to within a quarter of a pixel.
    pub fn is_on(&self, other: &Self) -> bool {
        let most = length(self.column_step).min(length(self.row_step)) / 4.0;
        let [columns, rows] = self.size.map(|side| side.saturating_sub(1));
        let near = |(columns, rows)| {
            let (a, b) = (self.corner(columns, rows), other.corner(columns, rows));
            length([0, 1, 2].map(|axis| a[axis] - b[axis])) <= most
        };
        self.size == other.size && [(0, 0), (columns, 0), (0, rows)].into_iter().all(near)
    }
}

/// The step from one slice of a stack to the next, from slices with their indices in it; `None` for a single slice.
fn step(planes: &[(usize, Plane)]) -> Option<[f64; 3]> {
    let ((first, a), (last, b)) = (planes.first()?, planes.last()?);
    let steps = last.checked_sub(*first).filter(|steps| *steps > 0)? as f64;
    Some([0, 1, 2].map(|axis| (b.origin[axis] - a.origin[axis]) / steps))
}

/// Distance in mm between neighbouring slices of a stack, each given with its index; `None` for a single slice.
pub fn slice_step(planes: &[(usize, Plane)]) -> Option<f64> {
    step(planes).map(length).filter(|mm| *mm > 0.0)
}

/// Whether slices, each given with its index in the stack, are parallel and evenly spaced.
pub fn is_even(planes: &[(usize, Plane)]) -> bool {
    let (Some(step), Some((from, first))) = (step(planes), planes.first()) else { return true };
    planes.iter().all(|(place, plane)| {
        let expected = first.shifted(step, (*place - from) as f64);
        length([0, 1, 2].map(|axis| plane.origin[axis] - expected.origin[axis])) <= 0.01 * length(step).max(0.1)
            && Plane { origin: plane.origin, ..expected }.is_on(plane)
    })
}

/// The first slice of a stack and the step to the next, computed from some of its slices and their indices. For a
/// single slice, the step is its normal, 1 mm long.
pub(super) fn first_and_step(planes: &[(usize, Plane)]) -> Option<(Plane, [f64; 3])> {
    let (place, plane) = planes.first()?;
    let step = step(planes).unwrap_or_else(|| {
        let [a, b] = [plane.column_step, plane.row_step].map(|step| step.map(|mm| mm / length(step)));
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    });
    Some((plane.shifted(step, -(*place as f64)), step))
}

pub(super) fn planes(path: &Path) -> Result<Vec<Option<Plane>>> {
    match sniff(path)? {
        Format::Dicom => dicom::planes(path),
        Format::Nifti => nifti::planes(path),
        Format::Png | Format::Tiff | Format::Jpeg | Format::WebP | Format::Bmp | Format::Gif => Ok(Vec::new()),
    }
}
