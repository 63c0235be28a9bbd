//! `qualm bench`: times the network and the scoring of a whole pool on this machine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use schemars::JsonSchema;
use serde::Serialize;

use qualm::domain::round::Report;
use qualm::domain::settings::{Channels, OrAuto, Settings};
use qualm::domain::size::Size;
use qualm::domain::tiles::FrameSpec;
use qualm::domain::value_range::ValueRange;
use qualm::engine::device::{self, SELF_CHECK_LIMIT};
use qualm::engine::model::Model;
use qualm::engine::speed::{self, Speed};
use qualm::project::{Finished, ImportPlan, ImportRules, Project, demo};
use qualm::raster;
use qualm::worker::{DeviceChoice, Worker};

use crate::cli;

/// What to measure.
#[derive(clap::Args)]
pub struct BenchArguments {
    /// Where to compute: auto (a GPU that passes its self-check, else the CPU), cpu, gpu, or
    /// remote:NAME (a server, see `qualm servers`).
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
    /// The network's encoder: unet or lite0 (sides in multiples of 32).
    #[arg(long, default_value = "unet")]
    encoder: String,
    /// Encoder unet: filters at full resolution; each of the four levels below has twice as many.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    base: u16,
    /// Network input, rows x columns.
    #[arg(long, default_value = "192x240")]
    size: String,
    /// Images in a training step.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=256))]
    batch: u16,
    /// Dropout passes T.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(2..=1000))]
    passes: u16,
    /// Images of the pool that is scored; 0 leaves it out.
    #[arg(long, default_value_t = 40)]
    pool: usize,
    /// A folder of images for the pool, taken in name order and from the start again; else the demo's.
    #[arg(long)]
    images: Option<PathBuf>,
    /// Each time is the median of this many; 0 leaves the network out.
    #[arg(long, default_value_t = 5)]
    steps: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Measures and prints.
pub fn run(arguments: &BenchArguments) -> Result<()> {
    let settings = settings(arguments)?;
    // The pool first, so that the peak memory is due to it alone.
    let pool = (arguments.pool > 0).then(|| score_pool(arguments, &settings)).transpose()?;
    let (device, reports) = device::choose(&arguments.device, SELF_CHECK_LIMIT)?;
    let speed = (arguments.steps > 0).then(|| speed::measure(&settings, arguments.steps, &device)).transpose()?;
    let measured = Benchmark {
        device: reports.last().map(|report| report.to_string()),
        threads: std::thread::available_parallelism()?.get(),
        encoder: arguments.encoder.clone(),
        base: arguments.base,
        size: arguments.size.clone(),
        batch: arguments.batch,
        passes: arguments.passes,
        steps: arguments.steps,
        speed,
        pool,
    };
    let found = serde_json::to_value(measured)?;
    if arguments.json {
        println!("{found}");
    } else {
        for (key, value) in found.as_object().into_iter().flatten() {
            println!("{key:<24} {value}");
        }
    }
    Ok(())
}

/// What was measured.
#[derive(Serialize, JsonSchema)]
pub struct Benchmark {
    /// The device.
    device: Option<String>,
    /// Threads that the processor runs at once.
    threads: usize,
    /// The encoder.
    encoder: String,
    /// Filters of the U-Net's first level.
    base: u16,
    /// Rows and columns of the input.
    size: String,
    /// Images in a training step.
    batch: u16,
    /// Dropout passes.
    passes: u16,
    /// How many times each figure was taken.
    steps: usize,
    /// The network.
    #[serde(flatten)]
    speed: Option<Speed>,
    /// A pool.
    #[serde(flatten)]
    pool: Option<PoolSpeed>,
}

/// How long a pool took.
#[derive(Serialize, JsonSchema)]
struct PoolSpeed {
    /// Images scored.
    pool_images: usize,
    /// Seconds of the whole, files read and results stored.
    pool_seconds: f64,
    /// Images per second.
    pool_images_per_second: f64,
    /// Seconds of the network alone, on the same images.
    pool_network_seconds: f64,
    /// The whole over the network.
    pool_whole_over_network: f64,
    /// The most memory that the process has held, where the system tells.
    pool_peak_bytes: Option<u64>,
}

/// The paper's training settings (Dice, grey) with the requested sizes.
fn settings(arguments: &BenchArguments) -> Result<Settings> {
    let side = |text: &str| text.trim().parse::<usize>().ok();
    let sides = arguments.size.split_once('x').and_then(|(rows, columns)| Some((side(rows)?, side(columns)?)));
    let (rows, columns) =
        sides.with_context(|| format!("`{}`: write ROWSxCOLUMNS, for example 192x240", arguments.size))?;
    let mut settings = Settings {
        widths: OrAuto::Is((0..5).map(|level| usize::from(arguments.base) << level).collect()),
        rows,
        columns,
        channels: Channels::Grey,
        batch: arguments.batch.into(),
        passes: arguments.passes.into(),
        learning_rate: 1e-3,
        ..Settings::paper()
    };
    settings.set("rows", &rows.to_string())?;
    settings.set("columns", &columns.to_string())?;
    settings.set("encoder", &arguments.encoder)?;
    settings.check()?;
    Ok(settings)
}

/// Scores a pool of images with an untrained network in a project of its own, as the window would.
fn score_pool(arguments: &BenchArguments, settings: &Settings) -> Result<PoolSpeed> {
    let folder = Temporary::new()?;
    let images = folder.0.join("images");
    fill(&images, arguments.images.as_deref(), arguments.pool)?;
    let root = folder.0.join("project");
    let (mut project, _) = {
        let plan = ImportPlan::read(&images, None, None, &ImportRules::default(), &|_, _| {})?;
        Project::create(&root, &plan, settings, &|_, _| {})?
    };
    let (device, _) = device::choose(&arguments.device, SELF_CHECK_LIMIT)?;
    let mut model = Model::untrained(settings, ValueRange::default(), &device);
    model.save(&project.unfinished_model_folder(1))?;
    project.record_round(&untrained_round(settings, model.identity()))?;
    drop(project);

    let worker = Worker::start(|| {});
    cli::open(&worker, root)?;
    let begun = Instant::now();
    let (scored, _) = cli::run_job(&worker, &arguments.device, cli::Job::score())?;
    drop(worker);
    let whole_s = begun.elapsed().as_secs_f64();
    let peak = peak_memory();

    // The network alone on the same images, already resized and in memory.
    let mut network = Duration::ZERO;
    let spec = FrameSpec {
        size: Some(Size::new(settings.columns, settings.rows)),
        is_grey: true,
        channels: settings.image_channels.clone(),
        range: ValueRange::default(),
    };
    for (path, _) in raster::folder::list(&images, &[])?.files {
        let input = raster::frame(&raster::read(&images.join(path), 0)?, &spec).values;
        let begun = Instant::now();
        model.moments(&input, model.sampling(settings, 0))?;
        network += begun.elapsed();
    }
    let network_s = network.as_secs_f64();
    Ok(PoolSpeed {
        pool_images: scored,
        pool_seconds: whole_s,
        pool_images_per_second: scored as f64 / whole_s,
        pool_network_seconds: network_s,
        pool_whole_over_network: whole_s / network_s,
        pool_peak_bytes: peak,
    })
}

/// Copies `count` images into `folder`.
fn fill(folder: &Path, from: Option<&Path>, count: usize) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let source = match from {
        Some(source) => source.to_owned(),
        None => {
            let source = folder.with_file_name("demo");
            demo::write_images(&source)?;
            source
        }
    };
    let files: Vec<PathBuf> =
        raster::folder::list(&source, &[])?.files.into_iter().map(|(path, _)| source.join(path)).collect();
    if files.is_empty() {
        bail!("{} holds no image", source.display());
    }
    for (number, file) in files.iter().cycle().take(count).enumerate() {
        let ending = file.extension().unwrap_or_default().to_string_lossy();
        std::fs::copy(file, folder.join(format!("{number:06}.{ending}")))?;
    }
    Ok(())
}

fn untrained_round(settings: &Settings, model: &str) -> Finished {
    let report = Report { round: 1, active: true, model: model.to_owned(), ..Report::default() };
    Finished { report, settings: settings.clone() }
}

/// The peak memory of this process, in bytes, if the system reports it.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// A folder that is deleted on drop.
struct Temporary(PathBuf);

impl Temporary {
    fn new() -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("qualm-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
