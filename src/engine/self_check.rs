//! The self-check of devices: the operations that the program uses, compared with those of the CPU.

use std::sync::mpsc;
use std::time::Duration;

use burn::tensor::Device;
use rand::SeedableRng;
use rand_pcg::Pcg64Mcg;

use crate::domain::settings::{Budget, Channels, Encoder, Flips, Geometry, OrAuto, Schedule, Settings};
use crate::domain::value_range::ValueRange;
use crate::engine::EngineError;
use crate::engine::augment::augmented_batch;
use crate::engine::config::UNetConfig;
use crate::engine::model::{Description, Model};
use crate::engine::passes::Sampling;
use crate::engine::sample::Sample;
use crate::engine::statistics::Statistics;
use crate::engine::train::{Trainer, TrainingSet, train};

/// How long a self-check may take before its device counts as hanging.
pub const SELF_CHECK_LIMIT: Duration = Duration::from_secs(120);
/// What it is called where it fails.
pub(super) const SELF_CHECK: &str = "its self-check";
/// Largest difference between a device and the CPU that is taken for rounding, relative to the largest value compared.
const TOLERANCE: f32 = 2e-3;

/// The results of the trial on one device: names and values.
type Trial = Vec<(String, Vec<f32>)>;

/// Compares a device with the CPU: on a network of this shape, or on a tiny U-Net and the pre-trained encoder. Returns the
/// largest difference, relative to the largest value compared; an error says what differs too much.
pub(super) fn compare(device: &Device, network: Option<&UNetConfig>) -> Result<f32, String> {
    let on = |device: &Device| {
        let trial = network.map_or_else(|| trial(device), |network| network_trial(device, network));
        trial.map_err(|e| e.to_string())
    };
    difference(&on(device)?, &on(&Device::flex())?)
}

/// Runs a check, called `what`, on a thread of its own, so that neither a panic nor a hang of the driver reaches the caller.
pub(super) fn within<T: Send + 'static>(
    limit: Duration,
    what: &str,
    check: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let (say, hear) = mpsc::channel();
    let run = move || {
        let _ = say.send(check());
    };
    std::thread::Builder::new().name("qualm-self-check".to_owned()).spawn(run).map_err(|e| e.to_string())?;
    hear.recv_timeout(limit).unwrap_or_else(|error| {
        Err(match error {
            mpsc::RecvTimeoutError::Timeout => format!("{what} did not end within {} s", limit.as_secs()),
            mpsc::RecvTimeoutError::Disconnected => format!("{what} failed: its driver, or the program, has a fault"),
        })
    })
}

/// The largest relative difference over everything compared; an error names what differs too much.
fn difference(here: &Trial, there: &Trial) -> Result<f32, String> {
    let mut largest = 0.0f32;
    for ((what, here), (_, there)) in here.iter().zip(there) {
        if here.len() != there.len() {
            return Err(format!("{what} has {} values, and {} on the CPU", here.len(), there.len()));
        }
        let scale = there.iter().fold(0.0f32, |a, v| a.max(v.abs()));
        let gap = |(x, y): (&f32, &f32)| if x.is_finite() { (x - y).abs() } else { f32::INFINITY };
        let apart = here.iter().zip(there).map(gap).fold(0.0f32, f32::max);
        let relative = apart / scale.max(1e-6);
        if relative > TOLERANCE {
            return Err(format!(
                "{what} differs from the CPU's by {apart:.3e}, where its largest value is {scale:.3e}"
            ));
        }
        largest = largest.max(relative);
    }
    Ok(largest)
}

/// The operations the program uses, on a tiny U-Net and on the pre-trained encoder with small images.
fn trial(device: &Device) -> Result<Trial, EngineError> {
    // One class by the sigmoid, several by the softmax: each encoder tries one.
    let unet = trained(
        device,
        &Settings { widths: OrAuto::Is(vec![8, 16, 32]), encoder: Encoder::Unet, ..trial_settings(16, 24) },
        2,
    )?;
    let lite0 = trained(device, &Settings { encoder: Encoder::Lite0, ..trial_settings(32, 32) }, 1)?;
    Ok(unet.into_iter().chain(lite0).collect())
}

