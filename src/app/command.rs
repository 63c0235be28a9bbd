//! All commands in one table, from which the menus, the tooltips, the keyboard shortcuts and the shortcut sheet are
//! made.

/// A command that the user can give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Choose a project to open.
    OpenProject,
    /// Make a project of a folder of images.
    NewProject,
    /// Open the demo.
    OpenDemo,
    /// Take a folder of masks as labels.
    ImportMasks,
    /// Return to the start page.
    CloseProject,
    /// Undo the last step on this image.
    Undo,
    /// Redo the step that was undone.
    Redo,
    /// Paint the chosen class.
    Brush,
    /// Paint background.
    Eraser,
    /// Erase labels, so that pixels are unlabelled again.
    Clear,
    /// Draw an outline to fill.
    Outline,
    /// Click the corners of a polygon to fill.
    Polygon,
    /// Flood-fill the connected pixels that look alike.
    Fill,
    /// Segment the object that is clicked or boxed.
    ClickToSegment,
    /// Copy the prediction under the brush.
    AdoptBrush,
    /// A smaller brush.
    Smaller,
    /// A larger brush.
    Larger,
    /// Paint this class.
    Class(u8),
    /// Give up the stroke being drawn.
    Abandon,
    /// Remove the last corner of the polygon.
    RemoveCorner,
    /// Label all unlabelled pixels as background.
    RestIsBackground,
    /// Accept the label; unpainted pixels stay unlabelled.
    AcceptPartly,
    /// Go to the next region of high variance.
    NextUncertain,
    /// Hide the label while the key is held.
    Peek,
    /// Show the label's outlines only, or its areas too.
    ToggleOutlines,
    /// Show the label, the prediction, or where they differ.
    Compare,
    /// Fit window and level to each image, or show the full range.
    AutoLevels,
    /// Change the levels by dragging while the key is held.
    DragLevels,
    /// Measure a line by dragging while the key is held.
    Measure,
    /// Smooth or sharp pixels.
    ToggleSmooth,
    /// Copy the predicted mask into the label.
    Adopt,
    /// Accept the label.
    Accept,
    /// Accept the label and go to the next proposed image.
    AcceptAndNext,
    /// Use the pseudo-label for training.
    AcceptPseudo,
    /// Never use a pseudo-label of this image for training.
    RejectPseudo,
    /// Undo the review of the pseudo-label.
    RevokePseudo,
    /// Go to the next proposed image.
    NextProposed,
    /// Go to the image below in the list.
    NextImage,
    /// Go to the image above in the list.
    PreviousImage,
    /// Go to the next slice of the stack.
    NextSlice,
    /// Go to the slice before.
    PreviousSlice,
    /// Copy the label from the slice before.
    CopySlice,
    /// Interpolate the label between the labelled slices around.
    InterpolateSlice,
    /// Look for new, missing and replaced files.
    Refresh,
    /// Choose the folder of images again after it was moved.
    Locate,
    /// Remove the image from the project.
    RemoveImage,
    /// Restore the removed images.
    RestoreImages,
    /// Keep the labels of image files that were replaced.
    KeepReplaced,
    /// Delete the labels of image files that were replaced.
    ClearReplaced,
    /// Show the whole image.
    Fit,
    /// Show the image larger.
    ZoomIn,
    /// Show the image smaller.
    ZoomOut,
    /// Show or hide the label.
    ToggleLabel,
    /// Train a round.
    Train,
    /// Train a round from the active one's weights.
    ContinueTraining,
    /// Score the pool.
    Score,
    /// Propose images without a network.
    Propose,
    /// End training now and keep the best weights so far.
    Finish,
    /// End the running job.
    Cancel,
    /// Pause or resume the running job.
    Pause,
    /// Show all rounds with their metrics and curves.
    Rounds,
    /// Add a server to compute on.
    AddServer,
    /// Which images belong together.
    Groups,
    /// The method's settings.
    Settings,
    /// The sheet of shortcuts.
    Shortcuts,
    /// All commands, searched by name.
    Palette,
    /// Predict a folder of images.
    PredictFolder,
    /// Export labels and predictions in formats of other programs.
    Export,
    /// Which panels are shown.
    Panels,
    /// The regions of the label in a table.
    Regions,
    /// The first image of the list.
    FirstImage,
    /// The last one.
    LastImage,
    /// Make the label's areas more transparent.
    Fainter,
    /// Make the label's areas more opaque.
    Stronger,
    /// The dark theme or the light one.
    Theme,
    /// Copy the diagnostics for a bug report.
    CopyDiagnostics,
    /// What this program is.
    About,
    /// Undo the acceptance; what is painted stays.
    Unaccept,
    /// Copy the label.
    CopyLabel,
    /// Replace this image's label with the copied one.
    PasteLabel,
    /// What can be done with the labels of all images in the list.
    ListedLabels,
    /// Close the window.
    Quit,
}

