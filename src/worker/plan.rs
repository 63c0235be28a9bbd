//! What each job needs to know of the project, gathered before it begins: the engine never asks the database.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::domain::mask::{Mask, UNLABELLED, foreground_fraction};
use crate::domain::settings::{Geometry, Settings};
use crate::domain::tiles::{self, Origin};
use crate::engine::EngineError;
use crate::project::{
    FileState, ImageId, ImageRecord, ImportPlan, ImportRules, Project, ProjectError, PseudoState, Round,
};
use crate::worker::engine::ScorePlan;
use crate::worker::predict::PredictPlan;
use crate::worker::round::{Labelled, Packed, Pool, PoolImage, RoundPlan};

/// An image as a job knows it.
pub fn pool_image(record: &ImageRecord) -> PoolImage {
    PoolImage {
        id: record.id,
        name: record.name.clone(),
        path: record.path.clone(),
        page: record.page,
        width: record.width,
        height: record.height,
    }
}

/// Everything a round needs to know.
pub fn round(project: &mut Project) -> Result<RoundPlan> {
    let settings = project.settings()?;
    settings.check()?;
    let round = project.next_round()?;
    project.check_files()?;
    let range = project.value_range(&settings)?;
    let Settings { columns, rows, .. } = settings;
    let whole = |mask: &Mask| vec![((0, 0), Packed::new(mask.resized(columns, rows).pixels()))];
    let labelled_ones = |tiles: Vec<(Origin, Vec<u8>)>| -> Vec<(Origin, Packed)> {
        let labelled = tiles.into_iter().filter(|(_, label)| label.iter().any(|class| *class != UNLABELLED));
        labelled.map(|(origin, label)| (origin, Packed::new(&label))).collect()
    };
    let is_tiles = settings.geometry == Geometry::Tiles;
    let seed = settings.seed ^ (round as u64) << 32;
    let learned = |mask: &Mask, image: ImageId| {
        if !is_tiles {
            return whole(mask);
        }
        let origins = tiles::around_labels(mask, columns, rows, settings.tiles_image, seed ^ image as u64);
        labelled_ones(origins.into_iter().map(|origin| (origin, mask.cut(origin, columns, rows))).collect())
    };
    let measured = |mask: &Mask| {
        if is_tiles { labelled_ones(tiles::partition(mask, columns, rows)) } else { whole(mask) }
    };
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    let labelled = project.labelled_images(&settings)?;
    let images = project.images()?;
    let barred = in_validation(&images);
    let (mut problems, mut notes) = (Vec::new(), Vec::new());
    let (mut objects, mut lost, mut labels, mut empty) = (0, 0, 0, 0);
    for record in labelled {
        if record.file != FileState::Present {
            problems.push((record.id, record.problem.clone().unwrap_or_default()));
            continue;
        }
        if record.validation != Some(true) && barred(&record) {
            continue; // It was grouped with an image of validation after both had been drawn.
        }
        let mask = project.label(record.id)?.mask;
        let image = pool_image(&record);
        if !is_tiles {
            let (all, gone) = mask.objects_lost(columns, rows);
            (objects, lost) = (objects + all, lost + gone);
        }
        labels += 1;
        empty += usize::from(foreground_fraction(mask.pixels()) == 0.0);
        if record.validation == Some(true) {
            validation.push(Labelled { image, labels: measured(&mask), weight: 1.0 });
        } else {
            training.push(Labelled { image, labels: learned(&mask, record.id), weight: 1.0 });
        }
    }
    if training.is_empty() {
        // Where every file is missing, that is what there is to say.
        match problems.first() {
            Some((_, first)) => bail!("{} labelled images cannot be used: {first}", problems.len()),
            None => bail!(EngineError::NothingToLearn),
        }
    }
    if empty == labels {
        bail!(
            "none of the {labels} labels has any foreground: there is nothing to learn; paint an object in an image, or \
             import masks that have some"
        );
    }
    if empty > 0 {
        notes.push(format!("{empty} of {labels} labels are all background"));
    }
    if lost > 0 && lost == objects {
        bail!(
            "all {objects} labelled objects are too small for the network's input of {columns} × {rows}: it would learn \
             that there are none. Set geometry=tiles, or a larger input"
        );
    }
    if lost > 0 {
        notes.push(format!(
            "{lost} of {objects} labelled objects are too small for the network's input of {columns} × {rows} and are \
             not learned; set geometry=tiles, or a larger input"
        ));
    }
    let mut pseudo = 0;
    for record in images.iter().filter(|record| record.has_pseudo_to_learn(&settings) && !barred(record)) {
        if let Some(mask) = project.pseudo_label(record.id)? {
            let weight = settings.pseudo_weight as f32;
            let mask = if is_tiles { mask.resized(record.width, record.height) } else { mask };
            training.push(Labelled { image: pool_image(record), labels: learned(&mask, record.id), weight });
            pseudo += 1;
        }
    }
    let active = project.active_round()?;
    Ok(RoundPlan {
        round,
        classes: project.classes()?.len(),
        training,
        pseudo,
        validation,
        pool: pool(project)?,
        active: active.map(|r: Round| (project.model_folder(r.report.round), r.report)),
        folder: project.unfinished_model_folder(round),
        range,
        problems,
        notes,
        settings,
    })
}

