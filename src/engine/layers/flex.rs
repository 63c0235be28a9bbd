//! The layers on Flex: channels-last maps under Burn's shape, gradients of their own.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops};
use burn::backend::flex::FlexTensor;
use burn::backend::{Autodiff, Flex, TensorMetadata};
use burn::tensor::TensorData;

use super::conv::{ConvWindow, Map};
use super::depthwise::Depthwise;
use super::maps::{self, Kernel};
use super::tracked::recorded;
use super::{Activation, Layers, SharedGradient, Tracked};

impl Layers for Flex {
    fn conv(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, activation: Activation) -> FlexTensor {
        let (x, weight, bias) = (Contiguous::map(x), Contiguous::new(weight), Contiguous::new(bias));
        let kernel = weight.as_kernel();
        let out = maps::conv(x.as_map(), kernel.window(), kernel, bias.values(), activation);
        tensor(out, Map { channels: kernel.outputs, ..x.as_map() })
    }

    fn image_conv(images: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let (images, weight, bias) = (Contiguous::map(images), Contiguous::new(weight), Contiguous::new(bias));
        let (kernel, map) = (weight.as_kernel(), images.as_map());
        let out = maps::conv(map, ConvWindow::HALVING, kernel, bias.values(), Activation::Relu6);
        tensor(out, Map { channels: kernel.outputs, rows: map.rows / 2, columns: map.columns / 2, ..map })
    }

    fn depthwise(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, stride: usize) -> FlexTensor {
        let (x, weight, bias) = (Contiguous::map(x), Contiguous::new(weight), Contiguous::new(bias));
        let map = x.as_map();
        let out = weight.as_depthwise(stride).forward(map, bias.values());
        tensor(out, Map { rows: map.rows / stride, columns: map.columns / stride, ..map })
    }

    fn up_conv_relu(low: FlexTensor, skip: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let (low, skip, weight, bias) =
            (Contiguous::map(low), Contiguous::map(skip), Contiguous::new(weight), Contiguous::new(bias));
        let size = skip.as_map();
        let out = maps::up_conv(low.as_map(), size, weight.as_kernel(), bias.values());
        tensor(out, Map { batch: low.as_map().batch, channels: weight.dims()[0], ..size })
    }

    fn pool(x: FlexTensor, _: SharedGradient) -> FlexTensor {
        let x = Contiguous::map(x);
        let map = x.as_map();
        tensor(maps::max_pool(map), Map { rows: map.rows / 2, columns: map.columns / 2, ..map })
    }
}

/// A contiguous Flex tensor; a map's is channels-last.
struct Contiguous(FlexTensor);

impl Contiguous {
    fn new(tensor: FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    /// From `[batch, channels, rows, columns]`; copied only if it is not channels-last already.
    fn map(tensor: FlexTensor) -> Self {
        Self::new(tensor.permute(&[0, 2, 3, 1]))
    }

    fn values(&self) -> &[f32] {
        self.0.as_slice().expect("numbers in a row")
    }

    fn into_values(self) -> Vec<f32> {
        self.0.into_data().try_into_vec().expect("the network's numbers are 32-bit floats")
    }

    fn dims(&self) -> [usize; 4] {
        self.0.shape().dims()
    }

    fn as_map(&self) -> Map<'_> {
        let [batch, rows, columns, channels] = self.dims();
        Map { values: self.values(), batch, rows, columns, channels }
    }

    fn as_kernel(&self) -> Kernel<'_> {
        Kernel::new(self.values(), self.dims())
    }

    fn as_depthwise(&self, stride: usize) -> Depthwise {
        Depthwise::new(self.values(), self.dims()[2], stride)
    }
}

/// A channels-last map's numbers as a tensor `[batch, channels, rows, columns]`.
fn tensor(values: Vec<f32>, Map { batch, rows, columns, channels, .. }: Map) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, [batch, rows, columns, channels])).permute(&[0, 3, 1, 2])
}

/// What the gradient of a convolution needs: the maps it took, the weights, and what came out.
#[derive(Clone, Debug)]
struct Saved {
    maps: Vec<FlexTensor>,
    weight: FlexTensor,
    output: FlexTensor,
    activation: Activation,
}

impl Saved {
    /// The gradient before activation, channels-last.
    fn gradient(&self, gradient: FlexTensor) -> (Vec<f32>, [usize; 4]) {
        let contiguous = Contiguous::map(gradient);
        let dims = contiguous.dims();
        let mut values = contiguous.into_values();
        if self.activation != Activation::None {
            maps::activation_backward(self.activation, &mut values, Contiguous::map(self.output.clone()).values());
        }
        (values, dims)
    }
}

