//! Converts a raster to the picture shown in the window and to the network's input.

use std::path::PathBuf;

use image::imageops::{FilterType, resize};
use image::{ImageBuffer, Luma, Rgb};

use super::{Colour, Raster, SampleType, Samples, read};
use crate::domain::picture::{Levels, Picture};
use crate::domain::settings::{Settings, ValueRangeBy};
use crate::domain::size::Size;
use crate::domain::tiles::{Frame, FrameSpec};
use crate::domain::value_range::{ValueRange, percentiles};

/// Approximate number of values sampled from an image to estimate its range.
const SAMPLED: usize = 1 << 16;
/// Luma of red, green and blue, ITU-R BT.709.
const LUMA: [f64; 3] = [0.2126, 0.7152, 0.0722];

impl Raster {
    /// How the channels are shown. Indices without a palette have no colours, so they are grey.
    fn shown_as(&self) -> Colour {
        let is_bare = self.header.colour == Colour::Index && self.palette.is_empty();
        if is_bare { Colour::Grey } else { self.header.colour }
    }

    /// The largest value of an image of up to 8 bits, or of a palette's colours; `None` of a deeper image.
    fn full_scale(&self) -> Option<f64> {
        match (self.shown_as(), self.header.sample_type) {
            (Colour::Index, _) => Some(255.0),
            (_, SampleType::Unsigned(bits @ 1..=8)) if matches!(self.samples, Samples::U8(_)) => {
                Some(f64::from((1u32 << bits) - 1))
            }
            _ => None,
        }
    }

    fn is_8_bit(&self) -> bool {
        self.full_scale().is_some()
    }

    /// A sample of the values, without alpha, for estimating their range.
    pub fn some_values(&self) -> Vec<f64> {
        let channels = self.header.channels;
        let has_alpha = matches!(self.header.colour, Colour::GreyAlpha | Colour::RgbAlpha);
        let step = (self.samples.len() / SAMPLED).max(1);
        // With a step that is a multiple of the number of channels, only one channel would be sampled.
        let step = (step..).find(|step| step % channels.max(1) != 0 || channels <= 1).unwrap_or(1);
        let (mut place, mut values) = (0, Vec::new());
        self.samples.visit(step, |value| {
            if !has_alpha || place % channels != channels - 1 {
                values.push(value);
            }
            place += step;
        });
        values
    }
}

/// Approximate number of images from which a percentile range is computed.
const RANGE_IMAGES: usize = 64;

/// The value range that the settings ask for. Percentiles are computed from some images, spread evenly over `pages`.
pub fn value_range(settings: &Settings, pages: &[(PathBuf, usize)]) -> ValueRange {
    match settings.value_range {
        ValueRangeBy::Window => return ValueRange::Window { low: settings.value_low, high: settings.value_high },
        ValueRangeBy::EachImage => return ValueRange::EachImage,
        ValueRangeBy::Percentiles => {}
    }
    let some = pages.iter().step_by(pages.len().div_ceil(RANGE_IMAGES).max(1));
    // Files that cannot be read are reported where they are used.
    let rasters = some.filter_map(|(path, page)| read(path, *page).ok());
    let deep = rasters.filter(|raster| !raster.is_8_bit());
    let values: Vec<f64> = deep.flat_map(|raster| raster.some_values()).collect();
    if values.is_empty() {
        return ValueRange::default();
    }
    let (low, high) = percentiles(values);
    ValueRange::Images { low, high }
}

/// Converts an image to the network's input.
pub fn frame(raster: &Raster, spec: &FrameSpec) -> Frame {
    let FrameSpec { size, is_grey, channels: picked, range } = spec;
    let (channels, colour) = (raster.header.channels, raster.shown_as());
    let (low, high) = match colour {
        Colour::Index => (0.0, 255.0),
        Colour::Grey | Colour::GreyAlpha | Colour::Rgb | Colour::RgbAlpha | Colour::Channels => {
            range.of(raster.full_scale(), || percentiles(raster.some_values()))
        }
    };
    let scale = 65535.0 / (high - low);
    let is_inverted = raster.header.is_inverted;
    let scaled = |value: f64| {
        let value = ((value - low) * scale).clamp(0.0, 65535.0);
        if is_inverted { 65535.0 - value } else { value }
    };
    let picked: Vec<usize> = picked.iter().map(|number| number.saturating_sub(1)).collect();
    // The source of a pixel's red, green and blue; `None` for a channel that the image does not have.
    let source = |pixel: &[f64], place: usize| -> Option<f64> {
        let channel = *picked.get(place).or(picked.first().filter(|_| picked.len() == 1))?;
        match colour {
            Colour::Grey | Colour::GreyAlpha => pixel.first().copied(),
            Colour::Index => {
                let colour = raster.palette.get(pixel[0] as usize).copied().unwrap_or_default();
                colour[..3].get(channel).map(|value| f64::from(*value))
            }
            Colour::Rgb | Colour::RgbAlpha => pixel[..3].get(channel).copied(),
            Colour::Channels => pixel.get(channel).copied(),
        }
    };
    let of_pixel = |pixel: &[f64]| [0, 1, 2].map(|place| source(pixel, place).map_or(0.0, scaled));
    let is_plain_grey = matches!(colour, Colour::Grey | Colour::GreyAlpha);
    let grey = |rgb: [f64; 3]| match picked.len() {
        // Channels without a colour of their own are averaged with equal weights.
        _ if is_plain_grey => rgb[0],
        1 => rgb[0],
        _ if colour == Colour::Channels => {
            let many = picked.len().min(channels).clamp(1, 3);
            rgb[..many].iter().sum::<f64>() / many as f64
        }
        _ => rgb.iter().zip(LUMA).map(|(value, weight)| value * weight).sum(),
    };
    let (width, height) = (raster.header.width, raster.header.height);
    let Size { width: wide, height: high } = size.unwrap_or(Size::new(width, height));
    let is_as_wanted = (wide, high) == (width, height);
    let values: Vec<u16> = if *is_grey {
        let values = raster.samples.each_pixel(channels, |pixel, out| out.push(grey(of_pixel(pixel)).round() as u16));
        let image = ImageBuffer::<Luma<u16>, _>::from_raw(width as u32, height as u32, values);
        let image = image.expect("a value for each pixel");
        if is_as_wanted { image } else { resize(&image, wide as u32, high as u32, FilterType::Triangle) }.into_raw()
    } else {
        let values =
            raster.samples.each_pixel(channels, |pixel, out| out.extend(of_pixel(pixel).map(|v| v.round() as u16)));
        let image = ImageBuffer::<Rgb<u16>, _>::from_raw(width as u32, height as u32, values);
        let image = image.expect("three values for each pixel");
        if is_as_wanted { image } else { resize(&image, wide as u32, high as u32, FilterType::Triangle) }.into_raw()
    };
    Frame { width: wide, height: high, values }
}

