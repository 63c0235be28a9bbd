//! Burn: devices, the U-Net, Monte-Carlo dropout, losses, training, prediction, checkpoints.
//!
//! Nothing here knows where images come from or who looks at the result.

pub mod augment;
pub mod config;
pub mod course;
pub mod device;
pub mod device_report;
pub mod dropout;
pub mod layers;
pub mod lite0;
pub mod loss;
mod memory;
pub mod model;
pub mod passes;
pub mod plan;
pub mod remote;
pub mod sample;
pub mod samples;
mod self_check;
pub mod speed;
pub mod statistics;
pub mod train;
pub mod unet;

use std::path::PathBuf;

use crate::domain::remedy::Failure;
use crate::engine::train::TrainingProgress;

/// What can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The user cancelled.
    #[error("cancelled")]
    Cancelled,
    /// No labelled image to train on.
    #[error("there is no labelled image to train on")]
    NothingToLearn,
    /// Training diverged.
    #[error(
        "the loss became infinite or not a number in epoch {epoch}: training diverged and the earlier model stays; \
         lower the learning rate, or raise the batch size"
    )]
    LossNotFinite {
        /// The epoch, from 1.
        epoch: usize,
    },
    /// A result that is not a number.
    #[error("{0} is not a number everywhere; train again with a lower learning rate")]
    NotFinite(&'static str),
    /// T = 0.
    #[error("at least two passes are needed to measure uncertainty")]
    NoPasses,
    /// The device failed.
    #[error("the device failed: {0}; choose another device")]
    Device(String),
    /// The device is unavailable or was refused.
    #[error("{0}")]
    Refused(String),
    /// A failure outside the engine, which ended its work.
    #[error(transparent)]
    Other(#[from] Failure),
    /// A model file could not be read or written.
    #[error("{0}: {1}; activate another round, or train again")]
    Weights(PathBuf, String),
    /// Not even one image fits the device.
    #[error(
        "the device's memory does not hold the training of one image: {0}; make the network's input or its \
         widths smaller, or train on the CPU"
    )]
    OutOfMemory(String),
    /// A file that cannot be written or read.
    #[error("{0}: {1}; check that it exists, and that its folder is writable and has space")]
    File(PathBuf, std::io::Error),
}

pub use crate::domain::text::panic_text;

impl EngineError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File(path, source)
    }
}

/// Whether a long-running operation continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Continue.
    On,
    /// Stop here and keep the results so far.
    Finish,
}

/// The caller of a long-running operation, which receives its progress and may end it.
pub trait Control {
    /// Called with the progress after each batch; an error ends training without a model.
    fn training(&mut self, progress: &TrainingProgress) -> Result<Flow, EngineError>;

    /// Seconds for which it has paused the operation so far; these do not count against the budget.
    fn paused_s(&self) -> f64 {
        0.0
    }
}

impl Control for () {
    fn training(&mut self, _: &TrainingProgress) -> Result<Flow, EngineError> {
        Ok(Flow::On)
    }
}

/// Brings a tensor to the host.
pub fn read<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Result<Vec<f32>, EngineError> {
    tensor.try_into_vec_as::<f32>().map_err(|e| EngineError::Device(format!("{e:?}")))
}
