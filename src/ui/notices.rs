//! Notices: what has been done, what to know, and what failed. They lie over the canvas's lower right corner, so that the
//! image under the brush stays where it is when one comes or goes.

use std::sync::Arc;

use egui::{
    Align2, Area, Button, Context, Frame, Galley, Id, Label, Order, Rect, RichText, Role, ScrollArea, TextStyle, Ui,
    WidgetInfo, vec2,
};

use crate::app::{App, Notice};
use crate::ui::theme::{self, STEP, icon};

/// Width of the notices.
const WIDTH: f32 = 44.0 * STEP;
/// Width of a notice's text, beside its sign and its button.
const TEXT: f32 = WIDTH - 9.0 * STEP;
/// Largest share of the window's height that the notices take.
const HEIGHT: f32 = 0.4;

/// Shows the notices in a corner of `over`, the latest at the bottom. All of them are seen, with their buttons; where
/// there is no room for all of their texts, the long ones scroll.
pub fn show(ctx: &Context, app: &mut App, over: Rect) {
    if app.notices.is_empty() {
        return;
    }
    let mut closed = None;
    let id = Id::unique("notices");
    let before = ctx.memory(|memory| memory.area_rect(id));
    let most = HEIGHT * ctx.content_rect().height();
    let area = Area::new(id).order(Order::Foreground).constrain_to(over);
    let shown = area.anchor(Align2::RIGHT_BOTTOM, vec2(-STEP, -STEP)).show(ctx, |ui| {
        ui.set_width(WIDTH);
        let (font, colour) = (TextStyle::Body.resolve(ui.style()), ui.visuals().text_color());
        let layout = |notice: &Notice| ui.painter().layout(notice.text.clone(), font.clone(), colour, TEXT);
        let texts: Vec<Arc<Galley>> = app.notices.iter().map(layout).collect();
        let line = ui.spacing().interact_size.y;
        let around = Frame::popup(ui.style()).total_margin().sum().y + ui.spacing().item_spacing.y;
        let heights = texts.iter().map(|text| text.size().y.max(line)).collect();
        let height = height_for_all(heights, most - around * texts.len() as f32).max(line);
        for (place, (notice, text)) in app.notices.iter().zip(texts).enumerate() {
            if row(ui, notice, text, height) {
                closed = Some(place);
            }
        }
    });
    // Their place follows from the height that they had a frame ago.
    if before.is_none_or(|before| (before.height() - shown.response.rect.height()).abs() > 0.5) {
        ctx.request_repaint();
    }
    if let Some(place) = closed {
        app.notices.remove(place);
    }
}

/// The height that each text may take so that texts of these heights take no more than `most` together.
fn height_for_all(mut heights: Vec<f32>, most: f32) -> f32 {
    heights.sort_by(f32::total_cmp);
    let mut left = most;
    for (place, height) in heights.iter().enumerate() {
        let share = left / (heights.len() - place) as f32;
        if *height > share {
            return share;
        }
        left -= height;
    }
    most
}

/// One notice, its text in no more than this height; returns whether it was dismissed.
fn row(ui: &mut Ui, notice: &Notice, text: Arc<Galley>, height: f32) -> bool {
    let (sign, colour) = match (notice.is_error, notice.is_done) {
        (true, _) => (icon::WARNING, theme::WRONG),
        (false, true) => (icon::ACCEPT, theme::DONE),
        (false, false) => (icon::INFO, theme::quiet(ui)),
    };
    let mut is_closed = false;
    Frame::popup(ui.style()).show(ui, |ui| {
        ui.horizontal_top(|ui| {
            ui.label(RichText::new(sign).color(colour));
            let area = ScrollArea::vertical().id_salt(&notice.text).max_height(height).min_scrolled_height(height);
            area.show(ui, |ui| {
                ui.set_width(TEXT + STEP); // Room for the scroll bar.
                ui.add(Label::new(text));
            });
            let close = ui.add(Button::new(icon::CLOSE).frame(false)).on_hover_text("Dismiss");
            close.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Dismiss"));
            is_closed = close.clicked();
        });
    });
    is_closed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_texts_are_seen_whole_and_long_ones_share_what_is_left() {
        assert_eq!(height_for_all(vec![20.0, 60.0], 100.0), 100.0, "there is room for all");
        assert_eq!(height_for_all(vec![300.0, 20.0], 100.0), 80.0);
        assert_eq!(height_for_all(vec![300.0, 20.0, 200.0], 100.0), 40.0);
        assert_eq!(height_for_all(Vec::new(), 100.0), 100.0);
    }
}
