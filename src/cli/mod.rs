//! The command line: each command is the same code as in the window, without one.

mod export;
mod import;
mod json;
mod status;
mod watch;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use qualm::domain::settings::{self, Settings};
use qualm::project::groups::{Grouped, Rule};
use qualm::project::{ExportFormat, ExportPlan, ExportWhat, Project};
use qualm::ui::{self, First};
use qualm::worker::model_files;
use qualm::worker::{DeviceChoice, Event, JobKind, Outcome, Request, Worker, Write};

use self::import::MaskRules;
use crate::bench::{self, BenchArguments};
use crate::report::{self, ReportArguments};
use crate::simulate::{self, SimulateArguments};

/// Segment medical images with a network that says where it is unsure.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The project to open in the window.
    project: Option<PathBuf>,
    /// Say on standard error how long the window takes to come up.
    #[arg(long)]
    trace_startup: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
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
    /// Take a folder of masks as labels of images that have none.
    Import {
        /// The project's folder.
        project: PathBuf,
        /// The masks, paired with the images by path and name, or a COCO annotation file (.json).
        #[arg(long)]
        masks: PathBuf,
        #[command(flatten)]
        rules: MaskRules,
        /// Only show what would be done.
        #[arg(long)]
        dry_run: bool,
    },
    /// Look for image files that are new, missing, or replaced since they were labelled.
    Refresh {
        /// The project's folder.
        project: PathBuf,
        /// What holds for images whose file was replaced: keep (the label fits the new file), or clear (it goes).
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
    /// Take images out of a project; their files and labels stay.
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
        /// `folder` or `folder:LEVEL` (1: its own), `pattern:REGEX` (its first group), or `csv:FILE` (file name or path,
        /// group; separated by comma, semicolon or tab).
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
    /// Score the images nobody has labelled with the active model; goes on where a scoring was broken off.
    Score {
        /// The project's folder.
        project: PathBuf,
        #[command(flatten)]
        on: On,
    },
    /// Predict a folder of images with the project's active model.
    ///
    /// For each image: STEM.mean.png and STEM.variance.png (16-bit, at the network's size, their scales in the JSON),
    /// STEM.mask.png (at the image's size) and the scores.
    Predict {
        /// The project's folder.
        project: PathBuf,
        /// The images.
        #[arg(long)]
        images: PathBuf,
        /// Where the results go.
        #[arg(long)]
        out: PathBuf,
        /// Dropout passes T, where not the project's.
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
        /// The round, where not the active one.
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
    /// How fast the network and a whole scoring of a pool are on this machine.
    Bench(BenchArguments),
    /// Repeat active learning on images whose masks are known, and compare policies.
    Simulate(SimulateArguments),
    /// The JSON schema of what a command prints with --json; without a command, which commands there are.
    Schema {
        /// The command.
        command: Option<String>,
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
struct On {
    /// Where to compute: auto (a GPU that passes its self-check, else the CPU), cpu, or gpu.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
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
    set: Vec<String>,
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

/// Runs what the command line says.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    let arguments = Arguments::parse();
    let begun = arguments.trace_startup.then_some(begun);
    match arguments.command {
        None => window(arguments.project.map_or(First::Nothing, First::Project), demo_folder(), begun),
        Some(Command::Demo { folder }) => window(First::Demo, folder.unwrap_or_else(demo_folder), None),
        Some(Command::Check { images, masks, rules, json }) => import::check(&images, masks.as_deref(), &rules, json),
        Some(Command::New { images, masks, dry_run: true, beginning, .. }) => {
            import::check(&images, masks.as_deref(), &beginning.masks, false)
        }
        Some(Command::New { project, images, masks, dry_run: false, beginning }) => {
            import::new(&project, &images, masks.as_deref(), &beginning.masks, &beginning.settings()?)
        }
        Some(Command::Import { project, masks, rules, dry_run }) => import::masks(&project, &masks, &rules, dry_run),
        Some(Command::Refresh { project, replaced, restore, json }) => {
            import::refresh(&project, replaced.as_deref(), restore, json)
        }
        Some(Command::Relocate { project, images }) => import::relocate(&project, &images),
        Some(Command::Remove { project, images }) => import::remove(&project, &images),
        Some(Command::Groups { project, rule, redraw }) => groups(&project, &rule, redraw),
        Some(Command::Round { project, on, set }) => round(project, &on, &set),
        Some(Command::Score { project, on }) => score(project, &on),
        Some(Command::Propose { project, on }) => propose(project, &on),
        Some(Command::Predict { project, images, out, passes, npy, on }) => {
            predict(project, &on, JobKind::Predict { images, out, passes: passes.map(|t| t as usize), npy })
        }
        Some(Command::Export { project, format, what, out, overwrite, dry_run, on }) => {
            export::export(project, &ExportPlan { format, what, out, overwrites: overwrite }, dry_run, &on)
        }
        Some(Command::ExportModel { project, round, out, overwrite, json }) => {
            let files = model_files::export(&Project::open_to_read(&project)?, round, &out, overwrite)?;
            if json {
                return print_json(&json::Written { files });
            }
            files.iter().for_each(|file| println!("{}", file.display()));
            Ok(())
        }
        Some(Command::ImportModel { project, folder, on }) => {
            let worker = Worker::start(|| {});
            open(&worker, project)?;
            train(&worker, &on, JobKind::ImportModel(folder))
        }
        Some(Command::Report(arguments)) => report::run(&arguments),
        Some(Command::Status { project, json }) => status::status(&project, json),
        Some(Command::Watch { project, json }) => watch::watch(&project, json),
        Some(Command::Devices { json }) => status::devices(json),
        Some(Command::Bench(arguments)) => bench::run(&arguments),
        Some(Command::Simulate(arguments)) => simulate::run(&arguments),
        Some(Command::Schema { command }) => json::schema(command.as_deref()),
        Some(Command::Settings) => {
            print!("{}", settings::reference());
            Ok(())
        }
    }
}

fn window(first: First, demo: PathBuf, begun: Option<Instant>) -> Result<()> {
    ui::run(first, demo, begun).map_err(|error| {
        anyhow!(
            "no window can be opened ({error}); on a machine without a display use qualm new, round, predict and status \
             (qualm --help)"
        )
    })
}

fn demo_folder() -> PathBuf {
    let documents = directories::UserDirs::new()
        .and_then(|dirs| dirs.document_dir().map(Path::to_owned).or_else(|| Some(dirs.home_dir().to_owned())));
    documents.unwrap_or_default().join("qualm-demo")
}

fn groups(root: &Path, rule: &str, redraw: bool) -> Result<()> {
    let mut project = Project::open(root)?;
    let Grouped { images, groups, left_out } = project.set_groups(&Rule::read(rule)?, redraw)?;
    println!("{}: {images} images are in {groups} groups", root.display());
    if left_out > 0 {
        println!("{left_out} labelled images belong to groups in the validation set and are not trained on");
    }
    Ok(())
}

/// Takes `key=value` each, and checks the whole.
fn assign(settings: &mut Settings, set: &[String]) -> Result<()> {
    for assignment in set {
        settings.assign(assignment)?;
    }
    Ok(settings.check()?)
}

fn round(project: PathBuf, on: &On, set: &[String]) -> Result<()> {
    let worker = Worker::start(|| {});
    let mut settings = open(&worker, project)?;
    if !set.is_empty() {
        assign(&mut settings, set)?;
        ask(&worker, Request::Write(Write::Settings(Box::new(settings))))?;
    }
    train(&worker, on, JobKind::Round(None))
}

/// Runs a job that makes a round, and says how it went.
fn train(worker: &Worker, on: &On, kind: JobKind) -> Result<()> {
    let Outcome::Round(report) = run_job(worker, on.device, kind)? else {
        bail!("the engine answered a different request");
    };
    if on.json {
        return print_json(&report);
    }
    status::print_round(&report);
    Ok(())
}

fn score(project: PathBuf, on: &On) -> Result<()> {
    let worker = Worker::start(|| {});
    open(&worker, project)?;
    let Outcome::Scored(scored, proposed) = run_job(&worker, on.device, JobKind::Score)? else {
        bail!("the engine answered a different request");
    };
    if on.json {
        return print_json(&json::Scored { scored, proposed });
    }
    println!("{scored} images scored, {proposed} proposed (qualm status lists them)");
    Ok(())
}

fn propose(project: PathBuf, on: &On) -> Result<()> {
    let worker = Worker::start(|| {});
    open(&worker, project)?;
    let Outcome::Proposed(proposed) = run_job(&worker, on.device, JobKind::Propose)? else {
        bail!("the engine answered a different request");
    };
    if on.json {
        return print_json(&json::ProposedImages { proposed });
    }
    println!("{proposed} images proposed (qualm status lists them)");
    Ok(())
}

fn predict(project: PathBuf, on: &On, kind: JobKind) -> Result<()> {
    let worker = Worker::start(|| {});
    opened(&worker, Request::OpenToRead(project))?;
    let Outcome::Predicted(images, problems) = run_job(&worker, on.device, kind)? else {
        bail!("the engine answered a different request");
    };
    if on.json {
        print_json(&json::PredictedFolder { images, problems: problems.clone() })?;
    } else {
        for made in &images {
            println!(
                "{}: {:.1} % foreground, score {:.4}",
                made.image,
                100.0 * made.scores.foreground_fraction,
                made.scores.variance_edt_sum
            );
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(anyhow!("{} not predicted: {}", problems.len(), problems.join("; "))) }
}

/// Opens a project on the worker; its settings.
pub fn open(worker: &Worker, project: PathBuf) -> Result<Settings> {
    opened(worker, Request::Open(project))
}

/// Opens a project as a request says; its settings.
pub fn opened(worker: &Worker, request: Request) -> Result<Settings> {
    ask(worker, request)?;
    loop {
        let event = worker.wait(Duration::from_secs(600)).context("the project did not open")?;
        if let Event::Opened(opened) = event {
            return Ok(opened.study.settings);
        } else if let Event::NotOpened(error) | Event::Error(error) = event {
            bail!(error);
        }
    }
}

fn ask(worker: &Worker, request: Request) -> Result<()> {
    worker.ask(request).map_err(|_| anyhow!("the program is busy; try again"))
}

/// Finds and checks a device.
pub fn choose_device(worker: &Worker, device: DeviceChoice) -> Result<()> {
    ask(worker, Request::Device(device))?;
    loop {
        if let Event::Device(_, found) = worker.wait(Duration::from_secs(600)).context("no device answered")? {
            return found.map(|_| ()).map_err(|reason| anyhow!(reason));
        }
    }
}

/// Runs one job to its end, its progress drawn where standard error is a terminal.
pub fn run_job(worker: &Worker, device: DeviceChoice, kind: JobKind) -> Result<Outcome> {
    ask(worker, Request::Job { id: 1, device, kind })?;
    let bar = progress_bar();
    loop {
        match worker.wait(Duration::from_millis(100)) {
            Some(Event::Finished(1, outcome)) => {
                bar.finish_and_clear();
                return Ok(*outcome);
            }
            Some(Event::Failed(1, error)) => bail!(error),
            Some(Event::NotSaved(error)) => bail!("not saved: {error}"),
            Some(Event::Error(error)) => eprintln!("qualm: {error}"),
            _ => {}
        }
        if let Some(progress) = worker.progress() {
            let loss = progress.loss.map_or(String::new(), |loss| format!(", loss {loss:.4}"));
            bar.set_message(format!("{}{loss}", progress.phase.label()));
            bar.set_length(progress.total as u64);
            bar.set_position(progress.done as u64);
        }
    }
}

/// A bar on standard error, where that is a terminal.
pub fn progress_bar() -> ProgressBar {
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(0) } else { ProgressBar::hidden() };
    bar.with_style(ProgressStyle::with_template("{msg:32} {bar:32} {pos}/{len} {eta}").expect("a valid template"))
}

fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}
