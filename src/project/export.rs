//! Labels in other programs' formats.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use image::GrayImage;
use serde::Serialize;
use serde_json::{Value, json};

use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::regions::{measure, numbered};
use crate::domain::study::{Class, FileState, ImageRecord};
use crate::project::Project;
use crate::project::error::{ProjectError, Result};
use crate::raster;

/// A format of labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExportFormat {
    /// An indexed PNG for each image: 0 background, classes from 1, 255 not labelled.
    #[default]
    Png,
    /// A black and white PNG for each image and class, in a folder for each class; what is not labelled is black.
    Binary,
    /// One COCO file: each connected region an annotation, as run lengths.
    Coco,
    /// One table of all connected regions, measured.
    Csv,
}

impl ExportFormat {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 4] =
        [(Self::Png, "png"), (Self::Binary, "binary"), (Self::Coco, "coco"), (Self::Csv, "csv")];
}

/// How labels are exported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportPlan {
    /// The format.
    pub format: ExportFormat,
    /// The folder that the files go into.
    pub out: PathBuf,
    /// Whether files that are there already are replaced.
    pub overwrites: bool,
}

/// What an export writes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// Labelled images.
    pub images: usize,
    /// Files, below the folder.
    pub files: Vec<PathBuf>,
    /// What the format cannot hold, and what was left out.
    pub notes: Vec<String>,
}

impl Project {
    /// What an export would write. An error where a file is there already and may not be replaced, or no image is labelled.
    pub fn plan_export(&self, plan: &ExportPlan) -> Result<Exported> {
        let images = self.labelled_records()?;
        if images.is_empty() {
            return Err(ProjectError::NothingToExport);
        }
        let files: Vec<PathBuf> = match plan.format {
            ExportFormat::Png => images.iter().map(|image| png(Path::new(""), image)).collect(),
            ExportFormat::Binary => {
                let classes = self.classes()?;
                let of = |image| classes.iter().map(move |class| png(&folder_of(class), image));
                images.iter().flat_map(of).collect()
            }
            ExportFormat::Coco => vec![PathBuf::from("annotations.json")],
            ExportFormat::Csv => vec![PathBuf::from("regions.csv")],
        };
        let there = files.iter().map(|file| plan.out.join(file)).find(|file| file.exists() && !plan.overwrites);
        match there {
            Some(there) => Err(ProjectError::WouldOverwrite(there)),
            None => Ok(Exported { images: images.len(), files, notes: Vec::new() }),
        }
    }

    /// Writes the labels of all labelled images; each file is written beside and renamed. `on_progress` is told images done
    /// and in all.
    pub fn export(&self, plan: &ExportPlan, on_progress: &dyn Fn(usize, usize)) -> Result<Exported> {
        let mut exported = self.plan_export(plan)?;
        let (images, classes) = (self.labelled_records()?, self.classes()?);
        let palette: Vec<[u8; 3]> = classes.iter().map(|class| class.colour).collect();
        let (mut annotations, mut rows, mut partly, mut empty) = (Vec::new(), Vec::new(), 0, 0);
        for (place, image) in images.iter().enumerate() {
            let mask = self.label(image.id)?.mask;
            partly += usize::from(mask.pixels().contains(&UNLABELLED));
            empty += usize::from(mask.pixels().iter().all(|class| [BACKGROUND, UNLABELLED].contains(class)));
            match plan.format {
                ExportFormat::Png => raster::write_label(&plan.out.join(png(Path::new(""), image)), &mask, &palette)?,
                ExportFormat::Binary => {
                    for class in &classes {
                        write_binary(&plan.out.join(png(&folder_of(class), image)), &mask, class.number)?;
                    }
                }
                ExportFormat::Coco => annotate(&mask, &classes, place + 1, &mut annotations),
                ExportFormat::Csv => match measured(image, &mask, &classes) {
                    Ok(of_image) => rows.extend(of_image),
                    Err(reason) => exported.notes.push(format!("{} is not measured: {reason}", image.name)),
                },
            }
            on_progress(place + 1, images.len());
        }
        match plan.format {
            ExportFormat::Png | ExportFormat::Binary => {}
            ExportFormat::Csv => {
                beside(&plan.out.join("regions.csv"), |file| write_rows(file, &rows).map_err(std::io::Error::from))?;
            }
            ExportFormat::Coco => {
                let text = self.coco(&images, &classes, annotations)?;
                beside(&plan.out.join("annotations.json"), |file| file.write_all(text.as_bytes()))?;
                let slices = images.iter().filter(|image| image.stack.is_some()).count();
                if slices > 0 {
                    let note =
                        format!("{slices} slices of stacks are named as their label files, not as their image files");
                    exported.notes.push(note);
                }
                if empty > 0 {
                    let note = format!("{empty} images have no object, which a COCO file cannot tell from no label");
                    exported.notes.push(note);
                }
            }
        }
        if partly > 0 && plan.format != ExportFormat::Png {
            exported
                .notes
                .push(format!("{partly} images are partly labelled: what is not labelled counts as background"));
        }
        Ok(exported)
    }

