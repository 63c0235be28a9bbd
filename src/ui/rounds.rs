//! The sheet of rounds: metrics, curves, settings and labelling effort.

use egui::{
    Align, Align2, Color32, Context, CornerRadius, Grid, Layout, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo,
    Window, vec2,
};
use egui_extras::{Column, TableBuilder};
use egui_plot::{Bar, BarChart, Line, PlotPoints, Points};

use crate::app::{App, OpenProject};
use crate::domain::noise::Interval;
use crate::domain::settings::{Settings, TABLE};
use crate::domain::study::{Round, Status};
use crate::domain::text::counted;
use crate::domain::uncertainty::UncertaintyQuality;
use crate::ui::theme::{self, REAL, STEP, WHOLE};

/// Number of accepted labels in the running mean.
const RUNNING: usize = 10;
/// Bars of the histogram of scores.
const BARS: usize = 40;

/// The x axis of the Dice plot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Against {
    /// Labels spent.
    #[default]
    Labels,
    /// Its number.
    Round,
    /// Minutes spent labelling.
    Minutes,
}

impl Against {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Labels, "labels"), (Self::Round, "round"), (Self::Minutes, "minutes labelling")];
}

/// The sheet's own state.
#[derive(Debug, Default)]
pub struct RoundsSheet {
    /// Whether it is open.
    pub open: bool,
    against: Against,
    /// The round whose details are shown.
    chosen: Option<usize>,
}

/// The sheet.
pub fn show(ctx: &Context, app: &mut App, sheet: &mut RoundsSheet) {
    if app.project().is_none_or(|project| project.study.rounds.is_empty()) {
        sheet.open = false;
    }
    let mut open = sheet.open;
    let size = ctx.content_rect().size();
    let window = Window::new("Rounds").open(&mut open).collapsible(false).pivot(Align2::CENTER_CENTER);
    // The table is 121 steps wide; the window's frame has to fit the screen too.
    let size = vec2((size.x * 0.8).max(121.0 * STEP).min(size.x - 6.0 * STEP), size.y * 0.8);
    let window = window.default_pos(ctx.content_rect().center()).default_size(size);
    window.show(ctx, |ui| {
        ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
            advice(ui, app);
            ui.scope(|ui| table(ui, app, sheet));
            ui.add_space(STEP);
            details(ui, app, sheet);
            ui.separator();
            plots(ui, app, sheet);
        });
    });
    sheet.open = open;
}

/// The gain over the last rounds, and whether it is worth continuing.
pub fn advice(ui: &mut Ui, app: &App) {
    let Some(project) = app.project() else { return };
    let rounds = project.study.settings.stop_rounds;
    let Some(gain) = project.last_gain else { return };
    let Interval { mean, low, high } = gain;
    let (text, colour) = if gain.is_noise() {
        ("Stop here? More labels of this kind may not help.", theme::WANTED)
    } else {
        ("More labels still help.", theme::DONE)
    };
    let which = if rounds == 1 { "The last round".to_owned() } else { format!("The last {rounds} rounds") };
    let gained = format!("{which}: validation Dice {mean:+.3} (95 % interval {low:+.3} to {high:+.3})");
    ui.horizontal_wrapped(|ui| {
        ui.label(RichText::new(text).color(theme::legible(ui, colour)));
        ui.label(RichText::new(gained).small().color(theme::quiet(ui))).on_hover_text(
            "Paired by validation image, bootstrapped over the images. Where the interval holds 0, the gain is \
             no more than the noise of so few images.",
        );
    });
}

