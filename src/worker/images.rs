//! The images of a job, decoded ahead of the network.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crossbeam_channel::bounded;

use crate::domain::study::ImageId;
use crate::domain::tiles::Frame;
use crate::engine::{EngineError, panic_text};
use crate::project;
use crate::worker::Phase;
use crate::worker::context::JobContext;
use crate::worker::pool_image::PoolImage;

/// Images that wait, decoded, for the network.
const READ_AHEAD: usize = 16;

/// An image that cannot be read, with the reason.
pub type Problem = (ImageId, String);

/// Calls `each` with every readable image, in order, reading ahead of it; tells of progress, waits while the job is
/// paused, and ends where it is cancelled.
pub fn for_each_image(
    context: &mut JobContext,
    images: &[PoolImage],
    read: impl Fn(&PoolImage) -> project::Result<Frame> + Sync,
    phase: Phase,
    problems: &mut Vec<Problem>,
    mut each: impl FnMut(&mut JobContext, &PoolImage, Frame) -> Result<(), EngineError>,
) -> Result<(), EngineError> {
    let mut progress = context.begin(phase, images.len());
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    // A decoder that panics on an image is that image's problem, not the job's.
    let readable = |image: &PoolImage| match catch_unwind(AssertUnwindSafe(|| read(image))) {
        Ok(input) => input.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("{}: cannot be decoded: {}", image.path.display(), panic_text(&*panic))),
    };
    // Each thread reads every n-th image into a channel of its own: the images come in order, and however fast
    // they are read, no more of them wait than the channels hold.
    std::thread::scope(|scope| {
        let readable = &readable;
        let start = |first: usize| {
            let (sender, receiver) = bounded(READ_AHEAD.div_ceil(threads));
            scope.spawn(move || {
                let mut images = images.iter().skip(first).step_by(threads);
                images.all(|image| sender.send(readable(image)).is_ok());
            });
            receiver
        };
        let readers: Vec<_> = (0..threads).map(start).collect();
        for (image, reader) in images.iter().zip(readers.iter().cycle()) {
            match reader.recv().map_err(|_| EngineError::Refused(format!("{} cannot be read", image.name)))? {
                Ok(input) => each(context, image, input)?,
                Err(reason) => problems.push((image.id, reason)),
            }
            progress.done += 1;
            progress.elapsed_s = context.worked(begun);
            context.between_batches(&progress)?;
        }
        Ok(())
    })
}
