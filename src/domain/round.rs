//! What one round did.

use serde::{Deserialize, Serialize};

use crate::domain::metrics::Agreement;
use crate::domain::settings::Settings;
use crate::domain::tiles::Tile;
use crate::domain::uncertainty::UncertaintyQuality;

/// The report of one round, as stored, printed by `--json` and drawn in the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Report {
    /// Its number, from 1.
    pub round: usize,
    /// Labelled images taken in, those of validation among them.
    pub labelled: usize,
    /// Images trained on with the network's own labels.
    #[serde(default)]
    pub pseudo: usize,
    /// Mean loss of the last epoch.
    pub train_loss: f64,
    /// Agreement with the validation images; `None` where there are none.
    pub validation: Option<Agreement>,
    /// The same for each class, class 1 first.
    #[serde(default)]
    pub classes: Vec<Agreement>,
    /// The names of the classes that its network knows, class 1 first; of rounds of before they were recorded, none.
    #[serde(default)]
    pub class_names: Vec<String>,
    /// Whether the network was imported rather than trained here.
    #[serde(default)]
    pub imported: bool,
    /// Dice of each validation image.
    #[serde(default)]
    pub validation_images: Vec<ImageDice>,
    /// Uncertainty quality over the validation images; `None` where there are none.
    #[serde(default)]
    #[serde(alias = "honesty")]
    pub uncertainty: Option<UncertaintyQuality>,
    /// Pool images scored.
    pub scored: usize,
    /// Images proposed, most useful first.
    pub proposed: Vec<Proposed>,
    /// Images that the network labelled itself, for the next round.
    #[serde(default)]
    pub pseudo_labelled: usize,
    /// Images left out because they could not be read, each with the reason.
    pub problems: Vec<String>,
    /// What else a person should know of what it learned from.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Whether its model became the active one.
    pub active: bool,
    /// What tells its model from others: a hash of the model's files.
    pub model: String,
    /// The device it ran on.
    pub device: String,
    /// Where the time went.
    pub seconds: Seconds,
    /// How training came to its end.
    #[serde(default)]
    pub end: TrainingEnd,
    /// Steps of the optimizer.
    #[serde(default)]
    pub steps: usize,
    /// One point each time the network was measured.
    pub curve: Vec<EpochPoint>,
}

/// Validation Dice below which a network is reported as poor.
const POOR: f64 = 0.5;

impl Report {
    /// Whether the network is known to segment poorly.
    pub fn is_poor(&self) -> bool {
        self.validation.is_some_and(|validation| validation.dice < POOR)
    }
}

/// How a network did on the validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Mean Dice; `None` without validation.
    pub dice: Option<f64>,
    /// Expected calibration error; `None` without validation.
    pub calibration_error: Option<f64>,
}

impl Standing {
    /// The standing of a round's network.
    pub fn of(report: &Report) -> Self {
        Self {
            dice: report.validation.map(|validation| validation.dice),
            calibration_error: report.uncertainty.as_ref().map(|uncertainty| uncertainty.ece),
        }
    }

    /// Why a network with this standing may not create pseudo-labels, or `None` if it may. Without validation, it may
    /// only if the settings require nothing of it.
    pub fn bars_labelling(&self, settings: &Settings) -> Option<String> {
        let Settings { pseudo_dice, pseudo_calibration, .. } = *settings;
        if self.dice.unwrap_or(0.0) < pseudo_dice {
            let found = self.dice.map_or("there is none".to_owned(), |dice| format!("it is {dice:.3}"));
            Some(format!("validation Dice must be at least {pseudo_dice} (pseudo_dice); {found}"))
        } else if self.calibration_error.unwrap_or(1.0) > pseudo_calibration {
            let found = self.calibration_error.map_or("not known".to_owned(), |error| format!("{error:.3}"));
            Some(format!(
                "the calibration error must be at most {pseudo_calibration} (pseudo_calibration); it is {found}"
            ))
        } else {
            None
        }
    }
}

/// How a training came to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TrainingEnd {
    /// It spent its budget.
    #[default]
    Whole,
    /// It ended before, because the network did not get better any more.
    Flat,
    /// It was given longer, because the network still got better.
    Longer,
    /// It was given as much longer as there is, and the network still got better.
    StillRising,
}

/// How well one validation image was predicted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ImageDice {
    /// File name.
    pub image: String,
    /// Its Dice, mean over the classes.
    pub dice: f64,
}

/// Why an image is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The network found nothing in it.
    NoDetection,
    /// Its score is among the highest.
    MostUncertain,
    /// It represents images that look like it.
    Representative,
    /// Drawn at random.
    Random,
}

impl Reason {
    /// The reason in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoDetection => "nothing found",
            Self::MostUncertain => "most uncertain",
            Self::Representative => "representative",
            Self::Random => "random",
        }
    }
}

/// One proposed image of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Proposed {
    /// File name.
    pub image: String,
    /// Why it was proposed.
    pub reason: Reason,
    /// Its score.
    pub score: f64,
    /// The part of it that is to be labelled; `None`: all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tile: Option<Tile>,
}

/// Durations in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Seconds {
    /// Training and validation.
    pub train: f64,
    /// Scoring the pool.
    pub score: f64,
    /// The whole round, reading images and writing results included.
    pub total: f64,
}

/// How training stood when the network was measured.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct EpochPoint {
    /// Epochs begun.
    pub epoch: usize,
    /// Mean loss over the batches since the point before.
    pub loss: f64,
    /// Dice on the validation images; `None` where there are none.
    pub dice: Option<f64>,
}
