//! Loads what the user views: an image with its label, its prediction and its thumbnail. Slow tasks run in the
//! background.

use std::sync::Arc;

use anyhow::{Context, Result};

use super::{Disk, current_key};
use crate::domain::prediction::Prediction;
use crate::domain::study::{FileState, ImageId, ImageRecord, Review, Round};
use crate::project::cache::Key;
use crate::project::{Label, ProjectError, cache};
use crate::raster;
use crate::worker::pool_image::PoolImage;
use crate::worker::previews::{Audience, Preview};
use crate::worker::{Event, OVERVIEW, Shown, Write};

impl Disk {
    pub(super) fn show(&mut self, image: ImageId, ticket: u64) -> Result<()> {
        let record = self.record(image)?;
        let mut label = self.project()?.label(image)?;
        replay(&mut label, self.writes.iter(), image)?;
        if record.file != FileState::Present {
            let reason = record.problem.unwrap_or_default();
            self.events.send(Event::NotShown(image, reason.into()));
            return Ok(());
        }
        let prediction = self.prediction(&record)?;
        let is_untouched = label.history.done() == 0;
        let is_machines = is_untouched && matches!(record.pseudo, Some(Review::Unreviewed | Review::Accepted));
        let pseudo_label = if is_machines { self.project()?.pseudo_label(image)? } else { None };
        self.in_background(move || {
            let read = raster::read(&record.path, record.page).map(|raster| raster::picture(&raster));
            Some(match read {
                Err(error) => Event::NotShown(image, error.to_string().into()),
                Ok(picture) if (picture.width, picture.height) != (record.width, record.height) => Event::NotShown(
                    image,
                    format!(
                        "{} is {} × {} now, and was {} × {} when it joined the project; its label would not fit. Put \
                         the earlier file back",
                        record.path.display(),
                        picture.width,
                        picture.height,
                        record.width,
                        record.height
                    )
                    .into(),
                ),
                Ok(picture) => {
                    let prediction = prediction.map(Arc::new);
                    let factor = picture.width.max(picture.height).div_ceil(OVERVIEW);
                    let overview = (factor > 1).then(|| picture.reduced(factor));
                    let picture = Arc::new(picture);
                    let pseudo_label = pseudo_label.map(|mask| mask.resized(record.width, record.height));
                    Event::Shown(Box::new(Shown { image, ticket, picture, overview, label, pseudo_label, prediction }))
                }
            })
        });
        Ok(())
    }

    /// The active model's prediction for an image, if it is cached; otherwise it is requested from the engine.
    fn prediction(&mut self, record: &ImageRecord) -> Result<Option<Prediction>> {
        let active = self.project()?.active_round()?;
        active.map_or(Ok(None), |active| self.prediction_by(record, &active, Audience::Person))
    }

    fn prediction_by(&mut self, record: &ImageRecord, round: &Round, to: Audience) -> Result<Option<Prediction>> {
        let project = self.project()?;
        let settings = project.settings()?;
        let key = Key::new(&round.report.model, &settings);
        let prediction = cache::prediction(project.root(), &key, record.id);
        if prediction.is_none() {
            let folder = project.model_folder(round.report.round);
            let preview = Preview { image: PoolImage::of(record), folder, settings, to };
            self.engine.previews.send(preview);
        }
        Ok(prediction)
    }

    pub(super) fn preview_by(&mut self, image: ImageId, round: usize) -> Result<()> {
        let record = self.record(image)?;
        let by = self.project()?.rounds()?.into_iter().find(|other| other.report.round == round);
        let by = by.context("the round is no longer in the project")?;
        if by.outdated {
            return Err(ProjectError::OtherClasses(round).into());
        }
        if let Some(prediction) = self.prediction_by(&record, &by, Audience::Comparison(round))? {
            self.events.send(Event::PredictedBy(image, round, Arc::new(prediction)));
        }
        Ok(())
    }

    pub(super) fn preview(&mut self, image: ImageId) -> Result<()> {
        let record = self.record(image)?;
        if let Some(prediction) = self.prediction(&record)? {
            self.events.send(Event::Predicted(image, Arc::new(prediction)));
        }
        Ok(())
    }

    pub(super) fn thumbnail(&mut self, image: ImageId) -> Result<()> {
        let ImageRecord { path, page, .. } = self.record(image)?;
        let root = self.project()?.root().to_owned();
        // If the image cannot be read, the reason is reported when it is shown.
        self.in_background(move || {
            cache::thumbnail(&root, image, &path, page).map(|thumbnail| Event::Thumbnail(root, image, thumbnail))
        });
        Ok(())
    }

    pub(super) fn predicted(&mut self, key: &Key, image: ImageId, prediction: Prediction, to: Audience) -> Result<()> {
        let Some(project) = &self.project else { return Ok(()) };
        let kept = cache::keep_prediction(project.root(), key, image, &prediction);
        match to {
            Audience::Nobody => {}
            // Predictions of a model that is no longer active, or that belongs to another project, are not shown.
            Audience::Person if current_key(project)?.is_some_and(|current| current == *key) => {
                self.events.send(Event::Predicted(image, Arc::new(prediction)));
            }
            Audience::Person => {}
            Audience::Comparison(round) => self.events.send(Event::PredictedBy(image, round, Arc::new(prediction))),
        }
        kept.context("the prediction is shown but could not be stored")
    }
}

/// Applies the writes that are not on disk yet to a label that was read from disk.
pub(super) fn replay<'a>(label: &mut Label, writes: impl Iterator<Item = &'a Write>, wanted: ImageId) -> Result<()> {
    for write in writes {
        match write {
            Write::Step { image, step, .. } if *image == wanted => {
                step.edit.toggle(&mut label.mask)?;
                label.history.push(step.clone());
            }
            Write::MoveTo { image, done, .. } if *image == wanted => {
                while label.history.done() > *done && label.history.undo(&mut label.mask)?.is_some() {}
                while label.history.done() < *done && label.history.redo(&mut label.mask)?.is_some() {}
            }
            Write::Step { .. }
            | Write::MoveTo { .. }
            | Write::Settings(_)
            | Write::Accepted(_)
            | Write::Pseudo(..)
            | Write::Contrast(_)
            | Write::AddClass(_)
            | Write::RenameClass(..)
            | Write::RecolourClass(..) => {}
        }
    }
    Ok(())
}
