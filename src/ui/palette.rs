//! The command palette: a search of all commands by name and help.

use egui::{Align2, Button, Context, Key, Modifiers, RichText, ScrollArea, TextEdit, Window, vec2};

use crate::app::App;
use crate::app::command::{Row, TABLE};
use crate::ui::theme::{self, STEP};

/// What is being searched for.
#[derive(Default)]
pub struct Palette {
    text: String,
    /// The index of the selected command among those found.
    chosen: usize,
    has_focus: bool,
}

/// The commands whose name or help contains every word typed; those with all words in the name come first.
fn found(text: &str) -> Vec<&'static Row> {
    let words: Vec<String> = text.to_lowercase().split_whitespace().map(str::to_owned).collect();
    let has = |text: &str| {
        let text = text.to_lowercase();
        words.iter().all(|word| text.contains(word))
    };
    let begins = |text: &str| {
        let text = text.to_lowercase();
        words.iter().all(|word| text.split_whitespace().any(|of_text| of_text.starts_with(word.as_str())))
    };
    let mut rows: Vec<&Row> = TABLE.iter().filter(|row| has(&format!("{} {}", row.name, row.help))).collect();
    let is_it = |name: &str| name.eq_ignore_ascii_case(text.trim());
    rows.sort_by_key(|row| (!is_it(row.name), !begins(row.name), !has(row.name)));
    rows
}

/// Shows the search as long as it is open.
pub fn show(ctx: &Context, app: &mut App, palette: &mut Option<Palette>) {
    let Some(search) = palette else { return };
    let rows = found(&search.text);
    let pressed = |key: Key| ctx.input_mut(|i| i.count_and_consume_key(Modifiers::NONE, key));
    let (down, up, enter) = (pressed(Key::ArrowDown), pressed(Key::ArrowUp), pressed(Key::Enter) > 0);
    search.chosen = (search.chosen + down).saturating_sub(up).min(rows.len().saturating_sub(1));
    let mut given = if enter { rows.get(search.chosen).copied() } else { None };
    let (mut open, has_moved) = (true, down + up > 0);
    let sheet = Window::new("Find a command").open(&mut open).resizable(false).collapsible(false);
    let top = ctx.content_rect().center_top() + vec2(0.0, 6.0 * STEP);
    sheet.pivot(Align2::CENTER_TOP).default_pos(top).show(ctx, |ui| {
        ui.set_width(60.0 * STEP);
        let before = search.text.clone();
        let edit = ui.add(TextEdit::singleline(&mut search.text).hint_text("search").desired_width(f32::INFINITY));
        if !std::mem::replace(&mut search.has_focus, true) {
            edit.request_focus();
        }
        edit.accessible_name("Search commands");
        if search.text != before {
            search.chosen = 0;
        }
        ScrollArea::vertical().max_height(40.0 * STEP).auto_shrink([false, true]).show(ui, |ui| {
            if rows.is_empty() {
                ui.label(RichText::new("No command has these words").color(theme::quiet(ui)));
            }
            for (place, row) in rows.iter().enumerate() {
                let obstacle = app.obstacle(row.command);
                let button = Button::selectable(place == search.chosen, row.name).shortcut_text(row.keys());
                let response = ui.add_enabled(obstacle.is_none(), button.min_size(vec2(ui.available_width(), 0.0)));
                if place == search.chosen && has_moved {
                    response.scroll_to_me(None);
                }
                if response.on_hover_text(row.help).on_disabled_hover_text(obstacle.unwrap_or_default()).clicked() {
                    given = Some(row);
                }
            }
        });
    });
    if let Some(row) = given {
        app.push(row.command);
    }
    if !open || given.is_some() {
        *palette = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::command::Command;

    #[test]
    fn commands_are_found_by_words_of_their_names_first() {
        assert_eq!(found("tr")[0].command, Command::Train);
        assert_eq!(found("cancel")[0].command, Command::Cancel);
        assert_eq!(found("train ro")[0].command, Command::Train);
        assert_eq!(found("UNCERTAIN")[0].command, Command::NextUncertain);
        assert!(found("no such words").is_empty());
        assert_eq!(found("").len(), TABLE.len());
    }
}
