//! The image, prediction and uncertainty panels: linked views, a shared cursor, and painting in each of them.

use eframe::egui_wgpu::{Callback, RenderState};
use egui::{
    Align, Align2, Color32, CornerRadius, CursorIcon, FontId, Key, Layout, Pos2, Rect, Role, Shape, Stroke, StrokeKind,
    Ui, UiBuilder, WidgetInfo, pos2, vec2,
};

use crate::app::command::Command;
use crate::app::editor::Editor;
use crate::app::{App, Current, OpenProject};
use crate::domain::picture::Levels;
use crate::domain::prediction::Uncertainty;
use crate::domain::study::{Review, Status};
use crate::ui::colours::ColourMap;
use crate::ui::gpu::{self, PanelView};
use crate::ui::images::named_button;
use crate::ui::input;
use crate::ui::measure;
use crate::ui::overlays;
use crate::ui::theme::{self, STEP, icon};
use crate::ui::view::{CanvasState, Overlay, Panel, arrange};

const HEADER: f32 = 4.0 * STEP;
/// A panel that is narrower has a smaller title and smaller controls.
const NARROW: f32 = 34.0 * STEP;
/// Room that the threshold or the choice of a map takes at least; without it, the panel has to be made large for them.
const CONTROL: f32 = 8.0 * STEP;

/// The centre of the window: its panels, or what to do to fill them.
pub fn show(ui: &mut Ui, app: &mut App, canvas: &mut CanvasState, state: Option<&RenderState>) {
    let whole = ui.available_rect_before_wrap();
    ui.painter().rect_filled(whole, CornerRadius::ZERO, theme::CANVAS);
    (canvas.hovered, canvas.area) = (None, Some(whole));
    keep_label_in_view(app, canvas);
    if canvas.drawing.is_some_and(|drawing| !canvas.panels().contains(&drawing)) {
        canvas.drawing = None;
        app.release();
    }
    let editor = app.project().and_then(|p| p.editor());
    let image = editor.map_or(vec2(1.0, 1.0), |e| vec2(e.picture.width as f32, e.picture.height as f32));
    let panels = canvas.panels().to_vec();
    let places = arrange(whole, image, HEADER, panels.len());
    let pictures: Vec<Rect> =
        places.iter().map(|place| Rect::from_min_max(place.min + vec2(0.0, HEADER), place.max)).collect();
    for ((panel, place), picture) in panels.into_iter().zip(places).zip(pictures.iter().copied()) {
        let header = Rect::from_min_size(place.min, vec2(place.width(), HEADER));
        ui.painter().rect_filled(header, CornerRadius::ZERO, ui.visuals().panel_fill);
        let inner = header.shrink2(vec2(STEP, 2.0));
        ui.scope_builder(UiBuilder::new().max_rect(inner).layout(Layout::left_to_right(Align::Center)), |ui| {
            panel_header(ui, app, canvas, panel);
        });
        ui.scope_builder(UiBuilder::new().max_rect(picture).id_salt(panel.title()), |ui| {
            ui.set_clip_rect(picture);
            picture_of(ui, app, canvas, state, panel, picture);
        });
    }
    if canvas.hovered.is_some() {
        overlays::mirror_cursor(ui, app, canvas, &pictures);
    }
}

/// Shows the label once it is changed, or to be accepted, while it is hidden: nobody trains on what nobody has seen.
fn keep_label_in_view(app: &mut App, canvas: &mut CanvasState) {
    let editor = app.project().and_then(OpenProject::editor);
    let has_prediction = editor.is_some_and(|editor| editor.prediction().is_some());
    let now = editor.map(|editor| (editor.image, editor.revision()));
    let has_changed = canvas.has_label_changed(now);
    if app.takes_wish_for_label() {
        app.compare(None);
        canvas.show_label(has_prediction);
    } else if has_changed && canvas.hides_label(has_prediction) {
        canvas.show_label(has_prediction);
        app.notify("the label was changed while it was hidden: it is shown again", false);
    }
    // Another round's mask is drawn in the label's place.
    let is_compared = app.project().is_some_and(|project| project.compared.is_some());
    let is_hidden = is_compared || canvas.peeking || canvas.hides_label(has_prediction);
    app.set_label_hidden(now.is_some() && is_hidden);
}

