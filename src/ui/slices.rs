//! The bar over the canvas for scrolling through a stack.

use egui::{Align, Layout, Panel, RichText, Slider, Ui};

use crate::app::App;
use crate::app::command::Command;
use crate::app::list::status_words;
use crate::domain::study::Status;
use crate::ui::images::named_button;
use crate::ui::theme::{self, STEP};

/// Shows the bar where the open image is a slice of a stack.
pub fn show(ui: &mut Ui, app: &mut App) {
    let Some(project) = app.project() else { return };
    let (slices, Some(slice)) = (project.slices(), project.slice()) else { return };
    let labelled = slices.iter().filter(|image| image.labelled).count();
    let proposed = slices.iter().filter(|image| matches!(Status::of(image), Status::Proposed(..))).count();
    let count = slices.len();
    let status = status_words(&slices[slice]);
    let ids: Vec<_> = slices.iter().map(|image| image.id).collect();
    Panel::top("slices").exact_size(4.0 * STEP).show(ui, |ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            named_button(ui, app, Command::InterpolateSlice, "", "Interpolate");
            named_button(ui, app, Command::CopySlice, "", "Copy previous");
            // In a narrow window, less important text is dropped first.
            if ui.available_width() > 70.0 * STEP {
                let proposed = if proposed > 0 { format!(", {proposed} proposed") } else { String::new() };
                let text = format!("{status}  ·  {labelled} labelled{proposed}");
                ui.label(RichText::new(text).color(theme::quiet(ui)));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.label(RichText::new(format!("Slice {} of {count}", slice + 1)).strong());
                let mut wanted = slice + 1;
                ui.spacing_mut().slider_width = (ui.available_width() - STEP).max(4.0 * STEP);
                let slider = ui.add(Slider::new(&mut wanted, 1..=count).show_value(false));
                let slider = slider.on_hover_text("Page Up and Page Down move between slices");
                slider.widget_info(|| egui::WidgetInfo::slider(true, (slice + 1) as f64, "Slice"));
                if wanted != slice + 1 {
                    app.show(ids[wanted - 1]);
                }
            });
        });
    });
}