/// Everything a scoring needs to know.
pub fn score(project: &mut Project) -> Result<ScorePlan> {
    project.check_files()?;
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
    let plan = ImportPlan::read(images, None, None, &ImportRules::default(), &|_, _| {})?;
    let questions = plan.questions();
    if !questions.is_empty() {
        bail!(ProjectError::Unsettled(questions));
    }
    let within = |a: &Path, b: &Path| {
        std::path::absolute(a).is_ok_and(|a| std::path::absolute(b).is_ok_and(|b| a.starts_with(b)))
    };
    if within(&out, images) {
        bail!(
            "{} is in the folder of images, where results would be taken for images the next time; give another folder \
             with --out",
            out.display()
        );
    }
    let named = plan.images.images.iter().zip(1..).map(|(image, id)| PoolImage {
        id,
        name: match &image.stack {
            Some((stack, slice)) => format!("{stack} [{}]", slice + 1),
            None => image.path.display().to_string(),
        },
        path: plan.images.folder.join(&image.path),
        page: image.page,
        width: image.width,
        height: image.height,
    });
    Ok(PredictPlan {
        model: project.model_folder(round.report.round),
        settings: project.settings()?,
        images: named.collect(),
        left_out: plan.images.left_out.iter().chain(&plan.images.notes).cloned().collect(),
        folder: plan.images.folder.clone(),
        out,
        npy,
        palette: project.classes()?.iter().map(|class| class.colour).collect(),
    })
}

fn active_round(project: &Project) -> Result<Round> {
    project.active_round()?.context("no round has been trained yet; train one first (Ctrl+T, or `qualm round`)")
}

fn pool(project: &Project) -> Result<Pool> {
    let images = project.images()?;
    let in_validation = in_validation(&images);
    let is_barred = |record: &&ImageRecord| {
        record.painted
            || in_validation(record)
            || matches!(record.pseudo, Some(PseudoState::Accepted | PseudoState::Rejected))
    };
    let is_there = |record: &ImageRecord| record.file == FileState::Present;
    let missing: Vec<_> = images.iter().filter(|record| record.file == FileState::Missing).collect();
    if let Some(first) = missing.first().filter(|_| missing.len() == images.len()) {
        bail!("no image is where it was: {}", first.problem.clone().unwrap_or_default());
    }
    let pool = || images.iter().filter(|record| !record.labelled && is_there(record));
    Ok(Pool {
        labelled: images.iter().filter(|record| record.labelled).count(),
        root: project.root().to_owned(),
        images: pool().map(pool_image).collect(),
        barred: pool().filter(is_barred).map(|record| record.id).collect(),
    })
}

/// Whether an image, or another of its group, is kept for validation: no label of it is ever learned from.
fn in_validation(images: &[ImageRecord]) -> impl Fn(&ImageRecord) -> bool {
    let kept = images.iter().filter(|record| record.validation == Some(true));
    let groups: HashSet<String> = kept.filter_map(|record| record.group.clone()).collect();
    move |record| record.validation == Some(true) || record.group.as_ref().is_some_and(|group| groups.contains(group))
}
