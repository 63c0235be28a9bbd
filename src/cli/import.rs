//! Commands that import images and masks: each shows its plan, and does nothing while questions remain.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;

use qualm::domain::mask_values::{MaskValue, Numbers, ValueMap, ValueRules};
use qualm::domain::settings::Settings;
use qualm::domain::study::FileState;
use qualm::domain::text::counted;
use qualm::project::import::{ImportRules, Pages, Several};
use qualm::project::{Import, ImportPlan, Project, ProjectError};

use super::json::{Checked, Refreshed};
use super::{print_json, progress_bar};

/// What masks mean, where that is not clear.
#[derive(Args)]
pub struct MaskRules {
    /// The class of a value of the masks: a number, a colour as #rrggbb, or transparent; class 0 is background, 255 not
    /// labelled. Values that are not named are an error.
    #[arg(long = "map", value_name = "VALUE=CLASS")]
    map: Vec<String>,
    /// With --map: values that it does not name are taken as the nearest that it does.
    #[arg(long)]
    nearest: bool,
    /// Values from this one on are foreground, all others background.
    #[arg(long, value_name = "VALUE")]
    threshold: Option<f64>,
    /// What many numbers in a mask are: classes, or instances (single objects, all of one class).
    #[arg(long, value_name = "WHAT", value_parser = numbers)]
    numbers: Option<Numbers>,
    /// What several masks of one image are: union (parts of one), or classes (a class each).
    #[arg(long, value_name = "WHAT", value_parser = several)]
    several: Option<Several>,
    /// What the pages of a mask are, where its image has one: one-hot (a class each, the first background), or classes (a
    /// class each, background where none is set).
    #[arg(long, value_name = "WHAT", value_parser = pages)]
    pages: Option<Pages>,
    /// The suffix that mask names add to the image name, such as _mask.
    #[arg(long, value_name = "SUFFIX")]
    mask_suffix: Option<String>,
}

fn numbers(text: &str) -> Result<Numbers, &'static str> {
    match text {
        "classes" => Ok(Numbers::Classes),
        "instances" => Ok(Numbers::Instances),
        _ => Err("write classes or instances"),
    }
}

fn several(text: &str) -> Result<Several, &'static str> {
    match text {
        "union" => Ok(Several::Union),
        "classes" => Ok(Several::Classes),
        _ => Err("write union or classes"),
    }
}

fn pages(text: &str) -> Result<Pages, &'static str> {
    match text {
        "one-hot" => Ok(Pages::OneHot),
        "classes" => Ok(Pages::Classes),
        _ => Err("write one-hot or classes"),
    }
}

impl MaskRules {
    /// The options given, as text, by which an experiment checks that it is resumed with the same ones.
    pub fn words(&self) -> Vec<String> {
        let mut words = self.map.clone();
        words.extend(self.nearest.then(|| "nearest".to_owned()));
        words.extend(self.threshold.map(|threshold| format!("threshold {threshold}")));
        words.extend(self.numbers.map(|numbers| format!("numbers {numbers:?}")));
        words.extend(self.several.map(|several| format!("several {several:?}")));
        words.extend(self.pages.map(|pages| format!("pages {pages:?}")));
        words.extend(self.mask_suffix.as_ref().map(|suffix| format!("suffix {suffix}")));
        words
    }

    /// The rules as given.
    pub fn rules(&self) -> Result<ImportRules> {
        let pair = |text: &String| {
            let (value, class) = text.split_once('=')?;
            Some((value.trim().parse::<MaskValue>().ok()?, class.trim().parse().ok()?))
        };
        let read = |text: &String| {
            pair(text).with_context(|| {
                format!("`{text}`: write VALUE=CLASS, the value as a number, #rrggbb or transparent, the class from 0 to 255")
            })
        };
        let map = self.map.iter().map(read).collect::<Result<ValueMap>>()?;
        if self.nearest && map.is_empty() {
            bail!("--nearest needs --map");
        }
        let values = ValueRules {
            map: (!map.is_empty()).then_some(map),
            nearest: self.nearest,
            threshold: self.threshold,
            numbers: self.numbers,
        };
        Ok(ImportRules {
            values,
            suffix: self.mask_suffix.clone(),
            several: self.several,
            pages: self.pages,
            replaces: false,
        })
    }
}

