//! Scores the unlabelled images, and queries the next ones to label.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::Instant;

use rayon::prelude::*;

use crate::domain::prediction::Prediction;
use crate::domain::query::{self, Evidence, Proposal};
use crate::domain::round::{Proposed, Report, Standing};
use crate::domain::scores::Scores;
use crate::domain::settings::{Geometry, Settings};
use crate::domain::size::Size;
use crate::domain::study::ImageId;
use crate::domain::tiles::{FrameSpec, Tile};
use crate::engine::EngineError;
use crate::engine::model::Model;
use crate::engine::sample::Shape;
use crate::project::cache::{self, Inputs, Key};
use crate::worker::Phase;
use crate::worker::context::JobContext;
use crate::worker::images::{Problem, for_each_image};
use crate::worker::pool_image::PoolImage;

/// The pool of unlabelled images.
pub struct Pool {
    /// The project's folder.
    pub root: PathBuf,
    /// The images.
    pub images: Vec<PoolImage>,
    /// Images of the pool that must not receive pseudo-labels.
    pub barred: HashSet<ImageId>,
    /// The labelled images that can be read.
    pub labelled: Vec<PoolImage>,
}

/// The inputs of a scoring.
pub struct ScorePlan {
    /// The newest round's report, to which the scoring is added.
    pub report: Report,
    /// The active model's folder.
    pub folder: PathBuf,
    /// Its performance on the validation images.
    pub standing: Standing,
    /// The project's settings.
    pub settings: Settings,
    /// Images to score.
    pub pool: Pool,
}

/// The result of scoring the pool.
pub struct Scoring {
    /// The scores of every scored image.
    pub scores: Vec<(ImageId, Scores)>,
    /// Images to label next.
    pub proposals: Vec<Proposal<ImageId>>,
    /// Images that receive pseudo-labels, from the predictions cached under `key`.
    pub pseudo: Vec<ImageId>,
    /// The cache key of the predictions.
    pub key: Key,
    /// Predictive variance above which pixels of the pseudo-labels stay unlabelled.
    pub pseudo_variance: f64,
    /// Images that could not be read.
    pub problems: Vec<Problem>,
    /// Duration in seconds.
    pub seconds: f64,
}

/// Evidence for the query about one image, taken from its prediction.
struct Seen {
    tile: Option<(Tile, f64)>,
    class_variances: Vec<f64>,
}

/// Evidence for the query about the images of a pool.
struct PoolEvidence<'a> {
    context: &'a mut JobContext,
    model: &'a Model,
    images: HashMap<ImageId, &'a PoolImage>,
    /// Whole images, resized to the network's input.
    whole: Inputs,
    seen: HashMap<ImageId, Seen>,
}

impl Evidence<ImageId> for PoolEvidence<'_> {
    type Error = EngineError;

    fn features(&mut self, image: ImageId) -> Result<Vec<f32>, EngineError> {
        self.context.check_cancelled()?;
        // An image that can no longer be read has no features, and comes last.
        let frame = self.whole.get(image, &self.images[&image].path, self.images[&image].page);
        frame.map_or(Ok(Vec::new()), |frame| self.model.features(&frame.values))
    }

    fn tile(&self, image: ImageId) -> Option<(Tile, f64)> {
        self.seen.get(&image)?.tile
    }

    fn class_variances(&self, image: ImageId) -> Vec<f64> {
        self.seen.get(&image).map_or(Vec::new(), |seen| seen.class_variances.clone())
    }
}

impl Scoring {
    /// Writes the results into the report of the round.
    pub fn write_into(&self, pool: &Pool, report: &mut Report) {
        let name = |id: ImageId| pool.images.iter().find(|i| i.id == id).map_or(String::new(), |i| i.name.clone());
        let proposed =
            |p: &Proposal<ImageId>| Proposed { image: name(p.image), reason: p.reason, score: p.score, tile: p.tile };
        report.scored = self.scores.len();
        report.proposed = self.proposals.iter().map(proposed).collect();
        report.problems = self.problems.iter().map(|(_, reason)| reason.clone()).collect();
        report.seconds.score = self.seconds;
    }
}

/// Scores the pool with `model`, whose standing is given, and proposes images from it. Each prediction is sent to be
/// cached, so that predictions from an interrupted scoring are not computed again.
pub fn score(
    context: &mut JobContext,
    model: &Model,
    pool: &Pool,
    settings: &Settings,
    standing: Standing,
    round: usize,
) -> Result<Scoring, EngineError> {
    let begun = Instant::now();
    let key = Key::new(model.identity(), settings);
    let mut scoring = Scoring {
        scores: Vec::new(),
        proposals: Vec::new(),
        pseudo: Vec::new(),
        key: key.clone(),
        pseudo_variance: settings.pseudo_variance,
        problems: Vec::new(),
        seconds: 0.0,
    };
    let by_tiles = model.description.geometry == Geometry::Tiles;
    let Shape { rows, columns, .. } = model.input();
    let seen = |image: &PoolImage, prediction: &Prediction| {
        let tile = prediction.most_uncertain_tile(Size::new(image.width, image.height), Size::new(columns, rows));
        Seen {
            tile: by_tiles.then_some(tile),
            class_variances: prediction.class_variances(model.description.network.classes),
        }
    };
    let known = |image: &PoolImage| {
        let known = cache::prediction(&pool.root, &key, image.id)?;
        Some((known.scores, seen(image, &known)))
    };
    let (mut all_seen, mut left) = (HashMap::new(), Vec::new());
    for (image, known) in pool.images.iter().zip(pool.images.par_iter().map(known).collect::<Vec<_>>()) {
        match known {
            Some((scores, seen)) => {
                scoring.scores.push((image.id, scores));
                all_seen.insert(image.id, seen);
            }
            None => left.push(image.clone()),
        }
    }
    let inputs = Inputs::new(&pool.root, model.frame_spec());
    let read = move |image: &PoolImage| inputs.get(image.id, &image.path, image.page);
    for_each_image(context, &left, read, Phase::Scoring, &mut scoring.problems, |context, image, input| {
        let moments = model.predict(&input, settings, image.id.0 as u64, || context.check_cancelled())?;
        let prediction = Prediction::of(&moments);
        scoring.scores.push((image.id, prediction.scores));
        all_seen.insert(image.id, seen(image, &prediction));
        context.store(&key, image.id, prediction);
        Ok(())
    })?;
    scoring.scores.sort_unstable_by_key(|(image, _)| *image);
    let labelled: Vec<ImageId> = pool.labelled.iter().map(|image| image.id).collect();
    let evidence = PoolEvidence {
        context,
        model,
        images: pool.images.iter().chain(&pool.labelled).map(|image| (image.id, image)).collect(),
        whole: Inputs::new(&pool.root, FrameSpec { size: Some(Size::new(columns, rows)), ..model.frame_spec() }),
        seen: all_seen,
    };
    scoring.proposals = query::propose(&scoring.scores, &labelled, settings, round, evidence)?;
    let taken: HashSet<ImageId> =
        scoring.proposals.iter().map(|p| p.image).chain(pool.barred.iter().copied()).collect();
    scoring.pseudo = query::pseudo_label(&scoring.scores, settings, standing, round, pool.labelled.len(), |image| {
        taken.contains(&image)
    });
    scoring.seconds = context.worked(begun);
    Ok(scoring)
}
