//! The list of classes: selecting, renaming, recolouring, locking, merging, deleting and reordering them.

use egui::text::CCursorRange;
use egui::{
    Align, Align2, Button, Color32, ComboBox, Context, Layout, Popup, PopupCloseBehavior, RichText, Role, Slider,
    TextEdit, Ui, WidgetInfo, Window, vec2,
};

use crate::app::App;
use crate::app::command::Command;
use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::domain::study::{CLASS_COLOURS, Class, ClassMap};
use crate::ui::confirm::{self, Answer};
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
    let number = classes.last().map_or(1, |class| class.number + 1);
    if ui.add_enabled(number < UNLABELLED, Button::new(format!("{}  Add a class", icon::PLUS))).clicked() {
        let mut names = (number..=UNLABELLED).map(|number| format!("class {number}"));
        let name = names.find(|name| !is_taken(&classes, number, name)).unwrap_or_else(|| "new class".to_owned());
        app.write(Write::AddClass(name.clone()));
        edits.renaming = Some(Renaming { number, text: name, has_focus: false });
        ui.ctx().request_repaint();
    }
}

/// Whether another class than `number` has this name.
fn is_taken(classes: &[Class], number: u8, name: &str) -> bool {
    classes.iter().any(|class| class.number != number && class.is_named(name))
}

/// A button of a class's colour, which opens a choice of others.
fn swatch(ui: &mut Ui, class: &Class, colour: &mut [u8; 3]) {
    let button = |[r, g, b]: [u8; 3]| Button::new("").fill(Color32::from_rgb(r, g, b)).min_size(vec2(2.0, 3.0) * STEP);
    let swatch = ui.add(button(*colour)).on_hover_text("Change the colour of this class");
    swatch.widget_info(|| WidgetInfo::labeled(Role::ColorWell, true, format!("Colour of {}", class.name)));
    // Not egui's own picker: its handle is cut by the popup, and its first row shows a sign that no font here has.
    Popup::menu(&swatch).close_behavior(PopupCloseBehavior::CloseOnClickOutside).show(|ui| {
        ui.horizontal(|ui| {
            for (number, other) in (1..).zip(CLASS_COLOURS) {
                let one = ui.add(button(other));
                one.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Colour {number}")));
                if one.clicked() {
                    *colour = other;
                }
            }
        });
        for (part, name) in colour.iter_mut().zip(["red", "green", "blue"]) {
            ui.add(Slider::new(part, 0..=u8::MAX).text(name));
        }
    });
}

fn row(ui: &mut Ui, app: &mut App, edits: &mut ClassEdits, class: &Class, classes: &[Class]) {
    let picked = edits.recolouring.filter(|(number, _)| *number == class.number);
    let mut colour = picked.map_or(class.colour, |(_, colour)| colour);
    swatch(ui, class, &mut colour);
    if colour != class.colour {
        edits.recolouring = Some((class.number, colour));
        ui.ctx().request_repaint();
    }
    // One write for a whole drag of a slider.
    if picked.is_some() && !ui.input(|i| i.pointer.any_down()) {
        edits.recolouring = None;
        app.write(Write::RecolourClass(class.number, colour));
    }
    if let Some(renaming) = edits.renaming.as_mut().filter(|renaming| renaming.number == class.number) {
        let edit = ui.add(TextEdit::singleline(&mut renaming.text).desired_width(14.0 * STEP));
        if !std::mem::replace(&mut renaming.has_focus, true) {
            edit.request_focus();
            // What is typed takes the place of the earlier name.
            let mut state = TextEdit::load_state(ui.ctx(), edit.id).unwrap_or_default();
            state.cursor.set_char_range(Some(CCursorRange::select_all_str(&renaming.text)));
            state.store(ui.ctx(), edit.id);
        }
        edit.clone().accessible_name("Class name");
        if edit.lost_focus() {
            let name = renaming.text.trim().to_owned();
            edits.renaming = None;
            let is_other = !name.is_empty() && name != class.name;
            if is_other && is_taken(classes, class.number, &name) {
                app.hint(format!("there is a class “{name}” already: this one keeps its name"));
            } else if is_other {
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
    let (title, verb, rewritten) = match *wanted {
        ClassChange::Delete { number, .. } => (
            format!("Merge or delete class {number}, “{}”", name(number)),
            "Apply",
            if classes.iter().any(|class| class.number > number) {
                "this class, or one below it in the list,"
            } else {
                "this class"
            },
        ),
        ClassChange::Move { number, .. } => (
            format!("Move class {number}, “{}”", name(number)),
            "Move",
            "this class, or the one that it changes places with,",
        ),
    };
    let obstacle = app.job.is_some().then_some("a job is running");
    let (mut open, mut answer) = (true, None);
    let sheet = Window::new(title).id(egui::Id::unique("change classes")).open(&mut open);
    let sheet = sheet.resizable(false).collapsible(false).pivot(Align2::CENTER_CENTER);
    sheet.default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.set_width(56.0 * STEP);
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
        let earlier = format!(
            "Labels that contain {rewritten} are rewritten, and their earlier strokes can no longer be undone."
        );
        confirm::remark(ui, &earlier);
        if rounds > 0 {
            let text = "Rounds trained so far no longer predict: their networks know the classes as they are now. What \
                        these networks have proposed is dropped.";
            confirm::remark(ui, text);
        }
        confirm::remark(ui, "This cannot be undone.");
        // Not by Enter alone, since there is no way back.
        answer = confirm::buttons(ui, verb, obstacle, false);
    });
    let map = if answer == Some(Answer::Yes) { wanted.map(&classes) } else { None };
    if !open || answer.is_some() {
        *change = None;
    }
    if let Some(map) = map {
        app.map_classes(map);
    }
}
