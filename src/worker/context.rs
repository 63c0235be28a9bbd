//! The context in which jobs run.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Sender, bounded};

use crate::domain::prediction::Prediction;
use crate::domain::remedy::Failure;
use crate::domain::round::{EpochPoint, Report};
use crate::domain::settings::{Geometry, Settings};
use crate::domain::study::ImageId;
use crate::engine::config::UNetConfig;
use crate::engine::device::{self, Device, DeviceChoice, DeviceReport, SELF_CHECK_LIMIT};
use crate::engine::model::Model;
use crate::engine::remote;
use crate::engine::speed::train_step_per_image;
use crate::engine::{EngineError, panic_text};
use crate::project::Finished;
use crate::project::cache::Key;
use crate::raster;
use crate::worker::failure::failure;
use crate::worker::previews::{Audience, Preview, PreviewReceiver};
use crate::worker::{Event, EventSender, JobId, Phase, Progress, Signals};

/// How often a job that waits for an image checks whether it was cancelled.
pub const POLL: Duration = Duration::from_millis(50);
/// How long previews do not look for a server again that was away.
const AWAY: Duration = Duration::from_secs(30);
/// Interval at which a paused job checks whether it may continue.
const PAUSE: Duration = Duration::from_millis(20);

/// Output of a running job for the disk thread.
#[allow(clippy::large_enum_variant)] // What a prediction holds is on the heap already.
pub enum FromJob {
    /// A prediction to be cached, and shown if the user is waiting for it.
    Predicted {
        /// The cache key: what the prediction depends on besides the image.
        key: Key,
        /// The image.
        image: ImageId,
        /// The prediction.
        prediction: Prediction,
        /// Who waits for it.
        to: Audience,
    },
    /// A round whose training has ended, to be recorded and acknowledged.
    Trained(Box<Finished>, Sender<Result<(), EngineError>>),
}

/// The context of a job: the device, the models in memory, and the outgoing channels.
pub struct JobContext {
    choice: DeviceChoice,
    /// The device that the running job has used.
    used: Option<Device>,
    job: JobId,
    /// The running job's training curve so far, which is also shown during scoring.
    pub curve: Vec<EpochPoint>,
    /// How long the phase has been paused.
    pub paused_for: Duration,
    /// When a preview found the server away, and what was said: the next ones do not wait for it.
    server_away: Option<(Instant, String)>,
    /// The models used last, by folder; at most two.
    models: HashMap<PathBuf, Model>,
    previews: PreviewReceiver,
    give: Box<dyn Fn(FromJob) + Send>,
    events: EventSender,
    signals: Arc<Signals>,
    /// Whether nobody waits for this engine any more: the program ends, or another engine has taken its place.
    is_gone: Arc<AtomicBool>,
}

