//! Which images to label next: the paper's three kinds (Gorriz et al., arXiv 1711.09168, section 3).

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use crate::domain::clusters::{of_length_one, representative};
use crate::domain::round::Report;
use crate::domain::scores::Scores;
use crate::domain::settings::{Order, Score, Settings};

/// Why an image is proposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The network found nothing in it.
    NoDetection,
    /// Its score is among the highest.
    MostUncertain,
    /// It represents images that look like it.
    Representative,
    /// Drawn at random.
    Random,
}

impl Reason {
    /// The reason in words.
    pub fn label(self) -> &'static str {
        match self {
            Self::NoDetection => "nothing found",
            Self::MostUncertain => "most uncertain",
            Self::Representative => "representative",
            Self::Random => "random",
        }
    }
}

/// One image to label, with the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal<Id> {
    /// The image.
    pub image: Id,
    /// Why it is proposed.
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

/// Picks from the scored pool by the settings' policy, after `round`. `ceal`: *no detection* (by summed variance, highest
/// first), then *most uncertain*, then *random* of the rest; what *no detection* cannot fill goes to *most uncertain*. All
/// others pick as many as the three kinds together. No image is picked twice. A policy that compares images asks `features`
/// for the deepest features of its candidates, `representative` for those of all the pool and of the `labelled` images; an
/// error of it ends the query. The draw depends on the settings' seed, the round and the order of `pool` alone.
pub fn propose<Id: Copy, E>(
    pool: &[(Id, Scores)],
    labelled: &[Id],
    settings: &Settings,
    round: usize,
    mut features: impl FnMut(Id) -> Result<Vec<f32>, E>,
) -> Result<Vec<Proposal<Id>>, E> {
    let seed = settings.seed.wrapping_add(round as u64);
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let Settings { policy, query_no_detection, query_uncertain, query_random, score, .. } = *settings;
    let (mut empty, mut rest): (Vec<(Id, Scores)>, Vec<_>) =
        pool.iter().partition(|(_, s)| policy.is_ceal() && s.foreground_fraction == 0.0);
    let no_detection = query_no_detection.min(empty.len());
    let [ordered, random] = match policy.is_ceal() {
        true => [query_uncertain + query_no_detection - no_detection, query_random],
        false => [settings.query_count(), 0],
    };
    empty.sort_by(|a, b| b.1.variance_sum.total_cmp(&a.1.variance_sum));
    let reason = match policy.order() {
        Order::Score | Order::Diverse => {
            rest.sort_by(|a, b| b.1.by(score).total_cmp(&a.1.by(score)));
            if policy.order() == Order::Diverse {
                spread(&mut rest, ordered, settings.query_spread, features)?;
            }
            Reason::MostUncertain
        }
        Order::Noisy => {
            rest = with_noise(rest, score, 2f64.powi(round.saturating_sub(1).min(9) as i32), &mut rng);
            Reason::MostUncertain
        }
        Order::Representative => {
            let images = rest.iter().map(|(image, _)| *image).chain(labelled.iter().copied());
            let features = images.map(&mut features).collect::<Result<Vec<_>, E>>()?;
            let is_labelled: Vec<bool> = (0..features.len()).map(|place| place >= rest.len()).collect();
            rest = representative(&features, &is_labelled, ordered, seed).into_iter().map(|i| rest[i]).collect();
            Reason::Representative
        }
        Order::Random => {
            rest.shuffle(&mut rng);
            Reason::Random
        }
        Order::Foreground => {
            rest.shuffle(&mut rng);
            rest.sort_by_key(|(_, scores)| scores.foreground_fraction == 0.0);
            Reason::Random
        }
    };
    let mut others = empty.split_off(no_detection);
    others.extend(rest.split_off(ordered.min(rest.len())));
    others.shuffle(&mut rng);
    others.truncate(random);
    let kinds = [(empty, Reason::NoDetection), (rest, reason), (others, Reason::Random)];
    let proposals = kinds.into_iter().flat_map(|(picks, reason)| {
        picks.into_iter().map(move |(image, scores)| Proposal { image, reason, score: scores.by(score) })
    });
    Ok(proposals.collect())
}

