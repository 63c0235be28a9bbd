//! The sheet for predicting a folder of images.

use std::path::PathBuf;

use egui::{Align2, Context, Grid, TextEdit, Window};

use crate::app::App;
use crate::app::command::Command;
use crate::ui::browse::{MISSING, Wanted};
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::dialogs::Dialogs;
use crate::ui::theme::STEP;
use crate::worker::JobKind;

/// The prediction of a folder being set up.
#[derive(Default)]
pub struct PredictFolder {
    images: String,
    out: String,
    /// Whether `out` was said, rather than made from `images`.
    is_out_given: bool,
    npy: bool,
    has_focus: bool,
}

impl PredictFolder {
    /// Takes the folder of images.
    pub fn set_images(&mut self, images: String) {
        self.images = images;
    }

    /// Takes the folder that the results go into.
    pub fn set_out(&mut self, out: String) {
        (self.out, self.is_out_given) = (out, true);
    }
}

/// Shows the sheet as long as it is open.
pub fn show(ctx: &Context, app: &mut App, predict: &mut Option<PredictFolder>, dialogs: &Dialogs, enter: Enter) {
    let Some(sheet) = predict else { return };
    let Some(project) = app.project() else {
        *predict = None;
        return;
    };
    let round = project.study.active_round().map_or(0, |round| round.report.round);
    let passes = project.study.settings.passes;
    let obstacle = app.obstacle(Command::PredictFolder);
    let (mut open, mut answer, mut is_entered) = (true, None, enter.confirms());
    let is_new = !std::mem::replace(&mut sheet.has_focus, true);
    let window = Window::new("Predict a folder").open(&mut open).resizable(false).collapsible(false);
    window.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        let text = format!(
            "Round {round} predicts each image with {passes} passes. Per image: mask, probability, variance, and a line of \
             scores.csv. Nothing is written among the images."
        );
        confirm::remark(ui, &text);
        Grid::new("predict").num_columns(2).spacing([2.0 * STEP, STEP]).show(ui, |ui| {
            let rows = [
                ("Images", &mut sheet.images, Wanted::Predict, "the folder of the images"),
                ("Results", &mut sheet.out, Wanted::Predictions, "the folder that the results go into"),
            ];
            for (name, text, wanted, hint) in rows {
                let label = ui.label(name);
                ui.horizontal(|ui| {
                    let edit = ui.add(TextEdit::singleline(text).hint_text(hint).desired_width(44.0 * STEP));
                    if is_new && wanted == Wanted::Predict {
                        edit.request_focus();
                    }
                    is_entered |= enter.ends(&edit);
                    sheet.is_out_given |= edit.changed() && wanted == Wanted::Predictions;
                    edit.labelled_by(label.id);
                    if ui.button("Browse").clicked() {
                        dialogs.ask(ui.ctx(), wanted);
                    }
                });
                ui.end_row();
            }
            ui.label("Passes");
            ui.checkbox(&mut sheet.npy, "also write each pass (.npy, large)");
            ui.end_row();
        });
        let images = PathBuf::from(sheet.images.trim());
        if !sheet.is_out_given {
            let name = images.file_name().map(|name| format!("{}-predictions", name.to_string_lossy()));
            sheet.out = name.map_or(String::new(), |name| images.with_file_name(name).display().to_string());
        }
        let is_missing = dialogs.is_missing(ui.ctx(), "images to predict", sheet.images.trim());
        if is_missing {
            confirm::warning(ui, &format!("Images: {MISSING}"));
        }
        let obstacle = match (sheet.images.trim().is_empty(), sheet.out.trim().is_empty()) {
            (true, _) => Some("choose a folder of images first"),
            (false, true) => Some("choose a folder for the results"),
            (false, false) => obstacle.or(is_missing.then_some(MISSING)),
        };
        answer = confirm::buttons(ui, "Predict", obstacle, is_entered);
    });
    if answer == Some(Answer::Yes) {
        let folder = |text: &str| PathBuf::from(text.trim());
        let (images, out) = (folder(&sheet.images), folder(&sheet.out));
        app.start(JobKind::Predict { images, out, passes: None, npy: sheet.npy });
    }
    if !open || answer.is_some() {
        *predict = None;
    }
}
