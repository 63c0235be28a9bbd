//! Overlays on the panels: the minimap, the scale bar, outlines, clicks, the tile to label, the cursor.

use eframe::egui_wgpu::Callback;
use egui::{Align2, Color32, CornerRadius, FontId, Pos2, Rect, Shape, Stroke, StrokeKind, Ui, pos2, vec2};

use crate::app::editor::Editor;
use crate::app::{App, Tool};
use crate::domain::brush::Point;
use crate::domain::picture::Levels;
use crate::domain::tiles::Tile;
use crate::ui::gpu::{self, PanelView};
use crate::ui::theme::{self, STEP};
use crate::ui::view::{CanvasState, Panel};

/// The minimap: the whole image with a frame around the visible part; shown only while not all of it is visible.
pub fn minimap(ui: &Ui, canvas: &CanvasState, editor: &Editor, rect: Rect, levels: Levels) {
    let size = vec2(editor.picture.width as f32, editor.picture.height as f32);
    let extent = rect.size() / canvas.zoom;
    if extent.x >= size.x && extent.y >= size.y {
        return;
    }
    let scale = (vec2(16.0 * STEP, 16.0 * STEP) / size).min_elem();
    let small = size * scale;
    let map = Rect::from_min_size(pos2(rect.left() + STEP, rect.bottom() - STEP - small.y), small);
    ui.painter().rect_filled(map.expand(2.0), CornerRadius::same(2), theme::CANVAS);
    let view = PanelView {
        extent: size.into(),
        levels: [levels.low, levels.high],
        pixel: 1.0 / (scale * ui.pixels_per_point()),
        label: [0.4, 0.8],
        ..PanelView::default()
    };
    ui.painter().add(Callback::new_paint_callback(map, gpu::Paint { panel: gpu::MINIMAP, view }));
    let corner = map.min + (canvas.centre - extent / 2.0) * scale;
    let frame = Rect::from_min_size(corner, extent * scale).intersect(map);
    ui.painter().rect_stroke(frame, CornerRadius::ZERO, Stroke::new(1.0, Color32::WHITE), StrokeKind::Inside);
}

/// A scale bar of a round length, if the file gives the pixel size.
pub fn scale_bar(ui: &Ui, canvas: &CanvasState, editor: &Editor, rect: Rect) {
    let Some(pixel_m) = editor.picture.pixel_m else { return };
    let point_m = pixel_m / f64::from(canvas.scale(rect));
    // The largest of 1, 2, 5 times a power of ten that fits a fifth of the panel.
    let most = f64::from(rect.width()) / 5.0 * point_m;
    let power = 10f64.powf(most.log10().floor());
    let length = [5.0, 2.0, 1.0].into_iter().map(|n| n * power).find(|l| *l <= most).unwrap_or(power);
    let (unit, name) = [(1.0, "m"), (1e-2, "cm"), (1e-3, "mm"), (1e-6, "µm"), (1e-9, "nm")]
        .into_iter()
        .find(|(unit, _)| length >= *unit * 0.9999)
        .unwrap_or((1e-9, "nm"));
    let right = pos2(rect.right() - 2.0 * STEP, rect.bottom() - 2.0 * STEP);
    let left = right - vec2((length / point_m) as f32, 0.0);
    let painter = ui.painter();
    painter.line_segment([left, right], Stroke::new(4.0, Color32::BLACK));
    painter.line_segment([left, right], Stroke::new(2.0, Color32::WHITE));
    let middle = left + (right - left) / 2.0 - vec2(0.0, 0.5 * STEP);
    let text = format!("{:.0} {name}", length / unit);
    painter.text(middle, Align2::CENTER_BOTTOM, text, FontId::proportional(12.0), Color32::WHITE);
}

/// The outline of the part that is to be labelled.
pub fn tile_frame(ui: &Ui, canvas: &CanvasState, tile: Tile, rect: Rect) {
    let corner = |x: usize, y: usize| canvas.screen_from_image(rect, Point { x: x as f64, y: y as f64 });
    let frame = Rect::from_min_max(corner(tile.left, tile.top), corner(tile.left + tile.width, tile.top + tile.height));
    ui.painter().rect_stroke(frame, CornerRadius::ZERO, Stroke::new(3.0, Color32::BLACK), StrokeKind::Outside);
    ui.painter().rect_stroke(frame, CornerRadius::ZERO, Stroke::new(1.5, theme::WANTED), StrokeKind::Outside);
}

/// A circle around the place that the view was moved to, for a moment.
pub fn mark(ui: &Ui, canvas: &CanvasState, rect: Rect) {
    let Some((place, rest)) = canvas.marked() else { return };
    let at = canvas.screen_from_image(rect, place);
    let radius = 6.0 * STEP * canvas.scale(rect) / canvas.zoom;
    ui.painter().circle_stroke(at, radius, Stroke::new(4.0, Color32::BLACK));
    ui.painter().circle_stroke(at, radius, Stroke::new(2.0, theme::WANTED));
    ui.ctx().request_repaint_after(rest);
}