fn panel_header(ui: &mut Ui, app: &mut App, canvas: &mut CanvasState, panel: Panel) {
    let title = panel.title();
    let editor = app.project().and_then(|p| p.editor());
    let (open, predicted) = (editor.is_some(), editor.is_some_and(|editor| editor.prediction().is_some()));
    let is_narrow = ui.available_width() < NARROW;
    let text = egui::RichText::new(title).strong();
    let text = if is_narrow { text.small() } else { text };
    if is_narrow {
        ui.spacing_mut().button_padding.x = STEP / 2.0;
        ui.spacing_mut().item_spacing.x = STEP / 2.0;
    }
    ui.add(egui::Label::new(text).selectable(false));
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let eye = if canvas.label[panel as usize] { icon::EYE } else { icon::EYE_SLASH };
        let shown = ui.small_button(eye).on_hover_text("Show or hide the label over this panel");
        shown.widget_info(|| {
            WidgetInfo::selected(Role::Button, true, canvas.label[panel as usize], format!("Label over {title}"))
        });
        if shown.clicked() {
            canvas.label[panel as usize] = !canvas.label[panel as usize];
        }
        if canvas.panels().first() != Some(&panel) {
            let enlarge = ui.small_button(icon::ENLARGE).on_hover_text("Make this the large panel");
            enlarge.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Enlarge {title}")));
            if enlarge.clicked() {
                canvas.enlarge(panel);
            }
        } else if open {
            let text = format!("{:.0} %", canvas.zoom * 100.0);
            let fit = ui.small_button(text).on_hover_text(Command::Fit.row().tooltip());
            if fit.clicked() {
                canvas.fit();
            }
        }
        match panel {
            Panel::Prediction if predicted && ui.available_width() >= CONTROL => {
                ui.spacing_mut().slider_width = (ui.available_width() - 9.0 * STEP).clamp(3.0 * STEP, 14.0 * STEP);
                let response = if is_narrow {
                    let field = egui::DragValue::new(&mut app.threshold).range(0.01..=0.99).speed(0.005);
                    ui.add(field.prefix("≥ ").fixed_decimals(2))
                } else {
                    ui.add(egui::Slider::new(&mut app.threshold, 0.01..=0.99).prefix("≥ ").fixed_decimals(2))
                };
                let response = response.on_hover_text("Pixels with at least this probability belong to the mask");
                if response.changed() {
                    app.compare(app.project().and_then(|project| project.compared));
                }
                response.accessible_name("Threshold");
            }
            Panel::Uncertainty if predicted && ui.available_width() >= CONTROL => {
                let name = |kind: Uncertainty| kind.label().split(" (").next().unwrap_or_default();
                let shown = egui::RichText::new(name(canvas.uncertainty));
                let shown = if is_narrow { shown.small() } else { shown };
                let menu = egui::ComboBox::from_id_salt("uncertainty").selected_text(shown).truncate();
                let response =
                    menu.width((ui.available_width() - 5.0 * STEP).clamp(3.0 * STEP, 16.0 * STEP)).show_ui(ui, |ui| {
                        for kind in Uncertainty::ALL {
                            ui.selectable_value(&mut canvas.uncertainty, kind, name(kind));
                        }
                        ui.separator();
                        for (map, name) in ColourMap::ALL {
                            ui.selectable_value(&mut canvas.colour_map, map, name);
                        }
                    });
                response.response.accessible_name("Uncertainty map");
            }
            Panel::Image | Panel::Prediction | Panel::Uncertainty => {}
        }
    });
}

