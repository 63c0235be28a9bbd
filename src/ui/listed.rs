//! The sheet of operations on the labels of all images in the list.

use egui::{Align2, Button, Context, RichText, Window};

use crate::app::App;
use crate::domain::text::counted;
use crate::ui::theme::{self, STEP};
use crate::worker::ManyLabels;

/// Shows the sheet as long as it is open.
pub fn show(ctx: &Context, app: &mut App, open: &mut bool) {
    if !*open {
        return;
    }
    let Some(project) = app.project() else {
        *open = false;
        return;
    };
    let shown = project.list.behind.len();
    let mut wanted = None;
    let sheet = Window::new("Labels of the listed images").open(open).resizable(false).collapsible(false);
    sheet.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_max_width(56.0 * STEP);
        let text = format!("The list shows {}: the filter and the search decide which.", counted(shown, "image"));
        ui.add(egui::Label::new(RichText::new(text).color(theme::quiet(ui))).wrap());
        let rows = [
            (ManyLabels::Unaccept, "Undo acceptance of", "They count as unlabelled again; what is painted stays"),
            (
                ManyLabels::Clear,
                "Clear the labels of",
                "Nothing is labelled in them any more; Undo in an image brings its label back",
            ),
        ];
        for (what, name, help) in rows {
            let number = app.listed(what).len();
            let images = counted(number, "image");
            let button = ui.add_enabled(number > 0, Button::new(format!("{name} {images}")));
            let button = button.on_hover_text(help).on_disabled_hover_text("No image in the list has any");
            if button.clicked() {
                wanted = Some(what);
            }
        }
    });
    if let Some(what) = wanted {
        app.change_listed(what);
        *open = false;
    }
}
