//! The import sheet: what an import would do, and the questions that the user must answer first.

use std::fmt::Display;
use std::path::PathBuf;

use egui::{
    Align2, CollapsingHeader, ComboBox, Context, Grid, Id, ProgressBar, RichText, ScrollArea, TextEdit, Ui, Window,
};

use crate::app::App;
use crate::app::import::OpenImport;
use crate::domain::mask::{BACKGROUND, UNLABELLED};
use crate::domain::mask_values::{MaskValue, Numbers, Question, ValueMap, ValueRules};
use crate::domain::remedy::Remedy;
use crate::domain::settings::Settings;
use crate::domain::text::counted;
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::theme::{self, STEP, icon};
use crate::worker::{ImportRules, ImportTarget, MaskSummary, Pages, Several, Summary, ValueRow};

/// How many lines of a list are shown.
const LINES: usize = 200;
/// How many values are listed, each with its class, until the user asks for more.
const FEW_VALUES: usize = 8;
/// How many are listed then.
const VALUES: usize = 64;
/// The name of the field for a threshold.
const THRESHOLD: &str = "Foreground from value";

/// What is being typed into the sheet.
#[derive(Default)]
pub struct ImportSheet {
    suffix: String,
    threshold: String,
    /// Whether all values are listed.
    shows_all: bool,
    /// The import it belongs to.
    of: Option<ImportTarget>,
}

/// What the user does with the sheet.
enum ImportWish {
    Settle(ImportRules),
    Import,
    Abandon,
}

/// Begins an import of masks into the open project.
pub fn import_masks(app: &mut App, folder: PathBuf) {
    app.plan_import(ImportTarget::Masks(folder), Settings::default());
}

/// Shows the sheet where an import is under way.
pub fn show(ctx: &Context, app: &mut App, sheet: &mut ImportSheet, enter: Enter) {
    let progress = app.import_progress();
    let classes: Vec<(u8, String)> = app
        .project()
        .map_or(Vec::new(), |project| project.study.classes.iter().map(|c| (c.number, c.name.clone())).collect());
    let Some(import) = &app.import else { return };
    if sheet.of.as_ref() != Some(&import.target) {
        *sheet = ImportSheet { of: Some(import.target.clone()), ..ImportSheet::default() };
    }
    // An import into a project uses the project's classes; a new project has none yet.
    let classes = if matches!(import.target, ImportTarget::Masks(_)) { classes } else { Vec::new() };
    let (mut open, mut wish) = (true, None);
    let centre = ctx.content_rect().center();
    let (title, button) = match import.target {
        ImportTarget::Project { .. } => ("New project", "Create project"),
        ImportTarget::Masks(_) => ("Import masks", "Import"),
    };
    let window = Window::new(title).id(Id::unique("import")).open(&mut open).resizable(false).collapsible(false);
    window.pivot(Align2::CENTER_CENTER).default_pos(centre).default_width(80.0 * STEP).show(ctx, |ui| {
        ui.set_width(80.0 * STEP);
        let height = ui.ctx().content_rect().height() - 24.0 * STEP;
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
            if let Some(error) = &import.error {
                confirm::warning(ui, error);
            }
            match &import.summary {
                Some(summary) => wish = plan(ui, import, summary, &classes, sheet),
                None if import.error.is_none() => waiting(ui, "Reading the files", progress),
                None => {}
            }
        });
        ui.separator();
        if import.is_being_done {
            waiting(ui, "Importing", progress);
            return;
        }
        match confirm::buttons(ui, button, obstacle(app, import), enter.confirms()) {
            // What was chosen in this frame takes precedence: the import must not run without it.
            Some(Answer::Yes) => wish = wish.take().or(Some(ImportWish::Import)),
            Some(Answer::Cancel) => wish = Some(ImportWish::Abandon),
            None => {}
        }
    });
    match wish {
        Some(ImportWish::Settle(rules)) => app.settle_import(rules),
        Some(ImportWish::Import) => app.do_import(),
        Some(ImportWish::Abandon) => app.abandon_import(),
        None if !open => app.abandon_import(),
        None => {}
    }
}

/// Why the import cannot begin yet.
fn obstacle(app: &App, import: &OpenImport) -> Option<&'static str> {
    match (&import.summary, &import.error) {
        (Some(summary), _) if summary.questions.is_empty() => app.import_obstacle(),
        (Some(_), _) => Some("answer the questions marked above first"),
        (None, None) => Some("the files are still being read"),
        (None, Some(_)) => Some("the files cannot be imported: the reason is given above"),
    }
}

