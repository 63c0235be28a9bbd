//! The single reader for image and mask files.
//!
//! Invariant: a file's format is determined by its content, never by its extension, and every use of it (its size, a
//! thumbnail, the displayed picture, the network's input, a mask) goes through [`header`] and [`read`], so that they
//! all agree. Samples are returned as stored in the file, with its orientation and rescaling applied. Every function here
//! that reads from a file does so within the limits of [`guarded`].

mod common;
mod convert;
mod dicom;
mod error;
pub mod folder;
mod format;
mod guard;
mod masks;
mod memory;
mod nifti;
mod output;
mod plane;
mod png;
mod samples;
mod tiff;

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::mask::Mask;
use crate::domain::size::Size;

pub use convert::{frame, picture, value_range};
pub use dicom::{Segment, SegmentFrame, Segmentation, SegmentationWriter};
pub use error::{RasterError, Result};
pub use format::{FORMATS, Format};
pub use guard::{PendingRead, guarded};
pub use masks::MaskPixels;
pub use memory::limit as memory_limit;
pub use nifti::{NiftiGrid, NiftiWriter};
pub use output::NewFile;
pub use plane::{Plane, is_even, slice_step};
pub use png::write_label;
pub use samples::Samples;
pub use tiff::{Stack, TiffWriter};

/// The most pages, frames or slices of a file. A small file can claim more, and each would be an image of its own.
const MOST_SLICES: usize = 1_000_000;

/// Marks a label file written by this program: its values are class indices, and 255 is unlabelled.
const LABEL_MARK: &str = "Qualm label";

/// One slice of a volume that is written, `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub enum SliceValues<'a> {
    /// Class indices; 255 is unlabelled.
    Classes(&'a [u8]),
    /// A map of floating-point values.
    Numbers(&'a [f32]),
}

/// How the channels of a raster are to be interpreted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// A single grey channel.
    Grey,
    /// Grey and alpha.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue, alpha.
    RgbAlpha,
    /// Indices into a palette.
    Index,
    /// Channels without a colour of their own, as of a fluorescence microscope.
    Channels,
}

/// The type of a file's samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SampleType {
    /// Unsigned integers with the given number of bits.
    Unsigned(u8),
    /// Signed integers with the given number of bits.
    Signed(u8),
    /// Floating-point numbers with the given number of bits.
    Float(u8),
}

impl std::fmt::Display for SampleType {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Self::Unsigned(bits) => write!(f, "{bits}-bit"),
            Self::Signed(bits) => write!(f, "signed {bits}-bit"),
            Self::Float(bits) => write!(f, "{bits}-bit float"),
        }
    }
}

/// The position of a slice in a stack that is stored as one file per slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Identifier shared by all slices of the stack. It identifies a patient's study, so it is never shown.
    pub uid: String,
    /// Position along the slice normal in mm, or the slice number if the file stores no position.
    pub position: f64,
}

/// The metadata of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The file's format.
    pub format: Format,
    /// Number of columns, after applying the orientation.
    pub width: usize,
    /// Number of rows, after applying the orientation.
    pub height: usize,
    /// Number of channels per pixel, including alpha.
    pub channels: usize,
    /// How the channels are to be interpreted.
    pub colour: Colour,
    /// The type of the samples as stored.
    pub sample_type: SampleType,
    /// Number of pages, frames or slices of this size; 1 for a single image.
    pub pages: usize,
    /// Whether low values are bright (TIFF's WhiteIsZero, DICOM's MONOCHROME1).
    pub is_inverted: bool,
    /// Distance of neighbouring pixels in mm, along the rows and along the columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// The display window stored in the file: the values shown as black and as white.
    pub window: Option<[f64; 2]>,
    /// Directions in which a volume's axes run, such as `LPS`: towards the patient's left, posterior and superior.
    pub axes: Option<String>,
    /// The stack to which the file belongs as a slice.
    pub series: Option<Series>,
    /// Whether this program wrote the file as a label.
    pub is_label: bool,
    /// Whether the file is a DICOM segmentation: a mask of other files ([`segmentation`]).
    pub is_segmentation: bool,
    /// What the user should know about how the file is read.
    pub note: Option<String>,
}

impl Header {
    /// The size of a page.
    pub fn size(&self) -> Size {
        Size::new(self.width, self.height)
    }

