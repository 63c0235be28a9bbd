//! The shape of a network, from the settings.

use serde::{Deserialize, Serialize};

use crate::domain::settings::{Channels, DropoutPlace, Encoder, Settings};
use crate::engine::lite0;
use crate::engine::sample::Shape;

/// Filters of the decoder's levels with a pre-trained encoder, from full resolution down.
const DECODER_WIDTHS: [usize; 5] = [16, 24, 32, 64, 128];

/// The architecture of a U-Net; stored with its weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UNetConfig {
    /// Its encoder; the U-Net's own for models from before there was a choice.
    #[serde(default = "own_encoder")]
    pub encoder: Encoder,
    /// Filters of each level, from full resolution down; with a pre-trained encoder, of each level of the decoder.
    pub widths: Vec<usize>,
    /// Channels of the input: 1 or 3.
    pub channels: usize,
    /// Classes besides the background.
    pub classes: usize,
    /// Input rows.
    pub rows: usize,
    /// Input columns.
    pub columns: usize,
    /// After which levels dropout acts.
    pub dropout_place: DropoutPlace,
    /// Probability that dropout clears a feature.
    pub dropout: f64,
}

fn own_encoder() -> Encoder {
    Encoder::Unet
}

impl UNetConfig {
    /// The network that the settings describe.
    pub fn new(settings: &Settings, classes: usize) -> Self {
        Self {
            encoder: settings.encoder,
            widths: match settings.encoder {
                Encoder::Unet => settings.unet_widths(),
                Encoder::Lite0 => DECODER_WIDTHS.to_vec(),
            },
            channels: match settings.channels {
                Channels::Grey => 1,
                Channels::Auto | Channels::Rgb => 3,
            },
            classes,
            rows: settings.rows,
            columns: settings.columns,
            dropout_place: settings.dropout_place,
            dropout: settings.dropout,
        }
    }

    /// Whether a network of this shape can take another's weights.
    pub fn takes_weights_of(&self, other: &Self) -> bool {
        let shape = |config: &Self| (config.encoder, config.widths.clone(), config.channels, config.classes);
        shape(self) == shape(other)
    }

    /// Channels of the encoder's features, from full resolution down.
    pub fn features(&self) -> Vec<usize> {
        match self.encoder {
            Encoder::Unet => self.widths.clone(),
            Encoder::Lite0 => [&[self.channels], lite0::LEVELS.as_slice()].concat(),
        }
    }

    /// Number of output maps: one logit for a single class; for several, one logit for each class and the background.
    pub fn outputs(&self) -> usize {
        if self.classes == 1 { 1 } else { self.classes + 1 }
    }
    /// The shape of the images it takes.
    pub fn input(&self) -> Shape {
        Shape { channels: self.channels, rows: self.rows, columns: self.columns }
    }
}
