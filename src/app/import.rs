//! An import, from choosing the folders to its end.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::app::remedies::explained;
use crate::app::{App, Current};
use crate::domain::remedy::Failure;
use crate::domain::settings::Settings;
use crate::domain::study::ImageRecord;
use crate::domain::text::counted;
use crate::worker::{FilesFound, ImportRules, ImportTarget, PlannedImport, Request, Summary};

/// An import that is being planned, waits for the user, or is running.
pub struct OpenImport {
    /// What is imported.
    pub target: ImportTarget,
    /// The rules that the user has set for it.
    pub rules: ImportRules,
    /// What it would do; `None` while that is being worked out.
    pub summary: Option<Summary>,
    /// How many of the images that have a mask are labelled already.
    pub labelled: usize,
    /// Why it cannot be planned.
    pub error: Option<String>,
    /// Whether it is being done.
    pub is_being_done: bool,
    /// Settings of the new project.
    settings: Settings,
}

impl App {
    /// Why nothing can be imported now.
    pub fn import_obstacle(&self) -> Option<&'static str> {
        match (&self.job, self.is_computing()) {
            (Some(_), _) => Some("a job is running"),
            (None, true) => Some("an edit is still being computed"),
            (None, false) => None,
        }
    }

    /// Requests a plan of what an import would do.
    pub fn plan_import(&mut self, target: ImportTarget, settings: Settings) {
        if let Some(obstacle) = self.import_obstacle() {
            return self.notify(format!("nothing can be imported now: {obstacle}"), false);
        }
        self.release();
        let rules = ImportRules::default();
        self.import = Some(OpenImport {
            target: target.clone(),
            rules: rules.clone(),
            summary: None,
            labelled: 0,
            error: None,
            is_being_done: false,
            settings,
        });
        self.ask(Request::PlanImport(target, Box::new(rules)));
    }

    /// Changes the rules of the import and plans it again.
    pub fn settle_import(&mut self, rules: ImportRules) {
        let Some(import) = self.import.as_mut().filter(|import| !import.is_being_done) else { return };
        import.rules = rules.clone();
        // What was found by the earlier rules must not be imported.
        (import.summary, import.error) = (None, None);
        let target = import.target.clone();
        self.ask(Request::PlanImport(target, Box::new(rules)));
    }

    /// Performs the import unless questions remain.
    pub fn do_import(&mut self) {
        let Some(import) = self.import.as_ref().filter(|_| self.import_obstacle().is_none()) else { return };
        if import.is_being_done || import.summary.as_ref().is_none_or(|summary| !summary.questions.is_empty()) {
            return;
        }
        let settings = Box::new(import.settings.clone());
        let is_begun = match import.target.clone() {
            ImportTarget::Project { root, .. } => self.begin_opening(root, Request::Import(settings)),
            ImportTarget::Masks(_) => {
                self.close_editor();
                self.ask(Request::Import(settings));
                true
            }
        };
        if let Some(import) = &mut self.import {
            import.is_being_done = is_begun;
        }
    }

    /// Forgets the import.
    pub fn abandon_import(&mut self) {
        if self.import.take().is_some() {
            self.ask(Request::AbandonImport);
        }
    }

    /// Progress of the import that is being planned or performed: files done, total files.
    pub fn import_progress(&self) -> Option<(usize, usize)> {
        self.worker.import_progress()
    }

    /// Sets the new location of the folder of images.
    pub fn locate_images(&mut self, folder: PathBuf) {
        self.ask(Request::Relocate(folder));
    }

    /// Removes the open image from the project and shows its neighbour in the list.
    pub fn remove_image(&mut self) {
        self.release();
        let Some(project) = self.project() else { return };
        let Some(image) = project.current.id() else { return };
        let next =
            [1, -1].into_iter().find_map(|steps| project.list.neighbour(&project.study.images, Some(image), steps));
        self.ask(Request::RemoveImage(image));
        if let Some(project) = self.project_mut() {
            project.current = Current::None;
        }
        if let Some(next) = next.filter(|next| *next != image) {
            self.show(next);
        }
        self.notify_of_end("image removed; Restore removed images brings it back with its label", false);
    }

    /// Reports which of the project's files are new, missing or replaced.
    pub(super) fn files_checked(&mut self, found: &FilesFound) {
        let FilesFound { added, missing, replaced, .. } = found;
        let count =
            |count: usize, thing: &str, what: &str| (count > 0).then(|| format!("{}{what}", counted(count, thing)));
        let parts: Vec<String> = [
            count(*added, "new image", if found.was_asked { "" } else { " (Look for new files adds them)" }),
            count(*missing, "missing file", " (use Locate images if the folder was moved)"),
            count(*replaced, "file", " replaced after labelling, and left out"),
        ]
        .into_iter()
        .flatten()
        .collect();
        match parts.as_slice() {
            [] if found.was_asked => self.notify("no file is new, missing or replaced", false),
            [] => {}
            parts => self.notify(parts.join("; "), missing + replaced > 0),
        }
        if matches!(self.project().map(|project| &project.current), Some(Current::Failed(..))) {
            self.load_again();
        }
    }

    pub(super) fn import_planned(&mut self, planned: PlannedImport) {
        // Ignore an answer for earlier rules that the user has changed since.
        let labelled = self.project().map_or(0, |project| labelled_with_mask(&project.study.images, &planned));
        if let Some(import) = &mut self.import
            && (import.target == planned.target && import.rules == planned.rules)
        {
            (import.summary, import.labelled) = (Some(planned.summary), labelled);
        }
    }

    pub(super) fn import_failed(&mut self, failure: &Failure) {
        if let Some(import) = &mut self.import {
            import.error = Some(explained(failure));
            import.summary = None;
        }
    }
}

/// How many of the image files that a plan has masks for are labelled already, with all their pages.
fn labelled_with_mask(images: &[ImageRecord], planned: &PlannedImport) -> usize {
    let masks = match planned.target {
        ImportTarget::Masks(_) => planned.summary.masks.as_ref(),
        ImportTarget::Project { .. } => None,
    };
    let mut by_name: HashMap<&OsStr, Vec<&ImageRecord>> = HashMap::new();
    for image in images {
        by_name.entry(image.path.file_name().unwrap_or_default()).or_default().push(image);
    }
    let with_mask: HashSet<&str> =
        masks.iter().flat_map(|masks| masks.pairs.values().flatten()).map(|(image, _)| image.as_str()).collect();
    let is_labelled = |path: &&str| {
        let path = Path::new(*path);
        let named = by_name.get(path.file_name().unwrap_or_default()).map_or(&[][..], Vec::as_slice);
        let same = || named.iter().filter(move |image| image.path.ends_with(path));
        // The path begins in the folder of images: a file in a deeper folder is another one.
        let depth = same().map(|image| image.path.components().count()).min();
        let mut pages = same().filter(|image| Some(image.path.components().count()) == depth);
        depth.is_some() && pages.all(|image| image.labelled)
    };
    with_mask.into_iter().filter(is_labelled).count()
}
