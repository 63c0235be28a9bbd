//! Damage is detected, reported, excluded from training, and repaired where there is a copy to repair it from.

use std::path::Path;

use qualm::domain::mask::UNLABELLED;
use qualm::domain::remedy::Remedy;
use qualm::domain::round::Report;
use qualm::domain::settings::{Budget, Settings};
use qualm::engine::model;
use qualm::project::{Finished, Project, ProjectError, RoundRecord, backup, demo};
use qualm::worker::{JobKind, Outcome};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::driven::tiny_demo;
use crate::run_job;

fn change(root: &Path, sql: &str) {
    let db = Connection::open(root.join("qualm.db")).unwrap();
    assert!(db.execute(sql, []).unwrap() > 0, "{sql}");
}

/// Changes one byte of a blob.
fn flip(root: &Path, table: &str, column: &str, image: i64) {
    let db = Connection::open(root.join("qualm.db")).unwrap();
    let query = format!("SELECT {column} FROM {table} WHERE image = {image}");
    let mut bytes: Vec<u8> = db.query_row(&query, [], |row| row.get(0)).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE image = {image}"), [bytes]).unwrap();
}

#[test]
fn whatever_part_of_a_label_changes_it_is_seen_and_the_others_are_as_they_were() {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let (project, _) = demo::open_or_create(&root).unwrap();
    let labelled: Vec<_> = project.images().unwrap().into_iter().filter(|image| image.labelled).collect();
    let masks: Vec<_> = labelled.iter().map(|image| project.label(image.id).unwrap().mask).collect();
    drop(project);
    let id = |place: usize| labelled[place].id;
    flip(&root, "labels", "mask", id(0).0);
    flip(&root, "journal", "edit", id(1).0);
    change(&root, &format!("UPDATE labels SET done = 0 WHERE image = {}", id(2)));
    change(
        &root,
        &format!("UPDATE labels SET mask = (SELECT mask FROM labels WHERE image = {}) WHERE image = {}", id(5), id(3)),
    );
    change(&root, &format!("UPDATE journal SET accepts = 0 WHERE image = {}", id(4)));
    let mut project = Project::open(&root).unwrap();
    for (place, image) in labelled.iter().enumerate() {
        match project.label(image.id) {
            Err(ProjectError::DamagedLabel(name)) => assert!(place < 5 && name == image.name, "{name}"),
            Ok(label) => assert!(place >= 5 && label.mask == masks[place], "{}", image.name),
            Err(error) => panic!("{error}"),
        }
    }
    // All labels are restored from the label files; an image without one is unlabelled, and reported.
    std::fs::remove_file(project.label_path(&labelled[1].stem)).unwrap();
    std::fs::write(project.label_path(&labelled[7].stem), "no picture").unwrap();
    let dry = project.repair(true, |_, _| true).unwrap();
    assert!(dry.kept.is_none() && matches!(project.label(id(0)), Err(ProjectError::DamagedLabel(_))));
    let repaired = project.repair(false, |_, _| true).unwrap();
    assert_eq!(
        (repaired.from_files.len(), repaired.lost, repaired.files),
        (4, vec![labelled[1].name.clone()], vec![labelled[7].name.clone()])
    );
    assert!(repaired.kept.unwrap().join("qualm.db").is_file());
    for (place, image) in labelled.iter().enumerate().filter(|(place, _)| *place != 1) {
        assert_eq!(project.label(image.id).unwrap().mask, masks[place]);
    }
    assert!(!project.image(id(1)).unwrap().unwrap().labelled);
    assert!(project.label(id(1)).unwrap().mask.pixels().iter().all(|class| *class == UNLABELLED));
    assert!(project.repair(false, |_, _| true).unwrap().is_sound());
}

#[test]
fn a_round_names_a_damaged_label_and_learns_from_the_others_and_a_changed_model_does_not_predict() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    project.set_settings(&Settings { budget: Budget::Epochs, epochs: 1, ..project.settings().unwrap() }).unwrap();
    let damaged = project.images().unwrap().into_iter().find(|image| image.labelled).unwrap();
    drop(project);
    flip(&root, "labels", "mask", damaged.id.0);
    let run = |kind: JobKind| run_job(&root, kind);
    let Ok(Outcome::Round(report)) = run(JobKind::Round(None)) else { panic!("a round") };
    assert_eq!(report.labelled, 23);
    assert!(report.problems.iter().any(|problem| problem.contains(&damaged.name)), "{:?}", report.problems);
    let weights = root.join("models/round-001/weights.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    let last = bytes.len() - 3;
    bytes[last] ^= 0x40;
    std::fs::write(&weights, bytes).unwrap();
    let reason = run(JobKind::Score).unwrap_err();
    assert!(reason.text.contains("not those that the round recorded"), "{reason}");
    let is_sound = |folder: &Path, known: &str| model::identity(folder).is_ok_and(|found| found == known);
    assert_eq!(Project::open_to_read(&root).unwrap().repair(true, is_sound).unwrap().models, [1]);
}

