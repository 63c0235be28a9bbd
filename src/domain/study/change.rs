//! Changes to a study, and their consequences.

use std::collections::{HashMap, HashSet};

use crate::domain::query::Proposal;
use crate::domain::round::Reason;
use crate::domain::scores::Scores;
use crate::domain::settings::Settings;
use crate::domain::study::{Acceptance, CLASS_COLOURS, Class, ClassMap, ImageId, ImageRecord, Review, Round, Study};

/// A change of a study.
#[derive(Clone, Debug)]
pub enum Change {
    /// The label of an image was edited: whether it now contains anything painted, and whether it is labelled, if that
    /// changed.
    Edited {
        /// Which image.
        image: ImageId,
        /// Whether any of the user's edit steps is applied.
        painted: bool,
        /// Whether it is labelled now.
        labelled: Option<bool>,
    },
    /// A label was accepted, and what it cost.
    Accepted(Acceptance),
    /// A pseudo-label was reviewed.
    Reviewed(ImageId, Review),
    /// Other settings.
    Settings(Box<Settings>),
    /// A new class of this name.
    ClassAdded(String),
    /// Another name for a class.
    ClassRenamed(u8, String),
    /// Another colour for a class: red, green, blue.
    ClassRecoloured(u8, [u8; 3]),
    /// Classes were merged, deleted or put into another order.
    ClassesMapped(ClassMap),
    /// A round has trained.
    Trained(Box<Round>),
    /// Another round was made the active one.
    Activated(usize),
    /// The pool was scored after the last round: scores, proposals by rank, and the images that receive pseudo-labels.
    Scored {
        /// Of every image scored.
        scores: Vec<(ImageId, Scores)>,
        /// By rank.
        proposals: Vec<Proposal<ImageId>>,
        /// Those with new pseudo-labels.
        pseudo: Vec<ImageId>,
    },
    /// Images were proposed without a network.
    Proposed(Vec<Proposal<ImageId>>),
}

/// The consequences of a change for the pseudo-labels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Images whose pseudo-labels are discarded.
    pub discarded: Vec<ImageId>,
    /// Images whose new pseudo-labels take effect.
    pub labelled: Vec<ImageId>,
}

impl Study {
    /// Carries out a change.
    pub fn apply(&mut self, change: &Change) -> Effects {
        let mut effects = Effects::default();
        match change {
            Change::Edited { image, painted, labelled } => {
                if let Some(record) = self.image_mut(*image) {
                    record.painted = *painted;
                    record.labelled = labelled.unwrap_or(record.labelled);
                }
                if *painted {
                    // That it was rejected is remembered.
                    effects.discarded = self.discard(|id, review| id == *image && review != Review::Rejected);
                }
            }
            Change::Accepted(acceptance) => self.accept(acceptance),
            Change::Reviewed(image, review) => {
                if let Some(record) = self.image_mut(*image)
                    && record.pseudo.is_some()
                {
                    record.pseudo = Some(*review);
                }
            }
            Change::Settings(settings) => self.settings = (**settings).clone(),
            Change::ClassAdded(name) => {
                let number = self.classes.last().map_or(0, |class| class.number) + 1;
                let colour = CLASS_COLOURS[(usize::from(number) - 1) % CLASS_COLOURS.len()];
                self.classes.push(Class { number, name: name.clone(), colour });
                // Masks from a network that does not know the class would claim that it is absent.
                effects.discarded = self.discard(|_, review| review != Review::Rejected);
            }
            Change::ClassRenamed(number, name) => {
                if let Some(class) = self.classes.iter_mut().find(|class| class.number == *number) {
                    class.name = name.clone();
                }
            }
            Change::ClassRecoloured(number, colour) => {
                if let Some(class) = self.classes.iter_mut().find(|class| class.number == *number) {
                    class.colour = *colour;
                }
            }
            Change::ClassesMapped(map) => {
                self.classes = map.classes().to_vec();
                let by_network = self.proposed_by_network();
                self.rounds.iter_mut().for_each(|round| (round.active, round.outdated) = (false, true));
                for record in &mut self.images {
                    record.scores = None;
                    if by_network.contains(&record.id) {
                        (record.proposed, record.tile) = (None, None);
                    }
                }
                // Reviewed pseudo-labels are renumbered along with the labels.
                effects.discarded = self.discard(|_, review| review == Review::Unreviewed);
            }
            Change::Trained(round) => {
                if round.active {
                    self.rounds.iter_mut().for_each(|round| round.active = false);
                }
                self.rounds.push((**round).clone());
            }
            Change::Activated(number) => {
                self.rounds.iter_mut().for_each(|round| round.active = round.report.round == *number);
                // They are another model's.
                effects.discarded = self.discard(|_, review| review == Review::Unreviewed);
            }
            Change::Scored { scores, proposals, pseudo } => {
                let scores: HashMap<ImageId, Scores> = scores.iter().copied().collect();
                for record in &mut self.images {
                    record.scores = scores.get(&record.id).copied().or(record.scores);
                }
                self.propose(proposals);
                effects.discarded = self.discard(|_, review| review == Review::Unreviewed);
                for image in pseudo {
                    // Images labelled, painted or reviewed since scoring began stay as the user left them.
                    let record = self.image_mut(*image);
                    if let Some(record) = record.filter(|r| !r.labelled && !r.painted && r.pseudo.is_none()) {
                        record.pseudo = Some(Review::Unreviewed);
                        effects.labelled.push(*image);
                    }
                }
            }
            Change::Proposed(proposals) => self.propose(proposals),
        }
        effects
    }

