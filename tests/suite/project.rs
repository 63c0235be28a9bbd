//! Projects on disk: made, labelled, reopened; bad input refused with nothing lost.

use std::path::{Path, PathBuf};

use image::{GrayImage, Luma, RgbImage};
use qualm::domain::edit::{Gesture, Step};
use qualm::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use qualm::domain::mask_values::{MaskValue, ValueRules};
use qualm::domain::query::Proposal;
use qualm::domain::remedy::Remedy;
use qualm::domain::round::{Reason, Report};
use qualm::domain::settings::Settings;
use qualm::domain::study::{Acceptance, ImageId, Review, Side};
use qualm::domain::tiles::Tile;
use qualm::project::groups::{GroupRule, Grouped};
use qualm::project::{ImportPlan, ImportRules, Project, ProjectError, is_within};
use qualm::raster;
use tempfile::TempDir;

use crate::create;

pub(crate) struct Folders {
    temp: TempDir,
    pub images: PathBuf,
    pub masks: PathBuf,
    pub root: PathBuf,
}

/// A folder of `count` images of 40 × 30 with a disc each, and 0/255 masks for the first `masked`.
pub(crate) fn folders(count: usize, masked: usize) -> Folders {
    let temp = TempDir::new().unwrap();
    let [images, masks, root] = ["images", "masks", "project"].map(|name| temp.path().join(name));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&masks).unwrap();
    for i in 0..count {
        let inside = |x: u32, y: u32| (x as i32 - 20).pow(2) + (y as i32 - 15).pow(2) < 60 + i as i32;
        let picture =
            RgbImage::from_fn(40, 30, |x, y| if inside(x, y) { [90, 60, 50] } else { [200, 170, 150] }.into());
        picture.save(images.join(format!("case_{i:02}.png"))).unwrap();
        if i < masked {
            let mask = GrayImage::from_fn(40, 30, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]));
            mask.save(masks.join(format!("case_{i:02}_segmentation.png"))).unwrap();
        }
    }
    Folders { temp, images, masks, root }
}

fn stroke(mask: &mut Mask, row: usize, class: u8) -> Step {
    let mut gesture = Gesture::default();
    gesture.paint(mask, row, 3..20, class);
    gesture.finish(mask).unwrap().into()
}

#[test]
fn a_project_is_made_labelled_and_reopened() {
    let f = folders(6, 4);
    let (mut project, import) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    assert_eq!((import.images, import.masks), (6, 4));
    assert!(import.problems.is_empty(), "{:?}", import.problems);
    let images = project.images().unwrap();
    assert_eq!(images.iter().filter(|i| i.labelled).count(), 4);
    let exported = raster::read_label(&f.root.join("labels/case_00.png")).unwrap();
    assert_eq!(exported, project.label(images[0].id).unwrap().mask);
    assert_eq!((exported.get(20, 15), exported.get(0, 0)), (Some(1), Some(BACKGROUND)));

    let id = images[5].id;
    let mut label = project.label(id).unwrap();
    assert_eq!(label.mask, Mask::filled(40, 30, UNLABELLED));
    for (position, (row, class)) in [(2, 1), (3, 1), (4, 0)].into_iter().enumerate() {
        let step = stroke(&mut label.mask, row, class);
        project.commit_step(id, position, &step).unwrap();
        label.history.push(step);
    }
    drop(project);
    let project = Project::open(&f.root).unwrap();
    let reopened = project.label(id).unwrap();
    assert_eq!(reopened.mask, label.mask);
    assert_eq!(reopened.history.done(), 3);
}

#[test]
fn undo_redo_and_new_steps_survive_reopening_whenever_the_file_was_exported() {
    let f = folders(1, 0);
    let (mut project, _) = create(&f.root, &f.images, None, &Settings::default()).unwrap();
    let id = project.images().unwrap()[0].id;
    let mut label = project.label(id).unwrap();
    let mut seed = 12345u32;
    for turn in 0..200 {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match seed >> 28 {
            0..4 => {
                if label.history.undo(&mut label.mask).unwrap().is_some() {
                    project.move_to(id, label.history.done(), None).unwrap();
                }
            }
            4..6 => {
                if label.history.redo(&mut label.mask).unwrap().is_some() {
                    project.move_to(id, label.history.done(), None).unwrap();
                }
            }
            6..8 => project.export_labels().unwrap(),
            _ => {
                let mut gesture = Gesture::default();
                gesture.paint(&mut label.mask, turn % 30, 0..turn % 37 + 1, (turn % 3) as u8);
                if let Some(edit) = gesture.finish(&label.mask) {
                    let step = Step { edit, accepts: turn % 11 == 0 };
                    project.commit_step(id, label.history.done(), &step).unwrap();
                    label.history.push(step);
                }
            }
        }
        let stored = project.label(id).unwrap();
        assert_eq!(stored.mask, label.mask, "after turn {turn}");
        assert_eq!(stored.history.done(), label.history.done());
    }
    project.export_labels().unwrap();
    let file = raster::read_label(&project.label_path("case_00")).unwrap();
    assert_eq!(file, label.mask);
}

