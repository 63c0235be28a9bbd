//! Dispatch of commands from the queue and the keyboard.

use egui::{Key, KeyboardShortcut, Modifiers, Popup, ThemePreference};

use crate::app::command::{Command, Shortcut, TABLE};
use crate::app::editor::NextRegion;
use crate::app::servers::ServerSheet;
use crate::app::{RADIUS, Tool};
use crate::domain::settings::Start;
use crate::domain::study::Review;
use crate::ui::Window;
use crate::ui::closing::Closing;
use crate::ui::export::ExportSheet;
use crate::ui::new_project::NewProject;
use crate::ui::palette::Palette;
use crate::ui::predict::PredictFolder;
use crate::worker::{JobKind, Request, SliceLabel};

impl Window {
    /// Carries out the queued commands, and those that they queue in turn.
    pub(super) fn carry_out(&mut self) {
        for command in self.app.take_commands() {
            match self.app.obstacle(command) {
                None => self.command(command),
                Some(obstacle) => self.app.hint(format!("{}: {obstacle}", command.row().name)),
            }
        }
    }

    /// Executes a command.
    fn command(&mut self, command: Command) {
        let Self { app, canvas, windows, preferences, .. } = self;
        match command {
            Command::OpenProject => windows.open_project = Some(String::new()),
            Command::NewProject => windows.new_project = Some(NewProject::default()),
            Command::OpenDemo => app.open_demo(app.demo_folder().to_owned()),
            Command::ImportMasks => windows.import_masks = Some(String::new()),
            Command::CloseProject => app.close_project(),
            Command::Refresh => app.ask(Request::RefreshFiles),
            Command::Locate => windows.locate = Some(String::new()),
            Command::RemoveImage => app.remove_image(),
            Command::RestoreImages => app.ask(Request::RestoreImages),
            Command::KeepReplaced => app.ask(Request::AcceptReplaced { keeps_labels: true }),
            Command::ClearReplaced => app.ask(Request::AcceptReplaced { keeps_labels: false }),
            Command::Groups => windows.groups = Some(String::new()),

            Command::NextProposed => app.show_next_proposed(),
            Command::NextImage => app.show_neighbour(1),
            Command::PreviousImage => app.show_neighbour(-1),
            Command::FirstImage => app.show_end(false),
            Command::LastImage => app.show_end(true),
            Command::NextSlice => app.show_slice(1),
            Command::PreviousSlice => app.show_slice(-1),

            Command::Brush => app.tool = Tool::Brush,
            Command::Eraser => app.tool = Tool::Eraser,
            Command::Clear => app.tool = Tool::Clear,
            Command::Outline => app.tool = Tool::Outline,
            Command::Polygon => app.tool = Tool::Polygon,
            Command::Fill => app.tool = Tool::Fill,
            Command::ClickToSegment => app.tool = Tool::Click,
            Command::AdoptBrush => app.tool = Tool::Adopt,
            Command::Smaller => app.radius = (app.radius / 1.25).max(*RADIUS.start()),
            Command::Larger => app.radius = (app.radius * 1.25).min(*RADIUS.end()),
            Command::Class(number) => {
                app.class = number;
                match app.tool {
                    Tool::Eraser | Tool::Clear | Tool::Adopt => app.tool = Tool::Brush,
                    Tool::Brush | Tool::Outline | Tool::Polygon | Tool::Fill | Tool::Click => {}
                }
            }
            Command::Undo => app.undo(),
            Command::Redo => app.redo(),
            Command::Abandon => app.abandon_stroke(),
            Command::RemoveCorner => app.remove_corner(),
            Command::Adopt => app.adopt_prediction(),
            Command::RestIsBackground => {
                app.rest_is_background(app.project().and_then(|project| project.tile()), false)
            }
            Command::CopyLabel => app.copy_label(),
            Command::PasteLabel => app.paste_label(),
            Command::ListedLabels => windows.listed ^= true,
            Command::CopySlice => app.label_from_slices(SliceLabel::Before),
            Command::InterpolateSlice => app.label_from_slices(SliceLabel::Between),
            Command::Accept => {
                app.accept();
            }
            Command::AcceptPartly => app.accept_partly(),
            Command::AcceptAndNext => app.accept_and_next(),
            Command::Unaccept => app.unaccept(),
            Command::AcceptPseudo => app.set_pseudo(Review::Accepted),
            Command::RejectPseudo => app.set_pseudo(Review::Rejected),
            Command::RevokePseudo => app.set_pseudo(Review::Unreviewed),

            Command::NextUncertain => {
                let Some(editor) = app.project_mut().and_then(|project| project.editor_mut()) else { return };
                let text = match editor.next_uncertain_region() {
                    Some(NextRegion::Region(place, number, all)) => {
                        canvas.go_to(place, editor);
                        format!("uncertain region {number} of {all}")
                    }
                    Some(NextRegion::NoMore(0)) | None => "no region of this image is uncertain".to_owned(),
                    Some(NextRegion::NoMore(all)) => {
                        format!("all {all} uncertain regions visited; again from the first: {}", command.row().titled())
                    }
                };
                app.hint(text);
            }
            Command::Compare => canvas.options.overlay = canvas.options.overlay.next(),
            Command::ToggleOutlines => canvas.options.outlines_only ^= true,
            Command::Regions => windows.regions.open ^= true,
            Command::Panels => canvas.next_panels(),
            Command::Fainter => canvas.options.make_fainter(0.1),
            Command::Stronger => canvas.options.make_fainter(-0.1),
            Command::ToggleSmooth => canvas.options.sharp ^= true,
            Command::ToggleLabel => canvas.label = [!canvas.label.contains(&true); 3],
            Command::AutoLevels => app.toggle_auto_levels(),
            Command::Fit => canvas.fit(),
            Command::ZoomIn => canvas.zoom_by(2.0),
            Command::ZoomOut => canvas.zoom_by(0.5),
            // These act while their keys are held: see `held`.
            Command::Peek | Command::DragLevels | Command::Measure => {}

            Command::Train => app.start(JobKind::Round(None)),
            Command::ContinueTraining => app.start(JobKind::Round(Some(Start::Previous))),
            Command::Score => app.start(JobKind::Score),
            Command::Propose => app.start(JobKind::Propose),
            Command::Finish => app.finish_training(),
            Command::Cancel => app.cancel_job(),
            Command::Pause => app.toggle_pause(),

            Command::AddServer => app.server_sheet = Some(ServerSheet::default()),
            Command::Rounds => windows.rounds.open ^= true,
            Command::Settings => windows.settings ^= true,
            Command::Shortcuts => windows.shortcuts ^= true,
            Command::Palette => windows.palette = Some(Palette::default()),
            Command::Export => windows.export = Some(ExportSheet::default()),
            Command::PredictFolder => windows.predict = Some(PredictFolder::default()),
            Command::Theme => {
                let is_dark = preferences.theme() == ThemePreference::Dark;
                preferences.theme = Some(if is_dark { ThemePreference::Light } else { ThemePreference::Dark });
            }
            Command::CopyDiagnostics => {
                windows.clipboard = Some(app.diagnostics());
                app.hint("diagnostics copied".to_owned());
            }
            Command::About => windows.about ^= true,
            Command::Quit => windows.closing = Closing::Wanted,
        }
    }

