//! Which values of an image are the network's 0 and 1.

use serde::{Deserialize, Serialize};

/// Shares of the values below and above which a range by percentiles is cut off.
pub const PERCENTILES: (f64, f64) = (0.001, 0.999);

/// The values that become 0 and 1 for the network; others are cut off there. Stored with the model.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum ValueRange {
    /// Images of 8 bits from 0 to 255, deeper ones over percentiles of all the project's images.
    Images {
        /// Becomes 0.
        low: f64,
        /// Becomes 1.
        high: f64,
    },
    /// All images over one window, as of Hounsfield units.
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
    /// The whole of 16 bits.
    fn default() -> Self {
        Self::Images { low: 0.0, high: 65535.0 }
    }
}

impl ValueRange {
    /// The values that become 0 and 1 in an image; `full_scale` is the largest that one of up to 8 bits can have,
    /// `percentiles` are its own.
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

/// The values that [`PERCENTILES`] of these lie below; 0 to 1 of none.
pub fn percentiles(mut values: Vec<f64>) -> (f64, f64) {
    values.retain(|value| value.is_finite());
    values.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| values.get(((values.len() as f64 - 1.0) * share).round() as usize).copied();
    (at(PERCENTILES.0).unwrap_or(0.0), at(PERCENTILES.1).unwrap_or(1.0))
}
