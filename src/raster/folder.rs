//! The files of a folder and its folders: those that are images, and those that are left out, with the reason.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use walkdir::{DirEntry, WalkDir};

use super::format::{data_file, ending};
use super::{Format, RasterError, sniff};

/// The folders in which a project keeps its own files.
pub const PROJECT_FOLDERS: [&str; 4] = ["labels", "models", "cache", "backups"];
/// The files that lie in a project's folder itself, the database first.
pub const PROJECT_FILES: [&str; 4] = ["qualm.db", "qualm.db-wal", "qualm.db-shm", "qualm.lock"];

/// The contents of a folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// Image files in the folder and its subfolders, sorted, as paths relative to the folder.
    pub files: Vec<(PathBuf, Format)>,
    /// Files that look like images and cannot be read, and folders that cannot be entered, each with the reason.
    pub left_out: Vec<String>,
    /// The number of other files, by extension.
    pub others: BTreeMap<String, usize>,
}

/// Searches `folder` and its subfolders, except for those in `skipped`, hidden ones, and projects of this program. If
/// `folder` is a project itself, as earlier versions allowed, only what the project keeps for itself is left out.
pub fn list(folder: &Path, skipped: &[PathBuf]) -> Result<Listing, RasterError> {
    if folder.is_file() {
        return Err(RasterError::unsupported(folder, "a file", "give the folder that it lies in"));
    }
    std::fs::read_dir(folder).map_err(RasterError::io(folder))?;
    let skipped: Vec<PathBuf> = skipped.iter().filter_map(|path| path.canonicalize().ok()).collect();
    let is_hidden = |name: &std::ffi::OsStr| name.as_encoded_bytes().starts_with(b".");
    let is_skipped = |path: &Path| path.canonicalize().is_ok_and(|path| skipped.contains(&path));
    let mut listing = Listing::default();
    let mut paths = Vec::new();
    let root = folder.canonicalize().map_err(RasterError::io(folder))?;
    // Each folder is searched once, under its real path if that lies inside `folder`: links that cross would otherwise
    // multiply without end.
    let (mut seen, mut known) = (HashSet::new(), Vec::new());
    let mut is_seen = |entry: &DirEntry| {
        let Ok(target) = entry.path().canonicalize() else { return false };
        let is_here = entry.path_is_symlink() && target.starts_with(&root);
        let is_above = root.starts_with(&target); // The walk reports those itself.
        let is_seen = is_here || !seen.insert(target.clone());
        if is_seen && !is_above {
            let path = entry.path().display();
            known.push(format!("{path} is a link to {}, which is looked into already; not followed", target.display()));
        }
        is_seen && !is_above
    };
    let is_project = |path: &Path| path.join(PROJECT_FILES[0]).is_file();
    let is_in_project = is_project(folder);
    let is_own = |entry: &DirEntry| {
        let names = if entry.file_type().is_dir() { PROJECT_FOLDERS } else { PROJECT_FILES };
        is_in_project && entry.depth() == 1 && names.iter().any(|name| entry.file_name() == *name)
    };
    // The walk reports a link to one of its own parent folders as an error.
    let walk = WalkDir::new(folder).follow_links(true).into_iter().filter_entry(|entry| {
        let is_left_out = |path: &Path| is_skipped(path) || is_project(path);
        entry.depth() == 0
            || !is_hidden(entry.file_name())
                && !is_own(entry)
                && !(entry.file_type().is_dir() && (is_left_out(entry.path()) || is_seen(entry)))
    });
    for entry in walk {
        match entry {
            Ok(entry) if entry.file_type().is_file() => paths.push(entry.into_path()),
            Ok(_) => {}
            Err(error) => listing.left_out.push(match (error.loop_ancestor(), error.path()) {
                (Some(above), Some(path)) => {
                    format!("{} is a link to the folder {} above it; not followed", path.display(), above.display())
                }
                _ => error.to_string(),
            }),
        }
    }
    listing.left_out.extend(known);
    paths.sort();
    let sniffed: Vec<_> = paths.into_par_iter().map(|path| (sniff(&path), path)).collect();
    for (kind, path) in sniffed {
        match kind {
            Ok(format) => {
                let relative = path.strip_prefix(folder).map_or(path.clone(), Path::to_owned);
                listing.files.push((relative, format));
            }
            // The data file of a pair whose header file is listed.
            Err(_) if is_data_of_a_pair(&path) => {}
            Err(RasterError::NotAnImage(_)) => *listing.others.entry(ending(&path)).or_default() += 1,
            Err(error) => listing.left_out.push(error.to_string()),
        }
    }
    Ok(listing)
}

fn is_data_of_a_pair(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let stem = &name[..name.to_ascii_lowercase().rfind(".img").unwrap_or(name.len())];
    let header = |ending: &str| path.with_file_name(format!("{stem}.{ending}"));
    let is_data = matches!(ending(path).as_str(), "img" | "img.gz");
    is_data
        && ["hdr", "HDR", "hdr.gz"].iter().any(|ending| {
            let header = header(ending);
            header.is_file() && data_file(&header).is_some() && sniff(&header).is_ok()
        })
}
