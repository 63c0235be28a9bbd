//! Jobs of the command line: each with the type of its result, run to completion.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use qualm::domain::round::Report;
use qualm::domain::text::escaped;
use qualm::project::{ExportPlan, Exported};
use qualm::worker::{DeviceChoice, Event, JobKind, Outcome, Predicted, Request, Worker};

use super::{Interrupted, ask, explained, interruption};

/// A job, and how to take its result out of the outcome that ends it.
pub struct Job<T> {
    kind: JobKind,
    result: fn(Outcome) -> Option<T>,
}

impl Job<Box<Report>> {
    /// A round, started as the settings say.
    pub fn round() -> Self {
        Self { kind: JobKind::Round(None), result: report }
    }

    /// A round that imports a network instead of training one.
    pub fn import_model(folder: PathBuf, ignores_names: bool) -> Self {
        Self { kind: JobKind::ImportModel { folder, ignores_names }, result: report }
    }
}

impl Job<(usize, usize)> {
    /// A scoring of the pool: images scored, images proposed.
    pub fn score() -> Self {
        let result =
            |outcome| if let Outcome::Scored(scored, proposed) = outcome { Some((scored, proposed)) } else { None };
        Self { kind: JobKind::Score, result }
    }
}

impl Job<usize> {
    /// Proposals without a trained network: how many.
    pub fn propose() -> Self {
        let result = |outcome| if let Outcome::Proposed(proposed) = outcome { Some(proposed) } else { None };
        Self { kind: JobKind::Propose, result }
    }
}

impl Job<Exported> {
    /// An export that includes predictions.
    pub fn export(plan: ExportPlan) -> Self {
        let result = |outcome| if let Outcome::Exported(exported) = outcome { Some(exported) } else { None };
        Self { kind: JobKind::Export(plan), result }
    }
}

impl Job<(Vec<Predicted>, Vec<String>)> {
    /// The prediction of a folder: the images predicted, and why others were not.
    pub fn predict(images: PathBuf, out: PathBuf, passes: Option<usize>, npy: bool) -> Self {
        let result = |outcome| {
            if let Outcome::Predicted(images, problems) = outcome { Some((images, problems)) } else { None }
        };
        Self { kind: JobKind::Predict { images, out, passes, npy }, result }
    }
}

fn report(outcome: Outcome) -> Option<Box<Report>> {
    if let Outcome::Round(report) = outcome { Some(report) } else { None }
}

/// Runs one job to completion, with a progress bar if standard error is a terminal. Ctrl+C cancels it.
pub fn run_job<T>(worker: &Worker, device: &DeviceChoice, job: Job<T>) -> Result<T> {
    let interrupted = interruption()?;
    ask(worker, Request::Job { id: 1, device: device.clone(), kind: job.kind })?;
    let bar = progress_bar();
    loop {
        if interrupted.load(Ordering::Relaxed) {
            worker.cancel(1);
        }
        match worker.wait(Duration::from_millis(100)) {
            Some(Event::Finished(1, outcome)) => {
                bar.finish_and_clear();
                return Ok((job.result)(*outcome).expect("a job ends with the outcome of its kind"));
            }
            Some(Event::Failed(1, error)) => bail!(error),
            Some(Event::Cancelled(1)) => return Err(Interrupted.into()),
            Some(Event::NotSaved(error)) => bail!("not saved: {error}"),
            Some(Event::Error(error)) => eprintln!("qualm: {}", escaped(&explained(&error.into()), true)),
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