/// Registers the gradients of the loss with respect to a layer's weights, written by `write`, and biases, where they
/// are required.
fn register_layer(
    grads: &mut Gradients,
    [weights, biases]: [Option<NodeId>; 2],
    gradient: Map,
    weight: &Contiguous,
    write: impl FnOnce(&mut [f32]),
) {
    if let Some(id) = biases {
        grads.register::<Flex>(id, row(maps::channel_sums(gradient.values, gradient.channels)));
    }
    if let Some(id) = weights {
        let mut out = vec![0.0; weight.values().len()];
        write(&mut out);
        grads.register::<Flex>(id, FlexTensor::from_data(TensorData::new(out, weight.dims())));
    }
}

#[derive(Debug)]
struct ConvBackward;

impl Backward<Flex, 3> for ConvBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (values, [batch, rows, columns, channels]) = ops.state.gradient(grads.consume::<Flex>(&ops.node));
        let gradient = Map { values: &values, batch, rows, columns, channels };
        let (x, weight) = (Contiguous::map(ops.state.maps[0].clone()), Contiguous::new(ops.state.weight.clone()));
        let kernel = weight.as_kernel();
        register_layer(
            grads,
            [weight_node, bias_node].map(|node| node.map(|node| node.id)),
            gradient,
            &weight,
            |out| {
                maps::conv_weight_gradient(x.as_map(), kernel.window(), gradient, kernel, out);
            },
        );
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(maps::conv_input_gradient(gradient, kernel), x.as_map()));
        }
    }
}

#[derive(Debug)]
struct ImageConvBackward;

impl Backward<Flex, 2> for ImageConvBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 2>, grads: &mut Gradients, _: &mut Checkpointer) {
        let (values, [batch, rows, columns, channels]) = ops.state.gradient(grads.consume::<Flex>(&ops.node));
        let gradient = Map { values: &values, batch, rows, columns, channels };
        let (images, weight) = (Contiguous::map(ops.state.maps[0].clone()), Contiguous::new(ops.state.weight.clone()));
        register_layer(grads, ops.parents.map(|node| node.map(|node| node.id)), gradient, &weight, |out| {
            maps::conv_weight_gradient(images.as_map(), ConvWindow::HALVING, gradient, weight.as_kernel(), out);
        });
    }
}

#[derive(Debug)]
struct DepthwiseBackward;

impl Backward<Flex, 3> for DepthwiseBackward {
    type State = (Saved, usize);

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let (kept, stride) = ops.state;
        let (values, [batch, rows, columns, channels]) = kept.gradient(grads.consume::<Flex>(&ops.node));
        let gradient = Map { values: &values, batch, rows, columns, channels };
        let (x, weight) = (Contiguous::map(kept.maps[0].clone()), Contiguous::new(kept.weight.clone()));
        let (kernels, map) = (weight.as_depthwise(stride), x.as_map());
        register_layer(
            grads,
            [weight_node, bias_node].map(|node| node.map(|node| node.id)),
            gradient,
            &weight,
            |out| {
                out.copy_from_slice(&kernels.weight_gradient(map, gradient));
            },
        );
        if let Some(node) = x_node {
            grads.register::<Flex>(node.id, tensor(kernels.input_gradient(gradient, [map.rows, map.columns]), map));
        }
    }
}

#[derive(Debug)]
struct UpConvBackward;

impl Backward<Flex, 4> for UpConvBackward {
    type State = Saved;

    fn backward(self, ops: Ops<Saved, 4>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [low_node, skip_node, weight_node, bias_node] = ops.parents;
        let (values, [batch, rows, columns, channels]) = ops.state.gradient(grads.consume::<Flex>(&ops.node));
        let gradient = Map { values: &values, batch, rows, columns, channels };
        let [low, skip] = [0, 1].map(|i| Contiguous::map(ops.state.maps[i].clone()));
        let weight = Contiguous::new(ops.state.weight.clone());
        let (up, rest) = weight.as_kernel().split(low.as_map().channels);
        register_layer(
            grads,
            [weight_node, bias_node].map(|node| node.map(|node| node.id)),
            gradient,
            &weight,
            |out| {
                maps::up_conv_weight_gradient(low.as_map(), gradient, up, out);
                maps::conv_weight_gradient(skip.as_map(), ConvWindow::THREE, gradient, rest, out);
            },
        );
        if let Some(node) = skip_node {
            grads.register::<Flex>(node.id, tensor(maps::conv_input_gradient(gradient, rest), skip.as_map()));
        }
        if let Some(node) = low_node {
            grads.register::<Flex>(node.id, tensor(maps::up_conv_input_gradient(gradient, up), low.as_map()));
        }
    }
}

impl SharedGradient {
    /// Takes the gradient that arrived first, if any.
    fn other(&self) -> Option<Vec<f32>> {
        self.0.0.lock().unwrap_or_else(|e| e.into_inner()).take()
    }

