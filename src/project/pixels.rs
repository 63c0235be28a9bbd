//! Images and masks as files: decoding, and label PNGs written beside and renamed into place.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufWriter, Cursor};
use std::path::{Path, PathBuf};

use image::imageops::FilterType;
use image::{DynamicImage, ImageReader};

use crate::domain::mask::{Mask, UNLABELLED};
use crate::domain::picture::Picture;
use crate::domain::tiles::Frame;
use crate::project::error::{ProjectError, Result};

/// Endings of the files taken as images.
const IMAGE_ENDINGS: &[&str] = &["jpg", "jpeg", "png", "tif", "tiff", "bmp", "webp"];

/// The image files of `folder`, in name order: those directly in it; where there are none, those of its folders.
pub fn image_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(folder).map_err(ProjectError::io(folder))? {
        let path = entry.map_err(ProjectError::io(folder))?.path();
        let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
        if path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')) {
            continue;
        }
        if path.is_dir() {
            folders.push(path);
        } else if IMAGE_ENDINGS.contains(&ending.as_str()) && path.is_file() {
            files.push(path);
        }
    }
    if files.is_empty() {
        for folder in folders {
            files.extend(image_files(&folder)?);
        }
    }
    files.sort();
    Ok(files)
}

/// Columns and rows of an image, from its header alone.
pub fn dimensions(path: &Path) -> Result<(usize, usize)> {
    let (width, height) = reader(path)?.into_dimensions().map_err(|e| bad_image(path, &e))?;
    Ok((width as usize, height as usize))
}

/// The whole image. A JPEG that ends too early is an error, where the decoder would fill the rest with grey.
pub fn decode(path: &Path) -> Result<DynamicImage> {
    let bytes = std::fs::read(path).map_err(ProjectError::io(path))?;
    if jpeg_is_cut(&bytes) {
        let reason = "the file ends before the image does".to_owned();
        return Err(ProjectError::BadImage { path: path.to_owned(), reason });
    }
    let mut reader = ImageReader::new(Cursor::new(&bytes));
    reader.no_limits(); // A whole-slide region of 16,384 × 16,384 takes a gigabyte, and is what it is.
    let reader = reader.with_guessed_format().map_err(ProjectError::io(path))?;
    reader.decode().map_err(|e| bad_image(path, &e))
}

/// The whole image, as it is looked at.
pub fn picture(path: &Path) -> Result<Picture> {
    let image = decode(path)?;
    let (width, height) = (image.width() as usize, image.height() as usize);
    if let DynamicImage::ImageLuma16(grey) = &image {
        let bytes = grey.as_raw().iter().flat_map(|v| {
            let [high, low] = v.to_be_bytes();
            [high, low, 0, 255]
        });
        return Ok(Picture { width, height, bytes: bytes.collect(), deep: true, pixel_m: pixel_m(path) });
    }
    Ok(Picture { width, height, bytes: image.into_rgba8().into_raw(), deep: false, pixel_m: pixel_m(path) })
}

/// Metres a pixel takes, where a PNG's pHYs chunk says so. A JPEG's density is left out: it speaks of paper.
fn pixel_m(path: &Path) -> Option<f64> {
    let decoder = png::Decoder::new(std::io::BufReader::new(File::open(path).ok()?));
    let reader = decoder.read_info().ok()?;
    let size = reader.info().pixel_dims.filter(|size| size.unit == png::Unit::Meter && size.xppu == size.yppu)?;
    (size.xppu > 0).then(|| 1.0 / f64::from(size.xppu))
}

/// Whether the bytes are a JPEG without an end-of-image marker after its first scan (ITU T.81, annex B: within a scan the
/// byte 0xff is always followed by another that is not 0xd9).
fn jpeg_is_cut(bytes: &[u8]) -> bool {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return false;
    }
    let mut at = 2;
    while let Some(&[0xff, marker, high, low]) = bytes.get(at..at + 4) {
        match marker {
            0xff => at += 1, // A fill byte.
            0xda => return !bytes[at..].windows(2).any(|pair| pair == [0xff, 0xd9]),
            _ => at += 2 + usize::from(u16::from_be_bytes([high, low])),
        }
    }
    true
}

/// The image as 8-bit RGB or grey: squeezed to `size`, columns and rows, its aspect ratio not kept; else at its own size.
pub fn frame(path: &Path, size: Option<(usize, usize)>, grey: bool) -> Result<Frame> {
    let image = decode(path)?;
    let image = match size {
        Some((width, height)) => image.resize_exact(width as u32, height as u32, FilterType::Triangle),
        None => image,
    };
    let (width, height) = (image.width() as usize, image.height() as usize);
    let bytes = if grey { image.into_luma8().into_raw() } else { image.into_rgb8().into_raw() };
    Ok(Frame { width, height, bytes })
}

fn reader(path: &Path) -> Result<ImageReader<std::io::BufReader<File>>> {
    let reader = ImageReader::open(path).map_err(ProjectError::io(path))?;
    reader.with_guessed_format().map_err(ProjectError::io(path))
}

fn bad_image(path: &Path, reason: &image::ImageError) -> ProjectError {
    ProjectError::BadImage { path: path.to_owned(), reason: reason.to_string() }
}

