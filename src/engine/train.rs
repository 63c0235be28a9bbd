//! Training: epochs of augmented batches under Adam, validation after each.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

use burn::optim::{AdamConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64Mcg;

use crate::domain::metrics::{self, Counts, Measured};
use crate::domain::round::EpochPoint;
use crate::domain::settings::{Loss, Schedule, Settings};
use crate::domain::value_range::ValueRange;
use crate::engine::dropout::McDropout;
use crate::engine::loss::loss;
use crate::engine::model::{Description, Model};
use crate::engine::passes::read;
use crate::engine::sample::{HostBatch, Sample, Statistics, augmented_batch};
use crate::engine::samples::Samples;
use crate::engine::unet::{UNet, UNetConfig};
use crate::engine::{Control, EngineError, Flow, panic_text};

/// Where training stands, told after each batch.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingProgress {
    /// Epochs in all.
    pub epochs: usize,
    /// Images trained on so far, over all epochs.
    pub images_done: usize,
    /// Images of all epochs.
    pub images: usize,
    /// Mean loss of the epoch so far.
    pub loss: f64,
    /// One point a finished epoch.
    pub curve: Vec<EpochPoint>,
    /// Seconds since the first batch.
    pub seconds: f64,
}

/// A trained model and how it came about.
pub struct Trained {
    /// The model.
    pub model: Model,
    /// One point an epoch.
    pub curve: Vec<EpochPoint>,
    /// Agreement of the weights kept with the validation images.
    pub validation: Option<Measured>,
    /// Images in a step: fewer than the settings say where those did not fit the device's memory.
    pub batch: usize,
}

/// What to train on.
pub struct TrainingSet<S = Vec<Sample>> {
    /// Images learned from.
    pub training: S,
    /// Images only measured on.
    pub validation: S,
    /// Classes besides the background.
    pub classes: usize,
    /// The values that are 0 and 1 in the images.
    pub range: ValueRange,
}

/// Trains a network for `epochs` on `device` (without autodiff), from `start`'s weights where its shape is the one
/// wanted, else from random ones. `control` is told after each batch and may cancel, or end
/// training with what it has by then.
pub fn train<S: Samples>(
    set: &TrainingSet<S>,
    settings: &Settings,
    epochs: usize,
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
    let network = match start.filter(|model| model.description.network == config) {
        Some(model) => model.network.clone().to_device(&tape).train(),
        None => config.init(settings.seed, &tape),
    };
    let mut trainer = Trainer::new(network, &config, settings);
    let statistics = Statistics::of(samples, config.channels)?;
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed ^ 0x7261_696e);
    let mut order: Vec<usize> = (0..samples.len()).collect();
    let mut progress = TrainingProgress {
        epochs,
        images_done: 0,
        images: epochs * samples.len(),
        loss: f64::NAN,
        curve: Vec::new(),
        seconds: 0.0,
    };
    let begun = Instant::now();
    let description = Description::new(config.clone(), statistics.clone(), settings, set.range);
    let model_of = |network: &UNet| Model::new(description.clone(), network.valid(), device.clone());
    let mut highest: Option<(f64, usize)> = None;
    let mut kept = None;
    let mut size = settings.batch;
    let mut finish = false;
    for epoch in 1..=epochs {
        order.shuffle(&mut rng);
        let (mut loss_sum, mut images) = (0.0, 0);
        in_batches(&order, &mut size, |batch| {
            if finish {
                return Ok(());
            }
            let batch = batch.iter().map(|&i| samples.get(i)).collect::<Result<Vec<Cow<Sample>>, _>>()?;
            let batch: Vec<&Sample> = batch.iter().map(|sample| &**sample).collect();
            trainer.learning_rate = learning_rate(settings, progress.images_done as f64 / progress.images as f64);
            let host = augmented_batch(&batch, config.input(), &statistics, settings, &mut rng);
            let number = trainer.step(host)?;
            if !number.is_finite() {
                return Err(EngineError::LossNotFinite { epoch });
            }
            loss_sum += number * batch.len() as f64;
            images += batch.len();
            progress.images_done += batch.len();
            progress.loss = loss_sum / images as f64;
            progress.seconds = begun.elapsed().as_secs_f64();
            finish = control.training(&progress)? == Flow::Finish;
            Ok(())
        })?;
        let network = trainer.network.clone();
        let validation = validate(&model_of(&network), &set.validation)?;
        progress.curve.push(EpochPoint {
            epoch,
            loss: loss_sum / images as f64,
            dice: validation.as_ref().map(|v| v.mean.dice),
        });
        finish |= control.training(&progress)? == Flow::Finish;
        let dice = validation.as_ref().map_or(0.0, |v| v.mean.dice);
        let measured = validation.is_some();
        if highest.is_none_or(|(highest, _)| dice > highest) {
            highest = Some((dice, epoch));
        }
        let (_, risen) = highest.expect("an epoch was measured");
        // Without validation images no epoch is better than another: the last one is kept, and none is left out.
        if risen == epoch || !measured || !settings.keep_best {
            kept = Some((network, validation));
        }
        let is_over = finish || measured && settings.patience > 0 && epoch - risen >= settings.patience;
        if is_over {
            break;
        }
    }
    let (network, validation) = kept.ok_or(EngineError::NothingToLearn)?;
    Ok(Trained { model: model_of(&network), curve: progress.curve, validation, batch: size })
}

