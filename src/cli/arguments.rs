//! The command-line arguments.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};

use qualm::domain::settings::Settings;
use qualm::project::{ExportFormat, ExportWhat};
use qualm::worker::{DeviceChoice, ServerAddress};

use super::import::MaskRules;
use super::{assign, export};
use crate::bench::BenchArguments;
use crate::report::ReportArguments;
use crate::simulate::SimulateArguments;

/// Segment medical images with a network that says where it is unsure.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    /// The project to open in the window.
    pub project: Option<PathBuf>,
    /// Say on standard error how long the window takes to come up.
    #[arg(long)]
    pub trace_startup: bool,
    #[command(subcommand)]
    pub command: Option<CommandArguments>,
}

#[derive(Subcommand)]
pub enum CommandArguments {
    /// Show what making a project of a folder would do: which images, which mask for which image, what values mean.
    Check {
        /// The folder of the images.
        #[arg(long)]
        images: PathBuf,
        /// The folder of the masks, or a COCO annotation file (.json).
        #[arg(long)]
        masks: Option<PathBuf>,
        #[command(flatten)]
        rules: MaskRules,
        /// Print one JSON object, which lists everything.
        #[arg(long)]
        json: bool,
    },
    /// Make a project of a folder of images.
    New {
        /// The project's folder, which is made.
        project: PathBuf,
        /// The folder of the images; they stay where they are.
        #[arg(long)]
        images: PathBuf,
        /// A folder of masks to take as labels, paired by path and name (also NAME_mask, NAME_segmentation and others), or a
        /// COCO annotation file (.json).
        #[arg(long)]
        masks: Option<PathBuf>,
        /// Only show what would be done.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        beginning: Beginning,
    },
    /// Import a folder of masks as labels; images that have one are skipped.
    Import {
        /// The project's folder.
        project: PathBuf,
        /// The masks, paired with the images by path and name, or a COCO annotation file (.json).
        #[arg(long)]
        masks: PathBuf,
        #[command(flatten)]
        rules: MaskRules,
        /// Also replace the labels of images that have one; each can be undone in the window.
        #[arg(long)]
        replace: bool,
        /// Only show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for image files that are new, missing, or replaced since they were labelled.
    Refresh {
        /// The project's folder.
        project: PathBuf,
        /// What to do with the labels of replaced images: keep or clear.
        #[arg(long, value_parser = ["keep", "clear"])]
        replaced: Option<String>,
        /// Bring back the images that were taken out.
        #[arg(long)]
        restore: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Say where the folder of images is now, after it was moved.
    Relocate {
        /// The project's folder.
        project: PathBuf,
        /// The folder of the images.
        #[arg(long)]
        images: PathBuf,
    },
    /// Remove images from a project; their files and labels stay.
    Remove {
        /// The project's folder.
        project: PathBuf,
        /// Their names, as the list shows them.
        #[arg(required = true)]
        images: Vec<PathBuf>,
    },
    /// Say which images belong together, so that no patient is on both sides of validation.
    Groups {
        /// The project's folder.
        project: PathBuf,
        /// `folder` or `folder:LEVEL` (1: its own), `pattern:REGEX` (its first capture group), or `csv:FILE` (file name
        /// or path, group; separated by comma, semicolon or tab).
        rule: String,
        /// Draw validation anew at the next round, whole groups on one side.
        #[arg(long)]
        redraw: bool,
    },
    /// Train, validate, score the pool, propose what to label next.
    Round {
        /// The project's folder.
        project: PathBuf,
        #[command(flatten)]
        on: On,
        /// Change a setting of the project, for this round and those after it.
        #[arg(long = "set", value_name = "KEY=VALUE")]
        set: Vec<String>,
    },
    /// Score the images nobody has labelled with the active model; resumes an interrupted scoring.
    Score {
        /// The project's folder.
        project: PathBuf,
        #[command(flatten)]
        on: On,
    },
    /// Predict a folder of images with the project's active model.
    ///
    /// For each image, at its size: STEM.mean.png (probability) and STEM.variance.png, both 16-bit, and STEM.mask.png;
    /// and a line of scores.csv, which also says what 65535 stands for in the maps.
    Predict {
        /// The project's folder.
        project: PathBuf,
        /// The images.
        #[arg(long)]
        images: PathBuf,
        /// Where the results go.
        #[arg(long)]
        out: PathBuf,
        /// Dropout passes T; default: the project's setting.
        #[arg(long, value_parser = clap::value_parser!(u64).range(2..=1000))]
        passes: Option<u64>,
        /// Also write the passes themselves: STEM.passes.npy, [T, rows, columns], float32.
        #[arg(long)]
        npy: bool,
        #[command(flatten)]
        on: On,
    },
    /// Write labels, predictions or both in a format of other programs.
    ///
    /// png: an indexed PNG for each image; binary: a black and white PNG for each image and class; tiff: a TIFF for each image
    /// or stack, for ImageJ and OME; nifti: a NIfTI volume for each image or stack, on its source's grid; dicom-seg: a DICOM
    /// segmentation for each image or series; coco: annotations.json, each connected region as run lengths; coco-polygons:
    /// the same as polygons, where a region has no hole; geojson: a file for each image, for QuPath; csv: regions.csv, each
    /// connected region measured. Of predictions, tiff and nifti have maps of probability and variance beside.
    Export {
        /// The project's folder.
        project: PathBuf,
        /// png, binary, tiff, nifti, dicom-seg, coco, coco-polygons, geojson or csv.
        #[arg(long, value_parser = export::format)]
        format: ExportFormat,
        /// labels (of the labelled images), predictions (of all images, by the active model) or both.
        #[arg(long, value_parser = export::what, default_value = "labels")]
        what: ExportWhat,
        /// The folder that the files go into.
        #[arg(long)]
        out: PathBuf,
        /// Replace files that are there already.
        #[arg(long)]
        overwrite: bool,
        /// Only show what would be written.
        #[arg(long)]
        dry_run: bool,
        #[command(flatten)]
        on: On,
    },
    /// Write a round's network: model.safetensors, model.json, and model.py, which loads both into PyTorch.
    ExportModel {
        /// The project's folder.
        project: PathBuf,
        /// The round; default: the active round.
        #[arg(long)]
        round: Option<usize>,
        /// The folder that the files go into.
        #[arg(long)]
        out: PathBuf,
        /// Replace files that are there already.
        #[arg(long)]
        overwrite: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Take over a network that export-model wrote, as a round without training; it is measured on the validation images.
    ImportModel {
        /// The project's folder.
        project: PathBuf,
        /// The folder with model.safetensors and model.json.
        folder: PathBuf,
        /// The network's classes are the project's, in order, whatever they are called.
        #[arg(long)]
        ignore_names: bool,
        #[command(flatten)]
        on: On,
    },
    /// Propose representative images to label, chosen with the pre-trained encoder: works before the first round.
    Propose {
        /// The project's folder.
        project: PathBuf,
        #[command(flatten)]
        on: On,
    },
    /// Write a page about the study: rounds, curves, calibration, examples, settings, what a methods section needs.
    Report(ReportArguments),
    /// Images by status, rounds, and what to label next, with reasons.
    Status {
        /// The project's folder.
        project: PathBuf,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Print what happens to a project, a line each, while a window or another command works on it; ends with Ctrl+C.
    Watch {
        /// The project's folder.
        project: PathBuf,
        /// Print a JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// The devices of this machine, each checked against the CPU.
    Devices {
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Let other machines compute on a device of this one. It holds no project and stores no image.
    Serve(ServeArguments),
    /// The servers that `--device remote:NAME` computes on.
    Servers {
        #[command(subcommand)]
        command: ServersCommand,
    },
    /// How fast the network and a whole scoring of a pool are on this machine.
    Bench(BenchArguments),
    /// Repeat active learning on images whose masks are known, and compare policies.
    Simulate(SimulateArguments),
    /// The JSON schema of what a command prints with --json; without a command, which commands there are.
    Schema {
        /// The command.
        command: Option<String>,
    },
    /// Check labels, label files and models for damage, and mend what can be mended; a copy of the database is kept.
    Repair {
        /// The project's folder.
        project: PathBuf,
        /// Only say what is damaged.
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Bring back a backup of the database, one of the last five days of work; a copy of the present one is kept.
    Restore {
        /// The project's folder.
        project: PathBuf,
        /// The day, as in 2026-01-31: the state before that day's work. Without it, the backups are listed.
        day: Option<String>,
    },
    /// Print completions for a shell: bash, zsh, fish, elvish or powershell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write manual pages, one for each command.
    Man {
        /// The folder that they go into.
        #[arg(long)]
        out: PathBuf,
    },
    /// The table of settings.
    Settings,
    /// Write the demo project (60 skin lesions, 24 of them labelled) and open it in the window.
    Demo {
        /// Its folder.
        folder: Option<PathBuf>,
    },
}

#[derive(clap::Args)]
pub struct On {
    /// Where to compute: auto (a GPU that passes its self-check, else the CPU), cpu, gpu, or remote:NAME (a server, see
    /// `qualm servers`).
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// Print one JSON object as the last line.
    #[arg(long)]
    pub json: bool,
}

/// What to serve, and to whom.
#[derive(clap::Args)]
pub struct ServeArguments {
    /// The device to serve: auto, cpu or gpu.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    pub device: DeviceChoice,
    /// The port: UDP, or TCP with --websocket.
    #[arg(long, default_value_t = 7741)]
    pub port: u16,
    /// The file of the server's key, which makes its id; it is made if it is missing.
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The file of the token that clients must present; it is made if it is missing.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Serve over WebSocket on this address, not encrypted: for clients on this machine, or at the other end of an SSH tunnel.
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1", conflicts_with_all = ["identity", "public_relay"])]
    pub websocket: Option<IpAddr>,
    /// Allow WebSocket to other machines, though others on the network can then read the images.
    #[arg(long, requires = "websocket")]
    pub insecure_lan: bool,
    /// Be found by the id alone, through the public servers of the iroh project, which relay (but cannot read) traffic
    /// between networks.
    #[arg(long)]
    pub public_relay: bool,
}

/// What to do with remembered servers.
#[derive(clap::Subcommand)]
pub enum ServersCommand {
    /// List them.
    List,
    /// Connect to a server, check and measure it, and remember it. The token is read from standard input.
    Add {
        /// The name to choose it by.
        name: String,
        /// ID@HOST:PORT as the server shows it, relay:ID, or ws://HOST:PORT.
        address: ServerAddress,
        /// A file with the token.
        #[arg(long, value_name = "FILE")]
        token_file: Option<PathBuf>,
        /// Allow WebSocket to another machine, though others on the network can then read the images.
        #[arg(long)]
        insecure_lan: bool,
    },
    /// Connect to a server, check and measure it.
    Check {
        /// Its name.
        name: String,
    },
    /// Forget a server.
    Remove {
        /// Its name.
        name: String,
    },
}

/// What masks mean, and the settings to begin with.
#[derive(clap::Args)]
pub struct Beginning {
    #[command(flatten)]
    pub masks: MaskRules,
    /// Settings to begin with: quick or paper.
    #[arg(long, default_value = "quick")]
    pub preset: String,
    /// Change a setting (`qualm settings` lists them).
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

impl Beginning {
    /// The preset with its changes.
    pub fn settings(&self) -> Result<Settings> {
        let preset = &self.preset;
        let mut settings = Settings::preset(preset).with_context(|| format!("no preset `{preset}`: quick or paper"))?;
        assign(&mut settings, &self.set)?;
        Ok(settings)
    }
}
