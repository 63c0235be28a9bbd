//! Folder dialogs, which do not block the window.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::Context;

use crate::ui::browse::{Browser, Wanted};

/// The system's dialog ends sooner than this only where there is none.
const NO_DIALOG: Duration = Duration::from_millis(400);

/// Asks for folders with the system's dialog, or with the built-in one where the system has none.
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

    /// Returns a folder that has been chosen. Also shows the built-in dialog while it is open.
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

    /// Sets the folder in which the built-in dialog starts if none has been chosen yet.
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
