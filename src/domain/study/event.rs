//! Events in a study between two snapshots of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::domain::study::{ImageId, ImageRecord, Review, Study};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum StudyEvent {
    /// The first line: from now on nothing is missed.
    Watching,
    /// An image came in.
    ImageAdded {
        /// Its name.
        image: String,
    },
    /// An image was taken out.
    ImageRemoved {
        /// Its name.
        image: String,
    },
    /// A label was accepted.
    LabelAccepted {
        /// The image's name.
        image: String,
        /// Corrective Dice; `null` where there was no prediction.
        corrective_dice: Option<f64>,
        /// Seconds spent on it, pauses left out.
        seconds: Option<f64>,
    },
    /// A label is no longer accepted.
    LabelTakenBack {
        /// The image's name.
        image: String,
    },
    /// A pseudo-label was reviewed.
    PseudoLabelReviewed {
        /// The image's name.
        image: String,
        /// What was decided.
        review: Review,
    },
    /// A round has trained.
    RoundEnded {
        /// Its number.
        round: usize,
        /// Labelled images that it took in.
        labelled: usize,
        /// Dice on the validation images; `null` where there are none.
        dice: Option<f64>,
        /// Whether its model predicts from now on.
        active: bool,
    },
    /// The pool was scored.
    PoolScored {
        /// The newest round.
        round: usize,
        /// Images scored.
        scored: usize,
        /// Images proposed.
        proposed: usize,
    },
    /// Another round's model predicts from now on.
    RoundActivated {
        /// Its number.
        round: usize,
    },
}

/// The events between two snapshots of a study.
pub fn between(before: &Study, after: &Study) -> Vec<StudyEvent> {
    let by_id = |study: &Study| study.images.iter().map(|image| (image.id, image.clone())).collect::<BTreeMap<_, _>>();
    let (old, new) = (by_id(before), by_id(after));
    let ids: BTreeSet<ImageId> = old.keys().chain(new.keys()).copied().collect();
    let mut events: Vec<StudyEvent> =
        ids.into_iter().flat_map(|id| of_image(old.get(&id), new.get(&id), after)).collect();
    for round in after.rounds.iter().skip(before.rounds.len()) {
        let report = &round.report;
        events.push(StudyEvent::RoundEnded {
            round: report.round,
            labelled: report.labelled,
            dice: report.validation.map(|validation| validation.dice),
            active: round.active,
        });
    }
    let newest = |study: &Study| study.rounds.last().map(|round| (round.report.round, round.report.scored));
    if let Some((round, scored)) = newest(after).filter(|now| now.1 > 0 && newest(before) != Some(*now)) {
        let proposed = after.images.iter().filter(|image| image.proposed.is_some()).count();
        events.push(StudyEvent::PoolScored { round, scored, proposed });
    }
    let active = |study: &Study| study.active_round().map(|round| round.report.round);
    let is_new = |round: &usize| before.rounds.iter().all(|known| known.report.round != *round);
    if let Some(round) = active(after).filter(|round| active(before) != Some(*round) && !is_new(round)) {
        events.push(StudyEvent::RoundActivated { round });
    }
    events
}

fn of_image(old: Option<&ImageRecord>, new: Option<&ImageRecord>, after: &Study) -> Vec<StudyEvent> {
    let Some(now) = new else {
        return old.map(|image| StudyEvent::ImageRemoved { image: image.name.clone() }).into_iter().collect();
    };
    let image = now.name.clone();
    let mut events = Vec::new();
    if old.is_none() {
        events.push(StudyEvent::ImageAdded { image: image.clone() });
    }
    match (old.is_some_and(|old| old.labelled), now.labelled) {
        (false, true) => {
            let cost = after.acceptances.iter().find(|accepted| accepted.image == now.id);
            events.push(StudyEvent::LabelAccepted {
                image: image.clone(),
                corrective_dice: cost.and_then(|cost| cost.dice),
                seconds: cost.map(|cost| cost.seconds),
            });
        }
        (true, false) => events.push(StudyEvent::LabelTakenBack { image: image.clone() }),
        (true, true) | (false, false) => {}
    }
    match now.pseudo.filter(|review| old.and_then(|old| old.pseudo) != Some(*review)) {
        Some(review @ (Review::Accepted | Review::Rejected)) => {
            events.push(StudyEvent::PseudoLabelReviewed { image, review });
        }
        Some(Review::Unreviewed) | None => {}
    }
    events
}
