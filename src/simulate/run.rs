//! One policy on one seed, round after round.
//!
//! Invariant: the state on disk is that after a whole round. What it does not hold follows from it and the seeds. A run
//! that has done all its rounds needs its model no more.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;
use serde::{Deserialize, Serialize};

use qualm::domain::honesty::{Honesty, Ledger};
use qualm::domain::metrics::Agreement;
use qualm::domain::prediction::Prediction;
use qualm::domain::query;
use qualm::domain::scores::{Moments, Scores};
use qualm::domain::settings::{Policy, Settings, Start};
use qualm::domain::split::{Member, draw_validation};
use qualm::engine::EngineError;
use qualm::engine::device::Device;
use qualm::engine::model::Model;
use qualm::engine::passes::image_seed;
use qualm::engine::sample::Sample;
use qualm::engine::train::{Trained, TrainingSet, train, validate};

use super::data::{Data, Image};
use super::{Experiment, Line, write_whole};

/// What is kept of a run, in `state/POLICY-SEED.json`.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// A line each round done.
    pub lines: Vec<Line>,
    /// Images labelled, by their place in the pool, and whether each is kept for validation.
    labelled: Vec<(usize, bool)>,
    /// Images that the last round's model labels.
    pseudo: Vec<usize>,
    /// The images of the pool that take part.
    pool: Vec<usize>,
}

/// One policy on one seed.
pub struct Run<'a> {
    data: &'a Data,
    /// `None`: the whole pool is labelled at once.
    policy: Option<Policy>,
    seed: u64,
    settings: Settings,
    device: &'a Device,
    state: State,
    folder: PathBuf,
    /// What the seed's first round gave, whatever the policy.
    first: PathBuf,
    model: Option<Model>,
}

/// The name of a run's policy in results.
pub fn name(policy: Option<Policy>) -> String {
    policy.map_or("full", Policy::word).to_owned()
}

impl<'a> Run<'a> {
    /// Begins a run, or goes on with one.
    pub fn begin(
        out: &Path,
        experiment: &Experiment,
        data: &'a Data,
        policy: Option<Policy>,
        seed: u64,
        device: &'a Device,
    ) -> Result<Self> {
        let settings = &experiment.settings;
        let settings = Settings {
            policy: policy.unwrap_or(Policy::Random),
            seed: settings.seed.wrapping_add(seed),
            ..settings.clone()
        };
        let folder = out.join("state").join(format!("{}-{seed}", name(policy)));
        let first = out.join("state").join(format!("first-{seed}"));
        let state = match std::fs::read(folder.with_extension("json")) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .with_context(|| format!("{}.json cannot be read; delete it to run it again", folder.display()))?,
            Err(_) => start(experiment, data, policy, &settings),
        };
        Ok(Self { data, policy, seed, settings, device, state, folder, first, model: None })
    }

    /// Rounds done.
    pub fn rounds(&self) -> usize {
        self.state.lines.len()
    }

    /// Queries, trains and measures; `None` where the pool is empty.
    pub fn round(&mut self) -> Result<Option<Line>> {
        let begun = Instant::now();
        let mut pseudo = Vec::new();
        if self.model.is_none() && self.rounds() > 0 {
            self.model = Some(Model::load(&self.model_folder(self.rounds() - 1), self.device)?);
        }
        if let Some(model) = self.model.clone() {
            let picks = self.query(&model)?;
            if picks.is_empty() {
                return Ok(None);
            }
            pseudo = self.pseudo_labels(&model)?;
        }
        let is_first = self.rounds() == 0 && self.policy.is_some();
        let known = if is_first { self.known_first()? } else { None };
        let line = match known {
            Some(line) => line,
            None => {
                let line = self.train(pseudo, begun)?;
                if is_first {
                    self.model.as_mut().expect("trained above").save(&self.first)?;
                    write_whole(&self.first.with_extension("json"), &serde_json::to_vec(&line)?)?;
                }
                line
            }
        };
        let folder = self.model_folder(self.rounds());
        self.model.as_mut().expect("trained above").save(&folder)?;
        self.state.lines.push(line.clone());
        write_whole(&self.folder.with_extension("json"), &serde_json::to_vec(&self.state)?)?;
        if let Some(before) = self.rounds().checked_sub(2) {
            // What is left over costs space only.
            let _ = std::fs::remove_dir_all(self.model_folder(before));
        }
        Ok(Some(line))
    }

    fn model_folder(&self, round: usize) -> PathBuf {
        self.folder.join(round.to_string())
    }

    /// The seed's first round, where another policy has trained it: it is the same for all.
    fn known_first(&mut self) -> Result<Option<Line>> {
        let Ok(bytes) = std::fs::read(self.first.with_extension("json")) else { return Ok(None) };
        let Ok(line) = serde_json::from_slice::<Line>(&bytes) else { return Ok(None) };
        self.model = Some(Model::load(&self.first, self.device)?);
        Ok(Some(Line { policy: name(self.policy), ..line }))
    }

    fn train(&mut self, pseudo: Vec<Sample>, begun: Instant) -> Result<Line> {
        let pseudo_count = pseudo.len();
        let side = |wanted: bool| {
            let chosen = self.state.labelled.iter().filter(move |(_, validation)| *validation == wanted);
            chosen.map(|(image, _)| self.data.pool[*image].sample.clone())
        };
        let set = TrainingSet {
            training: side(false).chain(pseudo).collect::<Vec<_>>(),
            validation: side(true).collect(),
            classes: self.data.classes,
            range: self.data.range,
        };
        let start = self.model.as_ref().filter(|_| self.settings.start == Start::Previous);
        let Trained { model, validation, .. } =
            train(&set, &self.settings, self.rounds() == 0, start, self.device, &mut ())?;
        let (agreement, honesty) = measure(&model, &self.data.test, &self.settings)?;
        self.model = Some(model);
        Ok(Line {
            policy: name(self.policy),
            seed: self.seed,
            round: self.rounds(),
            labelled: self.state.labelled.len(),
            pseudo: pseudo_count,
            validation_dice: validation.map(|measured| measured.mean.dice),
            test_dice: agreement.dice,
            test_jaccard: agreement.jaccard,
            ece: honesty.ece,
            error_auroc: honesty.error_auroc,
            seconds: begun.elapsed().as_secs_f64(),
        })
    }

    /// The images that nobody has labelled.
    fn unlabelled(&self) -> Vec<usize> {
        let labelled: HashSet<usize> = self.state.labelled.iter().map(|(image, _)| *image).collect();
        self.state.pool.iter().copied().filter(|image| !labelled.contains(image)).collect()
    }

    /// Labels what the policy asks for, and chooses what the network labels itself.
    fn query(&mut self, model: &Model) -> Result<Vec<usize>> {
        let pool = self.unlabelled();
        let bar = super::bar(pool.len(), "scoring the pool");
        let score = |image: usize| {
            bar.inc(1);
            // Where the scores decide nothing they are not computed.
            if self.settings.policy == Policy::Random {
                return Ok((image, Scores::default()));
            }
            Ok((image, self.moments(model, image)?.scores()))
        };
        let scores = pool.into_iter().map(score).collect::<Result<Vec<_>, EngineError>>()?;
        bar.finish_and_clear();
        let round = self.rounds();
        let features = |image: usize| model.features(&self.data.pool[image].sample.image);
        let seed = self.settings.seed.wrapping_add(round as u64);
        let picks: Vec<usize> =
            query::propose(&scores, &self.settings, seed, features)?.iter().map(|pick| pick.image).collect();
        let dice = self.state.lines.last().and_then(|line| line.validation_dice);
        let labelled = self.state.labelled.len();
        self.label(&picks);
        let group = |image: usize| self.data.pool[image].group.as_str();
        let kept = self.state.labelled.iter().filter(|(_, validation)| *validation);
        let kept: HashSet<&str> = kept.map(|(image, _)| group(*image)).collect();
        let excluded = |image: usize| picks.contains(&image) || kept.contains(group(image));
        self.state.pseudo = query::pseudo_label(&scores, &self.settings, dice, round, labelled, excluded);
        Ok(picks)
    }

    fn moments(&self, model: &Model, image: usize) -> Result<Moments, EngineError> {
        let seed = image_seed(self.settings.seed, image as u64);
        model.moments(&self.data.pool[image].sample.image, self.settings.passes, seed)
    }

    /// Takes the true masks of these images.
    fn label(&mut self, picks: &[usize]) {
        self.state.labelled.extend(sides(self.data, &self.state.labelled, picks, &self.settings));
    }

    /// The model's own labels of the images chosen for that.
    fn pseudo_labels(&self, model: &Model) -> Result<Vec<Sample>> {
        let sample = |image: &usize| -> Result<Option<Sample>> {
            let label = Prediction::of(&self.moments(model, *image)?).pseudo_label(self.settings.pseudo_variance);
            let weight = self.settings.pseudo_weight as f32;
            Ok(label.map(|label| Sample { label, weight, ..self.data.pool[*image].sample.clone() }))
        };
        self.state.pseudo.iter().filter_map(|image| sample(image).transpose()).collect()
    }
}

