//! The list of classes: selecting, renaming, recolouring, locking, merging, deleting and reordering them.

use egui::{Align, Align2, Button, ComboBox, Context, Layout, RichText, Role, Ui, WidgetInfo, Window};

use crate::app::App;
use crate::app::command::Command;
use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::domain::study::{Class, ClassMap};
use crate::ui::theme::{self, STEP, icon};
use crate::worker::Write;

/// A change to the classes that renumbers labels and awaits the user's confirmation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClassChange {
    /// Delete a class; its pixels become another class or unlabelled.
    Delete {
        /// The class.
        number: u8,
        /// What its pixels become.
        into: u8,
    },
    /// Move a class by one place.
    Move {
        /// The class.
        number: u8,
        /// Whether down.
        down: bool,
    },
}

/// A class being renamed.
pub struct Renaming {
    /// The class.
    number: u8,
    /// Its name as typed so far.
    text: String,
    /// Whether the text field has had the focus.
    has_focus: bool,
}

impl Renaming {
    fn of(class: &Class) -> Self {
        Self { number: class.number, text: class.name.clone(), has_focus: false }
    }
}

/// What is being done to the classes in the window.
#[derive(Default)]
pub struct ClassEdits {
    /// A class being renamed.
    pub renaming: Option<Renaming>,
    /// A class being recoloured: its number, and the colour so far.
    pub recolouring: Option<(u8, [u8; 3])>,
    /// A change to the classes that awaits the user's confirmation.
    pub change: Option<ClassChange>,
}

impl ClassChange {
    fn map(self, classes: &[Class]) -> Option<ClassMap> {
        match self {
            Self::Delete { number, into } => ClassMap::without(classes, number, into),
            Self::Move { number, down } => ClassMap::moved(classes, number, down),
        }
    }
}

/// The list of classes.
pub fn list(ui: &mut Ui, app: &mut App, edits: &mut ClassEdits) {
    let Some(project) = app.project() else { return };
    let classes = project.study.classes.clone();
    for class in &classes {
        ui.horizontal(|ui| row(ui, app, edits, class, &classes));
    }
    let number = classes.len() + 1;
    let is_room = number < usize::from(UNLABELLED);
    if ui.add_enabled(is_room, Button::new(format!("{}  Add a class", icon::PLUS)).small()).clicked() {
        app.write(Write::AddClass(format!("class {number}")));
    }
}

fn row(ui: &mut Ui, app: &mut App, edits: &mut ClassEdits, class: &Class, classes: &[Class]) {
    let picked = edits.recolouring.filter(|(number, _)| *number == class.number);
    let mut colour = picked.map_or(class.colour, |(_, colour)| colour);
    ui.spacing_mut().interact_size.x = 2.0 * STEP;
    let swatch = ui.color_edit_button_srgb(&mut colour).on_hover_text("Change the colour of this class");
    swatch.widget_info(|| WidgetInfo::labeled(Role::ColorWell, true, format!("Colour of {}", class.name)));
    if colour != class.colour {
        edits.recolouring = Some((class.number, colour));
    }
    // One write for a whole drag in the colour picker.
    if picked.is_some() && !ui.input(|i| i.pointer.any_down()) {
        edits.recolouring = None;
        app.write(Write::RecolourClass(class.number, colour));
    }
    if let Some(renaming) = edits.renaming.as_mut().filter(|renaming| renaming.number == class.number) {
        let edit = ui.add(egui::TextEdit::singleline(&mut renaming.text).desired_width(14.0 * STEP));
        if !std::mem::replace(&mut renaming.has_focus, true) {
            edit.request_focus();
        }
        edit.clone().accessible_name("Class name");
        if edit.lost_focus() {
            let name = renaming.text.trim().to_owned();
            edits.renaming = None;
            if !name.is_empty() && name != class.name {
                app.write(Write::RenameClass(class.number, name));
            }
        }
        return;
    }
    let button = ui.add(Button::selectable(app.class == class.number, &class.name).truncate());
    let button = button.on_hover_text("Click to paint this class, double-click to rename it, right-click for more");
    if button.clicked() {
        app.push(Command::Class(class.number));
    }
    if button.double_clicked() {
        edits.renaming = Some(Renaming::of(class));
    }
    button.context_menu(|ui| menu(ui, app, edits, class, classes));
    ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
        let locked = app.locked.contains(class.number);
        let (sign, help) = match locked {
            true => (icon::LOCK, "Locked: this class is not overwritten. Click to unlock"),
            false => (icon::UNLOCK, "Lock this class against being overwritten"),
        };
        let lock = ui.add(Button::new(sign).frame(false)).on_hover_text(help);
        lock.widget_info(|| WidgetInfo::selected(Role::Button, true, locked, format!("Lock {}", class.name)));
        if lock.clicked() {
            app.locked.toggle(class.number);
        }
        if class.number <= 9 {
            ui.label(RichText::new(class.number.to_string()).small().color(theme::quiet(ui)));
        }
    });
}

