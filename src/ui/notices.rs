//! Notices: what has been done and what failed. They lie over the lower right corner, so that the image under the brush stays
//! where it is when one comes or goes.

use egui::{Align, Align2, Area, Context, Frame, Id, Layout, Order, RichText, Role, WidgetInfo, vec2};

use crate::app::App;
use crate::ui::STATUS_BAR;
use crate::ui::theme::{self, STEP, icon};

/// Width of a notice.
const WIDTH: f32 = 44.0 * STEP;

/// Shows the notices, the latest at the bottom.
pub fn show(ctx: &Context, app: &mut App) {
    if app.notices.is_empty() {
        return;
    }
    let mut closed = None;
    let area = Area::new(Id::unique("notices")).order(Order::Foreground);
    area.anchor(Align2::RIGHT_BOTTOM, vec2(-STEP, -STATUS_BAR - STEP)).show(ctx, |ui| {
        ui.set_width(WIDTH);
        for (place, notice) in app.notices.iter().enumerate() {
            let colour = if notice.is_error { theme::WRONG } else { theme::DONE };
            Frame::popup(ui.style()).show(ui, |ui| {
                ui.horizontal_top(|ui| {
                    let sign = if notice.is_error { icon::WARNING } else { icon::ACCEPT };
                    ui.label(RichText::new(sign).color(colour));
                    ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                        let close = ui.add(egui::Button::new(icon::CLOSE).frame(false)).on_hover_text("Dismiss");
                        close.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Dismiss"));
                        if close.clicked() {
                            closed = Some(place);
                        }
                        ui.with_layout(Layout::left_to_right(Align::Min), |ui| {
                            ui.add(egui::Label::new(&notice.text).wrap());
                        });
                    });
                });
            });
        }
    });
    if let Some(place) = closed {
        app.notices.remove(place);
    }
}
