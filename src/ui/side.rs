//! The panel on the right: the tools, the round, the history of rounds.

use egui::{Align, AtomExt, CollapsingHeader, CornerRadius, Layout, RichText, Role, ScrollArea, Ui, WidgetInfo};
use egui_extras::{Column, TableBuilder};
use egui_plot::{Line, Plot, PlotPoints, Points};

use crate::app::command::Command;
use crate::app::{App, OpenProject};
use crate::domain::round::EpochPoint;
use crate::ui::classes;
use crate::ui::images::{command_button, named_button};
use crate::ui::rounds;
use crate::ui::theme::{self, STEP, icon};
use crate::ui::tools;
use crate::ui::view::CanvasState;
use crate::ui::windows::Windows;
use crate::worker::{DeviceChoice, HAS_SERVERS, Phase};

/// The panel on the right.
pub fn show(ui: &mut Ui, app: &mut App, canvas: &mut CanvasState, windows: &mut Windows) {
    tools::tools(ui, app);
    ui.separator();
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.set_max_width(ui.available_width() - STEP); // Room for the scroll bar.
        section(ui, "Classes", |ui| classes::list(ui, app, &mut windows.classes));
        section(ui, "Label", |ui| tools::label(ui, app, windows));
        section(ui, "View", |ui| tools::view(ui, app, canvas));
        section(ui, "Round", |ui| round(ui, app, windows));
        section(ui, "History", |ui| history(ui, app));
    });
}

/// A section that folds; whether it is open is remembered.
fn section(ui: &mut Ui, name: &str, contents: impl FnOnce(&mut Ui)) {
    CollapsingHeader::new(RichText::new(name).strong()).default_open(true).show_unindented(ui, contents);
    ui.separator();
}

fn round(ui: &mut Ui, app: &mut App, windows: &mut Windows) {
    let Some(project) = app.project() else { return };
    let next = project.study.rounds.iter().map(|round| round.report.round).max().unwrap_or(0) + 1;
    let labelled = project.study.images.iter().filter(|image| image.labelled).count();
    ui.horizontal(|ui| {
        ui.label(format!("Round {next}"));
        let pseudo = project.study.trained_pseudo_labels().count();
        let pseudo = if pseudo == 0 { String::new() } else { format!(" + {pseudo} pseudo") };
        let text = format!("{labelled} labelled{pseudo}, pool {}", project.study.images.len() - labelled);
        let text = ui.label(RichText::new(text).small().color(theme::quiet(ui)));
        if !pseudo.is_empty() {
            text.on_hover_text("The round learns from the network's own masks of these too: filter \"pseudo-labels\"");
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let gear = ui.small_button(icon::GEAR).on_hover_text(Command::Settings.row().tooltip());
            gear.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Settings"));
            if gear.clicked() {
                windows.settings = !windows.settings;
            }
        });
    });
    device(ui, app);
    if app.job.is_some() {
        progress(ui, app);
    } else {
        ui.horizontal(|ui| {
            command_button(ui, app, Command::Train, icon::PLAY);
            let has_network = app.project().is_some_and(|project| project.study.active_round().is_some());
            command_button(ui, app, if has_network { Command::Score } else { Command::Propose }, "");
        });
        if let Some(text) = app.project().and_then(OpenProject::reason_to_continue) {
            ui.horizontal_wrapped(|ui| {
                ui.label(RichText::new(text).small().color(theme::WANTED));
                command_button(ui, app, Command::ContinueTraining, "");
            });
        }
        if app.project().is_some_and(|project: &OpenProject| project.study.scoring_is_due()) {
            let text = "Scoring of the pool was interrupted: Score pool resumes it.";
            ui.label(RichText::new(text).small().color(theme::WANTED));
        }
    }
    let running = app.progress.as_ref().map(|progress| progress.curve.as_slice()).filter(|curve| !curve.is_empty());
    let last = app.project().and_then(|p| p.study.rounds.last()).map(|round| &round.report);
    match (running, last) {
        (Some(curve), _) => curves(ui, curve, None),
        (None, Some(report)) if !report.curve.is_empty() => {
            curves(ui, &report.curve, report.validation.map(|validation| validation.dice));
        }
        (None, _) => {}
    }
}

