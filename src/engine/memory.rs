//! Whether a failure of a device was for lack of memory.
//!
//! On a graphics device CubeCL allocates on a thread of its own. wgpu's error is a panic there, which CubeCL catches; the
//! caller learns only that a tensor was never written. So this module listens to panics.

use std::panic::PanicHookInfo;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::domain::text::panic_text;

/// How many panics have spoken of memory.
static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// Counts failures to allocate from now on.
pub struct MemoryWatch {
    before: usize,
}

impl MemoryWatch {
    /// Begins to count.
    pub fn begin() -> Self {
        static LISTENING: Once = Once::new();
        LISTENING.call_once(|| {
            let usual = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |panic: &PanicHookInfo| {
                let is_seen = speaks_of_memory(&panic_text(panic.payload()));
                let earlier = if is_seen { FAILURES.fetch_add(1, Ordering::Relaxed) } else { 0 };
                // One failure is followed by hundreds on CubeCL's thread.
                let is_cubecl = std::thread::current().name().is_some_and(|name| name.starts_with("DSD"));
                if earlier == 0 || !is_cubecl {
                    usual(panic);
                }
            }));
        });
        Self { before: FAILURES.load(Ordering::Relaxed) }
    }

    /// The reason for a failure with this text, met since the beginning, if it was for lack of memory.
    pub fn explain(&self, text: &str) -> Option<String> {
        if speaks_of_memory(text) {
            return Some(text.to_owned());
        }
        (FAILURES.load(Ordering::Relaxed) > self.before).then(|| "the graphics driver had no memory left".to_owned())
    }
}

/// Whether an error or panic message says that the device is out of memory, in the words of wgpu and CubeCL.
fn speaks_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    ["out of memory", "outofmemory", "device memory", "allocate buffer", "buffertoobig"]
        .iter()
        .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_for_lack_of_memory_on_any_thread_explains_what_fails_after_it() {
        let watch = MemoryWatch::begin();
        assert_eq!(watch.explain("Not enough device memory").unwrap(), "Not enough device memory");
        let _ = std::thread::spawn(|| panic!("wgpu error: Out of Memory")).join();
        assert!(watch.explain("the bytes were never written").is_some());
    }
}
