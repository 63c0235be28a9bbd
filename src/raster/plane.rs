//! Where a slice lies in the patient.

use std::path::Path;

use super::{Format, Result, dicom, nifti, sniff};

/// A slice's grid in millimetres towards the patient's left, back and head (LPS, as DICOM has it).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Plane {
    /// Columns and rows.
    pub size: [usize; 2],
    /// The centre of the first pixel.
    pub origin: [f64; 3],
    /// From a pixel to the next of its row.
    pub column_step: [f64; 3],
    /// From a pixel to the next of its column.
    pub row_step: [f64; 3],
}

impl Plane {
    fn corner(&self, columns: usize, rows: usize) -> [f64; 3] {
        let step = |axis: usize| columns as f64 * self.column_step[axis] + rows as f64 * self.row_step[axis];
        [0, 1, 2].map(|axis| self.origin[axis] + step(axis))
    }

    /// Whether each pixel of one lies on that of the other, to a quarter of a pixel.
    pub fn is_on(&self, other: &Self) -> bool {
        let length = |step: [f64; 3]| step.iter().map(|mm| mm * mm).sum::<f64>().sqrt();
        let most = length(self.column_step).min(length(self.row_step)) / 4.0;
        let [columns, rows] = self.size.map(|side| side.saturating_sub(1));
        let near = |(columns, rows)| {
            let (a, b) = (self.corner(columns, rows), other.corner(columns, rows));
            length([0, 1, 2].map(|axis| a[axis] - b[axis])) <= most
        };
        self.size == other.size && [(0, 0), (columns, 0), (0, rows)].into_iter().all(near)
    }
}

/// The plane of each page of a DICOM file or a NIfTI volume, `None` where the file does not say; nothing of other formats.
pub fn planes(path: &Path) -> Result<Vec<Option<Plane>>> {
    match sniff(path)? {
        Format::Dicom => dicom::planes(path),
        Format::Nifti => nifti::planes(path),
        Format::Png | Format::Tiff | Format::Jpeg | Format::WebP | Format::Bmp | Format::Gif => Ok(Vec::new()),
    }
}
