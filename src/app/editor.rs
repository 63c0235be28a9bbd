//! The open image: its pixels, its label, the gesture being drawn, what the network says of it.

use std::sync::Arc;

use image::RgbaImage;

use crate::domain::brush::{self, Point};
use crate::domain::edit::{BadEdit, Edit, Gesture, History, PixelRect, Step};
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::prediction::Prediction;
use crate::worker::{ImageId, Shown};

/// What of the label the window has not drawn yet.
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
    /// Which.
    pub image: ImageId,
    /// Its pixels.
    pub pixels: RgbaImage,
    prediction: Option<Arc<Prediction>>,
    prediction_version: u64,
    /// What the window has to draw again.
    pub stale: Stale,
    mask: Mask,
    history: History,
    gesture: Option<Stroke>,
}

/// A stroke being drawn.
struct Stroke {
    gesture: Gesture,
    class: u8,
    radius: f64,
    last: Point,
}

/// A change of the label that is to be stored.
#[derive(Debug)]
pub enum Change {
    /// A new step, its number from 0.
    Step(usize, Step),
    /// After an undo or redo: how many steps hold, and whether the image is labelled where that changed.
    MoveTo(usize, Option<bool>),
}

impl Editor {
    /// The image as loaded.
    pub fn new(shown: Shown) -> Self {
        Self {
            image: shown.image,
            pixels: shown.pixels,
            prediction: shown.prediction,
            prediction_version: 0,
            stale: Stale::Everything,
            mask: shown.label.mask,
            history: shown.label.history,
            gesture: None,
        }
    }

    /// The label as it stands, the stroke being drawn included.
    pub fn mask(&self) -> &Mask {
        &self.mask
    }

    /// What the active model says of the image.
    pub fn prediction(&self) -> Option<&Prediction> {
        self.prediction.as_deref()
    }

    /// Grows with each change of the prediction.
    pub fn prediction_version(&self) -> u64 {
        self.prediction_version
    }

    /// Takes what the active model says, or that this is not known.
    pub fn set_prediction(&mut self, prediction: Option<Arc<Prediction>>) {
        self.prediction = prediction;
        self.prediction_version += 1;
    }

    /// Whether a stroke is being drawn.
    pub fn is_drawing(&self) -> bool {
        self.gesture.is_some()
    }

    /// Whether there is a step to undo.
    pub fn can_undo(&self) -> bool {
        self.history.can_undo()
    }

    /// Whether there is a step to redo.
    pub fn can_redo(&self) -> bool {
        self.history.can_redo()
    }

    /// Begins a stroke with a dab.
    pub fn press(&mut self, at: Point, class: u8, radius: f64) {
        self.gesture = Some(Stroke { gesture: Gesture::default(), class, radius, last: at });
        self.drag(at);
    }

    /// Goes on with the stroke.
    pub fn drag(&mut self, to: Point) {
        let Some(stroke) = &mut self.gesture else { return };
        let (width, height) = (self.mask.width(), self.mask.height());
        let mut touched: Option<PixelRect> = None;
        let (mask, gesture) = (&mut self.mask, &mut stroke.gesture);
        brush::sweep(stroke.last, to, stroke.radius, width, height, |row, columns| {
            let (across, down) = touched.get_or_insert((columns.clone(), row..row + 1));
            *across = across.start.min(columns.start)..across.end.max(columns.end);
            down.end = row + 1;
            gesture.paint(mask, row, columns, stroke.class);
        });
        stroke.last = to;
        self.touch(touched.into_iter().collect());
    }

    /// Ends the stroke; `None` where it changed nothing.
    pub fn release(&mut self) -> Option<Change> {
        let edit = self.gesture.take()?.gesture.finish(&self.mask)?;
        Some(self.made(edit.into()))
    }

    /// Gives up the stroke being drawn: the label is as before it.
    pub fn abandon(&mut self) {
        let Some(stroke) = self.gesture.take() else { return };
        if let Some(edit) = stroke.gesture.finish(&self.mask) {
            let touched = edit.toggle(&mut self.mask).unwrap_or_default();
            self.touch(touched);
        }
    }

    /// Copies the mask predicted at `threshold` into the label; `None` where that changes nothing.
    pub fn adopt(&mut self, threshold: f32) -> Option<Change> {
        let predicted = self.prediction.as_ref()?.mask(threshold, self.mask.width(), self.mask.height());
        self.replace(predicted, false)
    }

    /// Declares the image labelled: what nobody painted is background.
    pub fn accept(&mut self) -> Change {
        let pixels = self.mask.pixels().iter().map(|&class| if class == UNLABELLED { BACKGROUND } else { class });
        let full = Mask::from_pixels(self.mask.width(), self.mask.height(), pixels.collect()).expect("as many pixels");
        match self.replace(full, true) {
            Some(change) => change,
            None => self.made(Step { edit: Edit::default(), accepts: true }),
        }
    }

    /// Takes the last step back.
    pub fn undo(&mut self) -> Result<Option<Change>, BadEdit> {
        self.abandon();
        let toggled = self.history.undo(&mut self.mask)?;
        Ok(toggled.map(|toggled| self.moved(toggled.touched, toggled.accepts.then_some(false))))
    }

    /// Makes the step again that was taken back.
    pub fn redo(&mut self) -> Result<Option<Change>, BadEdit> {
        self.abandon();
        let toggled = self.history.redo(&mut self.mask)?;
        Ok(toggled.map(|toggled| self.moved(toggled.touched, toggled.accepts.then_some(true))))
    }

    fn replace(&mut self, mask: Mask, accepts: bool) -> Option<Change> {
        self.abandon();
        let edit = Edit::between(&self.mask, &mask)?;
        let touched = edit.toggle(&mut self.mask).unwrap_or_default();
        self.touch(touched);
        Some(self.made(Step { edit, accepts }))
    }

    fn made(&mut self, step: Step) -> Change {
        let position = self.history.done();
        self.history.push(step.clone());
        Change::Step(position, step)
    }

    fn moved(&mut self, touched: Vec<PixelRect>, labelled: Option<bool>) -> Change {
        self.touch(touched);
        Change::MoveTo(self.history.done(), labelled)
    }

    fn touch(&mut self, rects: Vec<PixelRect>) {
        if let Stale::Parts(parts) = &mut self.stale {
            parts.extend(rects);
        }
    }
}
