//! The previews that are wanted: the latest of each kind. A later request replaces an earlier one, so that the image that is
//! being looked at is never the one left out.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::domain::settings::Settings;
use crate::worker::pool_image::PoolImage;

/// Who waits for a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: it is kept for later.
    Nobody,
    /// A person who looks at the image.
    Person,
    /// A person who holds this round's prediction against the active one's.
    Comparison(usize),
}

/// One image to predict for a person.
pub struct Preview {
    /// The image.
    pub image: PoolImage,
    /// The model's folder.
    pub folder: PathBuf,
    /// The project's settings.
    pub settings: Settings,
    /// Who waits for it.
    pub to: Audience,
}

/// The latest preview to show, and the latest to compare it with.
#[derive(Default)]
struct Slot {
    shown: Option<Preview>,
    compared: Option<Preview>,
}

/// Where previews are asked for.
pub struct PreviewSender {
    slot: Arc<Mutex<Slot>>,
    wake: Sender<()>,
}

/// Where they are taken out.
pub struct PreviewReceiver {
    slot: Arc<Mutex<Slot>>,
    /// Receives once there is something; an error once the sender is gone.
    pub woken: Receiver<()>,
}

/// Both ends.
pub fn previews() -> (PreviewSender, PreviewReceiver) {
    let (wake, woken) = bounded(1);
    let slot = Arc::new(Mutex::default());
    (PreviewSender { slot: slot.clone(), wake }, PreviewReceiver { slot, woken })
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(|e| e.into_inner())
}

impl PreviewSender {
    /// Asks for a preview instead of the one of its kind that was asked for before.
    pub fn send(&self, preview: Preview) {
        let mut slot = lock(&self.slot);
        match preview.to {
            Audience::Nobody | Audience::Person => slot.shown = Some(preview),
            Audience::Comparison(_) => slot.compared = Some(preview),
        }
        // A full channel has woken the engine already.
        let _ = self.wake.try_send(());
    }
}

impl PreviewReceiver {
    /// What is wanted now.
    pub fn take(&self) -> impl Iterator<Item = Preview> + use<> {
        let Slot { shown, compared } = std::mem::take(&mut *lock(&self.slot));
        shown.into_iter().chain(compared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_are_asked_for_the_last_of_each_kind_is_served() {
        let (sender, receiver) = previews();
        let preview = |id: i64, to| Preview {
            image: PoolImage {
                id: crate::domain::study::ImageId(id),
                name: String::new(),
                path: PathBuf::new(),
                page: 0,
                width: 1,
                height: 1,
            },
            folder: PathBuf::new(),
            settings: Settings::default(),
            to,
        };
        for id in 0..1000 {
            sender.send(preview(id, Audience::Person));
            sender.send(preview(1000 + id, Audience::Comparison(1)));
        }
        assert!(receiver.woken.try_recv().is_ok() && receiver.woken.try_recv().is_err());
        assert_eq!(receiver.take().map(|preview| preview.image.id.0).collect::<Vec<_>>(), [999, 1999]);
        assert_eq!(receiver.take().count(), 0);
    }
}
