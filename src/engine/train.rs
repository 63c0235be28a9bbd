//! Training: augmented batches, optimised by Adam and evaluated on the validation images from time to time.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use burn::module::{ModuleVisitor, Param};
use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::tensor::Gradients;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use crate::domain::metrics::{self, Counts, Measured};
use crate::domain::round::{EpochPoint, TrainingEnd};
use crate::domain::settings::{Budget, Encoder, Loss, Settings};
use crate::domain::value_range::ValueRange;
use crate::engine::augment::{HostBatch, augmented_batch};
use crate::engine::config::UNetConfig;
use crate::engine::course::{Course, Spent};
use crate::engine::dropout::McDropout;
use crate::engine::loss::loss;
use crate::engine::memory::MemoryWatch;
use crate::engine::model::{Description, Model};
use crate::engine::read;
use crate::engine::sample::Sample;
use crate::engine::samples::SampleSource;
use crate::engine::statistics::Statistics;
use crate::engine::unet::UNet;
use crate::engine::{Control, EngineError, Flow, panic_text};

/// The progress of training, reported after each batch.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingProgress {
    /// Fraction completed, from 0 to 1, as far as the end of training is known.
    pub share: f64,
    /// Steps so far.
    pub steps: usize,
    /// Mean loss since the last point of the curve.
    pub loss: f64,
    /// One point each time the network was measured.
    pub curve: Vec<EpochPoint>,
    /// Seconds since the first batch.
    pub seconds: f64,
}

/// A trained model and how it was obtained.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// One point each time the network was measured.
    pub curve: Vec<EpochPoint>,
    /// Agreement of the kept weights' predictions with the labels of the validation images.
    pub validation: Option<Measured>,
    /// How training ended.
    pub end: TrainingEnd,
    /// Steps of the optimizer.
    pub steps: usize,
    /// Whether training started from the given weights.
    pub is_continued: bool,
    /// Images per step: fewer than in the settings if those did not fit in the device's memory.
    pub batch: usize,
}

/// What to train on.
pub struct TrainingSet<S = Vec<Sample>> {
    /// Images to train on.
    pub training: S,
    /// Images used for validation only.
    pub validation: S,
    /// Classes besides the background.
    pub classes: usize,
    /// The values that were mapped to 0 and 1 in the images.
    pub range: ValueRange,
}

