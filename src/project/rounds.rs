//! Rounds: the images that take part, the results, and which model is active.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use rusqlite::params;

use crate::domain::mask::{Mask, foreground_fraction};
use crate::domain::query::Proposal;
use crate::domain::round::Report;
use crate::domain::scores::Scores;
use crate::domain::settings::{Settings, Start};
use crate::domain::split::{Member, draw_validation};
use crate::domain::study::{Change, ImageId, ImageRecord, Round, Side, Study};
use crate::project::error::{ProjectError, Result};
use crate::project::{Project, pseudo};
use crate::raster::NewFile;

/// A successfully trained round, ready to be recorded.
pub struct Finished {
    /// The report of the round.
    pub report: Report,
    /// The settings it was trained with.
    pub settings: Settings,
}

/// A round as the database records it.
pub struct RoundRecord {
    /// Its number.
    pub number: usize,
    /// The round; `None` if neither the database nor its model's folder has it whole.
    pub round: Option<Round>,
    /// Whether its record in the database is damaged.
    pub is_damaged: bool,
}

impl RoundRecord {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let becomes = match self.round {
            Some(_) => "what is missing was read from its model's folder",
            None => "the round is left out",
        };
        self.is_damaged.then(|| format!("the record of round {} is damaged: {becomes}", self.number))
    }
}

/// Name of the file in a model's folder that holds the round's report.
const REPORT: &str = "report.json";
/// Name of the file in a model's folder that holds the round's settings.
const SETTINGS: &str = "settings.json";

/// The round with this number from its stored report and settings; `None` if they are damaged.
fn read(number: usize, report: String, settings: String) -> Option<(Report, Settings)> {
    let report: Report = serde_json::from_str(&report).ok()?;
    (report.round == number).then_some((report, serde_json::from_str(&settings).ok()?))
}

/// Whether stored settings have every setting of this version. The database brings those of an earlier version up to
/// date, and the files are left as they were: what they lack would be taken for today's default.
fn are_of_this_version(settings: &str) -> bool {
    let default = serde_json::to_value(Settings::default()).expect("settings are plain data");
    let stored = serde_json::from_str::<serde_json::Value>(settings).ok();
    let keys = stored.as_ref().and_then(|stored| stored.as_object()).zip(default.as_object());
    keys.is_some_and(|(stored, default)| default.keys().all(|key| stored.contains_key(key)))
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).expect("a report is plain data")
}

impl Project {
    /// All rounds, oldest first. One whose record in the database is damaged is read from its model's folder, and left
    /// out if that is damaged too.
    pub fn rounds(&self) -> Result<Vec<Round>> {
        Ok(self.round_records()?.into_iter().filter_map(|record| record.round).collect())
    }

    /// All rounds, oldest first, with what is wrong with their records.
    pub fn round_records(&self) -> Result<Vec<RoundRecord>> {
        let mut query = self
            .db
            .prepare("SELECT round, report, settings, active, finished_s, outdated FROM rounds ORDER BY round")?;
        let records = query.query_map([], |row| {
            let number: usize = row.get(0)?;
            let (report, settings) = (row.get(1).ok(), row.get(2).ok());
            let whole = report.zip(settings).and_then(|(report, settings)| read(number, report, settings));
            let (active, finished_s, outdated) = (row.get(3).ok(), row.get(4).ok(), row.get(5).ok());
            let is_damaged = whole.is_none() || active.is_none() || finished_s.is_none() || outdated.is_none();
            // Whether a round knows the present classes is not guessed: a network of other classes must not predict.
            let outdated = outdated.unwrap_or(true);
            let round = whole.or_else(|| self.round_of_files(number)).map(|(report, settings)| Round {
                report,
                settings,
                active: active.unwrap_or(false) && !outdated,
                outdated,
                finished_s: finished_s.unwrap_or(0),
            });
            Ok(RoundRecord { number, round, is_damaged })
        })?;
        Ok(records.collect::<rusqlite::Result<_>>()?)
    }

    /// A round's report and settings as they are in its model's folder; `None` if they are damaged or of an earlier
    /// version.
    fn round_of_files(&self, number: usize) -> Option<(Report, Settings)> {
        let text = |name| std::fs::read_to_string(self.model_folder(number).join(name)).ok();
        let settings = text(SETTINGS).filter(|settings| are_of_this_version(settings))?;
        read(number, text(REPORT)?, settings)
    }

