//! Operations on the labels of many images, and copying a label to another image.

use std::sync::Arc;

use crate::app::pen::{Pen, Whole};
use crate::app::remedies::explained;
use crate::app::{App, Current, OpenProject};
use crate::domain::mask::Mask;
use crate::domain::remedy::Failure;
use crate::domain::study::{ImageId, ImageRecord};
use crate::worker::{ManyLabels, Request, StudyRegions};

/// Measurements of the regions of all labels.
#[derive(Debug, Default)]
pub enum StudyMeasurement {
    /// Not measured.
    #[default]
    No,
    /// Being measured.
    Coming,
    /// Measured; labels may have changed since.
    Known(StudyRegions),
}

impl App {
    /// Copies the open image's label.
    pub fn copy_label(&mut self) {
        self.release();
        let Some(project) = self.project() else { return };
        let Some(editor) = project.editor() else { return };
        let name = project.study.image(editor.image).map_or(String::new(), |image| image.name.clone());
        let text = format!("label of {name} copied; open an image of the same size and paste it");
        self.copied = Some(Arc::new(editor.drawn_mask().clone()));
        self.notify_of_end(text, false);
    }

    /// Replaces the open image's label with the copied one, as one step.
    pub fn paste_label(&mut self) {
        let Some(mask) = self.copied.clone() else { return };
        self.release();
        let pen = Pen { gate: None, ..self.pen(false) };
        self.whole(Whole::Replace(mask), pen, false);
    }

    /// Whether the label that was copied fits the open image.
    pub(super) fn copied_fits(&self) -> bool {
        let editor = self.project().and_then(OpenProject::editor);
        let size = |mask: &Mask| (mask.width(), mask.height());
        editor.zip(self.copied.as_ref()).is_some_and(|(editor, copied)| size(editor.mask()) == size(copied))
    }

    /// The images in the list to which an operation applies, every slice of a stack by itself.
    pub fn listed(&self, what: ManyLabels) -> Vec<ImageId> {
        let Some(project) = self.project() else { return Vec::new() };
        let images = project.list.behind.iter().map(|place| &project.study.images[*place]);
        let is_meant = |image: &&ImageRecord| match what {
            ManyLabels::Unaccept => image.labelled,
            ManyLabels::Clear => image.painted,
        };
        images.filter(is_meant).map(|image| image.id).collect()
    }

    /// Requests measurements of the labels of all labelled images.
    pub fn measure_study(&mut self) {
        self.release();
        self.study_regions = StudyMeasurement::Coming;
        self.ask(Request::StudyRegions);
    }

    pub(super) fn study_measured(&mut self, found: Result<StudyRegions, Failure>) {
        match found {
            Ok(regions) => self.study_regions = StudyMeasurement::Known(regions),
            Err(failure) => {
                self.study_regions = StudyMeasurement::No;
                self.notify(format!("the labels cannot be measured: {}", explained(&failure)), true);
            }
        }
    }

    /// Stores what is drawn and closes the open image until it is reloaded: its label is about to change on disk, and
    /// strokes painted in the meantime would belong to the old label.
    pub(super) fn close_editor(&mut self) {
        self.release();
        if let Some(project) = self.project_mut()
            && let Some(image) = project.current.id()
        {
            project.current = Current::Loading(image);
        }
    }

    /// Reloads the image that was closed for a change that then failed.
    pub(super) fn open_closed(&mut self) {
        if self.project().is_some_and(|project| matches!(project.current, Current::Loading(_))) {
            self.load_again();
        }
    }

    /// Asks the user whether an operation is to be applied to the labels of all images in the list.
    pub fn change_listed(&mut self, what: ManyLabels) {
        self.listed_change = Some(what);
    }

    /// The user's answer: applies the operation, or forgets it.
    pub fn answer_listed(&mut self, is_confirmed: bool) {
        let Some(what) = self.listed_change.take().filter(|_| is_confirmed) else { return };
        let images = self.listed(what);
        self.close_editor();
        self.ask(Request::ManyLabels(images, what));
    }
}