/// Converts an image to the picture shown in the window.
pub fn picture(raster: &Raster) -> Picture {
    let header = &raster.header;
    let (width, height, channels) = (header.width, header.height, header.channels);
    let pixel_m = header.spacing_mm.filter(|[x, y]| (x - y).abs() <= 1e-6 * x.abs()).map(|[x, _]| x / 1e3);
    let colour = raster.shown_as();
    let is_grey = match colour {
        Colour::Grey | Colour::GreyAlpha => true,
        Colour::Channels => channels == 1,
        Colour::Index | Colour::Rgb | Colour::RgbAlpha => false,
    };
    let mut picture = Picture { pixel_m, is_grey, ..Picture::of_colour(width, height, Vec::new()) };
    if is_grey && !raster.is_8_bit() {
        let (low, high) = stored_range(raster);
        let step = (high - low) / 65535.0;
        let word = |value: f64| ((value - low) / step).round().clamp(0.0, 65535.0) as u16;
        picture.deep = true;
        (picture.offset, picture.step) = if header.is_inverted { (high, -step) } else { (low, step) };
        let share = |value: f64| ((value - low) / (high - low)) as f32;
        picture.window = header.window.map(|[black, white]| match header.is_inverted {
            true => Levels { low: 1.0 - share(white), high: 1.0 - share(black) },
            false => Levels { low: share(black), high: share(white) },
        });
        picture.bytes = raster.samples.each_pixel(channels, |pixel, out| {
            let word = word(pixel[0]);
            let [high, low] = if header.is_inverted { 65535 - word } else { word }.to_be_bytes();
            out.extend([high, low, 0, 255]);
        });
        picture.span = picture.auto_levels();
        return picture;
    }
    let (low, high) = raster.full_scale().map_or_else(|| percentiles(raster.some_values()), |full| (0.0, full));
    let scale = 255.0 / (high - low).max(f64::MIN_POSITIVE);
    let byte = |value: f64| {
        let value = ((value - low) * scale).round().clamp(0.0, 255.0) as u8;
        if header.is_inverted { 255 - value } else { value }
    };
    if is_grey {
        let step = (high - low) / 255.0;
        (picture.offset, picture.step) = if header.is_inverted { (high, -step) } else { (low, step) };
    }
    picture.bytes = raster.samples.each_pixel(channels, |pixel, out| {
        let rgb = match colour {
            _ if is_grey => [byte(pixel[0]); 3],
            Colour::Index => {
                let colour = raster.palette.get(pixel[0] as usize).copied().unwrap_or_default();
                [colour[0], colour[1], colour[2]]
            }
            Colour::Grey | Colour::GreyAlpha => [byte(pixel[0]); 3],
            Colour::Rgb | Colour::RgbAlpha => [byte(pixel[0]), byte(pixel[1]), byte(pixel[2])],
            Colour::Channels => [0, 1, 2].map(|place| pixel.get(place).map_or(0, |value| byte(*value))),
        };
        out.extend([rgb[0], rgb[1], rgb[2], 255]);
    });
    picture
}

/// The value range that is mapped to 16 bits. For integers that fit in 16 bits, it is the full 16-bit range, signed or
/// unsigned as in the file, so that images of one study share a scale; otherwise it runs from the smallest value to the
/// largest.
fn stored_range(raster: &Raster) -> (f64, f64) {
    let (mut low, mut high) = (f64::MAX, f64::MIN);
    raster.samples.visit(1, |value| {
        if value.is_finite() {
            (low, high) = (low.min(value), high.max(value));
        }
    });
    match (&raster.samples, low, high) {
        _ if low > high => (0.0, 1.0),
        (Samples::U8(_) | Samples::U16(_) | Samples::U32(_), _, ..=65535.0) => (0.0, 65535.0),
        (Samples::I32(_), -32768.0.., ..=32767.0) => (-32768.0, 32767.0),
        _ if low == high => (low, low + 1.0),
        _ => (low, high),
    }
}