fn picture_of(
    ui: &mut Ui,
    app: &mut App,
    canvas: &mut CanvasState,
    state: Option<&RenderState>,
    panel: Panel,
    rect: Rect,
) {
    let Some(project) = app.project() else { return };
    let has_model = project.study.active_round().is_some();
    let hint = |ui: &mut Ui, text: &str| note(ui, rect, text);
    let is_main = canvas.panels().first() == Some(&panel);
    match &project.current {
        Current::None if is_main => return hint(ui, "Choose an image on the left"),
        Current::Failed(_, reason) if is_main => return hint(ui, reason),
        Current::Loading(_) if is_main => return waiting(ui, rect, "loading"),
        Current::None | Current::Failed(..) | Current::Loading(_) => return,
        Current::Open(editor) => {
            let (width, height) = (editor.picture.width, editor.picture.height);
            if state.is_some_and(|state| !gpu::fits(state, width, height)) {
                return hint(ui, "The image is larger than this graphics device can show; cut it into parts");
            }
        }
    }
    let response = input::interact(ui, app, canvas, panel, rect);
    keep_label_in_view(app, canvas);
    let (threshold, levels) = (app.threshold, app.levels());
    let Some(project) = app.project_mut() else { return };
    let (compared, classes) = (project.compared, project.study.classes.len());
    let palette: Vec<[u8; 3]> = project.study.classes.iter().map(|class| class.colour).collect();
    let tile = project.tile();
    let Some(editor) = project.editor_mut() else { return };
    // Until the other round has predicted, what is drawn is the label.
    let compared = compared.filter(|_| editor.has_compared());
    let overlay = if compared.is_some() { Overlay::Difference } else { canvas.options.overlay };
    if let Some(state) = state.filter(|_| is_main) {
        let colours = Some((palette, canvas.colour_map));
        if canvas.colours != colours {
            canvas.colours = colours;
            if let Some((palette, map)) = &canvas.colours {
                gpu::set_colours(state, palette, *map);
            }
        }
        if gpu::update(state, editor, canvas.uncertainty) {
            ui.ctx().request_repaint();
        }
    }
    let missing = match panel {
        Panel::Image => None,
        Panel::Prediction => Some("The network's prediction appears here after the first round"),
        Panel::Uncertainty => Some("The network's uncertainty appears here after the first round"),
    };
    if let (Some(text), None) = (missing, editor.prediction()) {
        return match editor.unpredicted() {
            Some(reason) => note(ui, rect, reason),
            None if has_model => waiting(ui, rect, "predicting"),
            None => no_model(ui, app, rect, text),
        };
    }
    if state.is_some() {
        let is_hatched = editor.has_both_unpainted();
        let view = panel_view(ui, canvas, editor, (panel, rect), (threshold, levels, overlay), is_hatched);
        ui.painter().add(Callback::new_paint_callback(rect, gpu::Paint { panel: panel as usize, view }));
    }
    if is_main && state.is_some() {
        overlays::minimap(ui, canvas, editor, rect, levels);
    }
    match panel {
        Panel::Image => overlays::scale_bar(ui, canvas, editor, rect),
        Panel::Prediction => {}
        Panel::Uncertainty => colour_bar(ui, canvas, editor, rect),
    }
    if panel == Panel::Image && overlay == Overlay::Difference && canvas.label[0] {
        if editor.prediction().is_none() {
            overlays::no_difference(ui, rect, "no prediction to compare with");
        } else if editor.is_empty() {
            overlays::no_difference(ui, rect, "no label to compare with");
        } else {
            overlays::difference_legend(ui, rect, compared, classes > 1);
        }
    }
    if let Some(tile) = tile {
        overlays::tile_frame(ui, canvas, tile, rect);
    }
    overlays::outline(ui, canvas, editor, rect);
    overlays::clicks(ui, canvas, editor, rect);
    overlays::mark(ui, canvas, rect);
    measure::draw(ui, canvas, &editor.picture, rect);
    if editor.computing {
        let place = Rect::from_center_size(rect.center_top() + vec2(0.0, 3.0 * STEP), vec2(3.0 * STEP, 3.0 * STEP));
        egui::Spinner::new().paint_at(ui, place);
    }
    if response.hovered() && !ui.input(|i| i.key_down(Key::Space)) {
        ui.set_cursor_icon(CursorIcon::None);
    }
    if is_main {
        banner(ui, app, rect);
    }
}

