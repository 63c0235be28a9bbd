//! Daily backups of the database, and restoring them.

use std::path::{Path, PathBuf};

use chrono::Local;
use rusqlite::Connection;

use crate::project::error::{ProjectError, Result};
use crate::project::lock::Lock;
use crate::project::{Project, schema};

/// Number of backups kept.
const KEPT: usize = 5;

fn folder(root: &Path) -> PathBuf {
    root.join("backups")
}

/// The backups of a project's database, oldest first: `qualm-YEAR-MONTH-DAY.db`.
pub fn backups(root: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder(root)).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_backup = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with("qualm-") && name.ends_with(".db")
    };
    let mut found: Vec<PathBuf> = files.filter(is_backup).collect();
    found.sort();
    found
}

/// Backs up the database unless there is already a backup from today, and deletes the oldest backups. Uses its own
/// connection.
pub fn back_up(root: &Path) -> Result<()> {
    let path = folder(root).join(format!("qualm-{}.db", Local::now().format("%Y-%m-%d")));
    if path.exists() {
        return Ok(());
    }
    std::fs::create_dir_all(folder(root)).map_err(ProjectError::io(folder(root)))?;
    let unfinished = path.with_extension("part");
    let _ = std::fs::remove_file(&unfinished);
    let db = schema::open_to_read(&root.join("qualm.db"))?;
    db.execute("VACUUM INTO ?1", [unfinished.to_string_lossy()])?;
    std::fs::rename(&unfinished, &path).map_err(ProjectError::io(&path))?;
    let all = backups(root);
    for old in &all[..all.len().saturating_sub(KEPT)] {
        // An extra backup does no harm.
        let _ = std::fs::remove_file(old);
    }
    Ok(())
}

/// Restores a backup. The current database is copied to a folder first, and the path of that folder is returned.
pub fn restore(root: &Path, backup: &Path) -> Result<PathBuf> {
    let _lock = Lock::acquire(root)?;
    let path = root.join("qualm.db");
    check(&Connection::open(backup)?, backup)?;
    let kept = set_aside(root, "before-restore")?;
    let unfinished = path.with_extension("part");
    std::fs::copy(backup, &unfinished).map_err(ProjectError::io(backup))?;
    for name in ["qualm.db-wal", "qualm.db-shm"] {
        // They belong to the replaced database and were copied along with it.
        let _ = std::fs::remove_file(root.join(name));
    }
    std::fs::rename(&unfinished, &path).map_err(ProjectError::io(&path))?;
    // The label files may include later steps, so all of them are rewritten when the project is opened.
    let db = schema::open(&path)?;
    db.execute("UPDATE labels SET exported = -1", [])?;
    Ok(kept)
}

/// Copies the database files as they are, damaged or not, and returns the folder they were copied to.
pub(super) fn set_aside(root: &Path, why: &str) -> Result<PathBuf> {
    let to = folder(root).join(format!("{why}-{}", Local::now().format("%Y-%m-%d-%H%M%S%3f")));
    std::fs::create_dir_all(&to).map_err(ProjectError::io(&to))?;
    for name in ["qualm.db", "qualm.db-wal", "qualm.db-shm"] {
        let from = root.join(name);
        if from.exists() {
            std::fs::copy(&from, to.join(name)).map_err(ProjectError::io(&from))?;
        }
    }
    Ok(to)
}

/// Returns an error if the database fails SQLite's integrity check.
pub(super) fn check(db: &Connection, path: &Path) -> Result<()> {
    let found: rusqlite::Result<String> = db.query_row("PRAGMA quick_check(1)", [], |row| row.get(0));
    match found {
        Ok(word) if word == "ok" => Ok(()),
        Ok(reason) => Err(ProjectError::DamagedDatabase { path: path.to_owned(), reason }),
        Err(error) => Err(ProjectError::DamagedDatabase { path: path.to_owned(), reason: error.to_string() }),
    }
}

impl Project {
    /// Whether the last program that wrote to the project did not shut down cleanly, leaving its write-ahead log.
    pub(super) fn was_cut_off(path: &Path) -> bool {
        std::fs::metadata(path.with_extension("db-wal")).is_ok_and(|log| log.len() > 0)
    }
}
