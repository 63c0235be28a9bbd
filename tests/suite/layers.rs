//! The network's CPU layers agree with Burn's own operations, forward and backward.

use std::slice::from_ref;

use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;
use burn::tensor::module::{conv2d, interpolate, max_pool2d};
use burn::tensor::ops::{ConvOptions, InterpolateMode, InterpolateOptions, MaxPoolOptions};
use qualm::engine::layers::{self, Activation};
use qualm::engine::lite0::Lite0;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

/// Numbers between −1 and 1, the same for the same seed.
fn numbers<const D: usize>(dims: [usize; D], seed: u64) -> Tensor<D> {
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let values: Vec<f32> = (0..dims.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Tensor::from_data(TensorData::new(values, dims), &Device::flex().autodiff())
}

fn layer(inputs: usize, outputs: usize, side: usize) -> Conv2d {
    let mut layer = Conv2dConfig::new([inputs, outputs], [side, side]).init(&Device::flex().autodiff());
    layer.weight = layer.weight.map(|_| numbers([outputs, inputs, side, side], 1).require_grad());
    layer.bias = layer.bias.map(|bias| bias.map(|_| numbers([outputs], 2).require_grad()));
    layer
}

/// Burn's own: a convolution that keeps the size.
fn plain(x: Tensor<4>, layer: &Conv2d) -> Tensor<4> {
    let border = layer.weight.dims()[2] / 2;
    let options = ConvOptions::new([1, 1], [border; 2], [1, 1], 1);
    conv2d(x, layer.weight.val(), layer.bias.as_ref().map(|b| b.val()), options)
}

fn up(x: Tensor<4>) -> Tensor<4> {
    let [_, _, rows, columns] = x.dims();
    let options = InterpolateOptions::new(InterpolateMode::Nearest).with_output_size([2 * rows, 2 * columns]);
    interpolate(x, options)
}

/// The result, then the gradients of its product with random numbers: of the inputs, the weights, the bias.
fn all_of(inputs: &[Tensor<4>], layer: Option<&Conv2d>, result: Tensor<4>) -> Vec<Vec<f32>> {
    let host = |tensor: Tensor<1>| tensor.into_data().try_into_vec::<f32>().unwrap();
    let mut all = vec![host(result.clone().flatten(0, 3))];
    let gradients = (result.clone() * numbers(result.dims(), 3)).sum().backward();
    all.extend(inputs.iter().map(|input| host(Tensor::flatten(input.grad(&gradients).unwrap(), 0, 3))));
    if let Some(layer) = layer {
        all.push(host(Tensor::flatten(layer.weight.val().grad(&gradients).unwrap(), 0, 3)));
        all.push(host(layer.bias.as_ref().unwrap().val().grad(&gradients).unwrap()));
    }
    all
}

/// Asserts that values agree within 1e-5 of the largest value of their tensor, or of 1 if that is larger.
fn assert_close(ours: &[Vec<f32>], theirs: &[Vec<f32>], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        assert_eq!(ours.len(), theirs.len(), "{what}: tensor {i}");
        let scale = theirs.iter().fold(1.0f32, |most, v| most.max(v.abs()));
        let off = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-5 * scale, "{what}: tensor {i} is off by {off} of {scale}");
    }
}

#[test]
fn convolutions_equal_burns_with_their_gradients() {
    // Odd sizes and widths: tiles of every length, blocks of one and two vectors, padded ones.
    let cases = [
        (2, 1, 8, 9, 13, 3),
        (1, 3, 16, 16, 12, 3),
        (3, 20, 40, 5, 31, 3),
        (2, 33, 70, 2, 4, 3),
        (2, 17, 1, 6, 50, 1),
        (1, 16, 3, 7, 5, 1),
    ];
    for (batch, inputs, outputs, rows, columns, side) in cases {
        let what = format!("{batch} × {inputs} → {outputs} at {rows} × {columns}, {side} × {side}");
        let x = numbers([batch, inputs, rows, columns], 4).require_grad();
        let layer = layer(inputs, outputs, side);
        let burn = all_of(from_ref(&x), Some(&layer), plain(x.clone(), &layer));
        assert_close(
            &all_of(from_ref(&x), Some(&layer), layers::conv(x.clone(), &layer, Activation::None)),
            &burn,
            &what,
        );
        let rectified = [
            (Activation::Relu, relu(plain(x.clone(), &layer))),
            (Activation::Relu6, plain(x.clone(), &layer).clamp(0.0, 6.0)),
        ];
        for (activation, burn) in rectified {
            let burn = all_of(from_ref(&x), Some(&layer), burn);
            let ours = layers::conv(x.clone(), &layer, activation);
            assert_close(&all_of(from_ref(&x), Some(&layer), ours), &burn, &what);
        }
    }
}

