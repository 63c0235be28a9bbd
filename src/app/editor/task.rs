//! Edits of the whole label, computed at once or on another thread.

use crate::app::AT_ONCE;
use crate::app::editor::{Editor, LabelChange};
use crate::app::pen::{Pen, Whole};
use crate::domain::edit::{Edit, Step};

/// An edit to be computed by the caller, immediately or on another thread.
pub struct Task {
    /// The revision of the label that it starts from.
    pub revision: u64,
    /// Whether it also declares the image labelled.
    pub accepts: bool,
    /// Gives the edit; `None` where nothing changes.
    pub edit: Box<dyn FnOnce() -> Option<Edit> + Send>,
}

/// The label changed while an edit of it was computed.
#[derive(Debug)]
pub struct Outdated;

impl Editor {
    /// The task that computes the whole-label edit `what`; `None` if it needs a prediction and there is none. `pen`
    /// holds the locked classes and the ink of a flood fill. If a pseudo-label is shown, that is what is edited.
    pub fn task(&mut self, what: Whole, pen: Pen, accepts: bool) -> Option<Task> {
        self.abandon();
        let (mask, nib) = (self.mask.clone(), self.nib(Pen { ink: what.ink(pen.ink.clone()), ..pen }));
        if matches!(what, Whole::Adopt) && self.prediction.is_none() {
            return None;
        }
        let drawn = self.pseudo_label.clone();
        let edit = move || {
            let from = drawn.as_ref().unwrap_or(&mask);
            let after = what.apply(from, &nib);
            if accepts || after != **from { Edit::between(&mask, &after) } else { None }
        };
        Some(Task { revision: self.revision, accepts, edit: Box::new(edit) })
    }

    /// Applies the result of a task; an error if the label has changed since the task began.
    pub fn take(&mut self, revision: u64, edit: Option<Edit>, accepts: bool) -> Result<Vec<LabelChange>, Outdated> {
        self.computing = false;
        if revision != self.revision || self.active.is_some() {
            self.session = None;
            return Err(Outdated);
        }
        let drawn = self.pseudo_label.clone().filter(|drawn| drawn.pixels().len() <= AT_ONCE && !accepts);
        let adoption = drawn.as_ref().filter(|_| edit.is_some()).and_then(|drawn| Edit::between(&self.mask, drawn));
        if let Some(edit) = &edit {
            self.toggle(edit);
        }
        self.click_is_done(edit.is_some());
        if edit.is_none() && !accepts {
            return Ok(Vec::new());
        }
        // As with a stroke, adopting the pseudo-label is a separate step.
        if let (Some(drawn), Some(adoption)) = (drawn, adoption) {
            let rest = Edit::between(&drawn, &self.mask).unwrap_or_default();
            return Ok(vec![self.made(adoption.into()), self.made(rest.into())]);
        }
        Ok(vec![self.made(Step { edit: edit.unwrap_or_default(), accepts })])
    }
}
