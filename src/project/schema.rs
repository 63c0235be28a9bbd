//! The tables of `qualm.db`, and their version.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, params};

use crate::project::error::{ProjectError, Result};
use crate::project::identity::path_bytes;

/// Schema version, stored in SQLite's `user_version`.
const VERSION: i64 = 8;

/// All tables except `images` and those in [`SECOND`].
const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE classes (class INTEGER PRIMARY KEY CHECK (class BETWEEN 1 AND 254), name TEXT NOT NULL, colour TEXT NOT NULL);
CREATE TABLE journal (
    image INTEGER NOT NULL REFERENCES images(id),
    position INTEGER NOT NULL,
    edit BLOB NOT NULL,
    accepts INTEGER NOT NULL,
    crc INTEGER,
    PRIMARY KEY (image, position)
) WITHOUT ROWID;
CREATE TABLE labels (
    image INTEGER PRIMARY KEY REFERENCES images(id),
    mask BLOB,
    position INTEGER NOT NULL,
    done INTEGER NOT NULL,
    revision INTEGER NOT NULL DEFAULT 0,
    exported INTEGER NOT NULL DEFAULT -1,
    mask_crc INTEGER,
    row_crc INTEGER
);
CREATE TABLE rounds (
    round INTEGER PRIMARY KEY,
    finished_s INTEGER NOT NULL,
    settings TEXT NOT NULL,
    report TEXT NOT NULL,
    active INTEGER NOT NULL,
    outdated INTEGER NOT NULL DEFAULT 0
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
    score REAL NOT NULL,
    tile TEXT
);
";

/// `path` is the file's path relative to the image folder (`meta`, key `images`), as bytes. `stem` is the label file's
/// path relative to `labels/`, without extension. `length`, `modified_ns` and `hash` distinguish the file from another
/// one of the same name.
const IMAGES: &str = "
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    path BLOB NOT NULL,
    page INTEGER NOT NULL DEFAULT 0,
    stem TEXT NOT NULL UNIQUE,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    stack TEXT,
    slice INTEGER,
    status TEXT NOT NULL DEFAULT 'unlabelled' CHECK (status IN ('unlabelled', 'labelled')),
    validation INTEGER,
    problem TEXT,
    grp TEXT,
    removed INTEGER NOT NULL DEFAULT 0,
    file TEXT NOT NULL DEFAULT 'present' CHECK (file IN ('present', 'missing', 'replaced')),
    length INTEGER,
    modified_ns INTEGER,
    hash TEXT,
    UNIQUE (path, page)
);
";

/// Version 2 added groups of images and these tables: pseudo-labels, and the annotation cost of each accepted label.
const SECOND: &str = "
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

/// The training settings of version 1 whose defaults have changed since.
const FIRST_SETTINGS: &str = "
UPDATE meta SET value = json_set(value, '$.schedule', 'constant', '$.pseudo_from', 0) WHERE key = 'settings';
UPDATE rounds SET settings = json_set(settings, '$.schedule', 'constant', '$.pseudo_from', 0);
";

/// The training budget of rounds before version 4; a project without rounds gets the current default.
const EARLIER_SETTINGS: &str = "
UPDATE meta SET value = json_set(value, '$.budget', 'epochs')
    WHERE key = 'settings' AND EXISTS (SELECT 1 FROM rounds);
UPDATE rounds SET settings = json_set(settings, '$.budget', 'epochs');
";

/// The network of versions before 5, kept for rounds trained with it. A project without rounds gets the current default
/// network, unless its settings were chosen for the earlier one. If pseudo-labels had no minimum Dice, they get no
/// calibration requirement either.
const EARLIER_NETWORK: &str = "
UPDATE meta SET value = json_set(value, '$.encoder', 'unet')
    WHERE key = 'settings' AND (EXISTS (SELECT 1 FROM rounds)
        OR json_extract(value, '$.widths') <> '[16,32,64,128,256]'
        OR json_extract(value, '$.dropout_place') = 'all'
        OR json_extract(value, '$.rows') % 32 <> 0 OR json_extract(value, '$.columns') % 32 <> 0);
UPDATE rounds SET settings = json_set(settings, '$.encoder', 'unet');
UPDATE meta SET value = json_set(value, '$.pseudo_calibration', 1.0)
    WHERE key = 'settings' AND json_extract(value, '$.pseudo_dice') = 0;
";

/// Before version 6, a separate setting made the query sample the most uncertain images in proportion to their score.
const EARLIER_QUERY: &str = "
UPDATE meta SET value = json_set(value, '$.policy', 'uncertain-noisy')
    WHERE key = 'settings' AND json_extract(value, '$.query_stochastic')
        AND json_extract(value, '$.policy') IN ('uncertain', 'uncertain-diverse');
";

/// Version 7 marks rounds trained before the classes were renumbered, and adds checksums for labels.
const SEVENTH: &str = "
ALTER TABLE rounds ADD COLUMN outdated INTEGER NOT NULL DEFAULT 0;
ALTER TABLE journal ADD COLUMN crc INTEGER;
ALTER TABLE labels ADD COLUMN mask_crc INTEGER;
ALTER TABLE labels ADD COLUMN row_crc INTEGER;
";

