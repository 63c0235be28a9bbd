//! A trained network prepared for dropout passes on the CPU: weights are packed once, what passes share is computed
//! once, passes are distributed over the threads, and their memory is reused.
//!
//! The identities are those of `plan`: the skip half of a decoder block's first convolution is computed once if dropout
//! leaves the encoder alone, and a convolution over an up-sampled map becomes four small ones at the low resolution.

use std::sync::Mutex;

use burn::nn::conv::Conv2d;
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

use super::Activation;
use super::conv::{ConvWindow, Map, Output, Start, Term, convolve};
use super::maps::{Kernel, max_pool};
use super::panel::Panels;
use crate::engine::EngineError;
use crate::engine::config::UNetConfig;
use crate::engine::dropout::{Maps, McDropout};
use crate::engine::read;
use crate::engine::unet::{Double, EncoderLayers, UNet};

/// The network.
#[derive(Debug)]
pub struct Network {
    encoder: Encoder,
    decoder: Vec<ConvBlock>,
    head: Conv,
    memory: Memory,
}

/// The encoder.
#[derive(Debug)]
enum Encoder {
    /// The U-Net's own, packed.
    Levels(Vec<[Conv; 2]>),
    /// A pre-trained one, not packed: passes differ only after it.
    Lite0(Box<UNet>),
}

/// A convolution, packed.
#[derive(Debug)]
struct Conv {
    window: ConvWindow,
    weights: Panels,
    bias: Vec<f32>,
}

/// A decoder block, packed.
#[derive(Debug)]
struct ConvBlock {
    /// Over the low-resolution map, for each pixel of a square of four.
    up: Vec<(ConvWindow, Panels)>,
    /// Over the encoder's features, with the bias.
    skip: Conv,
    second: Conv,
}

/// A channels-last map of one image.
#[derive(Debug)]
struct ImageMap {
    values: Vec<f32>,
    rows: usize,
    columns: usize,
    channels: usize,
}

impl ImageMap {
    fn map(&self) -> Map<'_> {
        let Self { values, rows, columns, channels } = self;
        Map { values, batch: 1, rows: *rows, columns: *columns, channels: *channels }
    }

    /// As `[1, channels, rows, columns]`.
    fn tensor(&self) -> Tensor<4> {
        let data = TensorData::new(self.values.clone(), [1, self.rows, self.columns, self.channels]);
        Tensor::from_data(data, &Device::flex()).permute([0, 3, 1, 2])
    }

    /// Of `[1, channels, rows, columns]`.
    fn read(map: Tensor<4>, memory: &Memory) -> Result<Self, EngineError> {
        let [_, channels, rows, columns] = map.dims();
        let mut values = memory.take(channels * rows * columns);
        values.copy_from_slice(&read(map.permute([0, 2, 3, 1]))?);
        Ok(Self { values, rows, columns, channels })
    }
}

impl Maps for ImageMap {
    fn shape(&self) -> [usize; 4] {
        [1, self.channels, self.rows, self.columns]
    }

    fn times(mut self, mask: Vec<f32>) -> Self {
        let pixels = self.rows * self.columns;
        for (pixel, values) in self.values.chunks_exact_mut(self.channels).enumerate() {
            values.iter_mut().zip(mask[pixel..].iter().step_by(pixels)).for_each(|(value, factor)| *value *= factor);
        }
        self
    }
}

/// The encoder's output for an image, with the skip halves already convolved for the decoder.
struct Encoded {
    deepest: ImageMap,
    /// The skip halves, from the deepest block up.
    kept: Vec<ImageMap>,
}

impl Network {
    /// Packs a network that lies on the CPU.
    pub fn new(network: &UNet, config: &UNetConfig) -> Result<Self, EngineError> {
        let double = |block: &Double| Ok([Conv::new(&block.a)?, Conv::new(&block.b)?]);
        let skips = config.features().into_iter().rev().skip(1);
        let blocks = network.decoder.iter().zip(skips).map(|(block, skip)| ConvBlock::new(block, skip));
        Ok(Self {
            encoder: match &network.encoder {
                EncoderLayers::Levels(levels) => {
                    Encoder::Levels(levels.iter().map(double).collect::<Result<_, EngineError>>()?)
                }
                EncoderLayers::Lite0(_) => Encoder::Lite0(Box::new(network.clone())),
            },
            decoder: blocks.collect::<Result<_, EngineError>>()?,
            head: Conv::new(&network.head)?,
            memory: Memory::default(),
        })
    }