    fn labelled_records(&self) -> Result<Vec<ImageRecord>> {
        let images: Vec<ImageRecord> = self.images()?.into_iter().filter(|image| image.labelled).collect();
        // What a database says is not to be written anywhere else.
        let is_inside = |stem: &str| Path::new(stem).components().all(|part| matches!(part, Component::Normal(_)));
        match images.iter().all(|image| is_inside(&image.stem)) {
            true => Ok(images),
            false => Err(ProjectError::Damaged("images")),
        }
    }

    fn coco(&self, images: &[ImageRecord], classes: &[Class], annotations: Vec<Value>) -> Result<String> {
        let folder = self.image_folder()?;
        let entry = |(id, image): (usize, &ImageRecord)| {
            let below = image.path.strip_prefix(&folder).unwrap_or(&image.path);
            // Slices of one file have names of their own.
            let name = if image.stack.is_some() { format!("{}.png", image.stem) } else { below.display().to_string() };
            json!({"id": id, "file_name": name.replace('\\', "/"), "width": image.width, "height": image.height})
        };
        let images: Vec<Value> = (1..).zip(images).map(entry).collect();
        let categories: Vec<Value> =
            classes.iter().map(|class| json!({"id": class.number, "name": class.name})).collect();
        let annotations: Vec<Value> = (1..)
            .zip(annotations)
            .map(|(id, mut annotation): (usize, Value)| {
                annotation["id"] = json!(id);
                annotation
            })
            .collect();
        Ok(json!({"images": images, "categories": categories, "annotations": annotations}).to_string())
    }
}

fn png(folder: &Path, image: &ImageRecord) -> PathBuf {
    folder.join(format!("{}.png", image.stem))
}

/// A folder's name for a class: its number, and of its name what every file system takes.
fn folder_of(class: &Class) -> PathBuf {
    let name: String = class.name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    PathBuf::from(format!("{}_{name}", class.number))
}

/// Writes a file beside its place and renames it.
fn beside(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>) -> Result<()> {
    let unfinished = path.with_extension("part");
    let run = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut file = BufWriter::new(File::create(&unfinished)?);
        write(&mut file)?;
        file.flush()?;
        drop(file);
        std::fs::rename(&unfinished, path)
    };
    run().map_err(|error| {
        let _ = std::fs::remove_file(&unfinished);
        ProjectError::io(path)(error)
    })
}

fn write_binary(path: &Path, mask: &Mask, class: u8) -> Result<()> {
    let pixels = mask.pixels().iter().map(|found| if *found == class { 255 } else { 0 }).collect();
    let image = GrayImage::from_raw(mask.width() as u32, mask.height() as u32, pixels).expect("a value for each pixel");
    beside(path, |file| {
        image.write_with_encoder(image::codecs::png::PngEncoder::new(file)).map_err(std::io::Error::other)
    })
}