/// A key with its modifiers. `key` is the name that egui gives the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortcut {
    /// Control, or Command on a Mac.
    pub command: bool,
    /// Shift.
    pub shift: bool,
    /// The key.
    pub key: &'static str,
}

const fn key(key: &'static str) -> Shortcut {
    Shortcut { command: false, shift: false, key }
}

const fn key_shift(key: &'static str) -> Shortcut {
    Shortcut { command: false, shift: true, key }
}

const fn ctrl(key: &'static str) -> Shortcut {
    Shortcut { command: true, shift: false, key }
}

const fn ctrl_shift(key: &'static str) -> Shortcut {
    Shortcut { command: true, shift: true, key }
}

/// One row of the table.
pub struct Row {
    /// The command.
    pub command: Command,
    /// The heading under which the sheet lists it.
    pub group: &'static str,
    /// Its name.
    pub name: &'static str,
    /// What it does, for tooltips.
    pub help: &'static str,
    /// Keys, the first one shown.
    pub shortcuts: &'static [Shortcut],
}

macro_rules! rows {
    ($($group:literal { $($command:expr, $name:literal, $help:literal, [$($key:expr),*];)* })*) => {
        &[$($(Row { command: $command, group: $group, name: $name, help: $help, shortcuts: &[$($key),*] },)*)*]
    };
}