    /// The images that the network of a round has proposed. Representative images may have been chosen without one:
    /// then the newest round did not propose them, or its own proposals were discarded before.
    fn proposed_by_network(&self) -> HashSet<ImageId> {
        let newest = self.rounds.last().filter(|round| !round.outdated);
        let of_round = newest.into_iter().flat_map(|round| &round.report.proposed);
        let of_round: HashSet<&str> = of_round.map(|proposed| proposed.image.as_str()).collect();
        let is_by_network = |record: &&ImageRecord| match record.proposed {
            Some((Reason::Representative, _)) => of_round.contains(record.name.as_str()),
            Some((Reason::NoDetection | Reason::MostUncertain | Reason::Random, _)) => true,
            None => false,
        };
        self.images.iter().filter(is_by_network).map(|record| record.id).collect()
    }

    /// Records an acceptance. If the image was accepted before, the time is added up, and the Dice of the same round's
    /// prediction takes the place of the earlier one. That of another round's does not: later models have been trained
    /// on the label.
    fn accept(&mut self, acceptance: &Acceptance) {
        let mut acceptance = acceptance.clone();
        if let Some(place) = self.acceptances.iter().position(|before| before.image == acceptance.image) {
            let before = self.acceptances.remove(place);
            acceptance.seconds += before.seconds;
            if acceptance.round != before.round {
                (acceptance.round, acceptance.dice) = (before.round, before.dice);
            }
        }
        let is_later = |other: &Acceptance| (other.at_s, other.image) > (acceptance.at_s, acceptance.image);
        let place = self.acceptances.iter().position(is_later).unwrap_or(self.acceptances.len());
        self.acceptances.insert(place, acceptance);
    }

    fn propose(&mut self, proposals: &[Proposal<ImageId>]) {
        self.images.iter_mut().for_each(|record| (record.proposed, record.tile) = (None, None));
        for (rank, proposal) in (1..).zip(proposals) {
            if let Some(record) = self.image_mut(proposal.image) {
                (record.proposed, record.tile) = (Some((proposal.reason, rank)), proposal.tile);
            }
        }
    }

    /// Discards the pseudo-labels for which `is_gone` holds, and returns their images.
    fn discard(&mut self, is_gone: impl Fn(ImageId, Review) -> bool) -> Vec<ImageId> {
        let mut discarded = Vec::new();
        for record in &mut self.images {
            if record.pseudo.is_some_and(|review| is_gone(record.id, review)) {
                record.pseudo = None;
                discarded.push(record.id);
            }
        }
        discarded
    }
}
