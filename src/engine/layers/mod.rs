//! The network's layers: custom operations with their own gradients on the CPU, Burn's operations elsewhere.
//!
//! On Flex a feature map is kept channels-last under Burn's shape `[batch, channels, rows, columns]`: the layout is a
//! permuted view, so that one layer hands its map to the next without copying, and everything else sees Burn's order.
//! Sums are those of the plain convolution in another order; nothing is approximated.
//!
//! The `gemm` crate was tried behind `conv::convolve`: the same strips, three products over overlapping rows of the bordered
//! map each, with bias and ReLU while the result is copied. In one sitting, batch 8, one thread of an x86-64 processor with
//! AVX-512, a 3 × 3 convolution took 1.70 times as long for 16 → 16 channels at 96 × 128, 1.21 for 48 → 16, 1.08 for 32 → 32
//! and 1.13 for 96 → 32 at 48 × 64, 0.99 for 64 → 64 at 24 × 32, 0.97 for 128 → 128 at 12 × 16. The tiles here stay: most of
//! a network's time is in its large maps, and they need neither padded columns nor a copy of the result.

mod conv;
mod depthwise;
mod flex;
mod maps;
pub mod network;
mod panel;
mod tile;
mod tracked;

use std::sync::{Arc, Mutex};

#[cfg(feature = "remote")]
use burn::backend::Remote;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Dispatch, TensorMetadata, backend_extension};
use burn::nn::conv::Conv2d;
use burn::tensor::{FloatDType, Tensor};

/// The activation applied to a layer's sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// Negative sums become 0.
    Relu,
    /// Negative sums become 0, and those above 6 become 6.
    Relu6,
}

/// The layers. The provided methods define them by Burn's own operations; Flex has its own implementations.
#[backend_extension(Flex, Cube, Remote: cfg(feature = "remote"), Autodiff)]
pub trait Layers: Backend {
    /// Convolution of `[batch, inputs, rows, columns]` with a kernel of 1 or 3 pixels a side, zeros around the map.
    fn conv(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        activation: Activation,
    ) -> FloatTensor<Self> {
        let border = weight.shape()[2] / 2;
        let sums = Self::convolution(x, weight, bias, ConvOptions::new([1, 1], [border; 2], [1, 1], 1));
        activated::<Self>(sums, activation)
    }

    /// Burn's convolution, by which the other layers are defined.
    fn convolution(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        options: ConvOptions<2>,
    ) -> FloatTensor<Self> {
        Self::conv2d(x, weight, Some(bias), options)
    }

    /// ReLU6 of a 3 × 3 convolution at stride 2 of images with even sides: `[batch, outputs, rows / 2, columns / 2]`.
    /// Zero padding as in TensorFlow's `SAME`: only after the image. On the CPU, no gradient is computed for the
    /// images.
    fn image_conv(images: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        same_conv::<Self>(images, weight, bias, 2, 1)
    }

    /// ReLU6 of a depthwise convolution with weights `[channels, 1, side, side]`, where side is 3 or 5, at stride 1 or,
    /// for maps with even sides, 2. Zero padding as in TensorFlow's `SAME`.
    fn depthwise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        stride: usize,
    ) -> FloatTensor<Self> {
        let channels = weight.shape()[0];
        same_conv::<Self>(x, weight, bias, stride, channels)
    }

    /// [`Layers::conv`] with ReLU over the concatenation of `low`, up-sampled × 2 by nearest neighbour, and `skip`.
    fn up_conv_relu(
        low: FloatTensor<Self>,
        skip: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [rows, columns] = [skip.shape()[2], skip.shape()[3]];
        let up = Self::interpolate(low, [rows, columns], InterpolateOptions::new(InterpolateMode::Nearest));
        Self::conv(Self::float_cat(vec![up, skip], 1), weight, bias, Activation::Relu)
    }

    /// The maximum of each 2 × 2 square of pixels. The other use of `x` is [`Layers::keep`], with the same
    /// [`SharedGradient`].
    fn pool(x: FloatTensor<Self>, _meeting: SharedGradient) -> FloatTensor<Self> {
        Self::max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false)
    }

    /// `x` itself.
    fn keep(x: FloatTensor<Self>, _meeting: SharedGradient) -> FloatTensor<Self> {
        x
    }
}

/// Sums the two gradients of a map that is both pooled and kept, on the CPU: the second is added to the first in place,
/// in its layout. Burn's own addition would write the sum in a new layout.
#[derive(Clone, Debug, Default)]
pub struct SharedGradient(Arc<FirstGradient>);

