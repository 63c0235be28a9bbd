//! Folder dialogs: the window goes on while one is open.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::Context;

use crate::ui::browse::Browser;

/// What a folder is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A project to open.
    Open,
    /// Masks for the open project.
    Import,
    /// The open project's images, after they were moved.
    Locate,
    /// A new project's images.
    Images,
    /// A new project's masks.
    Masks,
    /// A new project's own folder.
    Root,
    /// Images to predict.
    Predict,
    /// Where predictions go.
    Predictions,
    /// Where exported labels go.
    Export,
}

impl Wanted {
    /// The title of the dialog.
    pub fn title(self) -> &'static str {
        match self {
            Self::Open => "Open a project's folder",
            Self::Images | Self::Locate | Self::Predict => "The folder of the images",
            Self::Import | Self::Masks => "The folder of the masks",
            Self::Root => "The folder of the new project",
            Self::Predictions => "The folder that the predictions go into",
            Self::Export => "The folder that the export goes into",
        }
    }

    /// Whether a COCO file does in the folder's place.
    pub fn takes_coco(self) -> bool {
        match self {
            Self::Import | Self::Masks => true,
            Self::Open
            | Self::Images
            | Self::Locate
            | Self::Root
            | Self::Predict
            | Self::Predictions
            | Self::Export => false,
        }
    }
}

/// The system's dialog ends sooner than this only where there is none.
const NO_DIALOG: Duration = Duration::from_millis(400);

/// Asks for folders: with the system's dialog, or where there is none with the program's own.
pub struct Dialogs {
    results: Sender<(Wanted, Option<PathBuf>)>,
    chosen: Receiver<(Wanted, Option<PathBuf>)>,
    browser: Option<Browser>,
    /// The folder that was chosen last.
    last: Option<PathBuf>,
}

impl Default for Dialogs {
    fn default() -> Self {
        let (results, chosen) = unbounded();
        Self { results, chosen, browser: None, last: None }
    }
}

impl Dialogs {
    /// Opens the system's dialog.
    pub fn ask(&self, ctx: &Context, wanted: Wanted) {
        let (results, ctx, begun) = (self.results.clone(), ctx.clone(), Instant::now());
        std::thread::spawn(move || {
            let folder = rfd::FileDialog::new().set_title(wanted.title()).pick_folder();
            if folder.is_some() || begun.elapsed() < NO_DIALOG {
                let _ = results.send((wanted, folder));
                ctx.request_repaint();
            }
        });
    }

    /// A folder that was chosen since. Shows the program's own dialog as long as it is open.
    pub fn chosen(&mut self, ctx: &Context) -> Option<(Wanted, PathBuf)> {
        if let Some(browser) = &mut self.browser {
            let wanted = browser.wanted();
            match browser.show(ctx) {
                Ok(None) => {}
                Ok(Some(folder)) => {
                    self.browser = None;
                    self.last = folder.parent().map(Path::to_owned);
                    return Some((wanted, folder));
                }
                Err(()) => self.browser = None,
            }
        }
        match self.chosen.try_recv().ok()? {
            (wanted, Some(folder)) => {
                self.last = folder.parent().map(Path::to_owned);
                Some((wanted, folder))
            }
            (wanted, None) => {
                self.browser = Some(Browser::new(wanted, ctx, self.last.as_deref()));
                None
            }
        }
    }

    /// Where the program's own dialog begins, before a folder was chosen.
    pub fn begin_in(&mut self, folder: Option<&Path>) {
        self.last = self.last.take().or(folder.map(Path::to_owned));
    }

    /// Whether the program's own dialog is open.
    pub fn is_open(&self) -> bool {
        self.browser.is_some()
    }

    /// Closes the program's own dialog; whether it was open.
    pub fn close(&mut self) -> bool {
        self.browser.take().is_some()
    }
}
