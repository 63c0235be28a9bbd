//! An image as displayed and annotated: 8-bit colour, or 16-bit grey.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::domain::study::ImageId;

/// Pixels, rows first, four bytes each.
///
/// Colour: red, green, blue, 255. Deep: the high and the low byte of a grey value, 0, 255. Either way one texture format.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 4` bytes.
    pub bytes: Vec<u8>,
    /// Whether the pixels are 16-bit grey.
    pub deep: bool,
    /// Whether the image has one channel, as every deep picture does; in 8 bits it is shown as three.
    pub is_grey: bool,
    /// Of a grey picture: the image's own value where grey is 0.
    pub offset: f64,
    /// Of a grey picture: what one step of grey, of 8 or of 16 bits, is in the image's own values.
    pub step: f64,
    /// The levels spanned by the image's own values; fractions of brightness are relative to this span.
    pub span: Levels,
    /// The display levels requested by the file.
    pub window: Option<Levels>,
    /// Side of a pixel in metres, if given in the file.
    pub pixel_m: Option<f64>,
}

/// The range of values displayed from black to white, as fractions of the full range: `low` is black, `high` white. In
/// clinical terms, the level is the middle of this range and the window its width.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Levels {
    /// Black.
    pub low: f32,
    /// White.
    pub high: f32,
}

impl Default for Levels {
    fn default() -> Self {
        Self { low: 0.0, high: 1.0 }
    }
}

impl Levels {
    /// These levels with the level and window changed by fractions of the full range.
    pub fn moved(self, level: f32, window: f32) -> Self {
        let middle = ((self.low + self.high) / 2.0 + level).clamp(0.0, 1.0);
        // At least one of the 65,536 steps of a 16-bit image.
        let half = ((self.high - self.low + window) / 2.0).clamp(1e-5, 1.0);
        Self { low: middle - half, high: middle + half }
    }
}

/// The levels that the user has set in a project.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Contrast {
    /// For all images.
    all: Option<Levels>,
    /// Whether the levels of each image are fitted to it, instead of `all`.
    auto: bool,
    /// Whether levels are set for each image, or for all.
    pub per_image: bool,
    /// For single images, by their keys.
    own: BTreeMap<ImageId, Levels>,
    /// The images among them whose levels were fitted.
    fitted: BTreeSet<ImageId>,
}

impl Contrast {
    /// The levels of an image: its own, else `auto` if each image is fitted, else those of all, else `default`.
    pub fn of(&self, image: ImageId, default: Levels, auto: Levels) -> Levels {
        let own = self.own.get(&image).copied().filter(|_| self.per_image);
        let all = if self.auto { Some(auto) } else { self.all };
        own.or(all).unwrap_or(default)
    }

    /// Sets the levels of this image, or of all images; `None` resets them.
    pub fn set(&mut self, image: ImageId, levels: Option<Levels>) {
        if self.per_image {
            self.fitted.remove(&image);
        }
        match (self.per_image, levels) {
            (false, levels) => (self.all, self.auto) = (levels, false),
            (true, Some(levels)) => drop(self.own.insert(image, levels)),
            (true, None) => drop(self.own.remove(&image)),
        }
    }

    /// Fits this image's levels to it, which are then `auto`, or those of every image to each.
    pub fn fit(&mut self, image: ImageId, auto: Levels) {
        if self.per_image {
            self.set(image, Some(auto));
            self.fitted.insert(image);
        } else {
            self.auto = true;
        }
    }

    /// Whether the levels of this image are fitted to it.
    pub fn is_auto(&self, image: ImageId) -> bool {
        let has_own = self.per_image && self.own.contains_key(&image);
        if has_own { self.fitted.contains(&image) } else { self.auto }
    }
}

