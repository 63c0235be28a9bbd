//! Which images to label next: the paper's three kinds (Gorriz et al., arXiv 1711.09168, section 3).

use std::collections::HashSet;

use rand::seq::SliceRandom;
use rand::{Rng, RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::clusters::{of_length_one, representative};
use crate::domain::round::{Reason, Standing};
use crate::domain::scores::Scores;
use crate::domain::settings::{Order, Score, Settings};
use crate::domain::tiles::Tile;

/// One image to label, with the reason.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Proposal<Id> {
    /// The image.
    pub image: Id,
    /// Why it is proposed.
    pub reason: Reason,
    /// Its score, by the setting's choice.
    pub score: f64,
    /// The part of it that is to be labelled; `None`: all of it.
    pub tile: Option<Tile>,
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

/// What a policy may need to know about an image beyond its scores.
pub trait Evidence<Id> {
    /// The error if the evidence cannot be obtained.
    type Error;

    /// The features of the deepest level, averaged over the image; empty where it cannot be read.
    fn features(&mut self, image: Id) -> Result<Vec<f32>, Self::Error>;

    /// The image's most uncertain tile and its mean variance; `None` if the image was not predicted in tiles.
    fn tile(&self, _: Id) -> Option<(Tile, f64)> {
        None
    }

    /// The mean variance over the pixels that are predicted as each class, class 1 first.
    fn class_variances(&self, _: Id) -> Vec<f64> {
        Vec::new()
    }
}

impl<Id, E, Features: FnMut(Id) -> Result<Vec<f32>, E>> Evidence<Id> for Features {
    type Error = E;

    fn features(&mut self, image: Id) -> Result<Vec<f32>, E> {
        self(image)
    }
}

/// Picks images from the scored pool by the policy in the settings, after `round`. `ceal` takes *no detection* (by
/// summed variance, highest first), then *most uncertain*, then *random* from the rest; what *no detection* cannot fill
/// goes to *most uncertain*. All other policies pick as many images as the three kinds together. No image is picked
/// twice. A policy that compares images asks `evidence` for the deepest features of its candidates, `representative`
/// for those of the whole pool and of the `labelled` images; an error from it ends the query. The draw depends only on
/// the seed in the settings, the round and the order of `pool`.
pub fn propose<Id: Copy, E: Evidence<Id>>(
    pool: &[(Id, Scores)],
    labelled: &[Id],
    settings: &Settings,
    round: usize,
    mut evidence: E,
) -> Result<Vec<Proposal<Id>>, E::Error> {
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
                spread(&mut rest, ordered, settings.query_spread, &mut evidence)?;
            }
            Reason::MostUncertain
        }
        Order::Noisy => {
            let power = 2f64.powi(round.saturating_sub(1).min(9) as i32);
            let first = by_class(&rest, ordered / 2, &evidence, power, &mut rng);
            let scores: Vec<f64> = rest.iter().map(|(_, scores)| scores.by(score)).collect();
            let is_first: HashSet<usize> = first.iter().copied().collect();
            let then = with_noise(&scores, power, &mut rng).into_iter().filter(|place| !is_first.contains(place));
            rest = first.iter().copied().chain(then).map(|place| rest[place]).collect();
            Reason::MostUncertain
        }
        Order::Tiles => {
            let by_tile = |scores: &Scores, image: Id| match evidence.tile(image) {
                Some((_, variance)) => variance,
                None => scores.by(score),
            };
            rest.sort_by(|a, b| by_tile(&b.1, b.0).total_cmp(&by_tile(&a.1, a.0)));
            Reason::MostUncertain
        }
        Order::Representative => {
            let images = rest.iter().map(|(image, _)| *image).chain(labelled.iter().copied());
            let features = images.map(|image| evidence.features(image)).collect::<Result<Vec<_>, _>>()?;
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
    let proposal = |reason, (image, scores): (Id, Scores)| match evidence.tile(image) {
        Some((tile, variance)) if policy.order() == Order::Tiles => {
            Proposal { image, reason, score: variance, tile: Some(tile) }
        }
        _ => Proposal { image, reason, score: scores.by(score), tile: None },
    };
    let proposals =
        kinds.into_iter().map(|(picks, reason)| picks.into_iter().map(|pick| proposal(reason, pick)).collect());
    Ok(proposals.collect::<Vec<Vec<_>>>().concat())
}