    /// Writes the damaged records among these again. A round that is damaged in its model's folder as well is left as
    /// it is.
    pub(super) fn mend_rounds(&mut self, records: &[RoundRecord]) -> Result<()> {
        for RoundRecord { number, round, .. } in records.iter().filter(|record| record.is_damaged) {
            let Some(Round { report, settings, active, outdated, finished_s }) = round else { continue };
            let settings = serde_json::to_string_pretty(settings).expect("settings are plain data");
            self.db.execute(
                "UPDATE rounds SET report = ?2, settings = ?3, active = ?4, outdated = ?5, finished_s = ?6
                 WHERE round = ?1",
                params![number, json(report), settings, active, outdated, finished_s],
            )?;
        }
        Ok(())
    }

    /// The active round, whose model is used for predictions.
    pub fn active_round(&self) -> Result<Option<Round>> {
        Ok(self.rounds()?.into_iter().find(|round| round.active))
    }

    /// The folder of a round's model.
    pub fn model_folder(&self, round: usize) -> PathBuf {
        self.root.join("models").join(format!("round-{round:03}"))
    }

    /// The folder to which a round's model is written before the round is recorded.
    pub fn unfinished_model_folder(&self, round: usize) -> PathBuf {
        self.root.join("models").join(format!("round-{round:03}.part"))
    }

    /// All labelled images, each assigned to training or validation. Images labelled since the last round are assigned
    /// now, permanently. If there are too few images or groups for any validation, the assignment is not stored and is
    /// drawn again in the next round, unless later rounds start from weights that were trained on these images.
    pub fn labelled_images(&mut self, settings: &Settings) -> Result<Vec<ImageRecord>> {
        let mut labelled: Vec<ImageRecord> = self.images()?.into_iter().filter(|image| image.labelled).collect();
        let member = |image: &ImageRecord| {
            let fresh = image.side == Side::Undrawn;
            let foreground = match self.label(image.id) {
                _ if !fresh => 0.0,
                Ok(label) => foreground_fraction(label.mask.pixels()),
                // Reported by the round.
                Err(ProjectError::DamagedLabel(_)) => 0.0,
                Err(error) => return Err(error),
            };
            let group = image.group.clone().unwrap_or_else(|| image.name.clone());
            Ok(Member { group, foreground, side: image.side })
        };
        let members = labelled.iter().map(member).collect::<Result<Vec<_>>>()?;
        let drawn = draw_validation(&members, settings.validation_share, settings.seed);
        let is_for_good = members.iter().any(|member| member.side != Side::Undrawn)
            || drawn.contains(&Side::Validation)
            || settings.start == Start::Previous;
        let transaction = self.db.transaction()?;
        for (image, side) in labelled.iter_mut().zip(drawn).filter(|(image, _)| image.side == Side::Undrawn) {
            image.side = side;
            if is_for_good {
                transaction.execute("UPDATE images SET validation = ?2 WHERE id = ?1", params![image.id, side])?;
            }
        }
        transaction.commit()?;
        Ok(labelled)
    }

    /// The number of the next round.
    pub fn next_round(&self) -> Result<usize> {
        Ok(self.db.query_row("SELECT coalesce(max(round), 0) + 1 FROM rounds", [], |row| row.get(0))?)
    }