#[test]
fn validation_is_drawn_once_and_grows_with_the_labels() {
    let f = folders(20, 10);
    let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    let of = |project: &mut Project| -> Vec<String> {
        let labelled = project.labelled_images(&Settings::default()).unwrap();
        labelled.into_iter().filter(|i| i.side == Side::Validation).map(|i| i.name).collect()
    };
    let first = of(&mut project);
    assert_eq!(first.len(), 2);
    assert_eq!(first, of(&mut project));
    for image in project.images().unwrap().into_iter().filter(|i| !i.labelled) {
        project.commit_step(image.id, 0, &Step { edit: Default::default(), accepts: true }).unwrap();
    }
    let grown = of(&mut project);
    assert!((2..=6).contains(&grown.len()), "later images join by hash: {grown:?}");
    assert!(first.iter().all(|name| grown.contains(name)));
}

fn failure(root: &Path, images: &Path, masks: Option<&Path>) -> ProjectError {
    create(root, images, masks, &Settings::default()).err().expect("an error")
}

#[test]
fn bad_input_gets_one_clear_line_and_leaves_nothing_behind() {
    let f = folders(2, 0);
    let empty = f.temp.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(failure(&f.root, &empty, None).to_string().contains("no image"));
    assert!(!f.root.exists());
    assert!(failure(&f.root, &f.temp.path().join("nowhere"), None).to_string().contains("nowhere"));
    assert!(matches!(Project::open(&empty).err(), Some(ProjectError::NotAProject(_))));

    drop(create(&f.root, &f.images, None, &Settings::default()).unwrap());
    assert!(matches!(failure(&f.root, &f.images, None), ProjectError::AlreadyAProject(_)));
    let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let newer = Project::open(&f.root).err().unwrap();
    assert!(matches!(newer, ProjectError::NewerVersion { found: 99, .. }));
    assert!(newer.to_string().contains("update Qualm"));
}

#[test]
fn a_truncated_image_and_a_mask_of_another_size_are_told_and_the_rest_is_taken() {
    let f = folders(3, 2);
    std::fs::write(f.images.join("broken.jpg"), [0xff, 0xd8, 0xff, 0xe0, 0, 16]).unwrap();
    GrayImage::new(7, 7).save(f.masks.join("case_00_segmentation.png")).unwrap();
    let (project, import) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    assert_eq!((import.images, import.masks), (3, 1));
    assert_eq!(import.problems.len(), 2, "{:?}", import.problems);
    assert!(import.problems[0].contains("broken.jpg"));
    assert!(import.problems[1].contains("7 × 7"));
    assert_eq!(project.images().unwrap().len(), 3);
}

