//! The table of connected components.

use std::io::Write;
use std::sync::Arc;

use super::sheet::Sheet;
use crate::domain::prediction::Prediction;
use crate::domain::regions::{Region, measure};
use crate::domain::study::{Class, FileState, ImageId, ImageRecord};
use crate::project::Project;
use crate::raster;

/// The columns of `regions.csv`.
const COLUMNS: [&str; 15] = [
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
    "mean_variance",
];

/// A line of the table.
pub(super) type RegionRow = [String; COLUMNS.len()];

/// Measures the regions of an image, or returns the reason why its file cannot be measured.
fn regions(image: &ImageRecord, sheet: &Sheet, classes: u8) -> Result<Vec<Region>, String> {
    match image.file {
        FileState::Present => {}
        FileState::Missing => return Err("its file is missing".to_owned()),
        FileState::Replaced => return Err("its file was replaced since it was labelled".to_owned()),
    }
    let read = raster::read(&image.path, image.page);
    let picture = raster::picture(&read.map_err(|error| error.to_string())?);
    if (picture.width, picture.height) != (sheet.mask.width(), sheet.mask.height()) {
        return Err("its file has another size than the label".to_owned());
    }
    let prediction = sheet.moments.map(|moments| Arc::new(Prediction::of(moments)));
    Ok(measure(sheet.mask, classes, &picture, prediction.as_deref()))
}

/// The table rows of an image, one for each of its [`regions`].
pub(super) fn measured(image: &ImageRecord, sheet: &Sheet, classes: &[Class]) -> Result<Vec<RegionRow>, String> {
    let name = |number: u8| classes.iter().find(|class| class.number == number).map_or("", |class| class.name.as_str());
    let rows = (1..).zip(regions(image, sheet, classes.len() as u8)?).map(|(number, region): (usize, _)| {
        [
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
            region.mean_variance.map_or(String::new(), |variance| format!("{variance:.6}")),
        ]
    });
    Ok(rows.collect())
}

/// The regions of all labels in a study, and the images that could not be measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StudyRegions {
    /// Each region with its image; images in order, the largest region of a class first.
    pub regions: Vec<(ImageId, Region)>,
    /// Images that are left out, each with the reason.
    pub left_out: Vec<String>,
}

impl Project {
    /// Measures the labels of all labelled images. `on_progress` is called with the number of images done and the
    /// total.
    pub fn study_regions(&self, on_progress: &dyn Fn(usize, usize)) -> crate::project::Result<StudyRegions> {
        let classes = self.classes()?.len() as u8;
        let images: Vec<ImageRecord> = self.images()?.into_iter().filter(|image| image.labelled).collect();
        let mut found = StudyRegions::default();
        for (place, image) in images.iter().enumerate() {
            let measured = match self.label(image.id) {
                Ok(label) => regions(image, &Sheet { mask: &label.mask, moments: None }, classes)
                    .map_err(|reason| format!("{}: {reason}", image.name)),
                Err(error) => Err(error.to_string()),
            };
            match measured {
                Ok(regions) => found.regions.extend(regions.into_iter().map(|region| (image.id, region))),
                Err(reason) => found.left_out.push(reason),
            }
            on_progress(place + 1, images.len());
        }
        Ok(found)
    }
}

/// Writes the table.
pub(super) fn write(file: impl Write, rows: &[RegionRow]) -> csv::Result<()> {
    let mut table = csv::Writer::from_writer(file);
    table.write_record(COLUMNS)?;
    rows.iter().try_for_each(|row| table.write_record(row))?;
    Ok(table.flush()?)
}
