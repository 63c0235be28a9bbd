//! Exports predictions of a project's images in the formats of other programs.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::domain::prediction::Prediction;
use crate::domain::settings::Settings;
use crate::domain::study::{ImageId, ImageRecord};
use crate::engine::EngineError;
use crate::project::cache::Inputs;
use crate::project::{ExportPlan, Exported, Exporter, Project, ProjectError, Sheet};
use crate::worker::Phase;
use crate::worker::context::JobContext;
use crate::worker::failure::failure;
use crate::worker::images::for_each_image;
use crate::worker::pool_image::PoolImage;

/// The inputs of an export of predictions.
pub struct ExportJob {
    /// The project's folder.
    pub root: PathBuf,
    /// The export.
    pub plan: ExportPlan,
    /// The active model's folder.
    pub model: PathBuf,
    /// The settings, including the number of passes.
    pub settings: Settings,
    /// The writer of the predictions.
    pub exporter: Exporter,
}

fn other(error: ProjectError) -> EngineError {
    EngineError::Other(failure(&error.into()))
}

/// Runs the export: first the labels, if they are included, then the predictions.
pub fn run(context: &mut JobContext, job: ExportJob) -> Result<Exported, EngineError> {
    let ExportJob { root, plan, model, settings, mut exporter } = job;
    let mut exported = Exported::default();
    if plan.what.has_labels() {
        context.begin(Phase::Saving, 0);
        // A separate connection, which sees the current labels.
        let project = Project::open_to_read(&root).map_err(other)?;
        exported = context.on_files(|| project.export(&plan, &|_, _| {})).map_err(other)?;
    }
    let model = context.model(&model)?;
    let inputs = Inputs::new(&root, model.frame_spec());
    let records: HashMap<ImageId, ImageRecord> =
        exporter.images().iter().map(|image| (image.id, image.clone())).collect();
    let images: Vec<PoolImage> = exporter.images().iter().map(PoolImage::of).collect();
    let read = move |image: &PoolImage| inputs.get(image.id, &image.path, image.page);
    let mut problems = Vec::new();
    for_each_image(context, &images, read, Phase::Scoring, &mut problems, |context, image, input| {
        let moments = model.predict(&input, &settings, image.id.0 as u64, || context.check_cancelled())?;
        let mask = Arc::new(Prediction::of(&moments)).mask(0.5, image.width, image.height);
        let sheet = Sheet { mask: &mask, moments: Some(&moments) };
        context.on_files(|| exporter.add(&records[&image.id], &sheet)).map_err(other)
    })?;
    problems.into_iter().for_each(|(_, reason)| exporter.leave_out(reason));
    exported.add(exporter.finish().map_err(other)?);
    Ok(exported)
}
