//! `qualm report`: an HTML page about a study, with what a methods section needs.
//!
//! Invariant: unless names are requested, nothing on the page names an image, a patient or a folder.

mod charts;
mod examples;
mod page;

use std::path::PathBuf;

use anyhow::{Result, bail};

use qualm::domain::study::Study;
use qualm::project::Project;
use qualm::raster::NewFile;
use qualm::worker::{DeviceChoice, Request, Worker};

use crate::cli;

/// What `qualm report` was asked.
#[derive(clap::Args)]
pub struct ReportArguments {
    /// The project's folder.
    project: PathBuf,
    /// The page that is written.
    #[arg(long)]
    out: PathBuf,
    /// Name images, and say why some were left out: both may hold patients' names.
    #[arg(long)]
    names: bool,
    /// Leave the pictures out.
    #[arg(long)]
    no_pictures: bool,
    /// Replace the file if it is there already.
    #[arg(long)]
    overwrite: bool,
    /// Where predictions that are not known yet are computed: auto, cpu, gpu, or remote:NAME.
    #[arg(long, default_value_t = DeviceChoice::Auto)]
    device: DeviceChoice,
}

/// Writes the page.
pub fn run(arguments: &ReportArguments) -> Result<()> {
    if arguments.out.exists() && !arguments.overwrite {
        bail!("{} is there already; choose another name, or give --overwrite", arguments.out.display());
    }
    let project = Project::open_to_read(&arguments.project)?;
    let study = project.study()?;
    let examples = if arguments.no_pictures || study.active_round().is_none() {
        Vec::new()
    } else {
        let worker = Worker::start(|| {});
        cli::opened(&worker, Request::OpenToRead(arguments.project.clone()))?;
        cli::choose_device(&worker, &arguments.device)?;
        examples::of(&project, &study, &worker)?
    };
    let text = page::page(&study, &examples, arguments.names)?;
    NewFile::write_all(&arguments.out, |file| std::io::Write::write_all(file, text.as_bytes()))?;
    println!("{}", arguments.out.display());
    Ok(())
}

/// How the page refers to an image: by its name, or by its number in the project.
fn call(study: &Study, name: &str, with_names: bool) -> String {
    match study.images.iter().find(|image| image.name == name) {
        _ if with_names => name.to_owned(),
        Some(image) => format!("image {}", image.id),
        None => "an image".to_owned(),
    }
}
