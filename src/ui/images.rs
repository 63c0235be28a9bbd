//! The list of images with thumbnail, status and score; only visible rows are laid out.

use std::collections::{HashMap, HashSet};

use egui::{
    Align, Align2, Color32, CornerRadius, FontId, Key, Layout, Rect, Role, ScrollArea, Sense, TextureHandle,
    TextureOptions, Ui, WidgetInfo, pos2, vec2,
};

use crate::app::command::Command;
use crate::app::list::{self, Filter, Sort};
use crate::app::{App, OpenProject};
use crate::domain::study::{ImageId, Review, Status};
use crate::ui::theme::{self, STEP, icon};

const ROW: f32 = 7.0 * STEP;
/// Thumbnails kept as GPU textures.
const KEPT: usize = 400;

/// The list's own state.
#[derive(Default)]
pub struct ImagesState {
    thumbnails: HashMap<ImageId, TextureHandle>,
    scrolled_to: Option<ImageId>,
}

impl ImagesState {
    /// Forgets the thumbnails of another project.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

/// The panel on the left.
pub fn show(ui: &mut Ui, app: &mut App, state: &mut ImagesState) {
    let Some(project) = app.project_mut() else { return };
    let mut clicked = header(ui, project);
    ui.separator();
    if project.list.shown.is_empty() {
        ui.vertical_centered(|ui| {
            ui.add_space(4.0 * STEP);
            ui.label(egui::RichText::new("No image matches").color(theme::quiet(ui)));
            if ui.button("Show all").clicked() {
                project.list.search.clear();
                project.list.filter = Filter::All;
                project.update_list();
            }
        });
        return;
    }
    let current = project.current.id();
    let rows = project.list.shown.len();
    let mut area = ScrollArea::vertical().auto_shrink([false, false]);
    if current.is_some() && state.scrolled_to != current {
        state.scrolled_to = current;
        let slices: Vec<_> = project.slices().iter().map(|slice| slice.id).collect();
        let is_it = |id: ImageId| Some(id) == current || slices.contains(&id);
        let place = project.list.shown.iter().position(|&i| is_it(project.study.images[i].id));
        if let Some(place) = place {
            let height = ui.available_height();
            area = area.vertical_scroll_offset((place as f32 * ROW - height / 2.0 + ROW / 2.0).max(0.0));
        }
    }
    ui.spacing_mut().item_spacing.y = 0.0;
    let mut in_sight = HashSet::new();
    area.show_rows(ui, ROW, rows, |ui, range| {
        for place in range {
            if let Some(image) = row(ui, app, state, place, &mut in_sight) {
                clicked = Some(image);
            }
        }
    });
    if state.thumbnails.len() > KEPT {
        state.thumbnails.retain(|image, _| in_sight.contains(image));
        if let Some(project) = app.project_mut() {
            project.thumbnails.retain(|image, _| in_sight.contains(image));
        }
    }
    if let Some(image) = clicked {
        // A click on the open stack keeps the current slice.
        let is_open = app.project().is_some_and(|project| project.slices().iter().any(|slice| slice.id == image));
        if !is_open {
            state.scrolled_to = Some(image);
            app.show(image);
        }
    }
}

/// What the list shows, and in which order; returns the first image found where the search was ended with Enter.
fn header(ui: &mut Ui, project: &mut OpenProject) -> Option<ImageId> {
    let before = (project.list.filter, project.list.sort, project.list.search.clone());
    ui.horizontal(|ui| {
        ui.label(egui::RichText::new("Images").strong());
        let (shown, all) = (project.list.shown.len(), project.study.images.len());
        let count = match project.list.stacks.len() {
            0 => format!("{shown} of {all}"),
            _ => format!("{shown}  ·  {all} with slices"),
        };
        ui.label(egui::RichText::new(count).small().color(theme::quiet(ui)));
    });
    let list = &mut project.list;
    ui.horizontal(|ui| {
        let half = (ui.available_width() - STEP) / 2.0;
        let name = |filter: Filter| Filter::ALL.iter().find(|(f, _)| *f == filter).map_or("", |(_, name)| name);
        let menu = egui::ComboBox::from_id_salt("filter").width(half).truncate().selected_text(name(list.filter));
        let response = ui.scope(|ui| {
            ui.set_max_width(half);
            menu.show_ui(ui, |ui| {
                for (filter, name) in Filter::ALL {
                    ui.selectable_value(&mut list.filter, filter, name);
                }
            })
        });
        response.inner.response.accessible_name("Filter");
        let name = |sort: Sort| Sort::ALL.iter().find(|(s, _)| *s == sort).map_or("", |(_, name)| name);
        let menu = egui::ComboBox::from_id_salt("sort").width(half).truncate();
        let menu = menu.selected_text(format!("by {}", name(list.sort)));
        let response = ui.scope(|ui| {
            ui.set_max_width(half);
            menu.show_ui(ui, |ui| {
                for (sort, name) in Sort::ALL {
                    ui.selectable_value(&mut list.sort, sort, format!("by {name}"));
                }
            })
        });
        response.inner.response.accessible_name("Order");
    });
    let is_entered = search(ui, &mut list.search);
    if before != (list.filter, list.sort, list.search.clone()) {
        project.update_list();
    }
    let first = project.list.shown.first().filter(|_| is_entered);
    first.and_then(|place| project.study.images.get(*place)).map(|image| image.id)
}

/// The field for a part of the names. Esc clears it; returns whether Enter ended it.
fn search(ui: &mut Ui, text: &mut String) -> bool {
    let mut is_entered = false;
    ui.horizontal(|ui| {
        let room = if text.is_empty() { 0.0 } else { 4.0 * STEP };
        let edit = egui::TextEdit::singleline(text)
            .hint_text(format!("{} search names", icon::SEARCH))
            .desired_width(ui.available_width() - room);
        let edit = ui.add(edit);
        if edit.lost_focus() {
            let (enter, escape) = ui.input(|i| (i.key_pressed(Key::Enter), i.key_pressed(Key::Escape)));
            is_entered = enter && !text.is_empty();
            if escape {
                text.clear();
            }
        }
        edit.accessible_name("Search names");
        if room > 0.0 {
            let clear = ui.add(egui::Button::new(icon::CLOSE).frame(false)).on_hover_text("Clear the search (Esc)");
            clear.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Clear the search"));
            if clear.clicked() {
                text.clear();
            }
        }
    });
    is_entered
}

/// One row; the image where it was clicked.
fn row(
    ui: &mut Ui,
    app: &mut App,
    state: &mut ImagesState,
    place: usize,
    in_sight: &mut HashSet<ImageId>,
) -> Option<ImageId> {
    let project = app.project_mut()?;
    let record = project.study.images.get(*project.list.shown.get(place)?)?;
    let (image, status, is_begun) = (record.id, Status::of(record), list::is_begun(record));
    let stack = record.stack.as_ref().map(|(stack, _)| stack);
    let name = stack.unwrap_or(&record.name).clone();
    let slices = stack.and_then(|stack| project.list.stacks.get(stack)).copied();
    let words = words(status, list::status_words(record), slices);
    let by = project.list.sort.score(project.study.settings.score);
    let score = record.scores.filter(|_| !record.labelled).map(|scores| scores.by(by));
    let (problem, path) = (record.problem.clone(), record.path.clone());
    let is_current = project.current.id() == Some(image)
        || record.stack.is_some() && project.slices().iter().any(|slice| slice.id == image);
    in_sight.insert(image);
    if let Some(Some(pixels)) = project.thumbnails.get(&image) {
        let size = [pixels.width() as usize, pixels.height() as usize];
        let pixels = egui::ColorImage::from_rgba_unmultiplied(size, pixels.as_raw());
        let texture = ui.ctx().load_texture(format!("thumbnail {image}"), pixels, TextureOptions::LINEAR);
        state.thumbnails.insert(image, texture);
        project.thumbnails.insert(image, None);
    } else if !state.thumbnails.contains_key(&image) {
        app.want_thumbnail(image);
    }

    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::ListItem, true, is_current, format!("{name}, {words}")));
    let response = match problem {
        Some(problem) => response.on_hover_text(problem),
        None => response,
    };
    let painter = ui.painter();
    let fill = if is_current {
        ui.visuals().selection.bg_fill
    } else if response.hovered() {
        ui.visuals().widgets.hovered.weak_bg_fill
    } else {
        Color32::TRANSPARENT
    };
    painter.rect_filled(rect, CornerRadius::same(4), fill);
    let frame = Rect::from_min_size(rect.min + vec2(STEP / 2.0, STEP / 2.0), vec2(8.0 * STEP, 6.0 * STEP));
    painter.rect_filled(frame, CornerRadius::same(2), theme::CANVAS);
    if let Some(texture) = state.thumbnails.get(&image) {
        let size = texture.size_vec2();
        let size = size * (frame.size() / size).min_elem();
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        painter.image(texture.id(), Rect::from_center_size(frame.center(), size), whole, Color32::WHITE);
    }
    let text = Rect::from_min_max(pos2(frame.right() + STEP, rect.top()), rect.max - vec2(STEP, 0.0));
    let upper = Rect::from_min_max(text.min + vec2(0.0, STEP * 0.5), pos2(text.right(), text.center().y));
    let child = egui::UiBuilder::new().max_rect(upper).layout(Layout::left_to_right(Align::Center));
    ui.new_child(child).add(egui::Label::new(name.as_str()).selectable(false).truncate());
    let is_done = slices.is_none_or(|(slices, labelled)| labelled == slices);
    let colour = match status {
        Status::Proposed(..) => theme::WANTED,
        Status::Unlabelled | Status::Pseudo(Review::Rejected) if is_begun => theme::WANTED,
        Status::Unlabelled | Status::Pseudo(Review::Rejected) => theme::quiet(ui),
        Status::Pseudo(Review::Unreviewed | Review::Accepted) => theme::MACHINE,
        Status::Labelled if is_done => theme::DONE,
        Status::Labelled => theme::quiet(ui),
        Status::Validation => theme::ACCENT,
        Status::Unreadable => theme::WRONG,
    };
    let colour = theme::legible(ui, colour);
    let painter = ui.painter();
    let line = text.bottom() - 1.75 * STEP;
    painter.circle_filled(pos2(text.left() + 3.0, line), 3.0, colour);
    let font = FontId::proportional(12.0);
    let mut end = text.right();
    if let Some(score) = score.filter(|_| slices.is_none()) {
        let (at, font) = (pos2(end, line), font.clone());
        let score = painter.text(at, Align2::RIGHT_CENTER, theme::short(score), font, theme::quiet(ui));
        end = score.left() - STEP;
    }
    let lower = Rect::from_min_max(pos2(text.left() + 1.5 * STEP, line - STEP), pos2(end, line + STEP));
    let child = egui::UiBuilder::new().max_rect(lower).layout(Layout::left_to_right(Align::Center));
    let words = egui::RichText::new(words).font(font).color(colour);
    ui.new_child(child).add(egui::Label::new(words).selectable(false).truncate());
    let mut is_wanted = response.clicked() || response.secondary_clicked();
    response.context_menu(|ui| {
        // The commands are for the image that the click has opened.
        is_wanted |= !is_current;
        for command in [
            Command::Accept,
            Command::Unaccept,
            Command::CopyLabel,
            Command::PasteLabel,
            Command::Regions,
            Command::RemoveImage,
        ] {
            if command_button(ui, app, command, "") {
                ui.close();
            }
        }
        if ui.button("Copy path").clicked() {
            ui.ctx().copy_text(path.display().to_string());
            ui.close();
        }
    });
    is_wanted.then_some(image)
}

