//! Which images to label next: the paper's three kinds (Gorriz et al., arXiv 1711.09168, section 3).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::domain::scores::Scores;
use crate::domain::settings::{Score, Settings};

/// Why an image is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The network found nothing in it.
    NoDetection,
    /// Its score is among the highest.
    MostUncertain,
    /// Drawn at random.
    Random,
}

impl Reason {
    /// The reason in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoDetection => "nothing found",
            Self::MostUncertain => "most uncertain",
            Self::Random => "random",
        }
    }
}

/// One image to label, with the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal<Id> {
    /// The image.
    pub image: Id,
    /// Why.
    pub reason: Reason,
    /// Its score, by the setting's choice.
    pub score: f64,
}

impl Scores {
    /// The score that `choice` names.
    pub fn by(&self, choice: Score) -> f64 {
        match choice {
            Score::VarianceEdtSum => self.variance_edt_sum,
            Score::VarianceEdtMean => self.variance_edt_mean,
            Score::VarianceSum => self.variance_sum,
            Score::EntropyMean => self.entropy_mean,
            Score::MutualInformationMean => self.mutual_information_mean,
        }
    }
}

/// Picks from the scored pool: *no detection* (by summed variance,
/// highest first), then *most uncertain*, then *random* of the rest. No image is picked twice; a kind that runs out
/// gives its places to nobody. The draw depends on `seed` and the order of `pool` alone.
pub fn propose<Id: Copy>(pool: &[(Id, Scores)], settings: &Settings, seed: u64) -> Vec<Proposal<Id>> {
    let (mut empty, mut rest): (Vec<(Id, Scores)>, Vec<_>) =
        pool.iter().partition(|(_, s)| s.foreground_fraction == 0.0);
    empty.sort_by(|a, b| b.1.variance_sum.total_cmp(&a.1.variance_sum));
    rest.sort_by(|a, b| b.1.by(settings.score).total_cmp(&a.1.by(settings.score)));
    let mut others = empty.split_off(settings.query_no_detection.min(empty.len()));
    others.extend(rest.split_off(settings.query_uncertain.min(rest.len())));
    others.shuffle(&mut Pcg64Mcg::seed_from_u64(seed));
    others.truncate(settings.query_random);
    [(empty, Reason::NoDetection), (rest, Reason::MostUncertain), (others, Reason::Random)]
        .into_iter()
        .flat_map(|(picks, reason)| {
            picks.into_iter().map(move |(image, scores)| Proposal { image, reason, score: scores.by(settings.score) })
        })
        .collect()
}
