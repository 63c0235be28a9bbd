//! Limits on reading files: a decoder that panics, or a file system that does not answer, is a problem of its file alone.
//!
//! Whoever waits here may be a thread of Rayon's pool: no decoder may use that pool.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use super::RasterError;
use crate::domain::text::panic_text;

/// Time limit for reading from one file; an image of 16,384 × 16,384 pixels takes a few seconds.
pub(super) const TIME_LIMIT: Duration = if cfg!(test) { Duration::from_secs(2) } else { Duration::from_secs(120) };

/// A read from a file that runs on a thread of its own.
pub struct PendingRead<T, E> {
    path: PathBuf,
    begun: Instant,
    result: Receiver<Result<T, E>>,
}

impl<T: Send + 'static, E: From<RasterError> + Send + 'static> PendingRead<T, E> {
    /// Begins to read.
    pub fn begin(path: &Path, read: impl FnOnce(&Path) -> Result<T, E> + Send + 'static) -> Self {
        let (sender, result) = sync_channel(1);
        let file = path.to_owned();
        std::thread::spawn(move || {
            let read = catch_unwind(AssertUnwindSafe(|| read(&file)));
            // Nobody listens after the time limit.
            let failed = |panic: Box<dyn Any + Send>| RasterError::Undecodable {
                path: file.clone(),
                reason: panic_text(&*panic),
            };
            let _ = sender.send(read.unwrap_or_else(|panic| Err(failed(panic).into())));
        });
        Self { path: path.to_owned(), begun: Instant::now(), result }
    }

    /// Waits for the result for at most this long; `None` if there is none yet. After two minutes the result is an error.
    pub fn wait(&self, patience: Duration) -> Option<Result<T, E>> {
        match self.result.recv_timeout(patience) {
            Ok(result) => Some(result),
            Err(RecvTimeoutError::Timeout) if self.begun.elapsed() < TIME_LIMIT => None,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                let seconds = TIME_LIMIT.as_secs();
                Some(Err(RasterError::TimedOut { path: self.path.clone(), seconds }.into()))
            }
        }
    }
}

/// Reads from a file on a thread of its own. A panic of `read` is an error, and so is a read that takes longer than two
/// minutes.
pub fn guarded<T: Send + 'static, E: From<RasterError> + Send + 'static>(
    path: &Path,
    read: impl FnOnce(&Path) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let pending = PendingRead::begin(path, read);
    loop {
        if let Some(result) = pending.wait(TIME_LIMIT) {
            return result;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_that_panics_or_never_ends_is_an_error_that_names_the_file() {
        let path = Path::new("scan.tif");
        let panics = guarded(path, |_| -> Result<(), RasterError> { panic!("a broken decoder") }).unwrap_err();
        assert!(panics.to_string().contains("scan.tif") && panics.to_string().contains("a broken decoder"), "{panics}");
        let hangs = |_: &Path| -> Result<(), RasterError> {
            loop {
                std::thread::park();
            }
        };
        let pending = PendingRead::begin(path, hangs);
        assert!(pending.wait(Duration::ZERO).is_none(), "it has not ended yet");
        let late = guarded(path, hangs).unwrap_err().to_string();
        assert!(late.contains("scan.tif") && late.contains("took longer"), "{late}");
        assert!(pending.wait(Duration::ZERO).unwrap().is_err());
        assert_eq!(guarded::<_, RasterError>(path, |path| Ok(path.to_owned())).unwrap(), path);
    }
}
