//! Burn: devices, the U-Net, Monte-Carlo dropout, losses, training, prediction, checkpoints.
//!
//! Nothing here knows where images come from or who looks at the result.

pub mod course;
pub mod device;
pub mod dropout;
pub mod layers;
pub mod lite0;
pub mod loss;
pub mod model;
pub mod passes;
pub mod plan;
pub mod sample;
pub mod samples;
pub mod speed;
pub mod train;
pub mod unet;

use std::path::PathBuf;

use crate::engine::train::TrainingProgress;

/// What can go wrong in the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The person cancelled.
    #[error("cancelled")]
    Cancelled,
    /// No labelled image to train on.
    #[error("there is no labelled image to train on; label a few images and accept them (Enter)")]
    NothingToLearn,
    /// Training diverged.
    #[error(
        "the loss became infinite or not a number in epoch {epoch}: training diverged and the earlier model stays; \
         lower the learning rate (learning_rate), or raise the batch size (batch)"
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
    /// A device that cannot be had or was refused.
    #[error("{0}")]
    Refused(String),
    /// A file of a model.
    #[error("{0}: {1}; activate another round, or train again")]
    Weights(PathBuf, String),
    /// Not even one image fits the device.
    #[error(
        "the device's memory does not hold the training of one image: {0}; make the network's input or widths smaller \
         (rows, columns, widths), or train on the CPU"
    )]
    OutOfMemory(String),
    /// A file that cannot be written or read.
    #[error("{0}: {1}; check that the folder is writable and has space")]
    File(PathBuf, std::io::Error),
}

/// A panic's message.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    text.unwrap_or("no message").to_owned()
}

impl EngineError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File(path, source)
    }
}

/// Whether a long piece of work goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// It does.
    On,
    /// It ends here, with what it has.
    Finish,
}

/// The one who asked for a long piece of work: hears how it goes, and may end it.
pub trait Control {
    /// Hears of a finished batch; an error ends training without a model.
    fn training(&mut self, progress: &TrainingProgress) -> Result<Flow, EngineError>;

    /// Seconds that it has held the work up so far: they are not spent.
    fn paused_s(&self) -> f64 {
        0.0
    }
}

impl Control for () {
    fn training(&mut self, _: &TrainingProgress) -> Result<Flow, EngineError> {
        Ok(Flow::On)
    }
}
