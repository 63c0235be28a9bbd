//! The engine thread: one job at a time, previews between its batches.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded, select};

use crate::domain::prediction::Prediction;
use crate::domain::query::Proposal;
use crate::domain::round::{EpochPoint, Report, Standing};
use crate::domain::settings::{Geometry, Settings, Start};
use crate::domain::study::ImageId;
use crate::engine::device::{self, Device, DeviceChoice, SELF_CHECK_LIMIT};
use crate::engine::model::Model;
use crate::engine::speed::train_step_per_image;
use crate::engine::{EngineError, panic_text};
use crate::project::cache::Key;
use crate::project::{Exported, Finished};
use crate::raster;
use crate::worker::disk::{Audience, Inbox};
use crate::worker::export::{self, ExportJob};
use crate::worker::images::{Problem, moments};
use crate::worker::predict::{self, PredictPlan, Predicted};
use crate::worker::previews::{Preview, PreviewReceiver, PreviewSender, previews};
use crate::worker::propose::ProposePlan;
use crate::worker::round::{self, RoundPlan};
use crate::worker::scoring::{self, Pool, Scoring};
use crate::worker::{Event, EventSender, JobId, Phase, Progress, Signals};

/// A paused job looks this often whether it may go on.
const PAUSE: Duration = Duration::from_millis(20);

/// What the engine is asked to do.
pub enum Job {
    /// Find a device and say which.
    Device(DeviceChoice),
    /// A long piece of work.
    Run(JobId, DeviceChoice, Box<Work>),
}

/// Long pieces of work, with all they need to know. They travel in a box.
#[allow(clippy::large_enum_variant)]
pub enum Work {
    /// The speed of training under these settings, before the round that starts from these weights is planned.
    Measure(Settings, Option<Start>),
    /// A round.
    Round(RoundPlan),
    /// A scoring of the pool.
    Score(ScorePlan),
    /// A proposal without a network.
    Propose(ProposePlan),
    /// An export of predictions.
    Export(ExportJob),
    /// A folder to predict.
    Predict(PredictPlan),
}

/// What a scoring needs to know.
pub struct ScorePlan {
    /// The newest round's report, which will tell of the scoring.
    pub report: Report,
    /// The active model's folder.
    pub folder: PathBuf,
    /// How it did on the validation images.
    pub standing: Standing,
    /// The project's settings.
    pub settings: Settings,
    /// Images to score.
    pub pool: Pool,
}

/// How a job ended.
pub enum Ended {
    /// Pixels of the network's input that the device trains in a second; the round is yet to be planned.
    Measured(f64, DeviceChoice, Option<Start>),
    /// A round whose scoring is to be recorded.
    Round(Box<Report>, Scoring),
    /// A scoring to be recorded, with the newest round's report.
    Scored(Box<Report>, Scoring),
    /// Images proposed without a network, and those that could not be read.
    Proposed(Vec<Proposal<ImageId>>, Vec<Problem>),
    /// An export, written.
    Exported(Exported),
    /// A folder's predictions, written.
    Predicted(Vec<Predicted>, Vec<String>),
    /// Cancelled.
    Cancelled,
    /// Failed, and why.
    Failed(String),
}

/// The channels into the engine.
pub struct Engine {
    /// Jobs, one after another.
    pub jobs: Sender<Job>,
    /// Previews, served between batches.
    pub previews: PreviewSender,
}

/// Starts the engine's thread. It ends when [`Engine`] is dropped.
pub fn start(disk: Sender<Inbox>, events: EventSender, signals: Arc<Signals>) -> Engine {
    let (jobs, inbox) = bounded(16);
    let (previews, wanted) = previews();
    let run = move || {
        let mut context = JobContext {
            choice: DeviceChoice::Auto,
            job: 0,
            curve: Vec::new(),
            paused_for: Duration::ZERO,
            models: HashMap::new(),
            previews: wanted,
            disk,
            events,
            signals,
        };
        loop {
            let woken = context.previews.woken.clone();
            select! {
                recv(inbox) -> job => match job {
                    Ok(job) => context.run_job(job),
                    Err(_) => return,
                },
                recv(woken) -> woken => match woken {
                    Ok(()) => context.serve_previews(),
                    Err(_) => return,
                },
            }
        }
    };
    std::thread::Builder::new().name("qualm-engine".to_owned()).spawn(run).expect("a thread can be started");
    Engine { jobs, previews }
}

