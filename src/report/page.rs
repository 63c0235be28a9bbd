//! The page itself.

use std::fmt::Write;

use anyhow::Result;
use chrono::DateTime;
use quick_xml::escape::escape;

use qualm::domain::round::{Report, TrainingEnd};
use qualm::domain::settings::{Encoder, Flips, Geometry, Settings, TABLE};
use qualm::domain::study::{Round, Side, Study};

use super::call;
use super::charts::{ChartLine, chart};
use super::examples::Example;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:1020px;margin:2em auto;padding:0 1em;color:#222}\
    h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em;border-bottom:1px solid #ddd}\
    table{border-collapse:collapse;font-size:13px}td,th{padding:.2em .7em;border-bottom:1px solid #e5e5e5;text-align:left}\
    td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}.charts{display:flex;flex-wrap:wrap}\
    .charts figure{margin:.5em}figcaption{font-size:13px;color:#555}.scroll{overflow-x:auto}.changed{font-weight:600}\
    .wide{max-width:70ch}";

/// The whole page.
pub fn page(study: &Study, examples: &[Example], with_names: bool) -> Result<String> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Segmentation study</title>\
         <style>{STYLE}</style></head><body>\n<h1>Segmentation study</h1>\n<p>Written by Qualm {} on {}.</p>\n",
        env!("CARGO_PKG_VERSION"),
        chrono::Utc::now().format("%Y-%m-%d")
    );
    html += &overview(study);
    if let Some(active) = study.active_round() {
        html += &methods(study, active);
        html += &rounds(study);
        html += &curves(study, active)?;
        html += &pictures(study, examples, with_names);
        html += &settings(&active.settings);
        html += &remarks(study, with_names);
    } else {
        html += "<p>No network can predict: no round has been trained, or none with the current classes.</p>\n";
    }
    Ok(html + "</body></html>\n")
}

fn overview(study: &Study) -> String {
    let count = |is: &dyn Fn(Side) -> bool| study.images.iter().filter(|i| i.labelled && is(i.side)).count();
    let validation = count(&|side| side == Side::Validation);
    let others = count(&|side| side != Side::Validation);
    let mut sizes: Vec<(usize, usize)> = study.images.iter().map(|image| (image.width, image.height)).collect();
    sizes.sort_unstable();
    let size = match (sizes.first(), sizes.last()) {
        (Some(least), Some(most)) if least == most => format!("{} × {}", least.0, least.1),
        (Some(_), Some(_)) => {
            let bounds = |side: fn(&(usize, usize)) -> usize| {
                let sides = || sizes.iter().map(side);
                format!("{} to {}", sides().min().unwrap_or(0), sides().max().unwrap_or(0))
            };
            format!("{} × {}", bounds(|size| size.0), bounds(|size| size.1))
        }
        _ => "none".to_owned(),
    };
    let groups: std::collections::BTreeSet<&str> =
        study.images.iter().filter_map(|image| image.group.as_deref()).collect();
    let minutes = study.minutes_labelling(u64::MAX);
    let dice: Vec<f64> = study.acceptances_of_labelled().filter_map(|accepted| accepted.dice).collect();
    let classes: Vec<String> = study.classes.iter().map(|class| format!("{} ({})", class.name, class.number)).collect();
    let mut rows = vec![
        ("Images", study.images.len().to_string()),
        ("Columns × rows, pixels", size),
        ("Classes", classes.join(", ")),
        ("Labelled", format!("{} ({others} for training, {validation} for validation)", others + validation)),
        ("Groups (patients, volumes)", if groups.is_empty() { "none".to_owned() } else { groups.len().to_string() }),
        ("Time spent labelling in the program", format!("{minutes:.0} minutes")),
        ("Rounds", study.rounds.len().to_string()),
    ];
    if !dice.is_empty() {
        let mean = dice.iter().sum::<f64>() / dice.len() as f64;
        let text = format!("{mean:.3}, mean over {} images", dice.len());
        rows.push(("Corrective Dice (the prediction against its correction)", text));
    }
    let rows: String =
        rows.iter().map(|(name, value)| format!("<tr><th>{name}</th><td>{}</td></tr>", escape(value))).collect();
    format!("<h2>Data</h2>\n<table>{rows}</table>\n")
}

