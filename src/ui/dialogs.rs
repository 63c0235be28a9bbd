//! The system's folder dialogs, each on a thread of its own: the window goes on while one is open.

use std::path::PathBuf;

use crossbeam_channel::{Receiver, Sender, unbounded};
use egui::Context;

/// What a folder is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A project to open.
    Open,
    /// Masks for the open project.
    Import,
    /// The open project's images, after they were moved.
    Locate,
    /// A new project's images.
    Images,
    /// A new project's masks.
    Masks,
    /// A new project's own folder.
    Root,
}

/// Asks for folders, and hears of them.
pub struct Dialogs {
    say: Sender<(Wanted, PathBuf)>,
    hear: Receiver<(Wanted, PathBuf)>,
}

impl Default for Dialogs {
    fn default() -> Self {
        let (say, hear) = unbounded();
        Self { say, hear }
    }
}

impl Dialogs {
    /// Opens the dialog.
    pub fn ask(&self, ctx: &Context, wanted: Wanted) {
        let (say, ctx) = (self.say.clone(), ctx.clone());
        let title = match wanted {
            Wanted::Open => "Open a project's folder",
            Wanted::Images | Wanted::Locate => "The folder of the images",
            Wanted::Import | Wanted::Masks => "The folder of the masks",
            Wanted::Root => "The folder of the new project",
        };
        std::thread::spawn(move || {
            if let Some(folder) = rfd::FileDialog::new().set_title(title).pick_folder() {
                let _ = say.send((wanted, folder));
                ctx.request_repaint();
            }
        });
    }

    /// A folder that was chosen since.
    pub fn chosen(&self) -> Option<(Wanted, PathBuf)> {
        self.hear.try_recv().ok()
    }
}