    /// Queues the commands whose shortcuts were pressed. A text field with the focus keeps its keys.
    pub(super) fn keyboard(&mut self, ctx: &egui::Context) {
        // Before anything of the frame is drawn, only egui's memory knows what is open.
        if Popup::is_any_open(ctx) {
            self.canvas.peeking = false;
            return; // The popup handles its own keys.
        }
        let editor = self.app.project().and_then(|project| project.editor());
        let is_at_work = editor.is_some_and(|editor| editor.is_drawing() || !editor.clicks().is_empty());
        let is_first = self.dialogs.is_open() || self.windows.is_asking(&self.app) || !is_at_work;
        if is_first
            && ctx.input(|i| i.key_pressed(Key::Escape))
            && (self.dialogs.close() || self.windows.close_top(&mut self.app))
        {
            ctx.input_mut(|i| i.consume_key(Modifiers::NONE, Key::Escape));
            return;
        }
        // A sheet that asks for something takes precedence.
        let is_asking = self.dialogs.is_open() || self.windows.is_asking(&self.app);
        let typing = ctx.text_edit_focused();
        self.canvas.peeking = !typing && !is_asking && held(ctx, Command::Peek);
        // Shortcuts with Shift first: Ctrl+Z would also match Ctrl+Shift+Z.
        let mut all: Vec<_> =
            TABLE.iter().flat_map(|row| row.shortcuts.iter().map(|s| (row.command.by_key(*s), *s))).collect();
        all.sort_by_key(|(_, shortcut)| !shortcut.shift);
        for (command, shortcut) in all {
            let Some((modifiers, key)) = keys(shortcut) else { continue };
            if HELD.contains(&command) || is_asking && command != Command::Shortcuts {
                continue;
            }
            let is_text = !shortcut.command && shortcut.key != "F1";
            if typing && (is_text || matches!(command, Command::Undo | Command::Redo)) {
                continue;
            }
            // Moving to another slice or image counts every key press of a frame; other commands count one.
            let walks = matches!(
                command,
                Command::NextSlice | Command::PreviousSlice | Command::NextImage | Command::PreviousImage
            );
            let presses = if walks {
                ctx.input_mut(|i| i.count_and_consume_key(modifiers, key))
            } else {
                usize::from(ctx.input_mut(|i| i.consume_shortcut(&KeyboardShortcut::new(modifiers, key))))
            };
            (0..presses).for_each(|_| self.app.push(command));
        }
    }
}

/// Commands that act as long as their keys are held.
const HELD: [Command; 3] = [Command::Peek, Command::DragLevels, Command::Measure];

/// A shortcut as egui has it; `None` where egui knows no such key.
pub fn keys(shortcut: Shortcut) -> Option<(Modifiers, Key)> {
    let modifiers = Modifiers { command: shortcut.command, shift: shortcut.shift, ..Modifiers::NONE };
    Some((modifiers, Key::from_name(shortcut.key)?))
}

/// Whether a key of a command that acts while it is held is down.
pub fn held(ctx: &egui::Context, command: Command) -> bool {
    let is_down = |shortcut: &Shortcut| {
        keys(*shortcut)
            .is_some_and(|(modifiers, key)| ctx.input(|i| i.key_down(key) && i.modifiers.matches_exact(modifiers)))
    };
    command.row().shortcuts.iter().any(is_down)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_key_of_the_table_is_one_of_egui_and_asks_for_one_command() {
        let all: Vec<Shortcut> = TABLE.iter().flat_map(|row| row.shortcuts.iter().copied()).collect();
        for shortcut in &all {
            assert!(keys(*shortcut).is_some(), "egui knows no key {}", shortcut.key);
        }
        let texts: HashSet<String> = all.iter().map(|shortcut| shortcut.text()).collect();
        assert_eq!(texts.len(), all.len(), "two commands have one key");
        let commands: HashSet<Command> = TABLE.iter().map(|row| row.command).collect();
        assert_eq!(commands.len(), TABLE.len(), "a command has two rows");
    }
}
