//! Colour maps of uncertainty: perceptually even, never a rainbow.

use serde::{Deserialize, Serialize};

/// A colour map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColourMap {
    /// Black over red to yellow.
    #[default]
    Inferno,
    /// Blue over green to yellow.
    Viridis,
    /// Black to white.
    Grey,
}

impl ColourMap {
    /// All maps, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Inferno, "inferno"), (Self::Viridis, "viridis"), (Self::Grey, "grey")];

    /// The colour at a place from 0 to 1.
    pub fn at(self, place: f64) -> [u8; 3] {
        let colour = match self {
            Self::Inferno => colorous::INFERNO.eval_continuous(place),
            Self::Viridis => colorous::VIRIDIS.eval_continuous(place),
            Self::Grey => return [(place * 255.0).round() as u8; 3],
        };
        [colour.r, colour.g, colour.b]
    }
}
