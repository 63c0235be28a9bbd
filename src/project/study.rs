//! The stored study: a change is applied to the [`Study`] in memory, and the result is then written to the database.

use crate::domain::study::{Change, Effects, ImageId, Study};
use crate::project::Project;
use crate::project::error::Result;

impl Project {
    /// Loads the complete study.
    pub fn study(&self) -> Result<Study> {
        Ok(Study {
            settings: self.settings()?,
            classes: self.classes()?,
            images: self.images()?,
            rounds: self.rounds()?,
            acceptances: self.acceptances()?,
        })
    }

    /// A number that changes whenever another program or connection modifies the project.
    pub fn data_version(&self) -> Result<i64> {
        Ok(self.db.pragma_query_value(None, "data_version", |row| row.get(0))?)
    }

    /// Applies a change to the stored study and returns the resulting study and the effects. Only the parts that the
    /// change needs are loaded; for a change to one image, that image alone.
    pub(super) fn after(&self, change: &Change) -> Result<(Study, Effects)> {
        let mut study = match change {
            Change::Edited { image, .. } | Change::Reviewed(image, _) => self.with_image(*image)?,
            Change::Accepted(_) => Study { acceptances: self.acceptances()?, ..Study::default() },
            Change::Settings(_) | Change::ClassRenamed(..) | Change::ClassRecoloured(..) => Study::default(),
            Change::Trained(_) => Study { rounds: self.rounds()?, ..Study::default() },
            Change::ClassAdded(_)
            | Change::ClassesMapped(_)
            | Change::Activated(_)
            | Change::Scored { .. }
            | Change::Proposed(_) => self.study()?,
        };
        let effects = study.apply(change);
        Ok((study, effects))
    }

    fn with_image(&self, image: ImageId) -> Result<Study> {
        Ok(Study { images: self.image(image)?.into_iter().collect(), ..Study::default() })
    }
}