    fn new(format: Format, Size { width, height }: Size, colour: Colour, sample_type: SampleType) -> Self {
        let channels = match colour {
            Colour::Grey | Colour::Index | Colour::Channels => 1,
            Colour::GreyAlpha => 2,
            Colour::Rgb => 3,
            Colour::RgbAlpha => 4,
        };
        Self {
            format,
            width,
            height,
            channels,
            colour,
            sample_type,
            pages: 1,
            is_inverted: false,
            spacing_mm: None,
            window: None,
            axes: None,
            series: None,
            is_label: false,
            is_segmentation: false,
            note: None,
        }
    }

    /// Number of colour channels, without alpha; 3 for an indexed image.
    pub fn colour_channels(&self) -> usize {
        match self.colour {
            Colour::Grey | Colour::GreyAlpha => 1,
            Colour::Rgb | Colour::RgbAlpha | Colour::Index => 3,
            Colour::Channels => self.channels,
        }
    }
}

/// One page of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// The file's metadata.
    pub header: Header,
    /// `[rows, columns, channels]`.
    pub samples: Samples,
    /// The palette in order of index, as red, green, blue, alpha; empty if there is none.
    pub palette: Vec<[u8; 4]>,
}

/// Detects a file's format by its content.
pub fn sniff(path: &Path) -> Result<Format> {
    guarded(path, format::sniff)
}

/// Reads a file's metadata without decoding its samples.
pub fn header(path: &Path) -> Result<Header> {
    guarded(path, decode_header)
}

/// Reads one page of a file; pages are numbered from 0. A page that takes more memory than [`memory_limit`] is an
/// error, found before anything is decoded.
pub fn read(path: &Path, page: usize) -> Result<Raster> {
    guarded(path, move |path| decode(path, page))
}

/// Reads one page of a file as [`read`] does, and goes on with other work meanwhile.
pub fn begin_read(path: &Path, page: usize) -> PendingRead<Raster, RasterError> {
    PendingRead::begin(path, move |path| decode(path, page))
}

/// Reads one page of a mask file. With a threshold, numbers are made 0 (below it) and 1.
pub fn read_mask(path: &Path, page: usize, threshold: Option<f64>) -> Result<MaskPixels> {
    guarded(path, move |path| masks::of_raster(path, decode(path, page)?, threshold))
}

/// Reads a label that [`write_label`] wrote, bit for bit.
pub fn read_label(path: &Path) -> Result<Mask> {
    guarded(path, png::read_label)
}

/// Reads the plane of each page of a DICOM file or NIfTI volume, `None` if the file does not define it; empty for other
/// formats.
pub fn planes(path: &Path) -> Result<Vec<Option<Plane>>> {
    guarded(path, plane::planes)
}

/// Reads the segments and frames of a DICOM segmentation; `None` for other DICOM files.
pub fn segmentation(path: &Path) -> Result<Option<Segmentation>> {
    guarded(path, dicom::segmentation)
}

/// Reads the SOP Instance UID of a DICOM file, which uniquely identifies the image. It is never shown.
pub fn instance(path: &Path) -> Result<Option<String>> {
    guarded(path, dicom::instance)
}

fn decode_header(path: &Path) -> Result<Header> {
    let header = match format::sniff(path)? {
        Format::Png => png::header(path)?,
        Format::Tiff => tiff::header(path)?,
        Format::Dicom => dicom::header(path)?,
        Format::Nifti => nifti::header(path)?,
        format @ (Format::Jpeg | Format::WebP | Format::Bmp | Format::Gif) => common::header(path, format)?,
    };
    if header.pages > MOST_SLICES {
        let reason = format!("it claims {} slices, more than {MOST_SLICES}", header.pages);
        return Err(RasterError::damaged(path, header.format, reason));
    }
    Ok(header)
}

fn decode(path: &Path, page: usize) -> Result<Raster> {
    let raster = match format::sniff(path)? {
        Format::Png => png::read(path)?,
        Format::Tiff => tiff::read(path, page)?,
        Format::Dicom => dicom::read(path, page)?,
        Format::Nifti => nifti::read(path, page)?,
        format @ (Format::Jpeg | Format::WebP | Format::Bmp | Format::Gif) => common::read(path, format, page)?,
    };
    let Header { width, height, channels, .. } = raster.header;
    if raster.samples.len() == width * height * channels {
        Ok(raster)
    } else {
        Err(RasterError::damaged(path, raster.header.format, "it holds fewer samples than its size says"))
    }
}
