//! The user's edits of the open image's label, and how they are stored.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::app::command::Command;
use crate::app::editor::{Editor, LabelChange, Outdated, Task};
use crate::app::list::next_pseudo;
use crate::app::{AT_ONCE, App, Ink, LastAction, OpenProject, Pen, Tool, Whole};
use crate::domain::brush::Point;
use crate::domain::cleanup::{Cleanup, Locked};
use crate::domain::edit::Edit;
use crate::domain::mask::{BACKGROUND, UNLABELLED, foreground_fraction};
use crate::domain::study::{Acceptance, ImageId, Review};
use crate::domain::tiles::Tile;
use crate::worker::{Computation, Request, Write};

impl App {
    /// The brush's radius in image pixels, where an image pixel takes `scale` points of the screen.
    pub fn radius_px(&self, scale: f64) -> f64 {
        if self.radius_on_screen { self.radius / scale } else { self.radius }
    }

    /// How the pointer paints now; with `erase`, as the eraser whatever the tool.
    pub(super) fn pen(&self, erase: bool) -> Pen {
        let ink = match self.tool {
            _ if erase => Ink::Class(BACKGROUND),
            Tool::Eraser => Ink::Class(BACKGROUND),
            Tool::Clear => Ink::Class(UNLABELLED),
            Tool::Adopt => Ink::Prediction,
            Tool::Brush | Tool::Outline | Tool::Polygon | Tool::Fill | Tool::Click => Ink::Class(self.class),
        };
        Pen { ink, gate: self.gate, locked: self.locked.clone(), threshold: self.threshold }
    }

