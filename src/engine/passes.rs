//! T stochastic passes over one image and their moments, accumulated where the passes are run and read back once.

use std::cell::RefCell;
use std::sync::Arc;

use burn::prelude::*;
use rayon::prelude::*;

use crate::domain::scores::Moments;
use crate::domain::settings::{Flips, Settings};
use crate::engine::EngineError;
use crate::engine::config::UNetConfig;
use crate::engine::dropout::McDropout;
use crate::engine::layers::network::Network;
use crate::engine::loss::probabilities;
use crate::engine::plan::PassPlan;
use crate::engine::read;
use crate::engine::unet::UNet;

/// Feature maps of one group of passes may take this much memory.
const GROUP_BYTES: usize = 256 << 20;

/// Specifies the dropout passes over an image.
#[derive(Clone, Copy, Debug)]
pub struct Sampling {
    /// How many.
    pub passes: usize,
    /// Equal seeds give equal dropout masks.
    pub seed: u64,
    /// The axes along which the image is mirrored: the passes are spread over the image and its mirror images, and each
    /// map is mirrored back.
    pub flips: Flips,
}

impl Sampling {
    /// Passes over the image as it is.
    pub fn plain(passes: usize, seed: u64) -> Self {
        Self { passes, seed, flips: Flips::None }
    }

    /// The passes given by the settings, for the image with this number and a network trained with these `flips`.
    pub(super) fn new(settings: &Settings, flips: Flips, image: u64) -> Self {
        let flips = if settings.passes_mirrored { flips } else { Flips::None };
        Self { passes: settings.passes, seed: image_seed(settings.seed, image), flips }
    }

    /// The mirrorings, each with its number of passes and its seed; those without any passes are left out.
    fn parts(self) -> Vec<(Mirroring, usize, u64)> {
        let all = (0..4).map(|way| (way, Mirroring { columns: way & 1 == 1, rows: way & 2 == 2 }));
        let is_allowed =
            |m: &Mirroring| (!m.columns || self.flips.left_right()) && (!m.rows || self.flips.top_bottom());
        let ways: Vec<(u64, Mirroring)> = all.filter(|(_, mirroring)| is_allowed(mirroring)).collect();
        let passes = |place: usize| (self.passes + ways.len() - 1 - place) / ways.len();
        let parts = ways.iter().enumerate().map(|(place, (way, m))| (*m, passes(place), self.seed ^ way << 61));
        parts.filter(|(_, passes, _)| *passes > 0).collect()
    }
}

/// Which axes are reversed. Its own inverse.
#[derive(Clone, Copy, Debug)]
struct Mirroring {
    rows: bool,
    columns: bool,
}

impl Mirroring {
    /// Mirrors maps `[batch, maps, rows, columns]`.
    fn tensor(self, maps: Tensor<4>) -> Tensor<4> {
        match (self.rows, self.columns) {
            (false, false) => maps,
            (true, false) => maps.flip([2]),
            (false, true) => maps.flip([3]),
            (true, true) => maps.flip([2, 3]),
        }
    }

    /// Mirrors maps `[maps, rows, columns]` on the host, in place.
    fn host(self, maps: &mut [f32], rows: usize, columns: usize) {
        for map in maps.chunks_exact_mut(rows * columns) {
            if self.columns {
                map.chunks_exact_mut(columns).for_each(<[f32]>::reverse);
            }
            if self.rows {
                for row in 0..rows / 2 {
                    let (upper, lower) = map.split_at_mut((rows - 1 - row) * columns);
                    upper[row * columns..][..columns].swap_with_slice(&mut lower[..columns]);
                }
            }
        }
    }
}

