//! NIfTI-1, NIfTI-2 and ANALYZE 7.5, read one slice along the third axis at a time.
//!
//! Slices are returned in radiological orientation: rows run towards the patient's left or back, columns towards the
//! back or the feet. The `nifti` crate reads neither NIfTI-2 nor single slices of a compressed file, so the header is
//! read here.

mod write;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::SystemTime;

use flate2::read::MultiGzDecoder;

use super::format::{data_file, is_nifti};
use super::{Colour, Format, Header, LABEL_MARK, MOST_SLICES, Plane, Raster, RasterError, Result, SampleType, Samples};
use crate::domain::size::Size;
use crate::raster::memory;

pub use self::write::{NiftiGrid, NiftiWriter};

/// Bytes of a NIfTI-2 header.
const LONGEST_HEADER: u64 = 540;
/// Number of compressed volumes that are kept decompressed, in anonymous temporary files.
const KEPT: usize = 3;
/// Maximum number of voxels that a file may claim.
const MOST_VOXELS: u64 = 1 << 36;

/// The contents of a header.
struct NiftiVolume {
    width: usize,
    height: usize,
    slices: usize,
    /// Number of slices per volume; a file may hold several volumes, such as a time series.
    depth: usize,
    data_type: i16,
    spacing: [f64; 2],
    affine: Affine,
    /// The header's unit of length in mm.
    unit: f64,
    slope: f64,
    intercept: f64,
    /// Offsets in `data` at which the voxels begin and end.
    at: u64,
    end: u64,
    /// Directions of the three axes, such as `LPS`.
    axes: String,
    data: PathBuf,
    is_little_endian: bool,
    /// Whether this program wrote it as a label.
    is_label: bool,
    /// Whether the first and second axes run towards the patient's right, front or head. Such axes are flipped on
    /// reading.
    is_flipped: [bool; 2],
}

/// Numbers at places of a header, in its byte order.
#[derive(Clone, Copy)]
struct Bytes<'a> {
    bytes: &'a [u8],
    is_little_endian: bool,
}

impl Bytes<'_> {
    fn raw(&self, at: usize, length: usize) -> u64 {
        let bytes = self.bytes.get(at..at + length).unwrap_or(&[]);
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.is_little_endian { bytes.iter().rev().fold(0, add) } else { bytes.iter().fold(0, add) }
    }

    fn i16(&self, at: usize) -> i16 {
        self.raw(at, 2) as u16 as i16
    }

    fn f32(&self, at: usize) -> f64 {
        f64::from(f32::from_bits(self.raw(at, 4) as u32))
    }

    fn f64(&self, at: usize) -> f64 {
        f64::from_bits(self.raw(at, 8))
    }
}

/// Up to `length` bytes from the beginning of a file, decompressed if necessary.
fn beginning(path: &Path, length: u64) -> Result<Vec<u8>> {
    let mut file = File::open(path).map_err(RasterError::io(path))?;
    let mut bytes = Vec::new();
    if is_compressed(&mut file).map_err(RasterError::io(path))? {
        // A truncated stream may still contain the header.
        let _ = MultiGzDecoder::new(file).take(length).read_to_end(&mut bytes);
    } else {
        file.take(length).read_to_end(&mut bytes).map_err(RasterError::io(path))?;
    }
    Ok(bytes)
}

fn is_compressed(file: &mut File) -> std::io::Result<bool> {
    let mut head = [0; 2];
    let length = file.read(&mut head)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(length == 2 && head == [0x1f, 0x8b])
}

