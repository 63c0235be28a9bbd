//! Folders and files dropped on the window.

use std::path::{Path, PathBuf};

use egui::{Align2, Color32, Context, FontId, Id, LayerId, Order};

use crate::app::App;
use crate::ui::new_project::NewProject;
use crate::ui::windows::Windows;

/// Called once per frame: handles dropped files and folders.
pub fn update(ctx: &Context, app: &mut App, windows: &mut Windows) {
    let (dropped, is_hovering): (Vec<PathBuf>, bool) = ctx.input(|i| {
        (i.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect(), !i.raw.hovered_files.is_empty())
    });
    if is_hovering {
        let painter = ctx.layer_painter(LayerId::new(Order::Foreground, Id::unique("drop")));
        let rect = ctx.content_rect();
        painter.rect_filled(rect, 0.0, Color32::from_black_alpha(150));
        let text = "Drop a project to open it, a folder of images for a new project, or a folder of masks to import";
        painter.text(rect.center(), Align2::CENTER_CENTER, text, FontId::proportional(18.0), Color32::WHITE);
    }
    for path in dropped {
        take(app, windows, &path);
    }
}

/// Opens a dropped project. Any other folder becomes the masks to import into the open project, or the images and then
/// the masks of a new one.
fn take(app: &mut App, windows: &mut Windows, path: &Path) {
    let text = path.display().to_string();
    if path.join("qualm.db").is_file() {
        return app.open(path.to_owned());
    }
    if path.is_file() && path.extension().is_none_or(|ending| !ending.eq_ignore_ascii_case("json")) {
        return app.notify(format!("{text} is a single file: drop the folder that it lies in"), true);
    }
    match (&mut windows.new_project, app.project()) {
        (Some(new), _) if new.images.trim().is_empty() => new.images = text,
        (Some(new), _) => new.masks = text,
        (None, Some(_)) => windows.import_masks = Some(text),
        (None, None) => {
            let mut new = NewProject::default();
            new.images = text;
            windows.new_project = Some(new);
        }
    }
}