/// The table.
pub const TABLE: &[Row] = rows! {
    "Project" {
        Command::OpenDemo, "Open demo", "60 skin lesions, 24 of them labelled: a round can be trained at once", [];
        Command::NewProject, "New project", "Make a project of a folder of images; they stay where they are", [ctrl("N")];
        Command::OpenProject, "Open project", "Open a project's folder", [ctrl("O")];
        Command::ImportMasks, "Import masks", "Import a folder of masks, paired by name, as labels", [];
        Command::Groups, "Groups of images", "Define which images belong together, so that no patient is in both training and validation", [];
        Command::Export, "Export", "Write labels and predictions in formats of other programs", [];
        Command::Refresh, "Look for new files", "Add image files that are new in the folder, and list missing and replaced ones", [];
        Command::KeepReplaced, "Keep labels of replaced files", "For image files replaced since they were labelled: keep the labels, which also fit the new files", [];
        Command::ClearReplaced, "Clear labels of replaced files", "For image files replaced since they were labelled: delete the labels; the new files are unlabelled", [];
        Command::Locate, "Locate images", "Choose the folder of images again after it was moved", [];
        Command::CloseProject, "Close project", "Return to the start page; everything is saved", [ctrl("W")];
        Command::Quit, "Quit", "Close the window; a running job is asked about", [ctrl("Q")];
    }
    "Images" {
        Command::NextProposed, "Next proposed", "Go to the next image proposed for labelling", [key("N")];
        Command::NextImage, "Next image", "Go to the next image in the list", [key("Down")];
        Command::PreviousImage, "Previous image", "Go to the previous image in the list", [key("Up")];
        Command::NextSlice, "Next slice", "Go to the next slice of the stack, or to the next image", [key("PageDown")];
        Command::PreviousSlice, "Previous slice", "Go to the previous slice of the stack, or to the previous image", [key("PageUp")];
        Command::FirstImage, "First image", "Go to the first image of the list", [key("Home")];
        Command::LastImage, "Last image", "Go to the last image of the list", [key("End")];
        Command::ListedLabels, "Labels of listed images", "Undo the acceptance, or clear the labels, of all images in the list", [];
        Command::RemoveImage, "Remove image", "Remove the image from the project; its file stays, and its label returns if the image is restored", [];
        Command::RestoreImages, "Restore removed images", "Restore the images that were removed from the project, with their labels", [];
    }
    "Label" {
        Command::Brush, "Brush", "Paint the chosen class", [key("B")];
        Command::Eraser, "Eraser", "Paint background", [key("E")];
        Command::Clear, "Unlabel", "Remove the label: unlabelled pixels are ignored in training", [key("X")];
        Command::Outline, "Lasso", "Draw around a region to fill it", [key("O")];
        Command::Polygon, "Polygon", "Click the corners; Enter, a double click, or a click on the first corner closes it", [key("G")];
        Command::Fill, "Flood fill", "Fill the connected pixels that look like the one clicked", [key("K")];
        Command::ClickToSegment, "Click to segment", "Click an object, or drag a box around it; right-click what does not belong to it; Esc begins the next object", [key("Q")];
        Command::AdoptBrush, "Adopt brush", "Copy the prediction under the brush", [key("A")];
        Command::Smaller, "Smaller brush", "Make the brush smaller", [key("OpenBracket")];
        Command::Larger, "Larger brush", "Make the brush larger", [key("CloseBracket")];
        Command::Class(1), "Class", "Select the class with this number",
            [key("1"), key("2"), key("3"), key("4"), key("5"), key("6"), key("7"), key("8"), key("9")];
        Command::Undo, "Undo", "Undo the last step on this image", [ctrl("Z")];
        Command::Redo, "Redo", "Redo the step that was undone", [ctrl_shift("Z"), ctrl("Y")];
        Command::Abandon, "Cancel stroke", "Cancel the stroke being drawn; after clicks on an object, begin the next one", [key("Escape")];
        Command::RemoveCorner, "Remove corner", "Remove the last corner of the polygon being drawn", [key("Backspace")];
        Command::Adopt, "Adopt prediction", "Copy the predicted mask into the label", [key("P")];
        Command::RestIsBackground, "Rest is background", "Label all unlabelled pixels as background", [key("R")];
        Command::CopySlice, "Copy from previous slice", "Copy the label of the previous slice into this one", [key("C")];
        Command::InterpolateSlice, "Interpolate", "Interpolate this slice's label between the nearest labelled slices on both sides", [key("I")];
        Command::CopyLabel, "Copy label", "Copy this image's label, to paste it into another image of the same size", [key_shift("C")];
        Command::PasteLabel, "Paste label", "Replace this image's label by the one copied last", [key_shift("V")];
        Command::Accept, "Accept", "Mark the image as labelled; unpainted pixels become background", [key("Enter")];
        Command::AcceptPartly, "Accept partly", "Mark the image as labelled; unpainted pixels stay unlabelled and are ignored in training", [key_shift("Enter")];
        Command::AcceptAndNext, "Accept and next", "Accept, then go to the next proposed image", [ctrl("Enter")];
        Command::Unaccept, "Undo acceptance", "The image counts as unlabelled again; what is painted stays", [];
    }
    "Pseudo-labels" {
        Command::AcceptPseudo, "Accept pseudo-label", "Use the network's mask as it is for training, and go to the next one to review", [key("Y")];
        Command::RejectPseudo, "Reject pseudo-label", "Never use the network's masks of this image for training, and go to the next one to review", [key("V")];
        Command::RevokePseudo, "Undo review", "The pseudo-label is neither accepted nor rejected any more", [key("W")];
    }
    "View" {
        Command::NextUncertain, "Next uncertain region", "Go to the next region of high variance, largest total variance first", [key("U")];
        Command::Compare, "Compare", "Show the label, the prediction, or where they differ", [key("D")];
        Command::Peek, "Hide label", "Hide the label while the key is held", [key("H")];
        Command::ToggleOutlines, "Outlines only", "Show the label's outlines only, or its areas too", [key("J")];
        Command::AutoLevels, "Auto contrast", "Fit window and level to each image, or show the full range", [key_shift("T")];
        Command::DragLevels, "Window/level", "Hold and drag: left and right change the window, up and down the level", [key("T")];
        Command::Measure, "Measure", "Hold and drag: length of a line, and its angle to the horizontal, counter-clockwise from 0° to 180°", [key("Z")];
        Command::Panels, "Panels", "Show all panels, the image alone, or the image with one map", [key("M")];
        Command::Regions, "Regions", "Measure the regions of this image's label, or of all labels; a click goes there", [key_shift("R")];
        Command::Fainter, "Fainter label", "Make the label over the image more transparent (lower opacity)", [key("Comma")];
        Command::Stronger, "Stronger label", "Make the label over the image more opaque (higher opacity)", [key("Period")];
        Command::Theme, "Theme", "Dark or light; images are on a dark ground in both", [];
        Command::ToggleSmooth, "Smooth", "Interpolate when zoomed in, or show sharp pixels", [key("S")];
        Command::Fit, "Fit", "Show the whole image", [key("F")];
        Command::ZoomIn, "Zoom in", "Show the image larger (also: scroll)", [key("Plus"), key("Equals")];
        Command::ZoomOut, "Zoom out", "Show the image smaller (also: scroll)", [key("Minus")];
        Command::ToggleLabel, "Show label", "Show or hide the label over the image", [key("L")];
    }
    "Network" {
        Command::Train, "Train round", "Train on the labels, validate, score the other images, propose the next ones to label", [ctrl("T")];
        Command::ContinueTraining, "Continue training", "Train another round, starting from the active round's weights", [];
        Command::Score, "Score pool", "Score the images nobody has labelled with the active model, and propose the next", [ctrl_shift("T")];
        Command::Propose, "Propose images", "Propose representative images to label, chosen with the pre-trained encoder; available before the first round", [];
        Command::Pause, "Pause", "Pause or resume the running job; the window and its predictions keep working", [ctrl_shift("P")];
        Command::Finish, "Finish now", "End training now, keep the best weights so far, and go on to scoring", [];
        Command::Cancel, "Cancel", "Cancel the running job; a round that has finished training is kept, and Score pool resumes its scoring", [];
        Command::PredictFolder, "Predict a folder", "Write masks, probabilities and uncertainty of a folder of images as files", [];
        Command::Rounds, "Rounds", "All rounds: metrics, curves, settings and labelling effort", [ctrl("R")];
        Command::AddServer, "Add server…", "Compute on another machine on which `qualm serve` runs", [];
        Command::Settings, "Settings", "The settings of the network, its training and the query", [ctrl("Comma")];
    }
    "Help" {
        Command::Palette, "Find a command", "Search all commands by name", [ctrl("K")];
        Command::CopyDiagnostics, "Copy diagnostics", "Copy version, system, devices and settings for a report of a fault; nothing of images or patients", [];
        Command::About, "About", "Version, licence and credits", [];
        Command::Shortcuts, "Shortcuts", "All keyboard shortcuts", [key("F1"), key("Questionmark")];
    }
};

