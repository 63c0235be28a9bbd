//! The disk thread's part of jobs: gathering their inputs and recording their results.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use crossbeam_channel::Sender;

use super::{Disk, Inbox};
use crate::domain::mask::Mask;
use crate::domain::round::Report;
use crate::domain::settings::Settings;
use crate::domain::study::{ImageId, ImageRecord};
use crate::engine::device;
use crate::engine::panic_text;
use crate::engine::remote;
use crate::project::{Finished, Project, cache};
use crate::worker::engine::{self, Ended, Engine, EngineRequest, Work};
use crate::worker::failure::failure;
use crate::worker::fit::depends_on_speed;
use crate::worker::images::Problem;
use crate::worker::plan;
use crate::worker::propose::ProposePlan;
use crate::worker::scoring::Scoring;
use crate::worker::{DeviceChoice, Event, EventSender, JobId, JobKind, Outcome, Phase, Signals};

/// An engine whose job does not end this long after it was cancelled is replaced.
const UNRESPONSIVE: Duration = Duration::from_secs(60);
/// The same while devices are checked, which may take this long by itself.
const UNRESPONSIVE_IN_CHECK: Duration = Duration::from_secs(300);

pub(super) fn start_engine(number: u64, disk: &Sender<Inbox>, events: &EventSender, signals: &Arc<Signals>) -> Engine {
    let (give, end) = (disk.clone(), disk.clone());
    engine::start(
        move |from| drop(give.send(Inbox::FromJob(number, from))),
        move |id, ended| drop(end.send(Inbox::Ended(number, id, ended))),
        events.clone(),
        signals.clone(),
    )
}

impl Disk {
    /// Replaces the engine if its job was cancelled and does not end: a driver or a file system that hangs.
    pub(super) fn replace_engine_that_hangs(&mut self) {
        let Some(id) = self.running.filter(|id| self.signals.is_cancelled(*id)) else {
            self.cancelled_at = None;
            return;
        };
        let (limit, is_computing) = match self.signals.phase() {
            None | Some(Phase::Device) => (UNRESPONSIVE_IN_CHECK, false),
            Some(Phase::Reading | Phase::Saving) => (UNRESPONSIVE, false),
            Some(Phase::Training | Phase::Validating | Phase::Scoring | Phase::Comparing) => (UNRESPONSIVE, true),
        };
        if let (None, Some(DeviceChoice::Server(name))) = (self.cancelled_at, &self.device) {
            remote::interrupt(name);
        }
        if self.cancelled_at.get_or_insert_with(Instant::now).elapsed() < limit {
            return;
        }
        (self.running, self.cancelled_at) = (None, None);
        let is_on_files = self.signals.is_on_files.load(Ordering::Relaxed);
        let excluded = self.device.as_ref().filter(|_| is_computing && !is_on_files).and_then(device::exclude);
        let next = match excluded {
            Some(name) => format!("{name} is not used again until the program is restarted"),
            None => "If it happens again, choose another device".to_owned(),
        };
        self.engine_number += 1;
        self.engine = start_engine(self.engine_number, &self.itself, &self.events, &self.signals);
        self.signals.set(None);
        let reason = format!(
            "the job did not end within {} s of being cancelled: the engine was started again. Labels and recorded rounds are \
             unchanged. {next}",
            limit.as_secs()
        );
        self.events.send(Event::Failed(id, reason.into()));
    }

