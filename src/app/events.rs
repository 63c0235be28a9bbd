//! What each event of the worker does to the state.

use std::collections::HashMap;

use crate::app::attention::Attention;
use crate::app::editor::Editor;
use crate::app::export::{exported_text, left_out};
use crate::app::list::List;
use crate::app::remedies::explained;
use crate::app::{App, Current, Gauge, OpenProject, Page, StudyMeasurement};
use crate::domain::cleanup::Locked;
use crate::domain::remedy::Failure;
use crate::domain::round::Report;
use crate::domain::study::{ImageId, Review, Study};
use crate::domain::text::counted;
use crate::worker::{Event, Import, JobId, ManyLabels, Opened, Outcome, Request, Shown};

impl App {
    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Opened(opened) => self.opened(*opened),
            Event::Shown(shown) => self.shown(*shown),
            Event::NotShown(image, failure) => self.not_shown(image, &failure),
            Event::Thumbnail(root, image, thumbnail) => {
                if let Some(project) = self.project_mut().filter(|project| project.root == root) {
                    project.thumbnails.insert(image, Some(thumbnail));
                }
            }
            Event::Predicted(image, prediction) => {
                let editor = self.project_mut().and_then(OpenProject::editor_mut).filter(|e| e.image == image);
                if let Some(editor) = editor {
                    editor.set_prediction(Some(prediction));
                }
            }
            Event::NotPredicted(image, round, failure) => self.not_predicted(image, round, &failure),
            Event::PredictedBy(image, round, prediction) => {
                let threshold = self.threshold;
                let project = self.project_mut().filter(|project| project.compared == Some(round));
                let editor = project.and_then(OpenProject::editor_mut).filter(|editor| editor.image == image);
                if let Some(editor) = editor {
                    editor.set_compared(Some((&prediction, threshold)));
                }
            }
            Event::Imported(import) => self.imported(&import),
            Event::Grouped(images, 1, _) if images > 1 => {
                let text =
                    format!("{images} images are in one group: all of them are either in training or in validation");
                self.notify(text, true);
            }
            Event::Grouped(images, groups, left_out) if left_out > 0 => {
                let left_out = counted(left_out, "labelled image");
                let text = format!(
                    "{}; not trained on, because their groups are in the validation set: {left_out}",
                    grouped_text(images, groups)
                );
                self.notify(text, true);
            }
            Event::Grouped(images, groups, _) => self.notify_of_end(grouped_text(images, groups), false),
            Event::SliceLabel(image, label) => self.take_slice_label(image, label),
            Event::FilesChecked(found) => self.files_checked(&found),
            Event::ImportPlanned(planned) => self.import_planned(*planned),
            Event::ImportFailed(failure) => self.import_failed(&failure),
            Event::Computed(image, revision, edit, accepts) => self.take(image, revision, edit, accepts),
            Event::Saved(writes) => {
                self.unsaved = self.unsaved.saturating_sub(writes);
                self.save_error = None;
                if self.unsaved == 0 && std::mem::take(&mut self.is_list_behind) {
                    self.ask(Request::Refresh);
                }
            }
            Event::NotSaved(reason) => self.save_error = Some(reason),
            Event::Device(choice, found) => {
                if choice == self.device_choice {
                    self.device = Some(found);
                }
            }
            Event::Servers(listed) => self.servers_listed(listed),
            Event::ServerTried(server, found) => self.server_tried(server, found),
            Event::SmallerBatch(settings) => {
                let batch = settings.batch;
                if let Some(project) = self.project_mut() {
                    project.study.settings = *settings;
                }
                self.notify(
                    format!("the device's memory holds only {batch} images per step: Batch is set to that"),
                    false,
                );
            }
            Event::Refreshed(study) => {
                self.is_list_behind = self.unsaved > 0;
                let Some(project) = self.project_mut() else { return };
                let before = project.study.active_round().map(|round| round.report.round);
                let queue = |study: &Study| study.images.iter().filter_map(|i| Some((i.id, i.proposed?.1))).collect();
                let queue_before: Vec<(ImageId, usize)> = queue(&project.study);
                project.study = *study;
                project.is_queue_begun &= queue(&project.study) == queue_before;
                project.update_list();
                project.update_noise();
                let other = project.study.active_round().map(|round| round.report.round) != before;
                let record = project.editor().and_then(|editor| project.study.image(editor.image));
                let waits = record.is_some_and(|record| record.pseudo == Some(Review::Unreviewed) && !record.painted);
                let drawn = project.editor().is_some_and(Editor::has_pseudo_label);
                let busy = project.editor().is_some_and(|editor| editor.computing || editor.is_drawing());
                if other {
                    self.compare(None);
                }
                if (waits || drawn) && !busy {
                    // The pseudo-label was replaced: the user must not accept one that differs from the one on screen.
                    self.load_again();
                } else if other {
                    self.ask_for_new_prediction();
                }
            }
            Event::StudyRegions(found) => self.study_measured(found),
            Event::ManyChanged(what, images) => {
                (self.last_action, self.undo_once_shown) = (None, None);
                self.load_again();
                let done = match what {
                    ManyLabels::Unaccept => "acceptance undone in",
                    ManyLabels::Clear => "labels cleared in",
                };
                self.notify_of_end(format!("{done} {}", counted(images, "image")), false);
            }
            Event::ClassesMapped => {
                (self.class, self.locked) = (1, Locked::default());
                (self.last_action, self.undo_once_shown, self.copied) = (None, None, None);
                self.forget_gate_of_class();
                self.load_again();
                self.notify_of_end("the classes and the labels that contain them are changed", false);
            }
            Event::Finished(id, outcome) => self.finished(id, *outcome),
            Event::Cancelled(id) => {
                let scores = self.job.is_some_and(|job| job.id == id && job.scores);
                self.end(id);
                let is_due = self.project().is_some_and(|project: &OpenProject| project.study.scoring_is_due());
                let text = if scores && is_due {
                    "cancelled; the model is kept, and Score pool resumes the scoring"
                } else {
                    "cancelled; nothing of the job was kept"
                };
                self.notify(text, false);
            }
            Event::Failed(id, reason) => {
                self.end(id);
                self.has_job_failed = true;
                self.notify_of_job(explained(&reason), true);
            }
            Event::Exported { plan, is_dry, result } => self.exported(&plan, is_dry, result),
            Event::NotOpened(error) => {
                if let Page::Opening(root, before) = &mut self.page {
                    let is_typed = self.import.is_none() && *root != self.demo_folder;
                    self.failed_open = is_typed.then(|| std::mem::take(root));
                    self.page = before.take().map_or(Page::Welcome, Page::Project);
                    self.catch_up();
                }
                self.end_import();
                self.notify(explained(&error), true);
            }
            Event::Error(error) => {
                self.end_import();
                self.open_closed();
                self.notify(explained(&error), true);
            }
        }
    }

    fn opened(&mut self, opened: Opened) {
        (self.import, self.export, self.copied) = (None, None, None);
        self.study_regions = StudyMeasurement::No;
        (self.last_action, self.undo_once_shown, self.wanted) = (None, None, None);
        (self.locked, self.confirming_empty) = (Locked::default(), None);
        self.forget_gate_of_class();
        // Errors of the previous project no longer matter.
        self.notices.retain(|notice| !notice.is_error);
        if let Some(import) = &opened.import {
            let mut text = format!("{}, {} of them with a label", counted(import.images, "image"), import.masks);
            text.push_str(&left_out(&import.problems));
            self.notify_of_end(text, !import.problems.is_empty());
        }
        let mut project = OpenProject {
            root: opened.root,
            study: opened.study,
            contrast: opened.contrast,
            contrast_changed: None,
            is_queue_begun: false,
            intervals: Vec::new(),
            last_gain: None,
            compared: None,
            list: List::default(),
            current: Current::None,
            thumbnails: HashMap::new(),
        };
        project.update_list();
        project.update_noise();
        self.attention = Attention::default();
        let first = project.list.neighbour(&project.study.images, None, 0);
        self.class = 1;
        self.page = Page::Project(Box::new(project));
        if let Some(image) = first {
            self.show(image);
        }
    }

    fn imported(&mut self, import: &Import) {
        self.import = None;
        (self.last_action, self.undo_once_shown) = (None, None);
        let text = format!("{} imported as labels{}", counted(import.masks, "mask"), left_out(&import.problems));
        self.notify_of_end(text, !import.problems.is_empty());
        // The label may no longer be the one on screen.
        self.load_again();
    }

    /// Reloads the open image.
    pub(super) fn load_again(&mut self) {
        self.release();
        self.compare(None);
        if let Some(image) = self.project().and_then(|project| project.current.id())
            && let Some(project) = self.project_mut()
        {
            project.current = Current::Loading(image);
            self.ask_to_show(image);
        }
    }

    /// Opens a loaded image only while it is awaited: a label already on screen may be newer than the loaded one.
    fn shown(&mut self, shown: Shown) {
        let (ticket, image) = (self.ticket, shown.image);
        let Some(project) = self.project_mut() else { return };
        if shown.ticket == ticket && matches!(project.current, Current::Loading(_)) {
            let tile = project.study.image(image).and_then(|record| record.tile);
            project.current = Current::Open(Box::new(Editor::new(shown, tile)));
            self.last_action = self.last_action.and_then(|action| action.after_opening(image));
            self.undo_if_asked();
        }
    }

    /// A class's number may come to mean another class.
    fn forget_gate_of_class(&mut self) {
        self.gate = self.gate.filter(|gate| gate.by != Gauge::Class);
    }

    fn not_shown(&mut self, image: ImageId, failure: &Failure) {
        let Some(project) = self.project_mut() else { return };
        if project.current.id() == Some(image) {
            project.current = Current::Failed(image, explained(failure));
        }
    }

    /// The active model, or that of the round that is compared with it, cannot predict an image.
    fn not_predicted(&mut self, image: ImageId, round: Option<usize>, failure: &Failure) {
        let reason = explained(failure);
        let Some(project) = self.project_mut().filter(|project| project.current.id() == Some(image)) else { return };
        let compared = project.compared;
        match round {
            None => {
                if let Some(editor) = project.editor_mut() {
                    editor.set_unpredicted(reason.clone());
                }
            }
            Some(_) if compared == round => self.compare(None),
            Some(_) => return,
        }
        self.notify(reason, true);
    }

    fn end_import(&mut self) {
        if let Some(import) = &mut self.import {
            import.is_being_done = false;
        }
    }

    /// Asks again for what a project may have missed while another one was being opened.
    fn catch_up(&mut self) {
        let Some(project) = self.project_mut() else { return };
        project.thumbnails.clear();
        match project.editor().map(|editor| editor.prediction().is_some()) {
            Some(true) => {}
            Some(false) if project.study.active_round().is_some() => self.ask_for_new_prediction(),
            Some(false) => {}
            None => self.load_again(),
        }
        self.ask(Request::Refresh);
    }

    fn ask_for_new_prediction(&mut self) {
        let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) else { return };
        editor.set_prediction(None);
        let image = editor.image;
        self.ask(Request::Preview(image));
    }

    fn end(&mut self, id: JobId) {
        if self.job.is_some_and(|job| job.id == id) {
            self.job = None;
            self.progress = None;
        }
    }

    fn finished(&mut self, id: JobId, outcome: Outcome) {
        self.end(id);
        let is_bad = match &outcome {
            Outcome::Round(report) => report.is_poor(),
            Outcome::Exported(exported) => !exported.left_out.is_empty(),
            Outcome::Predicted(_, problems) => !problems.is_empty(),
            Outcome::Proposed(_) | Outcome::Scored(..) => false,
        };
        let text = match outcome {
            Outcome::Round(report) => round_text(&report),
            Outcome::Proposed(proposed) => {
                format!("{} proposed (N goes to the next)", counted(proposed, "representative image"))
            }
            Outcome::Scored(scored, proposed) => format!("{} scored, {proposed} proposed", counted(scored, "image")),
            Outcome::Exported(exported) => exported_text(&exported),
            Outcome::Predicted(made, problems) => {
                let left_out = match problems.as_slice() {
                    [] => String::new(),
                    [only] => format!("; left out: {only}"),
                    [first, others @ ..] => format!("; left out: {first}, and {} more", others.len()),
                };
                format!("{} predicted; scores.csv beside the masks lists them{left_out}", counted(made.len(), "image"))
            }
        };
        self.notify_of_job(text, is_bad);
    }
}

fn round_text(report: &Report) -> String {
    let dice = report.validation.map_or(String::new(), |v| format!(", validation Dice {:.3}", v.dice));
    let proposed = match report.proposed.len() {
        0 => "no image left to propose".to_owned(),
        n => format!("{} proposed (N goes to the next)", counted(n, "image")),
    };
    let kept = if report.active { "" } else { "; its Dice fell, so the previous round stays active" };
    let pseudo = match report.pseudo_labelled {
        0 => String::new(),
        n => format!(", {n} pseudo-labelled"),
    };
    let left_out = left_out(&report.problems);
    let notes: String = report.notes.iter().map(|note| format!("; {}", App::with_named_settings(note))).collect();
    format!("round {} is done{dice}: {proposed}{pseudo}{kept}{left_out}{notes}", report.round)
}

fn grouped_text(images: usize, groups: usize) -> String {
    let are = if images == 1 { "is" } else { "are" };
    format!("{} {are} in {}", counted(images, "image"), counted(groups, "group"))
}
