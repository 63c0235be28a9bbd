//! An import as a plan that is made, shown and settled before anything of it is done.
//!
//! Invariant: what the plan shows is what is done: the masks are read once, while planning, and kept beside.

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
use crate::project::error::Result;

/// What a person has said of an import.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImportRules {
    /// What the values of masks mean.
    pub values: ValueRules,
    /// What the name of a mask has after that of its image.
    pub suffix: Option<String>,
    /// What several masks of one image are.
    pub several: Option<Several>,
    /// What several pages of a mask are, where its image has one.
    pub pages: Option<Pages>,
    /// Whether masks take the place of labels that are there already.
    pub replaces: bool,
}

/// What several pages of a mask are, where its image has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pages {
    /// A class each, the first of them background; each pixel is set in one of them.
    OneHot,
    /// A class each; what is set in none is background.
    Classes,
}

/// What several masks of one image are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Several {
    /// Parts of one mask.
    Union,
    /// A class each, by the folder that they lie in, or else by what their names have after the image's.
    Classes,
}

/// How far the planning is: files done, files in all.
pub type OnProgress<'a> = &'a (dyn Fn(usize, usize) + Sync);

/// What an import of images, and of masks with them, would do.
pub struct ImportPlan {
    /// The images.
    pub images: ImagePlan,
    /// The masks, where a folder of them was given.
    pub masks: Option<MaskPlan>,
}

impl ImportPlan {
    /// Looks through both folders and reads every mask. `root` is the project's folder, where it lies among them.
    pub fn read(
        images: &Path,
        masks: Option<&Path>,
        root: Option<&Path>,
        rules: &ImportRules,
        on_progress: OnProgress,
    ) -> Result<Self> {
        let skipped: Vec<PathBuf> = root.into_iter().map(Path::to_owned).collect();
        let images = ImagePlan::read(images, masks, &skipped, rules, on_progress)?;
        let masks = match masks {
            Some(folder) => Some(MaskPlan::read(folder, &images, &skipped, rules, on_progress)?),
            None => None,
        };
        Ok(Self { images, masks })
    }

    /// Why it cannot be done yet; nothing where it can.
    pub fn questions(&self) -> Vec<Ask> {
        let mut questions = self.images.faults();
        questions.extend(self.masks.iter().flat_map(MaskPlan::questions));
        questions
    }
}
