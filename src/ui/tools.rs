//! The tools, the label's commands, and how the image and the label are shown.

use egui::{
    Align, Button, DragValue, Id, Layout, RichText, Role, Sense, Slider, TextStyle, Ui, UiBuilder, WidgetInfo, vec2,
};

use crate::app::command::Command;
use crate::app::{App, Gate, Gauge, OpenProject, RADIUS, Tool};
use crate::domain::cleanup::Cleanup;
use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::ui::images::command_button;
use crate::ui::theme::{self, STEP, icon};
use crate::ui::view::{CanvasState, Overlay};
use crate::ui::windows::Windows;

/// The tools with their settings, always visible.
pub fn tools(ui: &mut Ui, app: &mut App) {
    let signs = [
        icon::BRUSH,
        icon::ERASER,
        icon::CLEAR,
        icon::ADOPT_BRUSH,
        icon::OUTLINE,
        icon::POLYGON,
        icon::FILL,
        icon::CLICK,
    ];
    ui.horizontal(|ui| {
        ui.label(RichText::new("Tools").strong());
        let name = Tool::ALL.iter().find(|(tool, _)| *tool == app.tool).map_or("", |(_, command)| command.row().name);
        ui.label(RichText::new(name).small().color(theme::quiet(ui)));
    });
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = STEP / 4.0;
        ui.spacing_mut().button_padding.x = STEP / 2.0;
        for ((tool, command), sign) in Tool::ALL.into_iter().zip(signs) {
            let row = command.row();
            let sign = RichText::new(sign).size(18.0);
            let button = ui.add(Button::selectable(app.tool == tool, sign).min_size(vec2(3.5 * STEP, 4.0 * STEP)));
            button.widget_info(|| WidgetInfo::selected(Role::Button, true, app.tool == tool, row.name));
            if button.on_hover_text(format!("{}: {}", row.name, row.tooltip())).clicked() {
                app.push(command);
            }
        }
    });
    options(ui, app);
    gate(ui, app);
}

/// A line of this height whatever it holds, so that what lies below stays where it is, and the panel as wide as it is.
fn line(ui: &mut Ui, height: f32, contents: impl FnOnce(&mut Ui)) {
    let (place, _) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let line = UiBuilder::new().max_rect(place).layout(Layout::left_to_right(Align::Center));
    contents(&mut ui.new_child(line));
}

/// The settings of the tool, or how it is used.
fn options(ui: &mut Ui, app: &mut App) {
    // Two lines of help are the highest.
    let height = (2.0 * ui.text_style_height(&TextStyle::Small)).max(ui.spacing().interact_size.y);
    line(ui, height, |ui| match app.tool {
        Tool::Brush | Tool::Eraser | Tool::Clear | Tool::Adopt => {
            ui.label("Radius");
            ui.spacing_mut().slider_width = (ui.available_width() - 17.0 * STEP).max(4.0 * STEP);
            let slider = Slider::new(&mut app.radius, RADIUS).logarithmic(true).max_decimals(1);
            ui.add(slider).on_hover_text("Radius of the brush ([ and ])").accessible_name("Brush radius");
            let unit = if app.radius_on_screen { "screen px" } else { "image px" };
            let help = "In image pixels, or in screen pixels: zooming in then makes the brush finer";
            if ui.small_button(unit).on_hover_text(help).clicked() {
                app.radius_on_screen = !app.radius_on_screen;
            }
        }
        Tool::Outline => help(ui, Command::Outline.row().help),
        Tool::Polygon => {
            help(ui, "Click the corners. Enter, a double click, or a click on the first corner closes it.")
        }
        Tool::Fill => {
            ui.label("Tolerance");
            let slider = Slider::new(&mut app.tolerance, 0.0..=0.5).max_decimals(3);
            let help = "Largest difference from the clicked pixel in any channel, as a share of the full range";
            ui.add(slider).on_hover_text(help).accessible_name("Tolerance");
        }
        Tool::Click => {
            help(ui, "Click the object or drag a box around it. Right-click: not part of it. Esc: next object.");
        }
    });
}

fn help(ui: &mut Ui, text: &str) {
    ui.add(egui::Label::new(RichText::new(text).small().color(theme::quiet(ui))).wrap());
}