#[test]
fn masks_join_a_project_and_unclear_values_are_asked_about() {
    let f = folders(4, 1);
    let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    let id = project.images().unwrap()[1].id;
    let mut label = project.label(id).unwrap();
    let step = stroke(&mut label.mask, 2, 1);
    project.commit_step(id, 0, &step).unwrap();
    let kept = project.label(project.images().unwrap()[0].id).unwrap().mask;

    let more = f.temp.path().join("more");
    std::fs::create_dir(&more).unwrap();
    for i in 0..3 {
        let stripes = GrayImage::from_fn(40, 30, |x, _| Luma([[0, 85, 170, 255][x as usize / 10]]));
        stripes.save(more.join(format!("case_{i:02}_mask.png"))).unwrap();
    }
    let rules = |map: &[(i64, u8)]| {
        let map = map.iter().map(|(value, class)| (MaskValue::Number(*value), *class)).collect();
        ImportRules { values: ValueRules { map: Some(map), ..Default::default() }, ..Default::default() }
    };
    let plan = project.plan_masks(&more, &ImportRules::default(), &|_, _| {}).unwrap();
    let error = project.import_masks(&plan, &|_, _| {}).err().unwrap().to_string();
    assert!(error.contains("0, 85, 170, 255"), "{error}");
    assert_eq!(project.images().unwrap().iter().filter(|i| i.labelled).count(), 1, "nothing was taken");
    let partly = project.plan_masks(&more, &rules(&[(85, 1), (170, 2)]), &|_, _| {}).unwrap();
    let error = project.import_masks(&partly, &|_, _| {}).err().unwrap().to_string();
    assert!(error.contains("255"), "a value that is not named is an error: {error}");

    let plan = project.plan_masks(&more, &rules(&[(85, 1), (170, 2), (255, UNLABELLED)]), &|_, _| {}).unwrap();
    let import = project.import_masks(&plan, &|_, _| {}).unwrap();
    assert_eq!(import.masks, 2);
    assert_eq!(project.classes().unwrap().len(), 2);
    let mut imported = project.label(id).unwrap();
    let at = |mask: &Mask| [5, 15, 25, 35].map(|x| mask.get(x, 20).unwrap());
    assert_eq!(at(&imported.mask), [BACKGROUND, 1, 2, UNLABELLED]);
    imported.history.undo(&mut imported.mask).unwrap();
    assert_eq!(imported.mask, label.mask, "an import is a step that can be undone");
    assert_eq!(project.label(project.images().unwrap()[0].id).unwrap().mask, kept, "a label accepted before stays");
}

#[test]
fn a_pseudo_label_waits_for_a_word_and_never_covers_a_human_one() {
    let f = folders(5, 1);
    let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    let ids: Vec<ImageId> = project.images().unwrap().iter().map(|image| image.id).collect();
    let finished = |round| qualm::project::Finished {
        report: Report { round, active: true, ..Report::default() },
        settings: Settings::default(),
    };
    std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
    project.record_round(&finished(1)).unwrap();
    let made = Mask::filled(8, 6, 1);
    let labels: Vec<(ImageId, Mask)> = ids.iter().map(|id| (*id, made.clone())).collect();
    let state = |project: &Project, place: usize| project.images().unwrap()[place].pseudo;
    let score = |project: &mut Project, labels: &[(ImageId, Mask)]| {
        project.record_scores(&finished(1).report, &[], &[], labels).unwrap();
    };
    score(&mut project, &labels);
    assert_eq!(state(&project, 0), None, "a labelled image gets none");
    assert_eq!(state(&project, 1), Some(Review::Unreviewed));
    assert_eq!(project.pseudo_label(ids[1]).unwrap().unwrap(), made);

    project.set_pseudo(ids[1], Review::Accepted).unwrap();
    project.set_pseudo(ids[2], Review::Rejected).unwrap();
    let mut mask = project.label(ids[3]).unwrap().mask;
    project.commit_step(ids[3], 0, &stroke(&mut mask, 5, 1)).unwrap();
    assert_eq!(state(&project, 3), None, "a stroke takes the machine's label away");

    let other: Vec<(ImageId, Mask)> = ids.iter().map(|id| (*id, Mask::filled(8, 6, 0))).collect();
    score(&mut project, &other);
    assert_eq!(project.pseudo_label(ids[1]).unwrap().unwrap(), made, "what was accepted stays as it is");
    assert_eq!(state(&project, 2), Some(Review::Rejected));
    assert_eq!(state(&project, 3), None, "what a person has painted gets none");
    assert_eq!(project.pseudo_label(ids[4]).unwrap().unwrap(), other[4].1, "an unreviewed one is replaced");
    score(&mut project, &[]);
    assert_eq!(state(&project, 4), None, "and goes where the network is not sure any more");
    project.set_pseudo(ids[1], Review::Unreviewed).unwrap();
    score(&mut project, &[]);
    assert_eq!(state(&project, 1), None, "revoked, it waits as the others do");

    score(&mut project, &other);
    project.set_pseudo(ids[1], Review::Accepted).unwrap();
    project.activate(1).unwrap();
    assert_eq!(state(&project, 1), Some(Review::Accepted));
    assert_eq!(state(&project, 4), None, "what waits is another model's than the one made active");
    project.add_class("second").unwrap();
    assert_eq!(state(&project, 1), None, "made by a network that did not know the class");
    assert_eq!(state(&project, 2), Some(Review::Rejected));
}

