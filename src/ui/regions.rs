//! A table of the regions of the open image's label, or of all labels; clicking a row goes to the region.

use crossbeam_channel::{Receiver, bounded};
use egui::{Align, Align2, Context, Layout, RichText, Window};
use egui_extras::{Column, TableBuilder};

use crate::app::{App, OpenProject, StudyMeasurement};
use crate::domain::regions::{Region, measure};
use crate::domain::study::{ImageId, ImageRecord};
use crate::domain::text::counted;
use crate::ui::theme::{self, STEP};
use crate::ui::view::CanvasState;

/// The sheet's own state.
#[derive(Default)]
pub struct RegionsSheet {
    /// Whether it is open.
    pub open: bool,
    /// Whether it shows the regions of all labels.
    is_study: bool,
    /// The place to go to once its image is open.
    goes_to: Option<(ImageId, f64, f64)>,
    /// What has been or is being measured: the image, its label's revision and its prediction's version.
    of: Option<(ImageId, u64, u64)>,
    coming: Option<Receiver<Vec<Region>>>,
    regions: Vec<Region>,
}

impl RegionsSheet {
    /// Measures the open image on a separate thread if its label or prediction has changed since it was last measured.
    fn update(&mut self, ctx: &Context, app: &App) {
        if let Some(regions) = self.coming.as_ref().and_then(|coming| coming.try_recv().ok()) {
            (self.regions, self.coming) = (regions, None);
        }
        let Some((project, editor)) = app.project().and_then(|p| Some((p, p.editor()?))) else {
            (self.of, self.regions) = (None, Vec::new());
            return;
        };
        let now = (editor.image, editor.revision(), editor.prediction_version());
        if self.of == Some(now) || self.coming.is_some() || editor.is_drawing() {
            return;
        }
        if self.of.is_none_or(|(image, ..)| image != editor.image) {
            self.regions.clear();
        }
        self.of = Some(now);
        let classes = project.study.classes.len() as u8;
        let (label, picture, prediction) = (editor.shared_mask(), editor.picture.clone(), editor.shared_prediction());
        let (send, receive) = bounded(1);
        self.coming = Some(receive);
        let ctx = ctx.clone();
        std::thread::spawn(move || {
            // The receiver is gone once the window is closed.
            let _ = send.send(measure(&label, classes, &picture, prediction.as_deref()));
            ctx.request_repaint();
        });
    }
}

