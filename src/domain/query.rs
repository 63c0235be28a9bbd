//! Which images to label next: the paper's three kinds (Gorriz et al., arXiv 1711.09168, section 3).

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::domain::scores::Scores;
use crate::domain::settings::{Policy, Score, Settings};

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

/// Picks from the scored pool by the settings' policy. `ceal`: *no detection* (by summed variance, highest first), then
/// *most uncertain*, then *random* of the rest. `uncertain` and `random` pick as many as the three kinds together. No
/// image is picked twice; a kind that runs out gives its places to nobody. The draw depends on `seed` and the order of
/// `pool` alone.
pub fn propose<Id: Copy>(pool: &[(Id, Scores)], settings: &Settings, seed: u64) -> Vec<Proposal<Id>> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let Settings { query_no_detection, query_uncertain, query_random, .. } = *settings;
    let sum = query_no_detection + query_uncertain + query_random;
    let [no_detection, uncertain, random] = match settings.policy {
        Policy::Ceal => [query_no_detection, query_uncertain, query_random],
        Policy::Uncertain => [0, sum, 0],
        Policy::Random => [0, 0, sum],
    };
    let is_ceal = settings.policy == Policy::Ceal;
    let (mut empty, mut rest): (Vec<(Id, Scores)>, Vec<_>) =
        pool.iter().partition(|(_, s)| is_ceal && s.foreground_fraction == 0.0);
    empty.sort_by(|a, b| b.1.variance_sum.total_cmp(&a.1.variance_sum));
    if settings.query_stochastic {
        rest = in_proportion(rest, settings.score, &mut rng);
    } else {
        rest.sort_by(|a, b| b.1.by(settings.score).total_cmp(&a.1.by(settings.score)));
    }
    let mut others = empty.split_off(no_detection.min(empty.len()));
    others.extend(rest.split_off(uncertain.min(rest.len())));
    others.shuffle(&mut rng);
    others.truncate(random);
    [(empty, Reason::NoDetection), (rest, Reason::MostUncertain), (others, Reason::Random)]
        .into_iter()
        .flat_map(|(picks, reason)| {
            picks.into_iter().map(move |(image, scores)| Proposal { image, reason, score: scores.by(settings.score) })
        })
        .collect()
}

/// A random order in which each image comes next with a probability in proportion to its score: by the key u^(1 / score),
/// u uniform (Efraimidis & Spirakis, Inf. Process. Lett. 97, 2006). Images of score 0 come last.
fn in_proportion<Id>(pool: Vec<(Id, Scores)>, score: Score, rng: &mut impl Rng) -> Vec<(Id, Scores)> {
    let mut keyed: Vec<(f64, (Id, Scores))> = pool
        .into_iter()
        .map(|(id, scores)| {
            // The key's logarithm: no underflow where scores are small.
            let u: f64 = rng.random_range(f64::MIN_POSITIVE..1.0);
            (u.ln() / scores.by(score).max(0.0), (id, scores))
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    keyed.into_iter().map(|(_, image)| image).collect()
}