#[test]
fn groups_are_read_off_folders_names_and_tables() {
    let f = folders(0, 0);
    for (folder, name) in [("a", "x_1.png"), ("a", "x_2.png"), ("b", "x_1.png")] {
        std::fs::create_dir_all(f.images.join(folder)).unwrap();
        RgbImage::new(8, 8).save(f.images.join(folder).join(name)).unwrap();
    }
    let (mut project, import) = create(&f.root, &f.images, None, &Settings::default()).unwrap();
    assert_eq!(import.images, 3, "images in folders are taken in, two of one name among them");
    let groups = |project: &Project| -> Vec<Option<String>> {
        project.images().unwrap().into_iter().map(|image| image.group).collect()
    };
    let some = |names: [&str; 3]| names.map(|name| Some(name.to_owned())).to_vec();
    let grouped = |images, groups| Grouped { images, groups, left_out: 0 };
    assert_eq!(project.set_groups(&GroupRule::read("folder").unwrap(), false).unwrap(), grouped(3, 2));
    assert_eq!(groups(&project), some(["a", "a", "b"]));
    assert_eq!(
        project.set_groups(&GroupRule::read("folder:2").unwrap(), false).unwrap(),
        grouped(3, 1),
        "all in images/"
    );
    project.set_groups(&GroupRule::read("pattern:_([0-9])").unwrap(), false).unwrap();
    assert_eq!(groups(&project), some(["1", "2", "1"]));
    let table = f.temp.path().join("patients.csv");
    std::fs::write(&table, "name,patient\nx_1, p7\nx_2.png,p8\nother,p9\n").unwrap();
    let rule = GroupRule::read(&format!("csv:{}", table.display())).unwrap();
    assert_eq!(project.set_groups(&rule, false).unwrap(), grouped(3, 2));
    assert_eq!(groups(&project), some(["p7", "p8", "p7"]));
    std::fs::write(&table, "name;patient\nb/x_1.png;p3\nx_1;p1\n").unwrap();
    let rule = GroupRule::read(&format!("csv:{}", table.display())).unwrap();
    assert_eq!(project.set_groups(&rule, false).unwrap(), grouped(2, 2));
    assert_eq!(groups(&project), [Some("p1".to_owned()), None, Some("p3".to_owned())], "semicolons, and paths");
    for bad in ["folders", "folder:0", "pattern:(", "csv:/nowhere.csv"] {
        assert!(matches!(GroupRule::read(bad), Err(ProjectError::BadGroups { .. })), "{bad}");
    }
}

#[test]
fn what_a_label_cost_is_added_up() {
    let f = folders(3, 0);
    let (mut project, _) = create(&f.root, &f.images, None, &Settings::default()).unwrap();
    let id = project.images().unwrap()[0].id;
    let accepted = |at_s, seconds, round, dice| {
        let (round, dice) = (Some(round), Some(dice));
        Acceptance { image: id, at_s, seconds, round, dice }
    };
    project.record_acceptance(&accepted(10, 4.0, 1, 0.75)).unwrap();
    project.record_acceptance(&accepted(20, 3.0, 1, 0.5)).unwrap();
    assert_eq!(project.acceptances().unwrap(), [accepted(20, 7.0, 1, 0.5)], "corrected further");
    project.record_acceptance(&accepted(30, 2.0, 2, 1.0)).unwrap();
    assert_eq!(project.acceptances().unwrap(), [accepted(30, 9.0, 1, 0.5)], "round 2 has learned from the label");
}

