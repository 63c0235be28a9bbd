//! All integration tests in one binary, so that Burn is linked once.

// A test waits for the one event that it is about.
#![allow(clippy::wildcard_enum_match_arm)]

use std::path::Path;

use qualm::domain::remedy::Failure;
use qualm::domain::settings::Settings;
use qualm::project::{Import, ImportPlan, ImportRules, Project, ProjectError};
use qualm::worker::{DeviceChoice, Event, JobKind, Outcome, Request, Worker};

mod circles;
mod damage;
mod domain;
mod driven;
mod durability;
mod engine;
mod exports;
mod full_disk;
mod headless;
mod hostile;
mod imports;
mod kills;
mod layers;
mod learning;
mod migrations;
mod project;
mod raster;
mod reference;
mod relabelling;
#[cfg(feature = "remote")]
mod remote;
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

/// Runs a job on a project to its end, on the CPU.
fn run_job(root: &Path, kind: JobKind) -> Result<Outcome, Failure> {
    let worker = Worker::start(|| {});
    worker.ask(Request::Open(root.to_owned())).ok().unwrap();
    worker.ask(Request::Job { id: 1, device: DeviceChoice::Cpu, kind }).ok().unwrap();
    loop {
        match worker.wait(std::time::Duration::from_secs(120)).expect("an event") {
            Event::Finished(1, outcome) => return Ok(*outcome),
            Event::Failed(1, reason) => return Err(reason),
            _ => {}
        }
    }
}