/// The gradients, the prediction and two dropout passes of an untrained network of this shape, on one image. Without
/// training: Adam turns the sign of a gradient next to zero, which is rounding, into a whole step.
fn network_trial(device: &Device, network: &UNetConfig) -> Result<Trial, EngineError> {
    let settings = Settings {
        encoder: network.encoder,
        widths: OrAuto::Is(network.widths.clone()),
        channels: if network.channels == 1 { Channels::Grey } else { Channels::Rgb },
        dropout: network.dropout,
        dropout_place: network.dropout_place,
        ..trial_settings(network.rows, network.columns)
    };
    let sample = sample(network, 0);
    let statistics = Statistics::of_photographs(network.channels);
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed);
    let batch = augmented_batch(&[&sample], network.input(), &statistics, &settings, &mut rng);
    let tape = device.clone().autodiff();
    let gradients = Trainer::new(network.init(settings.seed, &tape), network, &settings).gradient_norms(batch)?;
    let description = Description::new(network.clone(), statistics, &settings, ValueRange::default());
    let model = Model::new(description, network.init(settings.seed, device), device.clone());
    let mut found = vec![("the norm of the gradients".to_owned(), gradients)];
    found.extend(predictions(&model, &sample.image, Sampling::plain(2, 5))?);
    Ok(found)
}

/// An image and a label for a network of this shape.
fn sample(network: &UNetConfig, shift: usize) -> Sample {
    let UNetConfig { rows, columns, channels, classes, .. } = *network;
    Sample {
        image: (0..rows * columns * channels).map(|i| ((i * 37 + shift * 101) % 251) as u16 * 257).collect(),
        label: (0..rows * columns).map(|i| ((i / columns + shift) % 16 / 6).min(classes) as u8).collect(),
        weight: 1.0,
        number: shift,
    }
}

/// What a model predicts without dropout, and the moments of its dropout passes.
fn predictions(model: &Model, image: &[u16], sampling: Sampling) -> Result<Trial, EngineError> {
    let plain = model.plain(image)?;
    let moments = model.moments(image, sampling)?;
    let found = [
        ("the predicted probability", plain.mean),
        ("the mean of the dropout passes", moments.mean),
        ("the variance of the dropout passes", moments.variance),
        ("the entropy of the dropout passes", moments.entropy),
    ];
    Ok(found.into_iter().map(|(what, values)| (what.to_owned(), values)).collect())
}

fn trial_settings(rows: usize, columns: usize) -> Settings {
    Settings {
        geometry: Geometry::Resize,
        rows,
        columns,
        channels: Channels::Rgb,
        batch: 2,
        schedule: Schedule::Constant,
        budget: Budget::Epochs,
        epochs: 2,
        seed: 1,
        ..Settings::default()
    }
}

/// Two training steps, the trained network's prediction without dropout, and the moments of its dropout passes.
/// Everything random is seeded.
fn trained(device: &Device, settings: &Settings, classes: usize) -> Result<Trial, EngineError> {
    let network = UNetConfig::new(settings, classes);
    let set = TrainingSet {
        training: vec![sample(&network, 0), sample(&network, 3)],
        validation: Vec::new(),
        classes,
        range: ValueRange::default(),
    };
    let trained = train(&set, settings, true, None, device, &mut ())?;
    let losses = trained.curve.iter().map(|point| point.loss as f32).collect();
    let mut found = vec![("the training loss".to_owned(), losses)];
    let sampling = Sampling { passes: 6, seed: 5, flips: Flips::Both };
    found.extend(predictions(&trained.model, &set.training[0].image, sampling)?);
    let named = |(what, values)| (format!("{what} with encoder {}", settings.encoder.word()), values);
    Ok(found.into_iter().map(named).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_named() {
        let trial =
            |variance: f32| vec![("the loss".to_owned(), vec![1.0]), ("the variance".to_owned(), vec![0.25, variance])];
        assert!(difference(&trial(0.1), &trial(0.1)).unwrap() == 0.0);
        assert!(difference(&trial(0.1001), &trial(0.1)).unwrap() > 0.0);
        for wrong in [0.2, f32::NAN, f32::INFINITY] {
            let reason = difference(&trial(wrong), &trial(0.1)).unwrap_err();
            assert!(reason.starts_with("the variance differs"), "{reason}");
        }
    }

    #[test]
    fn a_check_that_panics_or_hangs_is_an_error() {
        let limit = Duration::from_millis(50);
        let hangs = || {
            std::thread::sleep(Duration::from_secs(5));
            Ok(())
        };
        assert!(within(limit, SELF_CHECK, hangs).unwrap_err().contains("did not end"));
        assert!(
            within(Duration::from_secs(5), SELF_CHECK, || -> Result<(), String> { panic!("a driver's panic") })
                .is_err()
        );
        assert_eq!(within(Duration::from_secs(5), SELF_CHECK, || Ok(3)), Ok(3));
    }
}
