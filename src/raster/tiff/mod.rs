//! TIFF: samples as stored, of every page.

mod chunks;
mod ifd;
mod page;
mod write;

use std::path::Path;

use self::ifd::{Directory, TiffSource, tag};
use self::page::TiffPage;
use super::{Colour, Format, Header, LABEL_MARK, Raster, RasterError, Result, Samples};
use crate::domain::size::Size;
use crate::raster::memory;

pub use self::write::{Stack, TiffWriter};

/// How the pages of a file are combined into images, from its ImageJ or OME description.
struct Axes {
    /// Number of pages that are channels of one image.
    channels: usize,
    /// Number of pages from one channel of an image to the next.
    stride: usize,
}

impl Axes {
    /// The page of a channel of a slice; slices count over all other axes.
    fn page(&self, slice: usize, channel: usize) -> usize {
        let (outer, inner) = (slice / self.stride, slice % self.stride);
        (outer * self.channels + channel) * self.stride + inner
    }
}

/// The value of `key` in ImageJ's description, which consists of `key=value` lines.
fn imagej(text: &str, key: &str) -> Option<usize> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')?.trim().parse().ok())
}

/// An attribute of OME-XML's Pixels element.
#[allow(clippy::wildcard_enum_match_arm)] // The enum is another crate's.
fn ome(text: &str, name: &str) -> Option<String> {
    let mut reader = quick_xml::Reader::from_str(text);
    loop {
        use quick_xml::events::Event;
        match reader.read_event().ok()? {
            Event::Start(element) | Event::Empty(element) if element.local_name().as_ref() == b"Pixels" => {
                let attribute = element.try_get_attribute(name).ok()??;
                return Some(String::from_utf8_lossy(&attribute.value).into_owned());
            }
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// How pages are combined into images; `None` if each page is an image of its own.
fn axes(description: &str, pages: usize) -> Option<Axes> {
    let (channels, stride) = if description.starts_with("ImageJ=") {
        // Channels run fastest.
        (imagej(description, "channels")?, 1)
    } else if description.contains("<OME") {
        let number = |name: &str| ome(description, name)?.parse::<usize>().ok();
        let (order, channels) = (ome(description, "DimensionOrder")?, number("SizeC")?);
        let size = |axis: char| if axis == 'Z' { number("SizeZ") } else { number("SizeT") };
        let before = order.strip_prefix("XY")?.chars().take_while(|axis| *axis != 'C');
        (channels, before.map(size).collect::<Option<Vec<_>>>()?.into_iter().product())
    } else {
        return None;
    };
    (channels > 1 && stride > 0 && pages.is_multiple_of(channels * stride)).then_some(Axes { channels, stride })
}

/// Everything about a file but its samples.
struct TiffDescription {
    pages: Vec<Directory>,
    /// The header of the first page, before its orientation is applied.
    header: Header,
    orientation: u8,
    axes: Option<Axes>,
    /// Number of images stored contiguously behind a single directory (ImageJ's large stacks); 1 for other files.
    hidden: usize,
}

fn describe(source: &mut TiffSource) -> Result<TiffDescription> {
    let mut pages = source.pages()?;
    let first = TiffPage::read(source, &pages[0])?;
    let all = pages.len();
    // Pages of a different size or kind are other images, such as thumbnails and slide labels.
    let mut kept = Vec::new();
    for directory in pages.drain(..) {
        let is_alike = TiffPage::read(source, &directory).is_ok_and(|page| page.is_like(&first));
        if is_alike {
            kept.push(directory);
        }
    }
    let description = source.raw(&kept[0], tag::DESCRIPTION)?;
    let description = String::from_utf8_lossy(&description).trim_end_matches('\0').to_owned();
    let hidden = match imagej(&description, "images").filter(|_| description.starts_with("ImageJ=") && kept.len() == 1)
    {
        Some(images) if images > 1 && first.holds(source, images) => images,
        _ => 1,
    };
    let count = kept.len() * hidden;
    let axes = axes(&description, count);
    let mut header = Header::new(Format::Tiff, Size::new(first.width, first.height), first.colour, first.sample_type);
    header.channels = first.samples;
    header.is_inverted = first.photometric == 0;
    header.spacing_mm = spacing(source, &kept[0], &description)?;
    header.pages = count;
    header.is_label = source.raw(&kept[0], tag::SOFTWARE)? == [LABEL_MARK.as_bytes(), &[0]].concat();
    if kept.len() < all {
        header.note = Some(format!("{} pages of another size or kind are left out", all - kept.len()));
    }
    if let Some(axes) = axes.as_ref().filter(|_| first.samples == 1 && first.colour == Colour::Grey) {
        header.channels = axes.channels;
        header.colour = Colour::Channels;
        header.pages = count / axes.channels;
    }
    let axes = axes.filter(|_| header.colour == Colour::Channels && first.samples == 1);
    Ok(TiffDescription { pages: kept, header, orientation: first.orientation, axes, hidden })
}

/// Pixel spacing in mm, if the file gives it in a unit that refers to the object. Inches are ignored, because they
/// refer to the printed page.
fn spacing(source: &mut TiffSource, directory: &Directory, description: &str) -> Result<Option<[f64; 2]>> {
    if description.contains("<OME") {
        let size = |name: &str, unit: &str| {
            let value: f64 = ome(description, name)?.parse().ok()?;
            let scale = match ome(description, unit).as_deref() {
                None | Some("µm" | "um" | "micron") => 1e-3,
                Some("mm") => 1.0,
                Some("nm") => 1e-6,
                _ => return None,
            };
            Some(value * scale).filter(|mm| *mm > 0.0)
        };
        return Ok(size("PhysicalSizeX", "PhysicalSizeXUnit")
            .zip(size("PhysicalSizeY", "PhysicalSizeYUnit"))
            .map(Into::into));
    }
    let unit = description.lines().find_map(|line| line.strip_prefix("unit="));
    let scale =
        match (unit.filter(|_| description.starts_with("ImageJ=")), source.first(directory, tag::RESOLUTION_UNIT)?) {
            (Some("mm"), _) => 1.0,
            (Some("cm"), _) => 10.0,
            (Some("nm"), _) => 1e-6,
            (Some("um" | "micron" | "\\u00B5m" | "µm"), _) => 1e-3,
            (None, Some(3)) => 10.0,
            _ => return Ok(None),
        };
    let mut along = |tag: u16| -> Result<Option<f64>> {
        let fraction = source.values(directory, tag)?;
        Ok(match fraction.as_slice() {
            [pixels, per, ..] if *pixels > 0 && *per > 0 => Some(*per as f64 / *pixels as f64 * scale),
            _ => None,
        })
    };
    Ok(along(tag::X_RESOLUTION)?.zip(along(tag::Y_RESOLUTION)?).map(Into::into))
}

pub(super) fn header(path: &Path) -> Result<Header> {
    let TiffDescription { mut header, orientation, .. } = describe(&mut TiffSource::open(path)?)?;
    header.turn(orientation);
    Ok(header)
}

pub(super) fn read(path: &Path, picture: usize) -> Result<Raster> {
    let mut source = TiffSource::open(path)?;
    let TiffDescription { pages, header, orientation, axes, hidden } = describe(&mut source)?;
    memory::check(path, &header)?;
    if picture >= header.pages {
        return Err(source.damaged(format!("page {} of {}", picture + 1, header.pages)));
    }
    let mut one = |number: usize| -> Result<_> {
        let page = TiffPage::read(&mut source, &pages[number / hidden])?;
        let samples = page.samples(&mut source, number % hidden)?;
        Ok((samples, page.palette))
    };
    let (samples, palette) = match axes {
        None => one(picture)?,
        Some(axes) => {
            let planes = (0..axes.channels).map(|channel| Ok(one(axes.page(picture, channel))?.0));
            let samples = Samples::interleaved(planes.collect::<Result<_>>()?);
            let reason = "its channels are of different kinds";
            (samples.ok_or_else(|| RasterError::damaged(path, Format::Tiff, reason))?, Vec::new())
        }
    };
    Ok(Raster { header, samples, palette }.oriented(orientation))
}
