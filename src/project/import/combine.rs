//! Combines several parts into one mask: segments or annotations, pages, files.

use std::path::Path;

use super::Pages;
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::mask_values::MaskValue;
use crate::domain::size::Size;
use crate::project::error::{ProjectError, Result};
use crate::raster::{self, MaskPixels};

/// A mask drawn class by class. Pixels covered by more than one class are unlabelled.
pub(super) struct Drawing {
    width: usize,
    height: usize,
    classes: u16,
    places: Vec<u16>,
}

impl Drawing {
    /// Creates an all-background mask of this size, to be drawn with classes 1..=`classes`.
    pub fn new(Size { width, height }: Size, classes: usize) -> Self {
        Self { width, height, classes: classes as u16, places: vec![0; width * height] }
    }

    /// Draws a pixel, given by its index in `[rows, columns]`.
    pub fn cover(&mut self, place: usize, class: u16) {
        let pixel = &mut self.places[place];
        *pixel = if *pixel == 0 || *pixel == class { class } else { self.classes + 1 };
    }

    /// Returns the finished mask.
    pub fn finish(self) -> MaskPixels {
        let numbers = (0..=i64::from(self.classes)).map(MaskValue::Number);
        let values = numbers.chain([MaskValue::NotLabelled]).collect();
        MaskPixels::new(self.width, self.height, values, self.places)
    }
}

/// Combines pages, one per class, into a single mask.
pub(super) fn one_of_pages(
    path: &Path,
    pages: usize,
    rule: Pages,
    read: impl Fn(usize) -> raster::Result<MaskPixels>,
) -> Result<MaskPixels> {
    let bad = |reason: String| ProjectError::BadMask { path: path.to_owned(), reason };
    let first = match rule {
        Pages::OneHot => 0,
        Pages::Classes => 1,
    };
    let last = pages + first - 1;
    if last > 254 {
        return Err(bad(format!("its {pages} pages would be more than 254 classes")));
    }
    // Marks a pixel that no page has set so far.
    let none = last as u16 + 1;
    let mut values: Vec<MaskValue> = (0..=last as i64).map(MaskValue::Number).collect();
    values.push(MaskValue::Number(0));
    let (mut width, mut height, mut places) = (0, 0, Vec::new());
    for page in 0..pages {
        let pixels = read(page)?;
        let set: Vec<MaskValue> = pixels.values.iter().copied().filter(|v| *v != MaskValue::Number(0)).collect();
        if set.len() > 1 {
            return Err(bad(format!("page {} holds more than one value beside 0: its pages are no classes", page + 1)));
        }
        (width, height) = (pixels.width, pixels.height);
        places.resize(width * height, none);
        for (place, value) in places.iter_mut().zip(&pixels.places) {
            if pixels.values[usize::from(*value)] != MaskValue::Number(0) {
                if *place != none {
                    return Err(bad(format!(
                        "a pixel is set in pages {} and {}",
                        usize::from(*place) + 1 - first,
                        page + 1
                    )));
                }
                *place = (page + first) as u16;
            }
        }
    }
    if rule == Pages::OneHot && places.contains(&none) {
        return Err(bad("a pixel is set in none of its pages: the first is not background".to_owned()));
    }
    Ok(MaskPixels::new(width, height, values, places))
}

/// Merges the objects of `other` into `mask`. Fails if objects of different classes overlap.
pub(super) fn join(mask: &mut Mask, other: &Mask) -> std::result::Result<(), ()> {
    for (pixel, &more) in mask.pixels_mut().iter_mut().zip(other.pixels()) {
        match (*pixel, more) {
            (_, BACKGROUND) => {}
            (BACKGROUND | UNLABELLED, more) => *pixel = more,
            (_, UNLABELLED) => {}
            (class, more) if class == more => {}
            _ => return Err(()),
        }
    }
    Ok(())
}