fn volume(path: &Path) -> Result<NiftiVolume> {
    let damaged = |reason: &str| RasterError::damaged(path, Format::Nifti, reason);
    let bytes = beginning(path, LONGEST_HEADER)?;
    let length = bytes.get(..4).and_then(|length| <[u8; 4]>::try_from(length).ok());
    let length = length.ok_or_else(|| damaged("its header ends too early"))?;
    let is_second = bytes.get(4..7) == Some(b"n+2") || bytes.get(4..7) == Some(b"ni2");
    let expected = if is_second { 540 } else { 348 };
    let is_little_endian = u32::from_le_bytes(length) == expected;
    if !is_little_endian && u32::from_be_bytes(length) != expected || (bytes.len() as u32) < expected {
        return Err(damaged("its header has another length than it says"));
    }
    let header = Bytes { bytes: &bytes, is_little_endian };
    let is_analyze = !is_nifti(&bytes);
    let dim = |i: usize| if is_second { header.raw(16 + 8 * i, 8) as i64 } else { i64::from(header.i16(40 + 2 * i)) };
    let pixdim = |i: usize| if is_second { header.f64(104 + 8 * i) } else { header.f32(76 + 4 * i) };
    let axes = dim(0);
    if !(1..=7).contains(&axes) {
        return Err(damaged("it has no 1 to 7 axes"));
    }
    let side = |i: usize| if i as i64 <= axes { dim(i) } else { 1 };
    let sides: Vec<u64> = (1..=7).map(|i| u64::try_from(side(i)).unwrap_or(0).max(u64::from(i > 2))).collect();
    let voxels = sides.iter().try_fold(1u64, |all, side| all.checked_mul(*side)).unwrap_or(u64::MAX);
    if voxels == 0 || voxels > MOST_VOXELS || sides[0] * sides[1] > 1 << 30 {
        return Err(damaged("its axes have no sides, or far too long ones"));
    }
    let slices = sides[2..].iter().copied().fold(1, u64::saturating_mul);
    if slices > MOST_SLICES as u64 {
        return Err(damaged(&format!("it claims {slices} slices, more than {MOST_SLICES}")));
    }
    let (slope, intercept, at) = if is_second {
        (header.f64(176), header.f64(184), header.raw(168, 8) as f64)
    } else {
        (header.f32(112), header.f32(116), header.f32(108))
    };
    // As in nibabel: with a slope of 0 or one that is not finite, values are as stored. ANALYZE has only SPM's factor.
    let (slope, intercept) = match slope.is_finite() && slope != 0.0 {
        true if is_analyze => (slope, 0.0),
        true => (slope, if intercept.is_finite() { intercept } else { 0.0 }),
        false => (1.0, 0.0),
    };
    let pair = data_file(path)
        .filter(|_| is_analyze || bytes.get(344..347) == Some(b"ni1") || bytes.get(4..7) == Some(b"ni2"));
    let (data, least) = match pair {
        Some(data) => (data, 0),
        None => (path.to_owned(), if is_second { 544 } else { 352 }),
    };
    let at = if at.is_finite() && at > 0.0 { (at as u64).max(least) } else { least };
    let unit = match header.raw(if is_second { 500 } else { 123 }, 1) & 7 {
        1 => 1e3,
        3 => 1e-3,
        _ => 1.0,
    };
    let (.., size) = kind(path, if is_second { header.i16(12) } else { header.i16(70) })?;
    let end = voxels.saturating_mul(size as u64).saturating_add(at);
    let mut file = File::open(&data).map_err(RasterError::io(&data))?;
    let stored = file.metadata().map_err(RasterError::io(&data))?.len();
    // Deflate expands one byte to at most 1,032.
    let most =
        if is_compressed(&mut file).map_err(RasterError::io(&data))? { stored.saturating_mul(1032) } else { stored };
    if end > most {
        return Err(damaged("it ends before its voxels do"));
    }
    let affine = Affine::read(&header, is_analyze, is_second);
    Ok(NiftiVolume {
        end,
        axes: axis_codes(&affine),
        width: sides[0] as usize,
        height: sides[1] as usize,
        slices: slices as usize,
        depth: sides[2] as usize,
        data_type: if is_second { header.i16(12) } else { header.i16(70) },
        spacing: [pixdim(1).abs() * unit, pixdim(2).abs() * unit],
        slope,
        intercept,
        at,
        data,
        is_little_endian,
        is_label: bytes
            .get(if is_second { 240 } else { 148 }..)
            .is_some_and(|text| text.starts_with(LABEL_MARK.as_bytes())),
        is_flipped: flips(&affine),
        affine,
        unit,
    })
}

/// Whether the first and the second axis run towards right, front or head.
fn flips(affine: &Affine) -> [bool; 2] {
    let [first, second, _] = affine.steps;
    [first, second].map(|axis| dominant(axis).1)
}

/// The direction of each axis: R or L, A or P, S or I.
fn axis_codes(affine: &Affine) -> String {
    let code = |axis: [f64; 3]| match dominant(axis) {
        (0, true) => 'R',
        (0, false) => 'L',
        (1, true) => 'A',
        (1, false) => 'P',
        (_, true) => 'S',
        (_, false) => 'I',
    };
    affine.steps.map(code).into_iter().collect()
}

/// The direction that an axis mostly runs in, and whether it runs towards right, front or head.
fn dominant(axis: [f64; 3]) -> (usize, bool) {
    let most = (0..3).max_by(|a, b| axis[*a].abs().total_cmp(&axis[*b].abs())).unwrap_or(0);
    (most, axis[most] > 0.0)
}

/// The positions of voxels, in the header's unit, towards the patient's right, anterior and superior (RAS).
struct Affine {
    /// From a voxel to the next along each axis.
    steps: [[f64; 3]; 3],
    /// Position of the first voxel; `None` if the header does not define it.
    origin: Option<[f64; 3]>,
}

