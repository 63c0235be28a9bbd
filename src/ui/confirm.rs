//! Enter, where it confirms a sheet.

use egui::{Context, Event, Id, Key, Popup, Response};

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
