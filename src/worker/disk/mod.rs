//! The disk thread: the open project, the order of writes, and the inputs of the engine's jobs.
//!
//! Invariant: writes reach the database in the order in which they were requested. A write that fails stays at the
//! front of the queue and is retried every second; later writes wait behind it. A write that the project refuses is
//! dropped, and its sender is told.

mod background;
mod files;
mod imports;
mod jobs;
mod servers;
mod views;

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};

use crate::domain::remedy::{Failure, Remedy};
use crate::domain::study::{ImageId, ImageRecord};
use crate::engine::{EngineError, panic_text};
use crate::project::RoundRecord;
use crate::project::cache::Key;
use crate::project::groups::{GroupRule, Grouped};
use crate::project::{Import, ImportPlan, ImportRules, Project, ProjectError, cache, demo};
use crate::worker::DeviceChoice;
use crate::worker::context::FromJob;
use crate::worker::engine::{Ended, Engine, EngineRequest};
use crate::worker::failure::failure;
use crate::worker::{Computation, Event, EventSender, ImportTarget, JobId, Opened, Request, Signals, Write};

/// Label files are updated from the journal after this long without changes.
const QUIET: Duration = Duration::from_millis(1500);
/// How often a running job is checked for having been cancelled.
const CHECK: Duration = Duration::from_secs(1);
/// How long the end of the program waits for label files that are being written.
const LAST_EXPORT: Duration = Duration::from_secs(60);
/// Delay before a failed write is retried.
const RETRY: Duration = Duration::from_secs(1);

/// Messages to the disk thread.
pub enum Inbox {
    /// A request from the window or the command line.
    Asked(Request),
    /// Output of a running job, from the engine with this number.
    FromJob(u64, FromJob),
    /// A job's end, from the engine of this number.
    Ended(u64, JobId, Ended),
    /// The image folder was scanned, for the project in this folder.
    Listed(PathBuf, Box<ImportPlan>, bool),
    /// An import is planned.
    Planned(Box<imports::PendingImport>, ImportRules),
    /// An export has ended, with the reason if it failed.
    Exported(Option<String>),
    /// Write everything and end.
    Close,
}

/// Starts the thread. It ends at [`Inbox::Close`].
pub fn start(
    inbox: Receiver<Inbox>,
    itself: Sender<Inbox>,
    events: EventSender,
    signals: Arc<Signals>,
) -> JoinHandle<()> {
    let readers = rayon::ThreadPoolBuilder::new().num_threads(2).thread_name(|i| format!("qualm-reader-{i}")).build();
    let mut disk = Disk {
        project: None,
        writes: VecDeque::new(),
        retry_at: None,
        saved: 0,
        export_at: None,
        exporting: false,
        failing_export: false,
        running: None,
        device: None,
        import: None,
        wanted_import: None,
        is_opening: false,
        engine: jobs::start_engine(0, &itself, &events, &signals),
        engine_number: 0,
        cancelled_at: None,
        events,
        signals,
        itself,
        readers: readers.expect("threads can be started"),
        exports: Vec::new(),
    };
    let run = move || {
        while let Some(message) = disk.next(&inbox) {
            let result = catch_unwind(AssertUnwindSafe(|| disk.take(message)));
            match result {
                Ok(Ok(())) => {}
                Ok(Err(error)) => disk.say_error(failure(&error)),
                Err(panic) => {
                    let text = panic_text(&*panic);
                    disk.say_error(format!("internal error: {text}; everything saved before is safe").into());
                }
            }
            disk.is_opening = false;
        }
    };
    std::thread::Builder::new().name("qualm-disk".to_owned()).spawn(run).expect("a thread can be started")
}

struct Disk {
    project: Option<Project>,
    writes: VecDeque<Write>,
    /// When the write that failed is tried again.
    retry_at: Option<Instant>,
    /// Writes that succeeded since one last failed.
    saved: usize,
    export_at: Option<Instant>,
    exporting: bool,
    failing_export: bool,
    running: Option<JobId>,
    /// The device asked for by the last job.
    device: Option<DeviceChoice>,
    /// An import plan that waits for the user's decision.
    import: Option<imports::PendingImport>,
    /// The import that the user requested last; plans for any other import are dropped when they arrive.
    wanted_import: Option<(ImportTarget, ImportRules)>,
    /// Whether the message being handled opens a project.
    is_opening: bool,
    engine: Engine,
    /// Number of times that the engine was replaced; messages from an abandoned engine are ignored.
    engine_number: u64,
    /// When the running job was seen to be cancelled.
    cancelled_at: Option<Instant>,
    events: EventSender,
    signals: Arc<Signals>,
    /// Sender for background tasks to report back.
    itself: Sender<Inbox>,
    /// Threads that decode images in the background.
    readers: rayon::ThreadPool,
    /// Exports that write files for other programs.
    exports: Vec<JoinHandle<()>>,
}

