//! The table of connected regions.

use std::io::Write;
use std::sync::Arc;

use super::Sheet;
use crate::domain::prediction::Prediction;
use crate::domain::regions::measure;
use crate::domain::study::{Class, FileState, ImageRecord};
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
pub(super) type Row = [String; COLUMNS.len()];

/// A row for each region of an image; why there are none where its file cannot be measured.
pub(super) fn measured(image: &ImageRecord, sheet: &Sheet, classes: &[Class]) -> Result<Vec<Row>, String> {
    match image.file {
        FileState::Present => {}
        FileState::Missing => return Err("its file is missing".to_owned()),
        FileState::Replaced => return Err("its file was replaced since it was labelled".to_owned()),
    }
    let read = raster::guarded(&image.path, |path| raster::read(path, image.page));
    let picture = raster::picture(&read.map_err(|error| error.to_string())?);
    if (picture.width, picture.height) != (sheet.mask.width(), sheet.mask.height()) {
        return Err("its file has another size than the label".to_owned());
    }
    let prediction = sheet.moments.map(|moments| Arc::new(Prediction::of(moments)));
    let name = |number: u8| classes.iter().find(|class| class.number == number).map_or("", |class| class.name.as_str());
    let regions = measure(sheet.mask, classes.len() as u8, &picture, prediction.as_deref());
    let rows = (1..).zip(regions).map(|(number, region): (usize, _)| {
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

/// Writes the table.
pub(super) fn write(file: impl Write, rows: &[Row]) -> csv::Result<()> {
    let mut table = csv::Writer::from_writer(file);
    table.write_record(COLUMNS)?;
    rows.iter().try_for_each(|row| table.write_record(row))?;
    Ok(table.flush()?)
}
