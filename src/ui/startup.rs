//! Reports startup times on standard error (`--trace-startup`).

use std::time::Instant;

use crate::app::{App, Page};

/// The startup milestones reached so far.
pub struct Startup {
    begun: Instant,
    frames: usize,
    device: bool,
    project: bool,
}

impl Startup {
    /// `begun` is when the program began.
    pub fn new(begun: Instant) -> Self {
        let startup = Self { begun, frames: 0, device: false, project: false };
        startup.say("window made");
        startup
    }

    fn say(&self, what: &str) {
        eprintln!("startup {:>6.0} ms  {what}", self.begun.elapsed().as_secs_f64() * 1e3);
    }

    /// Called at the start of each frame: reports the milestones reached since the last one. Returns whether more are
    /// expected without input.
    pub fn frame(&mut self, app: &App) -> bool {
        self.frames += 1;
        if self.frames == 2 {
            // The second begins when the first is on the screen's queue.
            self.say("first frame drawn");
        }
        if !self.device && app.device.is_some() {
            self.device = true;
            self.say("device chosen and checked");
        }
        if !self.project && matches!(app.page, Page::Project(_)) {
            self.project = true;
            self.say("project open");
        }
        self.frames < 2 || !self.device || matches!(app.page, Page::Opening(..))
    }
}