fn waiting(ui: &mut Ui, what: &str, progress: Option<(usize, usize)>) {
    ui.horizontal(|ui| {
        ui.spinner();
        ui.label(what);
        if let Some((done, all)) = progress.filter(|(_, all)| *all > 0) {
            let share = done.min(all) as f32 / all as f32;
            ui.add(ProgressBar::new(share).desired_width(30.0 * STEP).text(format!("{} of {all}", done.min(all))));
        }
    });
    ui.ctx().request_repaint_after(std::time::Duration::from_millis(100));
}

/// A collapsible list of up to `LINES` lines, and the number of others.
fn list(ui: &mut Ui, title: String, lines: &[impl Display]) {
    if lines.is_empty() {
        return;
    }
    CollapsingHeader::new(title.clone()).id_salt(title).show(ui, |ui| {
        for line in lines.iter().take(LINES) {
            ui.label(RichText::new(line.to_string()).small());
        }
        if lines.len() > LINES {
            ui.label(RichText::new(format!("and {} more", lines.len() - LINES)).small().color(theme::quiet(ui)));
        }
    });
}

fn plan(
    ui: &mut Ui,
    import: &OpenImport,
    summary: &Summary,
    classes: &[(u8, String)],
    sheet: &mut ImportSheet,
) -> Option<ImportWish> {
    let mut wish = None;
    if let ImportTarget::Project { root, images, .. } = &import.target {
        let stacks = if summary.stacks > 0 {
            format!(", with the slices of stacks ({})", summary.stacks)
        } else {
            String::new()
        };
        ui.label(RichText::new(format!("{}{stacks}", counted(summary.images, "image"))).strong());
        ui.label(RichText::new(format!("in {}", images.display())).small().color(theme::quiet(ui)));
        ui.label(
            RichText::new(format!("labels and models go into {}", root.display())).small().color(theme::quiet(ui)),
        );
        for (kind, files) in &summary.kinds {
            ui.label(format!("{files} × {kind}"));
        }
    }
    list(ui, format!("left out: {}", counted(summary.left_out.len(), "file")), &summary.left_out);
    let others: Vec<String> = summary
        .others
        .iter()
        .map(|(ending, files)| match ending.as_str() {
            "" => format!("{files} without extension"),
            ending => format!("{files} × .{ending}"),
        })
        .collect();
    let count: usize = summary.others.values().sum();
    list(ui, format!("not images: {}", counted(count, "file")), &others);
    for note in summary.notes.iter().take(8) {
        ui.label(format!("{} {note}", icon::WARNING));
    }
    if let Some(masks) = &summary.masks {
        if matches!(import.target, ImportTarget::Project { .. }) {
            ui.separator();
        }
        ui.label(RichText::new(headline(import, masks)).strong());
        for (rule, pairs) in &masks.pairs {
            let lines: Vec<String> =
                pairs.iter().map(|(image, mask)| format!("{image}  {}  {mask}", icon::NEXT)).collect();
            list(ui, format!("{} paired by {rule}", pairs.len()), &lines);
        }
        list(ui, format!("images without a mask: {}", masks.without_mask.len()), &masks.without_mask);
        list(ui, format!("masks without an image: {}", masks.without_image.len()), &masks.without_image);
        list(ui, format!("masks that cannot be used: {}", masks.problems.len()), &masks.problems);
        list(
            ui,
            format!("by its header in another position than its image: {}", counted(masks.elsewhere.len(), "mask")),
            &masks.elsewhere,
        );
        if masks.empty > 0 {
            ui.label(format!("{} only background: {}", icon::WARNING, counted(masks.empty, "mask")));
        }
    }
    for question in &summary.questions {
        match question.remedy.as_ref().and_then(remedy) {
            Some(remedy) => confirm::warning(ui, &format!("{}. {remedy}", question.what)),
            None => confirm::warning(ui, &question.what),
        }
    }
    if let Some(masks) = &summary.masks {
        ui.separator();
        wish = answers(ui, import, (summary, masks), classes, sheet);
    }
    wish
}

/// How many masks there are, for how many images, and what becomes of labels that are there already.
fn headline(import: &OpenImport, masks: &MaskSummary) -> String {
    let text = format!("{}, for {}", counted(masks.files, "mask"), counted(masks.labelled, "image"));
    let fate = match (import.labelled, import.rules.replaces) {
        (0, _) => return text,
        (1, false) => "its label stays",
        (1, true) => "its label is replaced",
        (_, false) => "their labels stay",
        (_, true) => "their labels are replaced",
    };
    format!("{text}, {} of them labelled already: {fate}", import.labelled)
}

