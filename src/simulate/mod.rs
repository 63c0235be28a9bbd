//! `qualm simulate`: active learning on images whose masks are known, with the true masks as the annotator and the
//! program's own rounds. For each seed all policies start from the same labelled images; a killed run resumes where it
//! stopped.

mod curves;
mod data;
mod report;
mod run;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;
use serde::{Deserialize, Serialize};

use qualm::domain::settings::{Policy, Settings};
use qualm::engine::device::{self, SELF_CHECK_LIMIT};
use qualm::raster::NewFile;
use qualm::worker::DeviceChoice;

use crate::cli::{self, Beginning};
use data::Data;
use run::SimulationRun;

/// What to compare.
#[derive(clap::Args)]
pub struct SimulateArguments {
    /// The folder of the images: the first 80 % in name order are the pool, the last 20 % the test set.
    #[arg(long)]
    images: PathBuf,
    /// The folder of their masks, paired by name.
    #[arg(long)]
    masks: PathBuf,
    #[command(flatten)]
    beginning: Beginning,
    /// A policy to compare, as often as wanted; else random, uncertain, ceal and ceal-diverse.
    #[arg(long = "policy", value_name = "POLICY")]
    policies: Vec<Policy>,
    /// Repetitions of each policy, each with images and weights of its own.
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Images labelled at the start; else 40, with the preset `paper` 600.
    #[arg(long)]
    initial: Option<usize>,
    /// Label first the images that `qualm propose` asks for, rather than random ones.
    #[arg(long)]
    representative: bool,
    /// Rounds of the query after the start; else 4, with the preset `paper` 10.
    #[arg(long)]
    rounds: Option<usize>,
    /// Images labelled a round; else as many as the settings say.
    #[arg(long)]
    query: Option<usize>,
    /// Images labelled at the start and after each query, as in `5,10,20,40`; instead of --initial, --query and --rounds.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', conflicts_with_all = ["initial", "query", "rounds"])]
    labels: Vec<usize>,
    /// Images of the pool that take part, drawn for each seed; else all.
    #[arg(long)]
    pool: Option<usize>,
    /// Images of the test set that are measured, spread evenly over it; else all.
    #[arg(long)]
    test: Option<usize>,
    /// Images that belong together stay on one side: `folder` or `folder:LEVEL` (1: its own), `pattern:REGEX` (its first
    /// group), or `csv:FILE` (file name, group).
    #[arg(long)]
    groups: Option<String>,
    /// Leave out training on the whole pool, which the report measures against.
    #[arg(long)]
    no_full: bool,
    /// Where the results go, and a project for each run: about 16 MB a round.
    #[arg(long, default_value = "simulation")]
    out: PathBuf,
    /// Where to compute: auto (a GPU that passes its self-check, else the CPU), cpu, gpu, or
    /// remote:NAME (a server, see `qualm servers`).
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

/// The parameters of an experiment: a run is resumed only if all of them are the same.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    images: PathBuf,
    masks: PathBuf,
    #[serde(default)]
    map: Vec<String>,
    groups: Option<String>,
    pool: Option<usize>,
    test: Option<usize>,
    initial: usize,
    /// Number of images proposed by each query; empty: as in the settings.
    #[serde(default)]
    queries: Vec<usize>,
    /// Whether the initial images are representative ones rather than random.
    #[serde(default)]
    representative: bool,
    settings: Settings,
}

/// One round of one policy: a line of `results.jsonl`.
#[derive(Clone, Debug, Serialize, Deserialize, schemars::JsonSchema)]
pub struct SimulatedRound {
    /// The policy; `full` where the whole pool was labelled.
    pub policy: String,
    /// The repetition.
    pub seed: u64,
    /// Queries made before: 0 is the start.
    pub round: usize,
    /// Labels spent, those kept for validation among them.
    pub labelled: usize,
    /// Share of the pixels of the images labelled since the line before that the network had wrong.
    pub corrected: Option<f64>,
    /// Pixels labelled so far; `None` where a run was broken off while labelling.
    #[serde(default)]
    pub labelled_pixels: Option<usize>,
    /// Images trained on with the network's own labels.
    pub pseudo: usize,
    /// Mean Dice over the images kept for validation; `None` where there are none.
    #[serde(default)]
    pub validation_dice: Option<f64>,
    /// Mean Dice over the test images.
    pub test_dice: f64,
    /// Mean Jaccard index over the test images.
    pub test_jaccard: f64,
    /// Expected calibration error over the test images' pixels, at the network's size.
    pub ece: f64,
    /// AUROC of the variance against error over the test images' pixels.
    pub error_auroc: Option<f64>,
    /// Area under the risk–coverage curve over the test images' pixels.
    #[serde(default)]
    pub aurc: Option<f64>,
    /// Steps of the training.
    pub steps: usize,
    /// Seconds of the training.
    pub seconds: f64,
}

