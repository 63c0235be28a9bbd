//! Notices: what has been done and what failed.

use std::time::{Duration, Instant};

use crate::app::App;

/// A notice for the user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The text shown.
    pub text: String,
    /// Whether something went wrong: it stays until it is dismissed.
    pub is_error: bool,
    /// Whether it is about a job: it goes out of date when the next job starts.
    pub(super) is_of_job: bool,
    since: Instant,
}

/// How many notices are kept.
const NOTICES: usize = 4;
/// How long a notice that is not an error stays.
const NOTICE: Duration = Duration::from_secs(20);

impl App {
    /// Shows a notice.
    pub fn notify(&mut self, text: impl Into<String>, is_error: bool) {
        let text = text.into();
        self.notices.retain(|notice| notice.text != text);
        self.notices.push(Notice { text, is_error, is_of_job: false, since: Instant::now() });
        self.drop_surplus_notices();
    }

    /// Drops the oldest notices but the last, errors only where there are too many of them.
    fn drop_surplus_notices(&mut self) {
        while self.notices.len() > NOTICES {
            let older = &self.notices[..self.notices.len() - 1];
            let errors = self.notices.iter().filter(|notice| notice.is_error).count();
            let place = older.iter().position(|notice| !notice.is_error);
            match place.or((errors > NOTICES).then_some(0)) {
                Some(place) => drop(self.notices.remove(place)),
                None => return,
            }
        }
    }

    /// Drops notices, but not errors, that have been shown for long enough.
    pub(super) fn drop_old_notices(&mut self) {
        self.notices.retain(|notice| notice.is_error || notice.since.elapsed() < NOTICE);
    }
}
