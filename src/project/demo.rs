//! The demo project: images from ISIC 2017 bundled with the program, some with their ground-truth masks.

use std::path::Path;

use include_dir::{Dir, include_dir};

use crate::domain::settings::Settings;
use crate::project::error::{ProjectError, Result};
use crate::project::{Import, ImportPlan, ImportRules, Project};

static IMAGES: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/demo/images");
static MASKS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/assets/demo/masks");

/// Writes the images to `folder`, creating it if necessary.
pub fn write_images(folder: &Path) -> Result<()> {
    write(folder, &IMAGES)
}

fn write(folder: &Path, files: &Dir) -> Result<()> {
    std::fs::create_dir_all(folder).map_err(ProjectError::io(folder))?;
    files.extract(folder).map_err(ProjectError::io(folder))
}

/// Opens the demo project in `root`, creating it first if it does not exist.
pub fn open_or_create(root: &Path) -> Result<(Project, Option<Import>)> {
    match Project::open(root) {
        Err(ProjectError::NotAProject(_)) => {}
        opened => return Ok((opened?, None)),
    }
    let (images, masks) = (root.join("images"), root.join("masks"));
    write(&images, &IMAGES)?;
    write(&masks, &MASKS)?;
    let (mut project, import) = {
        let rules = ImportRules::default();
        let plan = ImportPlan::read(&images, Some(&masks), Some(root), &rules, &|_, _| {})?;
        Project::create(root, &plan, &Settings::default(), &|_, _| {})?
    };
    project.rename_class(1, "lesion")?;
    Ok((project, Some(import)))
}
