//! The running job: starting, pausing, finishing and cancelling it, and reporting its outcome.

use crate::app::{App, RunningJob};
use crate::worker::{JobKind, Request};

impl App {
    /// Starts a job, where none is running.
    pub fn start(&mut self, kind: JobKind) {
        if self.job.is_some() {
            return self.notify("a job is running; wait for it or cancel it", false);
        }
        self.release();
        self.last_action = None;
        let id = self.next_job;
        self.next_job += 1;
        self.notices.retain(|notice| !notice.is_of_job);
        self.has_job_failed = false;
        let scores = matches!(kind, JobKind::Round(_) | JobKind::ImportModel { .. } | JobKind::Score);
        self.job = Some(RunningJob { id, scores, cancelling: false, paused: false });
        self.ask(Request::Job { id, device: self.device_choice.clone(), kind });
    }

    /// Ends the running training with the best weights so far.
    pub fn finish_training(&mut self) {
        if self.job.is_some_and(|job| job.paused) {
            self.toggle_pause();
        }
        if let Some(job) = &self.job {
            self.worker.finish(job.id);
        }
    }

    /// Cancels the running job.
    pub fn cancel_job(&mut self) {
        if let Some(job) = &mut self.job {
            job.cancelling = true;
            self.worker.cancel(job.id);
        }
    }

    /// Pauses the running job, or resumes it.
    pub fn toggle_pause(&mut self) {
        if let Some(job) = &mut self.job {
            job.paused = !job.paused;
            self.worker.pause(job.paused.then_some(job.id));
        }
    }

    /// Shows a notice of how a job has ended.
    pub(super) fn notify_of_job(&mut self, text: impl Into<String>, is_error: bool) {
        self.notify_of_end(text, is_error);
        if let Some(notice) = self.notices.last_mut() {
            notice.is_of_job = true;
        }
    }
}
