//! Pending preview requests: the latest of each kind. A later request replaces an earlier one, so that the image being
//! viewed is never the one left out.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::domain::settings::Settings;
use crate::worker::pool_image::PoolImage;

/// Who waits for a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Nobody: the prediction is cached for later.
    Nobody,
    /// The user, who is viewing the image.
    Person,
    /// The user, who compares this round's prediction with the active round's.
    Comparison(usize),
}

/// A request to predict one image for display.
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

impl Slot {
    fn of(&mut self, to: Audience) -> &mut Option<Preview> {
        match to {
            Audience::Nobody | Audience::Person => &mut self.shown,
            Audience::Comparison(_) => &mut self.compared,
        }
    }
}

/// The sending end, which requests previews.
pub struct PreviewSender {
    slot: Arc<Mutex<Slot>>,
    wake: Sender<()>,
}

/// The receiving end, which takes requests.
pub struct PreviewReceiver {
    slot: Arc<Mutex<Slot>>,
    /// Receives a message when there are requests, and an error once the sender is gone.
    pub woken: Receiver<()>,
}

/// Creates both ends.
pub fn previews() -> (PreviewSender, PreviewReceiver) {
    let (wake, woken) = bounded(1);
    let slot = Arc::new(Mutex::default());
    (PreviewSender { slot: slot.clone(), wake }, PreviewReceiver { slot, woken })
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().unwrap_or_else(|e| e.into_inner())
}

impl PreviewSender {
    /// Requests a preview, replacing the pending request of the same kind.
    pub fn send(&self, preview: Preview) {
        let to = preview.to;
        *lock(&self.slot).of(to) = Some(preview);
        // A full channel has woken the engine already.
        let _ = self.wake.try_send(());
    }
}

impl PreviewReceiver {
    /// Takes the pending requests.
    pub fn take(&self) -> impl Iterator<Item = Preview> + use<> {
        let Slot { shown, compared } = std::mem::take(&mut *lock(&self.slot));
        shown.into_iter().chain(compared)
    }

    /// Whether a later request of the same kind waits.
    pub fn is_superseded(&self, to: Audience) -> bool {
        lock(&self.slot).of(to).is_some()
    }

    /// Puts a request back, unless a later one of its kind waits.
    pub fn put_off(&self, preview: Preview) {
        lock(&self.slot).of(preview.to).get_or_insert(preview);
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
        receiver.put_off(preview(1, Audience::Person));
        receiver.put_off(preview(2, Audience::Person));
        assert!(receiver.is_superseded(Audience::Person) && !receiver.is_superseded(Audience::Comparison(1)));
        assert_eq!(receiver.take().map(|preview| preview.image.id.0).collect::<Vec<_>>(), [1]);
    }
}