impl Disk {
    /// Waits for the next message, and meanwhile performs retries and exports that are due. `None` when the thread is
    /// to exit.
    fn next(&mut self, inbox: &Receiver<Inbox>) -> Option<Inbox> {
        loop {
            let check_at = self.running.map(|_| Instant::now() + CHECK);
            let message = match [self.retry_at, self.export_at, check_at].into_iter().flatten().min() {
                Some(due) => match inbox.recv_deadline(due) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        self.write_all();
                        self.export_if_due();
                        self.replace_engine_that_hangs();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => Inbox::Close,
                },
                None => inbox.recv().unwrap_or(Inbox::Close),
            };
            if matches!(message, Inbox::Close) {
                self.close(inbox);
                return None;
            }
            return Some(message);
        }
    }

    /// Writes everything, waits for exports that run, and exports what they missed. An export of label files that does not
    /// end is not waited for: label files are written again from the database.
    fn close(&mut self, inbox: &Receiver<Inbox>) {
        self.write_all();
        self.exports.drain(..).for_each(|export| drop(export.join()));
        let until = Instant::now() + LAST_EXPORT;
        while self.exporting {
            match inbox.recv_deadline(until) {
                Ok(Inbox::Exported(error)) => self.exported(error),
                Ok(_) => {}
                Err(_) => return,
            }
        }
        let project = self.project.as_ref().filter(|project| project.is_writable());
        if let Some(Err(error)) = project.map(|project| export(project.root())) {
            tracing::error!("labels could not be exported: {error:#}");
        }
    }

    fn take(&mut self, message: Inbox) -> Result<()> {
        match message {
            Inbox::Asked(request) => self.answer(request),
            Inbox::FromJob(engine, _) | Inbox::Ended(engine, ..) if engine != self.engine_number => Ok(()),
            Inbox::FromJob(_, FromJob::Predicted { key, image, prediction, to }) => {
                self.predicted(&key, image, prediction, to)
            }
            Inbox::FromJob(_, FromJob::Trained(finished, answer)) => {
                let recorded = self.trained(&finished);
                let _ = answer.send(recorded.map_err(|error| EngineError::Other(failure(&error))));
                Ok(())
            }
            Inbox::Ended(_, id, ended) => {
                (self.running, self.cancelled_at) = (None, None);
                if let Some(Some(event)) = self.or_fail_job(id, |disk| disk.ended(id, ended)) {
                    self.events.send(event);
                }
                Ok(())
            }
            Inbox::Listed(root, plan, was_asked) => self.listed(&root, &plan, was_asked),
            Inbox::Planned(waiting, rules) => {
                self.planned(*waiting, &rules);
                Ok(())
            }
            Inbox::Exported(error) => {
                self.exported(error);
                Ok(())
            }
            Inbox::Close => Ok(()),
        }
    }

    fn answer(&mut self, request: Request) -> Result<()> {
        match request {
            Request::Export { plan, is_dry } => {
                self.export_labels(plan, is_dry);
                Ok(())
            }
            Request::Open(root) => {
                self.is_opening = true;
                let project = match self.take_open(&root)? {
                    Some(project) => project,
                    None => Project::open(&root)?,
                };
                self.opened(project, None)
            }
            Request::Close => self.close_project(),
            Request::OpenToRead(root) => {
                self.is_opening = true;
                self.opened(Project::open_to_read(&root)?, None)
            }
            Request::PlanImport(target, rules) => self.plan_import(target, *rules),
            Request::Import(settings) => self.import(&settings),
            Request::RefreshFiles => self.refresh_files(true),
            Request::Relocate(folder) => self.relocate(&folder),
            Request::RemoveImage(image) => {
                self.project()?.remove_image(image)?;
                self.refresh()
            }
            Request::SliceLabel(image, from) => self.slice_label(image, from),
            Request::RestoreImages => self.restore_images(),
            Request::AcceptReplaced { keeps_labels } => self.accept_replaced(keeps_labels),
            Request::AbandonImport => {
                (self.import, self.wanted_import) = (None, None);
                Ok(())
            }
            Request::Demo(root) => {
                self.is_opening = true;
                let (project, import) = match self.take_open(&root)? {
                    Some(project) => (project, None),
                    None => demo::open_or_create(&root)?,
                };
                self.opened(project, import)
            }
            Request::Show { image, ticket } => {
                if let Err(error) = self.show(image, ticket) {
                    self.events.send(Event::NotShown(image, failure(&error)));
                }
                Ok(())
            }
            Request::Refresh => self.refresh(),
            Request::Preview(image) => self.preview(image),
            Request::PreviewBy(image, round) => self.preview_by(image, round),
            Request::Thumbnail(image) => self.thumbnail(image),
            Request::Groups(rule) => {
                let Grouped { images, groups, left_out } =
                    self.project()?.set_groups(&GroupRule::read(&rule)?, false)?;
                self.refresh()?;
                self.events.send(Event::Grouped(images, groups, left_out));
                Ok(())
            }
            Request::Write(write) => {
                self.writes.push_back(write);
                self.write_all();
                Ok(())
            }
            Request::Device(choice) => {
                if self.engine.jobs.try_send(EngineRequest::Device(choice)).is_err() {
                    bail!("a job is running; choose the device again when it has ended");
                }
                Ok(())
            }
            Request::Servers => {
                self.list_servers();
                Ok(())
            }
            Request::TryServer(server) => {
                self.try_server(server);
                Ok(())
            }
            Request::AddServer(server) => Ok(self.add_server(server)?),
            Request::ForgetServer(name) => Ok(self.forget_server(&name)?),
            Request::Compute(Computation { image, revision, accepts, edit }) => {
                self.in_background(move || Some(Event::Computed(image, revision, edit(), accepts)));
                Ok(())
            }
            Request::StudyRegions => {
                self.measure_study();
                Ok(())
            }
            Request::ManyLabels(images, what) => self.change_labels(&images, what),
            Request::MapClasses(map) => {
                if self.running.is_some() {
                    bail!("a job is running; change the classes when it has ended");
                }
                self.check_saved()?;
                self.project()?.map_classes(&map)?;
                self.refresh()?;
                self.export_at = Some(Instant::now() + QUIET);
                self.events.send(Event::ClassesMapped);
                Ok(())
            }
            Request::Activate(round) => {
                if self.running.is_some() {
                    bail!("a job is running; activate the round when it has ended");
                }
                self.project()?.activate(round)?;
                self.refresh()
            }
            Request::Job { id, device, kind } => {
                self.or_fail_job(id, |disk| disk.start_job(id, device, kind));
                Ok(())
            }
        }
    }

    fn project(&mut self) -> Result<&mut Project> {
        self.project.as_mut().context("no project is open")
    }

    /// Takes the open project if it is the one in this folder, because its own lock would prevent opening it twice. Any
    /// other project stays open until the new one is loaded.
    fn take_open(&mut self, root: &Path) -> Result<Option<Project>> {
        self.check_saved()?;
        let whole = |path: &Path| path.canonicalize().ok();
        Ok(self
            .project
            .take_if(|open| open.is_writable() && whole(root).is_some_and(|root| whole(open.root()) == Some(root))))
    }

    fn close_project(&mut self) -> Result<()> {
        self.check_saved()?;
        if self.running.is_some() {
            bail!("a job is running; close the project when it has ended");
        }
        if self.export_at.is_some() {
            self.export_at = Some(Instant::now());
            self.export_if_due();
        }
        (self.project, self.import, self.wanted_import) = (None, None, None);
        Ok(())
    }

    fn say_error(&self, error: Failure) {
        self.events.send(if self.is_opening { Event::NotOpened(error) } else { Event::Error(error) });
    }

    fn check_saved(&self) -> Result<()> {
        if !self.writes.is_empty() {
            bail!("changes to the open project are not saved yet; check that its folder is writable, then try again");
        }
        Ok(())
    }

    fn opened(&mut self, project: Project, import: Option<Import>) -> Result<()> {
        self.check_saved()?;
        let (study, contrast) = match (project.study(), project.contrast()) {
            (Ok(study), Ok(contrast)) => (study, contrast),
            (Err(error), _) | (_, Err(error)) => {
                self.project.get_or_insert(project);
                return Err(error.into());
            }
        };
        let damaged: Vec<String> = project.round_records()?.iter().filter_map(RoundRecord::problem).collect();
        let opened = Opened { root: project.root().to_owned(), study, contrast, import };
        // Changes that a crash kept from being exported are exported now.
        self.export_at = project.is_writable().then(|| Instant::now() + QUIET);
        (self.import, self.wanted_import) = (None, None);
        self.back_up(&project);
        let is_new = opened.import.is_some();
        self.project = Some(project);
        self.events.send(Event::Opened(Box::new(opened)));
        for text in damaged {
            self.events.send(Event::Error(Failure { text, remedy: Some(Remedy::Repair) }));
        }
        if is_new { Ok(()) } else { self.refresh_files(false) }
    }

    /// Tries the writes in order, up to the first that fails. One that the project refuses is dropped.
    fn write_all(&mut self) {
        if self.writes.is_empty() {
            return;
        }
        let Some(project) = self.project.as_mut() else {
            self.writes.clear();
            return;
        };
        let before = self.writes.len();
        let mut refused = Vec::new();
        let mut failed = None;
        while let Some(write) = self.writes.front() {
            match perform(project, write) {
                Ok(()) => {}
                Err(error) if is_refusal(&error) => refused.push(failure(&error)),
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
            if matches!(write, Write::Step { .. } | Write::MoveTo { .. }) {
                self.export_at = Some(Instant::now() + QUIET);
            }
            self.writes.pop_front();
        }
        if !refused.is_empty() {
            // Whoever asked has shown it as done.
            if let Err(error) = self.refresh() {
                tracing::warn!("the study could not be read: {error:#}");
            }
            refused.into_iter().for_each(|failure| self.events.send(Event::Error(failure)));
        }
        match failed {
            Some(error) => {
                tracing::warn!("a write failed: {error:#}");
                self.retry_at = Some(Instant::now() + RETRY);
                self.saved += before - self.writes.len();
                self.events.send(Event::NotSaved(format!("{error:#}")));
            }
            None => {
                self.retry_at = None;
                self.events.send(Event::Saved(self.saved + before));
                self.saved = 0;
            }
        }
    }

    fn record(&mut self, image: ImageId) -> Result<ImageRecord> {
        self.project()?.image(image)?.context("the image is no longer in the project")
    }

    fn refresh(&mut self) -> Result<()> {
        let project = self.project()?;
        if let Some(key) = current_key(project)? {
            cache::forget_others(project.root(), &key);
        }
        let study = Box::new(project.study()?);
        self.events.send(Event::Refreshed(study));
        Ok(())
    }
}

