//! Sheets that ask for one line of text: the folder of a project, of masks, of images, or a rule.

use std::path::PathBuf;

use egui::{Align2, Button, Context, Id, LayerId, Order, TextEdit, Ui, Window};

use crate::app::App;
use crate::app::command::Command;
use crate::ui::browse::{MISSING, Wanted};
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::dialogs::Dialogs;
use crate::ui::import;
use crate::ui::theme::STEP;

/// A sheet that asks for one line of text.
pub struct LineInput {
    /// The sheet's title.
    pub title: &'static str,
    /// What it is for.
    pub help: &'static str,
    /// What the line is.
    pub name: &'static str,
    /// What is shown while nothing is typed.
    pub hint: &'static str,
    /// What a dialog is opened for, if the line is a folder or a file.
    pub browse: Option<Wanted>,
    /// The name of the button.
    pub button: &'static str,
    /// Why the line cannot be entered now.
    pub obstacle: Option<&'static str>,
}

impl LineInput {
    /// Shows the sheet while `text` is some, with `more` below the line; returns the line once it is entered.
    pub fn ask(
        self,
        ctx: &Context,
        text: &mut Option<String>,
        (dialogs, enter): (&Dialogs, Enter),
        more: impl FnOnce(&mut Ui, &str),
    ) -> Option<String> {
        let line = text.as_mut()?;
        let (mut open, mut answer) = (true, None);
        let id = Id::unique(self.title);
        let layer = LayerId::new(Order::Middle, id);
        let is_new = !ctx.memory(|memory| memory.areas().visible_last_frame(&layer));
        let sheet = Window::new(self.title).id(id).open(&mut open).resizable(false).collapsible(false);
        sheet.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
            ui.set_width(60.0 * STEP);
            if !self.help.is_empty() {
                confirm::remark(ui, self.help);
            }
            let mut is_entered = enter.confirms();
            ui.horizontal(|ui| {
                let width = if self.browse.is_some() { 50.0 * STEP } else { 60.0 * STEP };
                let edit = ui.add(TextEdit::singleline(line).hint_text(self.hint).desired_width(width));
                if is_new {
                    edit.request_focus();
                }
                is_entered |= enter.ends(&edit);
                edit.accessible_name(self.name);
                if let Some(wanted) = self.browse
                    && ui.add(Button::new("Browse")).clicked()
                {
                    dialogs.ask(ui.ctx(), wanted);
                }
            });
            let typed = line.trim();
            more(ui, typed);
            let is_missing = self.browse.is_some() && dialogs.is_missing(ui.ctx(), self.title, typed);
            if is_missing {
                confirm::warning(ui, MISSING);
            }
            let nothing = typed.is_empty().then_some("nothing is typed yet");
            let obstacle = self.obstacle.or(nothing).or(is_missing.then_some(MISSING));
            if let Some(obstacle) = self.obstacle {
                confirm::warning(ui, obstacle);
            }
            answer = confirm::buttons(ui, self.button, obstacle, is_entered);
        });
        let line = line.trim().to_owned();
        if !open || answer.is_some() {
            *text = None;
        }
        (answer == Some(Answer::Yes)).then_some(line)
    }
}

/// Asks for the folder of a project to open, while `typed` is some; so do the others.
pub fn open_project(ctx: &Context, app: &mut App, typed: &mut Option<String>, asked: (&Dialogs, Enter)) {
    let line = LineInput {
        title: "Open project",
        help: "",
        name: "Project folder",
        hint: "the project's folder",
        browse: Some(Wanted::Open),
        button: "Open",
        obstacle: app.obstacle(Command::OpenProject),
    };
    if let Some(root) = line.ask(ctx, typed, asked, |_, _| {}) {
        app.open(PathBuf::from(root));
    }
}

/// Asks for the folder of masks to import. What is typed is kept until an import begins, and returns if it is cancelled.
pub fn import_masks(ctx: &Context, app: &mut App, typed: &mut Option<String>, asked: (&Dialogs, Enter)) {
    if app.import.is_some() {
        return;
    }
    let line = LineInput {
        title: "Import masks",
        help: "Paired by path and name (also NAME_mask, NAME_segmentation, NAME_label and others). Nothing is imported \
               until you have seen the plan. Labels that are there already stay, unless you say otherwise in the plan.",
        name: "Masks folder",
        hint: "the folder of the masks, or a COCO file (.json)",
        browse: Some(Wanted::Import),
        button: "Scan the folder",
        obstacle: app.import_obstacle(),
    };
    if let Some(folder) = line.ask(ctx, typed, asked, |_, _| {}) {
        *typed = Some(folder.clone());
        import::import_masks(app, PathBuf::from(folder));
    }
}

/// Asks for the new place of the folder of images.
pub fn locate(ctx: &Context, app: &mut App, typed: &mut Option<String>, asked: (&Dialogs, Enter)) {
    let line = LineInput {
        title: "Locate images",
        help: "Where is the folder of images now? Each image is looked for at the same path below it.",
        name: "Images folder",
        hint: "the folder of the images",
        browse: Some(Wanted::Locate),
        button: "Use this folder",
        obstacle: app.obstacle(Command::Locate),
    };
    if let Some(folder) = line.ask(ctx, typed, asked, |_, _| {}) {
        app.locate_images(PathBuf::from(folder));
    }
}
