//! The images of an experiment and their true masks, split into pool and test set.

use std::path::PathBuf;

use anyhow::{Result, bail};

use qualm::domain::mask::Mask;
use qualm::project::groups::GroupRule;
use qualm::project::{ImportPlan, ImportRules, MaskPlan, PlannedImage, ProjectError};

use super::Experiment;

/// All images that have a mask.
pub struct Data {
    /// The folder of the images.
    pub folder: PathBuf,
    /// The images, by the masks' targets.
    pub images: Vec<PlannedImage>,
    /// The true masks.
    pub masks: MaskPlan,
    /// The rule by which images are grouped.
    pub groups: Option<GroupRule>,
    /// Images that may be labelled, in name order.
    pub pool: Vec<usize>,
    /// Images used only for measuring.
    pub test: Vec<usize>,
}

impl Data {
    /// Reads both folders. A group belongs entirely to the side of its first image.
    pub fn read(experiment: &Experiment, rules: &ImportRules) -> Result<Self> {
        let groups = experiment.groups.as_deref().map(GroupRule::read).transpose()?;
        let plan = ImportPlan::read(&experiment.images, Some(&experiment.masks), None, rules, &|_, _| {})?;
        let questions = plan.questions();
        if !questions.is_empty() {
            bail!(ProjectError::Unsettled(questions));
        }
        let Some(masks) = plan.masks else { bail!("the experiment has no masks") };
        if let Some(stack) = masks.targets.iter().find(|target| target.pages > 1) {
            bail!("{}: an experiment is made of images of one page", stack.path.display());
        }
        let folder = plan.images.folder;
        let paired: Vec<usize> = masks.labelled().collect();
        if paired.len() < 10 {
            bail!(
                "{} of {} images in {} have a mask in {}; at least ten are needed",
                paired.len(),
                masks.targets.len(),
                experiment.images.display(),
                experiment.masks.display()
            );
        }
        let group = |target: usize| {
            let path = folder.join(&masks.targets[target].path);
            groups.as_ref().and_then(|rule| rule.group(&path, &folder))
        };
        let (mut pool, mut test): (Vec<usize>, Vec<usize>) = (Vec::new(), Vec::new());
        let first_of_test = paired.len() * 4 / 5;
        for (place, target) in paired.into_iter().enumerate() {
            let known =
                || group(target).is_some_and(|own| pool.iter().any(|other| group(*other).as_ref() == Some(&own)));
            if place < first_of_test || known() { pool.push(target) } else { test.push(target) }
        }
        if test.is_empty() {
            bail!("every image of the test set is of a group that the pool has; choose other groups");
        }
        let (all, wanted) = (test.len(), experiment.test.unwrap_or(test.len()).min(test.len()));
        let kept = |i: usize| wanted > 0 && i * wanted % all < wanted;
        let test = test.into_iter().enumerate().filter(|(i, _)| kept(*i)).map(|(_, target)| target).collect();
        Ok(Self { folder, images: plan.images.images, masks, groups, pool, test })
    }

    /// The file of an image.
    pub fn file(&self, target: usize) -> PathBuf {
        self.folder.join(&self.masks.targets[target].path)
    }

    /// The true mask of an image, at its size.
    pub fn mask(&self, target: usize) -> Result<Mask> {
        let Some((_, mask)) = self.masks.labels(target)?.into_iter().next() else { bail!("the mask has no page") };
        Ok(mask)
    }
}