/// Runs the experiment and writes its results.
pub fn run(arguments: &SimulateArguments) -> Result<()> {
    let beginning = &arguments.beginning;
    let mut settings = beginning.settings()?;
    if let Some(query) = arguments.query {
        share_out(&mut settings, query)?;
    }
    if !arguments.labels.is_sorted_by(|a, b| a < b) {
        bail!("--labels: each number must be larger than the one before");
    }
    let queries: Vec<usize> = arguments.labels.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let policies = match arguments.policies.as_slice() {
        [] => &[Policy::Random, Policy::Uncertain, Policy::Ceal, Policy::CealDiverse],
        policies => policies,
    };
    let is_paper = beginning.preset == "paper";
    let experiment = Experiment {
        images: arguments.images.clone(),
        masks: arguments.masks.clone(),
        map: beginning.masks.words(),
        groups: arguments.groups.clone(),
        pool: arguments.pool,
        test: arguments.test,
        initial: arguments.labels.first().copied().or(arguments.initial).unwrap_or(if is_paper { 600 } else { 40 }),
        queries,
        representative: arguments.representative,
        settings,
    };
    if experiment.pool.is_some_and(|pool| pool < experiment.initial) {
        bail!(
            "--pool {}: the pool must hold the {} images labelled at the start (--initial, --labels)",
            experiment.pool.unwrap_or(0),
            experiment.initial
        );
    }
    if experiment.test == Some(0) {
        bail!("--test 0: at least one image must be measured on");
    }
    let rounds = match arguments.labels.len() {
        0 => arguments.rounds.unwrap_or(if is_paper { 10 } else { 4 }),
        budgets => budgets - 1,
    };
    begin(&arguments.out, &experiment)?;
    let data = Data::read(&experiment, &beginning.masks.rules()?)?;
    let (_, reports) = device::choose(&arguments.device, SELF_CHECK_LIMIT)?;
    println!(
        "{} images in the pool, {} in the test set, {}",
        experiment.pool.unwrap_or(data.pool.len()).min(data.pool.len()),
        data.test.len(),
        reports.last().map(|report| report.to_string()).unwrap_or_default()
    );
    // Seed by seed, so that an interrupted run has compared all policies on some seeds.
    for seed in 0..arguments.seeds {
        for policy in policies.iter().map(|policy| Some(*policy)).chain((!arguments.no_full).then_some(None)) {
            let mut run = SimulationRun::begin(&arguments.out, &experiment, &data, policy, seed, &arguments.device)?;
            let last = if policy.is_some() { rounds } else { 0 };
            while run.lines.len() <= last {
                let Some(line) = run.round()? else { break };
                println!("{}", serde_json::to_string(&line)?);
                report::write(&arguments.out, &experiment)?;
            }
        }
    }
    report::write(&arguments.out, &experiment)?;
    println!("report.md, results.jsonl, curves.svg and curves.png are in {}", arguments.out.display());
    Ok(())
}

/// Splits a query of `total` images among the three kinds as the settings do.
fn share_out(settings: &mut Settings, total: usize) -> Result<()> {
    let Settings { query_no_detection: none, query_uncertain: uncertain, .. } = *settings;
    let sum = settings.query_count();
    if sum == 0 {
        bail!("--query {total}: the settings query nothing; set query_no_detection, query_uncertain or query_random");
    }
    settings.query_no_detection = total * none / sum;
    settings.query_uncertain = total * uncertain / sum;
    settings.query_random = total - settings.query_no_detection - settings.query_uncertain;
    Ok(())
}

/// Creates the folder, or checks that its contents belong to the same experiment.
fn begin(out: &Path, experiment: &Experiment) -> Result<()> {
    let path = out.join("experiment.json");
    std::fs::create_dir_all(out.join("state")).with_context(|| format!("{} cannot be made", out.display()))?;
    if let Ok(text) = std::fs::read_to_string(&path) {
        let before: Option<Experiment> = serde_json::from_str(&text).ok();
        if before.as_ref() != Some(experiment) {
            bail!(
                "{} holds the results of other settings ({}); choose another folder with --out, or give the same settings \
                 to go on",
                out.display(),
                path.display()
            );
        }
        return Ok(());
    }
    write_whole(&path, serde_json::to_string_pretty(experiment)?.as_bytes())
}

/// Writes a file beside and renames it into place.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    Ok(NewFile::write_all(path, |file| std::io::Write::write_all(file, bytes))?)
}

/// A bar of this many images on standard error, where that is a terminal.
fn bar(images: usize, what: &str) -> ProgressBar {
    let bar = cli::progress_bar();
    bar.set_length(images as u64);
    bar.set_message(what.to_owned());
    bar
}