/// The first labelled images of a seed.
fn start(experiment: &Experiment, data: &Data, policy: Option<Policy>, settings: &Settings) -> State {
    let mut order: Vec<usize> = (0..data.pool.len()).collect();
    order.shuffle(&mut Pcg64Mcg::seed_from_u64(settings.seed));
    order.truncate(experiment.pool.unwrap_or(order.len()).max(experiment.initial));
    let initial = if policy.is_none() { &order } else { &order[..experiment.initial.min(order.len())] };
    let labelled = sides(data, &[], initial, settings);
    State { labelled, pool: order, ..State::default() }
}

/// The side of validation that each newly labelled image is on.
fn sides(data: &Data, before: &[(usize, bool)], new: &[usize], settings: &Settings) -> Vec<(usize, bool)> {
    let member = |image: usize, validation: Option<bool>| {
        let Image { group, foreground, .. } = &data.pool[image];
        Member { group: group.clone(), foreground: *foreground, validation }
    };
    let known = before.iter().map(|(image, validation)| member(*image, Some(*validation)));
    let members: Vec<Member> = known.chain(new.iter().map(|image| member(*image, None))).collect();
    let drawn = draw_validation(&members, settings.validation_share, settings.seed);
    new.iter().copied().zip(drawn.into_iter().skip(before.len())).collect()
}

/// Measures a model on the test images: without dropout for the agreement, with it for the doubt.
fn measure(model: &Model, test: &Vec<Sample>, settings: &Settings) -> Result<(Agreement, Honesty)> {
    let bar = super::bar(test.len(), "testing");
    let mut ledger = Ledger::default();
    for (number, sample) in test.iter().enumerate() {
        ledger.add(
            &model.moments(&sample.image, settings.passes, image_seed(settings.seed, number as u64))?,
            &sample.label,
        );
        bar.inc(1);
    }
    let agreement = validate(model, test)?;
    bar.finish_and_clear();
    Ok((agreement.context("the test set is empty")?.mean, ledger.honesty().context("the test set is empty")?))
}
