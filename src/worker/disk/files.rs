//! The project's image files, new and missing ones, and making labels from other slices of a stack.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::views::replay;
use super::{Disk, Inbox, QUIET};
use crate::domain::mask::{Mask, foreground_fraction};
use crate::domain::slices::interpolate;
use crate::domain::study::{FileState, ImageId, ImageRecord};
use crate::domain::text::counted;
use crate::project::{ImportPlan, Project, backup};
use crate::worker::{Event, FilesFound, ManyLabels, SliceLabel};

impl Disk {
    /// Backs up the database once a day, in the background.
    pub(super) fn back_up(&self, project: &Project) {
        if project.is_writable() {
            let root = project.root().to_owned();
            self.in_background(move || {
                let failed = backup::back_up(&root).err()?;
                Some(Event::Error(format!("no backup of the database was made: {failed}").into()))
            });
        }
    }

    /// Changes the labels of several images, each in a separate step.
    pub(super) fn change_labels(&mut self, images: &[ImageId], what: ManyLabels) -> Result<()> {
        if self.running.is_some() {
            bail!("a job is running; change the labels when it has ended");
        }
        self.check_saved()?;
        let project = self.project()?;
        let mut change = |image: ImageId| match what {
            ManyLabels::Unaccept => {
                let done = project.label(image)?.history.done();
                project.move_to(image, done, Some(false))
            }
            ManyLabels::Clear => project.clear_label(image),
        };
        // One that fails does not keep the others from being changed, nor the window from showing them.
        let failed: Vec<_> = images.iter().filter_map(|image| Some((*image, change(*image).err()?))).collect();
        self.refresh()?;
        self.export_at = Some(Instant::now() + QUIET);
        if failed.len() < images.len() {
            self.events.send(Event::ManyChanged(what, images.len() - failed.len()));
        }
        let others = failed.len().saturating_sub(1);
        let Some((first, why)) = failed.into_iter().next() else { return Ok(()) };
        let name = self.record(first)?.name;
        let others = match others {
            0 => String::new(),
            more => format!(", and {} could not be changed either", counted(more, "other label")),
        };
        Err(anyhow::Error::from(why).context(format!("the label of {name} was not changed{others}")))
    }

    /// Scans the image folder on another thread.
    pub(super) fn refresh_files(&mut self, was_asked: bool) -> Result<()> {
        let project = self.project()?;
        if !project.is_writable() {
            return Ok(());
        }
        let (root, source) = (project.root().to_owned(), project.image_source()?);
        let itself = self.itself.clone();
        let task = move || {
            // If the folder does not exist, the images are reported as missing.
            let plan = source.read(&|_, _| {});
            let plan = plan.unwrap_or_else(|_| ImportPlan { images: Default::default(), masks: None });
            let _ = itself.send(Inbox::Listed(root, Box::new(plan), was_asked));
            None
        };
        self.on_own_thread(task, Event::Error);
        Ok(())
    }

    /// Handles the result of a scan of the image folder.
    pub(super) fn listed(&mut self, root: &Path, plan: &ImportPlan, was_asked: bool) -> Result<()> {
        let is_busy = self.running.is_some();
        let Some(project) = self.project.as_mut().filter(|project| project.root() == root && !is_busy) else {
            return Ok(());
        };
        let before = project.images()?;
        project.check_files()?;
        // When a project is opened, new files are only reported; they are added at the user's request.
        let added = if was_asked { project.add_new_files(plan)? } else { project.count_new(plan)? };
        let images = project.images()?;
        let count = |state: FileState| images.iter().filter(|image| image.file == state).count();
        let found =
            FilesFound { added, missing: count(FileState::Missing), replaced: count(FileState::Replaced), was_asked };
        if images != before {
            self.refresh()?;
        }
        self.events.send(Event::FilesChecked(found));
        Ok(())
    }

    /// Restores the images that were removed from the project.
    pub(super) fn restore_images(&mut self) -> Result<()> {
        self.project()?.restore_images()?;
        self.refresh()
    }

    pub(super) fn accept_replaced(&mut self, keeps_labels: bool) -> Result<()> {
        self.project()?.accept_replaced(keeps_labels)?;
        self.refresh()?;
        self.refresh_files(true)
    }

    pub(super) fn relocate(&mut self, folder: &Path) -> Result<()> {
        self.project()?.relocate(folder)?;
        self.refresh()?;
        self.refresh_files(true)
    }

    /// The label of a slice, including writes that are not on disk yet.
    fn label_of(&mut self, image: ImageId) -> Result<Mask> {
        let mut label = self.project()?.label(image)?;
        replay(&mut label, self.writes.iter(), image)?;
        Ok(label.mask)
    }

    pub(super) fn slice_label(&mut self, image: ImageId, from: SliceLabel) -> Result<()> {
        let record = self.record(image)?;
        let (stack, slice) = record.stack.context("the image is not part of a stack")?;
        let images = self.project()?.images()?;
        let place =
            |other: &ImageRecord| other.stack.as_ref().filter(|(name, _)| *name == stack).map(|(_, slice)| *slice);
        let slices: Vec<(usize, &ImageRecord)> = images.iter().filter_map(|i| Some((place(i)?, i))).collect();
        let label = match from {
            SliceLabel::Before => {
                let before = slices.iter().rev().find(|(other, _)| *other < slice);
                let (_, before) = before.context("this is the first slice")?;
                self.label_of(before.id)?
            }
            SliceLabel::Between => {
                let labelled = || slices.iter().filter(|(_, image)| image.labelled);
                let below = labelled().rev().find(|(other, _)| *other < slice);
                let above = labelled().find(|(other, _)| *other > slice);
                let (Some((low, below)), Some((high, above))) = (below, above) else {
                    bail!("label a slice on each side first");
                };
                let share = (slice - low) as f64 / (high - low) as f64;
                let (below, above) = (self.label_of(below.id)?, self.label_of(above.id)?);
                let between = interpolate(&below, &above, share);
                let is_empty = |mask: &Mask| foreground_fraction(mask.pixels()) == 0.0;
                if is_empty(&between) && !is_empty(&below) && !is_empty(&above) {
                    bail!(
                        "the objects in slices {} and {} do not overlap, so there is nothing to interpolate",
                        low + 1,
                        high + 1
                    );
                }
                between
            }
        };
        self.events.send(Event::SliceLabel(image, label));
        Ok(())
    }
}
