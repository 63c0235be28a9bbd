//! The decoder as run by the dropout passes on a graphics adapter: exact, but computing only once what passes share.
//! (On the CPU: `layers::network`, by the same identities.)
//!
//! Three identities, none an approximation. A convolution over a concatenation is the sum of two convolutions, so the half
//! over the encoder's features is computed once where no dropout touches them. A 3 × 3 convolution over a map up-sampled
//! × 2 by nearest neighbour sees each low-resolution pixel several times: it equals four 2 × 2 convolutions at the low
//! resolution, one for each place of an output pixel in its square of four. And where dropout leaves the encoder alone,
//! its features are the same in every pass.

use burn::module::Param;
use burn::nn::conv::Conv2d;
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use crate::engine::config::UNetConfig;
use crate::engine::dropout::McDropout;
use crate::engine::layers::{self, Activation};
use crate::engine::unet::{Double, UNet};

/// The decoder's weights, rearranged once for a trained network.
#[derive(Clone, Debug)]
pub struct PassPlan {
    blocks: Vec<PlannedBlock>,
}

#[derive(Clone, Debug)]
struct PlannedBlock {
    /// `[4 × outputs, inputs, 2, 2]`: the phases top left, top right, bottom left, bottom right.
    phases: Tensor<4>,
    /// The first convolution's share over the encoder's features, with its bias.
    skip: Conv2d,
    second: Conv2d,
}

impl PassPlan {
    /// The plan of a network.
    pub fn new(network: &UNet, config: &UNetConfig) -> Self {
        let skips = config.features().into_iter().rev().skip(1);
        Self { blocks: network.decoder.iter().zip(skips).map(|(block, skip)| PlannedBlock::new(block, skip)).collect() }
    }

    /// Logits of `passes` dropout passes, `[passes, outputs, rows, columns]`, from the encoder's features: either one
    /// set for all passes, or one per pass.
    pub fn decode(
        &self,
        network: &UNet,
        mut features: Vec<Tensor<4>>,
        passes: usize,
        dropout: &mut McDropout,
    ) -> Tensor<4> {
        let deepest = features.pop().expect("a network has levels");
        let shared = deepest.dims()[0] == 1;
        let mut x = dropout.at_the_deepest(if shared { deepest.repeat_dim(0, passes) } else { deepest });
        for (step, block) in self.blocks.iter().enumerate() {
            x = block.forward(x, features.pop().expect("as many levels up as down"));
            if step + 1 < self.blocks.len() {
                x = dropout.in_decoder(x);
            }
        }
        dropout.advance(passes);
        layers::conv(x, &network.head, Activation::None)
    }
}

impl PlannedBlock {
    fn new(block: &Double, skip: usize) -> Self {
        let weight = block.a.weight.val();
        // The concatenation is the up-sampled map first, then the skip.
        let up = weight.dims()[1] - skip;
        Self {
            phases: phases(weight.clone().narrow(1, 0, up)),
            skip: Conv2d { weight: Param::from_tensor(weight.narrow(1, up, skip)), ..block.a.clone() },
            second: block.b.clone(),
        }
    }

    fn forward(&self, x: Tensor<4>, skip: Tensor<4>) -> Tensor<4> {
        let kept = layers::conv(skip, &self.skip, Activation::None);
        layers::conv(relu(up_sampled(x, self.phases.clone()) + kept), &self.second, Activation::Relu)
    }
}

/// The four 2 × 2 kernels of a 3 × 3 kernel over a map up-sampled × 2, `[4 × outputs, inputs, 2, 2]`.
fn phases(weight: Tensor<4>) -> Tensor<4> {
    let pairs = |w: &Tensor<4>, dim: usize| {
        let line = |i: usize| w.clone().narrow(dim, i, 1);
        let first = Tensor::cat(vec![line(0), line(1) + line(2)], dim);
        let second = Tensor::cat(vec![line(0) + line(1), line(2)], dim);
        [first, second]
    };
    let all = pairs(&weight, 2).iter().flat_map(|rows| pairs(rows, 3)).collect();
    Tensor::cat(all, 0)
}

/// The 3 × 3 convolution of `x` up-sampled × 2: `[n, c, h, w]` to `[n, outputs, 2h, 2w]`.
fn up_sampled(x: Tensor<4>, phases: Tensor<4>) -> Tensor<4> {
    let [n, _, h, w] = x.dims();
    let outputs = phases.dims()[0] / 4;
    let maps = conv2d(x, phases, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
    let phase = |row: usize, column: usize| {
        let map = maps.clone().narrow(1, (2 * row + column) * outputs, outputs);
        map.narrow(2, row, h).narrow(3, column, w).reshape([n, outputs, h, 1, w, 1])
    };
    let line = |row: usize| Tensor::<6>::cat(vec![phase(row, 0), phase(row, 1)], 5);
    Tensor::cat(vec![line(0), line(1)], 3).reshape([n, outputs, 2 * h, 2 * w])
}