/// The mask among `candidates` that belongs to an image: the same stem, or with one of the usual endings; of several, the
/// one in a folder named like the image's. Where other images have the same stem (`is_shared`), only such a one.
pub fn mask_of<'a>(image: &Path, candidates: &'a [PathBuf], is_shared: bool) -> Option<&'a PathBuf> {
    let stem = image.file_stem()?.to_string_lossy();
    let folder = |path: &Path| path.parent().and_then(Path::file_name).map(ToOwned::to_owned);
    ["", "_mask", "_segmentation", "_label"].iter().find_map(|ending| {
        let name = format!("{stem}{ending}");
        let named = candidates.iter().filter(|path| path.file_stem().is_some_and(|s| s.to_string_lossy() == name));
        let named: Vec<&PathBuf> = named.collect();
        let beside = named.iter().find(|path| folder(path) == folder(image));
        beside.or(named.first().filter(|_| named.len() == 1 && !is_shared)).copied()
    })
}

/// Whether several images have the same stem as this one.
pub fn shared_stems<'a>(images: impl Iterator<Item = &'a Path>) -> Box<dyn Fn(&Path) -> bool> {
    let mut counts: HashMap<std::ffi::OsString, usize> = HashMap::new();
    images.filter_map(Path::file_stem).for_each(|stem| *counts.entry(stem.to_owned()).or_default() += 1);
    Box::new(move |image| image.file_stem().is_some_and(|stem| counts.get(stem).is_some_and(|count| *count > 1)))
}

/// How the values of masks become classes; 255 stays *not labelled* unless it is named.
pub type ValueMap = BTreeMap<u8, u8>;

/// Class numbers up to this are taken as they are; larger values of a mask need a [`ValueMap`].
const PLAIN_CLASSES: u8 = 20;

/// Reads a mask of known size: palette indices and grey values alike. Without a map, a mask of only 0 and one other value
/// is background and class 1, and small values are classes by number; others are [`ProjectError::UnknownValues`].
pub fn read_mask(path: &Path, width: usize, height: usize, map: Option<&ValueMap>) -> Result<Mask> {
    let (mask_width, mask_height, mut pixels) = match read_indexed_png(path)? {
        Some(indexed) => indexed,
        None => {
            let grey = decode(path)?.into_luma8();
            (grey.width() as usize, grey.height() as usize, grey.into_raw())
        }
    };
    if (mask_width, mask_height) != (width, height) {
        let sizes = ((mask_width, mask_height), (width, height));
        return Err(ProjectError::MaskSize { path: path.to_owned(), mask: sizes.0, image: sizes.1 });
    }
    let mut seen = [false; 256];
    pixels.iter().for_each(|&value| seen[value as usize] = true);
    let values: Vec<u8> = (0..=255).filter(|&v| seen[v as usize]).collect();
    if values.len() > 32 {
        let reason =
            format!("{} different grey values: this is a photograph or a smoothed mask, not classes", values.len());
        return Err(ProjectError::BadMask { path: path.to_owned(), reason });
    }
    let is_plain = |v: u8| v <= PLAIN_CLASSES || v == UNLABELLED;
    match (values.as_slice(), map) {
        (_, Some(map)) => pixels.iter_mut().for_each(|p| *p = map.get(p).copied().unwrap_or(*p)),
        ([0, only] | [only], None) if *only > 2 => pixels.iter_mut().for_each(|p| *p = u8::from(*p == *only)),
        (values, None) if values.iter().copied().all(is_plain) => {}
        (values, None) => return Err(ProjectError::UnknownValues(values.to_vec())),
    }
    Mask::from_pixels(width, height, pixels).map_err(|_| ProjectError::Damaged("mask"))
}

/// Reads a label that [`write_label`] wrote, without interpreting its values.
pub fn read_label(path: &Path) -> Result<Mask> {
    let (width, height, pixels) = read_indexed_png(path)?.ok_or(ProjectError::Damaged("label file"))?;
    Mask::from_pixels(width, height, pixels).map_err(|_| ProjectError::Damaged("label file"))
}

/// Palette indices of an indexed PNG; `None` where the file is something else.
fn read_indexed_png(path: &Path) -> Result<Option<(usize, usize, Vec<u8>)>> {
    let file = File::open(path).map_err(ProjectError::io(path))?;
    let mut decoder = png::Decoder::new(std::io::BufReader::new(file));
    decoder.set_transformations(png::Transformations::IDENTITY);
    let Ok(mut reader) = decoder.read_info() else { return Ok(None) };
    let info = reader.info();
    if info.color_type != png::ColorType::Indexed || info.bit_depth != png::BitDepth::Eight {
        return Ok(None);
    }
    let (width, height) = (info.width as usize, info.height as usize);
    let mut pixels = vec![0; width * height];
    let bad = |e: png::DecodingError| ProjectError::BadImage { path: path.to_owned(), reason: e.to_string() };
    reader.next_frame(&mut pixels).map_err(bad)?;
    Ok(Some((width, height, pixels)))
}

/// Writes a label as 8-bit indexed PNG, coloured by `palette` (class 1 first), beside and then renamed into place.
pub fn write_label(path: &Path, mask: &Mask, palette: &[[u8; 3]]) -> Result<()> {
    let mut colours = vec![0; 3];
    (1..=254).for_each(|class| colours.extend(palette.get(class - 1).copied().unwrap_or([class as u8; 3])));
    colours.extend([127, 127, 127]);
    debug_assert_eq!(colours.len(), 3 * (UNLABELLED as usize + 1));
    let unfinished = path.with_extension("png.part");
    let file = File::create(&unfinished).map_err(ProjectError::io(&unfinished))?;
    let mut encoder = png::Encoder::new(BufWriter::new(file), mask.width() as u32, mask.height() as u32);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours);
    let written = encoder.write_header().and_then(|mut writer| {
        writer.write_image_data(mask.pixels())?;
        writer.finish()
    });
    written.map_err(|e| ProjectError::Io { path: unfinished.clone(), reason: std::io::Error::other(e) })?;
    std::fs::rename(&unfinished, path).map_err(ProjectError::io(path))
}
