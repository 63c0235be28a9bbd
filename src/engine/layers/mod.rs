//! The network's layers as operations of ours on the CPU, with gradients of their own; Burn's elsewhere.
//!
//! On Flex a feature map is kept channels-last under Burn's shape `[batch, channels, rows, columns]`: the layout is a
//! permuted view, so that one layer hands its map to the next without copying, and everything else sees Burn's order.
//! Sums are those of the plain convolution in another order; nothing is approximated.

mod conv;
mod flex;
mod maps;
mod panel;
mod tile;

use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::ops::{ConvOptions, InterpolateMode, InterpolateOptions};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Dispatch, TensorMetadata, backend_extension};
use burn::nn::conv::Conv2d;
use burn::tensor::{Shape, Slice, Tensor};

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

    /// The greatest of each square of four pixels.
    fn pool(x: FloatTensor<Self>) -> FloatTensor<Self> {
        Self::max_pool2d(x, [2, 2], [2, 2], [0, 0], [1, 1], false)
    }

    /// The four 2 × 2 convolutions over `low` that equal a 3 × 3 one over `low` up-sampled × 2, each making one pixel of
    /// every square of four, added to `kept`, then ReLU. `phases` is `[4 × outputs, inputs, 2, 2]`: top left, top right,
    /// bottom left, bottom right; `kept` is `[batch or 1, outputs, 2 rows, 2 columns]`.
    fn up_conv_onto(
        low: FloatTensor<Self>,
        kept: FloatTensor<Self>,
        phases: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let [n, h, w] = [low.shape()[0], low.shape()[2], low.shape()[3]];
        let outputs = phases.shape()[0] / 4;
        let maps = Self::conv2d(low, phases, None, ConvOptions::new([1, 1], [1, 1], [1, 1], 1));
        let phase = |row: usize, column: usize| {
            let first = (2 * row + column) * outputs;
            let part = [0..n, first..first + outputs, row..row + h, column..column + w].map(Slice::from);
            Self::float_reshape(Self::float_slice(maps.clone(), &part), Shape::from([n, outputs, h, 1, w, 1]))
        };
        let line = |row: usize| Self::float_cat(vec![phase(row, 0), phase(row, 1)], 5);
        let up = Self::float_cat(vec![line(0), line(1)], 3);
        let up = Self::float_reshape(up, Shape::from([n, outputs, 2 * h, 2 * w]));
        Self::relu(Self::float_add(up, kept))
    }
}

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

/// [`Layers::pool`] on the tensor's device.
pub fn pool(x: Tensor<4>) -> Tensor<4> {
    Tensor::from_dispatch(<Dispatch as Layers>::pool(x.into_dispatch()))
}

/// [`Layers::up_conv_onto`] on the tensors' device.
pub fn up_conv_onto(low: Tensor<4>, kept: Tensor<4>, phases: Tensor<4>) -> Tensor<4> {
    let out = <Dispatch as Layers>::up_conv_onto(low.into_dispatch(), kept.into_dispatch(), phases.into_dispatch());
    Tensor::from_dispatch(out)
}

fn weights(layer: &Conv2d) -> (Tensor<4>, Tensor<1>) {
    (layer.weight.val(), layer.bias.as_ref().expect("every convolution of the network has a bias").val())
}
