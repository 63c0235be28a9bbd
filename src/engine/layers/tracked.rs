//! Convolutions with gradients on devices other than this machine's CPU.
//!
//! Burn computes a weight's gradient there in one thread, by a loop over all pixels of the batch: few threads, and long ones.
//! Here the rows are cut into bands, which many threads sum, and the bands' sums are added. On lavapipe Burn's loop also ends
//! early, in silence, after about 21,700 pixels; here a loop has at most [`LONGEST`], or one row of one image.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::ops::{ConvOptions, PadMode};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, TensorMetadata};
use burn::tensor::Slice;

/// The longest loop over pixels that one thread is given.
const LONGEST: usize = 8192;

/// The output as a node of the graph with this backward step, which keeps what `state` makes of the output. Nothing is
/// kept where no input has a gradient.
pub(super) fn recorded<B: Backend, C: CheckpointStrategy, S: Backward<B, N>, const N: usize>(
    backward: S,
    inputs: [NodeGuard; N],
    output: FloatTensor<B>,
    state: impl FnOnce(FloatTensor<B>) -> S::State,
) -> FloatTensor<Autodiff<B, C>> {
    match backward.prepare::<C>(inputs).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => prepared.finish(state(output.clone()), output),
        OpsKind::UnTracked(prepared) => prepared.finish(output),
    }
}

/// Burn's convolution, with the gradients of this module.
pub(super) fn convolution<B: Backend, C: CheckpointStrategy>(
    x: FloatTensor<Autodiff<B, C>>,
    weight: FloatTensor<Autodiff<B, C>>,
    bias: FloatTensor<Autodiff<B, C>>,
    options: ConvOptions<2>,
) -> FloatTensor<Autodiff<B, C>> {
    debug_assert!(options.dilation == [1, 1] && !options.is_asymmetric());
    let inputs = [x.node(), weight.node(), bias.node()];
    let [x, weight, bias] = [x, weight, bias].map(|tensor| tensor.into_primitive());
    let output = B::conv2d(x.clone(), weight.clone(), Some(bias), options.clone());
    recorded::<B, C, _, _>(ConvolutionBackward, inputs, output, |_| ConvolutionInputs { x, weight, options })
}

/// What the gradients of a convolution need.
#[derive(Clone, Debug)]
struct ConvolutionInputs<B: Backend> {
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    options: ConvOptions<2>,
}

#[derive(Debug)]
struct ConvolutionBackward;

impl<B: Backend> Backward<B, 3> for ConvolutionBackward {
    type State = ConvolutionInputs<B>;

    fn backward(self, ops: Ops<ConvolutionInputs<B>, 3>, grads: &mut Gradients, _: &mut Checkpointer) {
        let [x_node, weight_node, bias_node] = ops.parents;
        let ConvolutionInputs { x, weight, options } = ops.state;
        let gradient = grads.consume::<B>(&ops.node);
        if let Some(node) = bias_node {
            let sums = B::float_sum_dims(gradient.clone(), &[0, 2, 3]);
            let outputs = sums.shape()[1];
            grads.register::<B>(node.id, B::float_reshape(sums, [outputs].into()));
        }
        if let Some(node) = weight_node {
            let [batch, _, rows, columns] = gradient.shape().dims();
            let band = band(rows, batch * columns);
            let found = weight_gradient::<B>(x.clone(), weight.clone(), gradient.clone(), &options, band);
            grads.register::<B>(node.id, found);
        }
        if let Some(node) = x_node {
            grads.register::<B>(node.id, input_gradient::<B>(x, weight, gradient, options));
        }
    }
}

/// The gradient with respect to maps `[batch, inputs, rows, columns]`: at stride 1 a convolution with the kernels mirrored, which
/// takes less time than Burn's transposed convolution.
fn input_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: ConvOptions<2>,
) -> FloatTensor<B> {
    let [outputs, group_inputs, side, _] = weight.shape().dims();
    let is_depthwise = group_inputs == 1 && options.groups == outputs;
    if options.stride != [1, 1] || options.groups != 1 && !is_depthwise {
        return B::conv2d_x_backward(x, weight, gradient, options);
    }
    let kernel = if is_depthwise { weight } else { B::float_permute(weight, &[1, 0, 2, 3]) };
    let border = options.padding.map(|(before, _)| side - 1 - before);
    B::conv2d(gradient, B::float_flip(kernel, &[2, 3]), None, ConvOptions::new([1, 1], border, [1, 1], options.groups))
}

