//! The network's layers as operations of ours on the CPU, with gradients of their own; Burn's elsewhere.
//!
//! On Flex a feature map is kept channels-last under Burn's shape `[batch, channels, rows, columns]`: the layout is a
//! permuted view, so that one layer hands its map to the next without copying, and everything else sees Burn's order.
//! Sums are those of the plain convolution in another order; nothing is approximated.

mod conv;
mod flex;
mod maps;
pub mod network;
mod panel;
mod tile;

use std::sync::{Arc, Mutex};

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Dispatch, TensorMetadata, backend_extension};
use burn::nn::conv::Conv2d;
use burn::tensor::Tensor;

/// The layers. What they compute is written in Burn's own operations; Flex does it its own way.
#[backend_extension(Flex, Cube, Autodiff)]
pub trait Layers: Backend {
    /// Convolution of `[batch, inputs, rows, columns]` with a kernel of 1 or 3 pixels a side, zeros around the map.
    fn conv(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        let border = weight.shape()[2] / 2;
        Self::conv2d(x, weight, Some(bias), ConvOptions::new([1, 1], [border; 2], [1, 1], 1))
    }

    /// [`Layers::conv`] and ReLU.
    fn conv_relu(x: FloatTensor<Self>, weight: FloatTensor<Self>, bias: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::relu(Self::conv(x, weight, bias))
    }

    /// [`Layers::conv_relu`] of `low`, up-sampled × 2 by nearest neighbour, and `skip` behind it.
    fn up_conv_relu(
        low: FloatTensor<Self>,
        skip: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [rows, columns] = [skip.shape()[2], skip.shape()[3]];
        let up = Self::interpolate(low, [rows, columns], InterpolateOptions::new(InterpolateMode::Nearest));
        Self::conv_relu(Self::float_cat(vec![up, skip], 1), weight, bias)
    }

    /// The greatest of each square of four pixels. The other use of `x` is its [`Layers::keep`], at the same meeting.
    fn pool(x: FloatTensor<Self>, _meeting: Meeting) -> FloatTensor<Self> {
        Self::max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false)
    }

    /// `x` itself.
    fn keep(x: FloatTensor<Self>, _meeting: Meeting) -> FloatTensor<Self> {
        x
    }
}

/// Where the two gradients of a map that is pooled and kept meet on the CPU: the second adds itself to the first, in its
/// memory and its layout. Burn's own addition would lay the sum out anew.
#[derive(Clone, Debug, Default)]
pub struct Meeting(Arc<Mutex<Option<Vec<f32>>>>);

impl Layers for Cube {}
impl<C: CheckpointStrategy> Layers for Autodiff<Cube, C> {}

/// [`Layers::conv`] on the tensors' device, with a layer's weights.
pub fn conv(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    Tensor::from_dispatch(<Dispatch as Layers>::conv(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch()))
}

/// [`Layers::conv_relu`] on the tensors' device, with a layer's weights.
pub fn conv_relu(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let (weight, bias) = weights(layer);
    let out = <Dispatch as Layers>::conv_relu(x.into_dispatch(), weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(out)
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

/// A map, and the greatest of each square of four of its pixels. Where gradients are tracked, both are to be used.
pub fn keep_and_pool(x: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
    let meeting = Meeting::default();
    let kept = <Dispatch as Layers>::keep(x.clone().into_dispatch(), meeting.clone());
    let pooled = <Dispatch as Layers>::pool(x.into_dispatch(), meeting);
    (Tensor::from_dispatch(kept), Tensor::from_dispatch(pooled))
}

fn weights(layer: &Conv2d) -> (Tensor<4>, Tensor<1>) {
    (layer.weight.val(), layer.bias.as_ref().expect("every convolution of the network has a bias").val())
}