    /// Records a round as soon as it has been trained, in one transaction. Its model folder is renamed into place
    /// before the transaction is committed; a round that cannot be recorded leaves every folder as it was. The scores
    /// and proposals of the previous round are kept until [`Project::record_scores`].
    pub fn record_round(&mut self, finished: &Finished) -> Result<()> {
        let round = finished.report.round;
        let (unfinished, folder) = (self.unfinished_model_folder(round), self.model_folder(round));
        let report = json(&finished.report);
        let settings = serde_json::to_string_pretty(&finished.settings).expect("settings are plain data");
        for (name, text) in [(REPORT, &report), (SETTINGS, &settings)] {
            let path = unfinished.join(name);
            std::fs::write(&path, text).map_err(ProjectError::io(path))?;
        }
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let trained = Round {
            report: finished.report.clone(),
            settings: finished.settings.clone(),
            active: finished.report.active,
            outdated: false,
            finished_s: now_s,
        };
        let (study, _) = self.after(&Change::Trained(Box::new(trained)))?;
        let transaction = self.db.transaction()?;
        transaction.execute(
            "INSERT INTO rounds (round, finished_s, settings, report, active) VALUES (?1, ?2, ?3, ?4, ?5)",
            params![round, now_s, settings, report, finished.report.active],
        )?;
        store_active(&transaction, &study)?;
        // The database has accepted the round's number, so no recorded round uses an existing folder of that number.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(ProjectError::io(&folder))?;
        }
        std::fs::rename(&unfinished, &folder).map_err(ProjectError::io(&folder))?;
        Ok(transaction.commit()?)
    }

    /// Stores the results of scoring the pool: scores, proposals and pseudo-labels. `report` is the round's report,
    /// updated with them.
    pub fn record_scores(
        &mut self,
        report: &Report,
        scores: &[(ImageId, Scores)],
        proposals: &[Proposal<ImageId>],
        pseudo_labels: &[(ImageId, Mask)],
    ) -> Result<()> {
        let text = json(report);
        let path = self.model_folder(report.round).join(REPORT);
        // Not in place: it may be all that is left of the round if the database is damaged.
        NewFile::write_all(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
        let change = Change::Scored {
            scores: scores.to_vec(),
            proposals: proposals.to_vec(),
            pseudo: pseudo_labels.iter().map(|(image, _)| *image).collect(),
        };
        let (_, effects) = self.after(&change)?;
        let transaction = self.db.transaction()?;
        transaction.execute("UPDATE rounds SET report = ?2 WHERE round = ?1", params![report.round, text])?;
        store_scores(&transaction, report.round, scores, proposals)?;
        pseudo::discard(&transaction, &effects)?;
        for (image, mask) in pseudo_labels.iter().filter(|(image, _)| effects.labelled.contains(image)) {
            pseudo::insert(&transaction, report.round, *image, mask)?;
        }
        Ok(transaction.commit()?)
    }

    /// Replaces the proposals.
    pub fn record_proposals(&mut self, proposals: &[Proposal<ImageId>]) -> Result<()> {
        let transaction = self.db.transaction()?;
        store_proposals(&transaction, proposals)?;
        Ok(transaction.commit()?)
    }

    /// Makes `round` the active round. Fails if the round is outdated.
    pub fn activate(&mut self, round: usize) -> Result<()> {
        if self.rounds()?.iter().any(|known| known.report.round == round && known.outdated) {
            return Err(ProjectError::OtherClasses(round));
        }
        let (study, effects) = self.after(&Change::Activated(round))?;
        let transaction = self.db.transaction()?;
        store_active(&transaction, &study)?;
        pseudo::discard(&transaction, &effects)?;
        Ok(transaction.commit()?)
    }
}

fn store_active(transaction: &rusqlite::Transaction, study: &Study) -> Result<()> {
    // A round whose record is damaged is not in the study.
    transaction.execute("UPDATE rounds SET active = FALSE", [])?;
    for round in &study.rounds {
        let number = round.report.round;
        transaction.execute("UPDATE rounds SET active = ?2 WHERE round = ?1", params![number, round.active])?;
    }
    Ok(())
}

fn store_scores(
    transaction: &rusqlite::Transaction,
    round: usize,
    scores: &[(ImageId, Scores)],
    proposals: &[Proposal<ImageId>],
) -> Result<()> {
    for (image, scores) in scores {
        let text = serde_json::to_string(scores).expect("scores are plain data");
        transaction.execute("INSERT OR REPLACE INTO scores VALUES (?1, ?2, ?3)", params![image, round, text])?;
    }
    store_proposals(transaction, proposals)
}

/// Deletes the proposals that the study no longer has.
pub(super) fn discard_proposals(transaction: &rusqlite::Transaction, study: &Study) -> Result<()> {
    let proposed: Vec<ImageId> = {
        let mut query = transaction.prepare("SELECT image FROM proposals")?;
        let rows = query.query_map([], |row| row.get(0))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    for image in proposed {
        if study.image(image).is_none_or(|record| record.proposed.is_none()) {
            transaction.execute("DELETE FROM proposals WHERE image = ?1", [image])?;
        }
    }
    Ok(())
}

fn store_proposals(transaction: &rusqlite::Transaction, proposals: &[Proposal<ImageId>]) -> Result<()> {
    transaction.execute("DELETE FROM proposals", [])?;
    for (rank, proposal) in proposals.iter().enumerate() {
        let reason = serde_json::to_string(&proposal.reason).expect("a reason is plain data");
        let tile = proposal.tile.map(|tile| serde_json::to_string(&tile).expect("a tile is plain data"));
        transaction.execute(
            "INSERT INTO proposals VALUES (?1, ?2, ?3, ?4, ?5)",
            params![rank + 1, proposal.image, reason, proposal.score, tile],
        )?;
    }
    Ok(())
}
