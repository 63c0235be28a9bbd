//! What each accepted label cost: how long it took, and how much of the prediction a person had to correct.

use rusqlite::params;

use crate::project::error::Result;
use crate::project::{ImageId, Project};

/// One image's label was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Acceptance {
    /// The image.
    pub image: ImageId,
    /// When, seconds since 1970.
    pub at_s: u64,
    /// How long a person was at it, in seconds, pauses left out.
    pub seconds: f64,
    /// The round whose model predicted it; `None` before the first.
    pub round: Option<usize>,
    /// Dice of that prediction against the label: the corrective Dice (Smith et al., New Phytol. 236, 2022).
    pub dice: Option<f64>,
}

impl Project {
    /// Stores an acceptance; of an image accepted before, the time is added, and what the first prediction was worth
    /// stays: later models have learned from the label.
    pub fn record_acceptance(&mut self, acceptance: &Acceptance) -> Result<()> {
        let Acceptance { image, at_s, seconds, round, dice } = acceptance;
        self.db.execute(
            "INSERT INTO acceptances VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (image) DO UPDATE SET
             at_s = excluded.at_s, seconds = seconds + excluded.seconds",
            params![image, at_s, seconds, round, dice],
        )?;
        Ok(())
    }

    /// All acceptances, oldest first, those of labels taken back among them.
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
