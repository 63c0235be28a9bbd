//! A label mask: one class per pixel, rows first.
//!
//! Invariant: `pixels.len() == width * height`.

/// The class of what is not of interest.
pub const BACKGROUND: u8 = 0;
/// An unlabelled pixel: the loss and all metrics ignore it.
pub const UNLABELLED: u8 = 255;

/// One class per pixel: [`BACKGROUND`], a class 1..=254, or [`UNLABELLED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

/// A buffer whose length is not `width * height`.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a mask of {width} × {height} needs {} pixels, not {len}", width * height)]
pub struct WrongLength {
    width: usize,
    height: usize,
    len: usize,
}

impl Mask {
    /// A mask with every pixel of class `value`.
    pub fn filled(width: usize, height: usize, value: u8) -> Self {
        Self { width, height, pixels: vec![value; width * height] }
    }

    /// A mask over `pixels`, rows first.
    pub fn from_pixels(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self, WrongLength> {
        if pixels.len() == width * height {
            Ok(Self { width, height, pixels })
        } else {
            Err(WrongLength { width, height, len: pixels.len() })
        }
    }

    /// Columns.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, rows first.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All pixels, rows first.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The class at column `x`, row `y`; `None` outside.
    pub fn get(&self, x: usize, y: usize) -> Option<u8> {
        (x < self.width && y < self.height).then(|| self.pixels[y * self.width + x])
    }

    /// Whether no pixel is labelled.
    pub fn is_unlabelled(&self) -> bool {
        // All bits of `UNLABELLED` are set, and only its; long runs are compared at once.
        self.pixels.chunks(4096).all(|run| run.iter().fold(UNLABELLED, |all, class| all & class) == UNLABELLED)
    }

    /// The mask resampled to another size by nearest neighbour, so that classes are never mixed.
    pub fn resized(&self, width: usize, height: usize) -> Self {
        let columns: Vec<usize> = (0..width).map(|x| nearest(x, self.width, width)).collect();
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            let row = &self.pixels[nearest(y, self.height, height) * self.width..][..self.width];
            pixels.extend(columns.iter().map(|&x| row[x]));
        }
        Self { width, height, pixels }
    }
}

impl Mask {
    /// The number of 8-connected objects, and how many of them have no pixel left at another size.
    pub fn objects_lost(&self, width: usize, height: usize) -> (usize, usize) {
        let is_object = |class: u8| class != BACKGROUND && class != UNLABELLED;
        let (object, objects) = connected_parts(&self.pixels, self.width, is_object);
        let mut kept = vec![false; objects.len() + 1];
        for y in 0..height {
            let row = nearest(y, self.height, height) * self.width;
            (0..width).for_each(|x| kept[object[row + nearest(x, self.width, width)] as usize] = true);
        }
        (objects.len(), kept[1..].iter().filter(|kept| !**kept).count())
    }
}

/// 8-connected components of equal values: for each pixel the number of its component, from 1 (0 where `counts` rejects
/// its value), and the value of each component.
pub fn connected_parts<T: Copy + PartialEq>(
    values: &[T],
    width: usize,
    counts: impl Fn(T) -> bool,
) -> (Vec<u32>, Vec<T>) {
    let height = values.len() / width.max(1);
    let (mut part_of, mut parts, mut waiting) = (vec![0; values.len()], Vec::new(), Vec::new());
    for start in 0..values.len() {
        if part_of[start] != 0 || !counts(values[start]) {
            continue;
        }
        parts.push(values[start]);
        let part = parts.len() as u32;
        part_of[start] = part;
        waiting.push(start);
        while let Some(at) = waiting.pop() {
            let (x, y) = (at % width, at / width);
            for row in y.saturating_sub(1)..(y + 2).min(height) {
                for column in x.saturating_sub(1)..(x + 2).min(width) {
                    let beside = row * width + column;
                    if part_of[beside] == 0 && values[beside] == values[at] {
                        part_of[beside] = part;
                        waiting.push(beside);
                    }
                }
            }
        }
    }
    (part_of, parts)
}

/// The pixel on a side of `from` pixels that is nearest to pixel `i` on a side of `to` pixels.
fn nearest(i: usize, from: usize, to: usize) -> usize {
    ((2 * i + 1) * from / (2 * to)).min(from - 1)
}

/// Share of the labelled pixels that are not background, 0 to 1; 0 where nothing is labelled.
pub fn foreground_fraction(pixels: &[u8]) -> f64 {
    let count = |wanted: &dyn Fn(u8) -> bool| pixels.iter().filter(|class| wanted(**class)).count() as f64;
    let foreground = count(&|class| class != BACKGROUND && class != UNLABELLED);
    foreground / count(&|class| class != UNLABELLED).max(1.0)
}
