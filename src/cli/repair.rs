//! `qualm repair` and `qualm restore`.

use std::path::Path;

use anyhow::{Context, Result, bail};

use qualm::engine::model;
use qualm::project::{Project, Repaired, backup};

use super::print_json;

/// Finds damage and repairs it, unless it is a dry run.
pub fn repair(root: &Path, is_dry: bool, json: bool) -> Result<()> {
    let is_sound_model = |folder: &Path, known: &str| model::identity(folder).is_ok_and(|found| found == known);
    let mut project = if is_dry { Project::open_to_read(root)? } else { Project::open(root)? };
    let found = project.repair(is_dry, is_sound_model)?;
    if json {
        return print_json(&found);
    }
    if found.is_sound() {
        println!("{}: nothing is damaged", root.display());
        return Ok(());
    }
    let Repaired { from_files, lost, files, models, rounds, lost_rounds, kept } = found;
    let (mended, unlabelled, written) = if is_dry {
        ("can be made again", "is lost", "differs")
    } else {
        ("made again", "lost: unlabelled now", "written again")
    };
    from_files.iter().for_each(|name| println!("{name}: label {mended} from its label file"));
    lost.iter().for_each(|name| println!("{name}: label {unlabelled}"));
    files.iter().for_each(|name| println!("{name}: label file {written}"));
    models
        .iter()
        .for_each(|round| println!("round {round}: its model is not the one that was recorded; train a new round"));
    rounds.iter().for_each(|round| println!("round {round}: record {mended} from its model's folder"));
    let damaged = "its record is damaged in the database and in its model's folder; it is left out";
    lost_rounds.iter().for_each(|round| println!("round {round}: {damaged}"));
    if let Some(kept) = kept {
        println!("the database as it was, and label files that could not be read: {}", kept.display());
    }
    Ok(())
}

/// Restores a backup of the database, or lists the available ones.
pub fn restore(root: &Path, day: Option<&str>) -> Result<()> {
    let backups = backup::backups(root);
    let name = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().replace("qualm-", "");
    let Some(day) = day else {
        if backups.is_empty() {
            println!("{}: there is no backup yet", root.display());
        }
        for path in &backups {
            println!("{}", name(path));
        }
        return Ok(());
    };
    let Some(path) = backups.iter().find(|path| name(path) == day) else {
        let all: Vec<String> = backups.iter().map(|path| name(path)).collect();
        bail!("there is no backup of {day}; there are: {}", all.join(", "));
    };
    let kept = backup::restore(root, path).with_context(|| format!("{} cannot be brought back", path.display()))?;
    println!("{}: the state before the work of {day}; the database as it was: {}", root.display(), kept.display());
    Ok(())
}
