//! The window: shell, panels, canvas.
//!
//! Invariant: a frame never blocks. Slow work is requested from the worker through [`App`] and drawn once it is done.

mod browse;
mod canvas;
mod classes;
mod closing;
mod colours;
mod commands;
mod confirm;
mod dialogs;
mod drop;
mod export;
mod gpu;
mod images;
mod import;
mod input;
mod line;
mod listed;
mod measure;
mod new_project;
mod notices;
mod overlays;
mod palette;
mod predict;
mod regions;
mod rounds;
mod servers;
mod side;
mod slices;
mod startup;
mod theme;
mod tools;
mod view;
mod welcome;
mod windows;

use std::path::PathBuf;
use std::time::Instant;

use eframe::{CreationContext, Frame, Storage};
use egui::{Align, CentralPanel, Layout, Panel, RichText, Role, ThemePreference, Ui, WidgetInfo};
use serde::{Deserialize, Serialize};

use crate::app::command::Command;
use crate::app::{App, Page, RADIUS};
use crate::domain::prediction::Uncertainty;
use crate::ui::browse::Wanted;
use crate::ui::colours::ColourMap;
use crate::ui::confirm::Enter;
use crate::ui::dialogs::Dialogs;
use crate::ui::images::ImagesState;
use crate::ui::startup::Startup;
use crate::ui::theme::{STEP, icon};
use crate::ui::view::CanvasState;
use crate::ui::windows::Windows;
use crate::worker::Worker;

/// What the window begins with.
pub enum First {
    /// The first page.
    Nothing,
    /// A project.
    Project(PathBuf),
    /// The demo.
    Demo,
}

/// What the window remembers between runs, besides the panel sizes that egui stores itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Preferences {
    recent: Vec<PathBuf>,
    theme: Option<ThemePreference>,
    colour_map: ColourMap,
    uncertainty: Uncertainty,
    panels: Option<Vec<view::Panel>>,
    radius: Option<(f64, bool)>,
    hide_images: bool,
    hide_side: bool,
}

impl Preferences {
    fn theme(&self) -> ThemePreference {
        self.theme.unwrap_or(ThemePreference::Dark)
    }
}

/// The window.
pub struct Window {
    /// The application's state.
    pub app: App,
    canvas: CanvasState,
    images: ImagesState,
    windows: Windows,
    dialogs: Dialogs,
    preferences: Preferences,
    shown_root: Option<PathBuf>,
    has_gpu: bool,
    startup: Option<Startup>,
}

impl Window {
    /// Called by eframe once there is a context. `demo` is the folder of the demo project, which may not exist yet.
    pub fn new(cc: &CreationContext<'_>, first: First, demo: PathBuf) -> Self {
        Self::traced(cc, first, demo, None)
    }

    /// Like [`Self::new`]; if `begun`, the time the program started, is given, reports startup times on standard error.
    fn traced(cc: &CreationContext<'_>, first: First, demo: PathBuf, begun: Option<Instant>) -> Self {
        theme::install(&cc.egui_ctx);
        // Sheets open in the middle: where they lay in a window of another size is of no use.
        cc.egui_ctx.memory_mut(|memory| memory.reset_areas());
        let preferences: Preferences =
            cc.storage.and_then(|storage| eframe::get_value(storage, "preferences")).unwrap_or_default();
        cc.egui_ctx.set_theme(preferences.theme());
        if let Some(state) = &cc.wgpu_render_state {
            gpu::install(state);
        }
        let ctx = cc.egui_ctx.clone();
        let worker = Worker::start(move || ctx.request_repaint());
        let mut app = App::new(worker, demo);
        match first {
            First::Nothing => {}
            First::Project(root) => app.open(root),
            First::Demo => app.push(Command::OpenDemo),
        }
        let mut canvas = CanvasState::default();
        canvas.colour_map = preferences.colour_map;
        canvas.uncertainty = preferences.uncertainty;
        if let Some(panels) = &preferences.panels {
            canvas.show_panels(panels);
        }
        if let Some((radius, on_screen)) = preferences.radius {
            (app.radius, app.radius_on_screen) = (radius.clamp(*RADIUS.start(), *RADIUS.end()), on_screen);
        }
        let mut dialogs = Dialogs::default();
        dialogs.begin_in(preferences.recent.first().and_then(|root| root.parent()));
        Self {
            app,
            canvas,
            images: ImagesState::default(),
            windows: Windows::default(),
            dialogs,
            preferences,
            shown_root: None,
            has_gpu: cc.wgpu_render_state.is_some(),
            startup: begun.map(Startup::new),
        }
    }