    /// The pointer was pressed. `radius` is the brush's, in image pixels; with `erase`, it erases whatever the tool.
    pub fn press(&mut self, at: Point, radius: f64, erase: bool) {
        self.compare(None);
        // End a gesture of another kind first: what it painted is a separate step.
        self.release();
        if self.tool != Tool::Polygon {
            self.close_polygon();
        }
        if self.tool == Tool::Click && self.is_computing() {
            return self.hint("the click before is still being computed".to_owned());
        }
        let (tool, pen) = (self.tool, self.pen(erase));
        let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) else { return };
        match tool {
            Tool::Outline => editor.press_outline(at, pen),
            Tool::Polygon => editor.corner(at, pen),
            Tool::Click => editor.press_click(at, !erase),
            Tool::Fill => {
                let inside = |v: f64, side: usize| (v >= 0.0 && v < side as f64).then_some(v as usize);
                let (width, height) = (editor.mask().width(), editor.mask().height());
                if let (Some(x), Some(y)) = (inside(at.x, width), inside(at.y, height)) {
                    let tolerance = self.tolerance;
                    self.whole(Whole::Flood((x, y), tolerance), pen, false);
                }
            }
            Tool::Brush | Tool::Eraser | Tool::Clear | Tool::Adopt => editor.press(at, pen, radius),
        }
    }

    /// The pointer moved while pressed.
    pub fn drag(&mut self, to: Point) {
        if let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) {
            editor.drag(to);
        }
    }

    /// The brush's radius changed during a stroke, by the pressure of a pen.
    pub fn set_pen_radius(&mut self, radius: f64) {
        if let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) {
            editor.set_radius(radius);
        }
    }

    /// Closes the polygon being drawn.
    pub fn close_polygon(&mut self) {
        let is_drawn = self.project().and_then(OpenProject::editor).is_some_and(Editor::has_polygon);
        let has_changed = self.edit(|editor| editor.close_polygon());
        if is_drawn && !has_changed {
            self.tell_of_gate();
        }
    }

    /// Applies a clean-up operation to the chosen class.
    pub fn clean_up(&mut self, cleanup: Cleanup) {
        let (class, pen) = (self.class, Pen { gate: None, ..self.pen(false) });
        self.whole(Whole::Cleanup(cleanup, class), pen, false);
    }

    /// Edits the whole label: immediately if it is small, else in the background.
    pub(super) fn whole(&mut self, what: Whole, pen: Pen, accepts: bool) {
        self.close_polygon(); // A polygon being drawn becomes part of the label.
        let is_gated = pen.gate.is_some();
        let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) else { return };
        let is_click = matches!(what, Whole::Clicks(_));
        let Some(Task { revision, accepts, edit }) = editor.task(what, pen, accepts) else { return };
        let (image, pixels) = (editor.image, editor.mask().pixels().len());
        // A click takes longer than a frame whatever the image's size.
        if pixels <= AT_ONCE && !is_click {
            let edit = edit();
            let has_changed = edit.is_some();
            self.take(image, revision, edit, accepts);
            if is_gated && !has_changed {
                self.tell_of_gate();
            }
            return;
        }
        editor.computing = true;
        self.ask(Request::Compute(Computation { image, revision, accepts, edit }));
    }

    /// Applies a computed edit.
    pub(super) fn take(&mut self, image: ImageId, revision: u64, edit: Option<Edit>, accepts: bool) {
        let mut outdated = false;
        if self.project().and_then(OpenProject::editor).is_none_or(|editor| editor.image != image) {
            return;
        }
        self.edit(|editor| match editor.take(revision, edit, accepts) {
            Ok(change) => change,
            Err(Outdated) => {
                outdated = true;
                Vec::new()
            }
        });
        if outdated {
            self.notify("the label changed while this was being computed; try again", false);
        }
        if let Some(image) = self.wanted.take() {
            self.show(image);
        }
    }

    /// The pointer was released: stores what was painted.
    pub fn release(&mut self) {
        let class = self.class;
        if let Some(clicked) = self.project_mut().and_then(OpenProject::editor_mut).and_then(|e| e.release_click(class))
        {
            let pen = self.pen(false);
            self.whole(clicked, pen, false);
        }
        let editor = self.project().and_then(OpenProject::editor);
        let is_drawn = editor.is_some_and(|editor| editor.is_drawing() && !editor.has_polygon());
        let has_changed = self.edit(|editor| editor.release());
        if is_drawn && !has_changed {
            self.tell_of_gate();
        }
    }

    /// Tells that what was drawn has changed nothing, if a gate may be the reason.
    fn tell_of_gate(&mut self) {
        if let Some(pixels) = self.gated_pixels() {
            self.notify(format!("nothing was painted: only {pixels} are painted (Only where)"), false);
        }
    }

    /// Changes the label and stores the changes; returns whether there are any.
    pub(super) fn edit<C: IntoIterator<Item = LabelChange>>(&mut self, change: impl FnOnce(&mut Editor) -> C) -> bool {
        self.compare(None);
        let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) else { return false };
        let (image, changes) = (editor.image, change(editor));
        let mut has_changed = false;
        for change in changes {
            has_changed = true;
            self.last_action = None;
            match change {
                LabelChange::Step(position, step) => {
                    let accepts = step.accepts;
                    self.write(Write::Step { image, position, step });
                    if accepts {
                        self.accepted(image);
                    }
                }
                LabelChange::MoveTo(done, labelled) => self.write(Write::MoveTo { image, done, labelled }),
            }
        }
        has_changed
    }

    /// Records the effort spent on the label just accepted.
    pub(super) fn accepted(&mut self, image: ImageId) {
        let seconds = self.attention.take(image);
        let threshold = self.threshold;
        let Some(project) = self.project_mut() else { return };
        let round = project.study.active_round().map(|round| round.report.round);
        let dice = project.editor().and_then(|editor| editor.corrective_dice(threshold, project.study.classes.len()));
        let at_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let acceptance = Acceptance { image, at_s, seconds, round: round.filter(|_| dice.is_some()), dice };
        self.write(Write::Accepted(acceptance));
        let label = self.project().and_then(OpenProject::editor).map(|editor| editor.mask().pixels());
        let share = label.filter(|pixels| pixels.len() <= AT_ONCE).map(foreground_fraction);
        self.last_action = Some(LastAction::accepted(image, share));
    }

    /// Sets the review of the open image's pseudo-label.
    pub fn set_pseudo(&mut self, state: Review) {
        if state == Review::Accepted && !self.is_label_seen() {
            return;
        }
        let Some(project) = self.project_mut() else { return };
        let Some(image) = project.current.id() else { return };
        if let Some(editor) = project.editor_mut().filter(|_| state == Review::Rejected) {
            editor.hide_pseudo_label();
        }
        let before = project.study.image(image).and_then(|record| record.pseudo).unwrap_or(Review::Unreviewed);
        self.write(Write::Pseudo(image, state));
        if state == Review::Unreviewed {
            self.last_action = None;
            // Show a rejected pseudo-label again.
            self.show_anew(image);
            return;
        }
        self.last_action = Some(LastAction::reviewed(image, state, before));
        let next = self.project().and_then(|project| next_pseudo(&project.study.images, Some(image)));
        if let (Some(next), true) = (next, state != Review::Unreviewed) {
            self.show(next);
        }
    }

    /// Moves by one step, and tells if that has accepted the image or undone its acceptance; `done` is the word for it.
    fn step_back_or_forth<E: std::fmt::Display>(
        &mut self,
        done: &str,
        step: fn(&mut Editor) -> Result<Option<LabelChange>, E>,
    ) {
        let mut told = None;
        self.edit(|editor| {
            let change = step(editor).unwrap_or_else(|error| {
                told = Some((error.to_string(), true));
                None
            });
            if let Some(LabelChange::MoveTo(_, Some(is_labelled))) = &change {
                let now = if *is_labelled { "accepted again" } else { "not accepted any more" };
                told = Some((format!("{done}: the image is {now}"), false));
            }
            change
        });
        if let Some((text, is_error)) = told {
            self.notify(text, is_error);
        }
    }

    /// Undoes the last step on the open image.
    pub fn undo(&mut self) {
        self.step_back_or_forth("undone", Editor::undo);
    }

    /// Redoes the step undone last.
    pub fn redo(&mut self) {
        self.step_back_or_forth("redone", Editor::redo);
    }

    /// Cancels the stroke being drawn.
    pub fn abandon_stroke(&mut self) {
        if let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) {
            if editor.is_drawing() {
                editor.abandon();
            } else {
                editor.end_clicks();
            }
        }
    }

    /// Copies the predicted mask into the label.
    pub fn adopt_prediction(&mut self) {
        self.whole(Whole::Adopt, Pen { gate: None, ..self.pen(false) }, false);
    }

    fn is_labelled(&self) -> bool {
        let project = self.project();
        let record = project.and_then(|project| project.study.image(project.editor()?.image));
        record.is_some_and(|record| record.labelled)
    }

    /// Removes the last corner of the polygon being drawn.
    pub fn remove_corner(&mut self) {
        if let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) {
            editor.remove_corner();
        }
    }

    /// Called once per frame: whether the window draws the open image's label nowhere.
    pub fn set_label_hidden(&mut self, is_hidden: bool) {
        self.attention.is_label_hidden = is_hidden;
    }

    /// Whether the window has to show the label, because the user wants to accept it; asked once per frame.
    pub fn takes_wish_for_label(&mut self) -> bool {
        std::mem::take(&mut self.attention.wants_label)
    }

    /// Whether the label to be accepted is on screen; if not, the window shows it, and it has to be accepted again.
    fn is_label_seen(&mut self) -> bool {
        let is_hidden = self.attention.is_label_hidden;
        if is_hidden {
            self.attention.wants_label = true;
            self.notify("the label was hidden and is shown now; accept again", false);
        }
        !is_hidden
    }

    /// Marks the open image as labelled; unpainted pixels become background, but those outside the proposed tile stay
    /// unlabelled. Returns whether the image was accepted: a polygon being drawn is closed instead, and an image with
    /// nothing painted, or whose label is hidden, needs to be accepted twice.
    pub fn accept(&mut self) -> bool {
        let tile = self.project().and_then(OpenProject::tile);
        let Some(editor) = self.project().and_then(OpenProject::editor) else { return false };
        let image = editor.image;
        if editor.has_polygon() {
            self.close_polygon();
            return false;
        }
        let is_empty = editor.is_empty();
        if !self.is_label_seen() {
            return false;
        }
        if is_empty && self.confirming_empty != Some(image) {
            self.confirming_empty = Some(image);
            let what = tile.map_or("all of it", |_| "the outlined tile");
            self.notify(format!("nothing is painted in this image; accept again to label {what} as background"), false);
            return false;
        }
        self.confirming_empty = None;
        self.release();
        self.rest_is_background(tile, !self.is_labelled());
        true
    }

    /// Accepts, and goes to the next proposed image; before the first query to the next unlabelled one.
    pub fn accept_and_next(&mut self) {
        if !self.accept() {
            return;
        }
        let project = self.project().filter(|project| project.study.rounds.is_empty());
        match project.filter(|project| project.next_proposed().is_none()).map(OpenProject::next_unlabelled) {
            Some(Some(image)) => self.show(image),
            Some(None) => {
                let train = Command::Train.row().titled();
                self.notify(format!("every image in the list is labelled; next: {train}"), false);
            }
            None => self.show_next_proposed(),
        }
    }

    /// Marks the open image as labelled; unpainted pixels stay unlabelled.
    pub fn accept_partly(&mut self) {
        self.close_polygon();
        if self.project().and_then(OpenProject::editor).is_some_and(Editor::is_empty) {
            return self.notify(
                "nothing is painted in this image: there is nothing to train on; paint something first",
                false,
            );
        }
        if !self.is_label_seen() {
            return;
        }
        self.release();
        if !self.is_labelled() {
            self.edit(|editor| editor.accept_partly());
        }
    }

    /// Makes the open image count as unlabelled again; what is painted stays.
    pub fn unaccept(&mut self) {
        self.release();
        self.edit(|editor| Some(editor.unaccept()));
    }

    /// Labels all unlabelled pixels, or those of a tile, as background, and where `accepts` says so, marks the image as
    /// labelled.
    pub fn rest_is_background(&mut self, tile: Option<Tile>, accepts: bool) {
        let pen = Pen { gate: None, locked: Locked::default(), ..self.pen(false) };
        self.whole(Whole::RestIsBackground(tile), pen, accepts);
    }
}