fn methods(study: &Study, active: &Round) -> String {
    let (Settings { seed, passes, batch, learning_rate, dropout, rows, columns, .. }, report) =
        (&active.settings, &active.report);
    let network = match active.settings.encoder {
        Encoder::Unet => format!(
            "a U-Net (Ronneberger et al., 2015) of {} filters, from full resolution down, trained from random weights",
            active.settings.unet_widths().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
        Encoder::Lite0 => {
            "a U-Net decoder on an EfficientNet-Lite0 encoder (Tan and Le, 2019) that was pre-trained on \
            ImageNet-1k"
                .to_owned()
        }
    };
    let input = match active.settings.geometry {
        Geometry::Tiles => format!("tiles of {columns} × {rows} pixels at full resolution"),
        Geometry::Resize | Geometry::Auto => format!("whole images resized to {columns} × {rows} pixels"),
    };
    let mirrored = match active.settings.augment_flips {
        _ if !active.settings.passes_mirrored => "",
        Flips::Auto | Flips::Both => ", spread over the image and its three mirror images",
        Flips::LeftRight => ", spread over the image and its mirror image (left–right)",
        Flips::TopBottom => ", spread over the image and its mirror image (top–bottom)",
        Flips::None => "",
    };
    let dice = report.validation.map_or("It was not measured on images held out.".to_owned(), |v| {
        format!(
            "On {} images held out for validation it reached a Dice coefficient of {:.3} (Jaccard index {:.3}, sensitivity \
             {:.3}, specificity {:.3}), mean over images and classes.",
            v.images, v.dice, v.jaccard, v.sensitivity, v.specificity
        )
    });
    let training = if report.imported {
        "was imported: how it was trained is in the file that it came with".to_owned()
    } else {
        format!(
            "was trained on {} labelled images{} for {} steps of Adam at batches of {batch} and a learning rate of \
             {learning_rate}, with dropout of {dropout}; the seed was {seed}",
            report.labelled.saturating_sub(report.validation_images.len()),
            if report.pseudo > 0 { format!(" and {} pseudo-labelled ones", report.pseudo) } else { String::new() },
            report.steps,
        )
    };
    let rounds = match study.rounds.len() {
        1 => "one round".to_owned(),
        rounds => format!("{rounds} rounds"),
    };
    format!(
        "<h2>Methods</h2>\n<p class=\"wide\">Images were segmented by {network}, on {input}. The network of round {} \
         {training}. {dice} Uncertainty is the predictive variance of {passes} Monte-Carlo dropout passes (Gal and \
         Ghahramani, 2016){mirrored}. Images to label were proposed by the policy “{}” (see the settings), in {rounds} so \
         far. Computed on {} with Qualm {}.</p>\n\
         <p class=\"wide\">Weights of the encoder, citations and licences: see the program's CREDITS. The paper of the method: \
         Gorriz et al., Cost-Effective Active Learning for Melanoma Segmentation, arXiv 1711.09168.</p>\n",
        report.round,
        active.settings.policy.word(),
        escape(&report.device),
        env!("CARGO_PKG_VERSION"),
    )
}

fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.3}"))
}

