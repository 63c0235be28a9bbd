//! Detects a file's format from its first bytes.

use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};

use super::{RasterError, Result};

/// A supported file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG.
    Jpeg,
    /// WebP.
    WebP,
    /// Windows bitmap.
    Bmp,
    /// GIF.
    Gif,
    /// TIFF and BigTIFF, including OME-TIFF and ImageJ stacks.
    Tiff,
    /// DICOM, part 10.
    Dicom,
    /// NIfTI-1, NIfTI-2 and ANALYZE 7.5, as one file or as a pair, with or without gzip.
    Nifti,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Bmp => "BMP",
            Self::Gif => "GIF",
            Self::Tiff => "TIFF",
            Self::Dicom => "DICOM",
            Self::Nifti => "NIfTI",
        })
    }
}

/// The supported formats, for messages.
pub const FORMATS: &str = "PNG, JPEG, TIFF, WebP, BMP, GIF, DICOM or NIfTI";

/// Number of leading bytes read to tell the formats apart.
const HEAD: usize = 600;

const AS_TIFF: &str = "save it as PNG or TIFF";
const AS_NIFTI: &str = "save it as NIfTI (3D Slicer and ITK-SNAP do)";

/// Formats that are recognized but not supported: signature, offset, name, and what the user can do.
const OTHERS: &[(&[u8], usize, &str, &str)] = &[
    (b"NRRD000", 0, "an NRRD volume, which is not supported", AS_NIFTI),
    (b"ObjectType", 0, "a MetaImage volume, which is not supported", AS_NIFTI),
    (b"NDims", 0, "a MetaImage volume, which is not supported", AS_NIFTI),
    (b"\x89HDF\r\n\x1a\n", 0, "an HDF5 file (MINC 2, ilastik), which is not supported", AS_NIFTI),
    (b"CDF\x01", 0, "a NetCDF file (MINC 1), which is not supported", AS_NIFTI),
    (b"CDF\x02", 0, "a NetCDF file (MINC 1), which is not supported", AS_NIFTI),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", 0, "a JPEG 2000 image, which is read inside DICOM only", AS_TIFF),
    (b"\xff\x4f\xff\x51", 0, "a JPEG 2000 code stream, which is read inside DICOM only", AS_TIFF),
    (b"\xff\xd8\xff\xf7", 0, "a JPEG-LS image, which is not supported", AS_TIFF),
    (b"ftypheic", 4, "a HEIC photograph, which is not supported", AS_TIFF),
    (b"ftypmif1", 4, "a HEIF photograph, which is not supported", AS_TIFF),
    (b"ftypavif", 4, "an AVIF image, which is not supported", AS_TIFF),
    (b"\x00\x00\x00\x0cJXL ", 0, "a JPEG XL image, which is not supported", AS_TIFF),
    (b"\xff\x0a", 0, "a JPEG XL image, which is not supported", AS_TIFF),
    (b"8BPS", 0, "a Photoshop document, which is not supported", AS_TIFF),
    (b"\x76\x2f\x31\x01", 0, "an OpenEXR image, which is not supported", AS_TIFF),
    (b"#?RADIANCE", 0, "a Radiance HDR image, which is not supported", AS_TIFF),
    (b"qoif", 0, "a QOI image, which is not supported", AS_TIFF),
    (b"DDS ", 0, "a DDS texture, which is not supported", AS_TIFF),
    (b"farbfeld", 0, "a farbfeld image, which is not supported", AS_TIFF),
    (b"SIMPLE  =", 0, "a FITS image, which is not supported", AS_TIFF),
    (b"ZISRAWFILE", 0, "a Zeiss CZI file, which is not supported", AS_TIFF),
    (b"\xda\xce\xbe\x0a", 0, "a Nikon ND2 file, which is not supported", AS_TIFF),
    (b"\x93NUMPY", 0, "a NumPy array, which is not supported", AS_TIFF),
    (b"\ntype = ", 0, "an AFNI volume, which is not supported", AS_NIFTI),
    (b"%PDF", 0, "a PDF document, which is not supported", AS_TIFF),
];

/// Extensions of unsupported formats that have no signature: extension, name, and what the user can do.
const OTHER_ENDINGS: &[(&str, &str, &str)] = &[
    ("mgh", "a FreeSurfer volume, which is not supported", AS_NIFTI),
    ("mgz", "a FreeSurfer volume, which is not supported", AS_NIFTI),
    ("brik", "an AFNI volume, which is not supported", AS_NIFTI),
    ("brik.gz", "an AFNI volume, which is not supported", AS_NIFTI),
    ("par", "a Philips PAR/REC volume, which is not supported", AS_NIFTI),
    ("rec", "a Philips PAR/REC volume, which is not supported", AS_NIFTI),
    ("nrrd", "an NRRD volume, which is not supported", AS_NIFTI),
    ("nhdr", "an NRRD volume, which is not supported", AS_NIFTI),
    ("svs", "a whole-slide image that is not a TIFF", AS_TIFF),
    ("tga", "a Targa image, which is not supported", AS_TIFF),
    ("ico", "an icon, which is not supported", AS_TIFF),
    ("ppm", "a Netpbm image, which is not supported", AS_TIFF),
    ("pgm", "a Netpbm image, which is not supported", AS_TIFF),
    ("pbm", "a Netpbm image, which is not supported", AS_TIFF),
    ("lif", "a Leica LIF file, which is not supported", AS_TIFF),
];

