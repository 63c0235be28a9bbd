//! The open image: its pixels, its label, the gesture in progress, and the network's prediction.

mod clicking;
mod look;
mod task;

use std::sync::Arc;

use crate::app::AT_ONCE;
use crate::app::editor::clicking::Session;
pub use crate::app::editor::look::NextRegion;
use crate::app::editor::look::UncertainRegions;
pub use crate::app::editor::task::{Outdated, Task};
use crate::app::pen::{Nib, Pen};
use crate::domain::brush::{self, Point};
use crate::domain::edit::{BadEdit, Edit, Gesture, History, PixelRect, Step, Toggled};
use crate::domain::mask::Mask;
use crate::domain::metrics;
use crate::domain::picture::{Levels, Picture};
use crate::domain::prediction::Prediction;
use crate::domain::study::ImageId;
use crate::domain::tiles::Tile;
use crate::worker::Shown;

/// The parts of the label that the window has to redraw.
#[derive(Debug, Default)]
pub enum Stale {
    /// All of it, and the image too: another image is open.
    #[default]
    Everything,
    /// These rectangles.
    Parts(Vec<PixelRect>),
}

/// An image being labelled.
pub struct Editor {
    /// The image's key.
    pub image: ImageId,
    /// The part of it that was to be labelled when it was opened; `None`: all of it. A later query does not change it.
    pub tile: Option<Tile>,
    /// Its pixels.
    pub picture: Arc<Picture>,
    /// A downsampled version, if the image is large.
    pub overview: Option<Picture>,
    /// What the window has to draw again.
    pub stale: Stale,
    prediction: Option<Arc<Prediction>>,
    prediction_version: u64,
    /// Why the active model cannot predict it.
    unpredicted: Option<String>,
    /// Whether an edit is being computed beside the window.
    pub computing: bool,
    /// The levels fitted to this image; computed once.
    pub auto_levels: Levels,
    /// The levels at which it is shown unless others are set.
    pub default_levels: Levels,
    revision: u64,
    mask: Arc<Mask>,
    /// The network's pseudo-label, shown in the label's place until the user changes the label.
    pseudo_label: Option<Arc<Mask>>,
    /// The pseudo-label that the gesture in progress began from, and how it became the label.
    taken_up: Option<(Arc<Mask>, Edit)>,
    /// Another round's mask, shown in the label's place.
    compared: Option<Mask>,
    history: History,
    active: Option<Active>,
    session: Option<Session>,
    uncertain: Option<UncertainRegions>,
    /// Cached result of `has_both_unpainted`, with its revision.
    has_background: Option<(u64, bool)>,
}

/// A gesture in progress.
enum Active {
    Stroke { nib: Nib, gesture: Gesture, radius: f64, last: Point },
    Outline { pen: Pen, points: Vec<Point> },
    Polygon { pen: Pen, points: Vec<Point> },
    Box { from: Point, corners: Vec<Point>, is_positive: bool },
}

/// A change of the label that is to be stored.
#[derive(Debug)]
pub enum LabelChange {
    /// A new step, its number from 0.
    Step(usize, Step),
    /// After an undo or redo: the number of steps in effect, and whether the image is labelled if that changed.
    MoveTo(usize, Option<bool>),
}

impl Editor {
    /// The image as loaded.
    pub fn new(shown: Shown, tile: Option<Tile>) -> Self {
        let reduced = shown.overview.as_ref().unwrap_or(&shown.picture);
        let auto_levels = reduced.auto_levels();
        let default_levels = reduced.default_levels(|| auto_levels);
        Self {
            image: shown.image,
            tile,
            picture: shown.picture,
            overview: shown.overview,
            stale: Stale::Everything,
            prediction: shown.prediction,
            prediction_version: 0,
            unpredicted: None,
            computing: false,
            auto_levels,
            default_levels,
            revision: 0,
            mask: Arc::new(shown.label.mask),
            pseudo_label: shown.pseudo_label.map(Arc::new),
            taken_up: None,
            compared: None,
            history: shown.label.history,
            active: None,
            session: None,
            uncertain: None,
            has_background: None,
        }
    }

    /// The label as it stands, the stroke being drawn included.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// The mask drawn as the label: the label itself; the pseudo-label until the user changes it; or another round's
    /// predicted mask while that is compared with the active round's.
    pub fn drawn_mask(&self) -> &Mask {
        self.compared.as_ref().or(self.pseudo_label.as_deref()).unwrap_or(&self.mask)
    }

