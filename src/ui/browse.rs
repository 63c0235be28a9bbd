//! A built-in folder dialog, for desktops without a system one.
//!
//! Folders are read on a separate thread, so that a slow network drive does not block the window.

use std::path::{Path, PathBuf};

use crossbeam_channel::{Receiver, bounded};
use egui::{Align2, Button, Context, RichText, ScrollArea, TextEdit, Window};

use crate::domain::text::counted;
use crate::ui::confirm::{self, Answer};
use crate::ui::theme::{self, STEP, icon};

/// What is said of a folder that does not exist.
pub const MISSING: &str = "this path does not exist";

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

/// How the names of images end.
const IMAGE_ENDINGS: [&str; 15] = [
    ".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".gif", ".dcm", ".ima", ".dicom", ".nii", ".nii.gz",
    ".hdr", ".img",
];

/// The contents of a folder: its subfolders, its files of interest, and the numbers of images and of other files.
#[derive(Default)]
struct FolderContents {
    folders: Vec<String>,
    files: Vec<String>,
    images: usize,
    others: usize,
    is_project: bool,
}

impl FolderContents {
    /// What lies in the folder, in words.
    fn words(&self) -> String {
        let (images, others) = (counted(self.images, "image"), counted(self.others, "other file"));
        match (self.images, self.others) {
            _ if self.is_project => "contains a project".to_owned(),
            (0, 0) if self.folders.is_empty() && self.files.is_empty() => "empty".to_owned(),
            (0, 0) if self.files.is_empty() => "contains folders only".to_owned(),
            (0, 0) => "contains no image".to_owned(),
            (0, _) => format!("contains no image, {others}"),
            (_, 0) => format!("contains {images}"),
            (_, _) => format!("contains {images}, {others}"),
        }
    }
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
            let _ = send.send(list(&folder, takes_json).map_err(|error| reason(&error)));
            ctx.request_repaint();
        });
    }

    /// Shows the dialog; the folder once it is chosen, or `Err` once the dialog is closed.
    pub fn show(&mut self, ctx: &Context) -> Result<Option<PathBuf>, ()> {
        if let Some(listing) = self.coming.as_ref().and_then(|coming| coming.try_recv().ok()) {
            (self.listing, self.coming) = (listing, None);
        }
        let (mut open, mut answer, mut chosen, mut next) = (true, None, None, None);
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
                (Err(error), None) => confirm::warning(ui, error),
                (Ok(listing), None) => {
                    let begun = begun(&self.typed, &self.folder);
                    let is_meant = |name: &&String| name.to_lowercase().starts_with(&begun);
                    for name in listing.folders.iter().filter(is_meant) {
                        let button = Button::new(format!("{}  {name}", icon::OPEN)).frame(false);
                        if ui.add(button).clicked() {
                            next = Some(self.folder.join(name));
                        }
                    }
                    for name in listing.files.iter().filter(is_meant) {
                        if ui.add(Button::new(name).frame(false)).on_hover_text("Use this file").clicked() {
                            chosen = Some(self.folder.join(name));
                        }
                    }
                    ui.label(RichText::new(listing.words()).small().color(theme::quiet(ui)));
                }
            });
            let obstacle = match (&self.coming, &self.listing) {
                (Some(_), _) => Some("the folder is being read"),
                (None, Err(_)) => Some("it cannot be read"),
                (None, Ok(listing)) => {
                    let fits = listing.is_project || self.wanted != Wanted::Open;
                    (!fits).then_some("this folder is not a project")
                }
            };
            answer = confirm::buttons(ui, "Use this folder", obstacle, false);
        });
        if answer == Some(Answer::Yes) {
            let typed = PathBuf::from(self.typed.trim());
            // A typed folder is opened before it can be chosen.
            if typed == self.folder { chosen = Some(typed) } else { next = Some(typed) }
        }
        if let Some(folder) = next {
            self.go(folder, ctx);
        }
        match (chosen, open && answer != Some(Answer::Cancel)) {
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

/// Why a folder cannot be read.
fn reason(error: &std::io::Error) -> String {
    if error.kind() == std::io::ErrorKind::NotFound { MISSING.to_owned() } else { error.to_string() }
}

/// The beginning of a name that is typed after the folder that is listed, in lower case.
fn begun(typed: &str, folder: &Path) -> String {
    let below = Path::new(typed.trim()).strip_prefix(folder).unwrap_or(Path::new(""));
    let is_name = below.components().count() == 1;
    if is_name { below.to_string_lossy().to_lowercase() } else { String::new() }
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
            let lower = name.to_lowercase();
            let is_image = IMAGE_ENDINGS.iter().any(|ending| lower.ends_with(ending));
            listing.images += usize::from(is_image);
            listing.others += usize::from(!is_image && !name.starts_with('.'));
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
        for file in ["masks.json", "1.png", "2.NII.GZ", "notes.txt"] {
            std::fs::write(temp.path().join(file), "").unwrap();
        }
        let listing = list(temp.path(), true).unwrap();
        assert_eq!(
            (&listing.folders, &listing.files),
            (&vec!["A".to_owned(), "b".to_owned()], &vec!["masks.json".to_owned()])
        );
        assert_eq!(listing.words(), "contains 2 images, 1 other file");
        assert_eq!(list(temp.path(), false).unwrap().words(), "contains 2 images, 2 other files");
        assert_eq!(list(&temp.path().join("b"), true).unwrap().words(), "empty");
        let missing = list(&temp.path().join("none"), true).err().unwrap();
        assert_eq!(reason(&missing), MISSING);
    }

    #[test]
    fn the_list_is_narrowed_by_what_is_typed_after_its_folder() {
        let folder = Path::new("/data/study");
        for (typed, name) in [("/data/study/Ima", "ima"), ("/data/study", ""), ("/data", ""), ("/data/study/a/b", "")] {
            assert_eq!(begun(typed, folder), name);
        }
    }
}