/// The settings of the gate: what it looks at, and on a line of their own its range or its class. What was set for each
/// gauge is remembered while the program runs.
fn gate(ui: &mut Ui, app: &mut App) {
    let gauges = [
        (Gauge::Intensity, "intensity", 1.0),
        (Gauge::Probability, "probability", 1.0),
        (Gauge::Variance, "variance", 0.25),
        (Gauge::Class, "class", 255.0),
    ];
    let of = |wanted: Gauge| gauges.iter().find(|(by, ..)| *by == wanted).map_or(("", 1.0), |g| (g.1, g.2));
    let memory = |by: Gauge| Id::unique(("gate", of(by).0));
    ui.horizontal(|ui| {
        let help =
            "Paint only pixels whose value lies in a range, or that have a class in the label: so a class is split";
        ui.label("Only where").on_hover_text(help);
        let name = app.gate.map_or("anywhere", |gate| of(gate.by).0);
        let menu = egui::ComboBox::from_id_salt("gate").width(11.0 * STEP).selected_text(name).show_ui(ui, |ui| {
            if ui.selectable_label(app.gate.is_none(), "anywhere").clicked() {
                app.gate = None;
            }
            for (by, name, _) in gauges {
                if ui.selectable_label(app.gate.is_some_and(|gate| gate.by == by), name).clicked() {
                    // A class may be another one by now.
                    let place = Some(memory(by)).filter(|_| by != Gauge::Class);
                    let known = place.and_then(|place| ui.data_mut(|data| data.get_temp::<Gate>(place)));
                    app.gate = Some(known.unwrap_or_else(|| app.first_gate(by)));
                }
            }
        });
        menu.response.accessible_name("Paint only where");
    });
    let height = ui.spacing().interact_size.y;
    line(ui, height, |ui| {
        let Some(mut gate) = app.gate else { return };
        match gate.by {
            Gauge::Class => class_of_gate(ui, app, &mut gate),
            by @ (Gauge::Intensity | Gauge::Probability | Gauge::Variance) => {
                range_of_gate(ui, app, &mut gate, of(by).1);
            }
        }
        app.gate = Some(gate);
        let place = memory(gate.by);
        ui.data_mut(|data| data.insert_temp(place, gate));
    });
}

/// The class that a pixel must have.
fn class_of_gate(ui: &mut Ui, app: &App, gate: &mut Gate) {
    let Some(project) = app.project() else { return };
    let classes = project.study.classes.iter().map(|class| class.number).chain([BACKGROUND, UNLABELLED]);
    if !classes.clone().any(|number| f32::from(number) == gate.low) {
        // It was set in another project.
        *gate = app.first_gate(Gauge::Class);
    }
    let name = project.class_name(gate.low as u8);
    let menu = egui::ComboBox::from_id_salt("class of the gate").width(20.0 * STEP).selected_text(name).truncate();
    let menu = menu.show_ui(ui, |ui| {
        for number in classes {
            let value = f32::from(number);
            if ui.selectable_label(gate.low == value, project.class_name(number)).clicked() {
                (gate.low, gate.high) = (value, value);
            }
        }
    });
    menu.response.accessible_name("Class to paint over");
}

/// The range that a pixel's value must lie in, from 0 to `most`; intensities are in the image's own units.
fn range_of_gate(ui: &mut Ui, app: &App, gate: &mut Gate, most: f32) {
    let picture = app.project().and_then(OpenProject::editor).map(|editor| editor.picture.clone());
    let ends = picture.filter(|_| gate.by == Gauge::Intensity).map(|picture| picture.values_of(picture.span));
    let (zero, one) = ends.filter(|(black, white)| black != white).unwrap_or((0.0, 1.0));
    let decimals = theme::decimals((one - zero) * f64::from(most));
    let (low, high) = (gate.low, gate.high);
    let field = |value, range| {
        let field = DragValue::new(value).range(range).speed(f64::from(most) / 200.0);
        field
            .custom_formatter(move |share, _| format!("{:.decimals$}", zero + share * (one - zero)))
            .custom_parser(move |text| Some((text.trim().parse::<f64>().ok()? - zero) / (one - zero)))
    };
    ui.add(field(&mut gate.low, 0.0..=high)).accessible_name("From");
    ui.label("–");
    ui.add(field(&mut gate.high, low..=most)).accessible_name("To");
}

