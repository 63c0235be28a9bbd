//! Window and level of the images: which values are shown black and white.

use std::time::{Duration, Instant};

use crate::app::{App, OpenProject};
use crate::domain::picture::Levels;
use crate::worker::Write;

impl App {
    /// Stores changed levels once they have not changed for as long as `quiet`.
    pub(super) fn store_contrast(&mut self, quiet: Duration) {
        let Some(project) = self.project_mut() else { return };
        if project.contrast_changed.is_some_and(|at| at.elapsed() >= quiet) {
            project.contrast_changed = None;
            let contrast = project.contrast.clone();
            self.write(Write::Contrast(contrast));
        }
    }

    /// The values shown as black and white in the open image: as set, else the image's default.
    pub fn levels(&self) -> Levels {
        let project = self.project();
        let open = project.and_then(|project| Some((project, project.editor()?)));
        open.map_or(Levels::default(), |(project, editor)| {
            project.contrast.of(editor.image, editor.default_levels, editor.auto_levels)
        })
    }

    /// Sets the levels of the open image, or of all images; `None` restores the default.
    pub fn set_levels(&mut self, levels: Option<Levels>) {
        let Some(project) = self.project_mut() else { return };
        let Some(image) = project.editor().map(|editor| editor.image) else { return };
        project.contrast.set(image, levels);
        project.contrast_changed = Some(Instant::now());
    }

    /// Moves the level and widens the window by shares of the present window, so that a drag is as fine as the window is
    /// narrow.
    pub fn move_levels(&mut self, level: f32, window: f32) {
        let levels = self.levels();
        let width = levels.high - levels.low;
        self.set_levels(Some(levels.moved(level * width, window * width)));
    }

    /// Whether the open image's levels are fitted to it.
    pub fn are_levels_auto(&self) -> bool {
        let project = self.project();
        let image = project.and_then(OpenProject::editor).map(|editor| editor.image);
        project.zip(image).is_some_and(|(project, image)| project.contrast.is_auto(image))
    }

    /// Whether levels are set for each image, or for all.
    pub fn levels_per_image(&self) -> bool {
        self.project().is_some_and(|project| project.contrast.per_image)
    }

    /// Sets levels for each image, or for all.
    pub fn set_levels_per_image(&mut self, per_image: bool) {
        if let Some(project) = self.project_mut() {
            project.contrast.per_image = per_image;
            project.contrast_changed = Some(Instant::now());
        }
    }

    /// Fits the levels to each image, or to the open one where levels are set for each; where they are fitted already,
    /// shows the default.
    pub fn toggle_auto_levels(&mut self) {
        if self.are_levels_auto() {
            self.set_levels(None);
            if self.are_levels_auto() {
                // Every image is fitted: this one gets levels of its own.
                let default = self.project().and_then(OpenProject::editor).map(|editor| editor.default_levels);
                self.set_levels(default);
            }
            return;
        }
        let Some(project) = self.project_mut() else { return };
        let Some((image, auto)) = project.editor().map(|editor| (editor.image, editor.auto_levels)) else { return };
        project.contrast.fit(image, auto);
        project.contrast_changed = Some(Instant::now());
    }
}