    /// Screen points per image pixel in the image panel.
    pub fn zoom(&self) -> f32 {
        self.canvas.zoom
    }

    /// The pointer's position over the image, in image pixels.
    pub fn hovered(&self) -> Option<crate::domain::brush::Point> {
        self.canvas.hovered
    }

    fn folders_chosen(&mut self, ctx: &egui::Context) {
        while let Some((wanted, folder)) = self.dialogs.chosen(ctx) {
            let text = folder.display().to_string();
            match (wanted, &mut self.windows.new_project) {
                (Wanted::Import, _) => self.windows.import_masks = Some(text),
                (Wanted::Locate, _) => self.windows.locate = Some(text),
                (Wanted::Open, _) => {
                    self.windows.open_project = None;
                    self.app.open(folder);
                }
                (Wanted::Predict, _) => {
                    if let Some(predict) = &mut self.windows.predict {
                        predict.set_images(text);
                    }
                }
                (Wanted::Export, _) => {
                    if let Some(export) = &mut self.windows.export {
                        export.set_out(text);
                    }
                }
                (Wanted::Predictions, _) => {
                    if let Some(predict) = &mut self.windows.predict {
                        predict.set_out(text);
                    }
                }
                (Wanted::Images, Some(new)) => new.images = text,
                (Wanted::Masks, Some(new)) => new.masks = text,
                (Wanted::Root, Some(new)) => new.choose_root(text),
                // The sheet was closed while the folder was being chosen.
                (Wanted::Images | Wanted::Masks | Wanted::Root, None) => {}
            }
        }
    }

    /// Once a project is open: remembers it and discards what was shown of the previous one.
    fn project_changed(&mut self, ctx: &egui::Context) {
        // If it cannot be opened, the previous one returns.
        let is_opening = matches!(self.app.page, Page::Opening(_, Some(_)));
        let root = self.app.project().map(|project| project.root.clone());
        if is_opening || root == self.shown_root {
            return;
        }
        self.images.clear();
        self.canvas.clear();
        self.windows.new_project = None;
        let name = root.as_ref().and_then(|root| root.file_name()).map(|name| name.to_string_lossy().into_owned());
        let title = name.map_or("Qualm".to_owned(), |name| format!("{name} – Qualm"));
        ctx.send_viewport_cmd(egui::ViewportCommand::Title(title));
        if let Some(root) = &root {
            self.preferences.recent.retain(|recent| recent != root);
            self.preferences.recent.insert(0, root.clone());
            self.preferences.recent.truncate(8);
            self.dialogs.begin_in(root.parent());
        }
        self.shown_root = root;
    }