/// An annotation for each connected region: run lengths down the columns, as COCO has them.
fn annotate(mask: &Mask, classes: &[Class], image: usize, annotations: &mut Vec<Value>) {
    let (width, height) = (mask.width(), mask.height());
    for class in classes.iter().filter(|class| mask.pixels().contains(&class.number)) {
        let parts = numbered(mask, class.number);
        let count = parts.iter().copied().max().unwrap_or(0) as usize;
        // Of each region: where its runs begin and end, down the columns; and its bounding box.
        let mut runs: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
        let mut boxes = vec![[usize::MAX, usize::MAX, 0, 0]; count];
        for x in 0..width {
            for y in 0..height {
                let part = parts.get_pixel(x as u32, y as u32).0[0] as usize;
                let Some(part) = part.checked_sub(1) else { continue };
                let place = x * height + y;
                match runs[part].last_mut().filter(|(_, end)| *end == place) {
                    Some((_, end)) => *end += 1,
                    None => runs[part].push((place, place + 1)),
                }
                let [left, top, right, bottom] = boxes[part];
                boxes[part] = [left.min(x), top.min(y), right.max(x), bottom.max(y)];
            }
        }
        for (runs, [left, top, right, bottom]) in runs.into_iter().zip(boxes) {
            let (mut counts, mut at, mut area) = (Vec::new(), 0, 0);
            for (start, end) in runs {
                counts.extend([start - at, end - start]);
                (at, area) = (end, area + end - start);
            }
            counts.push(width * height - at);
            annotations.push(json!({
                "image_id": image,
                "category_id": class.number,
                "iscrowd": 0,
                "area": area,
                "bbox": [left, top, right - left + 1, bottom - top + 1],
                "segmentation": {"size": [height, width], "counts": counts},
            }));
        }
    }
}

/// The columns of `regions.csv`.
const COLUMNS: [&str; 14] = [
    "image",
    "class",
    "class_name",
    "region",
    "area_px",
    "area_mm2",
    "perimeter_px",
    "left",
    "top",
    "width",
    "height",
    "centre_x",
    "centre_y",
    "mean_intensity",
];

/// A row for each region of an image; why there are none where its file cannot be measured.
fn measured(image: &ImageRecord, mask: &Mask, classes: &[Class]) -> std::result::Result<Vec<Vec<String>>, String> {
    match image.file {
        FileState::Present => {}
        FileState::Missing => return Err("its file is missing".to_owned()),
        FileState::Replaced => return Err("its file was replaced since it was labelled".to_owned()),
    }
    let picture = raster::picture(&raster::read(&image.path, image.page).map_err(|error| error.to_string())?);
    if (picture.width, picture.height) != (mask.width(), mask.height()) {
        return Err("its file has another size than the label".to_owned());
    }
    let name = |number: u8| classes.iter().find(|class| class.number == number).map_or("", |class| class.name.as_str());
    let rows = (1..).zip(measure(mask, classes.len() as u8, &picture, None)).map(|(number, region): (usize, _)| {
        vec![
            image.name.clone(),
            region.class.to_string(),
            name(region.class).to_owned(),
            number.to_string(),
            region.pixels.to_string(),
            region.area_mm2.map_or(String::new(), |area| format!("{area:.6}")),
            format!("{:.2}", region.perimeter),
            region.left.to_string(),
            region.top.to_string(),
            region.width.to_string(),
            region.height.to_string(),
            format!("{:.2}", region.centre_x),
            format!("{:.2}", region.centre_y),
            format!("{:.4}", region.mean_intensity),
        ]
    });
    Ok(rows.collect())
}

fn write_rows(file: &mut BufWriter<File>, rows: &[Vec<String>]) -> csv::Result<()> {
    let mut table = csv::Writer::from_writer(file);
    table.write_record(COLUMNS)?;
    rows.iter().try_for_each(|row| table.write_record(row))?;
    Ok(table.flush()?)
}