/// The cache key of the active model's predictions.
fn current_key(project: &Project) -> Result<Option<Key>> {
    let settings = project.settings()?;
    Ok(project.active_round()?.map(|round| Key::new(&round.report.model, &settings)))
}

/// Updates the label files from the journal, on a separate connection.
fn export(root: &Path) -> Result<()> {
    let mut project = Project::reopen(root)?;
    project.export_labels()?;
    project.hash_labelled()?;
    Ok(project.compact()?)
}

/// Whether a write failed because the project does not allow it: trying again would not help.
fn is_refusal(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ProjectError::SameClassName(_)))
}

fn perform(project: &mut Project, write: &Write) -> Result<()> {
    match write {
        Write::Step { image, position, step } => project.commit_step(*image, *position, step)?,
        Write::MoveTo { image, done, labelled } => project.move_to(*image, *done, *labelled)?,
        Write::Settings(settings) => project.set_settings(settings)?,
        Write::Accepted(acceptance) => project.record_acceptance(acceptance)?,
        Write::Pseudo(image, state) => project.set_pseudo(*image, *state)?,
        Write::Contrast(contrast) => project.set_contrast(contrast)?,
        Write::AddClass(name) => {
            project.add_class(name)?;
        }
        Write::RenameClass(number, name) => project.rename_class(*number, name)?,
        Write::RecolourClass(number, colour) => project.recolour_class(*number, *colour)?,
    }
    Ok(())
}
