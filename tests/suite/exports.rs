//! Labels exported to other programs' formats are read back unchanged.

use std::path::Path;

use qualm::domain::mask::UNLABELLED;
use qualm::domain::settings::Settings;
use qualm::project::{ExportFormat, ExportPlan, ExportWhat, ProjectError, demo};
use qualm::raster;
use tempfile::TempDir;

use crate::create;

fn plan(format: ExportFormat, out: &Path) -> ExportPlan {
    ExportPlan { format, what: ExportWhat::Labels, out: out.to_owned(), overwrites: false }
}

#[test]
fn coco_comes_back_bit_for_bit_and_nothing_is_overwritten_unasked() {
    let temp = TempDir::new().unwrap();
    let (project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    let out = temp.path().join("coco");
    let dry = project.plan_export(&plan(ExportFormat::Coco, &out)).unwrap();
    assert!(!out.exists() && dry.images == 24 && dry.files.len() == 1);
    let exported = project.export(&plan(ExportFormat::Coco, &out), &|_, _| {}).unwrap();
    assert_eq!((exported.images, exported.notes), (24, Vec::<String>::new()));
    let file = out.join("annotations.json");
    let first = std::fs::read(&file).unwrap();
    let again = project.export(&plan(ExportFormat::Coco, &out), &|_, _| {});
    assert!(matches!(again, Err(ProjectError::WouldOverwrite(_))));
    let replacing = ExportPlan { overwrites: true, ..plan(ExportFormat::Coco, &out) };
    project.export(&replacing, &|_, _| {}).unwrap();

    let images = project.images().unwrap()[0].path.parent().unwrap().to_owned();
    let (back, import) = create(&temp.path().join("back"), &images, Some(&file), &Settings::default()).unwrap();
    assert_eq!(import.masks, 24, "{:?}", import.problems);
    for image in project.images().unwrap().iter().filter(|image| image.labelled) {
        let same = back.images().unwrap().into_iter().find(|other| other.name == image.name).unwrap();
        assert_eq!(back.label(same.id).unwrap().mask, project.label(image.id).unwrap().mask, "{}", image.name);
    }
    let out = temp.path().join("coco-2");
    back.export(&plan(ExportFormat::Coco, &out), &|_, _| {}).unwrap();
    assert_eq!(std::fs::read(out.join("annotations.json")).unwrap(), first, "export, import, export");
}

#[test]
fn png_masks_and_tables_hold_what_the_labels_hold() {
    let temp = TempDir::new().unwrap();
    let (project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    let labelled: Vec<_> = project.images().unwrap().into_iter().filter(|image| image.labelled).collect();
    let out = temp.path().join("out");
    for (format, name) in ExportFormat::ALL {
        if format == ExportFormat::DicomSeg {
            // None of the demo's images is DICOM.
            assert!(matches!(project.export(&plan(format, &out), &|_, _| {}), Err(ProjectError::NoDicom)));
            continue;
        }
        let exported = project.export(&plan(format, &out.join(name)), &|_, _| {}).unwrap();
        assert!(exported.files.iter().all(|file| out.join(name).join(file).is_file()), "{name}");
    }
    let classes = project.classes().unwrap();
    let mut areas = 0;
    for image in &labelled {
        let mask = project.label(image.id).unwrap().mask;
        assert_eq!(raster::read_label(&out.join("png").join(format!("{}.png", image.stem))).unwrap(), mask);
        let folder = out.join("binary").join(format!("1_{}", classes[0].name));
        let binary = image::open(folder.join(format!("{}.png", image.stem))).unwrap().to_luma8();
        assert!(mask.pixels().iter().zip(binary.pixels()).all(|(class, value)| (*class == 1) == (value.0[0] == 255)));
        areas += mask.pixels().iter().filter(|class| **class == 1).count();
        assert!(!mask.pixels().contains(&UNLABELLED));
    }
    let mut table = csv::Reader::from_path(out.join("csv/regions.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert!(rows.len() >= labelled.len());
    assert_eq!(rows.iter().map(|row| row[4].parse::<usize>().unwrap()).sum::<usize>(), areas);
}

#[test]
fn an_image_that_is_left_out_is_not_in_the_coco_file_as_an_empty_one() {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let (project, _) = demo::open_or_create(&root).unwrap();
    let image = project.images().unwrap().into_iter().find(|image| image.labelled).unwrap();
    let db = rusqlite::Connection::open(root.join("qualm.db")).unwrap();
    db.execute("UPDATE labels SET done = 0 WHERE image = ?1", [image.id.0]).unwrap();
    let out = temp.path().join("coco");
    let exported = project.export(&plan(ExportFormat::Coco, &out), &|_, _| {}).unwrap();
    assert_eq!((exported.images, exported.left_out.len()), (23, 1));
    let file: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("annotations.json")).unwrap()).unwrap();
    assert_eq!(file["images"].as_array().unwrap().len(), 23);
}