fn table(ui: &mut Ui, app: &mut App, sheet: &mut RoundsSheet) {
    let Some(project) = app.project() else { return };
    let rounds = project.study.rounds.iter().zip(&project.intervals).rev();
    let rows: Vec<RoundRow> = rounds.map(|(round, interval)| RoundRow::new(project, round, *interval)).collect();
    let compared = project.compared;
    let can_compare = project.editor().is_some();
    let (mut active, mut compare) = (None, None);
    let heads = [
        ("Round", "Number of the round"),
        ("Labels", "Labelled images at that time, those kept for validation among them"),
        ("Pseudo", "Pseudo-labels that it was trained on"),
        ("Dice", "Mean Dice over the validation images, of each the mean over its classes"),
        ("Val. images", "Validation images that the Dice rests on"),
        ("95 % interval", "Of the mean Dice, bootstrapped over the validation images"),
        ("Jaccard", "Intersection over union"),
        ("Sensit.", "Sensitivity: the share of the labelled pixels that is found"),
        ("Specif.", "Specificity: the share of the background that is left alone"),
        ("ECE", "Expected calibration error: by how much confidence and accuracy differ; 0 is best"),
        ("AUROC", "How often a wrong pixel has a higher variance than a right one; 1 is best, 0.5 is chance"),
        ("Labelling", "Time spent at the labels accepted until then"),
        ("Time", "Training, validation and scoring"),
    ];
    ui.spacing_mut().item_spacing.x = STEP / 2.0;
    TableBuilder::new(ui)
        .striped(true)
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .columns(Column::exact(5.5 * STEP), 4)
        .column(Column::exact(8.5 * STEP))
        .column(Column::exact(13.5 * STEP))
        .columns(Column::exact(6.5 * STEP), 5)
        .column(Column::exact(8.0 * STEP))
        .column(Column::exact(5.5 * STEP))
        .column(Column::exact(5.0 * STEP))
        .column(Column::exact(7.0 * STEP))
        .column(Column::remainder())
        .header(3.0 * STEP, |mut header| {
            let others = [
                ("Active", "The round whose network predicts"),
                ("Compare", "Show on the open image where this round and the active one differ"),
                ("Details", "What the round was trained with, its notes, and its measures by class"),
            ];
            for (name, help) in heads.into_iter().chain(others) {
                header.col(|ui| {
                    let name = egui::Label::new(RichText::new(name).small().color(theme::quiet(ui))).extend();
                    ui.add(name).on_hover_text(help);
                });
            }
        })
        .body(|body| {
            body.rows(3.0 * STEP, rows.len(), |mut row| {
                let RoundRow { number, is_active, is_outdated, cells } = &rows[row.index()];
                let (number, is_active, is_usable) = (*number, *is_active, !*is_outdated);
                for cell in cells {
                    row.col(|ui| {
                        ui.add(egui::Label::new(RichText::new(cell).monospace()).extend());
                    });
                }
                row.col(|ui| {
                    ui.add_enabled_ui(is_usable, |ui| {
                        if mark(ui, is_active, &format!("Use round {number} for predictions")) && !is_active {
                            active = Some(number);
                        }
                    });
                });
                row.col(|ui| {
                    ui.add_enabled_ui(can_compare && is_usable && !is_active, |ui| {
                        let on = compared == Some(number);
                        if mark(ui, on, &format!("Compare round {number} with the active one on the open image")) {
                            compare = Some((!on).then_some(number));
                        }
                    });
                });
                row.col(|ui| {
                    let on = sheet.chosen == Some(number);
                    if ui.selectable_label(on, "show").clicked() {
                        sheet.chosen = (!on).then_some(number);
                    }
                });
            });
        });
    if let Some(round) = active {
        app.activate(round);
    }
    if let Some(round) = compare {
        app.compare(round);
    }
}

fn mark(ui: &mut Ui, on: bool, help: &str) -> bool {
    let radio = ui.radio(on, "").on_hover_text(help);
    radio.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, on, help));
    radio.clicked()
}

/// One line of the table.
struct RoundRow {
    number: usize,
    is_active: bool,
    is_outdated: bool,
    cells: Vec<String>,
}

impl RoundRow {
    fn new(project: &OpenProject, round: &Round, interval: Option<Interval>) -> Self {
        let report = &round.report;
        let number = |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.3}"));
        let validation = report.validation;
        let interval = interval.map_or("–".to_owned(), |i| format!("{:.3} – {:.3}", i.low, i.high));
        let cells = vec![
            report.round.to_string(),
            report.labelled.to_string(),
            report.pseudo.to_string(),
            number(validation.map(|v| v.dice)),
            validation.map_or("–".to_owned(), |v| v.images.to_string()),
            interval,
            number(validation.map(|v| v.jaccard)),
            number(validation.map(|v| v.sensitivity)),
            number(validation.map(|v| v.specificity)),
            number(report.uncertainty.as_ref().map(|h| h.ece)),
            number(report.uncertainty.as_ref().and_then(|h| h.error_auroc)),
            match project.study.minutes_labelling(round.finished_s) {
                0.0 => "–".to_owned(),
                minutes => format!("{minutes:.1} min"),
            },
            theme::clock(report.seconds.total),
        ];
        Self { number: report.round, is_active: round.active, is_outdated: round.outdated, cells }
    }
}

