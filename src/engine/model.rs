//! A trained network with everything it needs to predict, and its files.

use std::path::Path;
use std::sync::OnceLock;

use burn::prelude::*;
use burn::store::{ModuleSnapshot, SafetensorsStore};
use serde::{Deserialize, Serialize};

use crate::domain::scores::Moments;
use crate::domain::settings::{Flips, Geometry, Settings};
use crate::domain::size::Size;
use crate::domain::tiles::{self, Blend, Frame, FrameSpec};
use crate::domain::value_range::ValueRange;
use crate::engine::EngineError;
use crate::engine::config::UNetConfig;
use crate::engine::dropout::McDropout;
use crate::engine::loss::probabilities;
use crate::engine::passes::{self, Passes, Sampling};
use crate::engine::sample::Shape;
use crate::engine::statistics::Statistics;
use crate::engine::unet::UNet;

/// The weights of an exported network.
pub const EXPORTED_WEIGHTS: &str = "model.safetensors";

/// What is stored beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The network's shape.
    pub network: UNetConfig,
    /// The normalisation it was trained with.
    pub statistics: Statistics,
    /// Whether it was trained on whole images or on tiles; whole images for models from before there were tiles.
    #[serde(default = "whole")]
    pub geometry: Geometry,
    /// The values of an image that are mapped to 0 and 1; the full 16-bit range for models from before this was
    /// recorded.
    #[serde(default)]
    pub range: ValueRange,
    /// The channels of an image that it sees, from 1.
    #[serde(default = "first_channels")]
    pub image_channels: Vec<usize>,
    /// The axes along which its training images were mirrored; both for models from before this was recorded.
    #[serde(default = "both")]
    pub flips: Flips,
    /// The names of its classes, class 1 first, for an exported network; those of the project's own rounds are recorded
    /// with the rounds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
}

impl Description {
    pub(super) fn new(network: UNetConfig, statistics: Statistics, settings: &Settings, range: ValueRange) -> Self {
        debug_assert_ne!(settings.geometry, Geometry::Auto, "what auto means is decided before a network is made");
        let Settings { geometry, augment_flips: flips, .. } = *settings;
        let image_channels = settings.image_channels.clone();
        Self { network, statistics, geometry, range, image_channels, flips, classes: Vec::new() }
    }
}

impl Description {
    /// Reads the `model.json` of a folder.
    pub fn read(folder: &Path) -> Result<Self, EngineError> {
        let path = folder.join("model.json");
        let text = std::fs::read_to_string(&path).map_err(EngineError::file(&path))?;
        let bad = |e: serde_json::Error| EngineError::Weights(path.clone(), e.to_string());
        let stored: serde_json::Value = serde_json::from_str(&text).map_err(bad)?;
        let says_flips = stored.get("flips").is_some();
        let mut description: Self = serde_json::from_value(stored).map_err(bad)?;
        if !says_flips && was_trained_without_flips(folder) {
            description.flips = Flips::None;
        }
        Ok(description)
    }
}

/// Whether the settings beside a model say that images were not mirrored: those of a round before models recorded it.
fn was_trained_without_flips(folder: &Path) -> bool {
    let settings = std::fs::read(folder.join("settings.json")).ok();
    let settings = settings.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    settings.is_some_and(|settings| settings.get("augment_flips") == Some(&serde_json::Value::Bool(false)))
}

fn first_channels() -> Vec<usize> {
    vec![1, 2, 3]
}

fn both() -> Flips {
    Flips::Both
}

fn whole() -> Geometry {
    Geometry::Resize
}

/// A network ready to predict on one device.
#[derive(Clone, Debug)]
pub struct Model {
    /// Its shape and normalisation.
    pub description: Description,
    pub(super) network: UNet,
    pub(super) device: Device,
    identity: String,
    passes: OnceLock<Passes>,
}

impl Model {
    pub(super) fn new(description: Description, network: UNet, device: Device) -> Self {
        Self { description, network, device, identity: String::new(), passes: OnceLock::new() }
    }

    /// An untrained model for the settings, with one class: its weights are random, except for those of a pre-trained
    /// encoder.
    pub fn untrained(settings: &Settings, range: ValueRange, device: &Device) -> Self {
        let network = UNetConfig::new(settings, 1);
        let weights = network.init(settings.seed, device);
        let description =
            Description::new(network.clone(), Statistics::of_photographs(network.channels), settings, range);
        Self::new(description, weights, device.clone())
    }

    /// The device that it is on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model's identity: a hash of its files, known once it has been saved or loaded.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// The shape of the images it takes.
    pub fn input(&self) -> Shape {
        self.description.network.input()
    }

    /// Columns and rows that an image is resized to for this model; `None` if it takes an image in tiles, at its own
    /// size.
    pub fn frame_size(&self) -> Option<Size> {
        let Shape { rows, columns, .. } = self.input();
        (self.description.geometry == Geometry::Resize).then_some(Size::new(columns, rows))
    }

    /// How an image is prepared for this model.
    pub fn frame_spec(&self) -> FrameSpec {
        FrameSpec {
            size: self.frame_size(),
            is_grey: self.input().channels == 1,
            channels: self.description.image_channels.clone(),
            range: self.description.range,
        }
    }

    /// The dropout passes given by the settings for the image with this number, mirrored only along the axes used in
    /// training.
    pub fn sampling(&self, settings: &Settings, image: u64) -> Sampling {
        Sampling::new(settings, self.description.flips, image)
    }

    /// Moments of dropout passes over an image of the network's size, interleaved values.
    pub fn moments(&self, image: &[u16], sampling: Sampling) -> Result<Moments, EngineError> {
        self.ready()?.moments(self.tensor(image), sampling)
    }

