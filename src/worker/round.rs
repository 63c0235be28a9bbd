//! The engine's part of a round: read, train, validate, score, propose. Nothing here touches the database.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::domain::alignment::Alignment;
use crate::domain::metrics::Measured;
use crate::domain::noise;
use crate::domain::round::{ImageDice, Report, Seconds, Standing, TrainingEnd};
use crate::domain::settings::{Geometry, Order, Settings, Start};
use crate::domain::size::Size;
use crate::domain::study::ImageId;
use crate::domain::tiles::{FrameSpec, Origin};
use crate::domain::uncertainty::{PixelCounts, UncertaintyQuality};
use crate::domain::value_range::ValueRange;
use crate::engine::config::UNetConfig;
use crate::engine::model::Model;
use crate::engine::sample::{Sample, Shape};
use crate::engine::samples::{SampleFile, SampleSource};
use crate::engine::train::{Trained, TrainingProgress, TrainingSet, train, validate};
use crate::engine::{Control, EngineError, Flow};
use crate::project::Finished;
use crate::project::cache::Inputs;
use crate::worker::context::JobContext;
use crate::worker::images::{Problem, for_each_image};
use crate::worker::pool_image::PoolImage;
use crate::worker::scoring::{Pool, Scoring, score};
use crate::worker::{DeviceChoice, Phase, Progress};

/// With fewer validation images, their Dice is reported as unreliable.
const FEW: usize = 3;
/// If the final loss is above this fraction of the first, the network has hardly learned anything.
const UNLEARNED: f64 = 0.8;
/// Maximum number of labels whose alignment with their images is checked.
const MOST_ALIGNED: usize = 200;
/// Number of steps in which training progress is reported.
const SHARES: usize = 100;

/// A compressed label, because a plan holds the labels of all labelled images.
pub struct Packed(Vec<u8>);

impl Packed {
    /// Compresses a label, `[rows, columns]`.
    pub fn new(label: &[u8]) -> Self {
        Self(lz4_flex::block::compress_prepend_size(label))
    }

    fn label(&self) -> Vec<u8> {
        lz4_flex::block::decompress_size_prepended(&self.0).expect("packed by this program, in memory")
    }
}

/// One labelled image: the label at the network's size.
pub struct Labelled {
    /// The image.
    pub image: PoolImage,
    /// Class per pixel, `[rows, columns]`, of the whole image or of tiles, each with its origin.
    pub labels: Vec<(Origin, Packed)>,
    /// Its weight in the loss.
    pub weight: f32,
}

/// The inputs of a round, from the project.
pub struct RoundPlan {
    /// Its number.
    pub round: usize,
    /// The project's settings.
    pub settings: Settings,
    /// The names of the classes, class 1 first.
    pub classes: Vec<String>,
    /// Training images; those with pseudo-labels come last.
    pub training: Vec<Labelled>,
    /// Number of training images with pseudo-labels.
    pub pseudo: usize,
    /// Validation images.
    pub validation: Vec<Labelled>,
    /// Images to score.
    pub pool: Pool,
    /// The active model's folder and its round's report.
    pub active: Option<(PathBuf, Report)>,
    /// The folder of a network to import instead of training one.
    pub imported: Option<PathBuf>,
    /// Where the new model is written.
    pub folder: PathBuf,
    /// The image values that become 0 and 1 for the network.
    pub range: ValueRange,
    /// Labelled images that are left out, with the reasons.
    pub problems: Vec<Problem>,
    /// Notes for the user on the labels and on automatically chosen settings.
    pub notes: Vec<String>,
}