/// Moves `wanted` of the first `candidates` × `wanted` images to the front: the first one, then repeatedly the one
/// farthest from those already picked (farthest-first traversal, Gonzalez, Theor. Comput. Sci. 38, 1985), by the cosine
/// distance of their features.
fn spread<Id: Copy, E: Evidence<Id>>(
    ordered: &mut [(Id, Scores)],
    wanted: usize,
    candidates: usize,
    evidence: &mut E,
) -> Result<(), E::Error> {
    let shortlist = (wanted * candidates).min(ordered.len());
    let unit = ordered[..shortlist].iter().map(|(image, _)| Ok(of_length_one(evidence.features(*image)?)));
    let unit: Vec<Vec<f32>> = unit.collect::<Result<_, E::Error>>()?;
    // For each position, the index of its features and its distance to everything before `place`; images without
    // features come last.
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

/// Maximum number of pseudo-labels per label, so that a network trained on few labels cannot outvote them.
const MOST_PER_LABEL: usize = 2;

/// Picks the images that receive pseudo-labels after `round`: the most certain ones in which the network found
/// something, by the score in the settings, lowest first. Their number is given by the settings for that round, but is
/// at most two per image `labelled` by then; none are picked if the network's standing bars it. `excluded` tells which
/// images are left out: the proposed and the rejected ones.
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

/// The indices of the first images of a query, picked for each class in turn: those whose pixels predicted as that
/// class have the highest variance, with noise (class strata, Lüth et al., arXiv 2601.13677). Empty if there is only
/// one class.
fn by_class<Id: Copy, E: Evidence<Id>>(
    pool: &[(Id, Scores)],
    wanted: usize,
    evidence: &E,
    power: f64,
    rng: &mut impl Rng,
) -> Vec<usize> {
    let variances: Vec<Vec<f64>> = pool.iter().map(|(image, _)| evidence.class_variances(*image)).collect();
    let classes = variances.iter().map(Vec::len).max().unwrap_or(0);
    if classes < 2 {
        return Vec::new();
    }
    let of = |class: usize| variances.iter().map(move |of| of.get(class).copied().unwrap_or(0.0)).collect::<Vec<_>>();
    let mut strata = Vec::new();
    for class in 0..classes {
        let scores = of(class);
        // An image in which the class is nowhere predicted says nothing of it.
        strata.push(with_noise(&scores, power, rng).into_iter().filter(move |place| scores[*place] > 0.0));
    }
    let mut picked = Vec::new();
    let mut seen = HashSet::new();
    while picked.len() < wanted {
        let before = picked.len();
        for stratum in &mut strata {
            if picked.len() < wanted
                && let Some(place) = stratum.find(|place| !seen.contains(place))
            {
                seen.insert(place);
                picked.push(place);
            }
        }
        if picked.len() == before {
            break;
        }
    }
    picked
}

/// A random order of indices in which each comes next with a probability proportional to its score raised to `power`:
/// sorted by the logarithm of the score plus Gumbel noise of scale 1 / `power` (power acquisition, Kirsch et al., arXiv
/// 2106.12059; with noise that fades over the rounds, Lüth et al., arXiv 2601.13677). Those with score 0 come last.
fn with_noise(scores: &[f64], power: f64, rng: &mut impl Rng) -> Vec<usize> {
    let key = |score: &f64| {
        let gumbel = -(-rng.random_range(f64::MIN_POSITIVE..1.0).ln()).ln();
        score.max(0.0).ln() + gumbel / power
    };
    let keys: Vec<f64> = scores.iter().map(key).collect();
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| keys[*b].total_cmp(&keys[*a]));
    order
}
