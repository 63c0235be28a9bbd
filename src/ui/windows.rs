//! The sheets that open over the window: new project, settings, shortcuts and others. Nothing stops while one is open.

use std::collections::HashSet;
use std::path::Path;

use egui::{Align2, Context, Grid, RichText, ScrollArea, Ui, Window};

use crate::app::App;
use crate::app::command::{Command, TABLE as COMMANDS};
use crate::domain::settings::{Kind, Setting, Settings, TABLE as SETTINGS};
use crate::domain::text::counted;
use crate::ui::classes::{self, ClassEdits};
use crate::ui::closing::{self, Closing};
use crate::ui::confirm::{self, Enter};
use crate::ui::dialogs::Dialogs;
use crate::ui::export::{self, ExportSheet};
use crate::ui::import::{self, ImportSheet};
use crate::ui::line::{self, LineInput};
use crate::ui::listed;
use crate::ui::new_project::{self, NewProject};
use crate::ui::palette::{self, Palette};
use crate::ui::predict::{self, PredictFolder};
use crate::ui::regions::{self, RegionsSheet};
use crate::ui::rounds::{self, RoundsSheet};
use crate::ui::servers;
use crate::ui::theme::{self, STEP, icon};
use crate::ui::view::CanvasState;
use crate::worker::GroupRule;

/// Which windows are open, and what is being typed in them.
pub struct Windows {
    /// The settings.
    pub settings: bool,
    /// The sheet of shortcuts.
    pub shortcuts: bool,
    /// The rounds.
    pub rounds: RoundsSheet,
    /// The regions of the open image.
    pub regions: RegionsSheet,
    /// The grouping rule as typed so far.
    pub groups: Option<String>,
    /// A grouping rule, and a preview of the groups it makes.
    groups_preview: (String, Vec<String>),
    /// A new project being described.
    pub new_project: Option<NewProject>,
    /// The folder of a project to open, as typed so far.
    pub open_project: Option<String>,
    /// The folder of masks to import, as typed so far.
    pub import_masks: Option<String>,
    /// An import.
    pub import: ImportSheet,
    /// The new location of the images, as typed so far.
    pub locate: Option<String>,
    /// What is being done to the classes.
    pub classes: ClassEdits,
    /// Size in pixels of the smallest connected component that the next clean-up keeps.
    pub cleanup_area: u32,
    /// Pixels that the next clean-up grows, shrinks or smooths by.
    pub cleanup_radius: u8,
    /// All commands, being searched.
    pub palette: Option<Palette>,
    /// A folder to predict, being described.
    pub predict: Option<PredictFolder>,
    /// An export of labels, being described.
    pub export: Option<ExportSheet>,
    /// A text on its way to the clipboard.
    pub clipboard: Option<String>,
    /// Whether the operations on all listed labels are open.
    pub listed: bool,
    /// What this program is.
    pub about: bool,
    /// Whether the window is to be closed.
    pub closing: Closing,
    draft: Option<Draft>,
}

impl Default for Windows {
    fn default() -> Self {
        Self {
            settings: false,
            shortcuts: false,
            rounds: RoundsSheet::default(),
            regions: RegionsSheet::default(),
            groups: None,
            groups_preview: Default::default(),
            new_project: None,
            open_project: None,
            import_masks: None,
            import: ImportSheet::default(),
            locate: None,
            classes: ClassEdits::default(),
            cleanup_area: 20,
            cleanup_radius: 2,
            palette: None,
            predict: None,
            export: None,
            clipboard: None,
            listed: false,
            about: false,
            closing: Closing::No,
            draft: None,
        }
    }
}

impl Windows {
    /// Whether a sheet that asks for input is open: keys then do not act on the window beneath it.
    pub fn is_asking(&self, app: &App) -> bool {
        app.import.is_some()
            || app.listed_change.is_some()
            || app.server_sheet.is_some()
            || self.closing == Closing::Asking
            || self.palette.is_some()
            || self.new_project.is_some()
            || self.predict.is_some()
            || self.export.is_some()
            || self.classes.change.is_some()
            || [&self.groups, &self.open_project, &self.import_masks, &self.locate].iter().any(|line| line.is_some())
    }

