//! `qualm watch`: prints the events of a project, one per line, while a window or another command works on it.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use qualm::domain::study::{Review, StudyEvent, between};
use qualm::domain::text::counted;
use qualm::project::Project;

/// The interval at which the project is polled.
const PAUSE: Duration = Duration::from_millis(300);

/// Prints one event per line until the output is closed or the program is terminated. Only reads.
pub fn watch(root: &Path, json: bool) -> Result<()> {
    let project = Project::open_to_read(root)?;
    let (mut version, mut study) = (project.data_version()?, project.study()?);
    let mut out = std::io::stdout();
    let mut events = vec![StudyEvent::Watching];
    let mut is_open = true;
    while is_open {
        for event in events.drain(..) {
            let line = if json { serde_json::to_string(&event)? } else { words(&event) };
            is_open &= writeln!(out, "{line}").and_then(|()| out.flush()).is_ok();
        }
        std::thread::sleep(PAUSE);
        let now = project.data_version()?;
        if now != version {
            let after = project.study()?;
            events = between(&study, &after);
            (version, study) = (now, after);
        }
    }
    Ok(())
}

fn decided(review: Review) -> &'static str {
    match review {
        Review::Unreviewed => "not reviewed",
        Review::Accepted => "accepted",
        Review::Rejected => "rejected",
    }
}

fn words(event: &StudyEvent) -> String {
    match event {
        StudyEvent::Watching => "watching".to_owned(),
        StudyEvent::ImageAdded { image } => format!("{image}: added"),
        StudyEvent::ImageRemoved { image } => format!("{image}: taken out"),
        StudyEvent::LabelAccepted { image, corrective_dice, .. } => {
            let dice = corrective_dice.map_or(String::new(), |dice| format!(", corrective Dice {dice:.3}"));
            format!("{image}: label accepted{dice}")
        }
        StudyEvent::LabelTakenBack { image } => format!("{image}: label no longer accepted"),
        StudyEvent::PseudoLabelReviewed { image, review } => format!("{image}: pseudo-label {}", decided(*review)),
        StudyEvent::RoundEnded { round, labelled, dice, .. } => {
            let dice = dice.map_or(String::new(), |dice| format!(", validation Dice {dice:.3}"));
            format!("round {round}: trained on {}{dice}", counted(*labelled, "labelled image"))
        }
        StudyEvent::PoolScored { round, scored, proposed } => {
            format!("round {round}: {} scored, {proposed} proposed", counted(*scored, "image"))
        }
        StudyEvent::RoundActivated { round } => format!("round {round} is active"),
    }
}
