//! What a file holds: the one reader of images and masks.
//!
//! Invariant: a file is judged by its content, never by its ending, and every use of it (its size, a thumbnail, the picture
//! in the window, the network's input, a mask) goes through [`header`] and [`read`], so that all agree. Samples are those
//! that the file stores, with the orientation and the rescaling that it names applied.

mod common;
mod convert;
mod dicom;
mod error;
pub mod folder;
mod format;
mod masks;
mod memory;
mod nifti;
mod output;
mod plane;
mod png;
mod samples;
mod tiff;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use convert::{frame, picture, value_range};
pub use dicom::{Segment, SegmentFrame, Segmentation, SegmentationWriter, instance, segmentation};
pub use error::{RasterError, Result};
pub use format::{FORMATS, Format, sniff};
pub use masks::{MaskPixels, read_mask};
pub use memory::limit as memory_limit;
pub use nifti::{Grid, NiftiWriter};
pub use output::NewFile;
pub use plane::{Plane, is_even, planes, slice_step};
pub use png::{read_label, write_label};
pub use samples::Samples;
pub use tiff::{Stack, TiffWriter};

/// What a label file of this program says of itself: its numbers are classes, 255 is not labelled.
const LABEL_MARK: &str = "Qualm label";

/// One slice of a volume that is written, `[rows, columns]`.
#[derive(Clone, Copy, Debug)]
pub enum SliceValues<'a> {
    /// Classes; 255 is not labelled.
    Classes(&'a [u8]),
    /// A map.
    Numbers(&'a [f32]),
}

/// Where the numbers of a raster come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    /// One channel of grey.
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
    /// Integers of so many bits.
    Unsigned(u8),
    /// Signed integers of so many bits.
    Signed(u8),
    /// Floating-point numbers of so many bits.
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

/// Where a slice lies in a stack that is stored as one file a slice.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The same for all slices of the stack. An identifier of a patient's study: never shown.
    pub uid: String,
    /// Position along the slices' normal in mm, or the slice's number where the file has no position.
    pub position: f64,
}

/// What is known of a file without its samples.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The file's format.
    pub format: Format,
    /// Columns, with the orientation applied.
    pub width: usize,
    /// Rows, with the orientation applied.
    pub height: usize,
    /// Channels of a pixel, alpha among them.
    pub channels: usize,
    /// Where the numbers come from.
    pub colour: Colour,
    /// The type of the samples as stored.
    pub sample_type: SampleType,
    /// Pages, frames or slices, each of this size; 1 of a plain image.
    pub pages: usize,
    /// Whether low values are bright (TIFF's WhiteIsZero, DICOM's MONOCHROME1).
    pub is_inverted: bool,
    /// Distance of neighbouring pixels in mm, along the rows and along the columns.
    pub spacing_mm: Option<[f64; 2]>,
    /// The values that the file wants shown black and white.
    pub window: Option<[f64; 2]>,
    /// Where the axes of a volume run to, such as `LPS`: towards the patient's left, back and head.
    pub axes: Option<String>,
    /// The stack that the file is a slice of.
    pub series: Option<Series>,
    /// Whether this program wrote the file as a label.
    pub is_label: bool,
    /// Whether the file is a DICOM segmentation: a mask of other files ([`segmentation`]).
    pub is_segmentation: bool,
    /// What a person should know of how the file is read.
    pub note: Option<String>,
}

impl Header {
    fn new(format: Format, (width, height): (usize, usize), colour: Colour, sample_type: SampleType) -> Self {
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

    /// Channels that carry the picture: all but alpha.
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
    /// What is known of the file.
    pub header: Header,
    /// `[rows, columns, channels]`.
    pub samples: Samples,
    /// The colours of the indices, red, green, blue, alpha; empty where there is no palette.
    pub palette: Vec<[u8; 4]>,
}

/// Reads a file with `read`; a decoder's panic is that file's problem and nobody else's.
pub fn guarded<T>(path: &Path, read: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(|| read(path)))
        .unwrap_or_else(|_| Err(RasterError::unsupported(path, "more than its decoder can take", "save it anew")))
}

/// What is known of a file without decoding its samples.
pub fn header(path: &Path) -> Result<Header> {
    match sniff(path)? {
        Format::Png => png::header(path),
        Format::Tiff => tiff::header(path),
        Format::Dicom => dicom::header(path),
        Format::Nifti => nifti::header(path),
        format @ (Format::Jpeg | Format::WebP | Format::Bmp | Format::Gif) => common::header(path, format),
    }
}

/// One page of a file, from 0. An error before anything is decoded if it takes more memory than [`memory_limit`].
pub fn read(path: &Path, page: usize) -> Result<Raster> {
    memory::check(path, &header(path)?, memory::limit())?;
    let raster = match sniff(path)? {
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