/// The seed of an image's passes: their masks depend only on the project's seed and the image, not on what else is
/// scored.
fn image_seed(seed: u64, image: u64) -> u64 {
    seed ^ image.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Accumulates the moments of passes, `[1, classes, rows, columns]` each, on the device.
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

    /// Merges two sets of passes (Chan, Golub & LeVeque, 1979: exact, and numerically stable where the variance is
    /// small relative to the mean).
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

/// Accumulates the moments of passes on the host, one pass at a time.
struct HostAccumulator {
    passes: usize,
    classes: usize,
    /// Mean and summed squared distance to it, `[classes, rows, columns]` each.
    mean: Vec<f32>,
    spread: Vec<f32>,
    entropy: Vec<f32>,
}

impl HostAccumulator {
    fn new(classes: usize, pixels: usize) -> Self {
        let zeros = |maps: usize| vec![0.0; maps * pixels];
        Self { passes: 0, classes, mean: zeros(classes), spread: zeros(classes), entropy: zeros(1) }
    }

    /// Adds one pass's probabilities, `[classes, rows, columns]` (Welford, Technometrics 1962).
    fn add(&mut self, p: &[f32]) {
        self.passes += 1;
        let share = 1.0 / self.passes as f32;
        let moments = self.mean.par_chunks_mut(PIXELS).zip(self.spread.par_chunks_mut(PIXELS));
        moments.zip(p.par_chunks(PIXELS)).for_each(|((mean, spread), p)| {
            for ((mean, spread), p) in mean.iter_mut().zip(spread).zip(p) {
                let delta = p - *mean;
                *mean += delta * share;
                *spread += delta * (p - *mean);
            }
        });
        add_entropy(p, &mut self.entropy, self.classes);
    }

    fn moments(self, config: &UNetConfig) -> Result<Moments, EngineError> {
        let n = self.passes as f32;
        let pixels = self.entropy.len();
        let class_sum = |i: usize| self.spread.iter().skip(i).step_by(pixels).sum::<f32>();
        let variance: Vec<f32> = (0..pixels).map(|i| class_sum(i) / n).collect();
        let mut predictive = vec![0.0; pixels];
        add_entropy(&self.mean, &mut predictive, self.classes);
        let mutual = predictive.iter().zip(&self.entropy).map(|(whole, each)| whole - each / n).collect();
        checked(Moments {
            width: config.columns,
            height: config.rows,
            classes: config.classes,
            mean: self.mean,
            variance,
            entropy: predictive,
            mutual_information: mutual,
        })
    }
}

/// Pixels per task of an element-wise pass.
const PIXELS: usize = 1 << 13;

/// Adds the entropy of `[classes, rows, columns]` probabilities to `sums`, as [`entropy`] has it.
fn add_entropy(p: &[f32], sums: &mut [f32], classes: usize) {
    let pixels = sums.len();
    let surprise = |p: f32| {
        let p = p.clamp(1e-7, 1.0 - 1e-7);
        p * p.ln()
    };
    sums.par_chunks_mut(PIXELS).enumerate().for_each(|(part, sums)| {
        for (i, sum) in sums.iter_mut().enumerate() {
            let at = part * PIXELS + i;
            let mut background = 1.0;
            for class in 0..classes {
                let p = p[class * pixels + at];
                background -= p;
                *sum -= surprise(p);
            }
            *sum -= surprise(background);
        }
    });
}

/// Probabilities `[classes, rows, columns]` of logits `[rows, columns, outputs]`, as [`probabilities`] has them.
fn host_probabilities(logits: &[f32], outputs: usize) -> Vec<f32> {
    if outputs == 1 {
        return logits.par_iter().with_min_len(PIXELS).map(|x| 1.0 / (1.0 + (-x).exp())).collect();
    }
    let pixels = logits.len() / outputs;
    let mut p = vec![0.0; (outputs - 1) * pixels];
    for (i, logits) in logits.chunks_exact(outputs).enumerate() {
        let most = logits.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = logits.iter().map(|x| (x - most).exp()).sum();
        for (class, x) in logits[1..].iter().enumerate() {
            p[class * pixels + i] = (x - most).exp() / sum;
        }
    }
    p
}

/// A trained network, ready for dropout passes.
#[derive(Clone, Debug)]
pub struct Passes {
    config: UNetConfig,
    way: Way,
}

/// How the passes are made.
#[derive(Clone, Debug)]
enum Way {
    /// On the CPU, without Burn between the layers.
    Host(Arc<Network>),
    /// On a graphics adapter, by Burn's operations.
    Device(Box<(UNet, PassPlan)>),
}

impl Passes {
    /// Prepares a network for dropout passes.
    pub fn new(network: &UNet, config: &UNetConfig) -> Result<Self, EngineError> {
        let way = if network.devices() == [Device::flex()] {
            Way::Host(Arc::new(Network::new(network, config)?))
        } else {
            Way::Device(Box::new((network.clone(), PassPlan::new(network, config))))
        };
        Ok(Self { config: config.clone(), way })
    }

    /// Runs the passes, calling `host` with the probabilities of each pass in turn, `[classes, rows, columns]`, or
    /// `device` with those of each group of passes, `[passes, classes, rows, columns]`. The image is `[1, channels,
    /// rows, columns]`.
    fn for_each(
        &self,
        image: Tensor<4>,
        sampling: Sampling,
        mut host: impl FnMut(Vec<f32>) -> Result<(), EngineError>,
        mut device: impl FnMut(Tensor<4>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let UNetConfig { rows, columns, .. } = self.config;
        for (mirroring, passes, seed) in sampling.parts() {
            let on_host = |mut p: Vec<f32>| {
                mirroring.host(&mut p, rows, columns);
                host(p)
            };
            let on_device = |p| device(mirroring.tensor(p));
            self.for_each_of(mirroring.tensor(image.clone()), (passes, seed), on_host, on_device)?;
        }
        Ok(())
    }

    /// The same, without mirroring.
    fn for_each_of(
        &self,
        image: Tensor<4>,
        (passes, seed): (usize, u64),
        mut host: impl FnMut(Vec<f32>) -> Result<(), EngineError>,
        mut device: impl FnMut(Tensor<4>) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let config = &self.config;
        let mut dropout = McDropout::new(config, seed);
        let (network, plan) = match &self.way {
            Way::Device(device) => (&device.0, &device.1),
            Way::Host(network) => {
                let outputs = config.outputs();
                let image = read(image.permute([0, 2, 3, 1]))?;
                return network.for_each_pass(image, [config.rows, config.columns], passes, &dropout, |logits| {
                    host(host_probabilities(logits, outputs))
                });
            }
        };
        let shared = dropout.leaves_encoder_alone().then(|| network.encode(image.clone(), &mut McDropout::off(config)));
        let mut left = passes;
        while left > 0 {
            let n = group(config).min(left);
            let features = match &shared {
                Some(features) => features.clone(),
                None => network.encode(image.clone().repeat_dim(0, n), &mut dropout),
            };
            device(probabilities(plan.decode(network, features, n, &mut dropout)))?;
            left -= n;
        }
        Ok(())
    }

    /// The moments of dropout passes over one image `[1, channels, rows, columns]`.
    pub fn moments(&self, image: Tensor<4>, sampling: Sampling) -> Result<Moments, EngineError> {
        let config = &self.config;
        let mut on_host = HostAccumulator::new(config.classes, config.rows * config.columns);
        let mut on_device: Option<Accumulator> = None;
        let host = |p: Vec<f32>| {
            on_host.add(&p);
            Ok(())
        };
        let device = |p| {
            let group = Accumulator::new(p);
            on_device = Some(match on_device.take() {
                None => group,
                Some(before) => before.join(group),
            });
            Ok(())
        };
        self.for_each(image, sampling, host, device)?;
        match on_device {
            Some(all) => unpack(read(all.maps())?, config),
            None if on_host.passes > 0 => on_host.moments(config),
            None => Err(EngineError::NoPasses),
        }
    }

    /// The probability maps themselves, `[passes, classes, rows, columns]`, with the masks that [`Passes::moments`] would
    /// draw.
    pub fn stack(&self, image: Tensor<4>, sampling: Sampling) -> Result<Vec<f32>, EngineError> {
        let all = RefCell::new(Vec::new());
        let keep = |p: Vec<f32>| {
            all.borrow_mut().extend(p);
            Ok(())
        };
        self.for_each(image, sampling, keep, |p| keep(read(p)?))?;
        Ok(all.into_inner())
    }
}

/// The probability maps of `passes` passes, run one by one through the whole network: the reference for
/// [`Passes::stack`].
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

/// Splits the maps of [`Accumulator::maps`].
fn unpack(mut maps: Vec<f32>, config: &UNetConfig) -> Result<Moments, EngineError> {
    let pixels = config.rows * config.columns;
    let mutual_information = maps.split_off((config.classes + 2) * pixels);
    let entropy = maps.split_off((config.classes + 1) * pixels);
    let variance = maps.split_off(config.classes * pixels);
    checked(Moments {
        width: config.columns,
        height: config.rows,
        classes: config.classes,
        mean: maps,
        variance,
        entropy,
        mutual_information,
    })
}

fn checked(moments: Moments) -> Result<Moments, EngineError> {
    if moments.variance.iter().any(|v| !v.is_finite()) {
        return Err(EngineError::NotFinite("the network's output"));
    }
    Ok(moments)
}