/// A banner over the image if what is drawn is not the user's own label, with the commands that apply.
fn banner(ui: &mut Ui, app: &mut App, rect: Rect) {
    let Some(project) = app.project() else { return };
    let record = project.current.id().and_then(|image| project.study.image(image));
    let state = record.filter(|record| !record.labelled).and_then(|record| record.pseudo);
    let has_compared = project.editor().is_some_and(Editor::has_compared);
    let (text, help, commands): (String, &str, &[Command]) = match (project.compared, state) {
        (Some(round), _) if has_compared => (format!("Where round {round} and the active one differ"), "", &[]),
        (Some(round), _) => (format!("Round {round} is predicting …"), "", &[]),
        (None, Some(Review::Unreviewed)) => {
            let help = match project.study.settings.pseudo_ask {
                true => "Pseudo-label: used in training once you accept it",
                false => "Pseudo-label: used in the next round's training unless you reject it",
            };
            ("pseudo-label".to_owned(), help, &[Command::AcceptPseudo, Command::RejectPseudo])
        }
        (None, Some(state)) => (Status::Pseudo(state).label().to_owned(), "", &[Command::RevokePseudo]),
        (None, None) if project.tile().is_some() && record.is_some_and(|record| !record.labelled) => (
            "Label the outlined tile".to_owned(),
            "The most uncertain part of this image. Accepting labels what is left unpainted in the tile as background; outside \
             it, what you do not paint stays not labelled and is ignored in training.",
            &[],
        ),
        (None, None) => return,
    };
    let is_compared = project.compared.is_some();
    let place = Rect::from_min_size(rect.min + vec2(STEP, STEP), vec2(rect.width() - 2.0 * STEP, 4.0 * STEP));
    ui.painter().rect_filled(place, CornerRadius::same(4), Color32::from_black_alpha(190));
    let inner = UiBuilder::new().max_rect(place.shrink2(vec2(STEP, 0.0))).layout(Layout::left_to_right(Align::Center));
    ui.scope_builder(inner, |ui| {
        ui.visuals_mut().override_text_color = Some(Color32::from_gray(220));
        let text = ui.add(egui::Label::new(egui::RichText::new(text).small().color(theme::MACHINE)).truncate());
        if !help.is_empty() {
            text.on_hover_text(help);
        }
        for command in commands {
            let name = command.row().name.split(' ').next().unwrap_or_default();
            let key = command.row().shortcuts.first().map_or(String::new(), |shortcut| shortcut.text());
            named_button(ui, app, *command, &key, name);
        }
        if is_compared && ui.button("End").clicked() {
            app.compare(None);
        }
    });
}

fn panel_view(
    ui: &Ui,
    canvas: &CanvasState,
    editor: &Editor,
    (panel, rect): (Panel, Rect),
    (threshold, levels, overlay): (f32, Levels, Overlay),
    is_hatched: bool,
) -> PanelView {
    let scale = canvas.scale(rect);
    let extent = rect.size() / scale;
    let origin = canvas.centre - extent / 2.0;
    let plane = editor.prediction().map(|prediction| prediction.plane(canvas.uncertainty));
    let options = &canvas.options;
    let shown = canvas.label[panel as usize] && !canvas.peeking;
    // Filled areas would hide the map.
    let fill = if panel == Panel::Image && !options.outlines_only { options.opacity } else { 0.0 };
    let over = |wanted: Overlay| if shown && overlay == wanted { [fill, 0.9] } else { [0.0, 0.0] };
    let mask = if panel == Panel::Prediction { [0.3, 0.0] } else { over(Overlay::Prediction) };
    let has_mask = editor.prediction().is_some();
    PanelView {
        origin: origin.into(),
        extent: extent.into(),
        levels: [levels.low, levels.high],
        pixel: 1.0 / (scale * ui.pixels_per_point()),
        map: panel as u32,
        map_opacity: match panel {
            Panel::Image => 0.0,
            Panel::Prediction => 0.7,
            Panel::Uncertainty => 0.85,
        },
        map_gain: plane.map_or(1.0, |plane| plane.largest / canvas.fixed_range.unwrap_or(plane.high).max(1e-9)),
        threshold,
        label: over(Overlay::Label),
        mask: if has_mask { mask } else { [0.0, 0.0] },
        unlabelled: if fill > 0.0 && shown && overlay == Overlay::Label && is_hatched { 0.35 } else { 0.0 },
        difference: if shown && has_mask && overlay == Overlay::Difference { options.opacity.max(0.3) } else { 0.0 },
        sharp: options.sharp && scale * ui.pixels_per_point() > 3.0,
    }
}

