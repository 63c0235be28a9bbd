//! The last action on an image, which may no longer be open, and its undo.

use crate::app::{App, OpenProject};
use crate::domain::study::{ImageId, Review};
use crate::worker::Write;

/// What can be undone from the status bar, until a label is edited, a job starts, or the second other image is open.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LastAction {
    image: ImageId,
    decision: Decision,
    /// The image opened after it: accepting one may go to the next.
    opened: Option<ImageId>,
}

/// What was decided about an image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    /// It was marked as labelled, with this share of foreground if it is already known.
    Accepted(Option<f64>),
    /// Its pseudo-label was accepted or rejected, and what its review was before.
    Reviewed(Review, Review),
}

impl LastAction {
    /// An image was marked as labelled, with this share of foreground if it is already known.
    pub(super) fn accepted(image: ImageId, share: Option<f64>) -> Self {
        Self { image, decision: Decision::Accepted(share), opened: None }
    }

    /// A pseudo-label was accepted or rejected, and what its review was before.
    pub(super) fn reviewed(image: ImageId, review: Review, before: Review) -> Self {
        Self { image, decision: Decision::Reviewed(review, before), opened: None }
    }

    /// The action once this image is open; `None` if it is the second other one.
    pub(super) fn after_opening(self, image: ImageId) -> Option<Self> {
        match self.opened {
            _ if image == self.image => Some(self),
            None => Some(Self { opened: Some(image), ..self }),
            Some(opened) => (opened == image).then_some(self),
        }
    }
}

impl App {
    /// What was done last, in words.
    pub fn last_action_text(&self) -> Option<String> {
        let (action, project) = (self.last_action?, self.project()?);
        let name = &project.study.image(action.image)?.name;
        Some(match action.decision {
            Decision::Accepted(share) => {
                let share = share.map_or(String::new(), |share| format!(", {:.1} % foreground", 100.0 * share));
                let outside =
                    if project.editor().is_some_and(|editor| editor.image == action.image && editor.tile.is_some()) {
                        "; outside the tile only what you painted is labelled"
                    } else {
                        ""
                    };
                format!("{name} accepted{share}{outside}")
            }
            Decision::Reviewed(Review::Rejected, _) => format!("pseudo-label of {name} rejected"),
            Decision::Reviewed(Review::Accepted | Review::Unreviewed, _) => format!("pseudo-label of {name} accepted"),
        })
    }

    /// Undoes what was done last, and shows its image.
    pub fn undo_last_action(&mut self) {
        let Some(LastAction { image, decision, .. }) = self.last_action.take() else { return };
        match decision {
            Decision::Reviewed(_, before) => {
                self.write(Write::Pseudo(image, before));
                self.show_anew(image);
            }
            Decision::Accepted(_) if self.project().and_then(OpenProject::editor).is_some_and(|e| e.image == image) => {
                self.undo();
            }
            Decision::Accepted(_) => {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acceptance_can_be_undone_until_a_second_other_image_is_open() {
        let accepted = LastAction::accepted(ImageId(1), None);
        let at_next = accepted.after_opening(ImageId(2)).unwrap();
        let back = at_next.after_opening(ImageId(1)).and_then(|action| action.after_opening(ImageId(2)));
        assert_eq!(back, Some(at_next), "between the two it stays");
        assert_eq!(at_next.after_opening(ImageId(3)), None);
    }
}