/// The first of the two gradients, until the second comes.
#[derive(Debug, Default)]
struct FirstGradient(Mutex<Option<Vec<f32>>>);

impl Drop for FirstGradient {
    fn drop(&mut self) {
        let is_lost = self.0.get_mut().is_ok_and(|gradient| gradient.is_some());
        assert!(!is_lost || std::thread::panicking(), "a gradient was lost: both maps of keep_and_pool must be used");
    }
}

/// ReLU6 of a convolution with zero padding as in TensorFlow's `SAME`. At stride 2, the padding begins one pixel later
/// than Burn can express, so the kernel gets a leading row and column of zeros.
fn same_conv<B: Layers>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    stride: usize,
    groups: usize,
) -> FloatTensor<B> {
    let [outputs, inputs, side, _] = weight.shape().dims();
    let (device, border) = (weight.device(), side / 2);
    let zeros = |rows, columns| B::float_zeros([outputs, inputs, rows, columns].into(), &device, FloatDType::F32);
    let weight = if stride == 1 {
        weight
    } else {
        let wider = B::float_cat(vec![zeros(side, 1), weight], 3);
        B::float_cat(vec![zeros(1, side + 1), wider], 2)
    };
    let sums = B::convolution(x, weight, bias, ConvOptions::new([stride; 2], [border; 2], [1, 1], groups));
    activated::<B>(sums, Activation::Relu6)
}

fn activated<B: Backend>(sums: FloatTensor<B>, activation: Activation) -> FloatTensor<B> {
    match activation {
        Activation::None => sums,
        Activation::Relu => B::relu(sums),
        Activation::Relu6 => B::float_clamp(sums, 0.0.into(), 6.0.into()),
    }
}

/// A tensor with gradients.
type Tracked<B, C> = FloatTensor<Autodiff<B, C>>;

/// The layers by Burn's operations, but for the gradients of convolutions.
macro_rules! by_burns_operations {
    ($backend:ty) => {
        impl Layers for $backend {}
        impl<C: CheckpointStrategy> Layers for Autodiff<$backend, C> {
            fn convolution(
                x: Tracked<$backend, C>,
                weight: Tracked<$backend, C>,
                bias: Tracked<$backend, C>,
                options: ConvOptions<2>,
            ) -> Tracked<$backend, C> {
                tracked::convolution::<$backend, C>(x, weight, bias, options)
            }
        }
    };
}

by_burns_operations!(Cube);
#[cfg(feature = "remote")]
by_burns_operations!(Remote);

/// [`Layers::conv`] on the tensors' device, with a layer's weights.
pub fn conv(x: Tensor<4>, layer: &Conv2d, activation: Activation) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as Layers>::conv(x, weight, bias.into_dispatch(), activation))
}

/// [`Layers::image_conv`] on the tensors' device, with a layer's weights.
pub fn image_conv(images: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    let [images, weight] = [images, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as Layers>::image_conv(images, weight, bias.into_dispatch()))
}

/// [`Layers::depthwise`] on the tensors' device, with a layer's weights.
pub fn depthwise(x: Tensor<4>, layer: &Conv2d, stride: usize) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    let [x, weight] = [x, weight].map(Tensor::into_dispatch);
    Tensor::from_dispatch(<Dispatch as Layers>::depthwise(x, weight, bias.into_dispatch(), stride))
}

/// [`Layers::up_conv_relu`] on the tensors' device, with a layer's weights.
pub fn up_conv_relu(low: Tensor<4>, skip: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    Tensor::from_dispatch(<Dispatch as Layers>::up_conv_relu(
        low.into_dispatch(),
        skip.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
    ))
}

/// A map, and the maximum of each 2 × 2 square of its pixels. If gradients are tracked, both must be used.
pub fn keep_and_pool(x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let shared = SharedGradient::default();
    let kept = <Dispatch as Layers>::keep(x.clone().into_dispatch(), shared.clone());
    let pooled = <Dispatch as Layers>::pool(x.into_dispatch(), shared);
    (Tensor::from_dispatch(kept), Tensor::from_dispatch(pooled))
}

fn weights(layer: &Conv2d) -> (Tensor<4>, Tensor<1>) {
    (layer.weight.val(), layer.bias.as_ref().expect("every convolution of the network has a bias").val())
}
