//! The application without a window: its state, what each command does, what each event does.
//!
//! Invariant: nothing here blocks. Requests that the worker cannot accept immediately stay in the outbox, in order.

mod attention;
pub mod command;
mod contrast;
mod diagnostics;
pub mod editor;
mod events;
mod export;
pub mod import;
mod jobs;
mod labelling;
mod last_action;
pub mod list;
mod many;
mod notices;
mod obstacles;
mod pen;
mod project;
mod remedies;
pub mod servers;
mod slices;

use std::collections::VecDeque;
use std::collections::hash_map::Entry;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::app::attention::Attention;
use crate::app::command::Command;
use crate::app::import::OpenImport;
use crate::app::servers::ServerSheet;
use crate::domain::cleanup::Locked;
use crate::domain::mask::Mask;
use crate::domain::settings::Settings;
use crate::domain::study::{ClassMap, ImageId};
pub use export::Export;
pub use last_action::LastAction;
pub use many::StudyMeasurement;
pub use notices::Notice;
pub use pen::{Gate, Gauge, Ink, Pen, Whole};
pub use project::{Current, OpenProject};

use crate::worker::{DeviceChoice, DeviceReport, JobId, ManyLabels, Progress, Request, Worker, Write};

/// Smallest and largest brush radius.
pub const RADIUS: std::ops::RangeInclusive<f64> = 0.5..=2000.0;
/// Whole-label edits of up to this many pixels run within a frame; larger ones run in the background.
const AT_ONCE: usize = 1 << 22;

/// What the pointer paints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// The chosen class.
    Brush,
    /// Background.
    Eraser,
    /// Unlabelled: erases labels.
    Clear,
    /// The class, inside an outline drawn.
    Outline,
    /// The class, inside a polygon.
    Polygon,
    /// The class, over connected pixels that look alike.
    Fill,
    /// The prediction.
    Adopt,
    /// The class, over the object that is clicked or boxed.
    Click,
}

impl Tool {
    /// All tools with the commands that choose them, in the order shown.
    pub const ALL: [(Self, Command); 8] = [
        (Self::Brush, Command::Brush),
        (Self::Eraser, Command::Eraser),
        (Self::Clear, Command::Clear),
        (Self::Adopt, Command::AdoptBrush),
        (Self::Outline, Command::Outline),
        (Self::Polygon, Command::Polygon),
        (Self::Fill, Command::Fill),
        (Self::Click, Command::ClickToSegment),
    ];

    /// Whether it has a radius.
    pub fn is_brush(self) -> bool {
        matches!(self, Self::Brush | Self::Eraser | Self::Clear | Self::Adopt)
    }
}

