//! Writes an export, one image at a time.

use std::path::{Path, PathBuf};

use image::GrayImage;
use serde_json::Value;

use super::sheet::{Sheet, plain};
use super::stack::{ExportVolume, Stacks};
use super::{ExportFormat, ExportPlan, Exported, Part, coco, geojson, table};
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::study::{Class, FileState, ImageRecord};
use crate::domain::text::counted;
use crate::project::error::{ProjectError, Result};
use crate::raster::{self, Format, NewFile};

/// Writes the files of one part of an export. Images are added in the order of [`Exporter::images`].
pub struct Exporter {
    format: ExportFormat,
    part: Part,
    folder: PathBuf,
    images: Vec<ImageRecord>,
    /// The images that a COCO file lists. One that was left out is not among them: readers would take it as empty.
    listed: Vec<ImageRecord>,
    classes: Vec<Class>,
    image_folder: PathBuf,
    exported: Exported,
    stacks: Stacks,
    annotations: Vec<Value>,
    rows: Vec<table::RegionRow>,
    partly: usize,
    empty: usize,
}

impl Exporter {
    pub(super) fn new(
        plan: &ExportPlan,
        part: Part,
        mut images: Vec<ImageRecord>,
        all: &[ImageRecord],
        classes: Vec<Class>,
        image_folder: PathBuf,
    ) -> Result<Self> {
        let (format, folder) = (plan.format, plan.folder(part));
        let (mut notes, mut left_out) = (Vec::new(), Vec::new());
        if format.holds_stacks() {
            // These formats copy the grid or the identity of the image's file.
            let is_gone = |image: &&ImageRecord| image.file != FileState::Present;
            left_out.extend(images.iter().filter(is_gone).filter_map(|image| image.file.problem(&image.path)));
            images.retain(|image| image.file == FileState::Present);
        }
        if format == ExportFormat::DicomSeg {
            let before = images.len();
            images.retain(|image| raster::sniff(&image.path).is_ok_and(|format| format == Format::Dicom));
            match (images.len(), before - images.len()) {
                (0, _) => return Err(ProjectError::NoDicom),
                (_, 0) => {}
                (_, 1) => notes.push("1 image is not a DICOM file and is left out".to_owned()),
                (_, left) => notes.push(format!("{left} images are not DICOM files and are left out")),
            }
        }
        let volumes = if format.holds_stacks() { ExportVolume::of(&images, all, &classes) } else { Vec::new() };
        let mut files: Vec<PathBuf> = match format {
            ExportFormat::Png => images.iter().map(|image| with_ending(&image.stem, "png")).collect(),
            ExportFormat::Binary => {
                let of = |image| classes.iter().map(move |class| binary(class, image));
                images.iter().flat_map(of).collect()
            }
            ExportFormat::Tiff => volumes.iter().map(|volume| with_ending(&volume.stem, "tif")).collect(),
            ExportFormat::Nifti => volumes.iter().map(|volume| with_ending(&volume.stem, "nii.gz")).collect(),
            ExportFormat::DicomSeg => volumes.iter().map(|volume| with_ending(&volume.stem, "dcm")).collect(),
            ExportFormat::Coco | ExportFormat::CocoPolygons => vec![PathBuf::from("annotations.json")],
            ExportFormat::GeoJson => images.iter().map(|image| with_ending(&image.stem, "geojson")).collect(),
            ExportFormat::Csv => vec![PathBuf::from("regions.csv")],
        };
        if format.holds_maps() && part == Part::Predictions {
            let ending = if format == ExportFormat::Tiff { "tif" } else { "nii.gz" };
            let maps = |volume: &ExportVolume| volume.maps(&classes, ending);
            files.extend(volumes.iter().flat_map(maps).collect::<Vec<_>>());
        }
        let there = files.iter().map(|file| folder.join(file)).find(|file| file.exists() && !plan.overwrites);
        if let Some(there) = there {
            return Err(ProjectError::WouldOverwrite(there));
        }
        // The files of two parts are distinguished by their folders.
        let below = folder.strip_prefix(&plan.out).unwrap_or(Path::new("")).to_owned();
        let files = files.into_iter().map(|file| below.join(file)).collect();
        Ok(Self {
            format,
            part,
            stacks: Stacks::new(folder.clone(), format, part, volumes, &classes),
            folder,
            exported: Exported { folder: plan.out.clone(), images: images.len(), files, notes, left_out },
            images,
            listed: Vec::new(),
            classes,
            image_folder,
            annotations: Vec::new(),
            rows: Vec::new(),
            partly: 0,
            empty: 0,
        })
    }

    /// What will be written.
    pub fn planned(self) -> Exported {
        self.exported
    }

    /// The images, in order.
    pub fn images(&self) -> &[ImageRecord] {
        &self.images
    }