/// Runs a round. It is recorded as soon as training has ended; the returned report also covers the scoring.
pub fn run(context: &mut JobContext, plan: RoundPlan) -> Result<(Report, Scoring), EngineError> {
    let begun = Instant::now();
    let settings = &plan.settings;
    let mut problems = plan.problems;
    let root = &plan.pool.root;
    let network = UNetConfig::new(settings, plan.classes.len());
    let shape = network.input();
    let spec = FrameSpec {
        size: (settings.geometry == Geometry::Resize).then_some(Size::new(shape.columns, shape.rows)),
        is_grey: shape.channels == 1,
        channels: settings.image_channels.clone(),
        range: plan.range,
    };
    let inputs = Inputs::new(root, spec);
    let (training_names, training) = read_samples(context, root, &plan.training, &inputs, shape, &mut problems)?;
    let machines = &plan.training[plan.training.len() - plan.pseudo..];
    let unread: HashSet<ImageId> = problems.iter().map(|(image, _)| *image).collect();
    let pseudo = machines.iter().filter(|l| !l.labels.is_empty() && !unread.contains(&l.image.id)).count();
    let (validation_names, validation) = read_samples(context, root, &plan.validation, &inputs, shape, &mut problems)?;
    let misplaced = match settings.geometry {
        // Tiles are not checked, because their surroundings are unknown.
        Geometry::Tiles => None,
        Geometry::Auto | Geometry::Resize => misplaced(&training, training_names.len() - pseudo, shape)?,
    };
    let set = TrainingSet { training, validation, classes: plan.classes.len(), range: plan.range };
    context.begin(Phase::Device, 0);
    let (device, mut reports) = context.device_for(&network)?;
    let device_name = reports.pop().map(|report| report.to_string()).unwrap_or_default();
    let refused =
        reports.into_iter().filter_map(|report| Some(format!("{report} was not used: {}", report.refused.as_ref()?)));
    let start = match &plan.active {
        Some((folder, _)) if settings.start == Start::Previous => Some(context.model(folder)?),
        _ => None,
    };
    if start
        .as_ref()
        .is_some_and(|start| *start.device() != device && matches!(context.choice(), DeviceChoice::Server(_)))
    {
        // Burn would wait for ever for tensors of a session that has ended.
        return Err(EngineError::Device("the connection was renewed".to_owned()));
    }
    context.begin(Phase::Training, SHARES);
    let training_begun = Instant::now();
    let trained = match &plan.imported {
        None => train(&set, settings, plan.round == 1, start.as_ref(), &device, context)?,
        Some(folder) => {
            let model = context.on_files(|| Model::import(folder, &device))?;
            let validation = validate(&model, &set.validation, || context.check_cancelled())?;
            taken_over(model, validation, settings)
        }
    };
    let train_s = context.worked(training_begun);
    let mut model = trained.model;
    // An engine that was given up on must not write where another is at work.
    context.check_cancelled()?;
    context.on_files(|| model.save(&plan.folder))?;
    let measured = trained.validation.unwrap_or_default();
    let validation = (!measured.dice.is_empty()).then_some(measured.mean);
    let named = |(image, dice)| ImageDice { image, dice };
    let mut report = Report {
        round: plan.round,
        labelled: training_names.len() + validation_names.len() - pseudo,
        pseudo,
        train_loss: trained.curve.last().map_or(0.0, |point| point.loss),
        validation,
        classes: measured.classes,
        class_names: plan.classes.clone(),
        imported: plan.imported.is_some(),
        validation_images: validation_names.into_iter().zip(measured.dice).map(named).collect(),
        uncertainty: quality(context, &model, &set.validation, settings)?,
        scored: 0,
        proposed: Vec::new(),
        pseudo_labelled: 0,
        problems: problems.iter().map(|(_, reason)| reason.clone()).collect(),
        notes: plan.notes.into_iter().chain(refused).collect(),
        active: true,
        model: model.identity().to_owned(),
        device: device_name,
        seconds: Seconds { train: train_s, score: 0.0, total: begun.elapsed().as_secs_f64() },
        end: trained.end,
        steps: trained.steps,
        curve: trained.curve,
    };
    if start.is_some() && !trained.is_continued {
        report.notes.push(
            "the network's architecture has changed since the active round: training started from new weights"
                .to_owned(),
        );
    }
    report.notes.extend(misplaced.map(|place| {
        format!("the masks may be misaligned: the edges in the images match them better {place}; check some labels over their images")
    }));
    if settings.policy.order() == Order::Tiles && settings.geometry != Geometry::Tiles {
        report
            .notes
            .push("images are resized, not cut into tiles: policy uncertain-tiles proposes whole images".to_owned());
    }
    report.notes.extend(remarks(&report, settings.geometry));
    let active = plan.active.as_ref();
    report.active = active.is_none_or(|(_, before)| noise::may_replace(before, &report, settings.dice_tolerance));
    let standing = Standing::of(active.filter(|_| !report.active).map_or(&report, |(_, before)| before));
    if settings.policy.is_ceal()
        && (1..=plan.round).contains(&settings.pseudo_from)
        && let Some(reason) = standing.bars_labelling(settings)
    {
        report.notes.push(format!("no pseudo-labels: {reason}"));
    }
    let settings_used = Settings { batch: trained.batch, ..settings.clone() };
    context.record(Finished { report: report.clone(), settings: settings_used })?;
    // If the new model does not become active, the pool is ranked by the active one.
    let scorer = match active {
        Some((folder, _)) if !report.active => context.model(folder)?,
        _ => model,
    };
    let mut scoring = score(context, &scorer, &plan.pool, settings, standing, plan.round)?;
    scoring.problems.splice(0..0, problems);
    scoring.write_into(&plan.pool, &mut report);
    report.seconds.total = begun.elapsed().as_secs_f64();
    Ok((report, scoring))
}

/// Validates a network that was trained elsewhere.
fn taken_over(model: Model, validation: Option<Measured>, settings: &Settings) -> Trained {
    let end = TrainingEnd::Whole;
    Trained { model, curve: Vec::new(), validation, end, steps: 0, is_continued: true, batch: settings.batch }
}