/// Returns an error if a model's files are not those that its round recorded.
fn check_recorded(folder: &Path, identity: &str) -> Result<(), EngineError> {
    // Once the round is recorded, its report is stored beside the weights.
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
    pub(super) fn new(
        previews: PreviewReceiver,
        give: Box<dyn Fn(FromJob) + Send>,
        events: EventSender,
        signals: Arc<Signals>,
        is_gone: Arc<AtomicBool>,
    ) -> Self {
        Self {
            choice: DeviceChoice::Auto,
            used: None,
            job: 0,
            curve: Vec::new(),
            paused_for: Duration::ZERO,
            server_away: None,
            models: HashMap::new(),
            previews,
            give,
            events,
            signals,
            is_gone,
        }
    }

    pub(super) fn begin_job(&mut self, id: JobId, choice: DeviceChoice) {
        self.job = id;
        self.signals.is_on_files.store(false, Ordering::Relaxed);
        self.curve.clear();
        self.server_away = None;
        self.choose(choice);
    }

    pub(super) fn end_job(&mut self) {
        if !self.is_gone.load(Ordering::Relaxed) {
            self.signals.set(None);
        }
        self.job = 0;
        // Memory that the job had on a graphics card is for the window and other programs until the next one.
        if let Some(device) = self.used.take() {
            let _ = catch_unwind(AssertUnwindSafe(|| device.memory_cleanup()));
        }
        // Those that were put off by the job's end.
        self.serve_previews();
    }

    /// Prepares for the next job after a device failure. Returns a message for the user: what failed, and which device
    /// the next job runs on.
    pub(super) fn after_failure(&mut self, reason: &str) -> String {
        // What is on a device that failed may be half written.
        self.models.clear();
        if let DeviceChoice::Server(name) = &self.choice {
            return remote::explain(name, reason);
        }
        let Ok((device, name)) = self.device() else { return format!("the device failed: {reason}") };
        if !device::recheck(&device, SELF_CHECK_LIMIT) {
            return format!("{name} failed: {reason}. Try again, or choose another device");
        }
        let next = match self.device() {
            Ok((_, next)) => format!("the next job runs on {next}"),
            Err(error) => error.to_string(),
        };
        format!("{name} failed: {reason}. It is not used again until the program is restarted; {next}")
    }

    /// Finds a device and reports which.
    pub(super) fn find_device(&mut self, choice: DeviceChoice) {
        self.choose(choice.clone());
        let found = device::choose(&choice, SELF_CHECK_LIMIT).map(|(_, reports)| reports);
        self.events.send(Event::Device(choice, found.map_err(|e| e.to_string())));
    }

    /// The requested device.
    pub fn choice(&self) -> DeviceChoice {
        self.choice.clone()
    }

    fn choose(&mut self, choice: DeviceChoice) {
        if choice != self.choice {
            self.models.clear();
            self.server_away = None;
            if let DeviceChoice::Server(name) = &self.choice {
                remote::release(name);
            }
            self.choice = choice;
        }
    }

    /// Measures the training speed of the device, in pixels of the network's input per second, at the smallest input
    /// size that is chosen for whole images.
    pub(super) fn pixels_per_s(&mut self, settings: &Settings) -> Result<f64, EngineError> {
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
    pub fn device(&mut self) -> Result<(Device, String), EngineError> {
        let (device, reports) = device::choose(&self.choice, SELF_CHECK_LIMIT)?;
        self.used = Some(device.clone());
        Ok((device, reports.last().map(|report| report.to_string()).unwrap_or_default()))
    }

    /// The device for a network of this shape, and the reports of all that were looked at, its own last.
    pub fn device_for(&mut self, network: &UNetConfig) -> Result<(Device, Vec<DeviceReport>), EngineError> {
        let found = device::choose_for(&self.choice, Some(network), SELF_CHECK_LIMIT)?;
        self.used = Some(found.0.clone());
        Ok(found)
    }

    /// The model in `folder`, loaded if it is not in memory.
    pub fn model(&mut self, folder: &Path) -> Result<Model, EngineError> {
        if matches!(self.choice, DeviceChoice::Server(_)) {
            // What is held over an earlier connection is gone.
            let device = self.device()?.0;
            self.models.retain(|_, model| *model.device() == device);
        }
        if let Some(model) = self.models.get(folder) {
            return Ok(model.clone());
        }
        let mut device = self.device()?.0;
        let model = loop {
            let model = self.on_files(|| Model::load(folder, &device))?;
            let (fit, _) = self.device_for(&model.description.network)?;
            if fit == device {
                break model;
            }
            device = fit;
        };
        check_recorded(folder, model.identity())?;
        if self.models.len() >= 2 {
            self.models.clear();
        }
        self.models.insert(folder.to_owned(), model.clone());
        Ok(model)
    }

    /// Whether the user has asked to finish the running job's training with the result so far.
    pub fn is_to_finish(&self) -> bool {
        self.signals.is_to_finish(self.job)
    }

    /// Seconds since `begun`, a moment of the running phase, without the pauses.
    pub fn worked(&self, begun: Instant) -> f64 {
        begun.elapsed().saturating_sub(self.paused_for).as_secs_f64()
    }

    fn publish(&self, progress: &Progress) {
        // The progress of another engine is shown once it has taken this one's place.
        if !self.is_gone.load(Ordering::Relaxed) {
            self.signals.set(Some(progress.clone()));
        }
    }

    /// Begins a phase of `total` images and publishes its progress.
    pub fn begin(&mut self, phase: Phase, total: usize) -> Progress {
        tracing::info!(job = self.job, ?phase, total, "phase begins");
        self.paused_for = Duration::ZERO;
        let progress = Progress { curve: self.curve.clone(), ..Progress::new(self.job, phase, total) };
        self.publish(&progress);
        progress
    }

    /// Called between two batches: publishes progress, serves previews, waits while the job is paused, ends a cancelled one.
    pub fn between_batches(&mut self, progress: &Progress) -> Result<(), EngineError> {
        self.publish(progress);
        loop {
            let (begun, paused) = (Instant::now(), self.signals.is_paused(self.job));
            self.check_cancelled()?;
            if self.previews.woken.recv_timeout(if paused { PAUSE } else { Duration::ZERO }).is_ok() {
                let served = Instant::now();
                self.serve_previews();
                if !paused {
                    // A preview is not the job's work.
                    self.paused_for += served.elapsed();
                }
            }
            if !paused {
                return Ok(());
            }
            self.paused_for += begun.elapsed();
        }
    }

    /// Returns an error if the job was cancelled; called while a large image is processed.
    pub fn check_cancelled(&self) -> Result<(), EngineError> {
        let is_over = self.is_gone.load(Ordering::Relaxed) || self.signals.is_cancelled(self.job);
        if is_over { Err(EngineError::Cancelled) } else { Ok(()) }
    }

    /// Does work on files, which may hang where a file system does not answer: a job that hangs in it says nothing about its
    /// device.
    pub fn on_files<T>(&self, work: impl FnOnce() -> T) -> T {
        self.signals.is_on_files.store(true, Ordering::Relaxed);
        let done = work();
        self.signals.is_on_files.store(false, Ordering::Relaxed);
        done
    }

    /// Ends a preview that a newer one replaces, or whose job was cancelled.
    fn check_wanted(&self, preview: &Preview) -> Result<(), EngineError> {
        if self.previews.is_superseded(preview.to) {
            return Err(EngineError::Cancelled);
        }
        if self.job == 0 { Ok(()) } else { self.check_cancelled() }
    }

    /// Has a trained round recorded, and waits until it is.
    pub fn record(&self, finished: Finished) -> Result<(), EngineError> {
        let (sender, recorded) = bounded(1);
        (self.give)(FromJob::Trained(Box::new(finished), sender));
        // There is no answer if the program is shutting down.
        recorded.recv().unwrap_or(Err(EngineError::Cancelled))
    }

    /// Sends a prediction to be cached.
    pub fn store(&self, key: &Key, image: ImageId, prediction: Prediction) {
        (self.give)(FromJob::Predicted { key: key.clone(), image, prediction, to: Audience::Nobody });
    }

    pub(super) fn serve_previews(&mut self) {
        for preview in self.previews.take() {
            self.predict_and_send(preview);
        }
    }

    fn predict_and_send(&mut self, preview: Preview) {
        let predicted = catch_unwind(AssertUnwindSafe(|| self.predict(&preview)));
        let failed = match predicted {
            Ok(Ok(())) => return,
            Ok(Err(EngineError::Cancelled)) => return self.previews.put_off(preview),
            Ok(Err(EngineError::Device(reason))) => self.after_failure(&reason).into(),
            Ok(Err(EngineError::Refused(reason))) => {
                if matches!(self.choice, DeviceChoice::Server(_)) {
                    self.server_away.get_or_insert((Instant::now(), reason.clone()));
                }
                reason.into()
            }
            Ok(Err(error)) => failure(&error.into()),
            Err(panic) => self.after_failure(&panic_text(&*panic)).into(),
        };
        let text = format!("{}: no prediction: {}", preview.image.name, failed.text);
        let round = match preview.to {
            Audience::Comparison(round) => Some(round),
            Audience::Nobody | Audience::Person => None,
        };
        self.events.send(Event::NotPredicted(preview.image.id, round, Failure { text, ..failed }));
    }

    fn predict(&mut self, preview: &Preview) -> Result<(), EngineError> {
        let Preview { image, settings, folder, .. } = preview;
        match &self.server_away {
            Some((since, reason)) if since.elapsed() < AWAY => return Err(EngineError::Refused(reason.clone())),
            Some(_) => self.server_away = None,
            None => {}
        }
        let model = self.model(folder)?;
        let spec = model.frame_spec();
        let pending = raster::begin_read(&image.path, image.page);
        let read = loop {
            match pending.wait(POLL) {
                Some(read) => break read,
                None => self.check_wanted(preview)?,
            }
        };
        let frame = raster::frame(&read.map_err(|error| Failure::from(error.to_string()))?, &spec);
        let moments = model.predict(&frame, settings, image.id.0 as u64, || self.check_wanted(preview))?;
        let prediction = Prediction::of(&moments);
        (self.give)(FromJob::Predicted {
            key: Key::new(model.identity(), settings),
            image: image.id,
            prediction,
            to: preview.to,
        });
        Ok(())
    }
}
