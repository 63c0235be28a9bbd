//! A built-in folder dialog, for desktops without a system one.
//!
//! Folders are read on a separate thread, so that a slow network drive does not block the window.

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, bounded};
use egui::{Align, Align2, Button, Context, Layout, RichText, ScrollArea, TextEdit, Window};

use crate::domain::text::counted;
use crate::ui::theme::{self, STEP, icon};

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
    /// Images to predict.
    Predict,
    /// Where predictions go.
    Predictions,
    /// Where exported labels go.
    Export,
}

impl Wanted {
    /// The title of the dialog.
    pub fn title(self) -> &'static str {
        match self {
            Self::Open => "Open a project's folder",
            Self::Images | Self::Locate | Self::Predict => "The folder of the images",
            Self::Import | Self::Masks => "The folder of the masks",
            Self::Root => "The folder of the new project",
            Self::Predictions => "The folder that the predictions go into",
            Self::Export => "The folder that the export goes into",
        }
    }

    /// Whether a COCO file is accepted instead of a folder.
    pub fn takes_coco(self) -> bool {
        match self {
            Self::Import | Self::Masks => true,
            Self::Open
            | Self::Images
            | Self::Locate
            | Self::Root
            | Self::Predict
            | Self::Predictions
            | Self::Export => false,
        }
    }
}

/// The contents of a folder: its subfolders, its files of interest, and the number of other files.
#[derive(Default)]
struct FolderContents {
    folders: Vec<String>,
    files: Vec<String>,
    others: usize,
    is_project: bool,
}

/// The dialog.
pub struct Browser {
    wanted: Wanted,
    folder: PathBuf,
    typed: String,
    coming: Option<Receiver<Result<FolderContents, String>>>,
    listing: Result<FolderContents, String>,
}

impl Browser {
    /// Begins in the folder used last, or at home.
    pub fn new(wanted: Wanted, ctx: &Context, begin: Option<&Path>) -> Self {
        let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/"));
        let folder = begin.filter(|folder| folder.is_dir()).map_or_else(home, Path::to_owned);
        let mut browser = Self {
            wanted,
            folder: PathBuf::new(),
            typed: String::new(),
            coming: None,
            listing: Ok(FolderContents::default()),
        };
        browser.go(folder, ctx);
        browser
    }

    fn go(&mut self, folder: PathBuf, ctx: &Context) {
        self.typed = folder.display().to_string();
        self.folder = folder.clone();
        let (send, receive) = bounded(1);
        self.coming = Some(receive);
        let (takes_json, ctx) = (self.wanted.takes_coco(), ctx.clone());
        std::thread::spawn(move || {
            // The receiver is gone if the user has moved to another folder.
            let _ = send.send(list(&folder, takes_json).map_err(|error| error.to_string()));
            ctx.request_repaint();
        });
    }

    /// Shows the dialog; the folder once it is chosen, or `Err` once the dialog is closed.
    pub fn show(&mut self, ctx: &Context) -> Result<Option<PathBuf>, ()> {
        if let Some(listing) = self.coming.as_ref().and_then(|coming| coming.try_recv().ok()) {
            (self.listing, self.coming) = (listing, None);
        }
        let (mut open, mut chosen, mut next) = (true, None, None);
        let window = Window::new(self.wanted.title()).open(&mut open).resizable(false).collapsible(false);
        window.pivot(Align2::CENTER_CENTER).default_pos(ctx.content_rect().center()).show(ctx, |ui| {
            ui.set_width(60.0 * STEP);
            ui.horizontal(|ui| {
                let parent = self.folder.parent().map(Path::to_owned);
                let up = ui.add_enabled(parent.is_some(), Button::new("Up")).on_hover_text("The folder above");
                if up.clicked() {
                    next = parent;
                }
                let edit = ui.add(TextEdit::singleline(&mut self.typed).desired_width(f32::INFINITY));
                if edit.lost_focus() && ui.input(|i| i.key_pressed(egui::Key::Enter)) {
                    next = Some(PathBuf::from(self.typed.trim()));
                }
                edit.accessible_name("Folder");
            });
            let height = (ctx.content_rect().height() - 30.0 * STEP).clamp(12.0 * STEP, 45.0 * STEP);
            let area =
                ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, false]);
            area.show(ui, |ui| match (&self.listing, &self.coming) {
                (_, Some(_)) => {
                    ui.spinner();
                }
                (Err(error), None) => {
                    ui.label(RichText::new(error).color(theme::WRONG));
                }
                (Ok(listing), None) => {
                    for name in &listing.folders {
                        let button = Button::new(format!("{}  {name}", icon::OPEN)).frame(false);
                        if ui.add(button).clicked() {
                            next = Some(self.folder.join(name));
                        }
                    }
                    for name in &listing.files {
                        if ui.add(Button::new(name).frame(false)).on_hover_text("Use this file").clicked() {
                            chosen = Some(self.folder.join(name));
                        }
                    }
                    let text = counted(listing.others, "other file");
                    ui.label(RichText::new(text).small().color(theme::quiet(ui)));
                }
            });
            ui.with_layout(Layout::top_down(Align::Max), |ui| {
                let is_listed = self.coming.is_none();
                let fits = |listing: &FolderContents| listing.is_project || self.wanted != Wanted::Open;
                let is_there = is_listed && self.listing.as_ref().is_ok_and(fits);
                let button = ui.add_enabled(is_there, Button::new("Use this folder"));
                let reason = if self.listing.is_ok() { "this folder is not a project" } else { "it cannot be read" };
                if button.on_disabled_hover_text(reason).clicked() {
                    let typed = PathBuf::from(self.typed.trim());
                    // A typed folder is opened before it can be chosen.
                    if typed == self.folder { chosen = Some(typed) } else { next = Some(typed) }
                }
            });
        });
        if let Some(folder) = next {
            self.go(folder, ctx);
        }
        match (chosen, open) {
            (Some(chosen), _) => Ok(Some(chosen)),
            (None, true) => Ok(None),
            (None, false) => Err(()),
        }
    }

    /// What the folder is wanted for.
    pub fn wanted(&self) -> Wanted {
        self.wanted
    }
}

fn list(folder: &Path, takes_json: bool) -> std::io::Result<FolderContents> {
    let mut listing = FolderContents::default();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if !name.starts_with('.') {
                listing.folders.push(name);
            }
        } else if takes_json && path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("json")) {
            listing.files.push(name);
        } else {
            listing.is_project |= name == "qualm.db";
            listing.others += 1;
        }
    }
    listing.folders.sort_by_key(|name| name.to_lowercase());
    listing.files.sort();
    Ok(listing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_listed_with_its_folders_and_the_files_that_can_be_chosen() {
        let temp = tempfile::TempDir::new().unwrap();
        for folder in ["b", "A", ".hidden"] {
            std::fs::create_dir(temp.path().join(folder)).unwrap();
        }
        for file in ["masks.json", "1.png", "2.png"] {
            std::fs::write(temp.path().join(file), "").unwrap();
        }
        let listing = list(temp.path(), true).unwrap();
        assert_eq!(
            (listing.folders, listing.files, listing.others),
            (vec!["A".to_owned(), "b".to_owned()], vec!["masks.json".to_owned()], 2)
        );
        assert_eq!(list(temp.path(), false).unwrap().others, 3);
        assert!(list(&temp.path().join("none"), true).is_err());
    }
}
