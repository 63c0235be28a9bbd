//! All integration tests in one binary, so that Burn is linked once.

// A test waits for the one event that it is about.
#![allow(clippy::wildcard_enum_match_arm)]

use std::path::Path;

use qualm::domain::settings::Settings;
use qualm::project::{Import, ImportPlan, ImportRules, Project, ProjectError};

mod damage;
mod domain;
mod driven;
mod durability;
mod engine;
mod exports;
mod headless;
mod hostile;
mod imports;
mod kills;
mod layers;
mod learning;
mod project;
mod raster;
mod reference;
mod relabelling;
mod rooms;
mod shaders;
mod study;
mod volumes;
mod window;
mod workday;
mod worker;

/// Makes a project of a folder of images, and of one of masks, under default rules.
fn create(
    root: &Path,
    images: &Path,
    masks: Option<&Path>,
    settings: &Settings,
) -> Result<(Project, Import), ProjectError> {
    let plan = ImportPlan::read(images, masks, Some(root), &ImportRules::default(), &|_, _| {})?;
    Project::create(root, &plan, settings, &|_, _| {})
}