impl Picture {
    /// A colour picture: `width * height * 4` bytes of red, green, blue, 255.
    pub fn of_colour(width: usize, height: usize, bytes: Vec<u8>) -> Self {
        Self {
            width,
            height,
            bytes,
            deep: false,
            is_grey: false,
            offset: 0.0,
            step: 1.0,
            span: Levels::default(),
            window: None,
            pixel_m: None,
        }
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 4] {
        let at = (y * self.width + x) * 4;
        [self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]]
    }

    /// Red, green and blue at column `x`, row `y`, 0 to 1; of a deep picture its brightness, three times.
    pub fn colour(&self, x: usize, y: usize) -> [f32; 3] {
        if self.deep {
            return [self.brightness(x, y); 3];
        }
        let [r, g, b, _] = self.pixel(x, y).map(|value| f32::from(value) / 255.0);
        [r, g, b]
    }

    /// Brightness at column `x`, row `y`, 0 to 1: luma by ITU-R BT.601 for colour.
    pub fn intensity(&self, x: usize, y: usize) -> f32 {
        let [r, g, b, _] = self.pixel(x, y).map(f32::from);
        if self.deep { (r * 256.0 + g) / 65535.0 } else { (0.299 * r + 0.587 * g + 0.114 * b) / 255.0 }
    }

    /// Brightness at column `x`, row `y`, 0 to 1 over the values that the image has.
    pub fn brightness(&self, x: usize, y: usize) -> f32 {
        let Levels { low, high } = self.span;
        ((self.intensity(x, y) - low) / (high - low).max(f32::MIN_POSITIVE)).clamp(0.0, 1.0)
    }

    /// The largest difference between two pixels in any channel, 0 to 1; for deep pictures, over the image's own range
    /// of values.
    pub fn distance(&self, a: (usize, usize), b: (usize, usize)) -> f32 {
        if self.deep {
            return (self.brightness(a.0, a.1) - self.brightness(b.0, b.1)).abs();
        }
        let (a, b) = (self.pixel(a.0, a.1), self.pixel(b.0, b.1));
        (0..3).map(|c| a[c].abs_diff(b[c])).max().map_or(0.0, |d| f32::from(d) / 255.0)
    }

    /// A pixel's values in words; `None` outside.
    pub fn describe(&self, x: usize, y: usize) -> Option<String> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let [r, g, b, _] = self.pixel(x, y);
        Some(if self.deep {
            let value = self.offset + self.step * f64::from(u16::from_be_bytes([r, g]));
            if self.step.fract() == 0.0 { format!("grey {value:>5}") } else { format!("grey {value:>9.4}") }
        } else if self.is_grey {
            // Images of up to 8 bits hold whole numbers.
            let value = (self.offset + self.step * f64::from(r)).round();
            format!("grey {value:>3}")
        } else {
            format!("rgb {r:>3} {g:>3} {b:>3}")
        })
    }

    /// The values displayed as black and white at these levels, in the image's own units; of colours, in 0 to 255.
    pub fn values_of(&self, levels: Levels) -> (f64, f64) {
        let (offset, step) = if self.is_grey { (self.offset, self.step) } else { (0.0, 1.0) };
        let full = if self.deep { 65535.0 } else { 255.0 };
        let value = |share: f32| offset + step * full * f64::from(share);
        (value(levels.low), value(levels.high))
    }

    /// The levels at which it is shown unless others are set: those that its file asks for, else `auto`, its
    /// [`Picture::auto_levels`], for 16-bit grey, and the full range for 8 bits.
    pub fn default_levels(&self, auto: impl FnOnce() -> Levels) -> Levels {
        self.window.unwrap_or_else(|| if self.deep { auto() } else { Levels::default() })
    }

    /// Levels from the darkest to the brightest value, ignoring 0.5 % of the pixels at either end.
    pub fn auto_levels(&self) -> Levels {
        let mut counts = vec![0usize; 1024];
        // A million pixels say enough.
        let step = (self.width * self.height / 1_000_000).max(1);
        let mut total = 0usize;
        for at in (0..self.width * self.height).step_by(step) {
            let value = self.intensity(at % self.width, at / self.width);
            counts[(value * 1023.0) as usize] += 1;
            total += 1;
        }
        let beyond = |order: &mut dyn Iterator<Item = usize>| {
            let mut left: usize = total / 200;
            for i in order {
                match left.checked_sub(counts[i]) {
                    Some(rest) => left = rest,
                    None => return i as f32 / 1023.0,
                }
            }
            0.0
        };
        let (low, high) = (beyond(&mut (0..1024)), beyond(&mut (0..1024).rev()));
        Levels { low, high: high.max(low + 0.004) }
    }

    /// The pixels in 8 bits between levels: red, green, blue, alpha.
    pub fn as_rgba(&self, levels: Levels) -> Vec<u8> {
        let scale = 1.0 / (levels.high - levels.low).max(f32::MIN_POSITIVE);
        let byte = |share: f32| (((share - levels.low) * scale).clamp(0.0, 1.0) * 255.0).round() as u8;
        let rgba = |pixel: &[u8]| match self.deep {
            true => {
                let grey = byte(f32::from(u16::from_be_bytes([pixel[0], pixel[1]])) / 65535.0);
                [grey, grey, grey, 255]
            }
            false => {
                let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(|value| byte(f32::from(value) / 255.0));
                [r, g, b, 255]
            }
        };
        self.bytes.chunks_exact(4).flat_map(rgba).collect()
    }

    /// The picture downsampled by an integer factor, each pixel being the mean of a square.
    pub fn reduced(&self, factor: usize) -> Self {
        let (width, height) = (self.width.div_ceil(factor), self.height.div_ceil(factor));
        let mut bytes = Vec::with_capacity(width * height * 4);
        for y in 0..height {
            let rows = y * factor..((y + 1) * factor).min(self.height);
            for x in 0..width {
                let columns = x * factor..((x + 1) * factor).min(self.width);
                let count = (rows.len() * columns.len()) as u32;
                let mut sum = [0u32; 3];
                for row in rows.clone() {
                    for pixel in self.bytes[(row * self.width + columns.start) * 4..][..columns.len() * 4].chunks(4) {
                        if self.deep {
                            sum[0] += u32::from(u16::from_be_bytes([pixel[0], pixel[1]]));
                        } else {
                            (0..3).for_each(|c| sum[c] += u32::from(pixel[c]));
                        }
                    }
                }
                if self.deep {
                    let [high, low] = ((sum[0] / count) as u16).to_be_bytes();
                    bytes.extend([high, low, 0, 255]);
                } else {
                    bytes.extend(sum.map(|s| (s / count) as u8));
                    bytes.push(255);
                }
            }
        }
        Self { width, height, bytes, pixel_m: None, ..*self }
    }
}
