//! Proposes images to label before there is a trained network: images that represent others that look similar.

use std::collections::HashMap;

use anyhow::{Result, bail};

use crate::domain::clusters::representative;
use crate::domain::query::Proposal;
use crate::domain::round::Reason;
use crate::domain::settings::{Encoder, Geometry, Settings};
use crate::domain::study::{FileState, ImageId};
use crate::domain::value_range::ValueRange;
use crate::engine::EngineError;
use crate::engine::model::Model;
use crate::project::Project;
use crate::raster;
use crate::worker::Phase;
use crate::worker::context::JobContext;
use crate::worker::images::{Problem, for_each_image};
use crate::worker::pool_image::PoolImage;

/// Rows and columns of the pre-trained encoder's input.
const SIDE: usize = 128;

/// The inputs of a proposal without a trained network.
pub struct ProposePlan {
    /// All images that can be read.
    images: Vec<PoolImage>,
    /// Whether each has a label.
    is_labelled: Vec<bool>,
    settings: Settings,
    range: ValueRange,
}

impl ProposePlan {
    /// Creates the plan for a project.
    pub fn new(project: &mut Project) -> Result<Self> {
        project.check_files()?;
        let settings = project.settings()?;
        let range = project.value_range(&settings)?;
        let mut images = project.images()?;
        images.retain(|image| image.file == FileState::Present);
        if images.is_empty() {
            bail!("all image files are missing; if their folder was moved, choose it again");
        }
        if images.iter().all(|image| image.labelled) {
            bail!("every image has a label");
        }
        Ok(Self {
            is_labelled: images.iter().map(|image| image.labelled).collect(),
            images: images.iter().map(PoolImage::of).collect(),
            settings,
            range,
        })
    }

    /// Chooses as many images as a query would, by the features of the pre-trained encoder. Also returns the images
    /// that cannot be read.
    pub fn run(self, context: &mut JobContext) -> Result<(Vec<Proposal<ImageId>>, Vec<Problem>), EngineError> {
        let Self { images, is_labelled, settings, range } = self;
        let (wanted, seed) = (settings.query_count(), settings.seed);
        let looking =
            Settings { encoder: Encoder::Lite0, geometry: Geometry::Resize, rows: SIDE, columns: SIDE, ..settings };
        let model = Model::untrained(&looking, range, &context.device()?.0);
        // The project's input cache is not used, because it holds inputs at the network's size.
        let spec = model.frame_spec();
        let read = move |image: &PoolImage| Ok(raster::frame(&raster::read(&image.path, image.page)?, &spec));
        let (mut features, mut problems) = (vec![Vec::new(); images.len()], Vec::new());
        let places: HashMap<ImageId, usize> = images.iter().map(|image| image.id).zip(0..).collect();
        for_each_image(context, &images, read, Phase::Comparing, &mut problems, |_, image, frame| {
            features[places[&image.id]] = model.features(&frame.values)?;
            Ok(())
        })?;
        let chosen = representative(&features, &is_labelled, wanted, seed);
        if let (true, Some((_, reason))) = (chosen.is_empty(), problems.first()) {
            return Err(EngineError::Other(format!("none of the unlabelled images can be read: {reason}").into()));
        }
        let proposal =
            |place: usize| Proposal { image: images[place].id, reason: Reason::Representative, score: 0.0, tile: None };
        Ok((chosen.into_iter().map(proposal).collect(), problems))
    }
}