/// The clicks on the current object: positive ones green, negative ones red.
pub fn clicks(ui: &Ui, canvas: &CanvasState, editor: &Editor, rect: Rect) {
    for click in editor.clicks() {
        let middle = Point { x: click.at.0 as f64 + 0.5, y: click.at.1 as f64 + 0.5 };
        let at = canvas.screen_from_image(rect, middle);
        let colour = if click.is_positive { theme::DONE } else { theme::WRONG };
        ui.painter().circle(at, 5.0, colour, Stroke::new(1.5, Color32::WHITE));
        ui.painter().line_segment([at - vec2(3.0, 0.0), at + vec2(3.0, 0.0)], Stroke::new(1.5, Color32::WHITE));
        if click.is_positive {
            ui.painter().line_segment([at - vec2(0.0, 3.0), at + vec2(0.0, 3.0)], Stroke::new(1.5, Color32::WHITE));
        }
    }
}

/// Where the legend of what is drawn stands: along the panel's top, below the place of a banner.
fn legend_place(rect: Rect, width: f32) -> Rect {
    Rect::from_min_size(rect.left_top() + vec2(STEP, 6.0 * STEP), vec2(width + 2.0 * STEP, 2.5 * STEP))
}

/// Why there is no difference to draw, in the legend's place.
pub fn no_difference(ui: &Ui, rect: Rect, text: &str) {
    let colour = Color32::from_gray(220);
    let text = ui.painter().layout_no_wrap(text.to_owned(), FontId::proportional(12.0), colour);
    let strip = legend_place(rect, text.size().x);
    ui.painter().rect_filled(strip, CornerRadius::same(4), Color32::from_black_alpha(170));
    let at = pos2(strip.left() + STEP, strip.center().y - text.size().y / 2.0);
    ui.painter().galley(at, text, colour);
}

/// The legend of the difference colours, along the panel's top.
pub fn difference_legend(ui: &Ui, rect: Rect, compared: Option<usize>, has_several_classes: bool) {
    let [missed, found] = match compared {
        None => ["missed by the prediction".to_owned(), "not in the label".to_owned()],
        Some(round) => [format!("only in round {round}"), "only in the active round".to_owned()],
    };
    let names = [missed, found, "another class".to_owned()];
    let rows = names.into_iter().zip(gpu::DIFFERENCE).take(if has_several_classes { 3 } else { 2 });
    let font = FontId::proportional(12.0);
    let galleys: Vec<_> = rows
        .map(|(name, colour)| (ui.painter().layout_no_wrap(name, font.clone(), Color32::from_gray(220)), colour))
        .collect();
    let width: f32 = galleys.iter().map(|(text, _)| text.size().x + 3.5 * STEP).sum();
    let strip = legend_place(rect, width - STEP);
    ui.painter().rect_filled(strip, CornerRadius::same(4), Color32::from_black_alpha(170));
    let mut x = strip.left() + STEP;
    for (text, colour) in galleys {
        let swatch = Rect::from_center_size(pos2(x + 0.5 * STEP, strip.center().y), vec2(STEP * 1.25, STEP * 1.25));
        ui.painter().rect_filled(swatch, CornerRadius::same(2), colour);
        let size = text.size();
        ui.painter().galley(pos2(x + 1.5 * STEP, strip.center().y - size.y / 2.0), text, Color32::WHITE);
        x += size.x + 3.5 * STEP;
    }
}

/// The outline being drawn, in every panel.
pub fn outline(ui: &Ui, canvas: &CanvasState, editor: &Editor, rect: Rect) {
    let Some((points, is_polygon)) = editor.outline() else { return };
    let mut line: Vec<Pos2> = points.iter().map(|point| canvas.screen_from_image(rect, *point)).collect();
    if is_polygon {
        line.iter().for_each(|corner| {
            ui.painter().circle_filled(*corner, 3.0, Color32::WHITE);
        });
        line.extend(canvas.hovered.map(|at| canvas.screen_from_image(rect, at)));
    }
    ui.painter().add(Shape::line(line.clone(), Stroke::new(3.0, Color32::from_black_alpha(160))));
    ui.painter().add(Shape::line(line, Stroke::new(1.0, Color32::WHITE)));
}

/// The brush's outline at the same image position in every panel.
pub fn mirror_cursor(ui: &Ui, app: &App, canvas: &CanvasState, pictures: &[Rect]) {
    let Some(at) = canvas.hovered.filter(|_| app.project().and_then(|p| p.editor()).is_some()) else { return };
    let project = app.project();
    let class = project.and_then(|p| p.study.classes.iter().find(|c| c.number == app.class)).map(|c| c.colour);
    let colour = match app.tool {
        Tool::Brush | Tool::Outline | Tool::Polygon | Tool::Fill | Tool::Click => {
            class.map_or(Color32::WHITE, |[r, g, b]| Color32::from_rgb(r, g, b))
        }
        Tool::Eraser | Tool::Clear | Tool::Adopt => Color32::WHITE,
    };
    let predicted = project.and_then(|p| p.editor()).is_some_and(|editor| editor.prediction().is_some());
    for (panel, rect) in canvas.panels().iter().zip(pictures.iter().copied()) {
        if !predicted && *panel != Panel::Image {
            continue;
        }
        let painter = ui.painter().with_clip_rect(rect);
        let centre = canvas.screen_from_image(rect, at);
        let radius =
            if app.tool.is_brush() { app.radius_px(f64::from(canvas.zoom)) as f32 * canvas.scale(rect) } else { 3.0 };
        let radius = radius.max(1.5);
        painter.circle_stroke(centre, radius + 1.0, Stroke::new(1.0, Color32::from_black_alpha(160)));
        painter.circle_stroke(centre, radius, Stroke::new(1.0, colour));
        painter.circle_filled(centre, 1.0, colour);
    }
}
