//! Limits on reading files: a decoder or a file system that does not answer holds nothing else up.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, bounded};

use crate::engine::{EngineError, panic_text};

/// Time limit for decoding one image; an image of 16,384 × 16,384 pixels takes a few seconds.
pub const LONGEST: Duration = if cfg!(test) { Duration::from_millis(300) } else { Duration::from_secs(120) };
/// How often a job that waits for an image checks whether it was cancelled.
pub const POLL: Duration = Duration::from_millis(50);

/// Reads from a file on a thread of its own, for at most [`LONGEST`]: a decoder that panics or does not end
/// becomes an error that names the file.
pub fn limited<T: Send + 'static, E: Display>(
    path: &Path,
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    begin(path, read).recv_timeout(LONGEST).unwrap_or_else(|_| Err(too_long(path)))
}

/// Begins to read from a file on a thread of its own; the receiver gets the result.
fn begin<T: Send + 'static, E: Display>(
    path: &Path,
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Receiver<Result<T, String>> {
    let (sender, receiver) = bounded(1);
    let path = path.to_owned();
    std::thread::spawn(move || {
        let _ = sender.send(guarded(&path, read));
    });
    receiver
}

/// [`limited`], which ends early with the error of `between`, called while it waits.
pub fn limited_with<T: Send + 'static, E: Display>(
    path: &Path,
    read: impl FnOnce() -> Result<T, E> + Send + 'static,
    between: impl Fn() -> Result<(), EngineError>,
) -> Result<Result<T, String>, EngineError> {
    let receiver = begin(path, read);
    let begun = Instant::now();
    while begun.elapsed() < LONGEST {
        if let Ok(read) = receiver.recv_timeout(POLL) {
            return Ok(read);
        }
        between()?;
    }
    Ok(Err(too_long(path)))
}

/// Calls `read`, and makes an error of its panic.
pub fn guarded<T, E: Display>(path: &Path, read: impl FnOnce() -> Result<T, E>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("{}: cannot be decoded: {}", path.display(), panic_text(&*panic))),
    }
}

/// The reason for a file that was given up on.
pub fn too_long(path: &Path) -> String {
    format!("{}: decoding took longer than {} s; replace the file", path.display(), LONGEST.as_secs())
}