/// Trains a network on `device` (without autodiff) for as long as the settings say, from `start`'s weights if its shape
/// matches, otherwise from new ones. `control` is called after each batch and may cancel, or end training with what it
/// has by then.
pub fn train<S: SampleSource>(
    set: &TrainingSet<S>,
    settings: &Settings,
    is_first: bool,
    start: Option<&Model>,
    device: &Device,
    control: &mut dyn Control,
) -> Result<Trained, EngineError> {
    let config = UNetConfig::new(settings, set.classes);
    let samples = &set.training;
    if samples.is_empty() {
        return Err(EngineError::NothingToLearn);
    }
    let tape = device.clone().autodiff();
    let start = start.filter(|model| config.takes_weights_of(&model.description.network));
    let network = match start {
        Some(model) => model.network.clone().to_device(&tape).train(),
        None => config.init(settings.seed, &tape),
    };
    let mut trainer = Trainer::new(network, &config, settings);
    let statistics = match config.encoder {
        Encoder::Unet => Statistics::of(samples, config.channels)?,
        Encoder::Lite0 => Statistics::of_photographs(config.channels),
    };
    let description = Description::new(config.clone(), statistics.clone(), settings, set.range);
    let model_of = |network: &UNet| Model::new(description.clone(), network.valid(), device.clone());
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed ^ 0x7261_696e);
    let mut order: Vec<usize> = (0..samples.len()).collect();
    let mut course = Course::new(settings, samples.len(), set.validation.len(), is_first);
    let mut progress = TrainingProgress { share: 0.0, steps: 0, loss: f64::NAN, curve: Vec::new(), seconds: 0.0 };
    let (begun, paused_before) = (Instant::now(), control.paused_s());
    let (mut spent, mut size, mut finish) = (Spent::default(), settings.batch, false);
    let (mut loss_sum, mut images) = (0.0, 0);
    let mut highest: Option<((bool, f64), usize)> = None;
    let mut kept = None;
    'training: for epoch in 1.. {
        order.shuffle(&mut rng);
        let mut left = order.as_slice();
        while !left.is_empty() {
            let (batch, later) = left.split_at(size.min(left.len()));
            left = later;
            trainer.learning_rate = course.learning_rate(course.share(spent));
            in_batches(batch, &mut size, |batch| {
                let batch = batch.iter().map(|&i| samples.get(i)).collect::<Result<Vec<Cow<Sample>>, _>>()?;
                let batch: Vec<&Sample> = batch.iter().map(|sample| &**sample).collect();
                let host = augmented_batch(&batch, config.input(), &statistics, settings, &mut rng);
                let number = trainer.step(host)?;
                if !number.is_finite() {
                    return Err(EngineError::LossNotFinite { epoch });
                }
                loss_sum += number * batch.len() as f64;
                images += batch.len();
                spent.images += batch.len();
                spent.steps += 1;
                Ok(())
            })?;
            progress.seconds = begun.elapsed().as_secs_f64();
            spent.seconds = progress.seconds - (control.paused_s() - paused_before);
            let share = course.share(spent);
            progress.loss = loss_sum / images as f64;
            progress.steps = spent.steps;
            progress.share = (share / course.last()).min(1.0);
            finish |= control.training(&progress)? == Flow::Finish;
            if !finish && !course.is_due(spent, left.is_empty()) {
                continue;
            }
            let network = trainer.network.clone();
            let validation = validate(&model_of(&network), &set.validation, || control.training(&progress).map(drop))?;
            let dice = validation.as_ref().map(|measured| measured.mean.dice);
            course.measured(spent, progress.loss, dice);
            progress.curve.push(EpochPoint { epoch, loss: progress.loss, dice });
            (loss_sum, images) = (0.0, 0);
            finish |= control.training(&progress)? == Flow::Finish;
            let point = progress.curve.len();
            // Any candidate comes before what is none.
            let standing = (course.is_candidate(share), dice.unwrap_or(0.0));
            if highest.is_none_or(|(highest, _)| standing > highest) {
                highest = Some((standing, point));
            }
            let (_, risen) = highest.expect("the network was measured");
            let is_measured = validation.is_some();
            // Without validation images no point is better than another, so the last one is always kept.
            if risen == point || !is_measured || !settings.keep_best {
                kept = Some((network, validation));
            }
            let is_patient = settings.budget != Budget::Epochs || settings.patience == 0 || !is_measured;
            if finish || course.is_over(share) || !is_patient && point - risen >= settings.patience {
                break 'training;
            }
        }
    }
    let (network, validation) = kept.ok_or(EngineError::NothingToLearn)?;
    let (end, steps) = (course.end(), spent.steps);
    let (model, curve, is_continued) = (model_of(&network), progress.curve, start.is_some());
    Ok(Trained { model, curve, validation, end, steps, is_continued, batch: size })
}

/// Calls `step` with successive batches of `items`, at most `size` each. If a batch does not fit in the device's
/// memory, `size` is halved permanently.
pub fn in_batches(
    items: &[usize],
    size: &mut usize,
    mut step: impl FnMut(&[usize]) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let (mut left, mut failed) = (items, None);
    while !left.is_empty() {
        let (batch, later) = left.split_at((*size).min(left.len()));
        match step(batch) {
            Err(EngineError::OutOfMemory(reason)) if batch.len() > 1 => {
                failed.get_or_insert(batch.len());
                *size = batch.len().div_ceil(2);
                tracing::warn!(batch = *size, "a smaller batch, for lack of memory: {reason}");
            }
            // Not every driver frees what a step took that failed.
            Err(EngineError::OutOfMemory(reason)) if let Some(first) = failed => {
                return Err(EngineError::OutOfMemory(format!(
                    "{reason}, after a batch of {first} images had failed. The device may still hold the memory of that \
                     attempt: start the program again with a batch of {} or fewer",
                    first.div_ceil(2)
                )));
            }
            result => {
                result?;
                left = later;
            }
        }
    }
    Ok(())
}

/// A network in training.
pub(super) struct Trainer {
    network: UNet,
    config: UNetConfig,
    optimizer: ModuleOptimizer,
    dropout: McDropout,
    loss: Loss,
    /// Fraction of the learning rate that is used for the encoder.
    encoder_rate: f64,
    /// Step size of Adam for the next step.
    pub learning_rate: f64,
    tape: Device,
    /// Whether a step has fit the device's memory.
    fits: bool,
}

/// The Euclidean norm of each parameter's gradient.
struct GradientNorms<'a> {
    gradients: &'a Gradients,
    norms: Vec<Tensor<1>>,
}

impl ModuleVisitor for GradientNorms<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        self.norms.extend(parameter.val().grad(self.gradients).map(|gradient| gradient.square().sum().sqrt()));
    }
}

