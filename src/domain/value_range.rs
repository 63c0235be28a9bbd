//! Which values of an image are the network's 0 and 1.

use serde::{Deserialize, Serialize};

/// Quantiles at which a percentile range is clipped.
pub const PERCENTILES: (f64, f64) = (0.001, 0.999);

/// The values that become 0 and 1 for the network; values beyond them are clipped. Stored with the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum ValueRange {
    /// 8-bit images from 0 to 255, deeper ones by percentiles over all the project's images.
    Images {
        /// Becomes 0.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
    /// One window for all images, for example in Hounsfield units.
    Window {
        /// Becomes 0.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
    /// Each image over its own percentiles.
    EachImage,
}

impl Default for ValueRange {
    /// The full 16-bit range.
    fn default() -> Self {
        Self::Images { low: 0.0, high: 65535.0 }
    }
}

impl ValueRange {
    /// The values that become 0 and 1 in an image. `full_scale` is the largest value possible in an image of up to 8
    /// bits; `percentiles` are the image's own.
    pub fn of(&self, full_scale: Option<f64>, percentiles: impl FnOnce() -> (f64, f64)) -> (f64, f64) {
        let (low, high) = match (*self, full_scale) {
            (Self::Images { .. }, Some(full)) => (0.0, full),
            (Self::Images { low, high } | Self::Window { low, high }, _) => (low, high),
            (Self::EachImage, _) => percentiles(),
        };
        // An image of one value only is black.
        if high > low { (low, high) } else { (low, low + 1.0) }
    }
}

/// The quantiles of the values at [`PERCENTILES`]; 0 and 1 if there are no values.
pub fn percentiles(mut values: Vec<f64>) -> (f64, f64) {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied();
    (at(PERCENTILES.0).unwrap_or(0.0), at(PERCENTILES.1).unwrap_or(1.0))
}