/// Puts first `wanted` of the first `candidates` × `wanted` images: the first one, then each time the one farthest from
/// those before it (farthest-first traversal, Gonzalez, Theor. Comput. Sci. 38, 1985), by the cosine distance of their
/// features.
fn spread<Id: Copy, E>(
    ordered: &mut [(Id, Scores)],
    wanted: usize,
    candidates: usize,
    mut features: impl FnMut(Id) -> Result<Vec<f32>, E>,
) -> Result<(), E> {
    let shortlist = (wanted * candidates).min(ordered.len());
    let unit = ordered[..shortlist].iter().map(|(image, _)| Ok(of_length_one(features(*image)?)));
    let unit: Vec<Vec<f32>> = unit.collect::<Result<_, E>>()?;
    // Where each place's features are, and how far it is from everything before `place`; one without features comes last.
    let far = |i: usize| if unit[i].is_empty() { -1.0 } else { f32::INFINITY };
    let mut left: Vec<(usize, f32)> = (0..shortlist).map(|i| (i, far(i))).collect();
    for place in 0..wanted.min(shortlist) {
        let farthest = (place..shortlist).reduce(|a, b| if left[b].1 > left[a].1 { b } else { a });
        let Some(farthest) = farthest else { break };
        // Keeps the order of the others: of equally far ones the more uncertain comes next.
        left[place..=farthest].rotate_right(1);
        ordered[place..=farthest].rotate_right(1);
        let picked = &unit[left[place].0];
        for (other, distance) in &mut left[place + 1..] {
            let cosine: f32 = unit[*other].iter().zip(picked).map(|(a, b)| a * b).sum();
            *distance = distance.min(1.0 - cosine);
        }
    }
    Ok(())
}

/// A network that has learned from few labels does not get to outvote them: no more pseudo-labels than this for each.
const MOST_PER_LABEL: usize = 2;

/// How a network did on the validation images.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Standing {
    /// Mean Dice; `None` without validation.
    pub dice: Option<f64>,
    /// Expected calibration error; `None` without validation.
    pub calibration_error: Option<f64>,
}

impl Standing {
    /// Of a round's network.
    pub fn of(report: &Report) -> Self {
        Self {
            dice: report.validation.map(|validation| validation.dice),
            calibration_error: report.uncertainty.as_ref().map(|uncertainty| uncertainty.ece),
        }
    }

    /// Why a network that did so may not label images itself; `None` where it may. Without validation it may only where
    /// nothing is asked of it.
    pub fn bars_labelling(&self, settings: &Settings) -> Option<String> {
        let Settings { pseudo_dice, pseudo_calibration, .. } = *settings;
        if self.dice.unwrap_or(0.0) < pseudo_dice {
            let found = self.dice.map_or("there is none".to_owned(), |dice| format!("it is {dice:.3}"));
            Some(format!("validation Dice must be at least {pseudo_dice} (pseudo_dice); {found}"))
        } else if self.calibration_error.unwrap_or(1.0) > pseudo_calibration {
            let found = self.calibration_error.map_or("not known".to_owned(), |error| format!("{error:.3}"));
            Some(format!(
                "the calibration error must be at most {pseudo_calibration} (pseudo_calibration); it is {found}"
            ))
        } else {
            None
        }
    }
}

/// Picks the images that the network labels itself after `round`: the most certain ones in which it found something, by
/// the settings' score, lowest first, in the number that the settings give for that round, but no more than two for each
/// of the images `labelled` by then; none where its standing bars it. `excluded` are the proposed and the rejected ones.
pub fn pseudo_label<Id: Copy>(
    pool: &[(Id, Scores)],
    settings: &Settings,
    standing: Standing,
    round: usize,
    labelled: usize,
    excluded: impl Fn(Id) -> bool,
) -> Vec<Id> {
    let Settings { policy, pseudo_from, pseudo_count, pseudo_growth, .. } = *settings;
    if !policy.is_ceal() || pseudo_from == 0 || round < pseudo_from || standing.bars_labelling(settings).is_some() {
        return Vec::new();
    }
    let mut sure: Vec<&(Id, Scores)> =
        pool.iter().filter(|(id, scores)| scores.foreground_fraction > 0.0 && !excluded(*id)).collect();
    sure.sort_by(|a, b| a.1.by(settings.score).total_cmp(&b.1.by(settings.score)));
    let count = pseudo_count + pseudo_growth * (round - pseudo_from);
    sure.iter().take(count.min(MOST_PER_LABEL * labelled)).map(|(id, _)| *id).collect()
}

/// A random order in which each image comes next with a probability in proportion to its score to the power of `power`: by
/// the logarithm of the score with Gumbel noise of scale 1 / `power` (power acquisition, Kirsch et al., arXiv 2106.12059;
/// with noise that fades over the rounds, Lüth et al., arXiv 2601.13677). Images of score 0 come last.
fn with_noise<Id>(pool: Vec<(Id, Scores)>, score: Score, power: f64, rng: &mut impl Rng) -> Vec<(Id, Scores)> {
    let mut keyed: Vec<(f64, (Id, Scores))> = pool
        .into_iter()
        .map(|(id, scores)| {
            let gumbel = -(-rng.random_range(f64::MIN_POSITIVE..1.0).ln()).ln();
            (scores.by(score).max(0.0).ln() + gumbel / power, (id, scores))
        })
        .collect();
    keyed.sort_by(|a, b| b.0.total_cmp(&a.0));
    keyed.into_iter().map(|(_, image)| image).collect()
}