fn device(ui: &mut Ui, app: &mut App) {
    ui.horizontal(|ui| {
        ui.label("Device");
        let (mut choice, mut adds) = (app.device_choice.clone(), false);
        // A server's name may be longer than the panel is wide.
        let name = choice.to_string().atom_max_width(14.0 * STEP);
        let menu = egui::ComboBox::from_id_salt("device").width(8.0 * STEP).selected_text(name);
        let response = ui.add_enabled_ui(app.job.is_none(), |ui| {
            menu.show_ui(ui, |ui| {
                let remembered = app.servers.iter().cloned().map(DeviceChoice::Server);
                for device in DeviceChoice::HERE.into_iter().chain(remembered) {
                    let name = device.to_string();
                    ui.selectable_value(&mut choice, device, name);
                }
                if HAS_SERVERS {
                    ui.separator();
                    adds = ui.selectable_label(false, Command::AddServer.row().name).clicked();
                }
            })
        });
        response.inner.response.accessible_name("Device");
        if choice != app.device_choice {
            app.choose_device(choice);
        }
        if adds {
            app.push(Command::AddServer);
        }
        match &app.device {
            None => {
                ui.spinner();
                ui.label(RichText::new("checking").small().color(theme::quiet(ui)));
            }
            Some(Err(reason)) => {
                let sign = ui.label(RichText::new(format!("{} refused", icon::WARNING)).small().color(theme::WRONG));
                sign.on_hover_text(reason);
            }
            Some(Ok(reports)) => {
                let Some(used) = reports.last() else { return };
                let refused: Vec<String> =
                    reports.iter().filter_map(|r| Some(format!("{r} was refused: {}", r.refused.as_ref()?))).collect();
                let text = RichText::new(&used.name).small().color(theme::quiet(ui));
                let response = ui.add(egui::Label::new(text).truncate());
                response.on_hover_text([used.lines(), refused.clone()].concat().join("\n"));
                if !refused.is_empty() {
                    ui.label(RichText::new(icon::WARNING).color(theme::WANTED)).on_hover_text(refused.join("\n"));
                }
            }
        }
    });
}

/// The running job's progress, from 0 to 1, and a description of its current stage.
fn stage(app: &App) -> (f32, String) {
    let job = app.job.as_ref();
    if job.is_some_and(|job| job.cancelling) {
        return (0.0, "ending after this batch".to_owned());
    }
    let Some(progress) = &app.progress else { return (0.0, "starting".to_owned()) };
    let share = if progress.total > 0 { progress.done as f32 / progress.total as f32 } else { 0.0 };
    let left = match progress.left_s() {
        _ if job.is_some_and(|job| job.paused) => ", paused".to_owned(),
        Some(s) => format!(", {} left", theme::clock(s)),
        None => String::new(),
    };
    let count = match (progress.phase == Phase::Training, progress.total) {
        (true, _) => format!(" {:.0} %", 100.0 * share),
        (false, 0) => String::new(),
        (false, total) => format!(" {} / {total}", progress.done),
    };
    (share, format!("{}{count}{left}", progress.phase.label()))
}

/// The running job in one line, visible however the panels are scrolled.
pub fn job_in_brief(ui: &mut Ui, app: &App) {
    if app.job.is_some() {
        let (share, text) = stage(app);
        let bar = egui::ProgressBar::new(share).desired_width(12.0 * STEP).desired_height(STEP);
        ui.add(bar.corner_radius(CornerRadius::same(4)));
        ui.label(RichText::new(text).small());
    }
}

fn progress(ui: &mut Ui, app: &mut App) {
    let cancelling = app.job.is_some_and(|job| job.cancelling);
    let paused = app.job.is_some_and(|job| job.paused);
    let (share, text) = stage(app);
    let loss = app.progress.as_ref().and_then(|progress| progress.loss).filter(|_| !cancelling);
    ui.add(egui::ProgressBar::new(share).desired_height(STEP).corner_radius(CornerRadius::same(4)));
    ui.horizontal(|ui| {
        ui.label(RichText::new(text).small());
        if let Some(loss) = loss {
            ui.label(RichText::new(format!("loss {loss:.3}")).small().color(theme::quiet(ui)));
        }
    });
    ui.add_enabled_ui(!cancelling, |ui| {
        ui.horizontal(|ui| {
            let (sign, name) = if paused { (icon::PLAY, "Continue") } else { (icon::PAUSE, "Pause") };
            named_button(ui, app, Command::Pause, sign, name);
            if app.obstacle(Command::Finish).is_none() {
                command_button(ui, app, Command::Finish, icon::ACCEPT);
            }
            command_button(ui, app, Command::Cancel, icon::STOP);
        });
    });
}

