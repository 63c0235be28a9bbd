//! The last action on an image, which may no longer be open, and its undo.

use crate::app::{App, OpenProject};
use crate::domain::study::{ImageId, Review};
use crate::worker::Write;

/// What can be undone from the status bar.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LastAction {
    /// An image was marked as labelled, with this share of foreground if it is already known.
    Accepted(ImageId, Option<f64>),
    /// A pseudo-label was accepted or rejected, and what its review was before.
    Reviewed(ImageId, Review, Review),
}

impl LastAction {
    /// The image.
    pub fn image(self) -> ImageId {
        match self {
            Self::Accepted(image, _) | Self::Reviewed(image, ..) => image,
        }
    }
}

impl App {
    /// What was done last, in words.
    pub fn last_action_text(&self) -> Option<String> {
        let (action, project) = (self.last_action?, self.project()?);
        let name = &project.study.image(action.image())?.name;
        Some(match action {
            LastAction::Accepted(_, share) => {
                let share = share.map_or(String::new(), |share| format!(", {:.1} % foreground", 100.0 * share));
                let outside =
                    if project.editor().is_some_and(|editor| editor.image == action.image() && editor.tile.is_some()) {
                        "; outside the tile only what you painted is labelled"
                    } else {
                        ""
                    };
                format!("{name} accepted{share}{outside}")
            }
            LastAction::Reviewed(_, Review::Rejected, _) => format!("pseudo-label of {name} rejected"),
            LastAction::Reviewed(_, Review::Accepted | Review::Unreviewed, _) => {
                format!("pseudo-label of {name} accepted")
            }
        })
    }

    /// Undoes what was done last, and shows its image.
    pub fn undo_last_action(&mut self) {
        let Some(action) = self.last_action.take() else { return };
        let image = action.image();
        match action {
            LastAction::Reviewed(_, _, before) => {
                self.write(Write::Pseudo(image, before));
                self.show_anew(image);
            }
            LastAction::Accepted(..)
                if self.project().and_then(OpenProject::editor).is_some_and(|e| e.image == image) =>
            {
                self.undo();
            }
            LastAction::Accepted(..) => {
                self.show(image);
                self.undo_once_shown = Some(image);
            }
        }
    }

    /// Shows an image as it is stored now, reloading it if it is already open.
    pub(super) fn show_anew(&mut self, image: ImageId) {
        match self.project().and_then(|project| project.current.id()) {
            Some(open) if open == image => self.load_again(),
            Some(_) | None => self.show(image),
        }
    }

    /// Undoes the acceptance of an image that had to be loaded for it.
    pub(super) fn undo_if_asked(&mut self) {
        let open = self.project().and_then(OpenProject::editor).map(|editor| editor.image);
        if self.undo_once_shown.take_if(|asked| Some(*asked) == open).is_some() {
            self.undo();
        }
    }
}