/// The commands for the label.
pub fn label(ui: &mut Ui, app: &mut App, windows: &mut Windows) {
    let rows = [
        [(Command::Undo, icon::UNDO), (Command::Redo, icon::REDO)],
        [(Command::Adopt, icon::ADOPT), (Command::NextProposed, icon::NEXT)],
        [(Command::Accept, icon::ACCEPT), (Command::AcceptAndNext, icon::ACCEPT_NEXT)],
    ];
    for row in rows {
        ui.horizontal(|ui| {
            for (command, sign) in row {
                command_button(ui, app, command, sign);
            }
        });
    }
    ui.horizontal(|ui| {
        ui.menu_button("Clean up", |ui| clean_up(ui, app, windows))
            .response
            .on_hover_text("Operations on the chosen class");
        ui.menu_button("More", |ui| {
            for command in [
                Command::RestIsBackground,
                Command::AcceptPartly,
                Command::Unaccept,
                Command::NextUncertain,
                Command::Regions,
            ] {
                if command_button(ui, app, command, "") {
                    ui.close();
                }
            }
        });
    });
}

fn clean_up(ui: &mut Ui, app: &mut App, windows: &mut Windows) {
    let mut wanted = None;
    let mut choice = |ui: &mut Ui, name: &str, cleanup: Cleanup| {
        if ui.button(name).clicked() {
            wanted = Some(cleanup);
        }
    };
    choice(ui, "Fill holes", Cleanup::FillHoles);
    choice(ui, "Keep the largest", Cleanup::KeepLargest);
    ui.separator();
    ui.horizontal(|ui| {
        choice(ui, "Remove islands under", Cleanup::RemoveIslands(windows.cleanup_area));
        let area = DragValue::new(&mut windows.cleanup_area).range(1..=1_000_000).suffix(" px");
        ui.add(area).on_hover_text("Area, in pixels").accessible_name("Area of islands");
    });
    ui.separator();
    ui.horizontal(|ui| {
        ui.label("Radius");
        let radius = DragValue::new(&mut windows.cleanup_radius).range(1..=250).suffix(" px");
        ui.add(radius).accessible_name("Radius of the clean-up");
    });
    ui.horizontal(|ui| {
        let by = windows.cleanup_radius;
        choice(ui, "Grow", Cleanup::Grow(by));
        choice(ui, "Shrink", Cleanup::Shrink(by));
        choice(ui, "Smooth", Cleanup::Smooth(by));
    });
    if let Some(cleanup) = wanted {
        app.clean_up(cleanup);
        ui.close();
    }
}

/// How the image and the label are shown.
pub fn view(ui: &mut Ui, app: &mut App, canvas: &mut CanvasState) {
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = STEP / 2.0;
        for (overlay, name) in Overlay::ALL {
            let row = Command::Compare.row();
            let chosen = canvas.options.overlay == overlay;
            let button = ui.add(Button::selectable(chosen, name)).on_hover_text(row.tooltip());
            button.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, format!("Show {name}")));
            if button.clicked() {
                canvas.options.overlay = overlay;
            }
        }
    });
    ui.horizontal(|ui| {
        ui.label("Opacity");
        ui.spacing_mut().slider_width = 8.0 * STEP;
        ui.add(Slider::new(&mut canvas.options.opacity, 0.0..=1.0).max_decimals(2)).accessible_name("Opacity");
        let outlines = ui.checkbox(&mut canvas.options.outlines_only, "Outlines");
        outlines.on_hover_text(Command::ToggleOutlines.row().tooltip());
    });
    ui.horizontal(|ui| {
        ui.label("Contrast").on_hover_text(Command::DragLevels.row().tooltip());
        let auto = ui.add(Button::new("Auto").small().selected(app.are_levels_auto()));
        if auto.on_hover_text(Command::AutoLevels.row().tooltip()).clicked() {
            app.push(Command::AutoLevels);
        }
        if ui.small_button("Reset").on_hover_text("Show the image with its default contrast").clicked() {
            app.set_levels(None);
        }
        let mut per_image = app.levels_per_image();
        let help = "Set contrast for each image, not for all";
        if ui.checkbox(&mut per_image, "this image").on_hover_text(help).changed() {
            app.set_levels_per_image(per_image);
        }
    });
    let levels = app.levels();
    let picture = app.project().and_then(OpenProject::editor).map(|editor| editor.picture.clone());
    let Some((low, high)) = picture.map(|picture| picture.values_of(levels)) else { return };
    // An inverted image shows its low values white.
    let window = (high - low).abs();
    let decimals = theme::decimals(window);
    let text = format!(
        "black {low:.decimals$}  white {high:.decimals$}   level {:.decimals$}  window {:.decimals$}",
        (low + high) / 2.0,
        window
    );
    ui.label(RichText::new(text).small().color(theme::quiet(ui)));
}
