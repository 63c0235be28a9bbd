//! What one round did, and who is kept for validation.

use serde::{Deserialize, Serialize};

use crate::domain::honesty::Honesty;
use crate::domain::metrics::Agreement;
use crate::domain::query::Reason;

/// The report of one round, as stored, printed by `--json` and drawn in the history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Its number, from 1.
    pub round: usize,
    /// Labelled images trained on.
    pub labelled: usize,
    /// Mean loss of the last epoch.
    pub train_loss: f64,
    /// Agreement with the validation images; `None` where there are none.
    pub validation: Option<Agreement>,
    /// Whether its doubt is honest, on the validation images; `None` where there are none, and in rounds of before this
    /// was measured.
    #[serde(default)]
    pub honesty: Option<Honesty>,
    /// Pool images scored.
    pub scored: usize,
    /// Images proposed, most useful first.
    pub proposed: Vec<Proposed>,
    /// Images left out because they could not be read, each with the reason.
    pub problems: Vec<String>,
    /// Whether its model became the active one.
    pub active: bool,
    /// What tells its model from others: a hash of the model's files.
    pub model: String,
    /// The device it ran on.
    pub device: String,
    /// Where the time went.
    pub seconds: Seconds,
    /// One point an epoch.
    pub curve: Vec<EpochPoint>,
}

/// One proposed image of a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposed {
    /// File name.
    pub image: String,
    /// Why.
    pub reason: Reason,
    /// Its score.
    pub score: f64,
}

/// Durations in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Seconds {
    /// Training and validation.
    pub train: f64,
    /// Scoring the pool.
    pub score: f64,
    /// The whole round, reading images and writing results included.
    pub total: f64,
}

/// How training stood after one epoch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EpochPoint {
    /// Epochs done.
    pub epoch: usize,
    /// Mean loss over the epoch's batches.
    pub loss: f64,
    /// Dice on the validation images; `None` where there are none.
    pub dice: Option<f64>,
}

/// Draws images for validation among the labelled ones that no draw has seen. `kept` images are in validation already
/// of `labelled` in all; enough of `fresh` join to reach `share`, at least one once four are labelled. The order
/// comes from a hash of `seed` and each name, so it does not depend on what else is in the list.
pub fn draw_validation(fresh: &[String], kept: usize, labelled: usize, share: f64, seed: u64) -> Vec<bool> {
    let least = usize::from(share > 0.0 && labelled >= 4);
    let wanted = ((share * labelled as f64).round() as usize).max(least).saturating_sub(kept);
    let mut order: Vec<usize> = (0..fresh.len()).collect();
    order.sort_by_key(|&i| hash(&fresh[i], seed));
    let mut drawn = vec![false; fresh.len()];
    order.into_iter().take(wanted).for_each(|i| drawn[i] = true);
    drawn
}

/// FNV-1a over the seed and the name, then mixed: stable across versions, unlike the standard library's hasher.
fn hash(name: &str, seed: u64) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = seed.to_le_bytes().iter().chain(name.as_bytes()).fold(0xcbf2_9ce4_8422_2325, fold);
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Whether a new model may replace the active one: its validation Dice has not fallen by more than `tolerance`.
pub fn may_become_active(new: Option<Agreement>, active: Option<Agreement>, tolerance: f64) -> bool {
    match (new, active) {
        (Some(new), Some(active)) => new.dice >= active.dice - tolerance,
        _ => true,
    }
}
