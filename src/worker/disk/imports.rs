//! Imports, which are planned in the background, kept until the user has settled all questions, and then performed.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};

use super::{Disk, Inbox};
use crate::domain::settings::Settings;
use crate::project::{ExportPlan, ImportPlan, ImportRules, MaskPlan, Project, Summary};
use crate::worker::failure::failure;
use crate::worker::{Event, ImportTarget, PlannedImport, Signals};

/// A plan that waits for the user's decision.
pub struct PendingImport {
    target: ImportTarget,
    plan: PlannedFiles,
}

/// The kind of plan.
pub enum PlannedFiles {
    /// A new project.
    Project(ImportPlan),
    /// Masks for the open one.
    Masks(MaskPlan),
}

impl PlannedFiles {
    fn read(target: &ImportTarget, open: Option<PathBuf>, rules: &ImportRules, signals: &Signals) -> Result<Self> {
        let on_progress = |done: usize, all: usize| signals.set_import(Some((done, all)));
        Ok(match target {
            ImportTarget::Project { root, images, masks } => {
                Self::Project(ImportPlan::read(images, masks.as_deref(), Some(root), rules, &on_progress)?)
            }
            ImportTarget::Masks(folder) => {
                let project = Project::reopen(&open.context("no project is open")?)?;
                Self::Masks(project.plan_masks(folder, rules, &on_progress)?)
            }
        })
    }

    fn summary(&self) -> Summary {
        match self {
            Self::Project(plan) => plan.summary(),
            Self::Masks(plan) => {
                let questions = plan.questions();
                Summary { masks: Some(plan.summary()), questions, ..Summary::default() }
            }
        }
    }

    fn masks_mut(&mut self) -> Option<&mut MaskPlan> {
        match self {
            Self::Project(plan) => plan.masks.as_mut(),
            Self::Masks(plan) => Some(plan),
        }
    }
}

impl Disk {
    /// Plans an import on another thread. If the masks need not be read again, an existing plan is settled by the new
    /// rules instead.
    pub(super) fn plan_import(&mut self, target: ImportTarget, rules: ImportRules) -> Result<()> {
        self.wanted_import = Some((target.clone(), rules.clone()));
        if let Some(waiting) = self.import.as_mut().filter(|waiting| waiting.target == target)
            && let Some(masks) = waiting.plan.masks_mut().filter(|masks| !masks.must_read_again(&rules))
        {
            masks.settle(&rules);
            self.say_plan(&rules);
            return Ok(());
        }
        self.import = None;
        let open = self.project.as_ref().map(|project| project.root().to_owned());
        let (itself, signals) = (self.itself.clone(), self.signals.clone());
        let task = move || {
            let planned = PlannedFiles::read(&target, open, &rules, &signals);
            signals.set_import(None);
            match planned {
                Ok(plan) => {
                    let _ = itself.send(Inbox::Planned(Box::new(PendingImport { target, plan }), rules));
                    None
                }
                Err(error) => Some(Event::ImportFailed(failure(&error))),
            }
        };
        self.on_own_thread(task, Event::ImportFailed);
        Ok(())
    }

    /// Handles a finished plan.
    pub(super) fn planned(&mut self, waiting: PendingImport, rules: &ImportRules) {
        // The user has since changed the rules, cancelled the import, or opened another project.
        if !self.wanted_import.as_ref().is_some_and(|(target, wanted)| *target == waiting.target && wanted == rules) {
            return;
        }
        self.import = Some(waiting);
        self.say_plan(rules);
    }

    fn say_plan(&self, rules: &ImportRules) {
        if let Some(PendingImport { target, plan }) = &self.import {
            let planned = PlannedImport { target: target.clone(), rules: rules.clone(), summary: plan.summary() };
            self.events.send(Event::ImportPlanned(Box::new(planned)));
        }
    }

    /// Performs the planned import.
    pub(super) fn import(&mut self, settings: &Settings) -> Result<()> {
        self.is_opening = matches!(self.wanted_import, Some((ImportTarget::Project { .. }, _)));
        self.check_saved()?;
        let PendingImport { target, plan } = self.import.take().context("the files are still being read")?;
        let signals: Arc<Signals> = self.signals.clone();
        let on_progress = |done: usize, all: usize| signals.set_import(Some((done, all)));
        let done = match (&target, &plan) {
            (ImportTarget::Project { root, .. }, PlannedFiles::Project(plan)) => {
                Project::create(root, plan, settings, &on_progress).map(|(project, import)| (Some(project), import))
            }
            (_, PlannedFiles::Masks(plan)) => {
                self.project()?.import_masks(plan, &on_progress).map(|import| (None, import))
            }
            (ImportTarget::Masks(_), PlannedFiles::Project(_)) => bail!("the plan belongs to another import"),
        };
        self.signals.set_import(None);
        match done {
            Ok((Some(project), import)) => self.opened(project, Some(import)),
            Ok((None, import)) => {
                self.refresh()?;
                self.events.send(Event::Imported(import));
                Ok(())
            }
            Err(error) => {
                // The import can be retried once the user has settled more questions or freed disk space.
                self.import = Some(PendingImport { target, plan });
                Err(error.into())
            }
        }
    }

    /// Measures all labels on a separate thread and connection.
    pub(super) fn measure_study(&mut self) {
        let root = self.project.as_ref().map(|project| project.root().to_owned());
        let signals = self.signals.clone();
        let measure = move || {
            let root = root.context("no project is open")?;
            let on_progress = |done: usize, all: usize| signals.set_import(Some((done, all)));
            let found = Project::open_to_read(&root)?.study_regions(&on_progress);
            signals.set_import(None);
            anyhow::Ok(found?)
        };
        let task = move || Some(Event::StudyRegions(measure().map_err(|error| failure(&error))));
        self.on_own_thread(task, |panic| Event::StudyRegions(Err(panic)));
    }

    /// Exports labels on a separate thread and connection, which sees the labels as they are when the export begins. The
    /// program's end waits for it.
    pub(super) fn export_labels(&mut self, plan: ExportPlan, is_dry: bool) {
        let root = self.project.as_ref().map(|project| project.root().to_owned());
        let (saved, signals, of_panic) = (self.check_saved(), self.signals.clone(), plan.clone());
        let export = move |plan: &ExportPlan| {
            let root = root.context("no project is open")?;
            saved?;
            let project = Project::open_to_read(&root)?;
            let on_progress = |done: usize, all: usize| signals.set_import(Some((done, all)));
            let done = if is_dry { project.plan_export(plan) } else { project.export(plan, &on_progress) };
            signals.set_import(None);
            anyhow::Ok(done?)
        };
        let task = move || {
            let result = export(&plan).map_err(|error| failure(&error));
            Some(Event::Exported { plan, is_dry, result })
        };
        let thread =
            self.on_own_thread(task, move |panic| Event::Exported { plan: of_panic, is_dry, result: Err(panic) });
        self.exports.retain(|export| !export.is_finished());
        self.exports.extend(thread.filter(|_| !is_dry));
    }
}