    /// Runs the passes over an image `[rows, columns, channels]` and calls `each` with the logits of each in turn,
    /// `[rows, columns, outputs]`.
    pub fn for_each_pass(
        &self,
        image: Vec<f32>,
        [rows, columns]: [usize; 2],
        passes: usize,
        dropout: &McDropout,
        mut each: impl FnMut(&[f32]) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let image = ImageMap { channels: image.len() / (rows * columns), values: image, rows, columns };
        let alone = dropout.leaves_encoder_alone();
        let shared = alone.then(|| self.encode(&image, &mut dropout.at_pass(0))).transpose()?;
        let one = |pass: usize| {
            let mut dropout = dropout.at_pass(pass);
            Ok(match &shared {
                Some(encoded) => self.decode(encoded, &mut dropout),
                None => {
                    let encoded = self.encode(&image, &mut dropout)?;
                    let logits = self.decode(&encoded, &mut dropout);
                    encoded.give_back(&self.memory);
                    logits
                }
            })
        };
        // Runs as many passes at once as there are threads and takes them in order, so that the sums do not depend on
        // the threads.
        let passes: Vec<usize> = (0..passes).collect();
        for wave in passes.chunks(rayon::current_num_threads()) {
            for logits in wave.par_iter().map(|pass| one(*pass)).collect::<Result<Vec<_>, EngineError>>()? {
                each(&logits.values)?;
                self.memory.give(logits.values);
            }
        }
        if let Some(encoded) = shared {
            encoded.give_back(&self.memory);
        }
        Ok(())
    }

    fn encode(&self, image: &ImageMap, dropout: &mut McDropout) -> Result<Encoded, EngineError> {
        let mut features = match &self.encoder {
            Encoder::Levels(levels) => self.features(levels, image, dropout),
            Encoder::Lite0(network) => {
                let maps =
                    network.encode(image.tensor(), dropout).into_iter().map(|map| ImageMap::read(map, &self.memory));
                maps.collect::<Result<_, EngineError>>()?
            }
        };
        let deepest = features.pop().expect("a network has levels");
        let kept = |(block, skip): (&ConvBlock, ImageMap)| {
            let kept = block.skip.of(&skip, Activation::None, &self.memory);
            self.memory.give(skip.values);
            kept
        };
        Ok(Encoded { deepest, kept: self.decoder.iter().zip(features.into_iter().rev()).map(kept).collect() })
    }

    fn features(&self, levels: &[[Conv; 2]], image: &ImageMap, dropout: &mut McDropout) -> Vec<ImageMap> {
        let mut features: Vec<ImageMap> = Vec::with_capacity(levels.len());
        for (level, [a, b]) in levels.iter().enumerate() {
            let pooled = features.last().map(|x| ImageMap {
                values: max_pool(x.map()),
                rows: x.rows / 2,
                columns: x.columns / 2,
                channels: x.channels,
            });
            let x = a.of(pooled.as_ref().unwrap_or(image), Activation::Relu, &self.memory);
            let mut y = b.of(&x, Activation::Relu, &self.memory);
            self.memory.give(x.values);
            if level > 0 && level + 1 < levels.len() {
                y = dropout.in_encoder(y);
            }
            features.push(y);
        }
        features
    }

    fn decode(&self, encoded: &Encoded, dropout: &mut McDropout) -> ImageMap {
        let mut x = self.memory.take(encoded.deepest.values.len());
        x.copy_from_slice(&encoded.deepest.values);
        let mut x = dropout.at_the_deepest(ImageMap { values: x, ..encoded.deepest });
        for (step, (block, kept)) in self.decoder.iter().zip(&encoded.kept).enumerate() {
            let first = block.first(&x, kept, &self.memory);
            self.memory.give(x.values);
            x = block.second.of(&first, Activation::Relu, &self.memory);
            self.memory.give(first.values);
            if step + 1 < self.decoder.len() {
                x = dropout.in_decoder(x);
            }
        }
        let logits = self.head.of(&x, Activation::None, &self.memory);
        self.memory.give(x.values);
        logits
    }
}

