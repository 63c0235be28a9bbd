//! Writes gzip-compressed NIfTI volumes: a label or a map, on the grid of its images.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::super::output::NewFile;
use super::super::plane::{first_and_step, length};
use super::super::{LABEL_MARK, Plane, RasterError, Result, SliceValues};
use super::{LONGEST_HEADER, beginning, is_nifti, volume};

/// The grid of a volume's slices.
pub enum NiftiGrid<'a> {
    /// The grid of a NIfTI volume, whose header is copied, including the exact affine.
    Of(&'a Path),
    /// The planes of some of the slices, each with its index.
    Planes(&'a [(usize, Plane)]),
    /// Distances of neighbouring pixels in mm, along the rows and along the columns.
    Spacing([f64; 2]),
    /// A grid in pixels, without a physical unit.
    Pixels,
}

/// A volume being written, slice by slice.
pub struct NiftiWriter {
    file: GzEncoder<NewFile>,
    width: usize,
    is_little_endian: bool,
    is_flipped: [bool; 2],
}

/// A header in its byte order.
struct Fields {
    bytes: Vec<u8>,
    is_little_endian: bool,
}

impl Fields {
    fn put<const N: usize>(&mut self, at: usize, mut bytes: [u8; N]) {
        if !self.is_little_endian {
            bytes.reverse();
        }
        self.bytes[at..at + N].copy_from_slice(&bytes);
    }

    fn i16(&mut self, at: usize, value: i16) {
        self.put(at, value.to_le_bytes());
    }

    fn f32(&mut self, at: usize, value: f32) {
        self.put(at, value.to_le_bytes());
    }

    fn f64(&mut self, at: usize, value: f64) {
        self.put(at, value.to_le_bytes());
    }

    fn text(&mut self, at: usize, length: usize, text: &str) {
        self.bytes[at..at + length].fill(0);
        self.bytes[at..at + text.len()].copy_from_slice(text.as_bytes());
    }

    /// Sets the fields that describe the voxels.
    fn describe(&mut self, is_label: bool) {
        let (data_type, bits, intent) = if is_label { (2, 8, 1002) } else { (16, 32, 0) };
        let text = if is_label { LABEL_MARK } else { "" };
        if self.bytes.len() == 540 {
            self.i16(12, data_type);
            self.i16(14, bits);
            self.put(168, 544i64.to_le_bytes());
            self.f64(176, 1.0);
            [80, 88, 96, 184, 192, 200].into_iter().for_each(|at| self.f64(at, 0.0));
            self.text(240, 80, text);
            self.text(320, 24, "");
            self.put(504, i32::from(intent).to_le_bytes());
            self.text(508, 16, "");
            self.text(4, 8, "n+2\0\r\n\u{1a}\n");
        } else {
            self.i16(70, data_type);
            self.i16(72, bits);
            self.f32(108, 352.0);
            self.f32(112, 1.0);
            [56, 60, 64, 116, 124, 128].into_iter().for_each(|at| self.f32(at, 0.0));
            self.text(148, 80, text);
            self.text(228, 24, "");
            self.i16(68, intent);
            self.text(328, 16, "");
            self.text(344, 4, "n+1");
        }
    }

    /// Creates a NIfTI-1 header.
    fn new(path: &Path, sides: [usize; 3], grid: &NiftiGrid) -> Result<Self> {
        let mut fields = Self { bytes: vec![0; 348], is_little_endian: true };
        fields.put(0, 348i32.to_le_bytes());
        fields.i16(40, 3);
        for (axis, side) in sides.into_iter().chain([1; 4]).enumerate() {
            let side = i16::try_from(side).map_err(|_| {
                RasterError::unsupported(
                    path,
                    "more than 32,767 pixels along an axis, which NIfTI-1 cannot hold",
                    "use TIFF",
                )
            })?;
            fields.i16(42 + 2 * axis, side);
            fields.f32(80 + 4 * axis, 1.0);
        }
        fields.f32(76, 1.0);
        let planes = match grid {
            NiftiGrid::Planes(planes) => planes.to_vec(),
            NiftiGrid::Spacing(spacing) => vec![(0, lying(sides, *spacing))],
            NiftiGrid::Of(_) | NiftiGrid::Pixels => vec![(0, lying(sides, [1.0; 2]))],
        };
        let Some((first, step)) = first_and_step(&planes) else { return Ok(fields) };
        let columns = [first.column_step, first.row_step, step, first.origin];
        for (column, vector) in columns.into_iter().enumerate() {
            // NIfTI coordinates are RAS, DICOM's are LPS.
            for (row, mm) in [-vector[0], -vector[1], vector[2]].into_iter().enumerate() {
                fields.f32(280 + 16 * row + 4 * column, mm as f32);
            }
            if column < 3 {
                fields.f32(80 + 4 * column, length(vector) as f32);
            }
        }
        fields.i16(254, 1);
        // The unit: millimetres, or unknown.
        fields.bytes[123] = if matches!(grid, NiftiGrid::Pixels) { 0 } else { 2 };
        Ok(fields)
    }
}

/// The plane of a slice without a position in the patient: columns run to the left and rows to the back, as in ITK.
fn lying(sides: [usize; 3], [x, y]: [f64; 2]) -> Plane {
    Plane { size: [sides[0], sides[1]], origin: [0.0; 3], column_step: [x, 0.0, 0.0], row_step: [0.0, y, 0.0] }
}

impl NiftiWriter {
    /// Creates the file of a volume with `sides` columns, rows and slices. With [`NiftiGrid::Of`], they must be those of the
    /// source volume.
    pub fn create(path: &Path, sides: [usize; 3], grid: &NiftiGrid, is_label: bool) -> Result<Self> {
        let mut is_flipped = [false; 2];
        let mut fields = match grid {
            NiftiGrid::Of(source) => {
                let bytes = beginning(source, LONGEST_HEADER)?;
                let (found, file) = (volume(source)?, source);
                let source = found;
                if [source.width, source.height, source.slices] != sides {
                    let what =
                        format!("no longer of {} × {} × {} voxels, as its label is", sides[0], sides[1], sides[2]);
                    return Err(RasterError::unsupported(file, what, "put the earlier file back"));
                }
                if is_nifti(&bytes) {
                    is_flipped = source.is_flipped;
                    let length =
                        if bytes.get(4..6) == Some(b"n+") || bytes.get(4..6) == Some(b"ni") { 540 } else { 348 };
                    Fields { bytes: bytes[..length].to_vec(), is_little_endian: source.is_little_endian }
                } else {
                    // ANALYZE stores no position, so the slices are placed as the reader shows them.
                    let z = length(source.affine.steps[2]) * source.unit;
                    let plane = |place: usize| {
                        let plane = lying(sides, source.spacing);
                        (place, Plane { origin: [0.0, 0.0, place as f64 * z], ..plane })
                    };
                    Fields::new(path, sides, &NiftiGrid::Planes(&[plane(0), plane(1)]))?
                }
            }
            NiftiGrid::Planes(_) | NiftiGrid::Spacing(_) | NiftiGrid::Pixels => Fields::new(path, sides, grid)?,
        };
        fields.describe(is_label);
        let mut file = GzEncoder::new(NewFile::create(path)?, Compression::default());
        // No extension follows.
        file.write_all(&fields.bytes).and_then(|()| file.write_all(&[0; 4])).map_err(RasterError::io(path))?;
        Ok(Self { file, width: sides[0], is_little_endian: fields.is_little_endian, is_flipped })
    }

    /// Adds the next slice, in the orientation in which the reader returns it.
    pub fn add(&mut self, values: SliceValues) -> Result<()> {
        let bytes = match values {
            SliceValues::Classes(classes) => turned(classes, self.width, self.is_flipped),
            SliceValues::Numbers(numbers) => {
                let bytes = |value: f32| if self.is_little_endian { value.to_le_bytes() } else { value.to_be_bytes() };
                turned(numbers, self.width, self.is_flipped).into_iter().flat_map(bytes).collect()
            }
        };
        let path = self.file.get_ref().path().to_owned();
        self.file.write_all(&bytes).map_err(RasterError::io(&path))
    }

    /// Moves the complete file to its final path.
    pub fn finish(self) -> Result<()> {
        let path = self.file.get_ref().path().to_owned();
        self.file.finish().map_err(RasterError::io(&path))?.finish()
    }
}

/// Restores the orientation of the source volume, by reversing columns and rows if the reader flips them.
fn turned<T: Copy>(values: &[T], width: usize, [columns, rows]: [bool; 2]) -> Vec<T> {
    let mut lines: Vec<&[T]> = values.chunks_exact(width).collect();
    if rows {
        lines.reverse();
    }
    let line = |line: &&[T]| if columns { line.iter().rev().copied().collect() } else { line.to_vec() };
    lines.iter().flat_map(line).collect()
}
