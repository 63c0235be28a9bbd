//! Labels and predictions in other programs' formats.

mod coco;
mod exporter;
mod geojson;
mod sheet;
mod stack;
mod table;

use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use crate::domain::study::{FileState, ImageRecord};
use crate::project::Project;
use crate::project::error::{ProjectError, Result};

pub use exporter::Exporter;
pub use sheet::Sheet;
pub use table::StudyRegions;

/// A format of labels and predictions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// An indexed PNG for each image: 0 background, classes from 1, 255 not labelled.
    #[default]
    Png,
    /// A black and white PNG for each image and class, in a folder for each class; what is not labelled is black.
    Binary,
    /// A TIFF for each image or stack, described for ImageJ and OME: numbers as in the indexed PNG.
    Tiff,
    /// A gzipped NIfTI volume for each image or stack, on the grid of its source: numbers as in the indexed PNG.
    Nifti,
    /// A DICOM segmentation for each image or series of DICOM files.
    DicomSeg,
    /// One COCO file: each connected region an annotation, as run lengths.
    Coco,
    /// The same with polygons: of regions with a hole, run lengths.
    CocoPolygons,
    /// A GeoJSON file for each image, as QuPath takes it: each connected region an annotation, its outline along the pixels.
    GeoJson,
    /// One table of all connected regions, measured.
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

    /// Whether a file says of a pixel that it is not labelled.
    fn holds_unlabelled(self) -> bool {
        match self {
            Self::Png | Self::Tiff | Self::Nifti => true,
            Self::Binary | Self::DicomSeg | Self::Coco | Self::CocoPolygons | Self::GeoJson | Self::Csv => false,
        }
    }

    /// Whether the slices of a stack go into one file.
    fn holds_stacks(self) -> bool {
        match self {
            Self::Tiff | Self::Nifti | Self::DicomSeg => true,
            Self::Png | Self::Binary | Self::Coco | Self::CocoPolygons | Self::GeoJson | Self::Csv => false,
        }
    }

    /// Whether maps of probability and variance are written beside predictions.
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
    /// What the active model says of every image whose file is there.
    Predictions,
    /// Both, in folders of their own.
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

    /// Whether the network is needed.
    pub fn has_predictions(self) -> bool {
        self.parts().contains(&Part::Predictions)
    }

    /// Whether labels are among it.
    pub fn has_labels(self) -> bool {
        self.parts().contains(&Part::Labels)
    }
}

/// One of what is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Labels.
    Labels,
    /// Predictions.
    Predictions,
}

/// What an export is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// The format.
    pub format: ExportFormat,
    /// Labels, predictions or both.
    pub what: ExportWhat,
    /// The folder that the files go into.
    pub out: PathBuf,
    /// Whether files that are there already are replaced.
    pub overwrites: bool,
}

impl ExportPlan {
    /// The folder of one of what is exported.
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
    /// Adds what another part has written.
    pub fn add(&mut self, other: Self) {
        self.folder = other.folder;
        self.images = self.images.max(other.images);
        self.files.extend(other.files);
        self.notes.extend(other.notes);
        self.left_out.extend(other.left_out);
    }
}

impl Project {
    /// What an export would write. An error where a file is there already and may not be replaced, or there is nothing to
    /// export.
    pub fn plan_export(&self, plan: &ExportPlan) -> Result<Exported> {
        let mut planned = Exported::default();
        for part in plan.what.parts() {
            planned.add(self.exporter(plan, *part)?.planned());
        }
        Ok(planned)
    }

    /// Writes the labels of all labelled images; each file is written beside and renamed. `on_progress` is told images done
    /// and in all.
    pub fn export(&self, plan: &ExportPlan, on_progress: &dyn Fn(usize, usize)) -> Result<Exported> {
        // One snapshot: another program may be at work.
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

    /// What writes the files of one part of an export. An error as of [`Project::plan_export`].
    pub fn exporter(&self, plan: &ExportPlan, part: Part) -> Result<Exporter> {
        self.check_out(&plan.out)?;
        let all = self.images()?;
        // What a database says is not to be written anywhere else.
        let is_inside = |stem: &str| Path::new(stem).components().all(|part| matches!(part, Component::Normal(_)));
        if !all.iter().all(|image| is_inside(&image.stem)) {
            return Err(ProjectError::Damaged("images"));
        }
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