    /// Shows another round's prediction, thresholded to a mask, in the label's place; `None` shows the label again.
    ///
    /// A large image's mask is not smoothed, so that it does not delay the frame.
    pub fn set_compared(&mut self, prediction: Option<(&Arc<Prediction>, f32)>) {
        let (width, height) = (self.mask.width(), self.mask.height());
        let mask = |(prediction, threshold): (&Arc<Prediction>, f32)| {
            if width * height <= AT_ONCE {
                return prediction.mask(threshold, width, height);
            }
            prediction.mask(threshold, prediction.width, prediction.height).resized(width, height)
        };
        let compared = prediction.map(mask);
        if compared != self.compared {
            self.compared = compared;
            self.has_background = None;
            self.stale = Stale::Everything;
        }
    }

    /// Whether another round's prediction is shown in the label's place.
    pub fn has_compared(&self) -> bool {
        self.compared.is_some()
    }

    /// Shows the label instead of the pseudo-label.
    pub fn hide_pseudo_label(&mut self) {
        if self.pseudo_label.take().is_some() {
            self.stale = Stale::Everything;
            self.has_background = None;
        }
    }

    /// Makes the displayed pseudo-label the label that a gesture starts from, unless it is too large for a frame.
    /// Whether it stays the label is decided when the gesture ends.
    fn take_up_pseudo_label(&mut self) {
        if let Some(drawn) = self.pseudo_label.clone().filter(|drawn| drawn.pixels().len() <= AT_ONCE)
            && let Some(edit) = self.adopt_drawn()
        {
            self.taken_up = Some((drawn, edit));
        }
    }

    /// Shows the pseudo-label again after a gesture that did not change it.
    fn put_back_pseudo_label(&mut self) {
        if let Some((drawn, edit)) = self.taken_up.take() {
            self.toggle(&edit);
            self.pseudo_label = Some(drawn);
            self.has_background = None;
            self.stale = Stale::Everything;
        }
    }

    /// Ends a gesture and returns its steps, the adoption of a pseudo-label first; empty if it changed nothing.
    fn finish(&mut self, gesture: Gesture) -> Vec<LabelChange> {
        let Some(edit) = gesture.finish(&self.mask) else {
            self.put_back_pseudo_label();
            return Vec::new();
        };
        let taken_up = self.taken_up.take().map(|(_, edit)| edit);
        taken_up.into_iter().chain([edit]).map(|edit| self.made(edit.into())).collect()
    }

    /// Copies the displayed pseudo-label into the label; `None` if that changes nothing.
    fn adopt_drawn(&mut self) -> Option<Edit> {
        let edit = Edit::between(&self.mask, self.pseudo_label.as_ref()?)?;
        self.toggle(&edit);
        Some(edit)
    }

    /// Whether the pointer is drawing something.
    pub fn is_drawing(&self) -> bool {
        self.active.is_some()
    }

    /// Whether a pseudo-label is drawn in the label's place.
    pub fn has_pseudo_label(&self) -> bool {
        self.pseudo_label.is_some()
    }

    /// Dice between the prediction, thresholded at `threshold`, and the label, mean over classes; for an image of more
    /// than `AT_ONCE` pixels it is computed at the prediction's size. `None` without a prediction.
    pub fn corrective_dice(&self, threshold: f32, classes: usize) -> Option<f64> {
        let prediction = self.prediction.as_ref()?;
        let agreement = |label: &Mask| {
            let predicted = prediction.mask(threshold, label.width(), label.height());
            metrics::agreement(predicted.pixels(), label.pixels(), classes)
        };
        let is_small = self.mask.pixels().len() <= AT_ONCE;
        let label = if is_small { &*self.mask } else { &self.mask.resized(prediction.width, prediction.height) };
        Some(agreement(label).dice)
    }

