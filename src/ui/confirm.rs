//! How a sheet ends: its buttons, Enter where it confirms the sheet, and the question before labels are changed.

use egui::{Align, Align2, Button, Context, Event, Id, Key, Label, Layout, Popup, Response, RichText, Ui, Window};

use crate::app::App;
use crate::app::command::Command;
use crate::domain::text::counted;
use crate::ui::theme::{self, STEP, icon};
use crate::worker::ManyLabels;

/// The Enter key of a frame, as it is before anything is drawn: a text field or a menu that Enter ends has already lost
/// the focus when the sheet's button is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Enter {
    is_pressed: bool,
    focused: Option<Id>,
}

impl Enter {
    /// Enter in the frame that begins. A folder dialog or a menu that is open keeps it.
    pub fn begin(ctx: &Context, has_dialog: bool) -> Self {
        // A key held down would confirm the next sheet too.
        let is_enter =
            |event: &Event| matches!(event, Event::Key { key: Key::Enter, pressed: true, repeat: false, .. });
        let is_pressed = ctx.input(|i| i.events.iter().any(is_enter));
        let is_free = !has_dialog && !Popup::is_any_open(ctx);
        Self { is_pressed: is_pressed && is_free, focused: ctx.memory(|memory| memory.focused()) }
    }

    /// Whether it confirms a sheet: nothing had the focus.
    pub fn confirms(self) -> bool {
        self.is_pressed && self.focused.is_none()
    }

    /// Whether it was pressed in this text field of the sheet.
    pub fn ends(self, field: &Response) -> bool {
        self.is_pressed && self.focused == Some(field.id) && field.lost_focus()
    }
}

/// How the user has ended a sheet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What the sheet is for is to be done.
    Yes,
    /// Nothing is to be done.
    Cancel,
}

/// The buttons at the end of a sheet: *Cancel*, and the one that does what the sheet is for, unless there is an obstacle.
/// `is_entered` says whether Enter presses it.
pub fn buttons(ui: &mut Ui, name: &str, obstacle: Option<&str>, is_entered: bool) -> Option<Answer> {
    button_row(ui, |ui| {
        let button = ui.add_enabled(obstacle.is_none(), Button::new(name));
        let is_given = button.on_disabled_hover_text(obstacle.unwrap_or_default()).clicked();
        let is_cancelled = ui.button("Cancel").clicked();
        if is_given || is_entered && obstacle.is_none() {
            Some(Answer::Yes)
        } else {
            is_cancelled.then_some(Answer::Cancel)
        }
    })
}

/// A row of buttons at the right, the first of them rightmost.
pub fn button_row<R>(ui: &mut Ui, buttons: impl FnOnce(&mut Ui) -> R) -> R {
    ui.with_layout(Layout::right_to_left(Align::Min), buttons).inner
}

/// A line of a sheet that says what is wrong.
pub fn warning(ui: &mut Ui, text: &str) {
    let text = RichText::new(format!("{} {text}", icon::WARNING)).color(theme::legible(ui, theme::WRONG));
    ui.add(Label::new(text).wrap());
}

/// A quieter line of a sheet, wrapped.
pub fn remark(ui: &mut Ui, text: &str) {
    let text = RichText::new(text).color(theme::quiet(ui));
    ui.add(Label::new(text).wrap());
}

/// Asks before the labels of all images in the list are changed.
pub fn listed(ctx: &Context, app: &mut App, enter: Enter) {
    let Some(what) = app.listed_change else { return };
    let number = app.listed(what).len();
    let images = counted(number, "image");
    let (title, text, name) = match what {
        ManyLabels::Unaccept => (
            format!("Undo acceptance of {images}?"),
            "They count as unlabelled again; what is painted stays. Each can be accepted again, image by image.",
            "Undo acceptance",
        ),
        ManyLabels::Clear => (
            format!("Clear the labels of {images}?"),
            "Nothing is labelled in them any more. Each can be undone, image by image: Undo in an image brings its label \
             back.",
            "Clear labels",
        ),
    };
    let nothing = (number == 0).then_some("no image in the list has any");
    let obstacle = app.obstacle(Command::ListedLabels).or(nothing);
    let (mut open, mut answer) = (true, None);
    let sheet = Window::new(title).id(Id::unique("change listed labels")).open(&mut open);
    let sheet = sheet.resizable(false).collapsible(false).pivot(Align2::CENTER_CENTER);
    sheet.default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_width(56.0 * STEP);
        remark(ui, text);
        answer = buttons(ui, name, obstacle, enter.confirms());
    });
    match answer {
        Some(answer) => app.answer_listed(answer == Answer::Yes),
        None if !open => app.answer_listed(false),
        None => {}
    }
}