    /// Closes the topmost sheet; returns whether there was one.
    pub fn close_top(&mut self, app: &mut App) -> bool {
        if self.palette.take().is_some() {
            return true;
        }
        if self.closing == Closing::Asking {
            self.closing = Closing::No;
            return true;
        }
        if app.listed_change.take().is_some() {
            return true;
        }
        if let Some(import) = &app.import {
            if !import.is_being_done {
                app.abandon_import();
            }
            return true;
        }
        if self.new_project.take().is_some()
            || app.server_sheet.take().is_some()
            || self.predict.take().is_some()
            || self.classes.change.take().is_some()
            || self.classes.renaming.take().is_some()
        {
            return true;
        }
        if self.export.is_some() {
            // The sheet tells how an export that is being done ends.
            if !app.export.as_ref().is_some_and(|export| export.is_being_done) {
                self.export = None;
            }
            return true;
        }
        let lines = [&mut self.groups, &mut self.open_project, &mut self.import_masks, &mut self.locate];
        if lines.into_iter().any(|line| line.take().is_some()) {
            return true;
        }
        let sheets = [
            &mut self.about,
            &mut self.listed,
            &mut self.shortcuts,
            &mut self.settings,
            &mut self.rounds.open,
            &mut self.regions.open,
        ];
        sheets.into_iter().any(std::mem::take)
    }
}

/// Settings being edited as text, which may not be valid yet.
struct Draft {
    of: Settings,
    texts: Vec<String>,
    error: Option<String>,
}

impl Draft {
    fn new(settings: &Settings) -> Self {
        let texts = SETTINGS.iter().map(|setting| setting.text(settings)).collect();
        Self { of: settings.clone(), texts, error: None }
    }

    /// The settings as typed, where they are valid.
    fn read(&mut self) -> Option<Settings> {
        let mut settings = self.of.clone();
        let read =
            SETTINGS.iter().zip(&self.texts).try_for_each(|(setting, text)| settings.set(setting.key, text.trim()));
        self.error = read.and_then(|()| settings.check()).err().map(|error| error.to_string());
        self.error.is_none().then_some(settings)
    }
}

/// Shows what is open.
pub fn show(
    ctx: &Context,
    app: &mut App,
    canvas: &mut CanvasState,
    windows: &mut Windows,
    (dialogs, enter): (&Dialogs, Enter),
) {
    if let Some(text) = windows.clipboard.take() {
        ctx.copy_text(text);
    }
    shortcuts(ctx, &mut windows.shortcuts);
    settings(ctx, app, windows);
    rounds::show(ctx, app, &mut windows.rounds);
    regions::show(ctx, app, canvas, &mut windows.regions);
    groups(ctx, app, windows, (dialogs, enter));
    line::open_project(ctx, app, &mut windows.open_project, (dialogs, enter));
    line::import_masks(ctx, app, &mut windows.import_masks, (dialogs, enter));
    line::locate(ctx, app, &mut windows.locate, (dialogs, enter));
    import::show(ctx, app, &mut windows.import, enter);
    if app.import.as_ref().is_some_and(|import| import.is_being_done) {
        windows.import_masks = None;
    }
    listed::show(ctx, app, &mut windows.listed);
    confirm::listed(ctx, app, enter);
    classes::ask(ctx, app, &mut windows.classes.change);
    // The typed text returns if the import is cancelled.
    if windows.new_project.is_some() && app.import.is_none() {
        new_project::show(ctx, app, &mut windows.new_project, dialogs, enter);
    }
    servers::show(ctx, app, enter);
    predict::show(ctx, app, &mut windows.predict, dialogs, enter);
    export::show(ctx, app, &mut windows.export, dialogs, enter);
    closing::show(ctx, app, &mut windows.closing);
    closing::about(ctx, &mut windows.about);
    palette::show(ctx, app, &mut windows.palette);
}