impl Affine {
    /// Reads the affine: the sform, else the qform, else axes that run to the left, to the front and to the head.
    fn read(header: &Bytes, is_analyze: bool, is_second: bool) -> Self {
        let (codes, rows, quaternion) = if is_second { ((344, 4), 400, 352) } else { ((252, 2), 280, 256) };
        let code = |place: usize| if is_analyze { 0 } else { header.raw(codes.0 + place * codes.1, codes.1) };
        let real =
            |at: usize, place: usize| if is_second { header.f64(at + 8 * place) } else { header.f32(at + 4 * place) };
        let size = |place: usize| real(if is_second { 104 } else { 76 }, place);
        if code(1) > 0 {
            let column = |axis: usize| [0, 1, 2].map(|row| real(rows, row * 4 + axis));
            return Self { steps: [0, 1, 2].map(column), origin: Some(column(3)) };
        }
        let (steps, origin) = if code(0) > 0 {
            let [b, c, d] = [0, 1, 2].map(|i| real(quaternion, i));
            let a = (1.0 - b * b - c * c - d * d).max(0.0).sqrt();
            // The sign of the third axis (qfac) is stored before the voxel sizes.
            let factor = if size(0) < 0.0 { -1.0 } else { 1.0 };
            let steps = [
                [a * a + b * b - c * c - d * d, 2.0 * (b * c + a * d), 2.0 * (b * d - a * c)],
                [2.0 * (b * c - a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d + a * b)],
                [2.0 * (b * d + a * c), 2.0 * (c * d - a * b), a * a + d * d - c * c - b * b].map(|v| v * factor),
            ];
            (steps, Some([3, 4, 5].map(|i| real(quaternion, i))))
        } else {
            ([[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], None)
        };
        let scale = |axis: usize| Some(size(axis + 1).abs()).filter(|mm| *mm > 0.0 && mm.is_finite()).unwrap_or(1.0);
        let scaled = |axis: usize| steps[axis].map(|v| v * scale(axis));
        Self { steps: [0, 1, 2].map(scaled), origin }
    }
}

/// The plane of each slice, turned as [`read`] turns it.
pub(super) fn planes(path: &Path) -> Result<Vec<Option<Plane>>> {
    let volume = volume(path)?;
    // DICOM coordinates are LPS.
    let lps = |v: [f64; 3]| [-v[0], -v[1], v[2]].map(|v| v * volume.unit);
    let steps = volume.affine.steps.map(lps);
    let plane = |slice: usize| {
        let mut plane = Plane {
            size: [volume.width, volume.height],
            origin: lps(volume.affine.origin?),
            column_step: steps[0],
            row_step: steps[1],
        };
        let along = |origin: [f64; 3], step: [f64; 3], count: usize| {
            [0, 1, 2].map(|axis| origin[axis] + step[axis] * count as f64)
        };
        plane.origin = along(plane.origin, steps[2], slice % volume.depth);
        if volume.is_flipped[0] {
            plane.origin = along(plane.origin, plane.column_step, volume.width - 1);
            plane.column_step = plane.column_step.map(|v| -v);
        }
        if volume.is_flipped[1] {
            plane.origin = along(plane.origin, plane.row_step, volume.height - 1);
            plane.row_step = plane.row_step.map(|v| -v);
        }
        Some(plane)
    };
    Ok((0..volume.slices).map(plane).collect())
}

/// The sample type and channels of a data type, and its size in bytes per voxel.
fn kind(path: &Path, data_type: i16) -> Result<(SampleType, Colour, usize)> {
    let unread = |what: &str| {
        let what = format!("a NIfTI volume of {what}, which is not supported");
        Err(RasterError::unsupported(path, what, "save it as integers of 8 or 16 bits or as 32-bit float"))
    };
    Ok(match data_type {
        2 => (SampleType::Unsigned(8), Colour::Grey, 1),
        4 => (SampleType::Signed(16), Colour::Grey, 2),
        8 => (SampleType::Signed(32), Colour::Grey, 4),
        16 => (SampleType::Float(32), Colour::Grey, 4),
        64 => (SampleType::Float(64), Colour::Grey, 8),
        128 => (SampleType::Unsigned(8), Colour::Rgb, 3),
        256 => (SampleType::Signed(8), Colour::Grey, 1),
        512 => (SampleType::Unsigned(16), Colour::Grey, 2),
        768 => (SampleType::Unsigned(32), Colour::Grey, 4),
        1024 => (SampleType::Signed(64), Colour::Grey, 8),
        1280 => (SampleType::Unsigned(64), Colour::Grey, 8),
        2304 => (SampleType::Unsigned(8), Colour::RgbAlpha, 4),
        1 => return unread("single bits"),
        32 | 1792 | 2048 => return unread("complex numbers"),
        1536 => return unread("128-bit floats"),
        other => return unread(&format!("data type {other}")),
    })
}

fn describe(path: &Path, volume: &NiftiVolume) -> Result<Header> {
    let (sample_type, colour, _) = kind(path, volume.data_type)?;
    let mut header = Header::new(Format::Nifti, Size::new(volume.width, volume.height), colour, sample_type);
    header.pages = volume.slices;
    header.axes = Some(volume.axes.clone());
    header.is_label = volume.is_label;
    header.spacing_mm = Some(volume.spacing).filter(|mm| mm.iter().all(|mm| mm.is_finite() && *mm > 0.0));
    Ok(header)
}

pub(super) fn header(path: &Path) -> Result<Header> {
    describe(path, &volume(path)?)
}

pub(super) fn read(path: &Path, slice: usize) -> Result<Raster> {
    let damaged = |reason: &str| RasterError::damaged(path, Format::Nifti, reason);
    let volume = volume(path)?;
    let header = describe(path, &volume)?;
    memory::check(path, &header)?;
    let (sample_type, _, size) = kind(path, volume.data_type)?;
    if slice >= volume.slices {
        return Err(damaged("it has fewer slices"));
    }
    let length = (volume.width * volume.height * size) as u64;
    let at = volume.at + slice as u64 * length;
    let bytes = bytes(&volume.data, at, length, volume.end).map_err(RasterError::io(&volume.data))?;
    if bytes.len() as u64 != length {
        return Err(damaged("it ends before its voxels do"));
    }
    let order = Bytes { bytes: &bytes, is_little_endian: volume.is_little_endian };
    let cells = |size: usize| (0..bytes.len() / size).map(move |i| order.raw(i * size, size));
    let samples = match sample_type {
        SampleType::Unsigned(8) => Samples::U8(bytes),
        SampleType::Unsigned(16) => Samples::U16(cells(2).map(|v| v as u16).collect()),
        SampleType::Unsigned(32) => Samples::U32(cells(4).map(|v| v as u32).collect()),
        SampleType::Unsigned(_) => Samples::F64(cells(8).map(|v| v as f64).collect()),
        SampleType::Signed(8) => Samples::I32(bytes.into_iter().map(|v| i32::from(v as i8)).collect()),
        SampleType::Signed(16) => Samples::I32(cells(2).map(|v| i32::from(v as u16 as i16)).collect()),
        SampleType::Signed(32) => Samples::I32(cells(4).map(|v| v as u32 as i32).collect()),
        SampleType::Signed(_) => Samples::F64(cells(8).map(|v| v as i64 as f64).collect()),
        SampleType::Float(32) => Samples::F32(cells(4).map(|v| f32::from_bits(v as u32)).collect()),
        SampleType::Float(_) => Samples::F64(cells(8).map(f64::from_bits).collect()),
    };
    let samples =
        if header.colour == Colour::Grey { samples.rescaled(volume.slope, volume.intercept) } else { samples };
    let raster = Raster { header, samples, palette: Vec::new() };
    Ok(match volume.is_flipped {
        [false, false] => raster,
        [true, false] => raster.oriented(2),
        [true, true] => raster.oriented(3),
        [false, true] => raster.oriented(4),
    })
}

/// A compressed volume after decompression.
struct Inflated {
    path: PathBuf,
    stamp: (u64, Option<SystemTime>),
    file: Arc<Mutex<File>>,
}

/// The most recently decompressed volumes.
static INFLATED: LazyLock<Mutex<Vec<Inflated>>> = LazyLock::new(Mutex::default);

/// Reads up to `length` bytes at offset `at`; `end` is the offset at which the voxels end.
fn bytes(path: &Path, at: u64, length: u64, end: u64) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let mut bytes = Vec::new();
    if !is_compressed(&mut file)? {
        file.seek(SeekFrom::Start(at))?;
        file.take(length).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    let inflated = inflated(path, file, end)?;
    let mut file = inflated.lock().unwrap_or_else(|e| e.into_inner());
    file.seek(SeekFrom::Start(at))?;
    Read::by_ref(&mut *file).take(length).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Decompresses a volume into a temporary file. A compressed stream can only be read from its start; from the file, any
/// slice can be read without holding the others in memory.
fn inflated(path: &Path, file: File, end: u64) -> std::io::Result<Arc<Mutex<File>>> {
    let metadata = file.metadata()?;
    let stamp = (metadata.len(), metadata.modified().ok());
    let mut known = INFLATED.lock().unwrap_or_else(|e| e.into_inner());
    if let Some(found) = known.iter().find(|known| known.path == path && known.stamp == stamp) {
        return Ok(found.file.clone());
    }
    let mut whole = tempfile::tempfile()?;
    std::io::copy(&mut MultiGzDecoder::new(file).take(end), &mut whole)?;
    let file = Arc::new(Mutex::new(whole));
    known.retain(|known| known.path != path);
    if known.len() >= KEPT {
        known.remove(0);
    }
    known.push(Inflated { path: path.to_owned(), stamp, file: file.clone() });
    Ok(file)
}