/// Burn's own: ReLU6 of a convolution, with the map zero-padded explicitly as TensorFlow's `SAME` does.
fn same(x: Tensor<4>, layer: &Conv2d, stride: usize, groups: usize) -> Tensor<4> {
    let [batch, channels, rows, columns] = x.dims();
    let side = layer.weight.dims()[2];
    let zeros = |n: usize| n.div_ceil(stride).saturating_sub(1) * stride + side;
    let [down, right] = [rows, columns].map(|n| zeros(n).saturating_sub(n));
    let padded = Tensor::zeros([batch, channels, rows + down, columns + right], &x.device());
    let place = [0..batch, 0..channels, down / 2..down / 2 + rows, right / 2..right / 2 + columns];
    let options = ConvOptions::new([stride; 2], [0, 0], [1, 1], groups);
    let padded = padded.slice_assign(place, x);
    conv2d(padded, layer.weight.val(), layer.bias.as_ref().map(|bias| bias.val()), options).clamp(0.0, 6.0)
}

#[test]
fn the_encoders_convolutions_equal_burns_with_their_gradients() {
    let cases =
        [(2, 16, 6, 10, 3, 1), (1, 24, 8, 6, 3, 2), (3, 40, 4, 4, 5, 1), (2, 20, 6, 8, 5, 2), (2, 9, 2, 2, 5, 2)];
    for (batch, channels, rows, columns, side, stride) in cases {
        let what = format!("{batch} × {channels} at {rows} × {columns}, {side} × {side} at stride {stride}");
        let x = numbers([batch, channels, rows, columns], 4).require_grad();
        let layer = Conv2d { groups: channels, ..layer(channels, channels, side) };
        let layer =
            Conv2d { weight: layer.weight.map(|_| numbers([channels, 1, side, side], 1).require_grad()), ..layer };
        let burn = all_of(from_ref(&x), Some(&layer), same(x.clone(), &layer, stride, channels));
        let ours = all_of(from_ref(&x), Some(&layer), layers::depthwise(x.clone(), &layer, stride));
        assert_close(&ours, &burn, &what);
    }
    for (batch, outputs, rows, columns) in [(2, 16, 6, 10), (1, 33, 2, 4)] {
        let images = numbers([batch, 3, rows, columns], 4);
        let layer = layer(3, outputs, 3);
        let burn = all_of(&[], Some(&layer), same(images.clone(), &layer, 2, 1));
        let ours = all_of(&[], Some(&layer), layers::image_conv(images, &layer));
        assert_close(&ours, &burn, &format!("{batch} images of {rows} × {columns} to {outputs}"));
    }
}

#[test]
fn convolutions_over_up_sampled_maps_equal_burns_with_their_gradients() {
    for (batch, inputs, skips, outputs, rows, columns) in
        [(2, 16, 8, 8, 3, 5), (1, 40, 20, 20, 4, 4), (3, 64, 32, 32, 6, 7)]
    {
        let low = numbers([batch, inputs, rows, columns], 5).require_grad();
        let skip = numbers([batch, skips, 2 * rows, 2 * columns], 6).require_grad();
        let layer = layer(inputs + skips, outputs, 3);
        let both = [low.clone(), skip.clone()];
        let burn = relu(plain(Tensor::cat(vec![up(low.clone()), skip.clone()], 1), &layer));
        let ours = layers::up_conv_relu(low, skip, &layer);
        let what = format!("{batch} × {inputs} + {skips} → {outputs} at {rows} × {columns}");
        assert_close(&all_of(&both, Some(&layer), ours), &all_of(&both, Some(&layer), burn), &what);
    }
}