fn rounds(study: &Study) -> String {
    let corrective = |report: &Report| {
        let of_round = study.acceptances_of_labelled().filter(|accepted| accepted.round == Some(report.round));
        let dice: Vec<f64> = of_round.filter_map(|accepted| accepted.dice).collect();
        (!dice.is_empty()).then(|| dice.iter().sum::<f64>() / dice.len() as f64)
    };
    let row = |round: &Round| {
        let report = &round.report;
        let uncertainty = report.uncertainty.as_ref();
        let date = DateTime::from_timestamp(round.finished_s as i64, 0);
        let classes: Vec<String> = report.classes.iter().map(|class| format!("{:.3}", class.dice)).collect();
        let end = match report.end {
            _ if report.imported => "imported",
            TrainingEnd::Whole => "budget spent",
            TrainingEnd::Flat => "no longer improving",
            TrainingEnd::Longer => "extended",
            TrainingEnd::StillRising => "still improving",
        };
        let cells = [
            format!("{}{}", report.round, if round.active { " (active)" } else { "" }),
            date.map_or(String::new(), |date| date.format("%Y-%m-%d %H:%M").to_string()),
            report.labelled.to_string(),
            report.pseudo.to_string(),
            format!("{:.0}", study.minutes_labelling(round.finished_s)),
            report.steps.to_string(),
            format!("{:.0}", report.seconds.train),
            end.to_owned(),
            number(report.validation.map(|v| v.dice)),
            if classes.len() > 1 { classes.join(" ") } else { String::new() },
            number(uncertainty.map(|u| u.ece)),
            number(uncertainty.and_then(|u| u.error_auroc)),
            number(uncertainty.and_then(|u| u.aurc)),
            number(corrective(report)),
        ];
        let cells: String = cells.iter().map(|cell| format!("<td class=\"n\">{cell}</td>")).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let heads = [
        "Round",
        "Ended (UTC)",
        "Labels",
        "Pseudo-labels",
        "Minutes labelling",
        "Steps",
        "Training, s",
        "End",
        "Validation Dice",
        "by class",
        "ECE",
        "Error AUROC",
        "AURC",
        "Corrective Dice",
    ];
    let heads: String = heads.iter().map(|head| format!("<th class=\"n\">{head}</th>")).collect();
    let rows: String = study.rounds.iter().map(row).collect();
    format!(
        "<h2>Rounds</h2>\n<div class=\"scroll\"><table><tr>{heads}</tr>\n{rows}</table></div>\n\
         <p class=\"wide\">ECE: expected calibration error. Error AUROC: probability that a wrong pixel has a higher variance \
         than a right one. AURC: area under the risk–coverage curve. Corrective Dice: the round's predictions against the \
         labels that people made of them.</p>\n"
    )
}

fn curves(study: &Study, active: &Round) -> Result<String> {
    let line = |name: &str, points: Vec<(f64, f64)>| ChartLine { name: name.to_owned(), points };
    let of_rounds = |value: &dyn Fn(&Report) -> Option<f64>| {
        let points = study.rounds.iter().map(|round| (round.report.labelled as f64, value(&round.report)));
        points.filter_map(|(labels, value)| Some((labels, value?))).collect::<Vec<_>>()
    };
    let report = &active.report;
    let uncertainty = report.uncertainty.clone().unwrap_or_default();
    let corrective = study.acceptances_of_labelled().filter_map(|accepted| accepted.dice);
    let corrective: Vec<(f64, f64)> = (1..).zip(corrective).map(|(n, dice): (i32, f64)| (f64::from(n), dice)).collect();
    let charts = [
        (
            "Validation Dice of each round",
            chart("labelled images", "Dice", &[line("", of_rounds(&|r| Some(r.validation?.dice)))], false)?,
        ),
        (
            "Calibration of the active round: the diagonal is perfect",
            chart(
                "confidence",
                "share that is right",
                &[line(
                    "",
                    uncertainty.reliability.iter().map(|[confidence, right, _]| (*confidence, *right)).collect(),
                )],
                true,
            )?,
        ),
        (
            "Dice with the most uncertain pixels set aside",
            chart(
                "share set aside",
                "Dice",
                &[line("", uncertainty.set_aside.iter().map(|[share, dice]| (*share, *dice)).collect())],
                false,
            )?,
        ),
        (
            "Training of the active round",
            chart(
                "epoch",
                "loss",
                &[line("", report.curve.iter().map(|p| (p.epoch as f64, p.loss)).collect())],
                false,
            )?,
        ),
        (
            "Corrective Dice of each label, in the order of work",
            chart("labels accepted", "Dice", &[line("", corrective)], false)?,
        ),
    ];
    let figures: String = charts
        .into_iter()
        .filter_map(|(caption, svg)| Some(format!("<figure>{}<figcaption>{caption}</figcaption></figure>\n", svg?)))
        .collect();
    Ok(format!("<h2>Curves</h2>\n<div class=\"charts\">{figures}</div>\n"))
}

fn pictures(study: &Study, examples: &[Example], with_names: bool) -> String {
    if examples.is_empty() {
        return String::new();
    }
    let mut html =
        "<h2>Examples</h2>\n<p>Left: the image with the prediction (orange) and the label (blue). Right: the \
        predictive variance, its scale up to the 99th percentile of each image.</p>\n<div class=\"charts\">"
            .to_owned();
    for Example { name, why, pictures: [image, variance] } in examples {
        let name = call(study, name, with_names);
        let _ = writeln!(
            html,
            "<figure><img src=\"{image}\" alt=\"\"> <img src=\"{variance}\" alt=\"\">\
             <figcaption>{}: {why}</figcaption></figure>",
            escape(&name)
        );
    }
    html + "</div>\n"
}

fn settings(settings: &Settings) -> String {
    let preset = Settings::default();
    let row = |setting: &qualm::domain::settings::Setting| {
        let (value, usual) = (setting.text(settings), setting.text(&preset));
        let class = if value == usual { "" } else { " class=\"changed\"" };
        format!(
            "<tr{class}><td>{}</td><td>{value} {}</td><td>{usual}</td><td>{}</td></tr>\n",
            setting.key,
            setting.unit,
            escape(setting.help)
        )
    };
    let rows: String = TABLE.iter().filter(|setting| setting.is_used(settings)).map(row).collect();
    format!(
        "<h2>Settings of the active round</h2>\n<p>Those that differ from the defaults are bold.</p>\n<div class=\"scroll\">\
         <table><tr><th>Setting</th><th>Value</th><th>Default</th><th>Meaning</th></tr>\n{rows}</table></div>\n"
    )
}

fn remarks(study: &Study, with_names: bool) -> String {
    if !with_names {
        return String::new();
    }
    let of_round = |round: &Round| {
        let all = round.report.notes.iter().chain(&round.report.problems);
        all.map(|text| format!("<li>Round {}: {}</li>\n", round.report.round, escape(text))).collect::<String>()
    };
    let items: String = study.rounds.iter().map(of_round).collect();
    if items.is_empty() { items } else { format!("<h2>Remarks</h2>\n<ul>{items}</ul>\n") }
}
