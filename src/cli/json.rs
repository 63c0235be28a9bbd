//! What commands print with `--json`, and its schemas.

use anyhow::{Result, bail};
use schemars::{JsonSchema, Schema, schema_for};
use serde::Serialize;

use qualm::domain::round::Reason;
use qualm::domain::round::Report;
use qualm::domain::study::{Review, StudyEvent};
use qualm::domain::tiles::Tile;
use qualm::engine::device::DeviceReport;
use qualm::project::import::Ask;
use qualm::project::{Exported, Repaired, Summary};
use qualm::worker::Predicted;

use super::remedies::options;
use crate::bench::Benchmark;
use crate::simulate::SimulatedRound;

/// `qualm check`.
#[derive(Serialize, JsonSchema)]
pub struct Checked<'a> {
    /// What an import would do.
    #[serde(flatten)]
    pub summary: &'a Summary,
    /// What must be said before the import can be done.
    pub questions: Vec<Asked<'a>>,
}

/// A question, and how to answer it.
#[derive(Serialize, JsonSchema)]
pub struct Asked<'a> {
    /// What is not clear, or wrong.
    pub what: &'a str,
    /// The options that settle it; empty if none does.
    pub flags: String,
}

impl<'a> Checked<'a> {
    /// The summary with its questions.
    pub fn new(summary: &'a Summary) -> Self {
        let asked = |ask: &'a Ask| Asked { what: &ask.what, flags: options(ask).unwrap_or_default() };
        Self { summary, questions: summary.questions.iter().map(asked).collect() }
    }
}

/// `qualm refresh`.
#[derive(Serialize, JsonSchema)]
pub struct Refreshed {
    /// Images that are new.
    pub added: usize,
    /// Images that were brought back.
    pub restored: usize,
    /// Replaced images that were decided on.
    pub settled: usize,
    /// Images whose file is missing.
    pub missing: Vec<String>,
    /// Images whose file was replaced since they were labelled.
    pub replaced: Vec<String>,
}

/// `qualm score`.
#[derive(Serialize, JsonSchema)]
pub struct Scored {
    /// Images scored.
    pub scored: usize,
    /// Images proposed.
    pub proposed: usize,
}

/// `qualm propose`.
#[derive(Serialize, JsonSchema)]
pub struct ProposedImages {
    /// Images proposed.
    pub proposed: usize,
}

/// `qualm predict`.
#[derive(Serialize, JsonSchema)]
pub struct PredictedFolder {
    /// Each image.
    pub images: Vec<Predicted>,
    /// Why images were left out.
    pub problems: Vec<String>,
}

/// `qualm export-model`.
#[derive(Serialize, JsonSchema)]
pub struct Written {
    /// The files.
    pub files: Vec<std::path::PathBuf>,
}

/// `qualm status`.
#[derive(Serialize, JsonSchema)]
pub struct StatusOf {
    /// Images by status; each is counted once.
    pub counts: ImageCounts,
    /// Reports of all rounds, oldest first.
    pub rounds: Vec<Report>,
    /// The round whose model predicts.
    pub active_round: Option<usize>,
    /// Images to label next, by rank.
    pub proposed: Vec<Next>,
    /// Images with a pseudo-label.
    pub pseudo: Vec<PseudoLabelled>,
}

/// Images by status.
#[derive(Serialize, JsonSchema, Default)]
pub struct ImageCounts {
    /// All.
    pub images: usize,
    /// Without a label, and not proposed.
    pub unlabelled: usize,
    /// Proposed for labelling.
    pub proposed: usize,
    /// Labelled, for training.
    pub labelled: usize,
    /// Labelled, for validation.
    pub validation: usize,
    /// With a pseudo-label that was not rejected.
    pub pseudo_labelled: usize,
    /// That cannot be read.
    pub unreadable: usize,
}

/// An image to label next.
#[derive(Serialize, JsonSchema)]
pub struct Next {
    /// Its name.
    pub image: String,
    /// Its rank, from 1.
    pub rank: usize,
    /// Why it is proposed.
    pub reason: Reason,
    /// Its score; `null` before a round has scored it, and where a tile of it is proposed.
    pub score: Option<f64>,
    /// The part of it that is to be labelled; `null`: all of it.
    pub tile: Option<Tile>,
}

/// An image with a pseudo-label.
#[derive(Serialize, JsonSchema)]
pub struct PseudoLabelled {
    /// Its name.
    pub image: String,
    /// What a person has decided on it.
    pub state: Review,
}

/// `qualm devices`.
#[derive(Serialize, JsonSchema)]
pub struct Devices {
    /// Each device.
    pub devices: Vec<DeviceReport>,
    /// The name of the one that `auto` takes.
    pub auto: String,
}

type MakeSchema = fn() -> Schema;

/// The commands that print JSON, each with the schema of what it prints.
const SCHEMAS: [(&str, MakeSchema); 15] = [
    ("check", || schema_for!(Checked)),
    ("refresh", || schema_for!(Refreshed)),
    ("round", || schema_for!(Report)),
    ("score", || schema_for!(Scored)),
    ("predict", || schema_for!(PredictedFolder)),
    ("export", || schema_for!(Exported)),
    ("export-model", || schema_for!(Written)),
    ("import-model", || schema_for!(Report)),
    ("propose", || schema_for!(ProposedImages)),
    ("status", || schema_for!(StatusOf)),
    ("repair", || schema_for!(Repaired)),
    ("watch", || schema_for!(StudyEvent)),
    ("devices", || schema_for!(Devices)),
    ("bench", || schema_for!(Benchmark)),
    ("simulate", || schema_for!(SimulatedRound)),
];

/// Prints the schema of what a command prints, or the names of all such commands.
pub fn schema(command: Option<&str>) -> Result<()> {
    let Some(command) = command else {
        SCHEMAS.iter().for_each(|(name, _)| println!("{name}"));
        return Ok(());
    };
    match SCHEMAS.iter().find(|(name, _)| *name == command) {
        Some((_, schema)) => println!("{}", serde_json::to_string_pretty(&schema())?),
        None => bail!("qualm {command} prints no JSON; qualm schema lists the commands that do"),
    }
    Ok(())
}
