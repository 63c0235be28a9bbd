//! Exports networks: weights, settings, and the PyTorch code that runs them.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::engine::model::EXPORTED_WEIGHTS;
use crate::project::{Project, ProjectError};
use crate::raster::NewFile;

/// The program that loads an exported network into PyTorch.
const MODEL_PY: &str = include_str!("../../assets/model.py");

/// Exports the network of a round, or of the active round if `None`: `model.safetensors`, `model.json` with its
/// training settings, and `model.py`. Returns the files that were written.
pub fn export(project: &Project, round: Option<usize>, out: &Path, overwrites: bool) -> Result<Vec<PathBuf>> {
    project.check_out(out)?;
    let rounds = project.rounds()?;
    let found = match round {
        Some(number) => rounds.into_iter().find(|round| round.report.round == number),
        None => rounds.into_iter().find(|round| round.active),
    };
    let round = match (found, round) {
        (Some(found), _) => found,
        (None, Some(number)) => bail!("there is no round {number}"),
        (None, None) => return Err(ProjectError::NoRound.into()),
    };
    if round.outdated {
        return Err(ProjectError::OtherClasses(round.report.round).into());
    }
    let files = [EXPORTED_WEIGHTS, "model.json", "model.py"].map(|name| out.join(name));
    if let Some(there) = files.iter().find(|file| file.exists() && !overwrites) {
        return Err(ProjectError::WouldOverwrite(there.clone()).into());
    }
    let folder = project.model_folder(round.report.round);
    let read = |name: &str| {
        let path = folder.join(name);
        std::fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    let mut description: Value = serde_json::from_slice(&read("model.json")?).context("model.json is damaged")?;
    description["classes"] = json!(round.report.class_names);
    description["round"] = json!(round.report.round);
    description["validation"] = json!(round.report.validation);
    description["settings"] = json!(round.settings);
    description["qualm"] = json!(env!("CARGO_PKG_VERSION"));
    let description = serde_json::to_string_pretty(&description)?;
    let contents = [read("weights.safetensors")?, description.into_bytes(), MODEL_PY.as_bytes().to_vec()];
    for (path, content) in files.iter().zip(contents) {
        NewFile::write_all(path, |file| file.write_all(&content))?;
    }
    Ok(files.to_vec())
}
