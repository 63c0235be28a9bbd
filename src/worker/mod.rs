//! The threads beside the window, and their vocabulary.
//!
//! `qualm-disk` owns the project and the order of writes; `qualm-engine` owns the device and every tensor. Both are
//! asked through bounded channels and answer through one bounded channel of [`Event`]s; how a job goes stands in a slot
//! that holds the latest value only. Invariant: a job that fails or is cancelled leaves the project as it was, and a
//! write that fails is kept and tried again until it succeeds.

mod context;
mod disk;
mod engine;
mod export;
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

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

pub use crate::engine::device::{DeviceChoice, DeviceReport};
pub use crate::project::groups::Rule as GroupRule;
pub use crate::project::import::{Ask, ClassRow, MaskSummary, Pages, Several, ValueRow};
pub use crate::project::{
    ExportFormat, ExportPlan, ExportWhat, Exported, Import, ImportRules, Label, StudyRegions, Summary,
};
pub use messages::{
    Computation, Event, FilesFound, ImportTarget, JobId, JobKind, ManyLabels, OVERVIEW, Opened, Outcome, Phase,
    PlannedImport, Progress, Request, Shown, SliceLabel, Write,
};
pub use predict::Predicted;

/// What both threads share with the window: the latest progress, and which job to end or hold.
#[derive(Default)]
struct Signals {
    progress: Mutex<Option<Progress>>,
    cancelled: AtomicU64,
    finishing: AtomicU64,
    paused: AtomicU64,
    import: Mutex<Option<(usize, usize)>>,
}

impl Signals {
    fn set_import(&self, progress: Option<(usize, usize)>) {
        *self.import.lock().unwrap_or_else(|e| e.into_inner()) = progress;
    }

    fn set(&self, progress: Option<Progress>) {
        *self.progress.lock().unwrap_or_else(|e| e.into_inner()) = progress;
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

/// Sends events, and wakes whoever receives them.
#[derive(Clone)]
struct EventSender {
    sender: Sender<Event>,
    wake: Arc<dyn Fn() + Send + Sync>,
}

impl EventSender {
    fn send(&self, event: Event) {
        // This fails once the window is gone: nobody is left to receive it.
        let _ = self.sender.send(event);
        (self.wake)();
    }
}

/// The two threads, as the window and the command line hold them. Dropping it waits until all is written.
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

    /// Asks without waiting; gives the request back when the thread is too far behind to take it.
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

    /// Waits for the next event; `None` when the threads are gone or the time is over.
    pub fn wait(&self, limit: std::time::Duration) -> Option<Event> {
        self.events.recv_timeout(limit).ok()
    }

    /// How the running job goes.
    pub fn progress(&self) -> Option<Progress> {
        self.signals.progress.try_lock().ok()?.clone()
    }

    /// How far the import that is being planned or done is: files done, files in all.
    pub fn import_progress(&self) -> Option<(usize, usize)> {
        *self.signals.import.try_lock().ok()?
    }

    /// Ends a job at its next batch.
    pub fn cancel(&self, job: JobId) {
        self.signals.cancelled.store(job, Ordering::Relaxed);
    }

    /// Ends a job's training at its next batch, with the best that it has by then.
    pub fn finish(&self, job: JobId) {
        self.signals.finishing.store(job, Ordering::Relaxed);
    }

    /// Makes a job wait at its next batch; `None` lets it go on.
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
        // The disk thread may be telling of something: it must not wait for us.
        while self.disk.as_ref().is_some_and(|disk| !disk.is_finished()) {
            let _ = self.events.recv_timeout(std::time::Duration::from_millis(10));
        }
        if let Some(disk) = self.disk.take() {
            let _ = disk.join();
        }
    }
}
