//! How long the network takes: a training step, and T dropout passes by the plain loop and by the plan.

use std::time::Instant;

use burn::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::domain::settings::Settings;
use crate::domain::value_range::ValueRange;
use crate::engine::EngineError;
use crate::engine::augment::HostBatch;
use crate::engine::config::UNetConfig;
use crate::engine::model::Model;
use crate::engine::passes::Sampling;
use crate::engine::train::Trainer;

/// Medians in seconds.
#[derive(Clone, Copy, Debug, serde::Serialize, schemars::JsonSchema)]
pub struct Speed {
    /// Forward, backward and Adam, divided by the batch size.
    pub train_step_per_image: f64,
    /// T passes one by one, each through the whole network.
    pub mc_looped: f64,
    /// The same passes by the plan, with their moments.
    pub mc_exact: f64,
    /// The largest difference between the two, over all passes and pixels.
    pub mc_exact_max_abs_diff: f32,
}

/// Times the network that the settings describe, on random images, each figure the median of `repeats`.
pub fn measure(settings: &Settings, repeats: usize, device: &Device) -> Result<Speed, EngineError> {
    let config = UNetConfig::new(settings, 1);
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed);
    let train_step_per_image = train_step_per_image(settings, repeats, device)?;
    let model = Model::untrained(settings, ValueRange::default(), device);
    let image: Vec<u16> = (0..config.rows * config.columns * config.channels).map(|_| rng.random()).collect();
    let ours = model.stack(&image, Sampling::plain(settings.passes, 1))?;
    let plain = model.stack_looped(&image, settings.passes, 1)?;
    let difference = ours.iter().zip(&plain).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    Ok(Speed {
        train_step_per_image,
        mc_looped: median_seconds(repeats, || model.stack_looped(&image, settings.passes, 1).map(drop))?,
        mc_exact: median_seconds(repeats, || model.moments(&image, Sampling::plain(settings.passes, 1)).map(drop))?,
        mc_exact_max_abs_diff: difference,
    })
}

/// Seconds per image of a training step on random images, as the median of `repeats` steps.
pub fn train_step_per_image(settings: &Settings, repeats: usize, device: &Device) -> Result<f64, EngineError> {
    let config = UNetConfig::new(settings, 1);
    let mut rng = Pcg64Mcg::seed_from_u64(settings.seed);
    let pixels = settings.batch * config.rows * config.columns;
    let images: Vec<f32> = (0..pixels * config.channels).map(|_| rng.random_range(-1.7..1.7)).collect();
    let labels: Vec<f32> = (0..pixels).map(|_| f32::from(u8::from(rng.random_bool(0.3)))).collect();
    let mut trainer = Trainer::new(config.init(settings.seed, &device.clone().autodiff()), &config, settings);
    let step = median_seconds(repeats, || {
        let weights = vec![1.0; settings.batch];
        trainer.step(HostBatch { images: images.clone(), labels: labels.clone(), weights }).map(drop)
    })?;
    Ok(step / settings.batch as f64)
}

fn median_seconds(repeats: usize, mut work: impl FnMut() -> Result<(), EngineError>) -> Result<f64, EngineError> {
    work()?;
    let mut times = Vec::with_capacity(repeats);
    for _ in 0..repeats {
        let begun = Instant::now();
        work()?;
        times.push(begun.elapsed().as_secs_f64());
    }
    times.sort_by(f64::total_cmp);
    Ok(times[repeats / 2])
}
