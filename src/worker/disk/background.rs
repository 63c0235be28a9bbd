//! Work beside the disk thread: label files, images to show, long tasks.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Instant;

use anyhow::anyhow;

use super::{Disk, Inbox, QUIET, export};
use crate::domain::remedy::Failure;
use crate::engine::panic_text;
use crate::worker::Event;

impl Disk {
    /// Starts an export that is due, in the background and on a separate connection: a large label takes seconds.
    pub(super) fn export_if_due(&mut self) {
        let now = Instant::now();
        let Some(project) = self.project.as_ref().filter(|_| self.export_at.is_some_and(|at| at <= now)) else {
            return;
        };
        if self.exporting {
            self.export_at = Some(now + QUIET);
            return;
        }
        self.export_at = None;
        self.exporting = true;
        let (root, itself) = (project.root().to_owned(), self.itself.clone());
        // A thread of its own: the readers may all wait for a file system that does not answer.
        std::thread::spawn(move || {
            let exported = catch_unwind(|| export(&root));
            let exported = exported.unwrap_or_else(|panic| Err(anyhow!("{}", panic_text(&*panic))));
            let _ = itself.send(Inbox::Exported(exported.err().map(|error| format!("{error:#}"))));
        });
    }

    pub(super) fn exported(&mut self, error: Option<String>) {
        self.exporting = false;
        if let Some(error) = error {
            self.export_at = Some(Instant::now() + QUIET);
            self.failing_export = true;
            self.events.send(Event::NotSaved(error));
        } else if std::mem::take(&mut self.failing_export) {
            self.events.send(Event::Saved(0));
        }
    }

    /// Runs a slow task on another thread and sends its event; a panic there is reported too.
    pub(super) fn in_background(&self, work: impl FnOnce() -> Option<Event> + Send + 'static) {
        let events = self.events.clone();
        self.readers.spawn(move || {
            let failed = |panic: Box<dyn std::any::Any + Send>| Some(Event::Error(internal(&*panic)));
            if let Some(event) = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(failed) {
                events.send(event);
            }
        });
    }

    /// Runs a long task that uses all cores on a separate thread, so that images and label files do not wait for it. A
    /// panic there becomes the event that `failed` makes of it.
    pub(super) fn on_own_thread(
        &self,
        work: impl FnOnce() -> Option<Event> + Send + 'static,
        failed: impl FnOnce(Failure) -> Event + Send + 'static,
    ) -> Option<JoinHandle<()>> {
        let events = self.events.clone();
        let run = move || {
            let event = catch_unwind(AssertUnwindSafe(work));
            if let Some(event) = event.unwrap_or_else(|panic| Some(failed(internal(&*panic)))) {
                events.send(event);
            }
        };
        match std::thread::Builder::new().name("qualm-task".to_owned()).spawn(run) {
            Ok(thread) => Some(thread),
            Err(error) => {
                self.events.send(Event::Error(format!("no thread can be started: {error}").into()));
                None
            }
        }
    }
}

fn internal(panic: &(dyn std::any::Any + Send)) -> Failure {
    format!("internal error: {}", panic_text(panic)).into()
}