/// Remarks for the user on how a round went.
fn remarks(report: &Report, geometry: Geometry) -> Vec<String> {
    let mut remarks = Vec::new();
    match report.end {
        TrainingEnd::Whole | TrainingEnd::Longer => {}
        TrainingEnd::Flat => remarks.push("training ended early: the network had stopped improving".to_owned()),
        TrainingEnd::StillRising => remarks.push(
            "the network was still improving when training ended: continue training, or train longer (seconds, or steps)".to_owned(),
        ),
    }
    match (report.validation, report.validation_images.len()) {
        (Some(_), 1..FEW) => remarks.push(
            "validation Dice comes from fewer than three images and may be far off: label more images".to_owned(),
        ),
        (Some(_), _) => {}
        (None, 0) if report.imported => remarks.push(
            "the network was not measured here: no image is held out for validation before a round is trained here"
                .to_owned(),
        ),
        (None, 0) => remarks.push("no validation: label at least four images, of two groups or more".to_owned()),
        (None, images) => {
            remarks.push(format!("no validation: none of the {images} validation labels has an object"));
        }
    }
    if report.is_poor() {
        let has_hardly_fallen = match report.curve.as_slice() {
            [first, .., last] => last.loss > UNLEARNED * first.loss,
            _ => false,
        };
        let cause = if has_hardly_fallen {
            let tiles = match geometry {
                Geometry::Tiles => "",
                Geometry::Auto | Geometry::Resize => "; where structures are thin, set geometry=tiles",
            };
            format!(
                "the loss hardly fell in {} steps; train longer (seconds, or steps), or lower the learning rate \
                 (learning_rate){tiles}",
                report.steps
            )
        } else {
            "label more images similar to those kept for validation, train longer (seconds, or steps), and check some labels \
             over their images"
                .to_owned()
        };
        remarks.push(format!("the network segments poorly so far: {cause}"));
    }
    remarks
}

/// The position at which the user's labels would fit the images better, or `None` if the evidence is not clear.
fn misplaced(training: &SampleFile, humans: usize, shape: Shape) -> Result<Option<String>, EngineError> {
    let mut alignment = Alignment::new(shape.columns, shape.rows);
    for place in (0..training.len()).step_by(training.len().div_ceil(MOST_ALIGNED).max(1)) {
        let sample = training.get(place)?;
        if sample.number < humans {
            alignment.add(&sample.image, &sample.label);
        }
    }
    Ok(alignment.better().map(|place| alignment.in_words(place)))
}

/// Measures uncertainty quality on the validation images.
fn quality(
    context: &mut JobContext,
    model: &Model,
    validation: &SampleFile,
    settings: &Settings,
) -> Result<Option<UncertaintyQuality>, EngineError> {
    let mut progress = context.begin(Phase::Validating, validation.len());
    let begun = Instant::now();
    let mut counts = PixelCounts::default();
    for number in 0..validation.len() {
        let sample = validation.get(number)?;
        let moments = model.moments(&sample.image, model.sampling(settings, number as u64))?;
        counts.add(&moments, &sample.label);
        progress.done += 1;
        progress.elapsed_s = context.worked(begun);
        context.between_batches(&progress)?;
    }
    Ok(counts.quality())
}

/// Reads the samples of the labelled images. Also returns the names of the images that could be read.
fn read_samples(
    context: &mut JobContext,
    root: &Path,
    labelled: &[Labelled],
    inputs: &Inputs,
    shape: Shape,
    problems: &mut Vec<Problem>,
) -> Result<(Vec<String>, SampleFile), EngineError> {
    let images: Vec<PoolImage> = labelled.iter().map(|labelled| labelled.image.clone()).collect();
    let labels: HashMap<ImageId, &Labelled> = labelled.iter().map(|l| (l.image.id, l)).collect();
    let (mut names, mut samples) = (Vec::new(), SampleFile::new(&root.join("cache"), shape)?);
    let inputs = inputs.clone();
    let read = move |image: &PoolImage| inputs.get(image.id, &image.path, image.page);
    for_each_image(context, &images, read, Phase::Reading, problems, |_, image, input| {
        let Labelled { labels, weight, .. } = labels[&image.id];
        for (origin, label) in labels {
            let image = input.cut(*origin, shape.columns, shape.rows);
            samples.push(&Sample { image, label: label.label(), weight: *weight, number: names.len() })?;
        }
        // An image without any labels is used neither for training nor for validation.
        if !labels.is_empty() {
            names.push(image.name.clone());
        }
        Ok(())
    })?;
    Ok((names, samples))
}

impl Control for JobContext {
    fn training(&mut self, now: &TrainingProgress) -> Result<Flow, EngineError> {
        if self.curve.len() != now.curve.len() {
            self.curve = now.curve.clone();
        }
        let progress = Progress {
            done: (now.share * SHARES as f64) as usize,
            loss: now.loss.is_finite().then_some(now.loss),
            curve: now.curve.clone(),
            elapsed_s: (now.seconds - self.paused_for.as_secs_f64()).max(0.0),
            ..Progress::new(self.job(), Phase::Training, SHARES)
        };
        self.between_batches(&progress)?;
        Ok(if self.is_to_finish() { Flow::Finish } else { Flow::On })
    }

    fn paused_s(&self) -> f64 {
        self.paused_for.as_secs_f64()
    }
}
