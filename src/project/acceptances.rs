//! The annotation cost of each accepted label: the time it took, and how much of the prediction had to be corrected.

use rusqlite::params;

use crate::domain::study::{Acceptance, Change};
use crate::project::Project;
use crate::project::error::Result;

impl Project {
    /// Stores an acceptance, merged with the earlier one if the image was accepted before ([`Change::Accepted`]).
    pub fn record_acceptance(&mut self, acceptance: &Acceptance) -> Result<()> {
        let (study, _) = self.after(&Change::Accepted(acceptance.clone()))?;
        let joined = study.acceptances.iter().find(|joined| joined.image == acceptance.image);
        let Acceptance { image, at_s, seconds, round, dice } = joined.unwrap_or(acceptance);
        self.db.execute(
            "INSERT OR REPLACE INTO acceptances VALUES (?1, ?2, ?3, ?4, ?5)",
            params![image, at_s, seconds, round, dice],
        )?;
        Ok(())
    }

    /// All acceptances, oldest first, including those of labels that were later withdrawn.
    pub fn acceptances(&self) -> Result<Vec<Acceptance>> {
        let mut query =
            self.db.prepare("SELECT image, at_s, seconds, round, dice FROM acceptances ORDER BY at_s, image")?;
        let rows = query.query_map([], |row| {
            Ok(Acceptance {
                image: row.get(0)?,
                at_s: row.get(1)?,
                seconds: row.get(2)?,
                round: row.get(3)?,
                dice: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }
}