/// The selected round's notes, its settings that differ from the previous round or the preset, and its metrics by class.
fn details(ui: &mut Ui, app: &App, sheet: &RoundsSheet) {
    let Some(project) = app.project() else { return };
    let place = project.study.rounds.iter().position(|round| Some(round.report.round) == sheet.chosen);
    let Some(place) = place else { return };
    let round = &project.study.rounds[place];
    let (reference, name) = match place.checked_sub(1).map(|before| &project.study.rounds[before]) {
        Some(before) => (before.settings.clone(), format!("round {}", before.report.round)),
        None => (Settings::default(), "preset quick".to_owned()),
    };
    ui.label(format!("Round {}, seed {}, on {}", round.report.round, round.settings.seed, round.report.device));
    for note in &round.report.notes {
        ui.add(egui::Label::new(format!("•  {}", App::with_named_settings(note))).wrap());
    }
    let mut changed =
        TABLE.iter().filter(|setting| setting.text(&reference) != setting.text(&round.settings)).peekable();
    if changed.peek().is_none() {
        ui.label(RichText::new(format!("The same settings as {name}")).small().color(theme::quiet(ui)));
    }
    Grid::new("round settings").num_columns(3).spacing([3.0 * STEP, 2.0]).show(ui, |ui| {
        for (number, setting) in changed.enumerate() {
            if number == 0 {
                for head in ["Setting", "this round", name.as_str()] {
                    ui.label(RichText::new(head).small().color(theme::quiet(ui)));
                }
                ui.end_row();
            }
            ui.label(RichText::new(setting.label).small()).on_hover_text(setting.key);
            ui.label(RichText::new(setting.text(&round.settings)).small().monospace());
            ui.label(RichText::new(setting.text(&reference)).small().monospace().color(theme::quiet(ui)));
            ui.end_row();
        }
    });
    for (class, found) in project.study.classes.iter().zip(&round.report.classes) {
        let measured = match found.images {
            0 => "not measured: no validation image has it".to_owned(),
            _ => format!(
                "Dice {:.3}, Jaccard {:.3}, sensitivity {:.3}, specificity {:.3}",
                found.dice, found.jaccard, found.sensitivity, found.specificity
            ),
        };
        let text = format!("{}: {measured}", class.name);
        ui.label(RichText::new(text).small().color(theme::quiet(ui)));
    }
}

fn plots(ui: &mut Ui, app: &App, sheet: &mut RoundsSheet) {
    let Some(project) = app.project() else { return };
    ui.columns(2, |columns| {
        progress(&mut columns[0], project, sheet);
        corrections(&mut columns[1], project);
    });
    ui.add_space(STEP);
    ui.columns(2, |columns| {
        scores(&mut columns[0], project);
        if let Some(uncertainty) = project.study.active_round().and_then(|round| round.report.uncertainty.as_ref()) {
            quality(&mut columns[1], uncertainty);
        }
    });
}

fn heading(ui: &mut Ui, text: &str, help: &str) {
    ui.label(RichText::new(text).strong()).on_hover_text(help);
}

/// What the colours of a plot mean, above it: inside, it would cover what is drawn.
fn legend(ui: &mut Ui, names: [(&str, Color32); 2]) {
    ui.horizontal(|ui| {
        for (name, colour) in names {
            let (place, _) = ui.allocate_exact_size(vec2(STEP, STEP), Sense::hover());
            ui.painter().rect_filled(place, CornerRadius::same(2), colour);
            ui.label(RichText::new(name).small().color(theme::quiet(ui)));
        }
    });
}