#[test]
fn keeping_and_pooling_equal_burns_with_their_gradients() {
    let x = numbers([2, 5, 6, 10], 7).require_grad();
    // The kept map goes through more operations than the pooled one, or fewer, so that its gradient arrives later or
    // earlier.
    for later in [true, false] {
        let joined = |kept: Tensor<4>, pooled: Tensor<4>| {
            if later { relu(kept * 2.0) + up(pooled) } else { kept + relu(up(pooled) * 2.0).exp() }
        };
        let burn = joined(x.clone(), max_pool2d(x.clone(), MaxPoolOptions::new([2, 2])));
        let (kept, pooled) = layers::keep_and_pool(x.clone());
        let ours = all_of(from_ref(&x), None, joined(kept, pooled));
        assert_close(&ours, &all_of(from_ref(&x), None, burn), "pooling");
    }
}

#[test]
fn gradients_are_what_a_small_step_shows() {
    // f(w + h e) − f(w − h e) over 2 h, without ReLU: the function is linear in each number, so h may be large.
    let (x, layer) = (numbers([2, 3, 4, 6], 8).require_grad(), layer(3, 5, 3));
    let direction = numbers([2, 5, 4, 6], 9);
    let value = |x: Tensor<4>, layer: &Conv2d| (layers::conv(x, layer, Activation::None) * direction.clone()).sum();
    let gradients = value(x.clone(), &layer).backward();
    let number = |t: Tensor<1>| t.into_scalar::<f32>();
    let weight = layer.weight.val();
    let analytic: Vec<f32> = weight.grad(&gradients).unwrap().into_data().try_into_vec().unwrap();
    for (i, analytic) in analytic.iter().enumerate().step_by(7) {
        let moved = |h: f32| {
            let mut values: Vec<f32> = weight.clone().into_data().try_into_vec().unwrap();
            values[i] += h;
            let mut moved = layer.clone();
            moved.weight = moved.weight.map(|w| Tensor::from_data(TensorData::new(values, w.dims()), &w.device()));
            number(value(x.clone(), &moved))
        };
        let slope = (moved(0.5) - moved(-0.5)) / 1.0;
        assert!((slope - analytic).abs() < 1e-3 * analytic.abs().max(1.0), "weight {i}: {slope} beside {analytic}");
    }
    let analytic: Vec<f32> = Tensor::into_data(x.grad(&gradients).unwrap()).try_into_vec().unwrap();
    for (i, analytic) in analytic.iter().enumerate().step_by(11) {
        let moved = |h: f32| {
            let mut values: Vec<f32> = x.clone().into_data().try_into_vec().unwrap();
            values[i] += h;
            number(value(Tensor::from_data(TensorData::new(values, x.dims()), &x.device()), &layer))
        };
        let slope = (moved(0.5) - moved(-0.5)) / 1.0;
        assert!((slope - analytic).abs() < 1e-3 * analytic.abs().max(1.0), "pixel {i}: {slope} beside {analytic}");
    }
}

#[test]
fn the_pretrained_encoder_gives_the_features_that_its_authors_weights_give() {
    // Made by PyTorch from the weights as published: `[3, 64, 64]` and the features at strides 2, 4, 8, 16 and 32.
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/lite0-activations.safetensors");
    let bytes = std::fs::read(path).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let read = |name: &str| {
        let tensor = tensors.tensor(name).unwrap();
        let values: Vec<f32> = tensor.data().as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        (values, tensor.shape().to_vec())
    };
    let (image, shape) = read("input");
    let image = Tensor::<4>::from_data(TensorData::new(image, [1, 3, shape[1], shape[2]]), &Device::flex());
    for (level, features) in Lite0::pretrained(&Device::flex()).forward(image).into_iter().enumerate() {
        let (expected, _) = read(&format!("level{}", level + 1));
        let found: Vec<f32> = features.into_data().try_into_vec().unwrap();
        let most = expected.iter().fold(0.0f32, |most, value| most.max(value.abs()));
        let off = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("level {}: off by {:.1e} of its greatest value", level + 1, off / most);
        assert!(found.len() == expected.len() && off <= 1e-4 * most, "level {}: {off} of {most}", level + 1);
    }
}