fn menu(ui: &mut Ui, app: &App, edits: &mut ClassEdits, class: &Class, classes: &[Class]) {
    if ui.button("Rename").clicked() {
        edits.renaming = Some(Renaming::of(class));
        ui.close();
    }
    let number = class.number;
    let changes = [
        ("Move up", ClassChange::Move { number, down: false }),
        ("Move down", ClassChange::Move { number, down: true }),
        ("Merge or delete…", ClassChange::Delete { number, into: BACKGROUND }),
    ];
    let busy = app.job.is_some().then_some("a job is running");
    for (name, change) in changes {
        let why = busy.or_else(|| change.map(classes).is_none().then_some("there is no other class for that"));
        let button = ui.add_enabled(why.is_none(), Button::new(name));
        if button.on_disabled_hover_text(why.unwrap_or_default()).clicked() {
            edits.change = Some(change);
            ui.close();
        }
    }
}

/// Asks the user to confirm a change to the classes, and shows its consequences.
pub fn ask(ctx: &Context, app: &mut App, change: &mut Option<ClassChange>) {
    let (Some(wanted), Some(project)) = (change.as_mut(), app.project()) else {
        *change = None;
        return;
    };
    let classes = project.study.classes.clone();
    let name = |number: u8| classes.iter().find(|class| class.number == number).map_or("", |class| class.name.as_str());
    let rounds = project.study.rounds.iter().filter(|round| !round.outdated).count();
    let labels = project.study.images.iter().filter(|image| image.painted).count();
    let (title, verb) = match wanted {
        ClassChange::Delete { number, .. } => (format!("Merge or delete “{}”", name(*number)), "Apply"),
        ClassChange::Move { number, .. } => (format!("Move “{}”", name(*number)), "Move"),
    };
    let (mut open, mut is_given, mut is_cancelled) = (true, false, false);
    let sheet = Window::new(title).id(egui::Id::unique("change classes")).open(&mut open);
    let sheet = sheet.resizable(false).collapsible(false).pivot(Align2::CENTER_CENTER);
    sheet.default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_max_width(56.0 * STEP);
        if let ClassChange::Delete { number, into } = wanted {
            let choice = |number: u8| match number {
                BACKGROUND => "background".to_owned(),
                UNLABELLED => "not labelled".to_owned(),
                number => name(number).to_owned(),
            };
            ui.horizontal(|ui| {
                let label = ui.label("Its pixels become");
                let list = ComboBox::from_id_salt("into").selected_text(choice(*into)).show_ui(ui, |ui| {
                    let others = classes.iter().map(|class| class.number).filter(|other| other != number);
                    for other in [BACKGROUND, UNLABELLED].into_iter().chain(others) {
                        ui.selectable_value(into, other, choice(other));
                    }
                });
                list.response.labelled_by(label.id);
            });
        }
        let mut costs = vec![match labels {
            1 => "One label is rewritten; it can no longer be undone step by step.".to_owned(),
            labels => format!("{labels} labels are rewritten; they can no longer be undone step by step."),
        }];
        if rounds > 0 {
            let text = "Rounds trained so far no longer predict: their networks know the classes as they are now.";
            costs.push(text.to_owned());
        }
        costs.push("This cannot be undone.".to_owned());
        for cost in costs {
            ui.add(egui::Label::new(RichText::new(cost).color(theme::quiet(ui))).wrap());
        }
        ui.horizontal(|ui| {
            is_given = ui.button(verb).clicked();
            is_cancelled = ui.button("Cancel").clicked();
        });
    });
    let map = if is_given { wanted.map(&classes) } else { None };
    if !open || is_given || is_cancelled {
        *change = None;
    }
    if let Some(map) = map {
        app.map_classes(map);
    }
}
