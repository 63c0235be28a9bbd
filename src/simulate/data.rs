//! The images of an experiment with their true masks, at the network's size.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rayon::prelude::*;

use qualm::domain::mask::foreground_fraction;
use qualm::domain::settings::Channels;
use qualm::domain::tiles::FrameSpec;
use qualm::domain::value_range::ValueRange;
use qualm::engine::sample::Sample;
use qualm::project::groups::Rule;
use qualm::project::{ImportPlan, ImportRules, MaskPlan, ProjectError};
use qualm::raster;

use super::Experiment;

/// One image.
pub struct Image {
    /// Its group: its own path where it stands alone.
    pub group: String,
    /// Image and true mask.
    pub sample: Sample,
    /// Share of foreground in the mask.
    pub foreground: f64,
}

/// All images.
pub struct Data {
    /// Images that may be labelled, in name order.
    pub pool: Vec<Image>,
    /// Images that are only measured on.
    pub test: Vec<Sample>,
    /// Classes besides the background.
    pub classes: usize,
    /// The values of an image that are the network's 0 and 1.
    pub range: ValueRange,
}

impl Data {
    /// Reads the images that have a mask. A group is wholly on the side of its first image.
    pub fn read(experiment: &Experiment, rules: &ImportRules) -> Result<Self> {
        let rule = experiment.groups.as_deref().map(Rule::read).transpose()?;
        let plan = ImportPlan::read(&experiment.images, Some(&experiment.masks), None, rules, &|_, _| {})?;
        let questions = plan.questions();
        if !questions.is_empty() {
            bail!(ProjectError::Unsettled(questions));
        }
        let Some(masks) = &plan.masks else { bail!("the experiment has no masks") };
        let paired: Vec<usize> = masks.labelled().collect();
        let folder = &plan.images.folder;
        let files: Vec<PathBuf> = masks.targets.iter().map(|target| folder.join(&target.path)).collect();
        let pages: Vec<(PathBuf, usize)> = files.iter().map(|file| (file.clone(), 0)).collect();
        let settings = &experiment.settings;
        let spec = FrameSpec {
            size: Some((settings.columns, settings.rows)),
            is_grey: settings.channels == Channels::Grey,
            channels: settings.image_channels.clone(),
            range: raster::value_range(settings, &pages),
        };
        if paired.len() < 10 {
            bail!(
                "{} of {} images in {} have a mask in {}; at least ten are needed",
                paired.len(),
                files.len(),
                experiment.images.display(),
                experiment.masks.display()
            );
        }
        let bar = super::bar(paired.len(), "reading images");
        let read = |target: &usize| {
            let image = image((&files[*target], folder), masks, *target, &spec, rule.as_ref());
            bar.inc(1);
            image
        };
        let images = paired.par_iter().map(read).collect::<Result<Vec<_>>>()?;
        bar.finish_and_clear();
        let highest = |image: &Image| image.sample.label.iter().copied().filter(|c| *c < 255).max().unwrap_or(0);
        let classes = usize::from(images.iter().map(highest).max().unwrap_or(0)).max(1);
        let (mut pool, mut test): (Vec<Image>, Vec<Image>) = (Vec::new(), Vec::new());
        let first_of_test = images.len() * 4 / 5;
        for (place, mut image) in images.into_iter().enumerate() {
            image.sample.number = place;
            let known = pool.iter().any(|other| other.group == image.group);
            if place < first_of_test || known { pool.push(image) } else { test.push(image) }
        }
        if test.is_empty() {
            bail!("every image of the test set is of a group that the pool has; choose other groups");
        }
        let (all, wanted) = (test.len(), experiment.test.unwrap_or(test.len()).min(test.len()));
        let kept = |i: usize| wanted > 0 && i * wanted % all < wanted;
        let test = (0..).zip(test).filter(|(i, _)| kept(*i)).map(|(_, image)| image.sample).collect();
        Ok(Self { pool, test, classes, range: spec.range })
    }
}

fn image(
    (file, folder): (&Path, &Path),
    masks: &MaskPlan,
    target: usize,
    spec: &FrameSpec,
    rule: Option<&Rule>,
) -> Result<Image> {
    let (columns, rows) = spec.size.context("an experiment squeezes its images")?;
    let (_, mask) = masks.labels(target)?.into_iter().next().context("the mask has no page")?;
    let label = mask.resized(columns, rows).pixels().to_vec();
    Ok(Image {
        group: rule.and_then(|rule| rule.group(file, folder)).unwrap_or_else(|| file.display().to_string()),
        foreground: foreground_fraction(&label),
        sample: Sample { image: raster::frame(&raster::read(file, 0)?, spec).values, label, weight: 1.0, number: 0 },
    })
}