/// Validation Dice over the rounds, with the interval of each.
fn progress(ui: &mut Ui, project: &OpenProject, sheet: &mut RoundsSheet) {
    ui.horizontal(|ui| {
        heading(ui, "Validation Dice against", "The bar at each round is its 95 % bootstrap interval");
        for (against, name) in Against::ALL {
            ui.selectable_value(&mut sheet.against, against, name);
        }
    });
    let x = |round: &Round| match sheet.against {
        Against::Labels => round.report.labelled as f64,
        Against::Round => round.report.round as f64,
        Against::Minutes => project.study.minutes_labelling(round.finished_s),
    };
    let measured = || project.study.rounds.iter().filter_map(|round| Some((x(round), round.report.validation?.dice)));
    if measured().next().is_none() {
        return empty(ui, "No round has validation images: label at least four");
    }
    let dice: Vec<[f64; 2]> = measured().map(|(x, dice)| [x, dice]).collect();
    let quiet = theme::quiet(ui);
    let least_step = match sheet.against {
        Against::Labels | Against::Round => WHOLE,
        Against::Minutes => REAL,
    };
    let (first, last) = measured().fold((f64::MAX, f64::MIN), |(low, high), (x, _)| (low.min(x), high.max(x)));
    let mut plot = theme::plot("dice over rounds", least_step, REAL).include_y(0.0).include_y(1.0);
    if last - first < 1.0 {
        plot = plot.include_x((first - 1.0).max(0.0)).include_x(last + 1.0);
    }
    plot.show(ui, |plot| {
        for (round, interval) in project.study.rounds.iter().zip(&project.intervals) {
            if let Some(Interval { low, high, .. }) = *interval {
                let ends = PlotPoints::from(vec![[x(round), low], [x(round), high]]);
                plot.line(Line::new("interval", ends).color(quiet).width(1.0));
            }
        }
        // Segment by segment: several rounds with the same number of labels would make a single line a filled wedge.
        for pair in dice.windows(2) {
            plot.line(Line::new("Dice", PlotPoints::from(pair.to_vec())).color(theme::ACCENT).width(1.5));
        }
        plot.points(Points::new("Dice", PlotPoints::from(dice)).color(theme::ACCENT).radius(3.0));
    });
}

/// How much of each prediction had to be corrected, and how long each label took.
fn corrections(ui: &mut Ui, project: &OpenProject) {
    heading(
        ui,
        "Corrective Dice, and seconds per label",
        "Prediction against the label that was accepted, image after image: once the running mean stays high, there is \
         little left to correct",
    );
    let known: Vec<(f64, f64, f64)> = (1..)
        .zip(project.study.acceptances_of_labelled())
        .filter_map(|(number, acceptance)| Some((f64::from(number), acceptance.dice?, acceptance.seconds)))
        .collect();
    if known.is_empty() {
        return empty(ui, "Accept an image that the network has predicted");
    }
    let each: Vec<[f64; 2]> = known.iter().map(|(x, dice, _)| [*x, *dice]).collect();
    let running = |end: usize, value: fn(&(f64, f64, f64)) -> f64| {
        let last = &known[(end + 1).saturating_sub(RUNNING)..=end];
        last.iter().map(value).sum::<f64>() / last.len() as f64
    };
    let mean: Vec<[f64; 2]> = (0..known.len()).map(|i| [known[i].0, running(i, |known| known.1)]).collect();
    let spent: Vec<[f64; 2]> = known.iter().map(|(x, _, seconds)| [*x, *seconds]).collect();
    let mean_spent: Vec<[f64; 2]> = (0..known.len()).map(|i| [known[i].0, running(i, |known| known.2)]).collect();
    let last = known.len() - 1;
    let quiet = theme::quiet(ui);
    legend(ui, [("each label", quiet), ("running mean", theme::ACCENT)]);
    let end = known.len() as f64 + 1.0;
    let dice = theme::plot("corrective dice", WHOLE, REAL).height(11.0 * STEP);
    dice.include_y(0.0).include_y(1.0).include_x(0.0).include_x(end).show(ui, |plot| {
        plot.points(Points::new("each label", PlotPoints::from(each)).color(quiet).radius(2.5));
        plot.line(Line::new("running mean", PlotPoints::from(mean)).color(theme::ACCENT).width(2.0));
    });
    let seconds = theme::plot("seconds", WHOLE, WHOLE).height(8.0 * STEP);
    seconds.include_y(0.0).include_y(1.0).include_x(0.0).include_x(end).show(ui, |plot| {
        plot.points(Points::new("seconds", PlotPoints::from(spent)).color(quiet).radius(2.5));
        plot.line(Line::new("running mean", PlotPoints::from(mean_spent)).color(theme::WANTED).width(2.0));
    });
    let labels = counted(RUNNING.min(known.len()), "label");
    let text = format!(
        "Top: Dice between prediction and accepted label; bottom: seconds per label. Last {labels}: Dice {:.3}, {:.0} s each",
        running(last, |known| known.1),
        running(last, |known| known.2)
    );
    ui.label(RichText::new(text).small().color(quiet));
}