    fn top_bar(&mut self, ui: &mut Ui) {
        ui.horizontal_centered(|ui| {
            let name = match &self.app.page {
                Page::Project(project) => project.root.file_name().unwrap_or_default().to_string_lossy().into_owned(),
                Page::Welcome | Page::Opening(..) => "Qualm".to_owned(),
            };
            let menu = ui.menu_button(format!("{}  {name}", icon::MENU), |ui| {
                // All of it fits a window of 600 pixels.
                ui.spacing_mut().item_spacing.y = 0.0;
                for (place, group) in MENU.into_iter().enumerate() {
                    if place > 0 {
                        ui.separator();
                    }
                    group.iter().for_each(|command| self.menu_entry(ui, *command));
                }
            });
            menu.response.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Project menu"));
            if self.app.project().is_some() {
                self.saving(ui);
                side::job_in_brief(ui, &self.app);
            }
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| self.view_buttons(ui));
        });
    }

    fn menu_entry(&mut self, ui: &mut Ui, command: Command) {
        let row = command.row();
        let shortcut = row.shortcuts.first().map_or(String::new(), |shortcut| shortcut.text());
        let button = egui::Button::new(row.name).shortcut_text(shortcut);
        let obstacle = self.app.obstacle(command);
        let response = ui.add_enabled(obstacle.is_none(), button).on_hover_text(row.help);
        if response.on_disabled_hover_text(obstacle.unwrap_or_default()).clicked() {
            self.app.push(command);
            ui.close();
        }
    }

    /// Shows whether everything is saved.
    fn saving(&mut self, ui: &mut Ui) {
        let (text, colour, hover) = match (&self.app.save_error, self.app.unsaved) {
            (Some(error), _) => (
                format!("{} not saved", icon::WARNING),
                theme::WRONG,
                format!("{error}\nThe change is kept and saving is retried every second."),
            ),
            (None, 0) => ("saved".to_owned(), theme::quiet(ui), "Every stroke is on disk".to_owned()),
            (None, _) => ("saving".to_owned(), theme::quiet(ui), "A stroke is on its way to the disk".to_owned()),
        };
        ui.label(RichText::new(text).small().color(colour)).on_hover_text(hover);
    }

    fn view_buttons(&mut self, ui: &mut Ui) {
        let button = |ui: &mut Ui, sign: &str, name: &str, help: &str| {
            let button = ui.add(egui::Button::new(sign).frame(false)).on_hover_text(help);
            button.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
            button.clicked()
        };
        if self.app.project().is_some() && button(ui, icon::SIDEBAR, "Tools panel", "Show or hide the tools") {
            self.preferences.hide_side = !self.preferences.hide_side;
        }
        if self.app.project().is_some() && button(ui, icon::IMAGES, "Images panel", "Show or hide the images") {
            self.preferences.hide_images = !self.preferences.hide_images;
        }
        let dark = ui.visuals().dark_mode;
        let (sign, help) = if dark { (icon::SUN, "Light theme") } else { (icon::MOON, "Dark theme") };
        if button(ui, sign, "Theme", help) {
            self.app.push(Command::Theme);
        }
        if button(ui, icon::KEYBOARD, "Shortcuts", &Command::Shortcuts.row().tooltip()) {
            self.app.push(Command::Shortcuts);
        }
    }

    /// Shows what is under the cursor, and messages.
    fn status_bar(&mut self, ui: &mut Ui) {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            if let Some(hint) = self.app.current_hint() {
                ui.label(RichText::new(hint).small().color(theme::legible(ui, theme::WANTED)));
            } else if let Some(text) = self.app.last_action_text() {
                let undo = ui.small_button("Undo").on_hover_text("Undo this, and show the image");
                undo.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Undo this"));
                ui.label(RichText::new(text).small());
                if undo.clicked() {
                    self.app.undo_last_action();
                }
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                if let Some(text) = self.under_cursor() {
                    ui.add(egui::Label::new(RichText::new(text).monospace()).truncate());
                }
            });
        });
    }

    fn under_cursor(&self) -> Option<String> {
        let project = self.app.project()?;
        let editor = project.editor()?;
        let record = project.study.image(editor.image)?;
        let mut text = format!("{}  {} × {}", record.name, record.width, record.height);
        let Some(at) = self.canvas.hovered else { return Some(text) };
        if at.x < 0.0 || at.y < 0.0 || at.x >= record.width as f64 || at.y >= record.height as f64 {
            return Some(text);
        }
        let (x, y) = (at.x as usize, at.y as usize);
        text.push_str(&format!("  x {x:>4} y {y:>4}  {}", editor.picture.describe(x, y)?));
        if let Some(prediction) = editor.prediction() {
            let index = prediction.index_at(at.x / record.width as f64, at.y / record.height as f64);
            let p = f32::from(prediction.probability[index]) / 255.0;
            let uncertainty = prediction.plane(self.canvas.uncertainty).value(index);
            let name = self.canvas.uncertainty.label();
            text.push_str(&format!("  p {p:.2}  {name} {}", theme::short(uncertainty.into())));
        }
        text.push_str(&format!("  {}", project.class_name(editor.mask().get(x, y)?)));
        Some(text)
    }

    fn project(&mut self, ui: &mut Ui, frame: &Frame) {
        let state = frame.wgpu_render_state().filter(|_| self.has_gpu);
        if !self.preferences.hide_images {
            Panel::left("images").resizable(true).default_size(31.0 * STEP).min_size(24.0 * STEP).show(ui, |ui| {
                ui.add_space(STEP);
                images::show(ui, &mut self.app, &mut self.images);
            });
        }
        if !self.preferences.hide_side {
            Panel::right("side").resizable(true).default_size(35.0 * STEP).min_size(33.0 * STEP).show(ui, |ui| {
                ui.add_space(STEP);
                side::show(ui, &mut self.app, &mut self.canvas, &mut self.windows);
            });
        }
        slices::show(ui, &mut self.app);
        CentralPanel::no_frame().show(ui, |ui| canvas::show(ui, &mut self.app, &mut self.canvas, state));
    }
}

