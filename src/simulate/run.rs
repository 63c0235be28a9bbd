//! One policy on one seed, round by round: a separate project, worked on as a user would, with the program's own rounds
//! and the true masks as the annotator.
//!
//! Invariant: the project is the record of what has been done, and each round's line is written once it is measured. An
//! interrupted run resumes from there.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use qualm::domain::edit::{Edit, Step};
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::metrics::{self, Counts, Measured};
use qualm::domain::prediction::Prediction;
use qualm::domain::scores::Moments;
use qualm::domain::settings::{Policy, Settings};
use qualm::domain::uncertainty::PixelCounts;
use qualm::engine::device::{self, SELF_CHECK_LIMIT};
use qualm::engine::model::Model;
use qualm::project::{ImagePlan, ImportPlan, Project};
use qualm::raster;
use qualm::worker::{DeviceChoice, Worker};

use super::data::Data;
use super::{Experiment, SimulatedRound, write_whole};
use crate::cli::{self, Job};

/// The annotator's work between two rounds.
#[derive(Clone, Copy)]
struct Effort {
    /// Pixels that the network got wrong.
    wrong: usize,
    /// Pixels labelled.
    pixels: usize,
}

/// One policy on one seed.
pub struct SimulationRun<'a> {
    data: &'a Data,
    experiment: &'a Experiment,
    /// `None`: the whole pool is labelled at once.
    policy: Option<Policy>,
    seed: u64,
    settings: Settings,
    on: &'a DeviceChoice,
    /// The project.
    root: PathBuf,
    /// The project with the seed's first round, shared by all policies.
    first: PathBuf,
    /// A line for each round done.
    pub lines: Vec<SimulatedRound>,
}

/// The name of a run's policy in results.
pub fn name(policy: Option<Policy>) -> String {
    policy.map_or("full", Policy::word).to_owned()
}

impl<'a> SimulationRun<'a> {
    /// Begins a run, or resumes it.
    pub fn begin(
        out: &Path,
        experiment: &'a Experiment,
        data: &'a Data,
        policy: Option<Policy>,
        seed: u64,
        on: &'a DeviceChoice,
    ) -> Result<Self> {
        let settings = Settings {
            policy: policy.unwrap_or(Policy::Random),
            seed: experiment.settings.seed.wrapping_add(seed),
            ..experiment.settings.clone()
        };
        let root = out.join("state").join(format!("{}-{seed}", name(policy)));
        let first = out.join("state").join(format!("first-{seed}"));
        let lines = read_lines(&root)?.unwrap_or_default();
        Ok(Self { data, experiment, policy, seed, settings, on, root, first, lines })
    }

    /// Labels what the policy asks for, runs a round and measures it; `None` where nothing is left to label.
    pub fn round(&mut self) -> Result<Option<SimulatedRound>> {
        if !self.root.exists() {
            self.begin_project()?;
        }
        let mut effort = None;
        let rounds = Project::open(&self.root)?.rounds()?;
        if rounds.len() == self.lines.len() {
            // A run interrupted between training and scoring still has the proposals of the previous round.
            if rounds.last().is_some_and(|round| round.report.scored == 0) {
                run_job(&self.root, self.on, Job::score())?;
            }
            let Some(known) = self.label_proposed()? else { return Ok(None) };
            effort = known;
            let mut project = Project::open(&self.root)?;
            project.set_settings(&self.asking(rounds.len(), project.settings()?)?)?;
            drop(project);
            run_job(&self.root, self.on, Job::round())?;
        }
        let is_shared = self.lines.is_empty() && self.policy.is_some();
        let known = if is_shared { read_lines(&self.first)?.and_then(|lines| lines.into_iter().next()) } else { None };
        let line = match known {
            Some(line) => SimulatedRound { policy: name(self.policy), ..line },
            None => {
                let line = self.measure(effort)?;
                if is_shared {
                    write_lines(&self.first, std::slice::from_ref(&line))?;
                }
                line
            }
        };
        self.lines.push(line.clone());
        write_lines(&self.root, &self.lines)?;
        Ok(Some(line))
    }

    /// Makes the run's project, with its first round done and its first query made.
    fn begin_project(&self) -> Result<()> {
        let Some(policy) = self.policy else {
            return made(&self.root, |root| self.train_first(root, usize::MAX));
        };
        if !self.first.exists() {
            made(&self.first, |root| self.train_first(root, self.experiment.initial))?;
        }
        made(&self.root, |root| {
            copy(&self.first, root)?;
            let mut project = Project::open(root)?;
            project.set_settings(&Settings { policy, ..project.settings()? })?;
            drop(project);
            // The first round's scores are already known: only the query depends on the policy.
            run_job(root, self.on, Job::score())
        })
    }