/// A histogram of the pool's scores, with the proposed images marked.
fn scores(ui: &mut Ui, project: &OpenProject) {
    let by = project.list.sort.score(project.study.settings.score);
    heading(
        ui,
        "Scores of the pool",
        "Number of images by score (the score that the list is sorted by, or the one in the settings); proposed ones are marked",
    );
    let scored = || project.study.images.iter().filter(|i| !i.labelled).filter_map(|i| Some((i, i.scores?.by(by))));
    let largest = scored().map(|(_, score)| score).fold(0.0, f64::max);
    if largest <= 0.0 {
        return empty(ui, "Score the pool first");
    }
    let width = largest / BARS as f64;
    let count = |proposed: bool| -> Vec<Bar> {
        let mut bars = [0.0; BARS];
        for (_, score) in scored().filter(|(i, _)| !proposed || matches!(Status::of(i), Status::Proposed(..))) {
            bars[((score / width) as usize).min(BARS - 1)] += 1.0;
        }
        let bar = |(i, count)| Bar::new((f64::from(i) + 0.5) * width, count).width(width);
        (0..).zip(bars).map(bar).collect()
    };
    let pool = theme::quiet(ui).gamma_multiply(0.6);
    legend(ui, [("pool", pool), ("proposed", theme::WANTED)]);
    theme::plot("scores", REAL, WHOLE).include_y(0.0).show(ui, |plot| {
        plot.bar_chart(BarChart::new("pool", count(false)).color(pool));
        plot.bar_chart(BarChart::new("proposed", count(true)).color(theme::WANTED));
    });
}

/// The quality of the active round's uncertainty: calibration, and how well it predicts errors.
fn quality(ui: &mut Ui, uncertainty: &UncertaintyQuality) {
    let auroc = uncertainty.error_auroc.map_or("–".to_owned(), |auroc| format!("{auroc:.2}"));
    let aurc = uncertainty.aurc.map_or("–".to_owned(), |area| format!("{area:.3}"));
    heading(
        ui,
        &format!("Is the uncertainty calibrated?  AUROC {auroc}  AURC {aurc}  ECE {:.2}", uncertainty.ece),
        "On the validation images. AUROC: how often a wrong pixel has a higher variance than a right one; 1 is best, \
         0.5 is chance. AURC: the share of wrong pixels among the most certain, mean over all coverages; 0 is best. ECE: by how much the network is surer than it is right, or less sure; 0 is best.",
    );
    ui.columns(2, |columns| {
        let right = uncertainty.reliability.iter().map(|[confidence, right, _]| [*confidence, *right]).collect();
        small_plot(&mut columns[0], "accuracy by confidence", right, Some(vec![[0.5, 0.5], [1.0, 1.0]]));
        let dice = uncertainty.set_aside.iter().map(|[share, dice]| [*share, *dice]).collect();
        small_plot(&mut columns[1], "Dice without the most uncertain share of pixels", dice, None);
    });
}

fn small_plot(ui: &mut Ui, name: &str, points: Vec<[f64; 2]>, reference: Option<Vec<[f64; 2]>>) {
    let quiet = theme::quiet(ui);
    ui.label(RichText::new(name).small().color(quiet));
    let plot = theme::plot(name, REAL, REAL).height(19.0 * STEP).include_y(1.0);
    // Without a reference, a Dice: on its whole scale.
    let plot = if reference.is_none() { plot.include_y(0.0) } else { plot };
    plot.show(ui, |plot| {
        if let Some(reference) = reference {
            plot.line(Line::new("ideal", PlotPoints::from(reference)).color(quiet).width(1.0));
        }
        plot.line(Line::new(name, PlotPoints::from(points.clone())).color(theme::ACCENT).width(1.5));
        plot.points(Points::new(name, PlotPoints::from(points)).color(theme::ACCENT).radius(2.5));
    });
}

fn empty(ui: &mut Ui, text: &str) {
    ui.allocate_ui(vec2(ui.available_width(), 22.0 * STEP), |ui| {
        ui.centered_and_justified(|ui| ui.label(RichText::new(text).color(theme::quiet(ui))));
    });
}