    /// Records that an image is left out, with the reason.
    pub fn leave_out(&mut self, reason: String) {
        self.exported.images -= 1;
        self.exported.left_out.push(reason);
    }

    /// Adds an image.
    pub fn add(&mut self, image: &ImageRecord, sheet: &Sheet) -> Result<()> {
        let mask = sheet.mask;
        self.partly += usize::from(mask.pixels().contains(&UNLABELLED));
        self.empty += usize::from(mask.pixels().iter().all(|class| [BACKGROUND, UNLABELLED].contains(class)));
        match self.format {
            ExportFormat::Png => {
                let palette: Vec<[u8; 3]> = self.classes.iter().map(|class| class.colour).collect();
                raster::write_label(&self.folder.join(with_ending(&image.stem, "png")), mask, &palette)?;
            }
            ExportFormat::Binary => {
                for class in &self.classes {
                    write_binary(&self.folder.join(binary(class, image)), mask, class.number)?;
                }
            }
            ExportFormat::Tiff | ExportFormat::Nifti | ExportFormat::DicomSeg => self.stacks.add(image, sheet)?,
            ExportFormat::Coco | ExportFormat::CocoPolygons => {
                let is_polygons = self.format == ExportFormat::CocoPolygons;
                coco::annotate(image, sheet, &self.classes, is_polygons, &mut self.annotations);
                self.listed.push(image.clone());
            }
            ExportFormat::GeoJson => {
                let text = geojson::features(sheet, &self.classes).to_string();
                write_text(&self.folder.join(with_ending(&image.stem, "geojson")), &text)?;
            }
            ExportFormat::Csv => match table::measured(image, sheet, &self.classes) {
                Ok(rows) => self.rows.extend(rows),
                Err(reason) => self.leave_out(format!("{}: {reason}", image.name)),
            },
        }
        Ok(())
    }

    /// Writes the remaining files and returns what was written.
    pub fn finish(mut self) -> Result<Exported> {
        self.exported.notes.extend(self.stacks.finish()?);
        match self.format {
            ExportFormat::Png
            | ExportFormat::Binary
            | ExportFormat::Tiff
            | ExportFormat::Nifti
            | ExportFormat::DicomSeg
            | ExportFormat::GeoJson => {}
            ExportFormat::Csv => NewFile::write_all(&self.folder.join("regions.csv"), |file| {
                table::write(file, &self.rows).map_err(std::io::Error::from)
            })?,
            ExportFormat::Coco | ExportFormat::CocoPolygons => {
                let text = coco::file(&self.listed, &self.classes, self.annotations, &self.image_folder);
                write_text(&self.folder.join("annotations.json"), &text)?;
                let slices = self.listed.iter().filter(|image| image.stack.is_some()).count();
                if slices > 0 {
                    let note = "slices of stacks are named as their label files, not as their image files".to_owned();
                    self.exported.notes.push(note);
                }
                if self.empty > 0 {
                    let note = format!(
                        "without an object, which a COCO file cannot tell from no label: {}",
                        counted(self.empty, "image")
                    );
                    self.exported.notes.push(note);
                }
            }
        }
        if self.partly > 0 && !self.format.holds_unlabelled() {
            let note = format!(
                "what is not labelled counts as background in {} that {} partly labelled",
                counted(self.partly, "image"),
                if self.partly == 1 { "is" } else { "are" }
            );
            self.exported.notes.push(note);
        }
        if self.part == Part::Predictions {
            self.exported
                .notes
                .push("the masks are the network's, at probability 0.5; nobody has checked them".to_owned());
        }
        // Images that were left out have no file.
        let folder = self.exported.folder.clone();
        self.exported.files.retain(|file| folder.join(file).exists());
        Ok(self.exported)
    }
}

/// Appends an extension to a file name. `with_extension` would replace whatever follows a dot in the name.
fn with_ending(stem: impl AsRef<Path>, ending: &str) -> PathBuf {
    let mut name = stem.as_ref().as_os_str().to_owned();
    name.push(".");
    name.push(ending);
    name.into()
}

fn binary(class: &Class, image: &ImageRecord) -> PathBuf {
    PathBuf::from(format!("{}_{}", class.number, plain(&class.name))).join(with_ending(&image.stem, "png"))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(NewFile::write_all(path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}

fn write_binary(path: &Path, mask: &Mask, class: u8) -> Result<()> {
    let pixels = mask.pixels().iter().map(|found| if *found == class { 255 } else { 0 }).collect();
    let image = GrayImage::from_raw(mask.width() as u32, mask.height() as u32, pixels).expect("a value for each pixel");
    Ok(NewFile::write_all(path, |file| {
        image.write_with_encoder(image::codecs::png::PngEncoder::new(file)).map_err(std::io::Error::other)
    })?)
}