/// Shows the table as long as it is open.
pub fn show(ctx: &Context, app: &mut App, canvas: &mut CanvasState, sheet: &mut RegionsSheet) {
    if !sheet.open {
        *sheet = RegionsSheet::default();
        return;
    }
    sheet.update(ctx, app);
    if let Some((image, x, y)) = sheet.goes_to
        && let Some(editor) = app.project().and_then(OpenProject::editor).filter(|editor| editor.image == image)
    {
        canvas.go_to((x / editor.picture.width as f64, y / editor.picture.height as f64), editor);
        sheet.goes_to = None;
    }
    let mut open = true;
    let right = ctx.content_rect().right_bottom() - egui::vec2(38.0 * STEP, 8.0 * STEP);
    let window = Window::new("Regions").open(&mut open).collapsible(false).default_size([62.0 * STEP, 30.0 * STEP]);
    window.pivot(Align2::RIGHT_BOTTOM).default_pos(right).show(ctx, |ui| {
        let before = sheet.is_study;
        ui.horizontal(|ui| {
            ui.radio_value(&mut sheet.is_study, false, "open image");
            ui.radio_value(&mut sheet.is_study, true, "all labels");
            let is_coming = matches!(app.study_regions, StudyMeasurement::Coming);
            if sheet.is_study && ui.add_enabled(!is_coming, egui::Button::new("Measure again").small()).clicked() {
                app.measure_study();
            }
        });
        if sheet.is_study && !before && matches!(app.study_regions, StudyMeasurement::No) {
            app.measure_study();
        }
        let Some(project) = app.project() else { return };
        let own = || sheet.regions.iter().map(|region| (sheet.of.map(|(image, ..)| image), region)).collect();
        let regions: Vec<(Option<ImageId>, &Region)> = match &app.study_regions {
            _ if !sheet.is_study => own(),
            StudyMeasurement::Known(found) => {
                found.regions.iter().map(|(image, region)| (Some(*image), region)).collect()
            }
            StudyMeasurement::No | StudyMeasurement::Coming => Vec::new(),
        };
        let has_size = regions.iter().any(|(_, region)| region.area_mm2.is_some());
        let total: usize = regions.iter().map(|(_, region)| region.pixels).sum();
        ui.horizontal(|ui| {
            ui.label(format!("{}, {total} px in all", counted(regions.len(), "region")));
            if !sheet.is_study {
                if sheet.coming.is_some() {
                    ui.spinner();
                }
                return;
            }
            match &app.study_regions {
                StudyMeasurement::No => {}
                StudyMeasurement::Coming => {
                    let (done, all) = app.import_progress().unwrap_or_default();
                    ui.spinner();
                    ui.label(format!("{done} of {all} images"));
                }
                StudyMeasurement::Known(found) => {
                    ui.label(RichText::new("as last measured").color(theme::quiet(ui)));
                    if !found.left_out.is_empty() {
                        let text = format!("{} left out", counted(found.left_out.len(), "image"));
                        ui.label(RichText::new(text).color(theme::WRONG)).on_hover_text(found.left_out.join("\n"));
                    }
                }
            }
        });
        if regions.is_empty() {
            let text = match sheet.is_study {
                true => "No label has been measured, or none has a region",
                false => "The label of the open image has no region: paint something, or open another image",
            };
            ui.label(RichText::new(text).color(theme::quiet(ui)));
            return;
        }
        let mut heads = vec![
            ("Class", "Click a row to go to the region"),
            ("Area px", "Area, in pixels"),
            ("Perimeter", "In pixels: π/4 times the pixel sides on the border"),
            ("Box", "Columns × rows of the bounding box"),
            ("Intensity", "Mean value, in the image's own units"),
            ("Variance", "Mean predictive variance"),
        ];
        if has_size {
            heads.insert(2, ("Area mm²", "Area by the pixel size that the file states"));
        }
        if sheet.is_study {
            heads.insert(0, ("Image", "Click a row to open the image at the region"));
            // There is no prediction for the image.
            heads.pop();
        }
        let mut wanted = None;
        TableBuilder::new(ui)
            .striped(true)
            .sense(egui::Sense::click())
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::initial(14.0 * STEP).clip(true))
            .columns(Column::exact(9.0 * STEP), heads.len() - 2)
            .column(Column::remainder())
            .header(2.5 * STEP, |mut header| {
                for (name, help) in heads {
                    header.col(|ui| {
                        let text = RichText::new(name).small().color(theme::quiet(ui));
                        ui.add(egui::Label::new(text).selectable(false)).on_hover_text(help);
                    });
                }
            })
            .body(|body| {
                body.rows(2.5 * STEP, regions.len(), |mut row| {
                    let (image, region) = regions[row.index()];
                    let name = image.filter(|_| sheet.is_study).and_then(|image| project.study.image(image));
                    for text in cells(project, name, region, has_size) {
                        row.col(|ui| {
                            ui.add(egui::Label::new(RichText::new(text).monospace()).selectable(false));
                        });
                    }
                    if row.response().clicked() {
                        wanted = image.map(|image| (image, region.centre_x, region.centre_y));
                    }
                });
            });
        if let Some((image, x, y)) = wanted {
            sheet.goes_to = Some((image, x, y));
            if app.project().is_some_and(|project| project.current.id() != Some(image)) {
                app.show(image);
            }
        }
    });
    sheet.open = open;
}

fn cells(project: &OpenProject, image: Option<&ImageRecord>, region: &Region, has_size: bool) -> Vec<String> {
    let class = project.study.classes.iter().find(|class| class.number == region.class);
    let mut cells = vec![
        class.map_or(format!("class {}", region.class), |class| class.name.clone()),
        region.pixels.to_string(),
        theme::short(region.perimeter),
        format!("{} × {}", region.width, region.height),
        theme::short(region.mean_intensity),
        region.mean_variance.map_or("–".to_owned(), theme::short),
    ];
    if has_size {
        cells.insert(2, region.area_mm2.map_or("–".to_owned(), theme::short));
    }
    if let Some(image) = image {
        cells.insert(0, image.name.clone());
        cells.pop();
    }
    cells
}