impl Trainer {
    /// Creates a trainer for a network on a device with autodiff.
    pub fn new(mut network: UNet, config: &UNetConfig, settings: &Settings) -> Self {
        let encoder_rate = match config.encoder {
            Encoder::Unet => 1.0,
            Encoder::Lite0 => settings.encoder_rate,
        };
        if encoder_rate == 0.0 {
            network.encoder = network.encoder.no_grad();
        }
        Self {
            encoder_rate,
            tape: network.devices().remove(0),
            network,
            config: config.clone(),
            optimizer: AdamConfig::new().init(),
            dropout: McDropout::new(config, settings.seed ^ 0x6472_6f70),
            loss: settings.loss,
            learning_rate: settings.learning_rate,
            fits: false,
        }
    }

    /// Takes one step of Adam and returns the loss before it. If the loss is not finite, or the device is out of
    /// memory, no step is taken.
    pub fn step(&mut self, host: HostBatch) -> Result<f64, EngineError> {
        // Neither weights nor optimizer change before the gradients are whole.
        let watch = MemoryWatch::begin();
        let stepped = catch_unwind(AssertUnwindSafe(|| self.try_step(host)));
        self.dropout.advance(0); // A pass that broke off begins anew.
        let out_of_memory = match &stepped {
            Ok(Err(EngineError::Device(reason))) => watch.explain(reason),
            Ok(Ok(_) | Err(_)) => None,
            Err(panic) => watch.explain(&panic_text(&**panic)),
        };
        if let Some(reason) = out_of_memory {
            // What the step took is freed before a smaller one is tried; the errors of its operations are known.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                let _ = self.tape.sync();
                self.tape.memory_cleanup();
            }));
            return Err(EngineError::OutOfMemory(reason));
        }
        stepped.unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// The Euclidean norm of each parameter's gradient of the loss of a batch.
    pub fn gradient_norms(&mut self, host: HostBatch) -> Result<Vec<f32>, EngineError> {
        let gradients = self.loss(host).backward();
        self.norms(&gradients)
    }

    fn norms(&self, gradients: &Gradients) -> Result<Vec<f32>, EngineError> {
        let mut found = GradientNorms { gradients, norms: Vec::new() };
        self.network.visit(&mut found);
        read(Tensor::cat(found.norms, 0))
    }

    fn loss(&mut self, host: HostBatch) -> Tensor<1> {
        let UNetConfig { channels, rows, columns, .. } = self.config;
        let batch = host.labels.len() / (rows * columns);
        let shape = |maps: usize| [batch, maps, rows, columns];
        let x = Tensor::from_data(TensorData::new(host.images, shape(channels)), &self.tape);
        let labels = Tensor::from_data(TensorData::new(host.labels, shape(1)), &self.tape);
        let weights = Tensor::from_data(TensorData::new(host.weights, [batch, 1, 1, 1]), &self.tape);
        loss(self.loss, self.network.forward(x, &mut self.dropout), labels, weights)
    }

    fn try_step(&mut self, host: HostBatch) -> Result<f64, EngineError> {
        let value = self.loss(host);
        let number = f64::from(read(value.clone())?[0]);
        if number.is_finite() {
            let mut gradients = value.backward();
            if !self.fits {
                // A graphics device computes later: whether there was memory for the gradients shows once they are read.
                // The first batch is the largest.
                self.norms(&gradients)?;
                self.fits = true;
            }
            if self.encoder_rate != 1.0 {
                let encoder = GradientsParams::from_module(&mut gradients, &self.network.encoder);
                let rate = self.encoder_rate * self.learning_rate;
                self.network = self.optimizer.step(rate, self.network.clone(), encoder);
            }
            let gradients = GradientsParams::from_grads(gradients, &self.network);
            self.network = self.optimizer.step(self.learning_rate, self.network.clone(), gradients);
        }
        Ok(number)
    }
}

/// Agreement of the network's predictions, without dropout and at probability 0.5, with labels at the network's size,
/// for each image in order of its number; `None` if there are no samples.
///
/// `between` is called before each sample; an error ends it.
pub fn validate(
    model: &Model,
    samples: &impl SampleSource,
    mut between: impl FnMut() -> Result<(), EngineError>,
) -> Result<Option<Measured>, EngineError> {
    let mut images: BTreeMap<usize, Vec<Counts>> = BTreeMap::new();
    for place in 0..samples.len() {
        between()?;
        let sample = samples.get(place)?;
        let predicted = model.plain(&sample.image)?.mask(0.5);
        let none = || vec![Counts::default(); model.description.network.classes];
        metrics::count(images.entry(sample.number).or_insert_with(none), &predicted, &sample.label);
    }
    Ok(Measured::of(&images.into_values().collect::<Vec<_>>()))
}