/// The step size once `done` of a round's training, 0 to 1, is done.
fn learning_rate(settings: &Settings, done: f64) -> f64 {
    match settings.schedule {
        Schedule::Constant => settings.learning_rate,
        Schedule::Cosine => settings.learning_rate * (1.0 + (std::f64::consts::PI * done).cos()) / 2.0,
    }
}

/// Calls `step` with one batch of `items` after another, at most `size` each. Where the device's memory does not hold a
/// batch, `size` is halved, for good.
pub fn in_batches(
    items: &[usize],
    size: &mut usize,
    mut step: impl FnMut(&[usize]) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut left = items;
    while !left.is_empty() {
        let (batch, later) = left.split_at((*size).min(left.len()));
        match step(batch) {
            Err(EngineError::OutOfMemory(reason)) if batch.len() > 1 => {
                *size = batch.len().div_ceil(2);
                tracing::warn!(batch = *size, "a smaller batch, for lack of memory: {reason}");
            }
            result => {
                result?;
                left = later;
            }
        }
    }
    Ok(())
}

/// What a device says, by error or panic, when its memory is full: wgpu's words and CubeCL's.
fn speaks_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    ["out of memory", "outofmemory", "device memory", "allocate buffer", "buffertoobig"]
        .iter()
        .any(|w| text.contains(w))
}

/// A network in training.
pub(super) struct Trainer {
    network: UNet,
    config: UNetConfig,
    optimizer: ModuleOptimizer,
    dropout: McDropout,
    loss: Loss,
    /// Step size of Adam for the next step.
    pub learning_rate: f64,
    tape: Device,
}

impl Trainer {
    /// Of a network on a device with autodiff.
    pub fn new(network: UNet, config: &UNetConfig, settings: &Settings) -> Self {
        Self {
            tape: network.devices().remove(0),
            network,
            config: config.clone(),
            optimizer: AdamConfig::new().init(),
            dropout: McDropout::new(config, settings.seed ^ 0x6472_6f70),
            loss: settings.loss,
            learning_rate: settings.learning_rate,
        }
    }

    /// One step of Adam; gives the loss before it. Where that is not finite, or the device's memory is full, no step is
    /// made.
    pub fn step(&mut self, host: HostBatch) -> Result<f64, EngineError> {
        // Neither weights nor optimizer change before the step is whole.
        let stepped = catch_unwind(AssertUnwindSafe(|| self.try_step(host)));
        self.dropout.advance(0); // A pass that broke off begins anew.
        match stepped {
            Ok(Err(EngineError::Device(reason))) if speaks_of_memory(&reason) => Err(EngineError::OutOfMemory(reason)),
            Ok(result) => result,
            Err(panic) if speaks_of_memory(&panic_text(&*panic)) => Err(EngineError::OutOfMemory(panic_text(&*panic))),
            Err(panic) => resume_unwind(panic),
        }
    }

    fn try_step(&mut self, host: HostBatch) -> Result<f64, EngineError> {
        let UNetConfig { channels, rows, columns, .. } = self.config;
        let batch = host.labels.len() / (rows * columns);
        let shape = |maps: usize| [batch, maps, rows, columns];
        let x = Tensor::from_data(TensorData::new(host.images, shape(channels)), &self.tape);
        let labels = Tensor::from_data(TensorData::new(host.labels, shape(1)), &self.tape);
        let weights = Tensor::from_data(TensorData::new(host.weights, [batch, 1, 1, 1]), &self.tape);
        let value = loss(self.loss, self.network.forward(x, &mut self.dropout), labels, weights);
        let number = f64::from(read(value.clone())?[0]);
        if number.is_finite() {
            let gradients = GradientsParams::from_grads(value.backward(), &self.network);
            self.network = self.optimizer.step(self.learning_rate, self.network.clone(), gradients);
        }
        Ok(number)
    }
}

/// Agreement of the network without dropout, at probability 0.5, with labels of the network's size, for each image in the
/// order of their numbers; `None` of no samples.
pub fn validate(model: &Model, samples: &impl Samples) -> Result<Option<Measured>, EngineError> {
    let mut images: BTreeMap<usize, Vec<Counts>> = BTreeMap::new();
    for place in 0..samples.len() {
        let sample = samples.get(place)?;
        let predicted = model.plain(&sample.image)?.mask(0.5);
        let none = || vec![Counts::default(); model.description.network.classes];
        metrics::count(images.entry(sample.number).or_insert_with(none), &predicted, &sample.label);
    }
    Ok(Measured::of(&images.into_values().collect::<Vec<_>>()))
}
