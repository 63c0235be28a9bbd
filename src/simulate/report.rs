//! The results of an experiment as tables: `results.jsonl` and `report.md`, regenerated from the state of the runs.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Context, Result};

use qualm::domain::settings::{Settings, TABLE};

use super::curves::{Curve, CurvePoint};
use super::{Experiment, SimulatedRound, curves, run, write_whole};

/// Writes the results of all runs so far.
pub fn write(out: &Path, experiment: &Experiment) -> Result<()> {
    let lines = lines(out)?;
    let mut text = String::new();
    for line in &lines {
        writeln!(text, "{}", serde_json::to_string(line)?)?;
    }
    write_whole(&out.join("results.jsonl"), text.as_bytes())?;
    let (full, curves): (Vec<Curve>, Vec<Curve>) =
        self::curves(&lines).into_iter().partition(|curve| curve.policy == "full");
    let full = full.first().and_then(|curve| curve.points.first().copied());
    write_whole(&out.join("report.md"), report(experiment, &curves, full)?.as_bytes())?;
    curves::draw(out, &curves, full)
}

/// The lines of every run, by policy, seed and round.
fn lines(out: &Path) -> Result<Vec<SimulatedRound>> {
    let mut lines: Vec<SimulatedRound> = Vec::new();
    let folder = out.join("state");
    for entry in std::fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        let is_first = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("first-"));
        if is_first || path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        lines.extend(run::read_lines(&path)?.unwrap_or_default());
    }
    lines.sort_by(|a, b| (&a.policy, a.seed, a.round).cmp(&(&b.policy, b.seed, b.round)));
    Ok(lines)
}

fn curves(lines: &[SimulatedRound]) -> Vec<Curve> {
    let mut policies: BTreeMap<&str, BTreeMap<u64, Vec<&SimulatedRound>>> = BTreeMap::new();
    for line in lines {
        policies.entry(&line.policy).or_default().entry(line.seed).or_default().push(line);
    }
    let curve = |(policy, runs): (&str, BTreeMap<u64, Vec<&SimulatedRound>>)| {
        // Leave out seeds that have completed fewer rounds than others.
        let most = runs.values().map(Vec::len).max().unwrap_or(0);
        let runs: Vec<Vec<&SimulatedRound>> = runs.into_values().filter(|run| run.len() == most).collect();
        let over_runs =
            |round: usize, value: fn(&SimulatedRound) -> f64| mean(runs.iter().map(|run| value(run[round])));
        let point = |round: usize| {
            let dice = over_runs(round, |line| line.test_dice);
            let squares: f64 = runs.iter().map(|run| (run[round].test_dice - dice).powi(2)).sum();
            let spread = (squares / (runs.len() as f64 - 1.0).max(1.0)).sqrt();
            CurvePoint { labelled: over_runs(round, |line| line.labelled as f64), dice, spread }
        };
        let last = |value: fn(&SimulatedRound) -> Option<f64>| {
            let values: Option<Vec<f64>> = runs.iter().map(|run| value(run.last()?)).collect();
            values.map(|values| mean(values.into_iter()))
        };
        Curve {
            policy: policy.to_owned(),
            points: (0..most).map(point).collect(),
            error_auroc: last(|line| line.error_auroc),
            aurc: last(|line| line.aurc),
            jaccard: mean(runs.iter().flatten().map(|line| line.test_jaccard)),
            ece: mean(runs.iter().filter_map(|run| run.last()).map(|line| line.ece)),
            corrected: {
                let shares: Vec<f64> = runs.iter().flatten().filter_map(|line| line.corrected).collect();
                (!shares.is_empty()).then(|| mean(shares.into_iter()))
            },
            steps: mean(runs.iter().flatten().map(|line| line.steps as f64)),
            seconds: mean(runs.iter().flatten().map(|line| line.seconds)),
            seeds: runs.len(),
        }
    };
    policies.into_iter().map(curve).collect()
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count.max(1))
}

/// The number of labels at which the mean curve first reaches a Dice, interpolated linearly between rounds.
fn labels_to_reach(points: &[CurvePoint], dice: f64) -> Option<f64> {
    let at = points.iter().position(|point| point.dice >= dice)?;
    let (after, Some(before)) = (points[at], at.checked_sub(1).map(|before| points[before])) else {
        return Some(points[at].labelled);
    };
    let share = (dice - before.dice) / (after.dice - before.dice);
    Some(before.labelled + share * (after.labelled - before.labelled))
}

