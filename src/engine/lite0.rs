//! EfficientNet-Lite0 without its head (Tan & Le, arXiv 1905.11946; the Lite variant by Google), pre-trained on
//! ImageNet-1k, with batch normalisation folded into the convolutions: used as a pre-trained encoder.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, PaddingConfig2d};
use burn::prelude::*;
use burn::store::{ModuleSnapshot, SafetensorsStore};

use crate::engine::layers::{self, Activation};

/// Channels of its levels, at strides 2, 4, 8, 16 and 32.
pub const LEVELS: [usize; 5] = [16, 24, 40, 112, 320];

/// Mean and standard deviation that each channel of its training images was normalised by, on a scale of 0 to 1.
pub const INPUT_MEAN: f32 = 127.0 / 255.0;
/// See [`INPUT_MEAN`].
pub const INPUT_DEVIATION: f32 = 128.0 / 255.0;

/// Its weights as a safetensors file. `assets/CREDITS.md` says where they are from.
const WEIGHTS: &[u8] = include_bytes!("../../assets/efficientnet-lite0.safetensors");

/// Channels between its stem and its blocks.
const STEM: usize = 32;

/// A block: output channels, expansion factor, side of the depthwise kernel, stride.
type LayerShape = (usize, usize, usize, usize);

const BLOCKS: [LayerShape; 16] = [
    (16, 1, 3, 1),
    (24, 6, 3, 2),
    (24, 6, 3, 1),
    (40, 6, 5, 2),
    (40, 6, 5, 1),
    (80, 6, 3, 2),
    (80, 6, 3, 1),
    (80, 6, 3, 1),
    (112, 6, 5, 1),
    (112, 6, 5, 1),
    (112, 6, 5, 1),
    (192, 6, 5, 2),
    (192, 6, 5, 1),
    (192, 6, 5, 1),
    (192, 6, 5, 1),
    (320, 6, 3, 1),
];

/// The network. Its field names are the tensor names in the stored weights.
#[derive(Module, Debug)]
pub struct Lite0 {
    stem: Conv2d,
    blocks: Vec<InvertedResidual>,
}

impl Lite0 {
    /// With the weights from ImageNet, on a device.
    pub fn pretrained(device: &Device) -> Self {
        let mut network = Self::blank(device);
        let mut store = SafetensorsStore::from_bytes(Some(WEIGHTS.to_vec()));
        network.load_from(&mut store).expect("the weights in the program are those of the network");
        network
    }

    /// With zeros for weights.
    pub fn blank(device: &Device) -> Self {
        let mut inputs = STEM;
        let blocks = BLOCKS.iter().map(|shape| {
            let block = InvertedResidual::new(inputs, shape, device);
            inputs = shape.0;
            block
        });
        let blocks = blocks.collect();
        Self { stem: conv([3, STEM], 3, 1, device), blocks }
    }

    /// Features `[batch, channels, rows / stride, columns / stride]` at the strides 2, 4, 8, 16 and 32, of images
    /// `[batch, 3, rows, columns]` whose sides are multiples of 32, normalised by [`INPUT_MEAN`] and [`INPUT_DEVIATION`].
    pub fn forward(&self, images: Tensor<4>) -> Vec<Tensor<4>> {
        let mut x = layers::image_conv(images, &self.stem);
        let mut features = Vec::with_capacity(LEVELS.len());
        for (block, (_, _, _, stride)) in self.blocks.iter().zip(BLOCKS) {
            if stride == 2 {
                features.push(x.clone());
            }
            x = block.forward(x, stride);
        }
        features.push(x);
        features
    }
}

/// An inverted residual block: channels are expanded, convolved depthwise and projected (Sandler et al., arXiv
/// 1801.04381); the result is added to the input if both have the same shape.
#[derive(Module, Debug)]
struct InvertedResidual {
    expand: Option<Conv2d>,
    depthwise: Conv2d,
    project: Conv2d,
}

impl InvertedResidual {
    fn new(inputs: usize, &(outputs, expansion, side, _): &LayerShape, device: &Device) -> Self {
        let between = inputs * expansion;
        Self {
            expand: (expansion > 1).then(|| conv([inputs, between], 1, 1, device)),
            depthwise: conv([between, between], side, between, device),
            project: conv([between, outputs], 1, 1, device),
        }
    }

    fn forward(&self, x: Tensor<4>, stride: usize) -> Tensor<4> {
        let before = x.clone();
        let expanded = match &self.expand {
            Some(expand) => layers::conv(x, expand, Activation::Relu6),
            None => x,
        };
        let convolved = layers::depthwise(expanded, &self.depthwise, stride);
        let after = layers::conv(convolved, &self.project, Activation::None);
        if after.dims() == before.dims() { after + before } else { after }
    }
}

fn conv(channels: [usize; 2], side: usize, groups: usize, device: &Device) -> Conv2d {
    // The padding is done by the layers.
    Conv2dConfig::new(channels, [side, side])
        .with_groups(groups)
        .with_padding(PaddingConfig2d::Valid)
        .with_initializer(Initializer::Zeros)
        .init(device)
}
