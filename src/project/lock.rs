//! Ensures that only one program at a time writes to a project. The lock is released when the program ends, even if it
//! crashes.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::project::error::{ProjectError, Result};

/// A lock on a project, released on drop.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child process that another thread is just spawning may have inherited the file handle. Closing the file
        // without unlocking it would leave the lock with the child.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Locks the project in `root`. If another program holds the lock, the error names it.
    pub fn acquire(root: &Path) -> Result<Self> {
        let path = root.join("qualm.lock");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(ProjectError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {
                let text = format!("process {}", std::process::id());
                // The text is for error messages only.
                let _ = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
                Ok(Self { file })
            }
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.seek(SeekFrom::Start(0)).and_then(|_| file.read_to_string(&mut holder));
                let holder = if holder.is_empty() { "another program".to_owned() } else { holder };
                Err(ProjectError::InUse { path: root.to_owned(), holder })
            }
            Err(TryLockError::Error(error)) => Err(ProjectError::io(&path)(error)),
        }
    }
}
