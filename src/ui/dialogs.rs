//! Folder dialogs, and a look whether a folder exists; neither blocks the window.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use egui::Context;

use crate::ui::browse::{Browser, Wanted};

/// The system's dialog ends sooner than this only where there is none.
const NO_DIALOG: Duration = Duration::from_millis(400);
/// How often a folder that does not exist is looked for again.
const LOOK: Duration = Duration::from_secs(1);

/// What is typed into a field for a folder or a file, and whether it exists.
struct TypedPath {
    path: String,
    looked_at: Instant,
    coming: Option<Receiver<bool>>,
    is_missing: bool,
}

/// Asks for folders with the system's dialog, or with the built-in one where the system has none.
pub struct Dialogs {
    results: Sender<(Wanted, Option<PathBuf>)>,
    chosen: Receiver<(Wanted, Option<PathBuf>)>,
    browser: Option<Browser>,
    /// The folder that was chosen last.
    last: Option<PathBuf>,
    /// What is typed into each field.
    typed: RefCell<HashMap<&'static str, TypedPath>>,
}

impl Default for Dialogs {
    fn default() -> Self {
        let (results, chosen) = unbounded();
        Self { results, chosen, browser: None, last: None, typed: RefCell::default() }
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

    /// Whether it is known that what is typed into a field does not exist. A thread of its own looks: a network drive may
    /// not answer.
    pub fn is_missing(&self, ctx: &Context, field: &'static str, typed: &str) -> bool {
        let mut fields = self.typed.borrow_mut();
        let before = fields.remove(field).filter(|before| before.path == typed);
        let is_due = |before: &TypedPath| before.is_missing && before.looked_at.elapsed() > LOOK;
        let mut now = match before {
            Some(before) if before.coming.is_some() || !is_due(&before) => before,
            before => {
                let (found, coming) = bounded(1);
                let (path, ctx) = (PathBuf::from(typed), ctx.clone());
                std::thread::spawn(move || {
                    let is_missing = !path.as_os_str().is_empty() && !path.exists();
                    // The receiver is gone once something else is typed.
                    let _ = found.send(is_missing);
                    ctx.request_repaint();
                });
                let is_missing = before.is_some_and(|before| before.is_missing);
                TypedPath { path: typed.to_owned(), looked_at: Instant::now(), coming: Some(coming), is_missing }
            }
        };
        if let Some(is_missing) = now.coming.as_ref().and_then(|coming| coming.try_recv().ok()) {
            (now.coming, now.is_missing) = (None, is_missing);
        }
        let is_missing = now.is_missing;
        if is_missing {
            ctx.request_repaint_after(LOOK);
        }
        fields.insert(field, now);
        is_missing
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typed_folder_that_does_not_exist_is_found_out() {
        let (ctx, dialogs, temp) = (Context::default(), Dialogs::default(), tempfile::TempDir::new().unwrap());
        let is_missing = |typed: &str| loop {
            let is_missing = dialogs.is_missing(&ctx, "field", typed);
            if dialogs.typed.borrow()["field"].coming.is_none() {
                return is_missing;
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let there = temp.path().display().to_string();
        let answers = [format!("{there}/none"), there, String::new()].map(|typed| is_missing(&typed));
        assert_eq!(answers, [true, false, false], "nothing typed is not a folder that is missing");
    }
}
