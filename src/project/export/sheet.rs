//! The data of an image that the export formats receive.

use std::collections::BTreeMap;

use crate::domain::mask::Mask;
use crate::domain::scores::Moments;

/// What is exported of one image.
pub struct Sheet<'a> {
    /// The class of each pixel, at the image's size.
    pub mask: &'a Mask,
    /// The network's prediction, at the network's size; `None` for labels.
    pub moments: Option<&'a Moments>,
}

/// The mean predicted probability of `class` over each region, keyed by region number from 1; empty for labels.
pub(super) fn confidence(
    sheet: &Sheet,
    parts: &image::ImageBuffer<image::Luma<u32>, Vec<u32>>,
    class: u8,
) -> BTreeMap<u32, f64> {
    let Some(moments) = sheet.moments else { return BTreeMap::new() };
    let map = moments.class_at(class, sheet.mask.width(), sheet.mask.height());
    let mut sums: BTreeMap<u32, (f64, usize)> = BTreeMap::new();
    for (part, p) in parts.iter().zip(map).filter(|(part, _)| **part > 0) {
        let sum = sums.entry(*part).or_default();
        *sum = (sum.0 + f64::from(p), sum.1 + 1);
    }
    sums.into_iter().map(|(part, (sum, pixels))| (part, sum / pixels as f64)).collect()
}

/// Replaces everything but letters and digits with `_`, so that the name is valid on every file system.
pub(super) fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}
