//! One program at a time works on a project. The lock goes with the program, however that ends.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::project::error::{ProjectError, Result};

/// Held as long as this is.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A child that another thread is just starting has the file too: closing it here would leave the lock with that one.
        let _ = self.file.unlock();
    }
}

impl Lock {
    /// Takes the lock of the project in `root`; an error that says who holds it.
    pub fn acquire(root: &Path) -> Result<Self> {
        let path = root.join("qualm.lock");
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(ProjectError::io(&path))?;
        match file.try_lock() {
            Ok(()) => {
                let text = format!("process {}", std::process::id());
                // What stands there is for people only.
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
