//! The pointer over the canvas: zooming, panning, painting, levels.

use egui::{CursorIcon, Event, Key, PointerButton, Rect, Response, Role, Sense, Ui, WidgetInfo, vec2};

use crate::app::command::Command;
use crate::app::{App, RADIUS, Tool};
use crate::ui::commands;
use crate::ui::measure;
use crate::ui::view::{CanvasState, Panel};

/// Distance from a polygon's first corner, in screen points, within which a click closes the polygon.
const CLOSING: f32 = 8.0;
/// Drag that moves the level by the present window, and widens the window about as much, in screen points.
const LEVELS: f32 = 400.0;

/// Zooming, panning and painting in one panel.
pub fn interact(ui: &mut Ui, app: &mut App, canvas: &mut CanvasState, panel: Panel, rect: Rect) -> Response {
    let response = ui.interact(rect, ui.scope_id().with("picture"), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, format!("{} canvas", panel.title())));
    if let Some(project) = app.project().filter(|_| canvas.panels().first() == Some(&panel))
        && let Some(editor) = project.editor()
    {
        canvas.look_at(editor, project.tile(), rect.size());
    }
    let over = response.contains_pointer();
    let levels = commands::held(ui.ctx(), Command::DragLevels);
    let (scroll, pinch, space, pointer, resizes) = ui.input(|i| {
        let scroll = i.smooth_scroll_delta();
        // With Shift, a wheel scrolls across.
        (scroll.x + scroll.y, i.zoom_delta(), i.key_down(Key::Space), i.pointer.latest_pos(), i.modifiers.shift)
    });
    if over && resizes && scroll != 0.0 {
        app.radius = (app.radius * f64::from(scroll / 200.0).exp()).clamp(*RADIUS.start(), *RADIUS.end());
    }
    if over && let Some(at) = pointer {
        let scroll = if resizes { 0.0 } else { scroll };
        let factor = pinch * (scroll / 200.0).exp();
        if factor != 1.0 {
            let before = canvas.image_from_screen(rect, at);
            canvas.zoom_by(factor);
            let after = canvas.image_from_screen(rect, at);
            canvas.centre += vec2((before.x - after.x) as f32, (before.y - after.y) as f32);
        }
        canvas.hovered = Some(canvas.image_from_screen(rect, at));
    }
    let primary = response.dragged_by(PointerButton::Primary);
    if response.dragged_by(PointerButton::Middle) || (space && primary) {
        canvas.centre -= response.drag_delta() / canvas.scale(rect);
        canvas.fit = false;
    }
    if levels && primary {
        let moved = response.drag_delta() / LEVELS;
        app.move_levels(moved.y, moved.x);
    }
    let measures = commands::held(ui.ctx(), Command::Measure);
    if measures
        && primary
        && let Some(at) = pointer
    {
        let begins_at =
            response.drag_started_by(PointerButton::Primary).then(|| ui.input(|i| i.pointer.press_origin()));
        measure::drag(canvas, rect, begins_at.flatten(), at);
    } else if measures && response.clicked() {
        canvas.measured = None;
    }
    if over && (space || levels || measures) {
        ui.set_cursor_icon(match (space, levels) {
            (true, _) => CursorIcon::Grab,
            (false, true) => CursorIcon::ResizeNwSe,
            (false, false) => CursorIcon::Crosshair,
        });
    }
    // There is nothing to paint over in an empty panel.
    let editor = app.project().and_then(|p| p.editor());
    let shows = panel == Panel::Image || editor.is_some_and(|editor| editor.prediction().is_some());
    paint(ui, app, canvas, panel, rect, over && shows && !space && !levels && !measures);
    response
}

/// Paints with every pointer event of the frame, so that a fast stroke is as smooth as a slow one.
#[allow(clippy::wildcard_enum_match_arm)] // The enum is another crate's.
fn paint(ui: &Ui, app: &mut App, canvas: &mut CanvasState, panel: Panel, rect: Rect, may_begin: bool) {
    let radius = app.radius_px(f64::from(canvas.zoom));
    for event in ui.input(|i| i.events.clone()) {
        let drawing = canvas.drawing == Some(panel);
        match event {
            Event::PointerButton { pos, button, pressed: true, modifiers }
                if may_begin && canvas.drawing.is_none() && rect.contains(pos) && button != PointerButton::Middle =>
            {
                let erase = button == PointerButton::Secondary || modifiers.alt;
                press(app, canvas, panel, rect, pos, (radius, erase));
            }
            Event::PointerMoved(pos) if drawing => app.drag(canvas.image_from_screen(rect, pos)),
            Event::Touch { force: Some(force), .. } if drawing && app.tool.is_brush() => {
                app.set_pen_radius(radius * f64::from(0.3 + 0.7 * force));
            }
            Event::PointerButton { pressed: false, .. } | Event::WindowFocused(false) if drawing => {
                canvas.drawing = None;
                app.release();
            }
            _ => {}
        }
    }
    if app.tool == Tool::Polygon && may_begin && ui.input(|i| i.pointer.button_double_clicked(PointerButton::Primary)) {
        app.close_polygon();
    }
}

fn press(
    app: &mut App,
    canvas: &mut CanvasState,
    panel: Panel,
    rect: Rect,
    pos: egui::Pos2,
    (radius, erase): (f64, bool),
) {
    if app.tool == Tool::Polygon && !erase {
        let editor = app.project().and_then(|p| p.editor());
        let corners = editor.and_then(|e| e.outline()).map_or(&[][..], |(points, _)| points);
        let at_first = corners.len() > 2
            && corners.first().is_some_and(|first| canvas.screen_from_image(rect, *first).distance(pos) < CLOSING);
        if at_first {
            return app.close_polygon();
        }
    }
    canvas.drawing = Some(panel);
    canvas.unmark();
    app.press(canvas.image_from_screen(rect, pos), radius, erase);
}
