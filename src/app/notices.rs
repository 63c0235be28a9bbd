//! Notices: what has been done, what the user should know, and what failed.

use std::time::{Duration, Instant};

use crate::app::App;
use crate::domain::settings::TABLE;

/// A notice for the user.
#[derive(Clone, Debug)]
pub struct Notice {
    /// The text shown.
    pub text: String,
    /// Whether something went wrong: it stays until it is dismissed.
    pub is_error: bool,
    /// Whether it says that what was asked for is done; no error is.
    pub is_done: bool,
    /// Whether it is about a job: it goes out of date when the next job starts.
    pub(super) is_of_job: bool,
    since: Instant,
}

/// How many notices are kept.
const NOTICES: usize = 4;
/// How long a notice that is not an error stays.
const NOTICE: Duration = Duration::from_secs(20);

impl App {
    /// Shows a notice of something to know, or of an error.
    pub fn notify(&mut self, text: impl Into<String>, is_error: bool) {
        self.show_notice(text.into(), is_error, false);
    }

    /// Shows a notice of how something that was asked for has ended: it is done, or there is an error to see to.
    pub(super) fn notify_of_end(&mut self, text: impl Into<String>, is_error: bool) {
        self.show_notice(text.into(), is_error, !is_error);
    }

    fn show_notice(&mut self, text: String, is_error: bool, is_done: bool) {
        self.notices.retain(|notice| notice.text != text);
        self.notices.push(Notice { text, is_error, is_done, is_of_job: false, since: Instant::now() });
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

    /// A note of a round with the settings under their names in the window: `rows=64 columns=96` becomes
    /// `Input rows = 64, Input columns = 96`.
    pub fn with_named_settings(note: &str) -> String {
        let named = |word: &str| {
            let (key, value) = word.split_once('=')?;
            let setting = TABLE.iter().find(|setting| setting.key == key)?;
            Some(format!("{} = {value}", setting.label))
        };
        let mut text = String::new();
        let mut follows_setting = false;
        for (place, word) in note.split(' ').enumerate() {
            let setting = named(word);
            if place > 0 {
                text.push_str(if follows_setting && setting.is_some() { ", " } else { " " });
            }
            follows_setting = setting.is_some();
            text.push_str(setting.as_deref().unwrap_or(word));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_names_the_settings_as_the_window_does() {
        let note = "thin parts are not learned; set geometry=tiles rows=64 columns=96, or a larger input; a=b stays";
        let named = "thin parts are not learned; set Geometry = tiles, Input rows = 64, Input columns = 96, or a \
                     larger input; a=b stays";
        assert_eq!(App::with_named_settings(note), named);
        assert_eq!(App::with_named_settings(""), "");
    }
}