/// The whole state.
pub struct App {
    worker: Worker,
    outbox: VecDeque<Request>,
    commands: Vec<Command>,
    /// What is open.
    pub page: Page,
    /// What the pointer paints.
    pub tool: Tool,
    /// The class the brush paints.
    pub class: u8,
    /// The brush's radius, in image pixels or in points of the screen.
    pub radius: f64,
    /// Whether the radius is in points of the screen.
    pub radius_on_screen: bool,
    /// Where the pen paints.
    pub gate: Option<Gate>,
    /// Classes that nothing overwrites.
    pub locked: Locked,
    /// Largest difference of a channel that a fill goes over, 0 to 1.
    pub tolerance: f32,
    /// Probability from which a pixel counts as foreground.
    pub threshold: f32,
    /// Ticket of the last request for an image: answers with another ticket are ignored.
    ticket: u64,
    attention: Attention,
    /// The image to show once the edit being computed is done.
    wanted: Option<ImageId>,
    /// The image that is all background if it is accepted once more.
    confirming_empty: Option<ImageId>,
    /// What the status bar offers to undo.
    pub last_action: Option<LastAction>,
    /// The image whose acceptance is undone once it is loaded.
    undo_once_shown: Option<ImageId>,
    /// Why a command could not be given, and since when that is said.
    hint: Option<(String, Instant)>,
    /// Whether the last job failed.
    pub has_job_failed: bool,
    /// The folder of the project that could not be opened last.
    failed_open: Option<PathBuf>,
    /// Where jobs run.
    pub device_choice: DeviceChoice,
    /// The devices found for that choice; `None` while the search runs.
    pub device: Option<Result<Vec<DeviceReport>, String>>,
    /// The names of the servers that are remembered.
    pub servers: Vec<String>,
    /// The sheet *Add server*, while it is open.
    pub server_sheet: Option<ServerSheet>,
    /// The running job.
    pub job: Option<RunningJob>,
    /// Its progress.
    pub progress: Option<Progress>,
    next_job: JobId,
    /// The import being planned, waiting for the user, or running.
    pub import: Option<OpenImport>,
    /// The operation on the labels of all listed images that awaits the user's confirmation.
    pub listed_change: Option<ManyLabels>,
    /// The regions of all labels.
    pub study_regions: StudyMeasurement,
    /// The label copied last.
    pub(super) copied: Option<Arc<Mask>>,
    /// The export that is being prepared or done.
    pub export: Option<Export>,
    /// Notices for the user, newest last.
    pub notices: Vec<Notice>,
    /// Writes that are not on disk yet.
    pub unsaved: usize,
    /// Whether the list of images arrived while writes were pending, and so lacks them.
    is_list_behind: bool,
    /// Why the last write failed; `None` once it succeeded.
    pub save_error: Option<String>,
    demo_folder: PathBuf,
}

/// What is open.
pub enum Page {
    /// Nothing: the first page.
    Welcome,
    /// A project is being opened; if that fails, the previous one returns.
    Opening(PathBuf, Option<Box<OpenProject>>),
    /// A project.
    Project(Box<OpenProject>),
}

/// The running job.
#[derive(Clone, Copy, Debug)]
pub struct RunningJob {
    /// Its number.
    pub id: JobId,
    /// Whether it scores the pool, as a round does once it is trained.
    pub scores: bool,
    /// Whether it has been asked to end.
    pub cancelling: bool,
    /// Whether it has been asked to pause.
    pub paused: bool,
}

/// How long the reason why a command could not be given is shown.
const HINT: Duration = Duration::from_secs(6);

impl App {
    /// An application with nothing open; the search for a device starts.
    pub fn new(worker: Worker, demo_folder: PathBuf) -> Self {
        let mut app = Self {
            worker,
            outbox: VecDeque::new(),
            commands: Vec::new(),
            page: Page::Welcome,
            tool: Tool::Brush,
            class: 1,
            radius: 12.0,
            radius_on_screen: false,
            gate: None,
            locked: Locked::default(),
            tolerance: 0.1,
            ticket: 0,
            attention: Attention::default(),
            wanted: None,
            confirming_empty: None,
            last_action: None,
            undo_once_shown: None,
            hint: None,
            has_job_failed: false,
            failed_open: None,
            threshold: 0.5,
            device_choice: DeviceChoice::Auto,
            device: None,
            servers: Vec::new(),
            server_sheet: None,
            job: None,
            progress: None,
            next_job: 1,
            import: None,
            listed_change: None,
            study_regions: StudyMeasurement::No,
            copied: None,
            export: None,
            notices: Vec::new(),
            unsaved: 0,
            is_list_behind: false,
            save_error: None,
            demo_folder,
        };
        app.ask(Request::Device(DeviceChoice::Auto));
        app.ask(Request::Servers);
        app
    }

    /// Sends a request to the worker, after all that were sent before.
    pub fn ask(&mut self, request: Request) {
        self.outbox.push_back(request);
        self.send_outbox();
    }

    fn send_outbox(&mut self) {
        while let Some(request) = self.outbox.pop_front() {
            if let Err(request) = self.worker.ask(request) {
                self.outbox.push_front(request);
                return;
            }
        }
    }

