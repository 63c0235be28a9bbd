//! Read-only commands.

use std::path::Path;

use anyhow::Result;

use qualm::domain::noise;
use qualm::domain::round::Reason;
use qualm::domain::round::Report;
use qualm::domain::study::{ImageRecord, Review, Status, Study};
use qualm::domain::text::counted;
use qualm::engine::device::{self, SELF_CHECK_LIMIT};
use qualm::project::Project;
use qualm::worker::DeviceChoice;

use super::json::{Devices, ImageCounts, Next, PseudoLabelled, StatusOf};
use super::print_json;

/// Images by status, rounds, and what to label next.
pub fn status(root: &Path, json: bool) -> Result<()> {
    let Study { settings, images, rounds, .. } = Project::open_to_read(root)?.study()?;
    // Each image is counted once.
    let mut counts = ImageCounts { images: images.len(), ..ImageCounts::default() };
    let mut proposed = Vec::new();
    for image in &images {
        match Status::of(image) {
            Status::Unlabelled | Status::Pseudo(Review::Rejected) => counts.unlabelled += 1,
            Status::Proposed(reason, rank) => proposed.push((rank, image, reason)),
            Status::Pseudo(Review::Unreviewed | Review::Accepted) => counts.pseudo_labelled += 1,
            Status::Labelled => counts.labelled += 1,
            Status::Validation => counts.validation += 1,
            Status::Unreadable => counts.unreadable += 1,
        }
    }
    proposed.sort_by_key(|(rank, ..)| *rank);
    counts.proposed = proposed.len();
    let score = settings.score;
    let active = rounds.iter().find(|round| round.active).map(|round| round.report.round);
    if json {
        let next = |(rank, image, reason): &(usize, &ImageRecord, Reason)| Next {
            image: image.name.clone(),
            rank: *rank,
            reason: *reason,
            score: image.scores.filter(|_| image.tile.is_none()).map(|scores| scores.by(score)),
            tile: image.tile,
        };
        let labelled_itself =
            |image: &ImageRecord| Some(PseudoLabelled { image: image.name.clone(), state: image.pseudo? });
        return print_json(&StatusOf {
            counts,
            rounds: rounds.iter().map(|round| round.report.clone()).collect(),
            active_round: active,
            proposed: proposed.iter().map(next).collect(),
            pseudo: images.iter().filter(|image| !image.labelled).filter_map(labelled_itself).collect(),
        });
    }
    let ImageCounts { images, unlabelled, proposed: next, labelled, validation, pseudo_labelled, unreadable } = counts;
    for (status, number) in [
        ("images", images),
        ("unlabelled", unlabelled),
        ("proposed", next),
        ("labelled", labelled),
        ("validation", validation),
        ("pseudo-labelled", pseudo_labelled),
        ("unreadable", unreadable),
    ] {
        println!("{status:<15} {number:>6}");
    }
    for round in &rounds {
        let dice = round.report.validation.map_or("no validation".to_owned(), |v| format!("Dice {:.3}", v.dice));
        let mark = match (round.active, round.outdated) {
            (true, _) => ", active",
            (false, true) => ", trained with other classes",
            (false, false) => "",
        };
        let pseudo = if round.report.pseudo > 0 { format!(" + {} pseudo", round.report.pseudo) } else { String::new() };
        println!("round {:>3}: {} labelled{pseudo}, {dice}{mark}", round.report.round, round.report.labelled);
    }
    let reports: Vec<&Report> = rounds.iter().map(|round| &round.report).collect();
    if let Some(gain) = noise::last_gain(&reports, settings.stop_rounds) {
        let advice = if gain.is_noise() { "stop here?" } else { "more labels still help." };
        let which = match settings.stop_rounds {
            1 => "The last round".to_owned(),
            rounds => format!("The last {rounds} rounds"),
        };
        println!("{advice} {which}: Dice {:+.3} (95 % interval {:+.3} to {:+.3})", gain.mean, gain.low, gain.high);
    }
    for (rank, image, reason) in proposed {
        // A tile is ranked by its own variance, which the round's report has.
        let of_image = image.scores.filter(|_| image.tile.is_none());
        let score = of_image.map_or(String::new(), |s| format!(", {:.4}", s.by(score)));
        let tile = image.tile.map_or(String::new(), |tile| format!(", {tile}"));
        println!("label next {rank:>3}: {} ({}{score}{tile})", image.name, reason.label());
    }
    Ok(())
}

/// The devices of this machine.
pub fn devices(json: bool) -> Result<()> {
    let reports = device::survey(SELF_CHECK_LIMIT);
    let (_, looked_at) = device::choose(&DeviceChoice::Auto, SELF_CHECK_LIMIT)?;
    let auto = looked_at.last().map(|report| report.name.clone()).unwrap_or_default();
    if json {
        return print_json(&Devices { devices: reports, auto });
    }
    for report in &reports {
        match &report.refused {
            Some(reason) => println!("refused  {report}: {reason}"),
            None => println!(
                "checked  {report}: {}, differs from the CPU by {:.1e}, checked in {:.1} s",
                serde_json::to_value(report.kind)?.as_str().unwrap_or_default(),
                report.difference,
                report.seconds
            ),
        }
    }
    println!("auto takes {auto}");
    Ok(())
}

/// Prints a round's report.
pub fn print_round(report: &Report) {
    let Report { round, labelled, train_loss, scored, seconds, .. } = report;
    let pseudo = if report.pseudo > 0 { format!(" and {} pseudo-labelled", report.pseudo) } else { String::new() };
    if report.imported {
        println!("round {round} on {}: imported, not trained here", report.device);
    } else {
        println!(
            "round {round} on {}: {labelled} labelled{pseudo} images, training loss {train_loss:.4}",
            report.device
        );
    }
    match report.validation {
        Some(v) => println!(
            "validation: Dice {:.3}, Jaccard {:.3}, sensitivity {:.3}, specificity {:.3} on {}",
            v.dice,
            v.jaccard,
            v.sensitivity,
            v.specificity,
            counted(v.images, "image")
        ),
        None => println!("validation: none"),
    }
    if let Some(uncertainty) = &report.uncertainty {
        let auroc = uncertainty.error_auroc.map_or("undefined".to_owned(), |a| format!("{a:.3}"));
        let aurc = uncertainty.aurc.map_or(String::new(), |area| format!(", area under risk–coverage {area:.4}"));
        println!(
            "uncertainty: AUROC of variance against error {auroc}{aurc}, calibration error {:.3}",
            uncertainty.ece
        );
    }
    if !report.active {
        println!("its Dice fell by more than the tolerance and the noise: the previous round stays active");
    }
    println!(
        "{} scored; train {:.1} s, score {:.1} s, total {:.1} s",
        counted(*scored, "image"),
        seconds.train,
        seconds.score,
        seconds.total
    );
    if report.pseudo_labelled > 0 {
        println!("{} labelled by the network", counted(report.pseudo_labelled, "image"));
    }
    for proposed in &report.proposed {
        let tile = proposed.tile.map_or(String::new(), |tile| format!(", {tile}"));
        println!("  label next: {} ({}, {:.4}{tile})", proposed.image, proposed.reason.label(), proposed.score);
    }
    for note in &report.notes {
        println!("  note: {note}");
    }
    for problem in &report.problems {
        println!("  left out: {problem}");
    }
}