/// Version 8 adds the proposed tile of an image, and replaces the on/off setting for flips with the axes to flip along.
const EIGHTH: &str = "
ALTER TABLE proposals ADD COLUMN tile TEXT;
UPDATE meta SET value = json_set(value, '$.augment_flips', iif(json_extract(value, '$.augment_flips'), 'auto', 'none'))
    WHERE key = 'settings' AND json_type(value, '$.augment_flips') IN ('true', 'false');
UPDATE rounds SET settings = json_set(settings, '$.augment_flips', iif(json_extract(settings, '$.augment_flips'), 'both', 'none'))
    WHERE json_type(settings, '$.augment_flips') IN ('true', 'false');
";

/// Creates a new database with all tables.
pub fn create(path: &Path) -> Result<Connection> {
    let db = connect(path)?;
    db.execute_batch(&format!("BEGIN; {IMAGES} {TABLES} {SECOND} PRAGMA user_version = {VERSION}; COMMIT;"))?;
    Ok(db)
}

/// Opens a database of this version or an earlier one. An earlier one is first copied to a file next to it and then
/// migrated to the current version.
pub fn open(path: &Path) -> Result<Connection> {
    let mut db = connect(path)?;
    let found = version(&db, path)?;
    if found < VERSION {
        let kept = path.with_file_name(format!("qualm-version-{found}.db"));
        if !kept.exists() {
            db.execute("VACUUM INTO ?1", [kept.to_string_lossy()])?;
        }
        db.pragma_update(None, "foreign_keys", false)?;
        let transaction = db.transaction()?;
        if found == 1 {
            transaction.execute_batch(&format!("ALTER TABLE images ADD COLUMN grp TEXT; {SECOND} {FIRST_SETTINGS}"))?;
        }
        if found < 3 {
            third(&transaction)?;
        }
        if found < 4 {
            transaction.execute_batch(EARLIER_SETTINGS)?;
        }
        if found < 5 {
            transaction.execute_batch(EARLIER_NETWORK)?;
        }
        if found < 6 {
            transaction.execute_batch(EARLIER_QUERY)?;
        }
        if found < 7 {
            transaction.execute_batch(SEVENTH)?;
        }
        transaction.execute_batch(EIGHTH)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()?;
        db.pragma_update(None, "foreign_keys", true)?;
    }
    Ok(db)
}

/// Opens a database read-only: its folder need not be writable, and another program may have it open.
pub fn open_to_read(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let db = Connection::open_with_flags(path, flags)?;
    db.busy_timeout(Duration::from_secs(10))?;
    let db = match version(&db, path) {
        // SQLite cannot read a write-ahead log if it cannot write the log's index. Without a log, the file is complete.
        Err(ProjectError::Database(_)) if !path.with_extension("db-wal").exists() => {
            let text = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let db = Connection::open_with_flags(format!("file:{text}?immutable=1"), flags)?;
            version(&db, path)?;
            db
        }
        found => {
            found?;
            db
        }
    };
    if version(&db, path)? < VERSION {
        return Err(ProjectError::OlderVersion(path.parent().unwrap_or(path).to_owned()));
    }
    Ok(db)
}

fn version(db: &Connection, path: &Path) -> Result<i64> {
    let found: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match found {
        1..=VERSION if tables > 0 => Ok(found),
        newer if newer > VERSION => {
            let path = path.parent().unwrap_or(path).to_owned();
            Err(ProjectError::NewerVersion { path, found: newer, known: VERSION })
        }
        _ => Err(ProjectError::Damaged("version")),
    }
}

/// Migrates to version 3, which identifies an image by its path relative to the image folder and the page of the file.
fn third(db: &Connection) -> Result<()> {
    let paths: Vec<(i64, PathBuf)> = {
        let mut query = db.prepare("SELECT id, path FROM images")?;
        let rows = query.query_map([], |row| Ok((row.get(0)?, PathBuf::from(row.get::<_, String>(1)?))))?;
        rows.collect::<rusqlite::Result<_>>()?
    };
    let parents = paths.iter().filter_map(|(_, path)| path.parent());
    let shared =
        |a: PathBuf, b: &Path| a.components().zip(b.components()).take_while(|(a, b)| a == b).map(|(a, _)| a).collect();
    let folder =
        parents.fold(None, |folder, parent| Some(folder.map_or(parent.to_owned(), |folder| shared(folder, parent))));
    let folder = folder.unwrap_or_default();
    db.execute_batch(&format!(
        "{}
         INSERT INTO images_new (id, path, stem, width, height, status, validation, problem, grp)
             SELECT id, CAST(path AS BLOB), stem, width, height, status, validation, problem, grp FROM images;
         DROP TABLE images;
         ALTER TABLE images_new RENAME TO images;",
        IMAGES.replace("CREATE TABLE images", "CREATE TABLE images_new")
    ))?;
    for (id, path) in &paths {
        let relative = path.strip_prefix(&folder).unwrap_or(path);
        db.execute("UPDATE images SET path = ?2 WHERE id = ?1", params![id, path_bytes(relative)])?;
    }
    db.execute("INSERT OR REPLACE INTO meta VALUES ('images', ?1)", params![path_bytes(&folder)])?;
    Ok(())
}

/// Opens a connection on which a commit is on disk once it returns: `synchronous = FULL` syncs the write-ahead log on
/// every commit.
fn connect(path: &Path) -> Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(10))?;
    db.pragma_update(None, "journal_mode", "WAL")?;
    db.pragma_update(None, "synchronous", "FULL")?;
    db.pragma_update(None, "foreign_keys", true)?;
    Ok(db)
}