/// Loss and validation Dice over the training, and the Dice of the weights that were kept.
fn curves(ui: &mut Ui, curve: &[EpochPoint], kept: Option<f64>) {
    let places = || (1..).zip(curve).map(|(place, point)| (f64::from(place), point));
    let dice: Vec<[f64; 2]> = places().filter_map(|(place, point)| Some([place, point.dice?])).collect();
    let loss: Vec<[f64; 2]> = places().map(|(place, point)| [place, point.loss]).collect();
    // The last of equal values: on a tie the later weights are kept.
    let best = kept.and_then(|kept| dice.iter().rfind(|[_, dice]| (dice - kept).abs() < 1e-9).copied());
    let plots = [("loss", loss, theme::WANTED, None, None), ("validation Dice", dice, theme::ACCENT, Some(1.0), best)];
    for (name, points, colour, top, best) in plots.into_iter().filter(|(_, points, ..)| !points.is_empty()) {
        ui.horizontal(|ui| {
            ui.label(RichText::new(name).small().color(theme::legible(ui, colour)));
            let last = points.last().map_or(0.0, |point| point[1]);
            let text = match best {
                Some([_, kept]) if kept != last => format!("{kept:.3} kept, {last:.3} last"),
                Some(_) | None => format!("{last:.3}"),
            };
            ui.label(RichText::new(text).small().monospace());
        });
        let mut plot =
            Plot::new(name).height(7.0 * STEP).include_y(0.0).show_axes([false, true]).show_grid([false, true]);
        plot = plot.allow_drag(false).allow_zoom(false).allow_scroll(false).allow_boxed_zoom(false);
        plot = plot.y_axis_min_width(3.0 * STEP).show_x(false);
        if let Some(top) = top {
            plot = plot.include_y(top);
        }
        let line = Line::new(name, PlotPoints::from(points)).color(colour).width(1.5);
        plot.show(ui, |plot| {
            plot.line(line);
            if let Some(best) = best {
                plot.points(Points::new("kept", vec![best]).color(colour).radius(3.5));
            }
        });
    }
}

fn history(ui: &mut Ui, app: &mut App) {
    rounds::advice(ui, app);
    let Some(project) = app.project() else { return };
    if project.study.rounds.is_empty() {
        let text = "Every round you train is listed here; you can make any of them active again.";
        ui.label(RichText::new(text).small().color(theme::quiet(ui)));
        return;
    }
    let rounds: Vec<_> = project
        .study
        .rounds
        .iter()
        .rev()
        .map(|r| {
            let dice = r.report.validation.map(|v| v.dice);
            (r.report.round, r.report.labelled, dice, r.report.seconds.total, r.active, r.outdated)
        })
        .collect();
    let mut wanted = None;
    let columns = |ui: &mut Ui, text: &str| {
        ui.add(egui::Label::new(RichText::new(text).small().color(theme::quiet(ui))).selectable(false));
    };
    TableBuilder::new(ui)
        .striped(true)
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(5.0 * STEP))
        .column(Column::exact(6.0 * STEP))
        .column(Column::exact(6.0 * STEP))
        .column(Column::exact(6.0 * STEP))
        .column(Column::remainder())
        .header(2.5 * STEP, |mut header| {
            for name in ["Round", "Labels", "Dice", "Time", "Active"] {
                header.col(|ui| columns(ui, name));
            }
        })
        .body(|body| {
            body.rows(3.0 * STEP, rounds.len(), |mut row| {
                let (round, labelled, dice, total, active, outdated) = rounds[row.index()];
                let dice = dice.map_or("–".to_owned(), |dice| format!("{dice:.3}"));
                for text in [round.to_string(), labelled.to_string(), dice, theme::clock(total)] {
                    row.col(|ui| {
                        ui.label(RichText::new(text).monospace());
                    });
                }
                row.col(|ui| {
                    let radio = ui.add_enabled(!outdated, egui::RadioButton::new(active, ""));
                    let radio = radio
                        .on_hover_text("Use this round's model for predictions")
                        .on_disabled_hover_text("This round was trained with other classes than the project has now");
                    radio.widget_info(|| {
                        WidgetInfo::selected(Role::RadioButton, !outdated, active, format!("Round {round} active"))
                    });
                    if radio.clicked() && !active {
                        wanted = Some(round);
                    }
                });
            });
        });
    if let Some(round) = wanted {
        app.activate(round);
    }
    named_button(ui, app, Command::Rounds, "", "All rounds");
}
