//! The slices of a stack: scrolling through them, and deriving a slice's label from other slices.

use crate::app::{App, OpenProject};
use crate::app::{Pen, Whole};
use crate::domain::mask::Mask;
use crate::domain::study::{ImageId, ImageRecord};
use crate::worker::{Request, SliceLabel};

impl OpenProject {
    /// The slices of the stack that the open image belongs to, in order; empty if it is not part of a stack.
    pub fn slices(&self) -> &[ImageRecord] {
        let of = |image: &ImageRecord| image.stack.as_ref().map(|(stack, _)| stack.clone());
        let at = self.current.id().and_then(|id| self.study.images.iter().position(|image| image.id == id));
        let Some((at, stack)) = at.and_then(|at| Some((at, of(&self.study.images[at])?))) else { return &[] };
        // The slices of a stack follow each other in the project's order.
        let is_of_it = |image: &&ImageRecord| image.stack.as_ref().is_some_and(|(name, _)| *name == stack);
        let before = self.study.images[..at].iter().rev().take_while(is_of_it).count();
        let after = self.study.images[at..].iter().take_while(is_of_it).count();
        &self.study.images[at - before..at + after]
    }

    /// The open image's place among its slices, from 0.
    pub fn slice(&self) -> Option<usize> {
        self.slices().iter().position(|image| Some(image.id) == self.current.id())
    }
}

impl App {
    /// Shows the slice `steps` further on; for an image that is not a slice, the image `steps` further down the list.
    pub fn show_slice(&mut self, steps: isize) {
        let Some(project) = self.project() else { return };
        let Some(slice) = project.slice() else { return self.show_neighbour(steps) };
        let next = slice.checked_add_signed(steps).and_then(|slice| project.slices().get(slice)).map(|image| image.id);
        if let Some(image) = next {
            self.show(image);
        }
    }

    /// Requests a label for the open slice derived from other slices.
    pub fn label_from_slices(&mut self, from: SliceLabel) {
        self.release();
        if let Some(image) = self.project().and_then(OpenProject::editor).map(|editor| editor.image) {
            self.ask(Request::SliceLabel(image, from));
        }
    }

    /// Replaces the open image's label with one that was requested, as one step.
    pub(super) fn take_slice_label(&mut self, image: ImageId, label: Mask) {
        if self.project().and_then(OpenProject::editor).is_some_and(|editor| editor.image == image) {
            let pen = Pen { gate: None, ..self.pen(false) };
            self.whole(Whole::Replace(label.into()), pen, false);
        }
    }
}