/// What a job works with: the device, the models in memory, and the channels out.
pub struct JobContext {
    choice: DeviceChoice,
    job: JobId,
    /// The running job's training so far: shown while it scores, too.
    pub curve: Vec<EpochPoint>,
    /// How long the phase has been paused.
    pub paused_for: Duration,
    /// The models last used, by folder: the active one, and at most one other.
    models: HashMap<PathBuf, Model>,
    previews: PreviewReceiver,
    disk: Sender<Inbox>,
    events: EventSender,
    signals: Arc<Signals>,
}

/// An error where a model's files are not those that its round recorded.
fn check_recorded(folder: &Path, identity: &str) -> Result<(), EngineError> {
    // The report lies beside the weights as soon as the round is recorded.
    let report = std::fs::read(folder.join("report.json")).ok();
    let report: Option<Report> = report.and_then(|text| serde_json::from_slice(&text).ok());
    match report {
        Some(report) if !report.model.is_empty() && report.model != identity => {
            let reason = "its weights are not those that the round recorded: the file is damaged or was replaced";
            Err(EngineError::Weights(folder.to_owned(), reason.to_owned()))
        }
        Some(_) | None => Ok(()),
    }
}

impl JobContext {
    fn run_job(&mut self, job: Job) {
        match job {
            Job::Device(choice) => {
                self.choose(choice);
                let found = device::choose(choice, SELF_CHECK_LIMIT).map(|(_, reports)| reports);
                self.events.send(Event::Device(choice, found.map_err(|e| e.to_string())));
            }
            Job::Run(id, choice, work) => {
                tracing::info!(id, device = %choice, "job begins");
                self.job = id;
                self.curve.clear();
                self.choose(choice);
                // A panic of a backend ends the job, not the program; what it may have left half done is dropped.
                let ended = catch_unwind(AssertUnwindSafe(|| self.run(*work))).unwrap_or_else(|panic| {
                    self.models.clear();
                    Ended::Failed(format!("the device failed: {}; choose another device", panic_text(&*panic)))
                });
                tracing::info!(id, "job ends");
                self.signals.set(None);
                self.job = 0;
                let _ = self.disk.send(Inbox::Ended(id, ended));
            }
        }
    }

    fn choose(&mut self, choice: DeviceChoice) {
        if choice != self.choice {
            self.models.clear();
            self.choice = choice;
        }
    }

    fn run(&mut self, work: Work) -> Ended {
        self.begin(Phase::Device, 0);
        let ended = match work {
            Work::Measure(settings, start) => {
                self.pixels_per_s(&settings).map(|speed| Ended::Measured(speed, self.choice, start))
            }
            Work::Round(plan) => {
                round::run(self, plan).map(|(report, scoring)| Ended::Round(Box::new(report), scoring))
            }
            Work::Score(ScorePlan { mut report, folder, standing, settings, pool }) => {
                let scoring = self
                    .model(&folder)
                    .and_then(|model| scoring::score(self, &model, &pool, &settings, standing, report.round));
                scoring.map(|scoring| {
                    scoring.write_into(&pool, &mut report);
                    Ended::Scored(Box::new(report), scoring)
                })
            }
            Work::Propose(plan) => plan.run(self).map(|(proposals, problems)| Ended::Proposed(proposals, problems)),
            Work::Export(job) => export::run(self, job).map(Ended::Exported),
            Work::Predict(plan) => predict::run(self, plan).map(|(made, problems)| Ended::Predicted(made, problems)),
        };
        ended.unwrap_or_else(|error| {
            let is_cancelled = matches!(error, EngineError::Cancelled);
            if is_cancelled { Ended::Cancelled } else { Ended::Failed(error.to_string()) }
        })
    }

    /// How many pixels of the network's input the device trains in a second, at the smallest size that is chosen for whole
    /// images.
    fn pixels_per_s(&mut self, settings: &Settings) -> Result<f64, EngineError> {
        let device = self.device()?.0;
        self.check_cancelled()?;
        let side = |pixels: usize| pixels.next_multiple_of(settings.input_step());
        let (geometry, rows, columns) = (Geometry::Resize, side(96), side(128));
        let settings = Settings { geometry, rows, columns, ..settings.clone() };
        let per_image = train_step_per_image(&settings, 3, &device)?;
        Ok((settings.rows * settings.columns) as f64 / per_image)
    }

