//! The background threads, and the messages exchanged with them.
//!
//! `qualm-disk` owns the project and the order of writes; `qualm-engine` owns the device and every tensor. Both receive
//! requests through bounded channels and answer through one bounded channel of [`Event`]s; the progress of a job is
//! kept in a slot that holds only the latest value. Invariant: a job that fails or is cancelled leaves the project
//! unchanged, except that a round is kept once it has trained, and a write that fails is kept and retried until it succeeds.

mod context;
mod disk;
mod engine;
mod export;
mod failure;
mod fit;
mod images;
mod messages;
pub mod model_files;
mod plan;
mod pool_image;
mod predict;
mod previews;
mod propose;
mod round;
mod scoring;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

pub use crate::engine::device::{DeviceChoice, DeviceReport, Link};
pub use crate::engine::remote::IS_BUILT_IN as HAS_SERVERS;
pub use crate::engine::remote::address::ServerAddress;
pub use crate::engine::remote::servers::{Server, Token};
pub use crate::project::groups::GroupRule;
pub use crate::project::import::{Ask, ClassRow, MaskSummary, Pages, Several, ValueRow};
pub use crate::project::{
    ExportFormat, ExportPlan, ExportWhat, Exported, Import, ImportRules, Label, StudyRegions, Summary,
};
pub use failure::failure;
pub use messages::{
    Computation, Event, FilesFound, ImportTarget, JobId, JobKind, ManyLabels, OVERVIEW, Opened, Outcome, Phase,
    PlannedImport, Progress, Request, Shown, SliceLabel, Write,
};
pub use predict::Predicted;

/// State that both threads share with the window: the latest progress, and which job to cancel, finish or pause.
#[derive(Default)]
struct Signals {
    progress: Mutex<Option<Progress>>,
    cancelled: AtomicU64,
    finishing: AtomicU64,
    paused: AtomicU64,
    import: Mutex<Option<(usize, usize)>>,
    /// Whether the job works on files at the moment.
    is_on_files: AtomicBool,
}

impl Signals {
    fn set_import(&self, progress: Option<(usize, usize)>) {
        *self.import.lock().unwrap_or_else(|e| e.into_inner()) = progress;
    }

    fn set(&self, progress: Option<Progress>) {
        *self.progress.lock().unwrap_or_else(|e| e.into_inner()) = progress;
    }

    fn phase(&self) -> Option<Phase> {
        self.progress.lock().unwrap_or_else(|e| e.into_inner()).as_ref().map(|progress| progress.phase)
    }

    fn is_cancelled(&self, job: JobId) -> bool {
        self.cancelled.load(Ordering::Relaxed) == job
    }

    fn is_to_finish(&self, job: JobId) -> bool {
        self.finishing.load(Ordering::Relaxed) == job
    }

    fn is_paused(&self, job: JobId) -> bool {
        self.paused.load(Ordering::Relaxed) == job
    }
}

/// Sends events and wakes their receiver.
#[derive(Clone)]
struct EventSender {
    sender: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl EventSender {
    fn send(&self, event: Event) {
        // Sending fails once the window is gone, when there is no receiver left.
        let _ = self.sender.send(event);
        (self.wake)();
    }
}

/// The handle by which the window and the command line use the two threads. Dropping it waits until everything is
/// written.
pub struct Worker {
    requests: Option<Sender<disk::Inbox>>,
    events: Receiver<Event>,
    signals: Arc<Signals>,
    disk: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts both threads. `wake` is called after each event, from either.
    pub fn start(wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (requests, inbox) = bounded(1024);
        let (sender, events) = bounded(4096);
        let signals = Arc::new(Signals::default());
        let sender = EventSender { sender, wake: Arc::new(wake) };
        let disk = disk::start(inbox, requests.clone(), sender, signals.clone());
        Self { requests: Some(requests), events, signals, disk: Some(disk) }
    }

    /// Sends a request without blocking; returns the request if the queue is full.
    pub fn ask(&self, request: Request) -> Result<(), Request> {
        let requests = self.requests.as_ref().expect("open until dropped");
        match requests.try_send(disk::Inbox::Asked(request)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(disk::Inbox::Asked(request))) => Err(request),
            Err(_) => Ok(()), // The disk thread is gone; its last event said why.
        }
    }

    /// The next event, if there is one.
    pub fn event(&self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// Waits for the next event; `None` on timeout or if the threads have ended.
    pub fn wait(&self, limit: std::time::Duration) -> Option<Event> {
        self.events.recv_timeout(limit).ok()
    }

    /// The progress of the running job.
    pub fn progress(&self) -> Option<Progress> {
        self.signals.progress.try_lock().ok()?.clone()
    }

    /// The progress of the import that is being planned or performed: files done, and files in total.
    pub fn import_progress(&self) -> Option<(usize, usize)> {
        *self.signals.import.try_lock().ok()?
    }

    /// Ends a job at its next batch.
    pub fn cancel(&self, job: JobId) {
        self.signals.cancelled.store(job, Ordering::Relaxed);
    }

    /// Ends a job's training at its next batch, keeping the best result so far.
    pub fn finish(&self, job: JobId) {
        self.signals.finishing.store(job, Ordering::Relaxed);
    }

    /// Pauses a job at its next batch; `None` resumes it.
    pub fn pause(&self, job: Option<JobId>) {
        self.signals.paused.store(job.unwrap_or(0), Ordering::Relaxed);
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(job) = self.progress().map(|progress| progress.job) {
            self.cancel(job);
        }
        if let Some(requests) = self.requests.take() {
            let _ = requests.send(disk::Inbox::Close);
        }
        // The disk thread may be sending events: they are received here, so that it cannot block.
        while self.disk.as_ref().is_some_and(|disk| !disk.is_finished()) {
            let _ = self.events.recv_timeout(std::time::Duration::from_millis(10));
        }
        if let Some(disk) = self.disk.take() {
            let _ = disk.join();
        }
    }
}
