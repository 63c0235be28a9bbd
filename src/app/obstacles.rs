//! Whether a command is available now, and if not, why.

use std::sync::LazyLock;

use crate::app::command::Command;
use crate::app::editor::Editor;
use crate::app::{App, Current, OpenProject};
use crate::domain::study::{FileState, ImageRecord, Review};
use crate::worker::{HAS_SERVERS, Phase};

impl App {
    /// Why a command is not available now; `None` if it is.
    pub fn obstacle(&self, command: Command) -> Option<&'static str> {
        let project = self.project();
        let editor = project.and_then(OpenProject::editor);
        let no = |is: bool, reason: &'static str| is.then_some(reason);
        let is_loading = project.is_some_and(|p| matches!(p.current, Current::Loading(_)));
        let no_image =
            || no(editor.is_none(), if is_loading { "the image is being loaded" } else { "no image is open" });
        let busy = no(editor.is_some_and(|e| e.computing), "an edit is still being computed");
        match command {
            Command::OpenProject | Command::NewProject | Command::OpenDemo => {
                no(self.job.is_some(), "a job is running")
            }
            Command::Shortcuts
            | Command::Palette
            | Command::About
            | Command::CopyDiagnostics
            | Command::Theme
            | Command::Quit
            | Command::Abandon => None,
            Command::AddServer => no(!HAS_SERVERS, "this program was built without servers"),
            Command::RemoveCorner => no(!editor.is_some_and(Editor::has_polygon), "no polygon is being drawn"),
            Command::CloseProject => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running")).or(busy)
            }
            Command::Undo => no(!editor.is_some_and(Editor::can_undo), "there is nothing to undo"),
            Command::Redo => no(!editor.is_some_and(Editor::can_redo), "there is nothing to redo"),
            Command::Adopt => no_image()
                .or(no(editor.is_some_and(|e| e.prediction().is_none()), "there is no prediction yet"))
                .or(busy),
            Command::Accept | Command::AcceptAndNext | Command::AcceptPartly | Command::RestIsBackground => {
                no_image().or(busy)
            }
            Command::Unaccept => no_image().or(busy).or(no(
                !project.is_some_and(|p| p.current.id().and_then(|id| p.study.image(id)).is_some_and(|i| i.labelled)),
                "this image is not labelled",
            )),
            Command::CopyLabel => no_image().or(busy),
            Command::PasteLabel => no_image()
                .or(busy)
                .or(no(self.copied.is_none(), "copy a label first"))
                .or(no(!self.copied_fits(), "the copied label is of an image of another size")),
            Command::ListedLabels => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running")).or(busy)
            }
            Command::CopySlice => no_image()
                .or(busy)
                .or(no(project.and_then(OpenProject::slice).is_none_or(|slice| slice == 0), "this is the first slice")),
            Command::InterpolateSlice => no_image().or(busy).or(no(
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
                let has_replaced =
                    |p: &OpenProject| p.study.images.iter().any(|image| image.file == FileState::Replaced);
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
                .or(no(project.is_some_and(|p| p.study.images.iter().all(|i| i.labelled)), "every image has a label")),
            Command::Train => {
                no(project.is_none(), "no project is open").or(no(self.job.is_some(), "a job is running")).or(no(
                    !project.is_some_and(|p| p.study.images.iter().any(|i| i.labelled)),
                    "label a few images first, and accept them",
                ))
            }
            Command::Score | Command::ContinueTraining | Command::PredictFolder => {
                no(project.is_none(), "no project is open")
                    .or(no(self.job.is_some(), "a job is running"))
                    .or(no(project.is_some_and(|p| p.study.active_round().is_none()), "train a round first"))
            }
            Command::AcceptPseudo | Command::RejectPseudo | Command::RevokePseudo => {
                let record = project.and_then(|p| p.study.image(p.current.id()?));
                let state = record.filter(|record| !record.labelled).and_then(|record| record.pseudo);
                let is = |wanted: Review| state == Some(wanted);
                let is_loading = editor.is_none()
                    || command == Command::AcceptPseudo
                        && !editor.is_some_and(Editor::has_pseudo_label)
                        && is(Review::Unreviewed);
                no(state.is_none(), "this image has no pseudo-label")
                    .or(no(is_loading, "the image is being loaded"))
                    .or(no(command == Command::AcceptPseudo && is(Review::Accepted), "it is accepted"))
                    .or(no(
                        command == Command::AcceptPseudo && is(Review::Rejected),
                        "it is rejected; undo the review first",
                    ))
                    .or(no(command == Command::RejectPseudo && is(Review::Rejected), "it is rejected"))
                    .or(no(command == Command::RevokePseudo && is(Review::Unreviewed), "it has not been reviewed"))
            }
            Command::Finish => no(self.job.is_none(), "no job is running").or(no(
                self.progress.as_ref().is_none_or(|progress| progress.phase != Phase::Training),
                "no training is running",
            )),
            Command::Export => no(project.is_none(), "no project is open").or(busy).or(no(
                !project.is_some_and(|p| p.study.active_round().is_some() || p.study.images.iter().any(|i| i.labelled)),
                "no image is labelled, and no round is trained",
            )),
            Command::Rounds => no(project.is_none_or(|p| p.study.rounds.is_empty()), "train a round first"),
            Command::Cancel | Command::Pause => no(self.job.is_none(), "no job is running"),
            Command::NextProposed => {
                no(project.and_then(OpenProject::next_proposed).is_none(), "no other image is proposed")
            }
            Command::Class(number) => no(
                !project.is_some_and(|p| p.study.classes.iter().any(|c| c.number == number)),
                "the project has no such class",
            ),
            Command::ImportMasks => no(project.is_none(), "no project is open").or(self.import_obstacle()),
            Command::Peek | Command::DragLevels | Command::Measure => Some(hold_its_key(command)),
            Command::Brush
            | Command::Eraser
            | Command::Clear
            | Command::Outline
            | Command::Polygon
            | Command::Fill
            | Command::ClickToSegment
            | Command::AdoptBrush
            | Command::Smaller
            | Command::Larger
            | Command::ToggleOutlines
            | Command::Compare
            | Command::AutoLevels
            | Command::ToggleSmooth
            | Command::NextImage
            | Command::FirstImage
            | Command::LastImage
            | Command::Panels
            | Command::Regions
            | Command::Fainter
            | Command::Stronger
            | Command::PreviousImage
            | Command::NextSlice
            | Command::PreviousSlice
            | Command::Fit
            | Command::ZoomIn
            | Command::ZoomOut
            | Command::ToggleLabel
            | Command::Groups
            | Command::Settings => no(project.is_none(), "no project is open"),
        }
    }
}

/// What is done instead of giving a command that acts while its key is held.
fn hold_its_key(command: Command) -> &'static str {
    static TEXTS: LazyLock<[(Command, String); 3]> = LazyLock::new(|| {
        [(Command::Peek, ""), (Command::DragLevels, " and drag"), (Command::Measure, " and drag")]
            .map(|(command, drag)| (command, format!("over the image, hold {}{drag}", command.row().keys())))
    });
    TEXTS.iter().find(|(held, _)| *held == command).map_or("hold its key", |(_, text)| text.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_acts_while_its_key_is_held_names_the_key() {
        assert_eq!(hold_its_key(Command::Measure), "over the image, hold Z and drag");
        assert_eq!(hold_its_key(Command::Peek), "over the image, hold H");
    }
}