/// Extensions of the supported formats. A file with one of these but different content is reported.
const ENDINGS: &[&str] =
    &["png", "jpg", "jpeg", "tif", "tiff", "webp", "bmp", "gif", "dcm", "nii", "hdr", "img", "img.gz"];

/// A file's extension in lower case; the last two parts for names such as `.nii.gz`.
pub(super) fn ending(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match name.strip_suffix(".gz").and_then(|name| name.rsplit_once('.')) {
        Some((_, ending)) => format!("{ending}.gz"),
        None => name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_owned()),
    }
}

/// Up to `length` bytes of the file's beginning.
fn beginning(reader: impl Read, length: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(length as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn sniff(path: &Path) -> Result<Format> {
    let head = beginning(File::open(path).map_err(RasterError::io(path))?, HEAD).map_err(RasterError::io(path))?;
    if head.is_empty() {
        return Err(RasterError::unsupported(path, "empty", "replace the file"));
    }
    let known = match head.as_slice() {
        // Checked before TIFF, because a DICOM preamble may begin with a TIFF signature.
        head if head.get(128..132) == Some(b"DICM") => Some(Format::Dicom),
        [0x89, b'P', b'N', b'G', ..] => Some(Format::Png),
        [0xff, 0xd8, 0xff, third, ..] if *third != 0xf7 => Some(Format::Jpeg),
        [b'B', b'M', ..] if head.len() > 26 => Some(Format::Bmp),
        [b'G', b'I', b'F', b'8', ..] => Some(Format::Gif),
        [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
        [b'R', b'I', b'F', b'F', ..] if head.get(8..12) == Some(b"WEBP") => Some(Format::WebP),
        _ if is_dicom(&head, path) => Some(Format::Dicom),
        _ if is_nifti(&head) || is_pair(&head, path) => Some(Format::Nifti),
        _ => None,
    };
    if let Some(format) = known {
        return Ok(format);
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        let file = File::open(path).map_err(RasterError::io(path))?;
        let inside = match beginning(MultiGzDecoder::new(file), HEAD) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => Vec::new(),
            inside => inside.unwrap_or_default(),
        };
        if is_nifti(&inside) || is_pair(&inside, path) {
            return Ok(Format::Nifti);
        }
        if !matches!(ending(path).as_str(), "mgz" | "mgh.gz" | "brik.gz" | "img.gz") {
            return Err(RasterError::unsupported(path, "compressed by gzip", "decompress it"));
        }
    }
    let bytes = OTHERS.iter().find(|(bytes, at, ..)| head.get(*at..at + bytes.len()) == Some(bytes));
    if let Some((_, _, what, remedy)) = bytes {
        return Err(RasterError::unsupported(path, *what, remedy));
    }
    let ending = ending(path);
    if let Some((_, what, remedy)) = OTHER_ENDINGS.iter().find(|(other, ..)| *other == ending) {
        return Err(RasterError::unsupported(path, *what, remedy));
    }
    if ENDINGS.contains(&ending.as_str()) {
        let what = format!("not an image, despite its extension .{ending}");
        return Err(RasterError::unsupported(path, what, "replace the file or remove it from the folder"));
    }
    Err(RasterError::NotAnImage(path.to_owned()))
}

/// Whether the file is DICOM: it has the mark after the preamble or, without a preamble, starts with a plausible
/// element of group 8 or 2.
fn is_dicom(head: &[u8], path: &Path) -> bool {
    if head.get(128..132) == Some(b"DICM") {
        return true;
    }
    let group = head.get(..2).map(|group| u16::from_le_bytes([group[0], group[1]]));
    let is_named = matches!(ending(path).as_str(), "dcm" | "ima" | "dicom" | "");
    let has_vr = head.get(4..6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase));
    let is_short = head.get(4..8).is_some_and(|l| u32::from_le_bytes([l[0], l[1], l[2], l[3]]) < 256);
    matches!(group, Some(2 | 8)) && head.get(3) == Some(&0) && is_named && (has_vr || is_short)
}

/// The header of NIfTI-1 or NIfTI-2, in either byte order.
pub(super) fn is_nifti(head: &[u8]) -> bool {
    let magic = |at: usize, kinds: [&[u8]; 2]| head.get(at..at + 4).is_some_and(|magic| kinds.contains(&magic));
    let first = magic(344, [b"n+1\0", b"ni1\0"]);
    first || magic(4, [b"n+2\0", b"ni2\0"])
}

/// Whether this is the header of an ANALYZE pair: it starts with its own length, and a data file lies beside it.
fn is_pair(head: &[u8], path: &Path) -> bool {
    let length = head.get(..4).map(|l| [l[0], l[1], l[2], l[3]]);
    let is_header = length.is_some_and(|l| u32::from_le_bytes(l) == 348 || u32::from_be_bytes(l) == 348);
    is_header && head.len() >= 348 && data_file(path).is_some()
}

/// The data file beside the header of a NIfTI or ANALYZE pair, if there is one.
pub(super) fn data_file(header: &Path) -> Option<PathBuf> {
    let name = header.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let stem = lower.strip_suffix(".gz").unwrap_or(&lower).strip_suffix(".hdr")?.len();
    let names = [".img", ".img.gz", ".IMG"].map(|ending| header.with_file_name(format!("{}{ending}", &name[..stem])));
    names.into_iter().find(|path| path.is_file())
}