/// A scroll area nearly as tall as the window.
fn tall(ui: &Ui) -> ScrollArea {
    let height = ui.ctx().content_rect().height() - 18.0 * STEP;
    ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([true, true])
}

fn shortcuts(ctx: &Context, open: &mut bool) {
    let centre = ctx.content_rect().center();
    let sheet = Window::new("Shortcuts").open(open).resizable(false).collapsible(false);
    sheet.pivot(Align2::CENTER_CENTER).default_pos(centre).show(ctx, |ui| {
        ui.spacing_mut().interact_size.y = 0.0;
        tall(ui).show(ui, |ui| {
            Grid::new("shortcuts").num_columns(3).spacing([3.0 * STEP, STEP / 2.0]).show(ui, |ui| {
                let mut group = "";
                for row in COMMANDS.iter().filter(|row| !row.shortcuts.is_empty()) {
                    if row.group != group {
                        group = row.group;
                        ui.label(RichText::new(group).strong());
                        ui.end_row();
                    }
                    ui.label(row.name);
                    ui.label(RichText::new(row.keys()).monospace());
                    ui.label(RichText::new(row.help).small().color(theme::quiet(ui)));
                    ui.end_row();
                }
                ui.label(RichText::new("Pointer").strong());
                ui.end_row();
                for (what, how) in [
                    ("Zoom at the pointer", "scroll"),
                    ("Brush size", "Shift and scroll"),
                    ("Move the view", "middle drag, or Space and drag"),
                    ("Erase", "right button, or Alt"),
                ] {
                    ui.label(what);
                    ui.label(RichText::new(how).monospace());
                    ui.end_row();
                }
            });
        });
    });
}

fn settings(ctx: &Context, app: &mut App, windows: &mut Windows) {
    let Some(current) = app.project().map(|project| project.study.settings.clone()) else {
        windows.settings = false;
        return;
    };
    if !windows.settings {
        windows.draft = None;
        return;
    }
    let mut draft = windows.draft.take().filter(|draft| draft.of == current).unwrap_or_else(|| Draft::new(&current));
    let mut changed = false;
    let centre = ctx.content_rect().center();
    let sheet = Window::new("Settings").open(&mut windows.settings).resizable(false).collapsible(false);
    sheet.pivot(Align2::CENTER_CENTER).default_pos(centre).show(ctx, |ui| {
        ui.horizontal(|ui| {
            ui.label(RichText::new("Changes take effect in the next round. Presets:").color(theme::quiet(ui)));
            for preset in ["quick", "paper"] {
                if ui.button(preset).clicked()
                    && let Some(settings) = Settings::preset(preset)
                {
                    draft.texts = SETTINGS.iter().map(|setting| setting.text(&settings)).collect();
                    changed = true;
                }
            }
        });
        if let Some(error) = &draft.error {
            ui.label(RichText::new(format!("{} {error}", icon::WARNING)).color(theme::WRONG));
        }
        tall(ui).show(ui, |ui| {
            Grid::new("settings").num_columns(3).spacing([2.0 * STEP, STEP / 2.0]).show(ui, |ui| {
                let mut group = "";
                for (setting, text) in SETTINGS.iter().zip(&mut draft.texts) {
                    if setting.group != group {
                        group = setting.group;
                        ui.label(RichText::new(group).strong());
                        ui.end_row();
                    }
                    let help = format!("{}\n{}: {}", setting.help, setting.key, setting.kind.describe());
                    let is_used = setting.is_used(&draft.of);
                    ui.add_enabled_ui(is_used, |ui| ui.label(setting.label).on_hover_text(&help));
                    let response = ui.add_enabled_ui(is_used, |ui| field(ui, setting, text).on_hover_text(&help));
                    changed |= response.inner.changed();
                    ui.label(RichText::new(setting.unit).small().color(theme::quiet(ui)));
                    ui.end_row();
                }
            });
        });
    });
    if changed && let Some(settings) = draft.read() {
        draft.of = settings.clone();
        app.set_settings(settings);
    }
    windows.draft = Some(draft);
}

