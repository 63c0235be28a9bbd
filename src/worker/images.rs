//! The images of a job, decoded ahead of the network.

use std::sync::Arc;
use std::time::Instant;

use crossbeam_channel::{RecvTimeoutError, bounded};

use crate::domain::study::ImageId;
use crate::domain::tiles::Frame;
use crate::engine::EngineError;
use crate::project;
use crate::raster;
use crate::worker::Phase;
use crate::worker::context::{JobContext, POLL};
use crate::worker::pool_image::PoolImage;

/// Number of decoded images that may wait for the network.
const READ_AHEAD: usize = 16;
/// An image that cannot be read, with the reason.
pub type Problem = (ImageId, String);

/// Calls `each` with every readable image, in order, decoding ahead of it on other threads. Reports progress, waits while the
/// job is paused, and ends at once if it is cancelled, also within a decode. An image that cannot be read within the limits of
/// [`raster::guarded`] is added to `problems`.
pub fn for_each_image(
    context: &mut JobContext,
    images: &[PoolImage],
    read: impl Fn(&PoolImage) -> project::Result<Frame> + Send + Sync + 'static,
    phase: Phase,
    problems: &mut Vec<Problem>,
    mut each: impl FnMut(&mut JobContext, &PoolImage, Frame) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut progress = context.begin(phase, images.len());
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let (read, all): (_, Arc<[PoolImage]>) = (Arc::new(read), images.into());
    // Each thread decodes every n-th image into its own channel, so images arrive in order, and no more of them wait
    // than the channels hold. The threads are not joined: a job does not wait for a decode that is no longer needed.
    let start = |first: usize| {
        let (sender, receiver) = bounded(READ_AHEAD.div_ceil(threads));
        let (read, all) = (read.clone(), all.clone());
        std::thread::spawn(move || {
            let mut images = all.iter().skip(first).step_by(threads);
            images.all(|image| {
                let (read, copy) = (read.clone(), image.clone());
                sender.send(raster::guarded(&image.path, move |_| read(&copy))).is_ok()
            });
        });
        receiver
    };
    let readers: Vec<_> = (0..threads).map(start).collect();
    for (place, image) in images.iter().enumerate() {
        let input = loop {
            match readers[place % threads].recv_timeout(POLL) {
                Ok(input) => break input,
                Err(RecvTimeoutError::Timeout) => context.between_batches(&progress)?,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(EngineError::Other(format!("{} cannot be read", image.name).into()));
                }
            }
        };
        match input {
            Ok(input) => each(context, image, input)?,
            Err(error) => problems.push((image.id, error.to_string())),
        }
        progress.done += 1;
        progress.elapsed_s = context.worked(begun);
        context.between_batches(&progress)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::*;
    use crate::worker::{EventSender, Signals, previews::previews};

    fn context() -> (JobContext, Arc<Signals>) {
        let (sender, _) = bounded(16);
        let (_, wanted) = previews();
        let signals = Arc::new(Signals::default());
        let events = EventSender { sender, wake: Arc::new(|| {}) };
        let mut context = JobContext::new(wanted, Box::new(|_| {}), events, signals.clone(), Arc::default());
        context.begin_job(1, Default::default());
        (context, signals)
    }

    fn images(count: usize) -> Vec<PoolImage> {
        let image = |number: usize| PoolImage {
            id: crate::domain::study::ImageId(number as i64),
            name: number.to_string(),
            path: number.to_string().into(),
            page: 0,
            width: 1,
            height: 1,
        };
        (0..count).map(image).collect()
    }

    fn frame() -> Frame {
        Frame { width: 1, height: 1, values: vec![0] }
    }

    #[test]
    fn a_decode_that_panics_or_never_ends_is_a_problem_of_its_image_alone() {
        let (mut context, _) = context();
        let read = |image: &PoolImage| match image.id.0 {
            3 => panic!("a broken decoder"),
            4 => loop {
                std::thread::park();
            },
            _ => Ok(frame()),
        };
        let (mut problems, mut seen) = (Vec::new(), Vec::new());
        for_each_image(&mut context, &images(40), read, Phase::Reading, &mut problems, |_, image, _| {
            seen.push(image.id.0);
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, (0..40).filter(|number| ![3, 4].contains(number)).collect::<Vec<_>>());
        assert!(problems[0].1.contains("a broken decoder") && problems[1].1.contains("took longer"), "{problems:?}");
    }

    #[test]
    fn a_job_is_cancelled_within_a_decode() {
        let (mut context, signals) = context();
        let (is_decoding, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let flag = is_decoding.clone();
        let read = move |_: &PoolImage| {
            flag.store(true, Ordering::Relaxed);
            std::thread::sleep(Duration::from_secs(20));
            Ok(frame())
        };
        let begun = Instant::now();
        let cancel = std::thread::spawn(move || {
            while !is_decoding.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            signals.cancelled.store(1, Ordering::Relaxed);
        });
        let flag = seen.clone();
        let ended = for_each_image(&mut context, &images(2), read, Phase::Reading, &mut Vec::new(), |_, _, _| {
            flag.store(true, Ordering::Relaxed);
            Ok(())
        });
        cancel.join().unwrap();
        assert!(matches!(ended, Err(EngineError::Cancelled)) && begun.elapsed() < Duration::from_secs(5));
        assert!(!seen.load(Ordering::Relaxed));
    }
}