impl eframe::App for Window {
    fn logic(&mut self, ctx: &egui::Context, _: &mut Frame) {
        self.app.update();
        if self.startup.as_mut().is_some_and(|startup| startup.frame(&self.app)) {
            ctx.request_repaint_after(std::time::Duration::from_millis(5));
        }
        self.project_changed(ctx);
        drop::update(ctx, &mut self.app, &mut self.windows);
        closing::update(ctx, &mut self.app, &mut self.windows.closing);
        if let Some(folder) = self.app.take_failed_open() {
            self.windows.open_project = Some(folder.display().to_string());
        }
        if !self.app.notices.is_empty() || self.app.current_hint().is_some() {
            ctx.request_repaint_after(std::time::Duration::from_secs(1));
        }
        if self.app.job.is_some() {
            // Progress is polled: no event announces it.
            ctx.request_repaint_after(std::time::Duration::from_millis(100));
        }
    }

    fn ui(&mut self, ui: &mut Ui, frame: &mut Frame) {
        let ctx = ui.ctx().clone();
        if ctx.input(|input| !input.events.is_empty()) {
            self.app.sign_of_life();
        }
        self.keyboard(&ctx);
        let enter = Enter::begin(&ctx, self.dialogs.is_open());
        self.carry_out();
        ctx.set_theme(self.preferences.theme());
        Panel::top("top").exact_size(4.5 * STEP).show(ui, |ui| self.top_bar(ui));
        if self.app.project().is_some() {
            Panel::bottom("status").exact_size(STATUS_BAR).show(ui, |ui| self.status_bar(ui));
        }
        match &self.app.page {
            Page::Project(_) => self.project(ui, frame),
            Page::Opening(root, _) => {
                let root = root.display().to_string();
                CentralPanel::default().show(ui, |ui| welcome::opening(ui, &root));
            }
            Page::Welcome => {
                let wish =
                    CentralPanel::default().show(ui, |ui| welcome::show(ui, &self.app, &self.preferences.recent));
                match wish.inner {
                    Some(welcome::WelcomeWish::Command(command)) => self.app.push(command),
                    Some(welcome::WelcomeWish::Open(root)) => self.app.open(root),
                    None => {}
                }
            }
        }
        windows::show(&ctx, &mut self.app, &mut self.canvas, &mut self.windows, (&self.dialogs, enter));
        let over = self.app.project().and(self.canvas.area).unwrap_or(ctx.content_rect());
        notices::show(&ctx, &mut self.app, over);
        self.folders_chosen(&ctx);
        self.carry_out();
    }

    fn save(&mut self, storage: &mut dyn Storage) {
        self.preferences.colour_map = self.canvas.colour_map;
        self.preferences.uncertainty = self.canvas.uncertainty;
        self.preferences.panels = Some(self.canvas.panels().to_vec());
        self.preferences.radius = Some((self.app.radius, self.app.radius_on_screen));
        eframe::set_value(storage, "preferences", &self.preferences);
    }
}

/// The menu, in groups.
const MENU: [&[Command]; 5] = [
    &[Command::NewProject, Command::OpenProject, Command::OpenDemo, Command::CloseProject],
    &[
        Command::ImportMasks,
        Command::Refresh,
        Command::Locate,
        Command::RemoveImage,
        Command::RestoreImages,
        Command::KeepReplaced,
        Command::ClearReplaced,
        Command::ListedLabels,
        Command::Groups,
    ],
    &[Command::PredictFolder, Command::Export],
    &[Command::Palette, Command::CopyDiagnostics, Command::About],
    &[Command::Quit],
];

/// Height of the status bar.
const STATUS_BAR: f32 = 3.5 * STEP;

/// Opens the window and returns when it is closed; an error if there is no display. If `begun`, the time the program
/// started, is given, reports startup times on standard error.
pub fn run(first: First, demo: PathBuf, begun: Option<Instant>) -> eframe::Result {
    let icon = eframe::icon_data::from_png_bytes(include_bytes!("../../assets/qualm.png")).unwrap_or_default();
    let options = eframe::NativeOptions {
        viewport: egui::ViewportBuilder::default()
            .with_title("Qualm")
            .with_app_id("qualm")
            .with_icon(icon)
            .with_inner_size([1440.0, 860.0])
            .with_min_inner_size([960.0, 560.0]),
        ..Default::default()
    };
    eframe::run_native("qualm", options, Box::new(|cc| Ok(Box::new(Window::traced(cc, first, demo, begun)))))
}