/// The second line of a row: the status of an image; of a stack, how many of its slices are labelled, since the status is
/// only that of its first slice.
fn words(status: Status, in_words: &str, slices: Option<(usize, usize)>) -> String {
    let one = match status {
        Status::Proposed(_, rank) => format!("{rank}  {in_words}"),
        Status::Unlabelled | Status::Pseudo(_) | Status::Labelled | Status::Validation | Status::Unreadable => {
            in_words.to_owned()
        }
    };
    let Some((slices, labelled)) = slices else { return one };
    let of_stack = format!("{labelled} of {slices} slices labelled");
    match status {
        Status::Unlabelled | Status::Labelled => of_stack,
        Status::Proposed(..) | Status::Pseudo(_) | Status::Validation | Status::Unreadable => {
            format!("{one}  ·  {of_stack}")
        }
    }
}

/// A button for a command, with its tooltip; disabled, with the reason, if the command is not available.
pub fn command_button(ui: &mut Ui, app: &mut App, command: Command, sign: &str) -> bool {
    named_button(ui, app, command, sign, command.row().name)
}

/// [`command_button`] by another name.
pub fn named_button(ui: &mut Ui, app: &mut App, command: Command, sign: &str, name: &str) -> bool {
    let (row, obstacle) = (command.row(), app.obstacle(command));
    let text = if sign.is_empty() { name.to_owned() } else { format!("{sign}  {name}") };
    let button = ui.add_enabled(obstacle.is_none(), egui::Button::new(text));
    button.widget_info(|| WidgetInfo::labeled(Role::Button, obstacle.is_none(), name));
    let clicked = button.on_hover_text(row.tooltip()).on_disabled_hover_text(obstacle.unwrap_or_default()).clicked();
    if clicked {
        app.push(command);
    }
    clicked
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::round::Reason;

    #[test]
    fn the_row_of_a_stack_says_how_many_of_its_slices_are_labelled() {
        let proposed = Status::Proposed(Reason::MostUncertain, 4);
        for (status, in_words, slices, text) in [
            (Status::Unlabelled, "unlabelled", None, "unlabelled"),
            (Status::Unlabelled, "unlabelled", Some((8, 3)), "3 of 8 slices labelled"),
            (Status::Labelled, "labelled", Some((8, 3)), "3 of 8 slices labelled"),
            (proposed, "not accepted", None, "4  not accepted"),
            (proposed, "most uncertain", Some((8, 3)), "4  most uncertain  ·  3 of 8 slices labelled"),
        ] {
            assert_eq!(words(status, in_words, slices), text);
        }
    }
}