/// Where the sheet lets a question be answered; `None` where it does not.
fn remedy(remedy: &Remedy) -> Option<String> {
    let field = match remedy {
        Remedy::MaskValues(Question::TooMany(_) | Question::Smooth) => {
            return Some(format!("Give a value below, in “{THRESHOLD}”: pixels from it on are foreground"));
        }
        Remedy::MaskValues(Question::Instances(_)) => "Numbers",
        Remedy::MaskValues(
            Question::NotInMap(_)
            | Question::Values(_)
            | Question::Is255Class(_)
            | Question::Transparent(_)
            | Question::PaletteOrder(..)
            | Question::PalettesDiffer(..)
            | Question::Inverted(_),
        ) => return Some("Choose below which class each value becomes".to_owned()),
        Remedy::Pages => "Pages of a mask",
        Remedy::Several | Remedy::Union => "Several masks of one image",
        Remedy::MaskSuffix => "Masks' names end in",
        Remedy::AcceptLabels
        | Remedy::TrainRound
        | Remedy::CreateProject(_)
        | Remedy::RefreshFiles
        | Remedy::Upgrade(_)
        | Remedy::RedrawValidation
        | Remedy::Settings
        | Remedy::Repair
        | Remedy::Restore
        | Remedy::IgnoreNames => return None,
    };
    Some(format!("Answer below, at “{field}”"))
}

/// The options for interpreting the masks.
fn answers(
    ui: &mut Ui,
    import: &OpenImport,
    (summary, masks): (&Summary, &MaskSummary),
    classes: &[(u8, String)],
    sheet: &mut ImportSheet,
) -> Option<ImportWish> {
    let mut rules = import.rules.clone();
    Grid::new("answers").num_columns(2).spacing([2.0 * STEP, STEP]).show(ui, |ui| {
        let typed = |ui: &mut Ui, label: &str, text: &mut String, hint: &str| {
            let label = ui.label(label);
            let edit = ui.add(TextEdit::singleline(text).hint_text(hint).desired_width(24.0 * STEP));
            let edit = edit.labelled_by(label.id);
            ui.end_row();
            edit.lost_focus()
        };
        if typed(ui, THRESHOLD, &mut sheet.threshold, "each value is a class") {
            let text = sheet.threshold.trim().replace(',', ".");
            match text.parse::<f64>() {
                Ok(threshold) => {
                    rules.values = ValueRules { threshold: Some(threshold), ..ValueRules::default() };
                }
                Err(_) if text.is_empty() => rules.values.threshold = None,
                Err(_) => sheet.threshold.clear(),
            }
        }
        if masks.with_several > 0 {
            ui.label("Several masks of one image");
            ui.horizontal(|ui| {
                ui.radio_value(&mut rules.several, Some(Several::Union), "are parts of one");
                ui.radio_value(&mut rules.several, Some(Several::Classes), "are a class each");
            });
            ui.end_row();
        }
        if masks.with_pages > 0 || rules.pages.is_some() {
            ui.label("Pages of a mask");
            ui.horizontal(|ui| {
                ui.radio_value(&mut rules.pages, Some(Pages::OneHot), "are one class each, the first is background");
                ui.radio_value(&mut rules.pages, Some(Pages::Classes), "are a class each");
            });
            ui.end_row();
        }
        if masks.is_instances || rules.values.numbers.is_some() {
            ui.label("Numbers");
            ui.horizontal(|ui| {
                let before = rules.values.numbers;
                ui.radio_value(&mut rules.values.numbers, Some(Numbers::Instances), "are single objects of one class");
                ui.radio_value(&mut rules.values.numbers, Some(Numbers::Classes), "are classes");
                if rules.values.numbers != before {
                    rules.values = ValueRules { numbers: rules.values.numbers, ..ValueRules::default() };
                }
            });
            ui.end_row();
        }
        if matches!(import.target, ImportTarget::Masks(_)) {
            ui.label("Labelled images");
            ui.checkbox(&mut rules.replaces, "replace their labels too").on_hover_text("Each can be undone");
            ui.end_row();
        }
        if typed(ui, "Masks' names end in", &mut sheet.suffix, "_mask, _segmentation, ...") {
            rules.suffix = Some(sheet.suffix.trim().to_owned()).filter(|suffix| !suffix.is_empty());
        }
    });
    if !masks.values.is_empty() {
        values(ui, (summary, masks), classes, &mut rules, sheet);
    }
    (rules != import.rules).then_some(ImportWish::Settle(rules))
}

