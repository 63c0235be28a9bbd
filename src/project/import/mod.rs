//! Imports are planned, shown to the user and confirmed before anything is changed.
//!
//! Invariant: the import does exactly what the plan shows. The masks are read only once, during planning, and kept in a
//! temporary file.

pub(super) mod ask;
mod coco;
mod combine;
mod images;
mod masks;
pub mod pairing;
mod summary;
mod target;
mod volumes;

use std::path::{Path, PathBuf};

pub use ask::Ask;
pub use images::{ImagePlan, PlannedImage};
pub use masks::MaskPlan;
pub use summary::{ClassRow, MaskSummary, Summary, ValueRow};
pub use target::Target;

use crate::domain::mask_values::ValueRules;
use crate::project::check_root;
use crate::project::error::Result;

/// The user's choices for an import.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportRules {
    /// How mask values are mapped to classes.
    pub values: ValueRules,
    /// The suffix that a mask's name has after the name of its image.
    pub suffix: Option<String>,
    /// How to interpret several masks of one image.
    pub several: Option<Several>,
    /// How to interpret a mask with several pages if its image has only one.
    pub pages: Option<Pages>,
    /// Whether masks replace existing labels.
    pub replaces: bool,
}

/// How to interpret a mask with several pages if its image has only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// One page per class, the first for background; each pixel is set in exactly one page.
    OneHot,
    /// One page per class; pixels set in no page are background.
    Classes,
}

/// How to interpret several masks of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// Parts of one mask, which are merged.
    Union,
    /// One mask per class, named after the folder that contains it, or else after the suffix of its name.
    Classes,
}

/// A progress callback, called with the number of files done and the total.
pub type OnProgress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// A planned import of images, optionally with masks.
pub struct ImportPlan {
    /// The images.
    pub images: ImagePlan,
    /// The masks, if a folder of masks was given.
    pub masks: Option<MaskPlan>,
}

impl ImportPlan {
    /// Scans both folders and reads every mask. `root` is the folder of a new project, which is skipped if it is inside
    /// one of them; fails if a project cannot lie there.
    pub fn read(
        images: &Path,
        masks: Option<&Path>,
        root: Option<&Path>,
        rules: &ImportRules,
        on_progress: OnProgress,
    ) -> Result<Self> {
        if let Some(root) = root {
            check_root(root, images, masks)?;
        }
        let skipped: Vec<PathBuf> = root.into_iter().map(Path::to_owned).collect();
        let images = ImagePlan::read(images, masks, &skipped, rules, on_progress)?;
        let masks = match masks {
            Some(folder) => Some(MaskPlan::read(folder, &images, &skipped, rules, on_progress)?),
            None => None,
        };
        Ok(Self { images, masks })
    }

    /// The questions to be settled before the import can be carried out; empty if there are none.
    pub fn questions(&self) -> Vec<Ask> {
        let mut questions = self.images.faults();
        questions.extend(self.masks.iter().flat_map(MaskPlan::questions));
        questions
    }
}
