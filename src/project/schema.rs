//! The tables of `qualm.db`, and their version.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use crate::project::error::{ProjectError, Result};

/// Version of the tables below, kept in SQLite's `user_version`.
const VERSION: i64 = 2;

/// The tables of version 1.
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE classes (class INTEGER PRIMARY KEY CHECK (class BETWEEN 1 AND 254), name TEXT NOT NULL, colour TEXT NOT NULL);
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    path TEXT NOT NULL UNIQUE,
    stem TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    status TEXT NOT NULL DEFAULT 'unlabelled' CHECK (status IN ('unlabelled', 'labelled')),
    validation INTEGER,
    problem TEXT
);
CREATE TABLE journal (
    image INTEGER NOT NULL REFERENCES images(id),
    position INTEGER NOT NULL,
    edit BLOB NOT NULL,
    accepts INTEGER NOT NULL,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE TABLE labels (
    image INTEGER PRIMARY KEY REFERENCES images(id),
    mask BLOB,
    position INTEGER NOT NULL,
    done INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    exported INTEGER NOT NULL DEFAULT -1
);
CREATE TABLE rounds (
    round INTEGER PRIMARY KEY,
    finished_s INTEGER NOT NULL,
    settings TEXT NOT NULL,
    report TEXT NOT NULL,
    active INTEGER NOT NULL
);
CREATE TABLE scores (
    image INTEGER PRIMARY KEY REFERENCES images(id),
    round INTEGER NOT NULL,
    scores TEXT NOT NULL
);
CREATE TABLE proposals (
    rank INTEGER PRIMARY KEY,
    image INTEGER NOT NULL UNIQUE REFERENCES images(id),
    reason TEXT NOT NULL,
    score REAL NOT NULL
);
";

/// What version 2 added: groups of images, the network's own labels, and what each accepted label cost.
const SECOND: &str = "
ALTER TABLE images ADD COLUMN grp TEXT;
CREATE TABLE pseudo (
    image INTEGER PRIMARY KEY REFERENCES images(id),
    round INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'accepted', 'rejected')),
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    label BLOB NOT NULL
);
CREATE TABLE acceptances (
    image INTEGER PRIMARY KEY REFERENCES images(id),
    at_s INTEGER NOT NULL,
    seconds REAL NOT NULL,
    round INTEGER,
    dice REAL
);
";

/// What projects of the first version were trained with, where the default is another now.
const FIRST_SETTINGS: &str = "
UPDATE meta SET value = json_set(value, '$.schedule', 'constant', '$.pseudo_from', 0) WHERE key = 'settings';
UPDATE rounds SET settings = json_set(settings, '$.schedule', 'constant', '$.pseudo_from', 0);
";

/// Makes the tables in a new database.
pub fn create(path: &Path) -> Result<Connection> {
    let db = connect(path)?;
    db.execute_batch(&format!("BEGIN; {TABLES} {SECOND} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(db)
}

/// Opens a database made by [`create`], of this version or an earlier one, which is brought up to this one.
pub fn open(path: &Path) -> Result<Connection> {
    let db = connect(path)?;
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    match found {
        VERSION => Ok(db),
        1 => {
            db.execute_batch(&format!("BEGIN; {SECOND} {FIRST_SETTINGS} PRAGMA user_version = {VERSION}; COMMIT;"))?;
            Ok(db)
        }
        newer if newer > VERSION => {
            let path = path.parent().unwrap_or(path).to_owned();
            Err(ProjectError::NewerVersion { path, found: newer, known: VERSION })
        }
        _ => Err(ProjectError::Damaged("version")),
    }
}

/// A commit is on disk when it returns: `synchronous = FULL` makes the write-ahead log wait for the disk.
fn connect(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}