    /// Makes a project of the seed's pool with some images labelled, and runs its first round.
    fn train_first(&self, root: &Path, labelled: usize) -> Result<()> {
        let mut pool = self.data.pool.clone();
        pool.shuffle(&mut Pcg64Mcg::seed_from_u64(self.settings.seed));
        pool.truncate(self.experiment.pool.unwrap_or(pool.len()));
        let initial = &pool[..labelled.min(pool.len())];
        let of_pool: HashSet<&Path> = pool.iter().map(|target| &*self.data.masks.targets[*target].path).collect();
        let images = self.data.images.iter().filter(|image| of_pool.contains(&*image.path)).cloned().collect();
        let images = ImagePlan::of(self.data.folder.clone(), images);
        let plan = ImportPlan { images, masks: None };
        let settings = self.asking(0, Settings { policy: Policy::Random, ..self.settings.clone() })?;
        let (mut project, _) = Project::create(root, &plan, &settings, &|_, _| {})?;
        if let Some(rule) = &self.data.groups {
            project.set_groups(rule, false)?;
        }
        if self.experiment.representative && labelled < pool.len() {
            let (query_no_detection, query_uncertain, query_random) = (0, 0, labelled);
            project.set_settings(&Settings {
                query_no_detection,
                query_uncertain,
                query_random,
                ..settings.clone()
            })?;
            drop(project);
            run_job(root, self.on, Job::propose())?;
            project = Project::open(root)?;
            let proposed = self.proposed(&project)?;
            project.import_masks_of(&self.data.masks, &proposed, &|_, _| {})?;
            project.set_settings(&settings)?;
        } else {
            project.import_masks_of(&self.data.masks, initial, &|_, _| {})?;
        }
        drop(project);
        run_job(root, self.on, Job::round())
    }

    /// The proposed images that have no label yet.
    fn proposed(&self, project: &Project) -> Result<Vec<usize>> {
        let targets: HashMap<PathBuf, usize> =
            self.data.pool.iter().map(|target| (self.data.file(*target), *target)).collect();
        let images = project.images()?.into_iter().filter(|image| image.proposed.is_some() && !image.labelled);
        Ok(images.filter_map(|image| targets.get(&image.path).copied()).collect())
    }

    /// The settings with the number of images to propose after the round of this index.
    fn asking(&self, round: usize, mut settings: Settings) -> Result<Settings> {
        if let Some(count) = self.experiment.queries.get(round) {
            super::share_out(&mut settings, *count)?;
        }
        Ok(settings)
    }

    /// Labels the proposed images, or their proposed tiles, with their true masks. Returns the effort, as far as it is
    /// known; `None` if no image is proposed.
    fn label_proposed(&self) -> Result<Option<Option<Effort>>> {
        let mut project = Project::open(&self.root)?;
        if !project.images()?.iter().any(|image| image.proposed.is_some()) {
            return Ok(None);
        }
        // A run that was broken off may have labelled some already: what all of them cost is not known then.
        let is_resumed = project.images()?.iter().any(|image| image.proposed.is_some() && image.labelled);
        let chosen = self.proposed(&project)?;
        let model = self.model(&project)?;
        let records = project.images()?;
        let (mut wrong, mut pixels, mut whole) = (0, 0, Vec::new());
        for target in &chosen {
            let mut mask = self.data.mask(*target)?;
            let (_, predicted) = self.predict(&model, *target, &mask)?;
            let record = records.iter().find(|record| record.path == self.data.file(*target));
            if let Some((record, tile)) = record.and_then(|record| Some((record, record.tile?))) {
                mask = mask.only(tile);
                let label = project.label(record.id)?;
                let step = Step { edit: Edit::between(&label.mask, &mask).unwrap_or_default(), accepts: true };
                project.commit_step(record.id, label.history.done(), &step)?;
            } else {
                whole.push(*target);
            }
            let known = mask.pixels().iter().zip(predicted.pixels()).filter(|(label, _)| **label != UNLABELLED);
            wrong += known.clone().filter(|(label, predicted)| label != predicted).count();
            pixels += known.count();
        }
        project.import_masks_of(&self.data.masks, &whole, &|_, _| {})?;
        Ok(Some((pixels > 0 && !is_resumed).then_some(Effort { wrong, pixels })))
    }