/// The values found, each with its class.
fn values(
    ui: &mut Ui,
    (summary, masks): (&Summary, &MaskSummary),
    classes: &[(u8, String)],
    rules: &mut ImportRules,
    sheet: &mut ImportSheet,
) {
    let name = |class: Option<u8>| match class {
        None => format!("{} which class?", icon::WARNING),
        Some(BACKGROUND) => "background".to_owned(),
        Some(UNLABELLED) => "not labelled".to_owned(),
        Some(number) => {
            let known = classes.iter().find(|(class, _)| *class == number).map(|(_, name)| name.clone());
            let given = masks.classes.iter().find(|row| row.class == number).and_then(|row| row.name.clone());
            known.or(given).map_or(format!("class {number}"), |name| format!("class {number}: {name}"))
        }
    };
    // While questions remain, the user's choices so far. What has the value 0 is background unless that is asked.
    let said = |row: &ValueRow| {
        let map = rules.values.map.as_ref();
        let is_zero = row.value == MaskValue::Number(0) && (map.is_some() || !is_zero_asked(summary));
        let class = map.and_then(|map| map.get(&row.value).copied());
        row.class.or(class).or(is_zero.then_some(BACKGROUND))
    };
    let rows: Vec<(ValueRow, Option<u8>)> = masks.values.iter().map(|row| (row.clone(), said(row))).collect();
    let highest = rows.iter().filter_map(|(_, class)| *class).filter(|class| *class != UNLABELLED).max();
    let last = highest.unwrap_or(0).max(classes.len() as u8).saturating_add(1).min(UNLABELLED - 1);
    let mut chosen: Option<(MaskValue, u8)> = None;
    let listed = if sheet.shows_all { VALUES } else { FEW_VALUES };
    Grid::new("values").num_columns(4).spacing([3.0 * STEP, STEP / 2.0]).show(ui, |ui| {
        for title in ["Value", "Files", "Pixels", "Becomes"] {
            ui.label(RichText::new(title).strong());
        }
        ui.end_row();
        for (ValueRow { value, occurrence, .. }, class) in rows.iter().take(listed) {
            ui.horizontal(|ui| {
                if let MaskValue::Colour([r, g, b]) = *value {
                    let (rect, _) = ui.allocate_exact_size(egui::vec2(1.5 * STEP, 1.5 * STEP), egui::Sense::hover());
                    ui.painter().rect_filled(rect, 2.0, egui::Color32::from_rgb(r, g, b));
                }
                ui.label(value.to_string());
            });
            ui.label(occurrence.files.to_string());
            ui.label(occurrence.pixels.to_string());
            if rules.values.threshold.is_some() {
                // The values are those that the threshold makes.
                ui.label(name(*class));
                ui.end_row();
                continue;
            }
            let menu = ComboBox::from_id_salt(value).width(22.0 * STEP).selected_text(name(*class));
            let response = menu.show_ui(ui, |ui| {
                for choice in [BACKGROUND, UNLABELLED].into_iter().chain(1..=last) {
                    if ui.selectable_label(*class == Some(choice), name(Some(choice))).clicked() {
                        chosen = Some((*value, choice));
                    }
                }
            });
            response.response.accessible_name(format!("Class of {value}"));
            ui.end_row();
        }
    });
    let more = format!("… and {}", counted(rows.len().saturating_sub(listed), "more value"));
    if rows.len() > listed && !sheet.shows_all {
        sheet.shows_all = ui.link(more).on_hover_text("List them too").clicked();
    } else if rows.len() > listed {
        ui.label(RichText::new(more).color(theme::quiet(ui)));
    }
    if !masks.rule.is_empty() {
        let rule = if rules.values.map.is_some() { "the classes are those chosen here" } else { masks.rule.as_str() };
        ui.label(RichText::new(rule).small().color(theme::quiet(ui)));
    }
    if let Some((value, class)) = chosen {
        let settled = rows.iter().filter_map(|(row, class)| Some((row.value, (*class)?)));
        let mut map: ValueMap = rules.values.map.take().unwrap_or_default();
        for (value, class) in settled {
            map.entry(value).or_insert(class);
        }
        map.insert(value, class);
        // The latest choice of classes applies.
        rules.values = ValueRules { map: Some(map), ..ValueRules::default() };
    }
}

/// Whether a question leaves open that 0 is background.
fn is_zero_asked(summary: &Summary) -> bool {
    let is_it =
        |remedy: &Remedy| matches!(remedy, Remedy::MaskValues(Question::Inverted(_) | Question::PaletteOrder(..)));
    summary.questions.iter().filter_map(|question| question.remedy.as_ref()).any(is_it)
}
