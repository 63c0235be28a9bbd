//! Notices: what has been done and what failed. They lie over the canvas's lower right corner, so that the image under
//! the brush stays where it is when one comes or goes.

use egui::{
    Align, Align2, Area, Context, Frame, Id, Layout, Order, Rect, RichText, Role, ScrollArea, Ui, WidgetInfo, vec2,
};

use crate::app::{App, Notice};
use crate::ui::theme::{self, STEP, icon};

/// Width of a notice.
const WIDTH: f32 = 44.0 * STEP;
/// Largest share of the window's height that the notices take.
const HEIGHT: f32 = 0.4;

/// Shows the notices in a corner of `over`, the latest at the bottom.
pub fn show(ctx: &Context, app: &mut App, over: Rect) {
    if app.notices.is_empty() {
        return;
    }
    let mut closed = None;
    let height = HEIGHT * ctx.content_rect().height();
    let area = Area::new(Id::unique("notices")).order(Order::Foreground).constrain_to(over);
    area.anchor(Align2::RIGHT_BOTTOM, vec2(-STEP, -STEP)).show(ctx, |ui| {
        ui.set_width(WIDTH);
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).stick_to_bottom(true).show(ui, |ui| {
            for (place, notice) in app.notices.iter().enumerate() {
                if row(ui, notice) {
                    closed = Some(place);
                }
            }
        });
    });
    if let Some(place) = closed {
        app.notices.remove(place);
    }
}

/// One notice; returns whether it was dismissed.
fn row(ui: &mut Ui, notice: &Notice) -> bool {
    let mut is_closed = false;
    let (sign, colour) = match notice.is_error {
        true => (icon::WARNING, theme::WRONG),
        false => (icon::ACCEPT, theme::DONE),
    };
    Frame::popup(ui.style()).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            ui.label(RichText::new(sign).color(colour));
            ui.with_layout(Layout::right_to_left(Align::Min), |ui| {
                let close = ui.add(egui::Button::new(icon::CLOSE).frame(false)).on_hover_text("Dismiss");
                close.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Dismiss"));
                is_closed = close.clicked();
                ui.with_layout(Layout::left_to_right(Align::Min), |ui| {
                    ui.add(egui::Label::new(&notice.text).wrap());
                });
            });
        });
    });
    is_closed
}
