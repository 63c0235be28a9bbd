//! The command line: each command is the same code as in the window, without one.

mod arguments;
mod export;
mod import;
mod jobs;
mod json;
mod remedies;
mod repair;
mod serve;
mod servers;
mod status;
mod watch;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use clap::{CommandFactory, Parser};
use serde::Serialize;
use signal_hook::consts::{SIGINT, SIGTERM};

use qualm::domain::round::Report;
use qualm::domain::settings::{self, Settings};
use qualm::domain::text::counted;
use qualm::project::groups::{GroupRule, Grouped};
use qualm::project::{ExportPlan, Project};
use qualm::ui::{self, First};
use qualm::worker::model_files;
use qualm::worker::{DeviceChoice, Event, Predicted, Request, Worker, Write};

use self::arguments::{Arguments, CommandArguments, On};
use crate::{bench, report, simulate};

pub use self::arguments::Beginning;
pub use self::jobs::{Job, progress_bar, run_job};
pub use self::remedies::explained;

/// Runs the command given on the command line.
pub fn run() -> Result<()> {
    let begun = Instant::now();
    let arguments = Arguments::parse();
    let begun = arguments.trace_startup.then_some(begun);
    match arguments.command {
        None => window(arguments.project.map_or(First::Nothing, First::Project), demo_folder(), begun),
        Some(CommandArguments::Demo { folder }) => window(First::Demo, folder.unwrap_or_else(demo_folder), None),
        Some(CommandArguments::Check { images, masks, rules, json }) => {
            import::check(&images, masks.as_deref(), &rules, json)
        }
        Some(CommandArguments::New { images, masks, dry_run: true, beginning, .. }) => {
            import::check(&images, masks.as_deref(), &beginning.masks, false)
        }
        Some(CommandArguments::New { project, images, masks, dry_run: false, beginning }) => {
            import::new(&project, &images, masks.as_deref(), &beginning.masks, &beginning.settings()?)
        }
        Some(CommandArguments::Import { project, masks, rules, replace, dry_run }) => {
            import::masks(&project, &masks, &rules, replace, dry_run)
        }
        Some(CommandArguments::Refresh { project, replaced, restore, json }) => {
            import::refresh(&project, replaced.as_deref(), restore, json)
        }
        Some(CommandArguments::Relocate { project, images }) => import::relocate(&project, &images),
        Some(CommandArguments::Remove { project, images }) => import::remove(&project, &images),
        Some(CommandArguments::Groups { project, rule, redraw }) => groups(&project, &rule, redraw),
        Some(CommandArguments::Round { project, on, set }) => round(project, &on, &set),
        Some(CommandArguments::Score { project, on }) => score(project, &on),
        Some(CommandArguments::Propose { project, on }) => propose(project, &on),
        Some(CommandArguments::Predict { project, images, out, passes, npy, on }) => {
            predict(project, &on, Job::predict(images, out, passes.map(|t| t as usize), npy))
        }
        Some(CommandArguments::Export { project, format, what, out, overwrite, dry_run, on }) => {
            export::export(project, &ExportPlan { format, what, out, overwrites: overwrite }, dry_run, &on)
        }
        Some(CommandArguments::ExportModel { project, round, out, overwrite, json }) => {
            let files = model_files::export(&Project::open_to_read(&project)?, round, &out, overwrite)?;
            if json {
                return print_json(&json::Written { files });
            }
            files.iter().for_each(|file| println!("{}", file.display()));
            Ok(())
        }
        Some(CommandArguments::ImportModel { project, folder, ignore_names, on }) => {
            let worker = Worker::start(|| {});
            open(&worker, project)?;
            train(&worker, &on, Job::import_model(folder, ignore_names))
        }
        Some(CommandArguments::Report(arguments)) => report::run(&arguments),
        Some(CommandArguments::Status { project, json }) => status::status(&project, json),
        Some(CommandArguments::Watch { project, json }) => watch::watch(&project, json),
        Some(CommandArguments::Devices { json }) => status::devices(json),
        Some(CommandArguments::Serve(arguments)) => serve::serve(arguments),
        Some(CommandArguments::Servers { command }) => servers::run(command),
        Some(CommandArguments::Bench(arguments)) => bench::run(&arguments),
        Some(CommandArguments::Simulate(arguments)) => simulate::run(&arguments),
        Some(CommandArguments::Schema { command }) => json::schema(command.as_deref()),
        Some(CommandArguments::Repair { project, dry_run, json }) => repair::repair(&project, dry_run, json),
        Some(CommandArguments::Restore { project, day }) => repair::restore(&project, day.as_deref()),
        Some(CommandArguments::Completions { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), "qualm", &mut std::io::stdout());
            Ok(())
        }
        Some(CommandArguments::Man { out }) => {
            std::fs::create_dir_all(&out).with_context(|| format!("{} cannot be made", out.display()))?;
            Ok(clap_mangen::generate_to(Arguments::command(), &out)?)
        }
        Some(CommandArguments::Settings) => {
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
    let Grouped { images, groups, left_out } = project.set_groups(&GroupRule::read(rule)?, redraw)?;
    let are = if images == 1 { "is" } else { "are" };
    println!("{}: {} {are} in {}", root.display(), counted(images, "image"), counted(groups, "group"));
    if left_out > 0 {
        let images = counted(left_out, "labelled image");
        println!("not trained on, because their groups are in the validation set: {images}");
    }
    Ok(())
}

/// Applies `key=value` assignments and validates the resulting settings.
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
    train(&worker, on, Job::round())
}