    /// The active model's prediction for the image.
    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_deref()
    }

    /// The same, shared.
    pub fn shared_prediction(&self) -> Option<Arc<Prediction>> {
        self.prediction.clone()
    }

    /// The label, shared.
    pub fn shared_mask(&self) -> Arc<Mask> {
        self.mask.clone()
    }

    /// Grows with each change of the label.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Grows with each change of the prediction.
    pub fn prediction_version(&self) -> u64 {
        self.prediction_version
    }

    /// Sets the active model's prediction; `None` if it is not known.
    pub fn set_prediction(&mut self, prediction: Option<Arc<Prediction>>) {
        self.prediction = prediction;
        self.prediction_version += 1;
        (self.unpredicted, self.uncertain) = (None, None);
    }

    /// Keeps why the active model cannot predict the image.
    pub fn set_unpredicted(&mut self, reason: String) {
        self.unpredicted = Some(reason);
    }

    /// Why the active model cannot predict the image.
    pub fn unpredicted(&self) -> Option<&str> {
        self.unpredicted.as_deref()
    }

    /// The outline being drawn, and whether it is a polygon.
    pub fn outline(&self) -> Option<(&[Point], bool)> {
        match self.active.as_ref()? {
            Active::Stroke { .. } => None,
            Active::Outline { points, .. } => Some((points, false)),
            Active::Polygon { points, .. } => Some((points, true)),
            Active::Box { corners, .. } => Some((corners, false)),
        }
    }

    /// Whether there is a step to undo.
    pub fn can_undo(&self) -> bool {
        self.history.can_undo()
    }

    /// Whether there is a step to redo.
    pub fn can_redo(&self) -> bool {
        self.history.can_redo()
    }

    fn nib(&self, pen: Pen) -> Nib {
        Nib::new(pen, self.picture.clone(), self.prediction.clone(), (self.mask.width(), self.mask.height()))
    }

    /// Begins a stroke of the brush with a dab.
    pub fn press(&mut self, at: Point, pen: Pen, radius: f64) {
        self.take_up_pseudo_label();
        let nib = self.nib(pen);
        self.active = Some(Active::Stroke { nib, gesture: Gesture::default(), radius, last: at });
        self.brush(at, false);
    }

    /// Begins an outline that will be filled.
    pub fn press_outline(&mut self, at: Point, pen: Pen) {
        self.active = Some(Active::Outline { pen, points: vec![at] });
    }

    /// Begins a polygon, or sets its next corner.
    pub fn corner(&mut self, at: Point, pen: Pen) {
        match &mut self.active {
            Some(Active::Polygon { points, .. }) => points.push(at),
            None => self.active = Some(Active::Polygon { pen, points: vec![at] }),
            // A gesture in progress goes on.
            Some(Active::Stroke { .. } | Active::Outline { .. } | Active::Box { .. }) => {}
        }
    }

    /// Continues a stroke, an outline or a box.
    pub fn drag(&mut self, to: Point) {
        match &mut self.active {
            Some(Active::Stroke { .. }) => self.brush(to, true),
            Some(Active::Outline { points, .. }) => points.push(to),
            Some(Active::Box { from, corners, .. }) => *corners = Self::corners(*from, to),
            Some(Active::Polygon { .. }) | None => {}
        }
    }

    /// Changes the radius in the middle of a stroke, as a pen's pressure does.
    pub fn set_radius(&mut self, now: f64) {
        let Some(Active::Stroke { radius, last, .. }) = &mut self.active else { return };
        if now != *radius {
            *radius = now;
            let at = *last;
            self.brush(at, false);
        }
    }

    /// Paints from the last point to this one; with `again`, the brush's area at the last point is already painted.
    fn brush(&mut self, to: Point, again: bool) {
        let Some(Active::Stroke { nib, gesture, radius, last }) = &mut self.active else { return };
        let (width, height) = (self.mask.width(), self.mask.height());
        let mask = Arc::make_mut(&mut self.mask);
        let mut touched: Option<PixelRect> = None;
        let paint = |row: usize, columns: std::ops::Range<usize>| {
            grow(&mut touched, row, &columns);
            nib.paint(gesture, mask, row, columns);
        };
        if again {
            brush::advance(*last, to, *radius, width, height, paint);
        } else {
            brush::sweep(*last, to, *radius, width, height, paint);
        }
        *last = to;
        self.touch(touched.into_iter().collect());
    }

    /// Ends a stroke, or fills the outline drawn. A polygon goes on.
    pub fn release(&mut self) -> Vec<LabelChange> {
        match self.active.take() {
            Some(Active::Stroke { gesture, .. }) => self.finish(gesture),
            Some(Active::Outline { pen, points }) => {
                let gesture = self.fill(&points, pen);
                self.finish(gesture)
            }
            other @ (Some(Active::Polygon { .. } | Active::Box { .. }) | None) => {
                self.active = other;
                Vec::new()
            }
        }
    }

    /// Whether a polygon is being drawn.
    pub fn has_polygon(&self) -> bool {
        matches!(self.active, Some(Active::Polygon { .. }))
    }

    /// Removes the last corner of the polygon being drawn.
    pub fn remove_corner(&mut self) {
        if let Some(Active::Polygon { points, .. }) = &mut self.active {
            points.pop();
            if points.is_empty() {
                self.active = None;
            }
        }
    }

    /// Whether the label as drawn is entirely unlabelled.
    pub fn is_empty(&self) -> bool {
        self.drawn_mask().is_unlabelled()
    }

    /// Fills the polygon drawn.
    pub fn close_polygon(&mut self) -> Vec<LabelChange> {
        let Some(Active::Polygon { pen, points }) =
            self.active.take_if(|active| matches!(active, Active::Polygon { .. }))
        else {
            return Vec::new();
        };
        let gesture = self.fill(&points, pen);
        self.finish(gesture)
    }

    fn fill(&mut self, outline: &[Point], pen: Pen) -> Gesture {
        self.take_up_pseudo_label();
        let nib = self.nib(pen);
        let (width, height) = (self.mask.width(), self.mask.height());
        let mask = Arc::make_mut(&mut self.mask);
        let mut gesture = Gesture::default();
        let mut touched: Option<PixelRect> = None;
        brush::fill_outline(outline, width, height, |row, columns| {
            grow(&mut touched, row, &columns);
            nib.paint(&mut gesture, mask, row, columns);
        });
        self.touch(touched.into_iter().collect());
        gesture
    }

    /// Cancels the gesture in progress and restores the label.
    pub fn abandon(&mut self) {
        if let Some(Active::Stroke { gesture, .. }) = self.active.take()
            && let Some(edit) = gesture.finish(&self.mask)
        {
            self.toggle(&edit);
        }
        self.put_back_pseudo_label();
    }

    /// Marks the image as labelled; unpainted pixels stay unlabelled.
    pub fn accept_partly(&mut self) -> Option<LabelChange> {
        let edit = self.adopt_drawn().unwrap_or_default();
        Some(self.made(Step { edit, accepts: true }))
    }

    /// Marks the image as not labelled; its steps are kept.
    pub fn unaccept(&self) -> LabelChange {
        LabelChange::MoveTo(self.history.done(), Some(false))
    }

    /// Undoes the last step.
    pub fn undo(&mut self) -> Result<Option<LabelChange>, BadEdit> {
        self.abandon();
        let before = self.revision;
        let toggled = self.history.undo(Arc::make_mut(&mut self.mask))?;
        let moved = toggled.map(|toggled| self.moved(toggled));
        self.click_is_undone(before);
        Ok(moved)
    }

    /// Redoes the step undone last.
    pub fn redo(&mut self) -> Result<Option<LabelChange>, BadEdit> {
        self.abandon();
        let toggled = self.history.redo(Arc::make_mut(&mut self.mask))?;
        Ok(toggled.map(|toggled| self.moved(toggled)))
    }

    fn toggle(&mut self, edit: &Edit) {
        let touched = edit.toggle(Arc::make_mut(&mut self.mask)).unwrap_or_default();
        self.touch(touched);
    }

    fn made(&mut self, step: Step) -> LabelChange {
        self.hide_pseudo_label();
        if step.accepts {
            self.session = None;
        }
        let position = self.history.done();
        self.history.push(step.clone());
        LabelChange::Step(position, step)
    }

    fn moved(&mut self, Toggled { touched, labelled }: Toggled) -> LabelChange {
        self.touch(touched);
        LabelChange::MoveTo(self.history.done(), labelled)
    }

    fn touch(&mut self, rects: Vec<PixelRect>) {
        self.revision += 1;
        self.hide_pseudo_label();
        if let Stale::Parts(parts) = &mut self.stale {
            parts.extend(rects);
        }
    }
}

fn grow(touched: &mut Option<PixelRect>, row: usize, columns: &std::ops::Range<usize>) {
    let (across, down) = touched.get_or_insert((columns.clone(), row..row + 1));
    *across = across.start.min(columns.start)..across.end.max(columns.end);
    *down = down.start.min(row)..down.end.max(row + 1);
}
