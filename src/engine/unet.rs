//! The U-Net: 3 × 3 convolutions, max-pooling on the way down, nearest-neighbour up-sampling and concatenation on the
//! way up (Ronneberger et al., arXiv 1505.04597; widths and dropout from Gorriz et al., arXiv 1711.09168). The encoder
//! may be a pre-trained one.

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::settings::Encoder;
use crate::engine::config::UNetConfig;
use crate::engine::dropout::McDropout;
use crate::engine::layers::{self, Activation};
use crate::engine::lite0::Lite0;

impl UNetConfig {
    /// A network with new weights: the pre-trained encoder's own, all others uniform within ±√(6 / fan-in) (He et al.,
    /// arXiv 1502.01852), biases 0. Drawn on the host, so a seed gives the same weights on every device.
    pub fn init(&self, seed: u64, device: &Device) -> UNet {
        let mut random = HostWeights { rng: Pcg64Mcg::seed_from_u64(seed) };
        let UNet { encoder, decoder, head } = self.blank(device);
        let encoder = match encoder {
            EncoderLayers::Levels(levels) => EncoderLayers::Levels(levels.map(&mut random)),
            EncoderLayers::Lite0(_) => EncoderLayers::Lite0(Lite0::pretrained(device)),
        };
        UNet { encoder, decoder: decoder.map(&mut random), head: head.map(&mut random) }
    }

    /// A network with all weights 0, ready to have weights loaded.
    pub fn blank(&self, device: &Device) -> UNet {
        let features = self.features();
        let deepest = features.len() - 1;
        let inputs = |level: usize| if level == 0 { self.channels } else { features[level - 1] };
        let own = || (0..=deepest).map(|level| Double::new(inputs(level), features[level], device)).collect();
        let below = |level: usize| if level + 1 == deepest { features[deepest] } else { self.widths[level + 1] };
        let block = |level: usize| Double::new(below(level) + features[level], self.widths[level], device);
        UNet {
            encoder: match self.encoder {
                Encoder::Unet => EncoderLayers::Levels(own()),
                Encoder::Lite0 => EncoderLayers::Lite0(Lite0::blank(device)),
            },
            decoder: (0..deepest).rev().map(block).collect(),
            head: conv(self.widths[0], self.outputs(), 1, device),
        }
    }
}

/// Two 3 × 3 convolutions, each followed by ReLU; size kept.
#[derive(Module, Debug)]
pub struct Double {
    pub(super) a: Conv2d,
    pub(super) b: Conv2d,
}

impl Double {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self { a: conv(inputs, outputs, 3, device), b: conv(outputs, outputs, 3, device) }
    }

    /// `[batch, inputs, rows, columns]` to `[batch, outputs, rows, columns]`.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        layers::conv(layers::conv(x, &self.a, Activation::Relu), &self.b, Activation::Relu)
    }
}

fn conv(inputs: usize, outputs: usize, side: usize, device: &Device) -> Conv2d {
    let border = side / 2;
    Conv2dConfig::new([inputs, outputs], [side, side])
        .with_padding(PaddingConfig2d::Explicit(border, border, border, border))
        .with_initializer(Initializer::Zeros)
        .init(device)
}

/// The encoder's layers.
// One of them to a network; and Burn's modules cannot be boxed.
#[allow(clippy::large_enum_variant)]
#[derive(Module, Debug)]
pub enum EncoderLayers {
    /// The U-Net's own, from full resolution down.
    Levels(Vec<Double>),
    /// The pre-trained ones.
    Lite0(Lite0),
}

/// The network. Its field names are the tensor names in the stored weights: `encoder.0.a.weight` and so on, each
/// `[outputs, inputs, rows, columns]` as PyTorch has them.
#[derive(Module, Debug)]
pub struct UNet {
    pub(super) encoder: EncoderLayers,
    pub(super) decoder: Vec<Double>,
    pub(super) head: Conv2d,
}

impl UNet {
    /// Logits `[batch, outputs, rows, columns]` of images `[batch, channels, rows, columns]`.
    pub fn forward(&self, x: Tensor<4>, dropout: &mut McDropout) -> Tensor<4> {
        let features = self.encode(x, dropout);
        self.decode(features, dropout)
    }

    /// Feature maps of every level, from full resolution down: `[batch, channels, rows / 2^level, columns / 2^level]`, the
    /// channels being [`UNetConfig::features`]. Random only where dropout acts in the encoder.
    pub fn encode(&self, mut x: Tensor<4>, dropout: &mut McDropout) -> Vec<Tensor<4>> {
        let levels = match &self.encoder {
            EncoderLayers::Levels(levels) => levels,
            EncoderLayers::Lite0(lite0) => {
                let [_, channels, _, _] = x.dims();
                let colours = if channels == 1 { x.clone().repeat_dim(1, 3) } else { x.clone() };
                return std::iter::once(x).chain(lite0.forward(colours)).collect();
            }
        };
        let deepest = levels.len() - 1;
        let mut features = Vec::with_capacity(deepest + 1);
        for (level, block) in levels.iter().enumerate() {
            x = block.forward(x);
            if level > 0 && level < deepest {
                x = dropout.in_encoder(x);
            }
            if level < deepest {
                let (kept, pooled) = layers::keep_and_pool(x);
                features.push(kept);
                x = pooled;
            }
        }
        features.push(x);
        features
    }

    /// Logits from the features returned by [`UNet::encode`].
    pub fn decode(&self, mut features: Vec<Tensor<4>>, dropout: &mut McDropout) -> Tensor<4> {
        let mut x = dropout.at_the_deepest(features.pop().expect("a network has levels"));
        for (step, block) in self.decoder.iter().enumerate() {
            let skip = features.pop().expect("as many levels up as down");
            x = layers::conv(layers::up_conv_relu(x, skip, &block.a), &block.b, Activation::Relu);
            if step + 1 < self.decoder.len() {
                x = dropout.in_decoder(x);
            }
        }
        dropout.advance(x.dims()[0]);
        layers::conv(x, &self.head, Activation::None)
    }
}

/// Replaces every weight by one drawn on the host.
struct HostWeights {
    rng: Pcg64Mcg,
}

impl ModuleMapper for HostWeights {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 4 {
            return param; // A bias: stays 0.
        }
        let zeros = param.val();
        let shape = zeros.dims();
        let fan_in: usize = shape[1..].iter().product();
        let bound = (6.0 / fan_in as f32).sqrt();
        let count = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|_| self.rng.random_range(-bound..=bound)).collect();
        // A new parameter: one that was only mapped would no longer track gradients.
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &zeros.device()))
    }
}