/// Runs a job that produces a round, and prints its report.
fn train(worker: &Worker, on: &On, job: Job<Box<Report>>) -> Result<()> {
    let report = run_job(worker, &on.device, job)?;
    if on.json {
        return print_json(&report);
    }
    status::print_round(&report);
    Ok(())
}

fn score(project: PathBuf, on: &On) -> Result<()> {
    let worker = Worker::start(|| {});
    open(&worker, project)?;
    let (scored, proposed) = run_job(&worker, &on.device, Job::score())?;
    if on.json {
        return print_json(&json::Scored { scored, proposed });
    }
    println!("{} scored, {proposed} proposed (qualm status lists them)", counted(scored, "image"));
    Ok(())
}

fn propose(project: PathBuf, on: &On) -> Result<()> {
    let worker = Worker::start(|| {});
    open(&worker, project)?;
    let proposed = run_job(&worker, &on.device, Job::propose())?;
    if on.json {
        return print_json(&json::ProposedImages { proposed });
    }
    println!("{} proposed (qualm status lists them)", counted(proposed, "image"));
    Ok(())
}

fn predict(project: PathBuf, on: &On, job: Job<(Vec<Predicted>, Vec<String>)>) -> Result<()> {
    let worker = Worker::start(|| {});
    opened(&worker, Request::OpenToRead(project))?;
    let (images, problems) = run_job(&worker, &on.device, job)?;
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

/// Opens a project with the given request; returns its settings.
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
pub fn choose_device(worker: &Worker, device: &DeviceChoice) -> Result<()> {
    ask(worker, Request::Device(device.clone()))?;
    loop {
        if let Event::Device(_, found) = worker.wait(Duration::from_secs(600)).context("no device answered")? {
            return found.map(|_| ()).map_err(|reason| anyhow!(reason));
        }
    }
}

/// The exit code of a program that was interrupted.
pub const INTERRUPTED: u8 = 130;

/// A job was ended by Ctrl+C.
#[derive(Debug, thiserror::Error)]
#[error(
    "interrupted; the project is as it was before the job, except that a round that had finished training is recorded, \
     and `qualm score` resumes its scoring"
)]
pub struct Interrupted;

/// A flag set by SIGINT (Ctrl+C) or SIGTERM; a second signal ends the program immediately.
fn interruption() -> Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, i32::from(INTERRUPTED), flag.clone())?;
        signal_hook::flag::register(signal, flag.clone())?;
    }
    Ok(flag)
}

fn print_json(value: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(value)?);
    Ok(())
}
