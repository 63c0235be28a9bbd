//! `qualm export`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use qualm::domain::text::counted;
use qualm::project::{ExportFormat, ExportPlan, ExportWhat, Project};
use qualm::worker::{Request, Worker};

use super::{Job, On, opened, print_json, progress_bar, run_job};

/// A format by its name.
pub fn format(text: &str) -> Result<ExportFormat, String> {
    named(&ExportFormat::ALL, text)
}

/// What is exported, by its name.
pub fn what(text: &str) -> Result<ExportWhat, String> {
    named(&ExportWhat::ALL, text)
}

fn named<T: Copy>(all: &[(T, &str)], text: &str) -> Result<T, String> {
    let found = all.iter().find(|(_, name)| *name == text).map(|(value, _)| *value);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|(_, name)| *name).collect();
        format!("{} is expected", names.join(", "))
    })
}

/// Writes labels and predictions, or shows what would be written.
pub fn export(root: PathBuf, plan: &ExportPlan, is_dry: bool, on: &On) -> Result<()> {
    let exported = if is_dry {
        Project::open_to_read(&root)?.plan_export(plan)?
    } else if plan.what.has_predictions() {
        let worker = Worker::start(|| {});
        opened(&worker, Request::OpenToRead(root))?;
        run_job(&worker, &on.device, Job::export(plan.clone()))?
    } else {
        let bar = progress_bar();
        let on_progress = |done: usize, all: usize| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        };
        let exported = Project::open_to_read(&root)?.export(plan, &on_progress)?;
        bar.finish_and_clear();
        exported
    };
    if on.json {
        print_json(&exported)?;
        return refuse(&exported.left_out);
    }
    let verb = if is_dry { "would be written" } else { "written" };
    let (images, files) = (counted(exported.images, "image"), counted(exported.files.len(), "file"));
    println!("{images}: {files} {verb} to {}", plan.out.display());
    if is_dry {
        exported.files.iter().for_each(|file| println!("  {}", file.display()));
    }
    exported.notes.iter().for_each(|note| println!("  {note}"));
    refuse(&exported.left_out)
}

/// Fails if any requested image was left out of the export.
fn refuse(left_out: &[String]) -> Result<()> {
    if left_out.is_empty() {
        Ok(())
    } else {
        bail!("{} not exported: {}", counted(left_out.len(), "image"), left_out.join("; "))
    }
}