/// Plans an import, with a progress bar if standard error is a terminal.
pub fn plan(images: &Path, masks: Option<&Path>, root: Option<&Path>, rules: &ImportRules) -> Result<ImportPlan> {
    let bar = progress_bar();
    bar.set_message("reading files");
    let plan = ImportPlan::read(images, masks, root, rules, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    Ok(plan?)
}

/// Shows what an import would do; an error if questions remain.
pub fn check(images: &Path, masks: Option<&Path>, rules: &MaskRules, json: bool) -> Result<()> {
    let summary = plan(images, masks, None, &rules.rules()?)?.summary();
    if json {
        print_json(&Checked::new(&summary))?;
    } else {
        print!("{summary}");
    }
    if summary.questions.is_empty() { Ok(()) } else { bail!(ProjectError::Unsettled(summary.questions)) }
}

/// Makes a project.
pub fn new(root: &Path, images: &Path, masks: Option<&Path>, rules: &MaskRules, settings: &Settings) -> Result<()> {
    if root.join("qualm.db").exists() {
        bail!(ProjectError::AlreadyAProject(root.to_owned()));
    }
    let plan = plan(images, masks, Some(root), &rules.rules()?)?;
    print!("{}", plan.summary());
    let bar = progress_bar();
    bar.set_message("importing");
    let made = Project::create(root, &plan, settings, &|done, all| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let (_, import) = made?;
    println!(
        "{}: {}, {} of them labelled by their masks",
        root.display(),
        counted(import.images, "image"),
        import.masks
    );
    Ok(())
}

/// Takes masks into a project, or shows what that would do.
pub fn masks(root: &Path, masks: &Path, rules: &MaskRules, replaces: bool, dry_run: bool) -> Result<()> {
    let mut project = if dry_run { Project::open_to_read(root)? } else { Project::open(root)? };
    let bar = progress_bar();
    bar.set_message("reading masks");
    let on_progress = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let rules = ImportRules { replaces, ..rules.rules()? };
    let plan = project.plan_masks(masks, &rules, &on_progress)?;
    bar.finish_and_clear();
    print!("{}", plan.summary());
    let questions = plan.questions();
    if !questions.is_empty() {
        bail!(ProjectError::Unsettled(questions));
    }
    if !dry_run {
        let Import { masks, .. } = project.import_masks(&plan, &on_progress)?;
        println!("{}: {} imported as labels", root.display(), counted(masks, "mask"));
    }
    Ok(())
}

/// Looks for new, missing and replaced files.
pub fn refresh(root: &Path, replaced: Option<&str>, restore: bool, json: bool) -> Result<()> {
    let mut project = Project::open(root)?;
    project.check_files()?;
    let settled = match replaced {
        Some(word) => project.accept_replaced(word == "keep")?,
        None => 0,
    };
    let restored = if restore { project.restore_images()? } else { 0 };
    let source = project.image_source()?;
    let added = if source.folder.is_dir() { project.add_new_files(&source.read(&|_, _| {})?)? } else { 0 };
    let images = project.images()?;
    let named = |state: FileState| -> Vec<String> {
        images.iter().filter(|image| image.file == state).map(|image| image.name.clone()).collect()
    };
    let (missing, changed) = (named(FileState::Missing), named(FileState::Replaced));
    if json {
        return print_json(&Refreshed { added, restored, settled, missing, replaced: changed });
    }
    println!("{}: {}", root.display(), counted(added, "new image"));
    if restored > 0 {
        println!("{} restored", counted(restored, "image"));
    }
    if settled > 0 {
        println!("{} updated", counted(settled, "replaced image"));
    }
    for name in &missing {
        println!("missing: {name}");
    }
    for name in &changed {
        println!("replaced since it was labelled: {name}");
    }
    if !missing.is_empty() {
        println!("if the folder of images was moved: qualm relocate {} --images DIR", root.display());
    }
    if !changed.is_empty() {
        println!("for replaced images: --replaced keep (their labels still fit), or --replaced clear");
    }
    Ok(())
}

/// Sets the new location of the folder of images.
pub fn relocate(root: &Path, images: &Path) -> Result<()> {
    let (found, missing) = Project::open(root)?.relocate(images)?;
    println!("{}: {} found in {}", root.display(), counted(found, "image"), images.display());
    for name in missing {
        println!("missing: {name}");
    }
    Ok(())
}

/// Removes images from a project.
pub fn remove(root: &Path, names: &[PathBuf]) -> Result<()> {
    let mut project = Project::open(root)?;
    let images = project.images()?;
    for name in names {
        let name = name.to_string_lossy();
        let is_named = |image: &&qualm::domain::study::ImageRecord| {
            image.name == name || image.stack.as_ref().is_some_and(|(stack, _)| *stack == name)
        };
        let found: Vec<_> = images.iter().filter(is_named).collect();
        if found.is_empty() {
            bail!("the project has no image {name}; qualm status PROJECT --json lists what it has");
        }
        for image in found {
            project.remove_image(image.id)?;
        }
    }
    println!("{}: {} removed; qualm refresh {0} --restore brings them back", root.display(), names.len());
    Ok(())
}
