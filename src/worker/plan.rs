//! What each job needs to know of the project, gathered before it begins: the engine never asks the database.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::engine::EngineError;
use crate::project::{ImageRecord, Project, ProjectError, Round, pixels};
use crate::worker::engine::ScorePlan;
use crate::worker::predict::PredictPlan;
use crate::worker::round::{Labelled, Pool, PoolImage, RoundPlan};

/// An image as a job knows it.
pub fn pool_image(record: &ImageRecord) -> PoolImage {
    PoolImage { id: record.id, name: record.name.clone(), path: record.path.clone() }
}

/// Everything a round needs to know.
pub fn round(project: &mut Project) -> Result<RoundPlan> {
    let settings = project.settings()?;
    settings.check()?;
    let round = project.next_round()?;
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    for record in project.labelled_images(&settings)? {
        let label = project.label(record.id)?.mask.resized(settings.columns, settings.rows).pixels().to_vec();
        let side = if record.validation == Some(true) { &mut validation } else { &mut training };
        side.push(Labelled { image: pool_image(&record), label });
    }
    if training.is_empty() {
        bail!(EngineError::NothingToLearn);
    }
    let active = project.active_round()?;
    Ok(RoundPlan {
        round,
        classes: project.classes()?.len(),
        training,
        validation,
        pool: pool(project)?,
        active: active.map(|r: Round| (project.model_folder(r.report.round), r.report.validation)),
        folder: project.unfinished_model_folder(round),
        settings,
    })
}

/// Everything a scoring needs to know.
pub fn score(project: &Project) -> Result<ScorePlan> {
    let active = active_round(project)?;
    // The scores belong to the newest round, as those of its own scoring would, even where an older model is active.
    let newest = project.rounds()?.pop().unwrap_or_else(|| active.clone());
    Ok(ScorePlan {
        folder: project.model_folder(active.report.round),
        report: newest.report,
        settings: project.settings()?,
        pool: pool(project)?,
    })
}

/// Everything the prediction of a folder needs to know.
pub fn predict(project: &Project, images: &Path, out: PathBuf, npy: bool) -> Result<PredictPlan> {
    let round = active_round(project)?;
    let files = pixels::image_files(images)?;
    if files.is_empty() {
        bail!(ProjectError::NoImages(images.to_owned()));
    }
    let named = files.into_iter().zip(1..).map(|(path, id)| PoolImage {
        id,
        name: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        path,
    });
    Ok(PredictPlan {
        model: project.model_folder(round.report.round),
        settings: project.settings()?,
        images: named.collect(),
        out,
        npy,
        palette: project.classes()?.iter().map(|class| class.colour).collect(),
    })
}

fn active_round(project: &Project) -> Result<Round> {
    project.active_round()?.context("no round has been trained yet; train one first (Ctrl+T, or `qualm round`)")
}

fn pool(project: &Project) -> Result<Pool> {
    let images = project.images()?.iter().filter(|record| !record.labelled).map(pool_image).collect();
    Ok(Pool { root: project.root().to_owned(), images })
}
