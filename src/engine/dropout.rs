//! Monte-Carlo dropout (Gal & Ghahramani, arXiv 1506.02142).
//!
//! Burn's own dropout layer does nothing on a device without autodiff, so a network in inference would show no
//! uncertainty at all. This one draws its masks on the host: a seed gives the same masks on every device.

use burn::prelude::*;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::settings::DropoutPlace;
use crate::engine::unet::UNetConfig;

/// Dropout that acts whether or not gradients are tracked, or not at all.
#[derive(Debug)]
pub struct McDropout {
    place: DropoutPlace,
    rate: f64,
    rng: Option<Pcg64Mcg>,
}

impl McDropout {
    /// Dropout as the network has it, its masks drawn from `seed`.
    pub fn new(config: &UNetConfig, seed: u64) -> Self {
        Self { place: config.dropout_place, rate: config.dropout, rng: Some(Pcg64Mcg::seed_from_u64(seed)) }
    }

    /// No dropout: the network's mean behaviour.
    pub fn off(config: &UNetConfig) -> Self {
        Self { place: config.dropout_place, rate: config.dropout, rng: None }
    }

    /// Whether the encoder gives the same features in every pass.
    pub fn leaves_encoder_alone(&self) -> bool {
        self.place != DropoutPlace::All
    }

    pub(super) fn in_encoder(&mut self, x: Tensor<4>) -> Tensor<4> {
        if self.place == DropoutPlace::All { self.apply(x) } else { x }
    }

    pub(super) fn at_the_deepest(&mut self, x: Tensor<4>) -> Tensor<4> {
        self.apply(x)
    }

    pub(super) fn in_decoder(&mut self, x: Tensor<4>) -> Tensor<4> {
        if self.place == DropoutPlace::Deepest { x } else { self.apply(x) }
    }

    /// Clears each feature with probability `rate` and scales the rest by 1 / (1 − rate).
    fn apply(&mut self, x: Tensor<4>) -> Tensor<4> {
        let (rate, Some(rng)) = (self.rate, &mut self.rng) else { return x };
        if rate == 0.0 {
            return x;
        }
        let shape = x.dims();
        let mask = bernoulli(rng, shape.iter().product(), rate);
        x.clone() * Tensor::from_data(TensorData::new(mask, shape), &x.device())
    }
}

/// `count` values, each 0 with probability `rate` (to 16 bits), else 1 / (1 − rate).
fn bernoulli(rng: &mut Pcg64Mcg, count: usize, rate: f64) -> Vec<f32> {
    let (dropped_below, kept) = ((rate * 65536.0).round() as u64, (1.0 / (1.0 - rate)) as f32);
    let mut mask = Vec::with_capacity(count + 3);
    while mask.len() < count {
        let bits = rng.next_u64();
        mask.extend([0, 16, 32, 48].map(|shift| if (bits >> shift) & 0xffff < dropped_below { 0.0 } else { kept }));
    }
    mask.truncate(count);
    mask
}
