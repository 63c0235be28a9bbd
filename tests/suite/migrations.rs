//! Projects of earlier versions: opened, brought up to date, a copy kept.

use qualm::domain::round::Report;
use qualm::domain::settings::{Budget, Encoder, Flips, Policy, Settings};
use qualm::project::{Finished, Project};

use crate::create;
use crate::project::folders;

/// Turns a database into one of an earlier version by removing the columns added since.
fn back_to(db: &rusqlite::Connection, version: usize) {
    let added = [
        (7, "rounds", "outdated"),
        (7, "journal", "crc"),
        (7, "labels", "mask_crc"),
        (7, "labels", "row_crc"),
        (8, "proposals", "tile"),
    ];
    for (_, table, column) in added.iter().filter(|(since, ..)| *since > version) {
        db.execute_batch(&format!("ALTER TABLE {table} DROP COLUMN {column}")).unwrap();
    }
    db.pragma_update(None, "user_version", version as i64).unwrap();
}

#[test]
fn a_project_of_the_first_version_opens() {
    let f = folders(2, 2);
    drop(create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap());
    let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
    let folder = f.images.to_string_lossy();
    db.execute_batch(&format!(
        "PRAGMA foreign_keys = OFF;
         DROP TABLE pseudo; DROP TABLE acceptances;
         CREATE TABLE old (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE, stem TEXT NOT NULL UNIQUE,
             width INTEGER NOT NULL, height INTEGER NOT NULL, status TEXT NOT NULL, validation INTEGER, problem TEXT);
         INSERT INTO old SELECT id, '{folder}/' || CAST(path AS TEXT), stem, width, height, status, validation, problem
             FROM images;
         DROP TABLE images; ALTER TABLE old RENAME TO images;
         DELETE FROM meta WHERE key = 'images';"
    ))
    .unwrap();
    back_to(&db, 1);
    drop(db);
    let project = Project::open(&f.root).unwrap();
    assert_eq!(project.images().unwrap().iter().filter(|image| image.labelled).count(), 2);
    assert_eq!(project.image_folder().unwrap(), f.images, "the folder that all images are in");
    assert!(project.images().unwrap().iter().all(|image| image.path.is_file()));
    assert!(f.root.join("qualm-version-1.db").is_file(), "the earlier database is kept");
    assert!(project.acceptances().unwrap().is_empty());
    assert_eq!(project.settings().unwrap().pseudo_from, 0, "there were no pseudo-labels then");
}

#[test]
fn a_project_whose_settings_were_made_for_the_earlier_network_keeps_it_without_a_round_too() {
    for (kept, expected) in [(Settings::paper(), Encoder::Unet), (Settings::default(), Encoder::Lite0)] {
        let f = folders(2, 2);
        create(&f.root, &f.images, Some(&f.masks), &kept).unwrap();
        let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
        db.execute_batch(
            "UPDATE meta SET value = json_remove(value, '$.encoder', '$.pseudo_calibration') WHERE key = 'settings';
             UPDATE meta SET value = json_set(value, '$.widths', json('[16,32,64,128,256]'))
                 WHERE key = 'settings' AND json_extract(value, '$.widths') = 'auto';",
        )
        .unwrap();
        back_to(&db, 4);
        drop(db);
        let settings = Project::open(&f.root).unwrap().settings().unwrap();
        assert_eq!(settings.encoder, expected);
        assert_eq!(settings.pseudo_calibration, kept.pseudo_calibration);
        settings.check().unwrap();
    }
}

#[test]
fn a_project_that_drew_by_score_keeps_a_query_with_noise() {
    for (was_on, expected) in [(true, Policy::UncertainNoisy), (false, Policy::Uncertain)] {
        let f = folders(2, 2);
        create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
        let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
        db.execute_batch(&format!(
            "UPDATE meta SET value = json_set(value, '$.query_stochastic', json('{was_on}')) WHERE key = 'settings';"
        ))
        .unwrap();
        back_to(&db, 5);
        drop(db);
        assert_eq!(Project::open(&f.root).unwrap().settings().unwrap().policy, expected);
    }
}

#[test]
fn a_project_that_was_trained_earlier_keeps_its_budget_and_network_and_one_that_was_not_takes_those_of_today() {
    for has_round in [true, false] {
        let f = folders(2, 2);
        let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
        if has_round {
            std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
            let report = Report { round: 1, active: true, ..Default::default() };
            project.record_round(&Finished { report, settings: Settings::default() }).unwrap();
        }
        drop(project);
        let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
        db.execute_batch(
            "UPDATE meta SET value = json_set(json_remove(value, '$.budget', '$.encoder'), '$.widths', json('[16,32,64,128,256]'))
                 WHERE key = 'settings';
             UPDATE rounds SET settings = json_remove(settings, '$.budget', '$.encoder');",
        )
        .unwrap();
        back_to(&db, 3);
        drop(db);
        let project = Project::open(&f.root).unwrap();
        let earlier = (Budget::Epochs, Encoder::Unet);
        let of = |settings: &Settings| (settings.budget, settings.encoder);
        let expected = if has_round { earlier } else { of(&Settings::default()) };
        assert_eq!(of(&project.settings().unwrap()), expected);
        assert!(project.rounds().unwrap().iter().all(|round| of(&round.settings) == earlier));
        assert!(f.root.join("qualm-version-3.db").is_file());
    }
}

#[test]
fn a_switch_of_earlier_projects_says_along_which_axes_images_are_mirrored() {
    for (was_on, now, then) in [(true, Flips::Auto, Flips::Both), (false, Flips::None, Flips::None)] {
        let f = folders(2, 2);
        let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
        std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
        let report = Report { round: 1, active: true, ..Default::default() };
        project.record_round(&Finished { report, settings: Settings::default() }).unwrap();
        drop(project);
        let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
        db.execute_batch(&format!(
            "UPDATE meta SET value = json_set(value, '$.augment_flips', json('{was_on}')) WHERE key = 'settings';
             UPDATE rounds SET settings = json_set(settings, '$.augment_flips', json('{was_on}'));"
        ))
        .unwrap();
        back_to(&db, 7);
        drop(db);
        let project = Project::open(&f.root).unwrap();
        assert_eq!(project.settings().unwrap().augment_flips, now);
        assert_eq!(project.rounds().unwrap()[0].settings.augment_flips, then);
    }
}
