//! Whether a command can be given now, and what it does.

use std::time::Duration;

use crate::app::command::Command;
use crate::app::editor::{Editor, Pen, Whole};
use crate::app::list::next_proposed;
use crate::app::{App, OpenProject, Page, RADIUS, Tool};
use crate::domain::picture::Levels;
use crate::domain::settings::Start;
use crate::worker::{FileState, ImageRecord, JobKind, Phase, PseudoState, Request, SliceLabel};

impl App {
    /// Why a command cannot be given now; `None` where it can.
    pub fn obstacle(&self, command: Command) -> Option<&'static str> {
        let project = self.project();
        let editor = project.and_then(OpenProject::editor);
        let no = |is: bool, reason: &'static str| is.then_some(reason);
        let busy = no(editor.is_some_and(|e| e.computing), "an edit is still being computed");
        match command {
            Command::OpenProject | Command::NewProject | Command::OpenDemo => {
                no(self.job.is_some(), "a job is running")
            }
            Command::Shortcuts | Command::Abandon => None,
            Command::CloseProject => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running")).or(busy)
            }
            Command::Undo => no(!editor.is_some_and(Editor::can_undo), "there is nothing to undo"),
            Command::Redo => no(!editor.is_some_and(Editor::can_redo), "there is nothing to redo"),
            Command::Adopt => no(editor.is_none(), "no image is open")
                .or(no(editor.is_some_and(|e| e.prediction().is_none()), "there is no prediction yet"))
                .or(busy),
            Command::Accept | Command::AcceptAndNext | Command::AcceptPartly | Command::RestIsBackground => {
                no(editor.is_none(), "no image is open").or(busy)
            }
            Command::CopySlice => no(editor.is_none(), "no image is open")
                .or(busy)
                .or(no(project.and_then(OpenProject::slice).is_none_or(|slice| slice == 0), "this is the first slice")),
            Command::InterpolateSlice => no(editor.is_none(), "no image is open").or(busy).or(no(
                !project.is_some_and(|project| {
                    let (slices, slice) = (project.slices(), project.slice().unwrap_or(0));
                    let is_labelled = |slices: &[ImageRecord]| slices.iter().any(|image| image.labelled);
                    is_labelled(&slices[..slice.min(slices.len())])
                        && is_labelled(slices.get(slice + 1..).unwrap_or(&[]))
                }),
                "label a slice on each side first",
            )),
            Command::Refresh | Command::Locate | Command::RestoreImages => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running"))
            }
            Command::KeepReplaced | Command::ClearReplaced => {
                let has_replaced = |p: &OpenProject| p.images.iter().any(|image| image.file == FileState::Replaced);
                no(project.is_none(), "no project is open")
                    .or(no(self.job.is_some(), "a job is running"))
                    .or(no(!project.is_some_and(has_replaced), "no image file was replaced since it was labelled"))
            }
            Command::RemoveImage => no(project.is_none_or(|p| p.current.id().is_none()), "no image is open")
                .or(no(self.job.is_some(), "a job is running"))
                .or(busy),
            Command::NextUncertain => no(editor.is_none_or(|e| e.prediction().is_none()), "there is no prediction yet"),
            Command::Propose => no(project.is_none(), "no project is open")
                .or(no(self.job.is_some(), "a job is running"))
                .or(no(project.is_some_and(|p| p.images.iter().all(|i| i.labelled)), "every image has a label")),
            Command::Train => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running")).or(no(
                    !project.is_some_and(|p| p.images.iter().any(|i| i.labelled)),
                    "label a few images first, and accept them",
                ))
            }
            Command::Score | Command::ContinueTraining => no(project.is_none(), "no project is open")
                .or(no(self.job.is_some(), "a job is running"))
                .or(no(project.is_some_and(|p| p.active_round().is_none()), "train a round first")),
            Command::AcceptPseudo | Command::RejectPseudo | Command::RevokePseudo => {
                let record = project.and_then(|p| p.record(p.current.id()?));
                let state = record.filter(|record| !record.labelled).and_then(|record| record.pseudo);
                let is = |wanted: PseudoState| state == Some(wanted);
                let unseen = match command {
                    Command::AcceptPseudo => !editor.is_some_and(Editor::has_pseudo_label) && is(PseudoState::Waiting),
                    _ => editor.is_none(),
                };
                let none = no(state.is_none(), "this image has no pseudo-label");
                none.or(no(unseen, "the image is being loaded")).or(match command {
                    Command::AcceptPseudo => no(is(PseudoState::Accepted), "it is accepted")
                        .or(no(is(PseudoState::Rejected), "it is rejected; undo the review first")),
                    Command::RejectPseudo => no(is(PseudoState::Rejected), "it is rejected"),
                    _ => no(is(PseudoState::Waiting), "it has not been reviewed"),
                })
            }
            Command::Finish => no(self.job.is_none(), "no job is running").or(no(
                self.progress.as_ref().is_none_or(|progress| progress.phase != Phase::Training),
                "no training is running",
            )),
            Command::Rounds => no(project.is_none_or(|p| p.rounds.is_empty()), "train a round first"),
            Command::Cancel | Command::Pause => no(self.job.is_none(), "no job is running"),
            Command::NextProposed => {
                let current = project.and_then(|p| p.current.id());
                no(project.is_none_or(|p| next_proposed(&p.images, current).is_none()), "no image is proposed")
            }
            Command::Class(number) => no(
                !project.is_some_and(|p| p.classes.iter().any(|c| c.number == number)),
                "the project has no such class",
            ),
            Command::ImportMasks => no(project.is_none(), "no project is open").or(busy),
            _ => no(project.is_none(), "no project is open"),
        }
    }

    /// Gives a command. What only the window can do (dialogs, the view) it does itself.
    pub fn command(&mut self, command: Command) {
        if self.obstacle(command).is_some() {
            return;
        }
        match command {
            Command::OpenDemo => self.open_demo(self.demo_folder.clone()),
            Command::CloseProject => {
                self.release();
                self.store_contrast(Duration::ZERO);
                self.page = Page::Welcome;
            }
            Command::Undo => self.step_back_or_forth(Editor::undo),
            Command::Redo => self.step_back_or_forth(Editor::redo),
            Command::AutoLevels => {
                let (now, best) = (self.levels(), self.auto_levels());
                self.set_levels(Some(if now == best { Levels::default() } else { best }));
            }
            Command::Brush => self.tool = Tool::Brush,
            Command::Eraser => self.tool = Tool::Eraser,
            Command::Smaller => self.radius = (self.radius / 1.25).max(*RADIUS.start()),
            Command::Larger => self.radius = (self.radius * 1.25).min(*RADIUS.end()),
            Command::Class(number) => {
                self.class = number;
                self.tool = Tool::Brush;
            }
            Command::Abandon => {
                if let Some(editor) = self.project_mut().and_then(OpenProject::editor_mut) {
                    editor.abandon();
                }
            }
            Command::Clear | Command::Outline | Command::Polygon | Command::Fill | Command::AdoptBrush => {
                let chosen = Tool::ALL.iter().find(|(_, choose)| *choose == command);
                self.tool = chosen.map_or(self.tool, |(tool, _)| *tool);
            }
            Command::Adopt => self.whole(Whole::Adopt, Pen { gate: None, ..self.pen(false) }, false),
            Command::RestIsBackground => self.rest_is_background(false),
            Command::Accept => self.accept(),
            Command::AcceptPartly => {
                self.release();
                if !self.is_labelled() {
                    self.edit(|editor| editor.accept_partly());
                }
            }
            Command::AcceptAndNext => {
                self.accept();
                self.show_next_proposed();
            }
            Command::AcceptPseudo => self.set_pseudo(PseudoState::Accepted),
            Command::RejectPseudo => self.set_pseudo(PseudoState::Rejected),
            Command::RevokePseudo => self.set_pseudo(PseudoState::Waiting),
            Command::NextProposed => self.show_next_proposed(),
            Command::NextSlice => self.show_slice(1),
            Command::PreviousSlice => self.show_slice(-1),
            Command::CopySlice => self.label_from_slices(SliceLabel::Before),
            Command::InterpolateSlice => self.label_from_slices(SliceLabel::Between),
            Command::Refresh => self.ask(Request::RefreshFiles),
            Command::RemoveImage => self.remove_image(),
            Command::RestoreImages => self.ask(Request::RestoreImages),
            Command::KeepReplaced => self.ask(Request::AcceptReplaced { keeps_labels: true }),
            Command::ClearReplaced => self.ask(Request::AcceptReplaced { keeps_labels: false }),
            Command::NextImage => self.show_beside(1),
            Command::PreviousImage => self.show_beside(-1),
            Command::Train => self.start(JobKind::Round(None)),
            Command::ContinueTraining => self.start(JobKind::Round(Some(Start::Previous))),
            Command::Score => self.start(JobKind::Score),
            Command::Propose => self.start(JobKind::Propose),
            Command::Finish => {
                if let Some(job) = &self.job {
                    self.worker.finish(job.id);
                }
            }
            Command::Cancel => {
                if let Some(job) = &mut self.job {
                    job.cancelling = true;
                    self.worker.cancel(job.id);
                }
            }
            Command::Pause => {
                if let Some(job) = &mut self.job {
                    job.paused = !job.paused;
                    self.worker.pause(job.paused.then_some(job.id));
                }
            }
            _ => {}
        }
    }
}
