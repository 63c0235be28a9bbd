//! What images are normalised by.

use crate::engine::EngineError;
use crate::engine::lite0;
use crate::engine::samples::SampleSource;

/// Per-channel mean and standard deviation by which images are normalised, on a scale of 0 to 1. Stored with the model.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Statistics {
    /// Mean per channel.
    pub mean: Vec<f32>,
    /// Standard deviation per channel, never 0.
    pub deviation: Vec<f32>,
}

impl Statistics {
    /// Statistics of the samples' images.
    pub fn of(samples: &impl SampleSource, channels: usize) -> Result<Self, EngineError> {
        let mut counts = vec![vec![0u64; 1 << 16]; channels];
        for place in 0..samples.len() {
            for pixel in samples.get(place)?.image.chunks_exact(channels) {
                pixel.iter().zip(&mut counts).for_each(|(value, counts)| counts[usize::from(*value)] += 1);
            }
        }
        let (mut mean, mut deviation) = (Vec::new(), Vec::new());
        for counts in counts {
            let all = counts.iter().sum::<u64>().max(1) as f64;
            let sum =
                |f: &dyn Fn(f64) -> f64| (0..).zip(&counts).map(|(v, n)| f(f64::from(v)) * *n as f64).sum::<f64>();
            let m = sum(&|v| v) / all;
            let variance = sum(&|v| (v - m).powi(2)) / all;
            mean.push((m / 65535.0) as f32);
            deviation.push((variance.sqrt() / 65535.0).max(1e-3) as f32);
        }
        Ok(Self { mean, deviation })
    }

    /// The statistics that the pre-trained encoder was trained with.
    pub fn of_photographs(channels: usize) -> Self {
        Self { mean: vec![lite0::INPUT_MEAN; channels], deviation: vec![lite0::INPUT_DEVIATION; channels] }
    }

    pub(super) fn normalise(&self, channel: usize, value: f32) -> f32 {
        (value - self.mean[channel]) / self.deviation[channel]
    }

    /// Converts one image of interleaved values to the network's input, `[channels, rows, columns]`.
    pub fn network_input(&self, image: &[u16]) -> Vec<f32> {
        let channels = self.mean.len();
        (0..channels)
            .flat_map(|channel| {
                image
                    .iter()
                    .skip(channel)
                    .step_by(channels)
                    .map(move |&v| self.normalise(channel, f32::from(v) / 65535.0))
            })
            .collect()
    }
}