    /// Does a job's work on this thread. An error or a panic is the job's failure: whoever waits for its end hears of it.
    pub(super) fn or_fail_job<T>(&mut self, id: JobId, work: impl FnOnce(&mut Self) -> Result<T>) -> Option<T> {
        let reason = match catch_unwind(AssertUnwindSafe(|| work(self))) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => failure(&error),
            Err(panic) => format!("internal error: {}; everything saved before is safe", panic_text(&*panic)).into(),
        };
        self.events.send(Event::Failed(id, reason));
        None
    }

    pub(super) fn start_job(&mut self, id: JobId, device: DeviceChoice, kind: JobKind) -> Result<()> {
        if self.running.is_some() {
            bail!("another job is running; wait for it or cancel it");
        }
        self.check_saved()?;
        let project = self.project()?;
        let work = match kind {
            JobKind::Round(start) => match depends_on_speed(project)? {
                Some(settings) => Work::Measure(settings, start),
                None => Work::Round(plan::round(project, start, None)?),
            },
            JobKind::Score => Work::Score(plan::score(project)?),
            JobKind::Propose => Work::Propose(ProposePlan::new(project)?),
            JobKind::ImportModel { folder, ignores_names } => {
                Work::Round(plan::import_model(project, &folder, ignores_names)?)
            }
            JobKind::Export(export) => Work::Export(plan::export(project, export)?),
            JobKind::Predict { images, out, passes, npy } => {
                let mut plan = plan::predict(project, &images, out, npy)?;
                plan.settings.passes = passes.unwrap_or(plan.settings.passes);
                Work::Predict(plan)
            }
        };
        self.begin(id, device, work)
    }

    fn begin(&mut self, id: JobId, device: DeviceChoice, work: Work) -> Result<()> {
        if self.engine.jobs.try_send(EngineRequest::Run(id, device.clone(), Box::new(work))).is_err() {
            bail!("the engine is busy; try again in a moment");
        }
        (self.running, self.device, self.cancelled_at) = (Some(id), Some(device), None);
        Ok(())
    }

    pub(super) fn trained(&mut self, finished: &Finished) -> Result<()> {
        let project = self.project()?;
        project.record_round(finished)?;
        let (found, settings) = (finished.settings.batch, project.settings()?);
        if found < settings.batch {
            let settings = Settings { batch: found, ..settings };
            project.set_settings(&settings)?;
            self.events.send(Event::SmallerBatch(Box::new(settings)));
        }
        self.refresh()
    }

    fn record_scoring(&mut self, report: &mut Report, scoring: &Scoring) -> Result<()> {
        let project = self.project()?;
        // The predictions were sent before the end of the job, and this thread receives messages in order.
        let pseudo_label = |image: &ImageId| {
            let prediction = cache::prediction(project.root(), &scoring.key, *image)?;
            let pixels = prediction.pseudo_label(scoring.pseudo_variance)?;
            Some((*image, Mask::from_pixels(prediction.width, prediction.height, pixels).ok()?))
        };
        let pseudo_labels: Vec<_> = scoring.pseudo.iter().filter_map(pseudo_label).collect();
        report.pseudo_labelled = pseudo_labels.len();
        Ok(project.record_scores(report, &scoring.scores, &scoring.proposals, &pseudo_labels)?)
    }

    /// Handles the end of a job. Returns the event to send, or `None` if the job continues.
    pub(super) fn ended(&mut self, id: JobId, ended: Ended) -> Result<Option<Event>> {
        let outcome = match ended {
            Ended::Measured(pixels_per_s, device, start) => {
                self.check_saved()?;
                let plan = plan::round(self.project()?, start, pixels_per_s)?;
                self.begin(id, device, Work::Round(plan))?;
                return Ok(None);
            }
            Ended::Cancelled => return Ok(Some(Event::Cancelled(id))),
            Ended::Failed(reason) => return Ok(Some(Event::Failed(id, reason))),
            Ended::Exported(exported) => return Ok(Some(Event::Finished(id, Box::new(Outcome::Exported(exported))))),
            Ended::Predicted(made, problems) => {
                return Ok(Some(Event::Finished(id, Box::new(Outcome::Predicted(made, problems)))));
            }
            Ended::Round(mut report, scoring) => {
                self.record_scoring(&mut report, &scoring)?;
                record_problems(self.project()?, &scoring.problems, |_| true)?;
                Outcome::Round(report)
            }
            Ended::Scored(mut report, scoring) => {
                self.record_scoring(&mut report, &scoring)?;
                record_problems(self.project()?, &scoring.problems, |image| !image.labelled)?;
                Outcome::Scored(scoring.scores.len(), scoring.proposals.len())
            }
            Ended::Proposed(proposals, problems) => {
                self.project()?.record_proposals(&proposals)?;
                record_problems(self.project()?, &problems, |_| true)?;
                Outcome::Proposed(proposals.len())
            }
        };
        self.refresh()?;
        Ok(Some(Event::Finished(id, Box::new(outcome))))
    }
}

/// Records `problems`, and clears earlier problems of the other images that `was_read` selects.
fn record_problems(project: &mut Project, problems: &[Problem], was_read: impl Fn(&ImageRecord) -> bool) -> Result<()> {
    for record in project.images()?.iter().filter(|record| record.problem.is_some() && was_read(record)) {
        project.set_problem(record.id, None)?;
    }
    for (image, reason) in problems {
        project.set_problem(*image, Some(reason))?;
    }
    Ok(())
}