    /// Moments of dropout passes over an image of any size: an image of the network's size is processed whole, any
    /// other in tiles that overlap by at least the fraction `overlap` of a tile and are blended. `between` is called
    /// after each tile and may end the work with an error.
    pub fn moments_of(
        &self,
        frame: &Frame,
        sampling: Sampling,
        overlap: f64,
        mut between: impl FnMut() -> Result<(), EngineError>,
    ) -> Result<Moments, EngineError> {
        let Shape { rows, columns, .. } = self.input();
        if (frame.width, frame.height) == (columns, rows) {
            return self.moments(&frame.values, sampling);
        }
        let mut blend = Blend::new(frame.width, frame.height, self.description.network.classes);
        for origin in tiles::grid(frame.width, frame.height, columns, rows, overlap) {
            blend.add(origin, &self.moments(&frame.cut(origin, columns, rows), sampling)?);
            between()?;
        }
        Ok(blend.finish())
    }

    /// Runs the dropout passes given by the settings over an image of any size, with this number, as in
    /// [`Model::moments_of`].
    pub fn predict(
        &self,
        frame: &Frame,
        settings: &Settings,
        image: u64,
        between: impl FnMut() -> Result<(), EngineError>,
    ) -> Result<Moments, EngineError> {
        self.moments_of(frame, self.sampling(settings, image), settings.tile_overlap, between)
    }

    /// The probability maps of the passes, `[passes, classes, rows, columns]`.
    pub fn stack(&self, image: &[u16], sampling: Sampling) -> Result<Vec<f32>, EngineError> {
        self.ready()?.stack(self.tensor(image), sampling)
    }

    /// The same maps by the plain loop over the whole network: slow, but the reference for [`Model::stack`].
    pub fn stack_looped(&self, image: &[u16], passes: usize, seed: u64) -> Result<Vec<f32>, EngineError> {
        passes::looped(&self.network, &self.description.network, self.tensor(image), passes, seed)
    }

    /// The features of the deepest level without dropout, each averaged over the image.
    pub fn features(&self, image: &[u16]) -> Result<Vec<f32>, EngineError> {
        let mut features = self.network.encode(self.tensor(image), &mut McDropout::off(&self.description.network));
        crate::engine::read(features.pop().expect("a network has levels").mean_dim(3).mean_dim(2))
    }

    /// The network's plan for dropout passes, made once.
    fn ready(&self) -> Result<&Passes, EngineError> {
        if self.passes.get().is_none() {
            // Where another thread was faster, its plan is as good.
            let _ = self.passes.set(Passes::new(&self.network, &self.description.network)?);
        }
        Ok(self.passes.get().expect("set above"))
    }

    /// One pass without dropout, as moments with only the mean set.
    pub fn plain(&self, image: &[u16]) -> Result<Moments, EngineError> {
        let config = &self.description.network;
        let logits = self.network.forward(self.tensor(image), &mut McDropout::off(config));
        Ok(Moments {
            width: config.columns,
            height: config.rows,
            classes: config.classes,
            mean: crate::engine::read(probabilities(logits))?,
            variance: Vec::new(),
            entropy: Vec::new(),
            mutual_information: Vec::new(),
        })
    }

    fn tensor(&self, image: &[u16]) -> Tensor<4> {
        let Shape { channels, rows, columns } = self.input();
        let values = self.description.statistics.network_input(image);
        Tensor::from_data(TensorData::new(values, [1, channels, rows, columns]), &self.device)
    }

    /// Writes `weights.safetensors` and `model.json` into a folder, which is created if necessary.
    pub fn save(&mut self, folder: &Path) -> Result<(), EngineError> {
        std::fs::create_dir_all(folder).map_err(EngineError::file(folder))?;
        let description = serde_json::to_string_pretty(&self.description).expect("a description is plain data");
        let path = folder.join("model.json");
        std::fs::write(&path, description).map_err(EngineError::file(&path))?;
        let path = folder.join("weights.safetensors");
        let mut store = SafetensorsStore::from_file(&path).overwrite(true).skip_enum_variants(true);
        self.network.save_into(&mut store).map_err(|e| EngineError::Weights(path, e.to_string()))?;
        self.identity = identity(folder)?;
        Ok(())
    }

    /// Reads what [`Model::save`] wrote.
    pub fn load(folder: &Path, device: &Device) -> Result<Self, EngineError> {
        Ok(Self { identity: identity(folder)?, ..Self::read(folder, "weights.safetensors", device)? })
    }

    /// Reads a network in PyTorch's layout from a folder with `model.json` and `model.safetensors`; it has no identity
    /// until it is saved.
    pub fn import(folder: &Path, device: &Device) -> Result<Self, EngineError> {
        Self::read(folder, EXPORTED_WEIGHTS, device)
    }

    fn read(folder: &Path, weights: &str, device: &Device) -> Result<Self, EngineError> {
        let description = Description::read(folder)?;
        let mut network = description.network.blank(device);
        let path = folder.join(weights);
        let mut store = SafetensorsStore::from_file(&path).skip_enum_variants(true);
        network.load_from(&mut store).map_err(|e| EngineError::Weights(path, e.to_string()))?;
        Ok(Self::new(description, network, device.clone()))
    }
}

/// A model's identity: the FNV-1a hash of both of its files.
pub fn identity(folder: &Path) -> Result<String, EngineError> {
    let mut hash = 0xcbf2_9ce4_8422_2325u64;
    for name in ["model.json", "weights.safetensors"] {
        let path = folder.join(name);
        let bytes = std::fs::read(&path).map_err(EngineError::file(&path))?;
        hash = bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    }
    Ok(format!("{hash:016x}"))
}