    /// The running job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// The device in use, and its name.
    pub fn device(&self) -> Result<(Device, String), EngineError> {
        let (device, reports) = device::choose(self.choice, SELF_CHECK_LIMIT)?;
        Ok((device, reports.last().map(|report| report.to_string()).unwrap_or_default()))
    }

    /// The model in `folder`, read once.
    pub fn model(&mut self, folder: &Path) -> Result<Model, EngineError> {
        if let Some(model) = self.models.get(folder) {
            return Ok(model.clone());
        }
        let model = Model::load(folder, &self.device()?.0)?;
        check_recorded(folder, model.identity())?;
        if self.models.len() >= 2 {
            self.models.clear();
        }
        self.models.insert(folder.to_owned(), model.clone());
        Ok(model)
    }

    /// Whether a person has asked to end the running job's training with what it has.
    pub fn is_to_finish(&self) -> bool {
        self.signals.is_to_finish(self.job)
    }

    /// Seconds since `begun`, a moment of the running phase, without the pauses.
    pub fn worked(&self, begun: Instant) -> f64 {
        begun.elapsed().saturating_sub(self.paused_for).as_secs_f64()
    }

    /// Says that a phase of `total` images begins.
    pub fn begin(&mut self, phase: Phase, total: usize) -> Progress {
        self.paused_for = Duration::ZERO;
        let progress = Progress { curve: self.curve.clone(), ..Progress::new(self.job, phase, total) };
        self.signals.set(Some(progress.clone()));
        progress
    }

    /// Called between two batches: publishes progress, serves previews, waits while the job is paused, ends a cancelled one.
    pub fn between_batches(&mut self, progress: &Progress) -> Result<(), EngineError> {
        self.signals.set(Some(progress.clone()));
        loop {
            let (begun, paused) = (Instant::now(), self.signals.is_paused(self.job));
            if self.signals.is_cancelled(self.job) {
                return Err(EngineError::Cancelled);
            }
            if self.previews.woken.recv_timeout(if paused { PAUSE } else { Duration::ZERO }).is_ok() {
                self.serve_previews();
            }
            if !paused {
                return Ok(());
            }
            self.paused_for += begun.elapsed();
        }
    }

    /// An error where the job was cancelled: for within a large image.
    pub fn check_cancelled(&self) -> Result<(), EngineError> {
        if self.signals.is_cancelled(self.job) { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Has a trained round recorded, and waits until it is.
    pub fn record(&self, finished: Finished) -> Result<(), EngineError> {
        let (sender, recorded) = bounded(1);
        let _ = self.disk.send(Inbox::Trained(Box::new(finished), sender));
        // Nobody answers where the program is ending.
        recorded.recv().unwrap_or(Err(EngineError::Cancelled))
    }

    /// Sends a prediction to be kept in the cache.
    pub fn store(&self, key: &Key, image: ImageId, prediction: Prediction) {
        let _ = self.disk.send(Inbox::Predicted { key: key.clone(), image, prediction, to: Audience::Nobody });
    }

    fn serve_previews(&mut self) {
        for preview in self.previews.take() {
            self.predict_and_send(&preview);
        }
    }

    fn predict_and_send(&mut self, preview: &Preview) {
        let predicted = catch_unwind(AssertUnwindSafe(|| self.predict(preview)));
        let error = match predicted {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(panic) => {
                self.models.clear();
                format!("the device failed: {}; choose another device", panic_text(&*panic))
            }
        };
        self.events.send(Event::Error(format!("{}: no prediction: {error}", preview.image.name)));
    }

    fn predict(&mut self, preview: &Preview) -> Result<(), String> {
        let Preview { image, settings, folder, .. } = preview;
        let model = self.model(folder).map_err(|e| e.to_string())?;
        let raster = raster::read(&image.path, image.page).map_err(|e| e.to_string())?;
        let frame = raster::frame(&raster, &model.frame_spec());
        let moments = moments(&model, &frame, settings, image.id, || Ok(())).map_err(|e| e.to_string())?;
        let prediction = Prediction::of(&moments);
        let _ = self.disk.send(Inbox::Predicted {
            key: Key::new(model.identity(), settings),
            image: image.id,
            prediction,
            to: preview.to,
        });
        Ok(())
    }
}