impl Command {
    /// Its row.
    pub fn row(self) -> &'static Row {
        let listed = if let Self::Class(_) = self { Self::Class(1) } else { self };
        TABLE.iter().find(|row| row.command == listed).expect("a row for every command")
    }

    /// The command that one of its row's keys triggers: digit keys select the class.
    pub fn by_key(self, shortcut: Shortcut) -> Self {
        match (self, shortcut.key.parse()) {
            (Self::Class(_), Ok(number)) => Self::Class(number),
            _ => self,
        }
    }
}

impl Shortcut {
    /// The shortcut as text, such as `Ctrl+Shift+Z`.
    pub fn text(self) -> String {
        let command = if cfg!(target_os = "macos") { "⌘" } else { "Ctrl+" };
        let key = match self.key {
            "OpenBracket" => "[",
            "CloseBracket" => "]",
            "Plus" => "+",
            "Equals" => "=",
            "Minus" => "-",
            "Comma" => ",",
            "Period" => ".",
            "Questionmark" => "?",
            "Escape" => "Esc",
            "PageUp" => "Page up",
            "PageDown" => "Page down",
            other => other,
        };
        format!("{}{}{key}", if self.command { command } else { "" }, if self.shift { "Shift+" } else { "" })
    }
}

impl Row {
    /// Its keys: all if there are at most three, else the first and the last.
    pub fn keys(&self) -> String {
        let texts: Vec<String> = self.shortcuts.iter().map(|shortcut| shortcut.text()).collect();
        match &texts[..] {
            [first, _, _, .., last] => format!("{first} – {last}"),
            few => few.join("  or  "),
        }
    }

    /// The name with the first shortcut, for messages.
    pub fn titled(&self) -> String {
        match self.shortcuts.first() {
            Some(shortcut) => format!("{} ({})", self.name, shortcut.text()),
            None => self.name.to_owned(),
        }
    }

    /// The help with the first shortcut, for tooltips.
    pub fn tooltip(&self) -> String {
        match self.shortcuts.first() {
            Some(shortcut) => format!("{} ({})", self.help, shortcut.text()),
            None => self.help.to_owned(),
        }
    }
}
