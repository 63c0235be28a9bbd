//! The first page.

use std::path::PathBuf;

use egui::{Button, RichText, Role, Ui, WidgetInfo, vec2};

use crate::app::App;
use crate::app::command::Command;
use crate::ui::theme::{self, STEP, icon};

/// What the user chose on the start page.
pub enum WelcomeWish {
    /// A command.
    Command(Command),
    /// This project.
    Open(PathBuf),
}

/// Shows three ways to start, and the recent projects.
pub fn show(ui: &mut Ui, app: &App, recent: &[PathBuf]) -> Option<WelcomeWish> {
    let mut wish = None;
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.18).max(2.0 * STEP));
        ui.label(RichText::new("Qualm").size(32.0).strong());
        let motto = "Segment medical images with a network that says where it is unsure";
        ui.label(RichText::new(motto).color(theme::quiet(ui)));
        ui.add_space(4.0 * STEP);
        let ways =
            [(Command::OpenDemo, icon::DEMO), (Command::NewProject, icon::NEW), (Command::OpenProject, icon::OPEN)];
        for (command, sign) in ways {
            let row = command.row();
            let name = if command == Command::NewProject { "New project from a folder of images" } else { row.name };
            let button = ui.add_sized(vec2(40.0 * STEP, 5.0 * STEP), Button::new(format!("{sign}  {name}")));
            button.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
            if button.on_hover_text(row.tooltip()).clicked() {
                wish = Some(WelcomeWish::Command(command));
            }
        }
        ui.label(
            RichText::new(format!("The demo project will be created in {}", app.demo_folder().display()))
                .small()
                .color(theme::quiet(ui)),
        );
        let recent: Vec<&PathBuf> = recent.iter().filter(|root| root.join("qualm.db").is_file()).collect();
        if !recent.is_empty() {
            ui.add_space(3.0 * STEP);
            ui.label(RichText::new("Recent projects").strong());
        }
        for root in recent {
            if ui.link(root.display().to_string()).clicked() {
                wish = Some(WelcomeWish::Open(root.clone()));
            }
        }
    });
    wish
}

/// Shown while a project is being opened or created.
pub fn opening(ui: &mut Ui, root: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space(ui.available_height() * 0.4);
        ui.spinner();
        ui.label(RichText::new(format!("Opening {root}")).color(theme::quiet(ui)));
    });
}