    /// Called once per frame: handles the worker's events and reads the progress of its job.
    pub fn update(&mut self) {
        self.send_outbox();
        self.store_contrast(Duration::from_millis(300));
        self.drop_old_notices();
        while let Some(event) = self.worker.event() {
            self.handle(event);
        }
        self.progress = self.worker.progress().filter(|progress| self.job.is_some_and(|job| job.id == progress.job));
    }

    /// Whether an edit of the open image is being computed.
    pub fn is_computing(&self) -> bool {
        self.project().and_then(OpenProject::editor).is_some_and(|editor| editor.computing)
    }

    /// Briefly shows why a command could not be given.
    pub fn hint(&mut self, text: String) {
        self.hint = Some((text, Instant::now()));
    }

    /// Why a command could not be given just now.
    pub fn current_hint(&self) -> Option<&str> {
        self.hint.as_ref().filter(|(_, since)| since.elapsed() < HINT).map(|(text, _)| text.as_str())
    }

    /// The folder of the project that could not be opened, once.
    pub fn take_failed_open(&mut self) -> Option<PathBuf> {
        self.failed_open.take()
    }

    /// Queues a command: the window carries out what was queued once a frame.
    pub fn push(&mut self, command: Command) {
        self.commands.push(command);
    }

    /// The queued commands, in order.
    pub fn take_commands(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.commands)
    }

    /// The open project.
    pub fn project(&self) -> Option<&OpenProject> {
        if let Page::Project(project) = &self.page { Some(project) } else { None }
    }

    /// The open project.
    pub fn project_mut(&mut self) -> Option<&mut OpenProject> {
        if let Page::Project(project) = &mut self.page { Some(project) } else { None }
    }

    /// Opens the project in a folder.
    pub fn open(&mut self, root: PathBuf) {
        self.begin_opening(root.clone(), Request::Open(root));
    }

    /// Opens the demo project in a folder.
    pub fn open_demo(&mut self, root: PathBuf) {
        self.begin_opening(root.clone(), Request::Demo(root));
    }

    /// Returns to the start page; another program may then open the project.
    pub fn close_project(&mut self) {
        self.release();
        self.store_contrast(Duration::ZERO);
        self.abandon_import();
        self.listed_change = None;
        self.page = Page::Welcome;
        self.ask(Request::Close);
    }

    /// Begins to open a project; returns whether it was possible.
    fn begin_opening(&mut self, root: PathBuf, request: Request) -> bool {
        if self.job.is_some() {
            self.notify("a job is running; wait for it or cancel it before opening another project", false);
            return false;
        }
        if self.is_computing() {
            self.notify("an edit is still being computed; try again in a moment", false);
            return false;
        }
        self.release();
        self.store_contrast(Duration::ZERO);
        let before = match std::mem::replace(&mut self.page, Page::Welcome) {
            Page::Project(project) | Page::Opening(_, Some(project)) => Some(project),
            Page::Welcome | Page::Opening(_, None) => None,
        };
        self.page = Page::Opening(root, before);
        self.listed_change = None;
        self.ask(request);
        true
    }

    /// Shows an image.
    pub fn show(&mut self, image: ImageId) {
        // The user has moved on: no undo later, and an empty label is confirmed anew.
        (self.undo_once_shown, self.confirming_empty) = (None, None);
        let Some(project) = self.project_mut() else { return };
        if project.current.id() == Some(image) && !matches!(project.current, Current::Failed(..)) {
            return;
        }
        if let Some(project) = self.project_mut().filter(|project| project.is_proposed(image)) {
            project.is_queue_begun = true;
        }
        self.release();
        self.compare(None);
        // Stay on the image until the edit of its label is computed.
        if self.project().and_then(OpenProject::editor).is_some_and(|editor| editor.computing) {
            self.wanted = Some(image);
            return;
        }
        if let Some(project) = self.project_mut() {
            project.current = Current::Loading(image);
            project.list.open(&project.study.images, image, project.study.settings.score);
        }
        self.ask_to_show(image);
    }

    fn ask_to_show(&mut self, image: ImageId) {
        self.ticket += 1;
        self.ask(Request::Show { image, ticket: self.ticket });
    }

    /// Asks for a thumbnail that the list is about to show.
    pub fn want_thumbnail(&mut self, image: ImageId) {
        let Some(project) = self.project_mut() else { return };
        if let Entry::Vacant(place) = project.thumbnails.entry(image) {
            place.insert(None);
            self.ask(Request::Thumbnail(image));
        }
    }

    /// A key was pressed or the pointer moved: the user is working on the open image.
    pub fn sign_of_life(&mut self) {
        if let Some(image) = self.project().and_then(OpenProject::editor).map(|editor| editor.image) {
            self.attention.sign(image, Instant::now());
        }
    }

    /// Compares another round's prediction of the open image with the active round's; `None` ends the comparison.
    pub fn compare(&mut self, round: Option<usize>) {
        let Some(project) = self.project_mut() else { return };
        let is_other = std::mem::replace(&mut project.compared, round) != round;
        let Some(editor) = project.editor_mut() else { return };
        // At another threshold, the mask stays until the new one is there.
        if is_other || round.is_none() {
            editor.set_compared(None);
        }
        let image = editor.image;
        if let Some(round) = round {
            self.ask(Request::PreviewBy(image, round));
        }
    }

    /// Stores a change of the project.
    pub fn write(&mut self, write: Write) {
        if let (Some(change), Some(project)) = (write.change(), self.project_mut()) {
            project.apply(&change);
        }
        self.unsaved += 1;
        self.ask(Request::Write(write));
    }

    /// Stores the method's settings.
    pub fn set_settings(&mut self, settings: Settings) {
        let Some(project) = self.project_mut() else { return };
        if project.study.settings != settings {
            let is_noise_other = project.study.settings.stop_rounds != settings.stop_rounds;
            self.write(Write::Settings(Box::new(settings)));
            if let Some(project) = self.project_mut().filter(|_| is_noise_other) {
                project.update_noise();
            }
        }
    }

    /// Sets the rule by which images are grouped.
    pub fn set_groups(&mut self, rule: String) {
        self.ask(Request::Groups(rule));
    }

    /// Chooses where jobs run and starts the search for that device.
    pub fn choose_device(&mut self, choice: DeviceChoice) {
        self.device_choice = choice.clone();
        self.device = None;
        self.ask(Request::Device(choice));
    }

    /// Merges, deletes or reorders classes.
    pub fn map_classes(&mut self, map: ClassMap) {
        self.close_editor();
        self.ask(Request::MapClasses(map));
    }

    /// Makes an earlier round's model the active one.
    pub fn activate(&mut self, round: usize) {
        self.ask(Request::Activate(round));
    }

    /// Goes to the next proposed image.
    pub fn show_next_proposed(&mut self) {
        match self.project().and_then(OpenProject::next_proposed) {
            Some(image) => self.show(image),
            None => {
                let train = Command::Train.row().titled();
                self.notify(format!("no proposed image is left; {train} gets new ones"), false);
            }
        }
    }

    /// Goes to the image that many places further down the list.
    pub fn show_neighbour(&mut self, steps: isize) {
        let project = self.project();
        if let Some(image) = project.and_then(|p| p.list.neighbour(&p.study.images, p.current.id(), steps)) {
            self.show(image);
        }
    }

    /// Goes to the first image of the list, or the last.
    pub fn show_end(&mut self, is_last: bool) {
        let place = |shown: &[usize]| if is_last { shown.last().copied() } else { shown.first().copied() };
        let image = self.project().and_then(|p| Some(p.study.images[place(&p.list.shown)?].id));
        if let Some(image) = image {
            self.show(image);
        }
    }

    /// Where the demo project lies.
    pub fn demo_folder(&self) -> &Path {
        &self.demo_folder
    }
}
