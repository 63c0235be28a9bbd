//! Exports labels and predictions to formats used by other programs.

mod coco;
mod exporter;
mod geojson;
mod sheet;
mod stack;
mod table;

use std::path::PathBuf;

use serde::Serialize;

use crate::domain::study::{FileState, ImageRecord};
use crate::project::Project;
use crate::project::error::{ProjectError, Result};

pub use exporter::Exporter;
pub use sheet::Sheet;
pub use table::StudyRegions;

/// An export format for labels and predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// An indexed PNG for each image: 0 is background, classes are numbered from 1, 255 is unlabelled.
    #[default]
    Png,
    /// A black-and-white PNG for each image and class, in one folder per class; unlabelled pixels are black.
    Binary,
    /// A TIFF for each image or stack, with ImageJ and OME metadata; pixel values as in the indexed PNG.
    Tiff,
    /// A gzipped NIfTI volume for each image or stack, on the grid of its source; voxel values as in the indexed PNG.
    Nifti,
    /// A DICOM segmentation for each image or series of DICOM files.
    DicomSeg,
    /// A single COCO file, with one run-length encoded annotation per connected component.
    Coco,
    /// A COCO file with polygons; components with holes are run-length encoded.
    CocoPolygons,
    /// A GeoJSON file for each image, as read by QuPath, with one annotation per connected component, outlined along
    /// pixel edges.
    GeoJson,
    /// A single table with the measurements of all connected components.
    Csv,
}

impl ExportFormat {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 9] = [
        (Self::Png, "png"),
        (Self::Binary, "binary"),
        (Self::Tiff, "tiff"),
        (Self::Nifti, "nifti"),
        (Self::DicomSeg, "dicom-seg"),
        (Self::Coco, "coco"),
        (Self::CocoPolygons, "coco-polygons"),
        (Self::GeoJson, "geojson"),
        (Self::Csv, "csv"),
    ];

    /// Whether the format can represent unlabelled pixels.
    fn holds_unlabelled(self) -> bool {
        match self {
            Self::Png | Self::Tiff | Self::Nifti => true,
            Self::Binary | Self::DicomSeg | Self::Coco | Self::CocoPolygons | Self::GeoJson | Self::Csv => false,
        }
    }

    /// Whether the slices of a stack are written to one file.
    fn holds_stacks(self) -> bool {
        match self {
            Self::Tiff | Self::Nifti | Self::DicomSeg => true,
            Self::Png | Self::Binary | Self::Coco | Self::CocoPolygons | Self::GeoJson | Self::Csv => false,
        }
    }

    /// Whether probability and variance maps are written along with predictions.
    fn holds_maps(self) -> bool {
        match self {
            Self::Tiff | Self::Nifti => true,
            Self::Png | Self::Binary | Self::DicomSeg | Self::Coco | Self::CocoPolygons | Self::GeoJson | Self::Csv => {
                false
            }
        }
    }
}

/// What is exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportWhat {
    /// The labels of the labelled images.
    #[default]
    Labels,
    /// The active model's predictions for every image whose file is present.
    Predictions,
    /// Both, in separate folders.
    Both,
}

impl ExportWhat {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Labels, "labels"), (Self::Predictions, "predictions"), (Self::Both, "both")];

    fn parts(self) -> &'static [Part] {
        match self {
            Self::Labels => &[Part::Labels],
            Self::Predictions => &[Part::Predictions],
            Self::Both => &[Part::Labels, Part::Predictions],
        }
    }

    /// Whether predictions are exported, so that the network is needed.
    pub fn has_predictions(self) -> bool {
        self.parts().contains(&Part::Predictions)
    }

    /// Whether labels are exported.
    pub fn has_labels(self) -> bool {
        self.parts().contains(&Part::Labels)
    }
}

/// One part of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Labels.
    Labels,
    /// Predictions.
    Predictions,
}

/// The options of an export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// The format.
    pub format: ExportFormat,
    /// Labels, predictions or both.
    pub what: ExportWhat,
    /// The output folder.
    pub out: PathBuf,
    /// Whether existing files are overwritten.
    pub overwrites: bool,
}

impl ExportPlan {
    /// The output folder of one part.
    fn folder(&self, part: Part) -> PathBuf {
        match (self.what, part) {
            (ExportWhat::Both, Part::Labels) => self.out.join("labels"),
            (ExportWhat::Both, Part::Predictions) => self.out.join("predictions"),
            (ExportWhat::Labels | ExportWhat::Predictions, _) => self.out.clone(),
        }
    }
}

/// What an export writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, schemars::JsonSchema)]
pub struct Exported {
    /// The folder that the files go into.
    pub folder: PathBuf,
    /// Images.
    pub images: usize,
    /// Files, below the folder.
    pub files: Vec<PathBuf>,
    /// What the format cannot hold, and what else is to be known.
    pub notes: Vec<String>,
    /// Why images were left out that were to be exported.
    pub left_out: Vec<String>,
}

impl Exported {
    /// Merges the results of another part.
    pub fn add(&mut self, other: Self) {
        self.folder = other.folder;
        self.images = self.images.max(other.images);
        self.files.extend(other.files);
        self.notes.extend(other.notes);
        self.left_out.extend(other.left_out);
    }
}

impl Project {
    /// Determines what an export would write, without writing it. Fails if a file already exists and may not be
    /// overwritten, or if there is nothing to export.
    pub fn plan_export(&self, plan: &ExportPlan) -> Result<Exported> {
        let mut planned = Exported::default();
        for part in plan.what.parts() {
            planned.add(self.exporter(plan, *part)?.planned());
        }
        Ok(planned)
    }

    /// Exports the labels of all labelled images. Each file is written under a temporary name and then renamed.
    /// `on_progress` is called with the number of images done and the total.
    pub fn export(&self, plan: &ExportPlan, on_progress: &dyn Fn(usize, usize)) -> Result<Exported> {
        // Read from a single snapshot, since another program may be writing.
        let _snapshot = self.db.unchecked_transaction()?;
        let mut exporter = self.exporter(plan, Part::Labels)?;
        let images = exporter.images().to_vec();
        for (place, image) in images.iter().enumerate() {
            match self.label(image.id) {
                Ok(label) => exporter.add(image, &Sheet { mask: &label.mask, moments: None })?,
                Err(error @ ProjectError::DamagedLabel(_)) => exporter.leave_out(error.to_string()),
                Err(error) => return Err(error),
            }
            on_progress(place + 1, images.len());
        }
        exporter.finish()
    }

    /// Creates the exporter for one part of an export. Fails under the same conditions as [`Project::plan_export`].
    pub fn exporter(&self, plan: &ExportPlan, part: Part) -> Result<Exporter> {
        self.check_out(&plan.out)?;
        let all = self.images()?;
        let is_exported = |image: &&ImageRecord| match part {
            Part::Labels => image.labelled,
            Part::Predictions => image.file == FileState::Present,
        };
        let images: Vec<ImageRecord> = all.iter().filter(is_exported).cloned().collect();
        if part == Part::Predictions && self.active_round()?.is_none() {
            return Err(ProjectError::NoRound);
        }
        if part == Part::Labels && images.is_empty() {
            return Err(ProjectError::NothingToExport);
        }
        Exporter::new(plan, part, images, &all, self.classes()?, self.image_folder()?)
    }
}