/// The gradient with respect to weights `[outputs, inputs / groups, side, side]`, of maps `[batch, inputs, rows, columns]` and the
/// output's gradient `[batch, outputs, rows, columns]`, whose rows are summed in bands of `band` each.
fn weight_gradient<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    gradient: FloatTensor<B>,
    options: &ConvOptions<2>,
    band: usize,
) -> FloatTensor<B> {
    let [batch, _, _, columns] = x.shape().dims();
    let [_, outputs, rows, columns_out] = gradient.shape().dims();
    let [_, group_inputs, side, _] = weight.shape().dims();
    if band == 1 && batch > 1 && batch * columns_out > LONGEST {
        let half = |tensor: &FloatTensor<B>, from: usize, to: usize| {
            let shape = tensor.shape();
            let slices = std::iter::once(from..to).chain(shape.iter().skip(1).map(|size| 0..*size));
            B::float_slice(tensor.clone(), &slices.map(Slice::from).collect::<Vec<_>>())
        };
        let sum = |from: usize, to: usize| {
            let (x, gradient) = (half(&x, from, to), half(&gradient, from, to));
            let band = self::band(rows, (to - from) * columns_out);
            weight_gradient::<B>(x, weight.clone(), gradient, options, band)
        };
        return B::float_add(sum(0, batch / 2), sum(batch / 2, batch));
    }
    let ([stride, _], groups) = (options.stride, options.groups);
    let bands = rows / band;
    if bands == 1 {
        return B::conv2d_weight_backward(x, weight, gradient, options.clone());
    }
    let group_outputs = outputs / groups;
    // Each band with the rows around it that its gradients reach: `[batch, inputs, bands, columns, reach]`.
    let (border, reach) = (options.padding[0], stride * (band - 1) + side);
    let x = B::float_pad(x, &[(0, 0), (0, 0), border, (0, 0)], PadMode::Constant(0.0));
    let x = B::float_unfold(x, 2, reach, stride * band);
    let x = B::float_reshape(x, [batch, groups, group_inputs, bands, columns, reach].into());
    let x = B::float_permute(x, &[2, 3, 1, 0, 5, 4]);
    let x = B::float_reshape(x, [group_inputs, bands * groups * batch, reach, columns].into());
    // The gradient of a band is a kernel over the band.
    let kernel = B::float_reshape(gradient, [batch, groups, group_outputs, bands, band, columns_out].into());
    let kernel = B::float_permute(kernel, &[3, 1, 2, 0, 4, 5]);
    let kernel = B::float_reshape(kernel, [bands * outputs, batch, band, columns_out].into());
    let over_bands =
        ConvOptions::new_with_padding([1, 1], [(0, 0), options.padding[1]], options.stride, bands * groups);
    let sums = B::conv2d(x, kernel, None, over_bands);
    let [_, _, tall, wide] = sums.shape().dims();
    let sums = B::float_reshape(sums, [group_inputs, bands, outputs, tall, wide].into());
    let sums = B::float_reshape(B::float_sum_dim(sums, 1), [group_inputs, outputs, tall, wide].into());
    // Where the stride does not divide the map, the convolution overhangs the kernel.
    let sums =
        B::float_slice(sums, &[(0..group_inputs).into(), (0..outputs).into(), (0..side).into(), (0..side).into()]);
    B::float_permute(sums, &[1, 0, 2, 3])
}

/// The rows of a band: as many as divide the map and keep the loop over a band, `row` pixels a row, short.
fn band(rows: usize, row: usize) -> usize {
    (1..=rows).rev().find(|band| rows.is_multiple_of(*band) && band * row <= LONGEST).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::backend::flex::FlexTensor;
    use burn::backend::ops::ModuleOps;
    use burn::tensor::TensorData;

    use super::*;

    fn tensor(shape: [usize; 4], seed: usize) -> FlexTensor {
        let values = (0..shape.iter().product()).map(|i: usize| ((i * 37 + seed) % 101) as f32 / 50.0 - 1.0).collect();
        FlexTensor::from_data(TensorData::new::<f32, _>(values, shape))
    }

    #[test]
    fn the_gradients_are_burns() {
        // Side of the kernel, stride, border, inputs, outputs, groups.
        for (side, stride, border, inputs, outputs, groups) in
            [(3, 1, 1, 3, 5, 1), (1, 1, 0, 4, 2, 1), (4, 2, 1, 3, 4, 1), (3, 1, 1, 6, 6, 6), (6, 2, 2, 4, 4, 4)]
        {
            let x = tensor([2, inputs, 12, 8], 1);
            let weight = tensor([outputs, inputs / groups, side, side], 2);
            let options = ConvOptions::new([stride; 2], [border; 2], [1, 1], groups);
            let out = Flex::conv2d(x.clone(), weight.clone(), None, options.clone());
            let gradient = tensor(out.shape().dims(), 3);
            let values = |found: FlexTensor| found.into_data().try_into_vec::<f32>().unwrap();
            let of = |band| {
                let found = weight_gradient::<Flex>(x.clone(), weight.clone(), gradient.clone(), &options, band);
                assert_eq!(found.shape(), weight.shape());
                values(found)
            };
            let rows = gradient.shape()[2];
            let (whole, bands) = (of(rows), of(rows / 3));
            let apart = whole.iter().zip(&bands).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "side {side}, stride {stride}, {groups} groups: {apart}");
            let ours = input_gradient::<Flex>(x.clone(), weight.clone(), gradient.clone(), options.clone());
            assert_eq!(ours.shape(), x.shape());
            let burns = values(Flex::conv2d_x_backward(x, weight, gradient, options));
            let apart = values(ours).iter().zip(&burns).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-4, "side {side}, stride {stride}, {groups} groups: {apart}");
        }
    }

    #[test]
    fn bands_divide_the_map_and_are_short() {
        assert_eq!(band(64, 64 * 2), 64);
        assert_eq!(band(256, 256 * 8), 4);
        assert_eq!(band(160, 192 * 8), 5);
        assert_eq!(band(7, 1 << 20), 1);
    }
}