#[test]
fn a_damaged_round_is_read_from_its_model_s_folder_or_left_out_and_the_project_works() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    for _ in 0..2 {
        run_job(&root, JobKind::Round(None)).unwrap();
    }
    let rounds = Project::open_to_read(&root).unwrap().rounds().unwrap();
    let damage = |change: &str| Connection::open(root.join("qualm.db")).unwrap().execute(change, []).unwrap();
    damage("UPDATE rounds SET report = replace(report, ':', ';')");
    let mut project = Project::open(&root).unwrap();
    assert_eq!(project.rounds().unwrap(), rounds, "as their models' folders say");
    let problems: Vec<String> = project.round_records().unwrap().iter().filter_map(RoundRecord::problem).collect();
    assert!(problems.len() == 2 && problems[1].contains("round 2"), "{problems:?}");
    // Without either, the first is left out, and the other is still there to predict.
    let path = root.join("models/round-001/settings.json");
    let mut settings: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    settings.as_object_mut().unwrap().remove("policy").unwrap();
    std::fs::write(&path, settings.to_string()).unwrap();
    assert_eq!(project.rounds().unwrap(), rounds[1..], "an earlier version's settings would be taken for today's");
    let found = project.repair(false, |_, _| true).unwrap();
    assert_eq!((found.rounds, found.lost_rounds), (vec![2], vec![1]));
    assert!(root.join("models/round-001/weights.safetensors").is_file(), "kept as it is");
    let damaged: Vec<bool> = project.round_records().unwrap().iter().map(|record| record.is_damaged).collect();
    assert_eq!(damaged, [true, false]);
    let again = project.repair(false, |_, _| true).unwrap();
    assert_eq!((again.rounds, again.lost_rounds, again.kept), (vec![], vec![1], None));
    drop(project);
    run_job(&root, JobKind::Score).unwrap();
}

#[test]
fn a_round_does_not_predict_if_it_is_not_known_whether_it_is_outdated() {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let (mut project, _) = demo::open_or_create(&root).unwrap();
    std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
    let report = Report { round: 1, active: true, ..Report::default() };
    project.record_round(&Finished { report, settings: Settings::default() }).unwrap();
    assert!(project.active_round().unwrap().is_some());
    change(&root, "UPDATE rounds SET outdated = 'x'");
    assert!(project.active_round().unwrap().is_none());
    assert_eq!(project.repair(false, |_, _| true).unwrap().rounds, [1]);
    assert!(project.round_records().unwrap().iter().all(|record| !record.is_damaged));
    assert!(project.rounds().unwrap()[0].outdated);
}

#[test]
fn a_damaged_label_stops_no_other_and_its_unreadable_file_is_moved_aside() {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let (mut project, _) = demo::open_or_create(&root).unwrap();
    let labelled: Vec<_> = project.images().unwrap().into_iter().filter(|image| image.labelled).collect();
    let (image, other) = (&labelled[0], &labelled[labelled.len() - 1]);
    flip(&root, "labels", "mask", image.id.0);
    change(&root, "UPDATE labels SET exported = -1");
    std::fs::write(project.label_path(&image.stem), "no picture").unwrap();
    std::fs::remove_file(project.label_path(&other.stem)).unwrap();
    project.export_labels().unwrap();
    assert!(project.label_path(&other.stem).exists());
    // The label of a removed image is repaired too, for the image may return.
    project.remove_image(image.id).unwrap();
    let repaired = project.repair(false, |_, _| true).unwrap();
    assert_eq!(repaired.lost, std::slice::from_ref(&image.name));
    let kept = repaired.kept.unwrap().join("labels").join(format!("{}.png", image.stem));
    assert_eq!(std::fs::read(kept).unwrap(), b"no picture");
}

#[test]
fn a_day_s_backup_brings_back_what_was_there_and_a_database_in_pieces_is_told_from_one_that_is_whole() {
    let temp = TempDir::new().unwrap();
    let root = temp.path().join("demo");
    let (mut project, _) = demo::open_or_create(&root).unwrap();
    let image = project.images().unwrap().into_iter().find(|image| image.labelled).unwrap();
    let mask = project.label(image.id).unwrap().mask;
    backup::back_up(&root).unwrap();
    project.clear_label(image.id).unwrap();
    // Once a day: the state before that day's work.
    backup::back_up(&root).unwrap();
    drop(project);
    let [copy] = &backup::backups(&root)[..] else { panic!("one backup") };
    let database = root.join("qualm.db");
    let mut bytes = std::fs::read(&database).unwrap();
    for place in (8192..bytes.len()).step_by(512) {
        bytes[place] ^= 0xff;
    }
    std::fs::write(&database, &bytes).unwrap();
    std::fs::write(root.join("qualm.db-wal"), "cut off").unwrap();
    let Err(error) = Project::open(&root) else { panic!("a damaged database opens") };
    assert_eq!(error.remedy(), Some(Remedy::Restore), "{error}");
    let kept = backup::restore(&root, copy).unwrap();
    assert_eq!(std::fs::read(kept.join("qualm.db")).unwrap(), bytes, "what was there is kept");
    let mut project = Project::open(&root).unwrap();
    assert_eq!(project.label(image.id).unwrap().mask, mask);
    project.export_labels().unwrap();
    assert_eq!(qualm::raster::read_label(&project.label_path(&image.stem)).unwrap(), mask);
}