    /// The model that the program would predict with.
    fn model(&self, project: &Project) -> Result<Model> {
        let round = project.active_round()?.context("the project has no round")?;
        // A server may have been connected anew since.
        let (device, _) = device::choose(self.on, SELF_CHECK_LIMIT)?;
        Ok(Model::load(&project.model_folder(round.report.round), &device)?)
    }

    /// The model's prediction for an image: the moments at the model's size, and the mask at the image's.
    fn predict(&self, model: &Model, target: usize, mask: &Mask) -> Result<(Moments, Mask)> {
        let frame = raster::frame(&raster::read(&self.data.file(target), 0)?, &model.frame_spec());
        let sampling = model.sampling(&self.settings, target as u64);
        let moments = model.moments_of(&frame, sampling, self.settings.tile_overlap, || Ok(()))?;
        let predicted = Arc::new(Prediction::of(&moments)).mask(0.5, mask.width(), mask.height());
        Ok((moments, predicted))
    }

    /// Measures the project's model on the test images.
    fn measure(&self, effort: Option<Effort>) -> Result<SimulatedRound> {
        let project = Project::open(&self.root)?;
        let labelled_pixels = match (self.lines.last(), effort) {
            (None, _) => {
                let images = project.images()?;
                Some(images.iter().filter(|image| image.labelled).map(|image| image.width * image.height).sum())
            }
            (Some(before), Some(effort)) => before.labelled_pixels.map(|before| before + effort.pixels),
            (Some(_), None) => None,
        };
        let (model, rounds) = (self.model(&project)?, project.rounds()?);
        let Some(report) = rounds.last().map(|round| &round.report) else { bail!("the project has no round") };
        let bar = super::bar(self.data.test.len(), "testing");
        let mut counts = PixelCounts::default();
        let mut images = Vec::new();
        for target in &self.data.test {
            let mask = self.data.mask(*target)?;
            let (moments, predicted) = self.predict(&model, *target, &mask)?;
            counts.add(&moments, mask.resized(moments.width, moments.height).pixels());
            let mut counts = vec![Counts::default(); moments.classes];
            metrics::count(&mut counts, predicted.pixels(), mask.pixels());
            images.push(counts);
            bar.inc(1);
        }
        bar.finish_and_clear();
        let agreement = Measured::of(&images).context("no image of the test set has an object")?.mean;
        let uncertainty = counts.quality().context("the test set is empty")?;
        Ok(SimulatedRound {
            policy: name(self.policy),
            seed: self.seed,
            round: self.lines.len(),
            labelled: report.labelled,
            corrected: effort.map(|effort| effort.wrong as f64 / effort.pixels as f64),
            labelled_pixels,
            pseudo: report.pseudo,
            validation_dice: report.validation.map(|validation| validation.dice),
            test_dice: agreement.dice,
            test_jaccard: agreement.jaccard,
            ece: uncertainty.ece,
            error_auroc: uncertainty.error_auroc,
            aurc: uncertainty.aurc,
            steps: report.steps,
            seconds: report.seconds.train,
        })
    }
}

/// Fills a temporary folder and renames it to `root` once it is complete.
fn made(root: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let beside = root.with_extension("part");
    if beside.exists() {
        std::fs::remove_dir_all(&beside).with_context(|| format!("{} cannot be removed", beside.display()))?;
    }
    fill(&beside)?;
    std::fs::rename(&beside, root).with_context(|| format!("{} cannot be made", root.display()))
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in walkdir::WalkDir::new(from) {
        let entry = entry?;
        let target = to.join(entry.path().strip_prefix(from).expect("below the folder"));
        if entry.file_type().is_dir() {
            std::fs::create_dir_all(&target)
        } else {
            std::fs::copy(entry.path(), &target).map(drop)
        }
        .with_context(|| format!("{} cannot be written; check that there is space", target.display()))?;
    }
    Ok(())
}

fn run_job<T>(root: &Path, device: &DeviceChoice, job: Job<T>) -> Result<()> {
    let worker = Worker::start(|| {});
    cli::open(&worker, root.to_owned())?;
    cli::run_job(&worker, device, job)?;
    Ok(())
}

/// The lines stored next to a run's project.
pub fn read_lines(root: &Path) -> Result<Option<Vec<SimulatedRound>>> {
    let path = root.with_extension("json");
    let Ok(bytes) = std::fs::read(&path) else { return Ok(None) };
    let lines = serde_json::from_slice(&bytes);
    Ok(Some(lines.with_context(|| format!("{} cannot be read; delete it to measure again", path.display()))?))
}

fn write_lines(root: &Path, lines: &[SimulatedRound]) -> Result<()> {
    write_whole(&root.with_extension("json"), &serde_json::to_vec(lines)?)
}
