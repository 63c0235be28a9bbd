//! Monte-Carlo dropout (Gal & Ghahramani, arXiv 1506.02142).
//!
//! Burn's own dropout layer does nothing on a device without autodiff, so a network in inference would show no
//! uncertainty at all. This one draws its masks on the host: a seed gives the same masks on every device.

use burn::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::settings::DropoutPlace;
use crate::engine::config::UNetConfig;

/// Dropout that is active whether or not gradients are tracked, unless it is switched off.
///
/// The mask of a pass at one place depends only on the seed, the number of the pass and the place: passes give the same
/// maps however they are grouped into batches.
#[derive(Debug)]
pub struct McDropout {
    place: DropoutPlace,
    rate: f64,
    seed: Option<u64>,
    /// Passes done.
    pass: u64,
    /// Places done in the passes that are running.
    layer: u64,
}

impl McDropout {
    /// Dropout as configured in the network, with masks drawn from `seed`.
    pub fn new(config: &UNetConfig, seed: u64) -> Self {
        Self { place: config.dropout_place, rate: config.dropout, seed: Some(seed), pass: 0, layer: 0 }
    }

    /// No dropout: the network's mean behaviour.
    pub fn off(config: &UNetConfig) -> Self {
        Self { place: config.dropout_place, rate: config.dropout, seed: None, pass: 0, layer: 0 }
    }

    /// Records that `passes` passes have gone through the whole network.
    pub(super) fn advance(&mut self, passes: usize) {
        self.pass += passes as u64;
        self.layer = 0;
    }

    /// Whether the encoder gives the same features in every pass.
    pub fn leaves_encoder_alone(&self) -> bool {
        self.place != DropoutPlace::All
    }

    /// The same dropout at its `pass`th pass.
    pub(super) fn at_pass(&self, pass: usize) -> Self {
        Self { place: self.place, rate: self.rate, seed: self.seed, pass: pass as u64, layer: 0 }
    }

    pub(super) fn in_encoder<M: Maps>(&mut self, x: M) -> M {
        if self.place == DropoutPlace::All { self.apply(x) } else { x }
    }

    pub(super) fn at_the_deepest<M: Maps>(&mut self, x: M) -> M {
        self.apply(x)
    }

    pub(super) fn in_decoder<M: Maps>(&mut self, x: M) -> M {
        if self.place == DropoutPlace::Deepest { x } else { self.apply(x) }
    }

    /// Clears each feature with probability `rate` and scales the rest by 1 / (1 − rate).
    fn apply<M: Maps>(&mut self, x: M) -> M {
        let (rate, Some(seed)) = (self.rate, self.seed) else { return x };
        if rate == 0.0 {
            return x;
        }
        let [passes, features @ ..] = x.shape();
        let count = features.iter().product();
        let mut mask = Vec::with_capacity(passes * count);
        for pass in 0..passes as u64 {
            let stream = (self.pass + pass).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (self.layer << 56);
            bernoulli(&mut Pcg64Mcg::seed_from_u64(seed ^ stream), count, rate, &mut mask);
        }
        self.layer += 1;
        x.times(mask)
    }
}

/// Feature maps that dropout can act on.
pub(super) trait Maps {
    /// `[passes, channels, rows, columns]`.
    fn shape(&self) -> [usize; 4];

    /// Multiplies element-wise by `mask`, in the order of [`Maps::shape`].
    fn times(self, mask: Vec<f32>) -> Self;
}

impl Maps for Tensor<4> {
    fn shape(&self) -> [usize; 4] {
        self.dims()
    }

    fn times(self, mask: Vec<f32>) -> Self {
        let (shape, device) = (self.dims(), self.device());
        if device.clone().inner() == Device::flex() {
            return self * Tensor::from_data(TensorData::new(mask, shape), &device);
        }
        // A byte for each feature goes to the device or server, instead of four.
        let kept = mask.iter().copied().fold(0.0, f32::max);
        let dropped: Vec<bool> = mask.into_iter().map(|factor| factor == 0.0).collect();
        (self * kept).mask_fill(Tensor::<4, Bool>::from_data(TensorData::new(dropped, shape), &device), 0.0)
    }
}

/// Appends `count` values to `mask`, each 0 with probability `rate` (to 16 bits), otherwise 1 / (1 − rate).
fn bernoulli(rng: &mut Pcg64Mcg, count: usize, rate: f64, mask: &mut Vec<f32>) {
    let (dropped_below, kept) = ((rate * 65536.0).round() as u64, (1.0 / (1.0 - rate)) as f32);
    let end = mask.len() + count;
    while mask.len() < end {
        let bits = rng.next_u64();
        mask.extend([0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xffff < dropped_below { 0.0 } else { kept }));
    }
    mask.truncate(end);
}
