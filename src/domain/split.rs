//! Which images are held out for validation: drawn once and kept for good, with each group entirely on one side.

use std::collections::BTreeMap;

use crate::domain::study::Side;

/// A labelled image, as the draw sees it.
#[derive(Clone, Debug)]
pub struct Member {
    /// The patient, volume or slide that it belongs to; its own name where it stands alone.
    pub group: String,
    /// Share of its labelled pixels that are foreground, 0 to 1.
    pub foreground: f64,
    /// Its side, if already decided.
    pub side: Side,
}

/// The undecided images of one group.
#[derive(Default)]
struct Fresh {
    members: Vec<usize>,
    foreground: f64,
}

/// Assigns each image to a side; earlier decisions stand. A group that has a side takes its new images there. While
/// nothing is in validation, the draw is stratified by the fraction of foreground: the groups, sorted by it, are
/// divided into as many equal strata as are wanted, and the group with the lowest hash is drawn from each; none while
/// fewer than four images are labelled, then at least one. After that, a new group joins validation if its hash falls
/// below `share`: in whatever order later groups arrive, the side of a group depends only on `seed` and its name.
pub fn draw_validation(members: &[Member], share: f64, seed: u64) -> Vec<Side> {
    let mut sides: BTreeMap<&str, bool> = BTreeMap::new();
    for member in members {
        if member.side != Side::Undrawn {
            *sides.entry(&member.group).or_default() |= member.side == Side::Validation;
        }
    }
    let mut fresh: BTreeMap<&str, Fresh> = BTreeMap::new();
    for (i, member) in members.iter().enumerate().filter(|(_, m)| !sides.contains_key(m.group.as_str())) {
        let group = fresh.entry(&member.group).or_default();
        group.members.push(i);
        group.foreground += member.foreground;
    }
    let drawn: Vec<&str> = if share == 0.0 {
        Vec::new()
    } else if sides.values().any(|validation| *validation) {
        fresh.keys().copied().filter(|group| unit(group, seed) < share).collect()
    } else {
        // A single group cannot be both learned from and measured on.
        let enough = members.len() >= 4 && fresh.len() + sides.len() > 1;
        let wanted =
            if enough && !fresh.is_empty() { ((share * fresh.len() as f64).round() as usize).max(1) } else { 0 };
        let mut order: Vec<(&str, &Fresh)> = fresh.iter().map(|(group, fresh)| (*group, fresh)).collect();
        let mean = |fresh: &Fresh| fresh.foreground / fresh.members.len() as f64;
        order.sort_by(|a, b| mean(a.1).total_cmp(&mean(b.1)));
        let stratum = |i: usize| &order[i * order.len() / wanted..(i + 1) * order.len() / wanted];
        let lowest = |i: usize| stratum(i).iter().map(|(group, _)| *group).min_by_key(|group| hash(group, seed));
        (0..wanted).filter_map(lowest).collect()
    };
    sides.extend(drawn.into_iter().map(|group| (group, true)));
    let drawn = |member: &Member| match sides.get(member.group.as_str()) {
        Some(true) => Side::Validation,
        Some(false) | None => Side::Training,
    };
    members.iter().map(|member| if member.side == Side::Undrawn { drawn(member) } else { member.side }).collect()
}

/// A number from 0 to 1 that depends on the name and the seed alone.
fn unit(name: &str, seed: u64) -> f64 {
    (hash(name, seed) >> 11) as f64 / (1u64 << 53) as f64
}

/// FNV-1a over the seed and the name, then mixed: stable across versions, unlike the standard library's hasher.
fn hash(name: &str, seed: u64) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = seed.to_le_bytes().iter().chain(name.as_bytes()).fold(0xcbf2_9ce4_8422_2325, fold);
    let hash = (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash ^ (hash >> 32)
}
