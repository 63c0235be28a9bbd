//! T stochastic passes over one image, their moments accumulated on the device, one read-back an image.

use burn::prelude::*;

use crate::domain::scores::Moments;
use crate::engine::EngineError;
use crate::engine::dropout::McDropout;
use crate::engine::loss::probabilities;
use crate::engine::plan::Plan;
use crate::engine::unet::{UNet, UNetConfig};

/// Feature maps of one group of passes may take this much memory.
const GROUP_BYTES: usize = 256 << 20;

/// Moments of a growing set of passes, `[1, classes, rows, columns]` each, all on the device.
struct Accumulator {
    passes: usize,
    mean: Tensor<4>,
    /// Sum over the passes of the squared distance to the mean.
    spread: Tensor<4>,
    /// Sum over the passes of the entropy, `[1, 1, rows, columns]`.
    entropy: Tensor<4>,
}

impl Accumulator {
    fn new(p: Tensor<4>) -> Self {
        let passes = p.dims()[0];
        let mean = p.clone().mean_dim(0);
        let spread = (p.clone() - mean.clone()).square().sum_dim(0);
        Self { passes, mean, spread, entropy: entropy(p).sum_dim(0) }
    }

    /// Joins two sets of passes (Chan, Golub & LeVeque, 1979: exact, and safe where variance is small beside the mean).
    fn join(self, other: Self) -> Self {
        let passes = self.passes + other.passes;
        let share = other.passes as f32 / passes as f32;
        let delta = other.mean - self.mean.clone();
        Self {
            passes,
            mean: self.mean + delta.clone() * share,
            spread: self.spread + other.spread + delta.square() * (share * self.passes as f32),
            entropy: self.entropy + other.entropy,
        }
    }

    /// `[1, classes + 3, rows, columns]`: the means, then variance, predictive entropy, mutual information.
    fn maps(self) -> Tensor<4> {
        let n = self.passes as f32;
        let variance = self.spread.sum_dim(1) / n;
        let predictive = entropy(self.mean.clone());
        let mutual = predictive.clone() - self.entropy / n;
        Tensor::cat(vec![self.mean, variance, predictive, mutual], 1)
    }
}

/// Entropy in nats over the classes and the background, `[batch, 1, rows, columns]`; probabilities are kept 1e-7 away
/// from 0 and 1.
fn entropy(p: Tensor<4>) -> Tensor<4> {
    let surprise = |p: Tensor<4>| {
        let p = p.clamp(1e-7, 1.0 - 1e-7);
        p.clone() * p.log()
    };
    let background = p.clone().sum_dim(1).neg() + 1.0;
    (surprise(p).sum_dim(1) + surprise(background)).neg()
}

/// Moments of a stack of probability maps `[passes, classes, rows, columns]`, as maps on the device.
pub fn moments_of(stack: Tensor<4>) -> Tensor<4> {
    Accumulator::new(stack).maps()
}

/// How many passes to run at once: as many as fit [`GROUP_BYTES`] of feature maps.
fn group(config: &UNetConfig) -> usize {
    let widest = 2 * (config.widths[0] + config.widths.get(1).copied().unwrap_or(0));
    (GROUP_BYTES / (config.rows * config.columns * widest * 4)).max(1)
}

/// A trained network, ready for dropout passes.
#[derive(Clone, Debug)]
pub struct Passes {
    network: UNet,
    config: UNetConfig,
    plan: Plan,
}

impl Passes {
    /// Makes a network ready.
    pub fn new(network: &UNet, config: &UNetConfig) -> Self {
        Self { network: network.clone(), config: config.clone(), plan: Plan::new(network) }
    }

    /// Calls `each` with the probabilities of one group of passes after another, `[passes, classes, rows, columns]`.
    fn for_each_group(
        &self,
        image: Tensor<4>,
        passes: usize,
        seed: u64,
        mut each: impl FnMut(Tensor<4>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let (network, config) = (&self.network, &self.config);
        let mut dropout = McDropout::new(config, seed);
        let shared = dropout.leaves_encoder_alone().then(|| network.encode(image.clone(), &mut McDropout::off(config)));
        let mut left = passes;
        while left > 0 {
            let n = group(config).min(left);
            let features = match &shared {
                Some(features) => features.clone(),
                None => network.encode(image.clone().repeat_dim(0, n), &mut dropout),
            };
            each(probabilities(self.plan.decode(network, features, n, &mut dropout)))?;
            left -= n;
        }
        Ok(())
    }

    /// The moments of `passes` dropout passes over one image `[1, channels, rows, columns]`. Equal seeds give equal masks.
    pub fn moments(&self, image: Tensor<4>, passes: usize, seed: u64) -> Result<Moments, EngineError> {
        let mut all: Option<Accumulator> = None;
        self.for_each_group(image, passes, seed, |p| {
            let group = Accumulator::new(p);
            all = Some(match all.take() {
                None => group,
                Some(before) => before.join(group),
            });
            Ok(())
        })?;
        unpack(read(all.ok_or(EngineError::NoPasses)?.maps())?, &self.config)
    }

    /// The probability maps themselves, `[passes, classes, rows, columns]`, with the masks that [`Passes::moments`] would
    /// draw.
    pub fn stack(&self, image: Tensor<4>, passes: usize, seed: u64) -> Result<Vec<f32>, EngineError> {
        let mut all = Vec::new();
        self.for_each_group(image, passes, seed, |p| {
            all.extend(read(p)?);
            Ok(())
        })?;
        Ok(all)
    }
}

/// The probability maps of `passes` passes, one after another through the whole network: what [`Passes::stack`] is held
/// against.
pub fn looped(
    network: &UNet,
    config: &UNetConfig,
    image: Tensor<4>,
    passes: usize,
    seed: u64,
) -> Result<Vec<f32>, EngineError> {
    let mut dropout = McDropout::new(config, seed);
    let mut all = Vec::new();
    for _ in 0..passes {
        all.extend(read(probabilities(network.forward(image.clone(), &mut dropout)))?);
    }
    Ok(all)
}

/// Brings a tensor to the host.
pub fn read<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>, EngineError> {
    tensor.try_into_vec_as::<f32>().map_err(|e| EngineError::Device(format!("{e:?}")))
}

/// Splits the maps of [`Accumulator::maps`].
fn unpack(mut maps: Vec<f32>, config: &UNetConfig) -> Result<Moments, EngineError> {
    let pixels = config.rows * config.columns;
    let mutual_information = maps.split_off((config.classes + 2) * pixels);
    let entropy = maps.split_off((config.classes + 1) * pixels);
    let variance = maps.split_off(config.classes * pixels);
    if variance.iter().any(|v| !v.is_finite()) {
        return Err(EngineError::NotFinite("the network's output"));
    }
    Ok(Moments {
        width: config.columns,
        height: config.rows,
        classes: config.classes,
        mean: maps,
        variance,
        entropy,
        mutual_information,
    })
}