fn field(ui: &mut Ui, setting: &Setting, text: &mut String) -> egui::Response {
    let response = match setting.kind {
        Kind::Switch => {
            let mut on = text == "true";
            let response = ui.checkbox(&mut on, "");
            *text = on.to_string();
            response
        }
        Kind::Choice(words) => {
            let before = text.clone();
            let menu = egui::ComboBox::from_id_salt(setting.key).width(20.0 * STEP).selected_text(text.as_str());
            let mut response = menu.show_ui(ui, |ui| {
                for word in words {
                    ui.selectable_value(text, (*word).to_owned(), *word);
                }
            });
            if *text != before {
                response.response.mark_changed();
            }
            response.response
        }
        Kind::Whole(..) | Kind::Real(..) | Kind::List(..) | Kind::ListOrAuto(..) => {
            ui.add(egui::TextEdit::singleline(text).desired_width(20.0 * STEP))
        }
    };
    response.accessible_name(setting.label)
}

/// Which images belong together.
fn groups(ctx: &Context, app: &mut App, windows: &mut Windows, asked: (&Dialogs, Enter)) {
    let line = LineInput {
        title: "Groups of images",
        help: "Images of one patient, volume or slide are always together, in training or in validation.\n\
               folder: by the folder they lie in; folder:2 by the one above.\n\
               pattern:REGEX: by what the name matches (its first capture group).\n\
               csv:FILE: by a table of name and group, with a header line.",
        name: "Rule of groups",
        hint: "pattern:^(\\w+)_slice",
        browse: None,
        button: "Group",
        obstacle: app.obstacle(Command::Groups),
    };
    let preview = |ui: &mut Ui, rule: &str| {
        let Some(project) = app.project() else { return };
        if windows.groups_preview.0 != rule {
            let lines = groups_preview(rule, project.study.images.iter().map(|image| image.path.as_path()));
            windows.groups_preview = (rule.to_owned(), lines);
        }
        for line in &windows.groups_preview.1 {
            ui.label(RichText::new(line).small().color(theme::quiet(ui)));
        }
    };
    if let Some(rule) = line.ask(ctx, &mut windows.groups, asked, preview) {
        app.set_groups(rule);
    }
}

/// Images whose groups are shown before a rule is used.
const PREVIEWED: usize = 6;

/// Previews a rule on the first images and on all of them; a CSV table is read only once the rule is applied.
fn groups_preview<'a>(rule: &str, images: impl Iterator<Item = &'a Path>) -> Vec<String> {
    if rule.is_empty() || rule.starts_with("csv:") {
        return Vec::new();
    }
    let rule = match GroupRule::read(rule) {
        Ok(rule) => rule,
        Err(error) => return vec![error.to_string()],
    };
    let groups: Vec<(String, Option<String>)> = images
        .map(|image| (image.file_name().unwrap_or_default().to_string_lossy().into_owned(), rule.group(image, image)))
        .collect();
    let distinct: HashSet<&String> = groups.iter().filter_map(|(_, group)| group.as_ref()).collect();
    let without = groups.iter().filter(|(_, group)| group.is_none()).count();
    let rows = groups.iter().take(PREVIEWED).map(|(name, group)| match group {
        Some(group) => format!("{name}: {group}"),
        None => format!("{name}: no group"),
    });
    let (grouped, all) = (counted(groups.len() - without, "image"), counted(distinct.len(), "group"));
    let all = format!("{grouped} in {all}, {without} in none");
    rows.chain([all]).collect()
}