#[test]
fn a_project_is_not_made_among_its_images_or_masks() {
    let f = folders(2, 2);
    let labels = f.root.join("labels");
    std::fs::create_dir_all(&labels).unwrap();
    for name in ["case_00.png", "case_01.png"] {
        std::fs::copy(f.images.join(name), labels.join(name)).unwrap();
    }
    for (root, images, masks) in
        [(&f.images, &f.images, None), (&f.root, &labels, None), (&f.root, &f.images, Some(labels.as_path()))]
    {
        let refused = failure(root, images, masks);
        assert!(matches!(refused, ProjectError::AmongImages(_)), "{refused}");
        assert!(!root.join("qualm.db").exists());
    }
    for root in [f.images.join("project"), f.temp.path().to_owned()] {
        let (_, import) = create(&root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
        assert_eq!((import.images, import.masks), (2, 2), "in a folder of the images, or above it");
    }
}

#[test]
fn a_project_in_the_folder_of_its_images_takes_in_none_of_its_own_files() {
    let f = folders(2, 1);
    drop(create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap());
    // As an earlier version made it.
    for name in ["case_00.png", "case_01.png"] {
        std::fs::copy(f.images.join(name), f.root.join(name)).unwrap();
    }
    let thumbnails = f.root.join("cache/thumbnails");
    std::fs::create_dir_all(&thumbnails).unwrap();
    RgbImage::new(8, 8).save(thumbnails.join("1.png")).unwrap();
    assert!(f.root.join("labels/case_00.png").is_file());
    let found = raster::folder::list(&f.root, &[]).unwrap();
    let names: Vec<String> = found.files.iter().map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(names, ["case_00.png", "case_01.png"]);
    assert!(found.others.is_empty(), "{:?}", found.others);
}

#[test]
fn a_mask_goes_only_to_the_image_that_is_surely_its() {
    let f = folders(0, 0);
    for folder in ["p1", "p2", "p3"] {
        std::fs::create_dir_all(f.images.join(folder)).unwrap();
        std::fs::create_dir_all(f.masks.join(folder)).unwrap();
        RgbImage::new(8, 8).save(f.images.join(folder).join("s1.png")).unwrap();
    }
    GrayImage::from_pixel(8, 8, Luma([255])).save(f.masks.join("p2/s1.png")).unwrap();
    let (project, import) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    assert_eq!(import.masks, 1, "one patient's mask is not another's");
    let labelled: Vec<PathBuf> = project.images().unwrap().into_iter().filter(|i| i.labelled).map(|i| i.path).collect();
    assert!(labelled[0].ends_with("p2/s1.png"), "{labelled:?}");
}

#[test]
fn groups_set_after_the_draw_never_leave_nothing_to_learn_from() {
    let f = folders(10, 10);
    let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    let drawn = project.labelled_images(&Settings::default()).unwrap();
    assert!(drawn.iter().any(|i| i.side == Side::Validation) && drawn.iter().any(|i| i.side == Side::Training));
    let refused = project.set_groups(&GroupRule::read("pattern:case").unwrap(), false).unwrap_err();
    assert_eq!(refused.remedy(), Some(Remedy::RedrawValidation), "{refused}");
    assert!(project.images().unwrap().iter().all(|image| image.group.is_none()), "the groups are as they were");

    let pairs = project.set_groups(&GroupRule::read("pattern:case_.([0-4])").unwrap(), false).unwrap();
    let in_validation = drawn.iter().filter(|i| i.side == Side::Validation).count();
    assert!(pairs.left_out <= in_validation, "only those grouped with validation: {pairs:?}");
    project.set_groups(&GroupRule::read("pattern:case").unwrap(), true).unwrap();
    assert!(project.images().unwrap().iter().all(|image| image.side == Side::Undrawn), "drawn anew");
    let nothing = project.set_groups(&GroupRule::read("pattern:nowhere").unwrap(), false).unwrap_err().to_string();
    assert!(nothing.contains("matches none"), "{nothing}");
    assert!(project.images().unwrap().iter().all(|image| image.group.as_deref() == Some("case")));
}

#[test]
fn images_of_one_name_in_several_folders_are_told_apart() {
    let f = folders(2, 0);
    let files = [f.images.join("case_00.png"), f.images.join("case_01.png")];
    for patient in ["p1", "p2", "p3", "p4", "p5"] {
        std::fs::create_dir(f.images.join(patient)).unwrap();
        std::fs::copy(&files[0], f.images.join(patient).join("slice.png")).unwrap();
    }
    files.iter().for_each(|file| std::fs::remove_file(file).unwrap());
    let (mut project, _) = create(&f.root, &f.images, None, &Settings::default()).unwrap();
    let names: Vec<String> = project.images().unwrap().into_iter().map(|image| image.name).collect();
    assert_eq!(names, ["p1", "p2", "p3", "p4", "p5"].map(|patient| format!("{patient}/slice.png")));
    let mut accept = |place: usize| {
        let id = project.images().unwrap()[place].id;
        let mut mask = project.label(id).unwrap().mask;
        project.commit_step(id, 0, &Step { accepts: true, ..stroke(&mut mask, 5, 1) }).unwrap();
    };
    (0..5).for_each(&mut accept);
    let sides = project.labelled_images(&Settings::default()).unwrap();
    assert_eq!(sides.iter().filter(|image| image.side == Side::Validation).count(), 1, "they are not one group");
}

#[test]
fn a_draw_that_kept_nothing_for_validation_is_made_again() {
    let f = folders(8, 8);
    let (mut project, _) = create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap();
    project.set_groups(&GroupRule::read("folder").unwrap(), false).unwrap();
    let kept = |project: &mut Project| {
        let labelled = project.labelled_images(&Settings::default()).unwrap();
        labelled.iter().filter(|image| image.side == Side::Validation).count()
    };
    assert_eq!(kept(&mut project), 0, "all images are of one folder");
    project.set_groups(&GroupRule::read("pattern:(.*)").unwrap(), false).unwrap();
    let first = kept(&mut project);
    assert!(first > 0);
    assert_eq!(kept(&mut project), first);
}

#[test]
fn a_proposed_tile_is_there_when_the_project_is_opened_again() {
    let f = folders(2, 0);
    let (mut project, _) = create(&f.root, &f.images, None, &Settings::default()).unwrap();
    let image = project.images().unwrap()[1].id;
    let tile = Tile { left: 2, top: 3, width: 8, height: 4 };
    let proposal = Proposal { image, reason: Reason::MostUncertain, score: 0.1, tile: Some(tile) };
    project.record_proposals(&[proposal]).unwrap();
    drop(project);
    let images = Project::open(&f.root).unwrap().images().unwrap();
    assert_eq!(images.iter().map(|image| image.tile).collect::<Vec<_>>(), [None, Some(tile)]);
}

#[test]
fn a_project_from_somebody_else_cannot_write_outside_its_folder() {
    let f = folders(1, 1);
    drop(create(&f.root, &f.images, Some(&f.masks), &Settings::default()).unwrap());
    let db = rusqlite::Connection::open(f.root.join("qualm.db")).unwrap();
    db.execute_batch("UPDATE images SET stem = '../../outside'; UPDATE labels SET exported = -1;").unwrap();
    drop(db);
    let mut project = Project::open(&f.root).unwrap();
    assert!(matches!(project.images(), Err(ProjectError::Damaged("images"))));
    assert!(matches!(project.export_labels(), Err(ProjectError::Damaged("images"))));
    assert!(!f.temp.path().join("outside.png").exists());
}

#[test]
fn a_folder_is_within_another_wherever_its_path_and_its_links_lead() {
    let f = folders(0, 0);
    assert!(is_within(&f.images.join("new/deep"), &f.images));
    assert!(is_within(&f.masks.join("new/../../images"), &f.images));
    assert!(!is_within(&f.images.join("../elsewhere"), &f.images));
    #[cfg(unix)]
    {
        let link = f.temp.path().join("link");
        std::os::unix::fs::symlink(&f.images, &link).unwrap();
        assert!(is_within(&link.join("new"), &f.images));
    }
}

#[test]
fn folders_whose_links_cross_are_looked_into_once() {
    let temp = TempDir::new().unwrap();
    let (images, outside) = (temp.path().join("images"), temp.path().join("outside"));
    // Each of twelve folders links to all others: followed blindly, more paths than could ever be walked.
    for number in 0..12 {
        let folder = outside.join(number.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        GrayImage::new(4, 4).save(folder.join("a.png")).unwrap();
        for other in (0..12).filter(|other| *other != number) {
            std::os::unix::fs::symlink(outside.join(other.to_string()), folder.join(format!("to{other}"))).unwrap();
        }
    }
    std::fs::create_dir_all(images.join("own")).unwrap();
    GrayImage::new(4, 4).save(images.join("own/b.png")).unwrap();
    std::os::unix::fs::symlink(images.join("own"), images.join("again")).unwrap();
    std::os::unix::fs::symlink(outside.join("0"), images.join("linked")).unwrap();
    let plan = ImportPlan::read(&images, None, None, &ImportRules::default(), &|_, _| ()).unwrap();
    let names: Vec<_> = plan.images.images.iter().map(|image| image.path.display().to_string()).collect();
    assert_eq!(names.len(), 13, "{names:?}");
    assert!(names.contains(&"own/b.png".to_owned()), "under its own name, not the link's");
    assert!(plan.images.left_out.iter().any(|line| line.contains("again") && line.contains("already")));
}
