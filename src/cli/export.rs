//! `qualm export`.

use std::path::Path;

use anyhow::Result;

use qualm::project::{ExportFormat, ExportPlan, Project};

use super::{print_json, progress_bar};

/// A format by its name.
pub fn format(text: &str) -> Result<ExportFormat, String> {
    let found = ExportFormat::ALL.into_iter().find(|(_, name)| *name == text).map(|(format, _)| format);
    found.ok_or_else(|| {
        let names: Vec<&str> = ExportFormat::ALL.iter().map(|(_, name)| *name).collect();
        format!("{} is expected", names.join(", "))
    })
}

/// Writes the labels, or shows what would be written.
pub fn export(root: &Path, plan: &ExportPlan, is_dry: bool, json: bool) -> Result<()> {
    let project = Project::open_to_read(root)?;
    let exported = if is_dry {
        project.plan_export(plan)?
    } else {
        let bar = progress_bar();
        let on_progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let exported = project.export(plan, &on_progress)?;
        bar.finish_and_clear();
        exported
    };
    if json {
        return print_json(&exported);
    }
    let verb = if is_dry { "would be written" } else { "written" };
    println!("{} labelled images: {} files {verb} to {}", exported.images, exported.files.len(), plan.out.display());
    if is_dry {
        exported.files.iter().for_each(|file| println!("  {}", file.display()));
    }
    exported.notes.iter().for_each(|note| println!("  {note}"));
    Ok(())
}
