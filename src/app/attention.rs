//! What the user looks at: how long at each image until it is accepted, and whether its label is on screen.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::study::ImageId;

/// A longer gap without input is a pause and is not counted.
const PAUSE: Duration = Duration::from_secs(30);

/// Seconds spent, by image, and whether the open image's label is seen.
#[derive(Debug, Default)]
pub struct Attention {
    spent: HashMap<ImageId, Duration>,
    last: Option<(ImageId, Instant)>,
    /// Whether the window draws the open image's label nowhere.
    pub(super) is_label_hidden: bool,
    /// Whether the window has to draw it, because the user wants to accept it.
    pub(super) wants_label: bool,
}

impl Attention {
    /// A key was pressed or the pointer moved while this image was open.
    pub fn sign(&mut self, image: ImageId, now: Instant) {
        if let Some((before, at)) = self.last
            && before == image
            && now - at < PAUSE
        {
            *self.spent.entry(image).or_default() += now - at;
        }
        self.last = Some((image, now));
    }

    /// The seconds spent on an image since they were last taken.
    pub fn take(&mut self, image: ImageId) -> f64 {
        self.spent.remove(&image).unwrap_or_default().as_secs_f64()
    }
}
