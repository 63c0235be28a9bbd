//! The sheet of a new project.

use std::path::PathBuf;

use egui::{Align2, Context, Grid, Id, LayerId, Order, RichText, Window};

use crate::app::App;
use crate::domain::settings::Settings;
use crate::ui::browse::{MISSING, Wanted};
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::dialogs::Dialogs;
use crate::ui::theme::{self, STEP};
use crate::worker::ImportTarget;

/// The new project being set up.
pub struct NewProject {
    /// The folder of its images.
    pub images: String,
    /// The folder of masks; empty for none.
    pub masks: String,
    /// Its own folder.
    pub root: String,
    preset: &'static str,
    /// Whether `root` still follows `images`.
    follows: bool,
}

impl Default for NewProject {
    fn default() -> Self {
        Self { images: String::new(), masks: String::new(), root: String::new(), preset: "quick", follows: true }
    }
}

impl NewProject {
    /// Sets the project's folder as chosen by the user, so that it no longer follows the folder of images.
    pub fn choose_root(&mut self, root: String) {
        self.root = root;
        self.follows = false;
    }
}

/// Shows the sheet as long as it is open.
pub fn show(ctx: &Context, app: &mut App, sheet: &mut Option<NewProject>, dialogs: &Dialogs, enter: Enter) {
    let Some(new) = sheet else { return };
    let (mut open, mut answer, mut is_entered) = (true, None, enter.confirms());
    let busy = app.import_obstacle();
    let centre = ctx.content_rect().center();
    let id = Id::unique("new project");
    let is_new = !ctx.memory(|memory| memory.areas().visible_last_frame(&LayerId::new(Order::Middle, id)));
    let window = Window::new("New project").id(id).open(&mut open).resizable(false).collapsible(false);
    window.pivot(Align2::CENTER_CENTER).default_pos(centre).show(ctx, |ui| {
        ui.label(RichText::new("Images stay where they are and are never written to.").color(theme::quiet(ui)));
        Grid::new("new project").num_columns(2).spacing([2.0 * STEP, STEP]).show(ui, |ui| {
            let rows = [
                ("Images", &mut new.images, Wanted::Images, "the folder of the images"),
                ("Masks", &mut new.masks, Wanted::Masks, "none; or a folder of masks, or a COCO file (.json)"),
                ("Project", &mut new.root, Wanted::Root, "the folder that labels and models go into"),
            ];
            for (name, text, wanted, hint) in rows {
                let label = ui.label(name);
                ui.horizontal(|ui| {
                    let edit = egui::TextEdit::singleline(text).hint_text(hint).desired_width(44.0 * STEP);
                    let edit = ui.add(edit).labelled_by(label.id);
                    if is_new && wanted == Wanted::Images {
                        edit.request_focus();
                    }
                    is_entered |= enter.ends(&edit);
                    if edit.changed() && wanted == Wanted::Root {
                        new.follows = false;
                    }
                    let browse = ui.button("Browse");
                    browse
                        .widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("Browse {name}")));
                    if browse.clicked() {
                        dialogs.ask(ui.ctx(), wanted);
                    }
                });
                ui.end_row();
            }
            ui.label("Preset");
            ui.horizontal(|ui| {
                for (preset, help) in [
                    ("quick", "96 × 128, five levels from 16 filters, pseudo-labels: minutes a round on two cores"),
                    ("paper", "192 × 240 grey, five levels from 32 filters: the paper's settings, for a GPU"),
                ] {
                    ui.radio_value(&mut new.preset, preset, preset).on_hover_text(help);
                }
            });
            ui.end_row();
        });
        if new.follows {
            let images = PathBuf::from(new.images.trim());
            let name = images.file_name().map(|name| format!("{}-qualm", name.to_string_lossy()));
            new.root = name.map_or(String::new(), |name| images.with_file_name(name).display().to_string());
        }
        let (images, masks) = (new.images.trim(), new.masks.trim());
        let missing = [("new project: images", "Images", images), ("new project: masks", "Masks", masks)]
            .into_iter()
            .filter(|&(field, _, typed)| dialogs.is_missing(ui.ctx(), field, typed))
            .map(|(_, name, _)| name)
            .collect::<Vec<_>>();
        for name in &missing {
            confirm::warning(ui, &format!("{name}: {MISSING}"));
        }
        let obstacle = match (images.is_empty(), new.root.trim().is_empty()) {
            (true, _) => Some("choose the images' folder first"),
            (false, true) => Some("choose the project's folder first"),
            (false, false) => busy.or((!missing.is_empty()).then_some(MISSING)),
        };
        answer = confirm::buttons(ui, "Scan the folders", obstacle, is_entered);
    });
    if answer == Some(Answer::Yes) {
        let path = |text: &str| PathBuf::from(text.trim());
        let masks = (!new.masks.trim().is_empty()).then(|| path(&new.masks));
        let settings = Settings::preset(new.preset).unwrap_or_default();
        let target = ImportTarget::Project { root: path(&new.root), images: path(&new.images), masks };
        app.plan_import(target, settings);
    }
    if !open || answer == Some(Answer::Cancel) {
        *sheet = None;
    }
}
