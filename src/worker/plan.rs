//! Gathers each job's inputs from the project before it begins: the engine never queries the database.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::domain::mask::{Mask, UNLABELLED, foreground_fraction};
use crate::domain::remedy::{Failure, Remedy};
use crate::domain::round::Standing;
use crate::domain::settings::{Channels, Encoder, Geometry, OrAuto, Settings, Start};
use crate::domain::study::{FileState, ImageId, ImageRecord, Round, Side, Study};
use crate::domain::tiles::{self, Origin};
use crate::engine::EngineError;
use crate::engine::model::Description;
use crate::project::{ExportPlan, Part, Project, ProjectError, is_within};

use crate::worker::export::ExportJob;
use crate::worker::fit::fit;
use crate::worker::pool_image::PoolImage;
use crate::worker::predict::PredictPlan;
use crate::worker::round::{Labelled, Packed, RoundPlan};
use crate::worker::scoring::{Pool, ScorePlan};

/// A label gives at most this many training tiles per cell, of a tile's size, that holds any of it.
const TILES_PER_CELL: usize = 4;

/// Gathers the inputs of a round. `start` overrides the project's setting for the initial weights, and `pixels_per_s`
/// is the training speed of the device, if it was measured.
pub fn round(project: &mut Project, start: Option<Start>, pixels_per_s: Option<f64>) -> Result<RoundPlan> {
    let mut settings = project.settings()?;
    settings.start = start.unwrap_or(settings.start);
    settings.check()?;
    let round = project.next_round()?;
    project.check_files()?;
    let mut notes = fit(project, &mut settings, pixels_per_s)?;
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
        // A label of one tile yields fewer training tiles than one of a whole image.
        let count = settings.tiles_image.min(TILES_PER_CELL * tiles::labelled_cells(mask, columns, rows));
        let origins = tiles::around_labels(mask, columns, rows, count, seed ^ image.0 as u64);
        labelled_ones(origins.into_iter().map(|origin| (origin, mask.cut(origin, columns, rows))).collect())
    };
    let measured = |mask: &Mask| {
        if is_tiles { labelled_ones(tiles::partition(mask, columns, rows)) } else { whole(mask) }
    };
    let (mut training, mut validation) = (Vec::new(), Vec::new());
    let labelled = project.labelled_images(&settings)?;
    let study = Study { settings: settings.clone(), ..project.study()? };
    let held_out = study.held_out();
    let mut problems = Vec::new();
    let (mut objects, mut lost, mut labels, mut empty) = (0, 0, 0, 0);
    for record in labelled {
        if record.file != FileState::Present {
            problems.push((record.id, record.problem.clone().unwrap_or_default()));
            continue;
        }
        if record.side != Side::Validation && held_out.has(&record) {
            continue; // It was grouped with an image of validation after both had been drawn.
        }
        let mask = match project.label(record.id) {
            Ok(label) => label.mask,
            Err(error @ ProjectError::DamagedLabel(_)) => {
                problems.push((record.id, error.to_string()));
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let image = PoolImage::of(&record);
        if !is_tiles {
            let (all, gone) = mask.objects_lost(columns, rows);
            (objects, lost) = (objects + all, lost + gone);
        }
        labels += 1;
        empty += usize::from(foreground_fraction(mask.pixels()) == 0.0);
        if record.side == Side::Validation {
            validation.push(Labelled { image, labels: measured(&mask), weight: 1.0 });
        } else {
            training.push(Labelled { image, labels: learned(&mask, record.id), weight: 1.0 });
        }
    }
    if training.is_empty() {
        // If there are labelled images but none can be used, the first problem is reported.
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
    for record in study.trained_pseudo_labels() {
        if let Some(mask) = project.pseudo_label(record.id)? {
            let weight = settings.pseudo_weight as f32;
            let mask = if is_tiles { mask.resized(record.width, record.height) } else { mask };
            training.push(Labelled { image: PoolImage::of(record), labels: learned(&mask, record.id), weight });
            pseudo += 1;
        }
    }
    let active = project.active_round()?;
    Ok(RoundPlan {
        round,
        classes: project.class_names()?,
        training,
        pseudo,
        validation,
        pool: pool(project)?,
        active: active.map(|r: Round| (project.model_folder(r.report.round), r.report)),
        imported: None,
        folder: project.unfinished_model_folder(round),
        range,
        problems,
        notes,
        settings,
    })
}

/// Plans a round that imports a network instead of training one; it is validated on the images held out for validation.
/// With `ignores_names`, its classes are matched to the project's by order, whatever their names.
pub fn import_model(project: &mut Project, folder: &Path, ignores_names: bool) -> Result<RoundPlan> {
    let Description { network, geometry, range, image_channels, flips, classes: names, .. } =
        Description::read(folder)?;
    let classes = project.class_names()?;
    if network.classes != classes.len() {
        bail!(
            "the network in {} has {} classes, this project {}; it fits a project with as many",
            folder.display(),
            network.classes,
            classes.len()
        );
    }
    if names != classes && !ignores_names {
        let text = format!(
            "the network's classes are {}, and the project's {}; rename or move the project's classes, unless both mean \
             the same in this order",
            if names.is_empty() { "not named".to_owned() } else { names.join(", ") },
            classes.join(", ")
        );
        bail!(Failure { text, remedy: Some(Remedy::IgnoreNames) });
    }
    let mut settings = Settings { geometry, image_channels, augment_flips: flips, ..project.settings()? };
    settings.encoder = network.encoder;
    if network.encoder == Encoder::Unet {
        settings.widths = OrAuto::Is(network.widths);
    }
    (settings.rows, settings.columns) = (network.rows, network.columns);
    (settings.dropout, settings.dropout_place) = (network.dropout, network.dropout_place);
    settings.channels = if network.channels == 1 { Channels::Grey } else { Channels::Rgb };
    let round = project.next_round()?;
    project.check_files()?;
    let is_held_out = |record: &ImageRecord| record.side == Side::Validation && record.file == FileState::Present;
    let mut validation = Vec::new();
    for record in project.images()?.iter().filter(|record| record.labelled && is_held_out(record)) {
        let mask = project.label(record.id)?.mask;
        let labels = match geometry {
            Geometry::Tiles => tiles::partition(&mask, network.columns, network.rows),
            Geometry::Auto | Geometry::Resize => {
                vec![((0, 0), mask.resized(network.columns, network.rows).pixels().to_vec())]
            }
        };
        let labels = labels.into_iter().map(|(origin, label)| (origin, Packed::new(&label))).collect();
        validation.push(Labelled { image: PoolImage::of(record), labels, weight: 1.0 });
    }
    let active = project.active_round()?;
    Ok(RoundPlan {
        round,
        classes,
        training: Vec::new(),
        pseudo: 0,
        validation,
        pool: pool(project)?,
        active: active.map(|r: Round| (project.model_folder(r.report.round), r.report)),
        imported: Some(folder.to_owned()),
        folder: project.unfinished_model_folder(round),
        range,
        problems: Vec::new(),
        notes: vec!["the network was imported, not trained here".to_owned()],
        settings,
    })
}

/// Gathers the inputs of a scoring.
pub fn score(project: &mut Project) -> Result<ScorePlan> {
    project.check_files()?;
    let active = active_round(project)?;
    // The scores belong to the newest round, as if they came from its own scoring, even if an older model is active.
    let newest = project.rounds()?.pop().unwrap_or_else(|| active.clone());
    Ok(ScorePlan {
        folder: project.model_folder(active.report.round),
        standing: Standing::of(&active.report),
        report: newest.report,
        settings: project.settings()?,
        pool: pool(project)?,
    })
}

/// Gathers the inputs for predicting a folder.
pub fn predict(project: &Project, images: &Path, out: PathBuf, npy: bool) -> Result<PredictPlan> {
    let round = active_round(project)?;
    if is_within(&out, images) {
        bail!(
            "{} is in the folder of images, where results would be taken for images the next time; give another folder \
             for the results",
            out.display()
        );
    }
    Ok(PredictPlan {
        model: project.model_folder(round.report.round),
        settings: project.settings()?,
        folder: images.to_owned(),
        out,
        npy,
        classes: project.classes()?,
    })
}

/// Gathers the inputs of an export of predictions.
pub fn export(project: &mut Project, plan: ExportPlan) -> Result<ExportJob> {
    if project.is_writable() {
        project.check_files()?;
    }
    let round = active_round(project)?;
    Ok(ExportJob {
        root: project.root().to_owned(),
        model: project.model_folder(round.report.round),
        settings: project.settings()?,
        exporter: project.exporter(&plan, Part::Predictions)?,
        plan,
    })
}

fn active_round(project: &Project) -> Result<Round> {
    Ok(project.active_round()?.ok_or(ProjectError::NoRound)?)
}

fn pool(project: &Project) -> Result<Pool> {
    let study = project.study()?;
    let missing: Vec<_> = study.images.iter().filter(|record| record.file == FileState::Missing).collect();
    if let Some(first) = missing.first().filter(|_| missing.len() == study.images.len()) {
        bail!("all image files are missing: {}", first.problem.clone().unwrap_or_default());
    }
    let is_there = |record: &&ImageRecord| record.labelled && record.file == FileState::Present;
    Ok(Pool {
        labelled: study.images.iter().filter(is_there).map(PoolImage::of).collect(),
        root: project.root().to_owned(),
        images: study.pool().map(PoolImage::of).collect(),
        barred: study.barred_from_pseudo_labels(),
    })
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma, Rgb, RgbImage};
    use tempfile::TempDir;

    use super::*;
    use crate::domain::mask_values::{Numbers, ValueRules};
    use crate::domain::round::Report;
    use crate::domain::settings::Flips;
    use crate::project::{Finished, ImportPlan, ImportRules};

    /// Creates a project of six labelled images that show lines of the given width.
    fn lines(folder: &Path, width: u32) -> Project {
        let (images, masks) = (folder.join("images"), folder.join("masks"));
        for (place, kind) in [(&images, 200u8), (&masks, 255)] {
            std::fs::create_dir_all(place).unwrap();
            for number in 0..6u32 {
                let pixel = |x: u32, y: u32| Luma([if (x + y + number) % 48 < width { kind } else { 0 }]);
                GrayImage::from_fn(480, 320, pixel).save(place.join(format!("{number}.png"))).unwrap();
            }
        }
        let plan = ImportPlan::read(&images, Some(&masks), None, &ImportRules::default(), &|_, _| ()).unwrap();
        Project::create(&folder.join("p"), &plan, &Settings::default(), &|_, _| ()).unwrap().0
    }

    #[test]
    fn the_first_round_chooses_the_geometry_by_how_thin_the_structures_are_and_says_why() {
        let temp = TempDir::new().unwrap();
        let mut thin = lines(&temp.path().join("thin"), 3);
        let plan = round(&mut thin, None, None).unwrap();
        assert_eq!((plan.settings.geometry, plan.settings.rows), (Geometry::Tiles, 128));
        assert!(plan.notes.iter().any(|note| note.contains("thinnest tenth")), "{:?}", plan.notes);
        assert!(plan.training[0].labels.len() > 1, "several tiles of an image");
        let mut wide = lines(&temp.path().join("wide"), 36);
        let Settings { geometry, rows, columns, .. } = round(&mut wide, None, None).unwrap().settings;
        assert_eq!((geometry, rows, columns), (Geometry::Resize, 96, 128), "near the images' proportions");
        // With explicit settings, nothing is chosen automatically.
        let by_hand = Settings {
            geometry: Geometry::Resize,
            rows: 64,
            columns: 64,
            channels: Channels::Rgb,
            augment_flips: Flips::LeftRight,
            ..Settings::default()
        };
        wide.set_settings(&by_hand).unwrap();
        let plan = round(&mut wide, None, None).unwrap();
        assert!(plan.settings == by_hand && plan.notes.is_empty(), "{:?}", plan.notes);
    }

    #[test]
    fn a_fast_device_gets_a_larger_input_and_later_rounds_do_not_advise_against_it() {
        let temp = TempDir::new().unwrap();
        let mut project = lines(temp.path(), 5);
        let slow = round(&mut project, None, None).unwrap().settings;
        let fast = round(&mut project, None, Some(1e9)).unwrap().settings;
        assert!(fast.rows * fast.columns > slow.rows * slow.columns, "{fast:?}");
        let report = Report { round: 1, active: true, ..Default::default() };
        std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
        project.record_round(&Finished { report, settings: fast.clone() }).unwrap();
        let later = round(&mut project, None, None).unwrap();
        assert_eq!((later.settings.geometry, later.settings.rows), (fast.geometry, fast.rows));
        assert!(!later.notes.iter().any(|note| note.contains("would suggest")), "{:?}", later.notes);
    }

    #[test]
    fn colour_is_seen_where_there_is_any_and_images_are_not_mirrored_where_classes_have_sides() {
        let temp = TempDir::new().unwrap();
        let mut grey = lines(temp.path(), 36);
        let plan = round(&mut grey, None, None).unwrap();
        assert_eq!((plan.settings.channels, plan.settings.augment_flips), (Channels::Grey, Flips::Both));
        assert!(plan.notes.iter().any(|note| note.contains("none of 6 images has colour")), "{:?}", plan.notes);
        // Two classes side by side, in images that have colour.
        let (images, masks) = (temp.path().join("sides/images"), temp.path().join("sides/masks"));
        [&images, &masks].iter().for_each(|folder| std::fs::create_dir_all(folder).unwrap());
        for number in 0..6u32 {
            let class = |x: u32, y: u32| match (y / 40 + number) % 3 {
                0 if x < 60 => 1,
                0 if x > 100 => 2,
                _ => 0,
            };
            RgbImage::from_fn(160, 120, |x, y| Rgb([90, class(x, y) as u8 * 80, 30]))
                .save(images.join(format!("{number}.png")))
                .unwrap();
            GrayImage::from_fn(160, 120, |x, y| Luma([class(x, y) as u8]))
                .save(masks.join(format!("{number}.png")))
                .unwrap();
        }
        let rules = ImportRules {
            values: ValueRules { numbers: Some(Numbers::Classes), ..Default::default() },
            ..Default::default()
        };
        let plan = ImportPlan::read(&images, Some(&masks), None, &rules, &|_, _| ()).unwrap();
        let mut sides =
            Project::create(&temp.path().join("sides/p"), &plan, &Settings::default(), &|_, _| ()).unwrap().0;
        let plan = round(&mut sides, None, None).unwrap();
        assert_eq!((plan.settings.channels, plan.settings.augment_flips), (Channels::Rgb, Flips::TopBottom));
        assert!(plan.notes.iter().any(|note| note.contains("not mirrored left–right")), "{:?}", plan.notes);
    }

    #[test]
    fn later_rounds_keep_the_geometry_of_the_first_and_say_where_the_labels_suggest_another() {
        let temp = TempDir::new().unwrap();
        let mut project = lines(temp.path(), 3);
        let used = Settings { geometry: Geometry::Resize, rows: 96, columns: 160, ..Settings::default() };
        let report = Report { round: 1, active: true, ..Default::default() };
        std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
        project.record_round(&Finished { report, settings: used }).unwrap();
        let plan = round(&mut project, None, None).unwrap();
        assert_eq!((plan.settings.geometry, plan.settings.columns), (Geometry::Resize, 160));
        assert!(
            plan.notes[0].contains("would suggest another size: tiles of 128 × 128")
                && plan.notes[0].contains("geometry=tiles"),
            "{:?}",
            plan.notes
        );
        // If the size does not suit the network, another one is chosen.
        project
            .set_settings(&Settings { encoder: Encoder::Unet, widths: OrAuto::Is(vec![4; 7]), ..Settings::default() })
            .unwrap();
        let plan = round(&mut project, None, None).unwrap();
        assert!(plan.settings.check().is_ok() && plan.notes[0].contains("does not suit"), "{:?}", plan.notes);
    }
}