impl Encoded {
    fn give_back(self, memory: &Memory) {
        self.kept.into_iter().for_each(|kept| memory.give(kept.values));
        memory.give(self.deepest.values);
    }
}

impl Conv {
    fn new(layer: &Conv2d) -> Result<Self, EngineError> {
        let (weight, bias) = super::weights(layer);
        let dims = weight.dims();
        let values = read(weight)?;
        Ok(Self::part(Kernel::new(&values, dims), read(bias)?))
    }

    fn part(kernel: Kernel, bias: Vec<f32>) -> Self {
        Self { window: kernel.window(), weights: kernel.forward(), bias }
    }

    fn of(&self, x: &ImageMap, activation: Activation, memory: &Memory) -> ImageMap {
        let ImageMap { rows, columns, .. } = *x;
        let output = Output { batch: 1, rows, columns, start: Start::Bias(&self.bias), activation };
        let term = Term { map: x.map(), window: self.window, weights: &self.weights };
        made(&output, self.weights.columns, &[vec![term]], memory)
    }
}

impl ConvBlock {
    fn new(block: &Double, skip: usize) -> Result<Self, EngineError> {
        let (weight, bias) = super::weights(&block.a);
        let dims = weight.dims();
        let values = read(weight)?;
        // The concatenation is the up-sampled map first, then the skip.
        let (up, skip) = Kernel::new(&values, dims).split(dims[1] - skip);
        Ok(Self { up: up.phases(), skip: Conv::part(skip, read(bias)?), second: Conv::new(&block.b)? })
    }

    fn first(&self, low: &ImageMap, kept: &ImageMap, memory: &Memory) -> ImageMap {
        let ImageMap { rows, columns, channels, .. } = *kept;
        let term = |(window, weights)| vec![Term { map: low.map(), window, weights }];
        let phases: Vec<_> = self.up.iter().map(|(window, weights)| term((*window, weights))).collect();
        let output = Output { batch: 1, rows, columns, start: Start::Map(kept.map()), activation: Activation::Relu };
        made(&output, channels, &phases, memory)
    }
}

fn made(output: &Output, channels: usize, phases: &[Vec<Term>], memory: &Memory) -> ImageMap {
    let mut values = memory.take(output.length(channels));
    convolve(output, phases, &mut values);
    ImageMap { values, rows: output.rows, columns: output.columns, channels }
}

/// Maps kept for reuse. Only maps taken from here are given back, so that it does not grow. Fresh memory costs more
/// than the sums of a small layer.
#[derive(Debug, Default)]
struct Memory(Mutex<Vec<Vec<f32>>>);

impl Memory {
    /// `length` numbers of any value.
    fn take(&self, length: usize) -> Vec<f32> {
        let mut free = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match free.iter().position(|values| values.len() == length) {
            Some(at) => free.swap_remove(at),
            None => vec![0.0; length],
        }
    }

    fn give(&self, values: Vec<f32>) {
        self.0.lock().unwrap_or_else(|e| e.into_inner()).push(values);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::settings::{DropoutPlace, Encoder, OrAuto, Settings};

    #[test]
    fn memory_does_not_grow_with_the_images() {
        let kinds = [
            (Encoder::Unet, DropoutPlace::Deepest),
            (Encoder::Unet, DropoutPlace::All),
            (Encoder::Lite0, DropoutPlace::Deepest),
        ];
        for (encoder, dropout_place) in kinds {
            let settings = Settings {
                encoder,
                widths: OrAuto::Is(vec![4, 8, 16]),
                rows: 32,
                columns: 32,
                dropout_place,
                ..Settings::default()
            };
            let config = UNetConfig::new(&settings, 1);
            let network = Network::new(&config.init(0, &Device::flex()), &config).unwrap();
            let score = || {
                let dropout = McDropout::new(&config, 1);
                network.for_each_pass(vec![0.5; 32 * 32 * 3], [32, 32], 8, &dropout, |_| Ok(())).unwrap();
                network.memory.0.lock().unwrap().len()
            };
            // The first images find how many passes run at once.
            let most = (0..20).map(|_| score()).max().unwrap();
            assert!((0..100).all(|_| score() <= most + 8), "more than {most} maps after 100 images");
        }
    }
}