fn report(experiment: &Experiment, curves: &[Curve], full: Option<CurvePoint>) -> Result<String> {
    let mut text = "# Simulated active learning\n\n".to_owned();
    let Experiment { images, masks, map: _, groups, pool, test, initial, queries: _, representative, settings } =
        experiment;
    writeln!(text, "Images {}, masks {}.", images.display(), masks.display())?;
    let pool = pool.map_or("the whole pool".to_owned(), |pool| format!("{pool} images of the pool for each seed"));
    let test = test.map_or(String::new(), |test| format!("; {test} images of the test set"));
    let groups = groups.as_ref().map_or(String::new(), |rule| format!("; groups by {rule}"));
    let first = if *representative { " (those that `qualm propose` asks for)" } else { "" };
    writeln!(
        text,
        "{pool}, {initial} labelled at the start{first}{test}{groups}. Settings that are not those of `quick`:\n"
    )?;
    let quick = Settings::default();
    for setting in TABLE.iter().filter(|s| s.text(settings) != s.text(&quick) && !["seed", "policy"].contains(&s.key)) {
        writeln!(text, "- `{}` = {}", setting.key, setting.text(settings))?;
    }
    writeln!(text, "\nTest Dice, mean ± standard deviation over the seeds:\n")?;
    let most = curves.iter().max_by_key(|curve| curve.points.len());
    let Some(most) = most.filter(|most| !most.points.is_empty()) else {
        return Ok(text);
    };
    let labels = most.points.iter().map(|point| format!(" {:.0} labels |", point.labelled));
    writeln!(text, "| policy | seeds |{} mean over rounds | mean Jaccard |", labels.collect::<String>())?;
    writeln!(text, "| --- | --- |{} --- | --- |", " --- |".repeat(most.points.len()))?;
    for curve in curves {
        let cell = |i: usize| {
            curve.points.get(i).map_or(" |".to_owned(), |point| format!(" {:.3} ± {:.3} |", point.dice, point.spread))
        };
        let cells: String = (0..most.points.len()).map(cell).collect();
        let over_rounds = mean(curve.points.iter().map(|point| point.dice));
        writeln!(text, "| `{}` | {} |{cells} {over_rounds:.3} | {:.3} |", curve.policy, curve.seeds, curve.jaccard)?;
    }
    labels_needed(&mut text, curves, full)?;
    writeln!(text, "\nUncertainty after the last round; work and training over all rounds; means over the seeds:\n")?;
    writeln!(
        text,
        "| policy | AUROC of variance against error | area under risk–coverage (AURC) | calibration error (ECE) | pixels to correct in a queried image | \
         steps a round | seconds of training a round |"
    )?;
    writeln!(text, "| --- | --- | --- | --- | --- | --- | --- |")?;
    for curve in curves {
        let auroc = curve.error_auroc.map_or("–".to_owned(), |auroc| format!("{auroc:.3}"));
        let aurc = curve.aurc.map_or("–".to_owned(), |aurc| format!("{aurc:.4}"));
        let corrected = curve.corrected.map_or("–".to_owned(), |share| format!("{:.1} %", 100.0 * share));
        let Curve { policy, ece, steps, seconds, .. } = curve;
        writeln!(text, "| `{policy}` | {auroc} | {aurc} | {ece:.3} | {corrected} | {steps:.0} | {seconds:.0} |")?;
    }
    Ok(text)
}

/// The table of the labels that each policy needs.
fn labels_needed(text: &mut String, curves: &[Curve], full: Option<CurvePoint>) -> Result<()> {
    let random = curves.iter().find(|curve| curve.policy == "random").and_then(|curve| curve.points.last().copied());
    if let Some(full) = full {
        writeln!(
            text,
            "\nTrained on the whole pool, {:.0} labels: Dice {:.3} ± {:.3}.",
            full.labelled, full.dice, full.spread
        )?;
    }
    let mut goals: Vec<(String, f64)> = Vec::new();
    goals.extend(full.map(|full| ("90 % of the full-data Dice".to_owned(), 0.9 * full.dice)));
    goals.extend(full.map(|full| ("95 % of the full-data Dice".to_owned(), 0.95 * full.dice)));
    goals.extend(random.map(|point| ("`random`'s last Dice".to_owned(), point.dice)));
    if goals.is_empty() {
        return Ok(());
    }
    let names: String = goals.iter().map(|(name, dice)| format!(" {name}, {dice:.3} |")).collect();
    writeln!(text, "\nLabels at which the mean curve reaches\n\n| policy |{names}")?;
    writeln!(text, "| --- |{}", " --- |".repeat(goals.len()))?;
    for curve in curves {
        let needed = |(_, dice): &(String, f64)| {
            labels_to_reach(&curve.points, *dice)
                .map_or(" not reached |".to_owned(), |labels| format!(" {labels:.0} |"))
        };
        writeln!(text, "| `{}` |{}", curve.policy, goals.iter().map(needed).collect::<String>())?;
    }
    Ok(())
}
