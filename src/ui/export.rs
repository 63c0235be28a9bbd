//! The export sheet: contents, format, destination, and a preview of what would be written.

use std::path::PathBuf;

use egui::{Align2, ComboBox, Context, Grid, ProgressBar, RichText, TextEdit, Ui, Window};

use crate::app::App;
use crate::domain::text::counted;
use crate::ui::browse::Wanted;
use crate::ui::confirm::{self, Answer, Enter};
use crate::ui::dialogs::Dialogs;
use crate::ui::theme::{self, STEP};
use crate::worker::{ExportFormat, ExportPlan, ExportWhat};

/// How many of the files that would be written are listed.
const LISTED: usize = 4;

/// The export being set up.
#[derive(Default)]
pub struct ExportSheet {
    format: ExportFormat,
    what: ExportWhat,
    out: String,
    overwrites: bool,
    has_begun: bool,
}

impl ExportSheet {
    /// Takes the folder that the files go into.
    pub fn set_out(&mut self, out: String) {
        self.out = out;
    }

    fn plan(&self) -> ExportPlan {
        ExportPlan {
            format: self.format,
            what: self.what,
            out: PathBuf::from(self.out.trim()),
            overwrites: self.overwrites,
        }
    }
}

/// The name and description of a format.
fn words(format: ExportFormat) -> (&'static str, &'static str) {
    match format {
        ExportFormat::Png => ("indexed PNG", "One file for each image: 0 background, classes from 1, 255 not labelled"),
        ExportFormat::Binary => ("PNG per class", "A black and white file for each image and class"),
        ExportFormat::Tiff => ("TIFF (ImageJ, OME)", "One file for each image or stack, numbered as the indexed PNG"),
        ExportFormat::Nifti => ("NIfTI", "One volume for each image or stack, on the grid of its source"),
        ExportFormat::DicomSeg => ("DICOM SEG", "One segmentation for each DICOM image or series"),
        ExportFormat::Coco => ("COCO, run lengths", "annotations.json: each connected region as run lengths"),
        ExportFormat::CocoPolygons => ("COCO, polygons", "annotations.json: polygons, where a region has no hole"),
        ExportFormat::GeoJson => ("GeoJSON (QuPath)", "One file for each image: the outline of each connected region"),
        ExportFormat::Csv => {
            ("table (CSV)", "regions.csv: area, perimeter, box and intensity of each connected region")
        }
    }
}

/// Shows the sheet as long as it is open.
pub fn show(ctx: &Context, app: &mut App, sheet: &mut Option<ExportSheet>, dialogs: &Dialogs, enter: Enter) {
    let Some(export) = sheet else {
        app.export = None;
        return;
    };
    let Some(project) = app.project() else {
        *sheet = None;
        return;
    };
    let has_labels = project.study.images.iter().any(|image| image.labelled);
    let has_network = project.study.active_round().is_some();
    if !std::mem::replace(&mut export.has_begun, true) {
        if !has_labels {
            export.what = ExportWhat::Predictions;
        }
        export.out = project.root.join("export").display().to_string();
    } else if app.export.is_none() {
        // The export is done.
        *sheet = None;
        return;
    }
    let is_being_done = app.export.as_ref().is_some_and(|export| export.is_being_done);
    let (mut open, mut answer, mut is_entered) = (true, None, enter.confirms());
    let window = Window::new("Export labels and predictions").open(&mut open).resizable(false).collapsible(false);
    window.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
        ui.add_enabled_ui(!is_being_done, |ui| {
            Grid::new("export").num_columns(2).spacing([2.0 * STEP, STEP]).show(ui, |ui| {
                ui.label("What");
                ui.horizontal(|ui| {
                    for (what, name) in ExportWhat::ALL {
                        let is_possible = match what {
                            ExportWhat::Labels => has_labels,
                            ExportWhat::Predictions => has_network,
                            ExportWhat::Both => has_labels && has_network,
                        };
                        let radio = egui::RadioButton::new(export.what == what, name);
                        let why = if has_network { "no image is labelled" } else { "train a round first" };
                        if ui.add_enabled(is_possible, radio).on_disabled_hover_text(why).clicked() {
                            export.what = what;
                        }
                    }
                });
                ui.end_row();
                let label = ui.label("Format");
                let (name, help) = words(export.format);
                ui.horizontal(|ui| {
                    let list = ComboBox::from_id_salt("format").selected_text(name).width(20.0 * STEP);
                    // All formats are seen at once.
                    let list = list.height(ExportFormat::ALL.len() as f32 * 5.0 * STEP);
                    let list = list.show_ui(ui, |ui| {
                        for (format, _) in ExportFormat::ALL {
                            let (name, help) = words(format);
                            ui.selectable_value(&mut export.format, format, name).on_hover_text(help);
                        }
                    });
                    list.response.labelled_by(label.id);
                });
                ui.end_row();
                ui.label("");
                confirm::remark(ui, help);
                ui.end_row();
                let label = ui.label("Folder");
                ui.horizontal(|ui| {
                    let edit = TextEdit::singleline(&mut export.out).desired_width(44.0 * STEP);
                    is_entered |= enter.ends(&ui.add(edit).labelled_by(label.id));
                    if ui.button("Browse").clicked() {
                        dialogs.ask(ui.ctx(), Wanted::Export);
                    }
                });
                ui.end_row();
                ui.label("");
                ui.checkbox(&mut export.overwrites, "replace files that are there already");
                ui.end_row();
            });
        });
        let is_ready = outcome(ui, app, is_being_done);
        let needs_engine = export.what.has_predictions() && app.job.is_some();
        let obstacle = match (is_being_done, is_ready) {
            (true, _) => Some("the files are being written"),
            (false, false) => Some("what would be written is shown above first, or why nothing can be"),
            (false, true) => needs_engine.then_some("a job is running; export predictions when it has ended"),
        };
        answer = confirm::buttons(ui, "Export", obstacle, is_entered);
    });
    let plan = export.plan();
    if app.export.as_ref().is_none_or(|asked| asked.plan != plan && !is_being_done) {
        app.plan_export(plan);
    } else if answer == Some(Answer::Yes) {
        app.do_export();
    }
    if (!open || answer == Some(Answer::Cancel)) && !is_being_done {
        *sheet = None;
        app.export = None;
    }
}

/// Shows what would be written, or why nothing can be; returns whether the export is possible.
fn outcome(ui: &mut Ui, app: &App, is_being_done: bool) -> bool {
    if is_being_done {
        let share = app.import_progress().map_or(0.0, |(done, all)| done as f32 / all.max(1) as f32);
        ui.add(ProgressBar::new(share).desired_width(50.0 * STEP));
        ui.ctx().request_repaint_after(std::time::Duration::from_millis(100));
        return false;
    }
    match app.export.as_ref().and_then(|export| export.outcome.as_ref()) {
        None => {
            ui.spinner();
            false
        }
        Some(Err(reason)) => {
            confirm::warning(ui, reason);
            false
        }
        Some(Ok(exported)) => {
            let (images, files) = (counted(exported.images, "image"), counted(exported.files.len(), "file"));
            ui.label(format!("{images}, {files}:"));
            for file in exported.files.iter().take(LISTED) {
                ui.label(RichText::new(file.display().to_string()).small().color(theme::quiet(ui)));
            }
            if exported.files.len() > LISTED {
                let more = format!("and {} more", exported.files.len() - LISTED);
                ui.label(RichText::new(more).small().color(theme::quiet(ui)));
            }
            for note in exported.notes.iter().chain(&exported.left_out) {
                confirm::remark(ui, note);
            }
            true
        }
    }
}
