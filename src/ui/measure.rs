//! The measuring line over the image: its length and angle.

use egui::{Align2, Color32, FontId, Pos2, Rect, Stroke, Ui};

use crate::domain::brush::Point;
use crate::domain::picture::Picture;
use crate::ui::theme::{self, STEP};
use crate::ui::view::CanvasState;

/// Moves the line's end, or begins a new line where the drag has just begun.
pub fn drag(canvas: &mut CanvasState, rect: Rect, begins_at: Option<Pos2>, at: Pos2) {
    let end = canvas.image_from_screen(rect, at);
    if let Some(from) = begins_at {
        canvas.measured = Some((canvas.image_from_screen(rect, from), end));
    } else if let Some((_, to)) = &mut canvas.measured {
        *to = end;
    }
}

/// Length in pixels, also in mm if the file gives the pixel size, and angle to the horizontal, from 0° to 180°.
pub fn text((from, to): (Point, Point), picture: &Picture) -> String {
    let (x, y) = (to.x - from.x, from.y - to.y);
    let pixels = x.hypot(y);
    let mm = picture.pixel_m.map_or(String::new(), |metre| format!("  {} mm", theme::short(pixels * metre * 1e3)));
    let angle = y.atan2(x).to_degrees().rem_euclid(180.0);
    format!("{pixels:.1} px{mm}  {angle:.1}°")
}

/// Draws the line with its figures.
pub fn draw(ui: &Ui, canvas: &CanvasState, picture: &Picture, rect: Rect) {
    let Some((from, to)) = canvas.measured else { return };
    let ends = [from, to].map(|point| canvas.screen_from_image(rect, point));
    let painter = ui.painter().with_clip_rect(rect);
    painter.line_segment(ends, Stroke::new(3.0, Color32::from_black_alpha(160)));
    painter.line_segment(ends, Stroke::new(1.0, Color32::WHITE));
    for end in ends {
        painter.circle(end, 3.0, Color32::WHITE, Stroke::new(1.0, Color32::BLACK));
    }
    let text = painter.layout_no_wrap(text((from, to), picture), FontId::monospace(12.0), Color32::WHITE);
    let inside = rect.shrink(STEP);
    let place = Align2::LEFT_BOTTOM.anchor_size(ends[1] + egui::vec2(STEP, -STEP), text.size());
    // Keep the text inside the panel.
    let shift = inside.clamp(place.min) - place.min + (inside.clamp(place.max) - place.max);
    let place = place.translate(shift);
    painter.rect_filled(place.expand(4.0), 3.0, Color32::from_black_alpha(190));
    painter.galley(place.min, text, Color32::WHITE);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_length_and_an_angle_counted_upwards() {
        let mut picture = Picture::of_colour(8, 8, vec![0; 256]);
        let point = |x: f64, y: f64| Point { x, y };
        assert_eq!(text((point(1.0, 5.0), point(4.0, 1.0)), &picture), "5.0 px  53.1°");
        picture.pixel_m = Some(2e-4);
        assert_eq!(text((point(4.0, 1.0), point(1.0, 5.0)), &picture), "5.0 px  1.00 mm  53.1°");
        assert!(text((point(0.0, 0.0), point(-3.0, 0.0)), &picture).ends_with("0.0°"));
    }
}