    /// Keeps the gradient until the other one arrives.
    fn wait(&self, gradient: Vec<f32>) {
        *self.0.0.lock().unwrap_or_else(|e| e.into_inner()) = Some(gradient);
    }
}

#[derive(Debug)]
struct PoolBackward;

impl Backward<Flex, 1> for PoolBackward {
    type State = (FlexTensor, FlexTensor, SharedGradient);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Contiguous::map(grads.consume::<Flex>(&ops.node));
        let (x, pooled, shared) = ops.state;
        let (x, pooled) = (Contiguous::map(x), Contiguous::map(pooled));
        let [Some(node)] = ops.parents else { return };
        let kept = shared.other();
        let is_second = kept.is_some();
        let sum = maps::max_pool_backward(x.as_map(), pooled.values(), gradient.values(), kept);
        if is_second {
            grads.register::<Flex>(node.id, tensor(sum, x.as_map()));
        } else {
            shared.wait(sum);
        }
    }
}

#[derive(Debug)]
struct KeepBackward;

impl Backward<Flex, 1> for KeepBackward {
    type State = SharedGradient;

    fn backward(self, ops: Ops<SharedGradient, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let gradient = Contiguous::map(grads.consume::<Flex>(&ops.node));
        let [Some(node)] = ops.parents else { return };
        match ops.state.other() {
            None => ops.state.wait(gradient.into_values()),
            Some(mut sum) => {
                maps::add(&mut sum, gradient.values());
                grads.register::<Flex>(node.id, tensor(sum, gradient.as_map()));
            }
        }
    }
}

fn row(values: Vec<f32>) -> FlexTensor {
    let length = values.len();
    FlexTensor::from_data(TensorData::new(values, [length]))
}

impl<C: CheckpointStrategy> Layers for Autodiff<Flex, C> {
    fn conv(
        x: Tracked<Flex, C>,
        weight: Tracked<Flex, C>,
        bias: Tracked<Flex, C>,
        activation: Activation,
    ) -> Tracked<Flex, C> {
        let inputs = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let output = Flex::conv(x.clone(), weight.clone(), bias, activation);
        recorded::<Flex, C, _, _>(ConvBackward, inputs, output, |output| Saved {
            maps: vec![x],
            weight,
            output,
            activation,
        })
    }

    fn image_conv(images: Tracked<Flex, C>, weight: Tracked<Flex, C>, bias: Tracked<Flex, C>) -> Tracked<Flex, C> {
        let inputs = [weight.node(), bias.node()];
        let [images, weight, bias] = [images, weight, bias].map(|t| t.into_primitive());
        let output = Flex::image_conv(images.clone(), weight.clone(), bias);
        let activation = Activation::Relu6;
        recorded::<Flex, C, _, _>(ImageConvBackward, inputs, output, |output| Saved {
            maps: vec![images],
            weight,
            output,
            activation,
        })
    }

    fn depthwise(
        x: Tracked<Flex, C>,
        weight: Tracked<Flex, C>,
        bias: Tracked<Flex, C>,
        stride: usize,
    ) -> Tracked<Flex, C> {
        let inputs = [x.node(), weight.node(), bias.node()];
        let [x, weight, bias] = [x, weight, bias].map(|t| t.into_primitive());
        let output = Flex::depthwise(x.clone(), weight.clone(), bias, stride);
        let activation = Activation::Relu6;
        recorded::<Flex, C, _, _>(DepthwiseBackward, inputs, output, |output| {
            (Saved { maps: vec![x], weight, output, activation }, stride)
        })
    }

    fn up_conv_relu(
        low: Tracked<Flex, C>,
        skip: Tracked<Flex, C>,
        weight: Tracked<Flex, C>,
        bias: Tracked<Flex, C>,
    ) -> Tracked<Flex, C> {
        let inputs = [low.node(), skip.node(), weight.node(), bias.node()];
        let [low, skip, weight, bias] = [low, skip, weight, bias].map(|t| t.into_primitive());
        let output = Flex::up_conv_relu(low.clone(), skip.clone(), weight.clone(), bias);
        let activation = Activation::Relu;
        recorded::<Flex, C, _, _>(UpConvBackward, inputs, output, |output| Saved {
            maps: vec![low, skip],
            weight,
            output,
            activation,
        })
    }

    fn pool(x: Tracked<Flex, C>, shared: SharedGradient) -> Tracked<Flex, C> {
        let inputs = [x.node()];
        let x = x.into_primitive();
        let output = Flex::pool(x.clone(), shared.clone());
        recorded::<Flex, C, _, _>(PoolBackward, inputs, output, |output| (x, output, shared))
    }

    fn keep(x: Tracked<Flex, C>, shared: SharedGradient) -> Tracked<Flex, C> {
        recorded::<Flex, C, _, _>(KeepBackward, [x.node()], x.into_primitive(), |_| shared)
    }
}
