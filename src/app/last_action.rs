//! What was done last to an image that may no longer be open, and how to undo it.

use crate::app::{App, OpenProject};
use crate::domain::mask::foreground_fraction;
use crate::domain::study::{ImageId, Review};
use crate::worker::Write;

/// What can be undone from the status bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastAction {
    /// An image was marked as labelled.
    Accepted(ImageId),
    /// A pseudo-label was accepted or rejected.
    Reviewed(ImageId, Review),
}

impl LastAction {
    /// The image.
    pub fn image(self) -> ImageId {
        match self {
            Self::Accepted(image) | Self::Reviewed(image, _) => image,
        }
    }
}

impl App {
    /// What was done last, in words.
    pub fn last_action_text(&self) -> Option<String> {
        let (action, project) = (self.last_action?, self.project()?);
        let name = &project.study.image(action.image())?.name;
        Some(match action {
            LastAction::Accepted(image) => {
                let share = project
                    .editor()
                    .filter(|editor| editor.image == image)
                    .map(|editor| format!(", {:.1} % foreground", 100.0 * foreground_fraction(editor.mask().pixels())));
                format!("{name} accepted{}", share.unwrap_or_default())
            }
            LastAction::Reviewed(_, Review::Rejected) => format!("pseudo-label of {name} rejected"),
            LastAction::Reviewed(_, Review::Accepted | Review::Unreviewed) => {
                format!("pseudo-label of {name} accepted")
            }
        })
    }

    /// Undoes what was done last, and shows its image.
    pub fn undo_last_action(&mut self) {
        let Some(action) = self.last_action.take() else { return };
        let image = action.image();
        match action {
            LastAction::Reviewed(..) => {
                self.write(Write::Pseudo(image, Review::Unreviewed));
                self.show(image);
            }
            LastAction::Accepted(_)
                if self.project().and_then(OpenProject::editor).is_some_and(|e| e.image == image) =>
            {
                self.undo();
            }
            LastAction::Accepted(_) => {
                self.show(image);
                self.undo_once_shown = Some(image);
            }
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
