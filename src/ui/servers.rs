//! The sheet by which a server is added, with the list of those that are remembered.

use egui::{
    Align2, Button, Context, Grid, Id, Label, LayerId, Order, RichText, Role, ScrollArea, TextEdit, Ui, WidgetInfo,
    Window,
};

use crate::app::App;
use crate::app::servers::{ServerSheet, ServerTrial};
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::theme::{self, STEP};
use crate::worker::ServerAddress;

/// Shows the sheet as long as it is open.
pub fn show(ctx: &Context, app: &mut App, enter: Enter) {
    let busy = app.job.is_some().then_some("a job is running");
    let names = &app.servers;
    let Some(sheet) = &mut app.server_sheet else { return };
    let (mut open, mut answer, mut connects, mut forgotten) = (true, None, false, None);
    let id = Id::unique("add server");
    let is_new = !ctx.memory(|memory| memory.areas().visible_last_frame(&LayerId::new(Order::Middle, id)));
    let window = Window::new("Add server").id(id).open(&mut open).resizable(false).collapsible(false);
    window.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_width(64.0 * STEP);
        let text = "Computes on another machine, where “qualm serve” runs. All files stay here; what is sent are the pixels \
                    of images, their labels in training, and the network's weights.";
        confirm::remark(ui, text);
        let is_entered = fields(ui, sheet, is_new, enter) || enter.confirms();
        if names.iter().any(|name| name == sheet.name.trim()) {
            confirm::remark(ui, "It takes the place of the remembered server of this name.");
        }
        connects = connect(ui, sheet, is_entered);
        trial(ui, sheet);
        forgotten = remembered(ui, names, busy);
        let obstacle = busy.or(sheet.usable().is_none().then_some("connect to it first"));
        answer = confirm::buttons(ui, "Add and use", obstacle, is_entered);
    });
    if connects {
        app.try_server();
    }
    if let Some(name) = forgotten {
        app.forget_server(&name);
    }
    if answer == Some(Answer::Yes) {
        app.add_server();
    } else if !open || answer == Some(Answer::Cancel) {
        app.server_sheet = None;
    }
}

/// The fields that describe the server; returns whether Enter was pressed in one.
fn fields(ui: &mut Ui, sheet: &mut ServerSheet, is_new: bool, enter: Enter) -> bool {
    let mut is_entered = false;
    Grid::new("add server").num_columns(2).spacing([2.0 * STEP, STEP]).show(ui, |ui| {
        let rows = [
            ("Name", &mut sheet.name, "a name of your choice", false),
            ("Address", &mut sheet.address, "ID@HOST:PORT, as the server shows it", false),
            ("Token", &mut sheet.token, "as the server shows it", true),
        ];
        for (name, text, hint, is_secret) in rows {
            let label = ui.label(name);
            let edit = TextEdit::singleline(text).hint_text(hint).password(is_secret).desired_width(50.0 * STEP);
            let edit = ui.add(edit).labelled_by(label.id);
            if is_new && name == "Name" {
                edit.request_focus();
            }
            is_entered |= enter.ends(&edit);
            ui.end_row();
        }
    });
    if sheet.address.parse::<ServerAddress>().is_ok_and(|address| address.is_readable_by_others()) {
        let text = "Allow unencrypted traffic: others on the network can read the images";
        ui.checkbox(&mut sheet.allows_unencrypted, text);
    } else {
        // What was allowed for one address is not allowed for the next.
        sheet.allows_unencrypted = false;
    }
    is_entered
}

/// The button that tries the server, and why it cannot; returns whether the server is to be tried.
fn connect(ui: &mut Ui, sheet: &ServerSheet, is_entered: bool) -> bool {
    let fault = sheet.server().err();
    let is_typed = [&sheet.name, &sheet.address, &sheet.token].iter().any(|text| !text.trim().is_empty());
    if let Some(fault) = fault.as_deref().filter(|_| is_typed) {
        confirm::remark(ui, fault);
    }
    let is_running = matches!(sheet.trial, ServerTrial::Running(_));
    let obstacle = if is_running { Some("it is being tried") } else { fault.as_deref() };
    let row = ui.horizontal(|ui| {
        let button = ui.add_enabled(obstacle.is_none(), Button::new("Connect"));
        let button = button.on_disabled_hover_text(obstacle.unwrap_or_default());
        if is_running {
            ui.spinner();
            ui.label(RichText::new("connecting, checking and measuring…").color(theme::quiet(ui)));
        }
        button.clicked()
    });
    row.inner || is_entered && obstacle.is_none() && sheet.usable().is_none()
}

/// What was found of the server that the fields describe.
fn trial(ui: &mut Ui, sheet: &ServerSheet) {
    match &sheet.trial {
        ServerTrial::No | ServerTrial::Running(_) => {}
        ServerTrial::Done(tried, found) => {
            if !sheet.server().is_ok_and(|typed| typed == **tried) {
                return; // The fields have changed since.
            }
            match found {
                Ok(report) => {
                    for line in report.lines() {
                        ui.add(Label::new(line).wrap());
                    }
                }
                Err(reason) => confirm::warning(ui, reason),
            }
        }
    }
}

/// The servers that are remembered; returns the name of one to forget.
fn remembered(ui: &mut Ui, names: &[String], busy: Option<&str>) -> Option<String> {
    if names.is_empty() {
        return None;
    }
    let mut forgotten = None;
    ui.separator();
    ui.label(RichText::new("Remembered servers").strong());
    ScrollArea::vertical().max_height(16.0 * STEP).auto_shrink([false, true]).show(ui, |ui| {
        for name in names {
            ui.horizontal(|ui| {
                let forget = ui.add_enabled(busy.is_none(), Button::new("Forget").small());
                let forget = forget.on_disabled_hover_text(busy.unwrap_or_default());
                forget.widget_info(|| WidgetInfo::labeled(Role::Button, busy.is_none(), format!("Forget {name}")));
                if forget.clicked() {
                    forgotten = Some(name.clone());
                }
                ui.label(name.as_str());
            });
        }
    });
    forgotten
}