/// The colour bar of the map with its range, and whether that range is the same for all images.
fn colour_bar(ui: &mut Ui, canvas: &mut CanvasState, editor: &Editor, rect: Rect) {
    let Some(prediction) = editor.prediction() else { return };
    let high = prediction.plane(canvas.uncertainty).high;
    let top = canvas.fixed_range.unwrap_or(high);
    let width = (rect.width() - 2.0 * STEP).min(40.0 * STEP);
    let ground = Rect::from_min_max(
        pos2(rect.right() - STEP - width, rect.bottom() - 3.5 * STEP),
        rect.right_bottom() - vec2(STEP, STEP / 2.0),
    );
    let painter = ui.painter();
    painter.rect_filled(ground, CornerRadius::same(4), Color32::from_black_alpha(150));
    let bar = Rect::from_min_max(ground.min + vec2(2.0 * STEP, STEP), ground.max - vec2(9.0 * STEP, STEP));
    let steps = 64;
    for step in 0..steps {
        let [r, g, b] = canvas.colour_map.at((step as f64 + 0.5) / f64::from(steps));
        let x = |step: i32| bar.left() + bar.width() * step as f32 / steps as f32;
        let slice = Rect::from_min_max(pos2(x(step), bar.top()), pos2(x(step + 1) + 0.5, bar.bottom()));
        painter.add(Shape::rect_filled(slice, CornerRadius::ZERO, Color32::from_rgb(r, g, b)));
    }
    painter.rect_stroke(bar, CornerRadius::ZERO, Stroke::new(1.0, Color32::from_gray(120)), StrokeKind::Outside);
    let text = |at: Pos2, align: Align2, text: String| {
        painter.text(at, align, text, FontId::proportional(12.0), Color32::from_gray(220))
    };
    text(bar.left_center() - vec2(STEP / 2.0, 0.0), Align2::RIGHT_CENTER, "0".to_owned());
    text(bar.right_center() + vec2(STEP / 2.0, 0.0), Align2::LEFT_CENTER, theme::short(top.into()));
    let lock = Rect::from_min_max(pos2(ground.right() - 4.0 * STEP, ground.top()), ground.max - vec2(4.0, 0.0));
    ui.scope_builder(UiBuilder::new().max_rect(lock).layout(Layout::right_to_left(Align::Center)), |ui| {
        let (sign, help) = match canvas.fixed_range {
            Some(_) => (icon::LOCK, "Same range for all images. Click to fit the range to each image"),
            None => (
                icon::UNLOCK,
                "Range: 0 to the 99th percentile of this image's non-zero values. Click to use the same range for all images",
            ),
        };
        let button = ui.small_button(sign).on_hover_text(help);
        button.widget_info(|| WidgetInfo::selected(Role::Button, true, canvas.fixed_range.is_some(), "Fix the range"));
        if button.clicked() {
            canvas.fixed_range = if canvas.fixed_range.is_some() { None } else { Some(high.max(1e-6)) };
        }
    });
}

fn note(ui: &mut Ui, rect: Rect, text: &str) {
    centred(ui, rect, |ui| {
        ui.label(egui::RichText::new(text).color(Color32::from_gray(170)));
    });
}

fn waiting(ui: &mut Ui, rect: Rect, text: &str) {
    centred(ui, rect, |ui| {
        ui.spinner();
        ui.label(egui::RichText::new(text).color(Color32::from_gray(170)));
    });
}

fn no_model(ui: &mut Ui, app: &mut App, rect: Rect, text: &str) {
    let obstacle = app.obstacle(Command::Train);
    centred(ui, rect, |ui| {
        ui.label(egui::RichText::new(text).color(Color32::from_gray(170)));
        if app.job.is_none() {
            let button = egui::Button::new("Train round");
            let help = obstacle.map_or(Command::Train.row().tooltip(), str::to_owned);
            if ui.add_enabled(obstacle.is_none(), button).on_hover_text(&help).on_disabled_hover_text(&help).clicked() {
                app.push(Command::Train);
            }
        }
    });
}

fn centred(ui: &mut Ui, rect: Rect, contents: impl FnOnce(&mut Ui)) {
    let place = Rect::from_center_size(rect.center(), vec2((rect.width() - 4.0 * STEP).min(40.0 * STEP), 12.0 * STEP));
    ui.scope_builder(UiBuilder::new().max_rect(place).layout(Layout::top_down(Align::Center)), contents);
}
