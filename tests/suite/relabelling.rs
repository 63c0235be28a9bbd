//! Whole-label changes: classes merged and moved; labels copied, cleared, unaccepted, and replaced by an import.

use std::path::PathBuf;

use egui::{Key, Modifiers};
use egui_kittest::kittest::Queryable;
use qualm::app::command::Command;
use qualm::domain::edit::Gesture;
use qualm::domain::mask::UNLABELLED;
use qualm::domain::query::Proposal;
use qualm::domain::remedy::Remedy;
use qualm::domain::round::Reason;
use qualm::domain::settings::Settings;
use qualm::domain::study::{ClassMap, ImageId, ImageRecord};
use qualm::project::{ExportFormat, ExportPlan, ExportWhat, Finished, ImportRules, Label, Project, ProjectError, demo};
use qualm::raster;
use qualm::ui::{First, Window};
use qualm::worker::{ImportTarget, JobKind, Outcome, Write, model_files};
use tempfile::TempDir;

use crate::driven::{Driven, share, tiny_demo};
use crate::run_job;
use crate::workday::opened;

fn labelled(project: &Project) -> Vec<ImageRecord> {
    project.images().unwrap().into_iter().filter(|image| image.labelled).collect()
}

#[test]
fn a_class_that_is_deleted_leaves_every_label_and_rounds_trained_with_it_cannot_be_used() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    project.add_class("second").unwrap();
    std::fs::create_dir_all(project.unfinished_model_folder(1)).unwrap();
    let report = qualm::domain::round::Report { round: 1, active: true, ..Default::default() };
    project.record_round(&Finished { report, settings: Settings::default() }).unwrap();
    let before: Vec<_> = labelled(&project).iter().map(|i| (i.id, project.label(i.id).unwrap().mask)).collect();
    let moved = ClassMap::moved(&project.classes().unwrap(), 1, true).unwrap();
    project.map_classes(&moved).unwrap();
    for (image, mask) in &before {
        let now = project.label(*image).unwrap();
        let expected: Vec<u8> = mask.pixels().iter().map(|class| if *class == 1 { 2 } else { *class }).collect();
        assert_eq!(now.mask.pixels(), expected);
        assert!(!now.history.can_redo() && (now.mask == *mask || !now.history.can_undo()));
    }
    assert_eq!(project.classes().unwrap()[0].name, "second");
    assert!(project.active_round().unwrap().is_none());
    assert!(matches!(project.activate(1), Err(ProjectError::OtherClasses(1))));
    // The label files follow.
    project.export_labels().unwrap();
    let image = &labelled(&project)[0];
    assert_eq!(raster::read_label(&project.label_path(&image.stem)).unwrap(), project.label(image.id).unwrap().mask);
    // Images whose labels become empty count as unlabelled.
    let forgotten = ClassMap::without(&project.classes().unwrap(), 2, UNLABELLED).unwrap();
    project.map_classes(&forgotten).unwrap();
    assert_eq!(project.classes().unwrap().len(), 1);
    assert!(labelled(&project).iter().all(|i| !project.label(i.id).unwrap().mask.pixels().contains(&2)));
}

#[test]
fn only_labels_that_had_a_changed_class_lose_their_history_and_proposals_without_a_network_stay() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    project.add_class("second").unwrap();
    let free: Vec<ImageId> = project.images().unwrap().iter().filter(|i| !i.labelled).map(|i| i.id).collect();
    let paint = |project: &mut Project, image: ImageId, class: u8| {
        let Label { mut mask, history } = project.label(image).unwrap();
        let mut gesture = Gesture::default();
        gesture.paint(&mut mask, 5, 3..20, class);
        let step = gesture.finish(&mask).unwrap().into();
        project.commit_step(image, history.done(), &step).unwrap();
    };
    // In the first the class is seen, in the second it was painted over.
    for (image, class) in [(free[0], 2), (free[1], 2), (free[1], 1)] {
        paint(&mut project, image, class);
    }
    let proposal = |image, reason| Proposal { image, reason, score: 0.0, tile: None };
    let proposals = [proposal(free[3], Reason::MostUncertain), proposal(free[4], Reason::Representative)];
    project.record_proposals(&proposals).unwrap();
    let merged = ClassMap::without(&project.classes().unwrap(), 2, 1).unwrap();
    project.map_classes(&merged).unwrap();
    let label = |image: ImageId| project.label(image).unwrap();
    assert!(free[..2].iter().all(|image| label(*image).mask.get(10, 5) == Some(1)));
    assert!(free[..2].iter().all(|image| !label(*image).history.can_undo()));
    assert!(labelled(&project).iter().all(|image| label(image.id).history.can_undo()));
    let images = project.images().unwrap();
    assert_eq!(images.iter().filter(|image| image.painted).count(), 26);
    let proposed: Vec<ImageId> = images.iter().filter(|image| image.proposed.is_some()).map(|image| image.id).collect();
    assert_eq!(proposed, [free[4]]);
}

#[test]
fn two_classes_never_have_one_name() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    project.add_class("vessel").unwrap();
    for refused in [project.add_class(" Vessel").map(drop), project.rename_class(1, "vessel")] {
        assert!(matches!(refused, Err(ProjectError::SameClassName(name)) if name.eq_ignore_ascii_case("vessel")));
    }
    project.rename_class(2, "vessel").unwrap();
    assert_eq!(project.class_names().unwrap(), ["lesion", "vessel"]);
}

#[test]
fn a_label_that_cannot_be_undone_stays_accepted() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    project.add_class("second").unwrap();
    let moved = ClassMap::moved(&project.classes().unwrap(), 1, true).unwrap();
    project.map_classes(&moved).unwrap();
    let has_second = |image: &ImageRecord| project.label(image.id).unwrap().mask.pixels().contains(&2);
    let image = labelled(&project).into_iter().find(has_second).unwrap();
    let mut label = project.label(image.id).unwrap();
    assert!(label.history.undo(&mut label.mask).unwrap().is_none());
    // A step after it can be undone.
    project.clear_label(image.id).unwrap();
    let mut cleared = project.label(image.id).unwrap();
    let undone = cleared.history.undo(&mut cleared.mask).unwrap().unwrap();
    assert_eq!((undone.labelled, &cleared.mask), (Some(true), &label.mask));
    assert!(cleared.history.undo(&mut cleared.mask).unwrap().is_none());
}

#[test]
fn a_cleared_label_is_accepted_again_only_as_long_as_it_is_there() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    let image = labelled(&project).remove(0).id;
    project.clear_label(image).unwrap();
    let mut states = Vec::new();
    for is_undo in [true, true, false, false, true] {
        let Label { mut mask, mut history } = project.label(image).unwrap();
        let toggled = if is_undo { history.undo(&mut mask) } else { history.redo(&mut mask) };
        project.move_to(image, history.done(), toggled.unwrap().unwrap().labelled).unwrap();
        states.push((project.image(image).unwrap().unwrap().labelled, mask.is_unlabelled()));
    }
    assert_eq!(states, [(true, false), (false, true), (true, false), (false, true), (true, false)]);
}

#[test]
fn a_network_is_taken_over_only_where_its_classes_are_those_of_the_project() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let run = |kind: JobKind| run_job(&root, kind);
    run(JobKind::Round(None)).unwrap();
    let folder = temp.path().join("model");
    model_files::export(&Project::open_to_read(&root).unwrap(), None, &folder, false).unwrap();
    Project::open(&root).unwrap().rename_class(1, "another").unwrap();
    let import = |ignores_names| JobKind::ImportModel { folder: folder.clone(), ignores_names };
    let reason = run(import(false)).unwrap_err();
    assert!(reason.text.contains("another") && reason.remedy == Some(Remedy::IgnoreNames), "{reason}");
    let Ok(Outcome::Round(report)) = run(import(true)) else { panic!("a round") };
    assert!(report.imported && report.round == 2 && report.steps == 0);
    let rounds = Project::open_to_read(&root).unwrap().rounds().unwrap();
    assert_eq!(report.validation, rounds[0].report.validation, "the same network on the same images");
    // Exports into the project's own files are refused.
    let project = Project::open_to_read(&root).unwrap();
    assert!(model_files::export(&project, None, &root.join("models/round-001"), true).is_err());
}

#[test]
fn an_import_replaces_labels_only_where_it_is_told_to() {
    let temp = TempDir::new().unwrap();
    let (mut project, _) = demo::open_or_create(&temp.path().join("demo")).unwrap();
    let image = labelled(&project).remove(0);
    let out = temp.path().join("masks");
    let plan = ExportPlan { format: ExportFormat::Png, what: ExportWhat::Labels, out: out.clone(), overwrites: false };
    project.export(&plan, &|_, _| {}).unwrap();
    let mask = project.label(image.id).unwrap().mask;
    project.clear_label(image.id).unwrap();
    assert!(!project.image(image.id).unwrap().unwrap().labelled);
    let other = labelled(&project).remove(0);
    let whole = qualm::domain::mask::Mask::filled(other.width, other.height, 1);
    raster::write_label(&out.join(format!("{}.png", other.stem)), &whole, &[]).unwrap();
    for replaces in [false, true] {
        let rules = ImportRules { replaces, ..ImportRules::default() };
        let masks = project.plan_masks(&out, &rules, &|_, _| {}).unwrap();
        let import = project.import_masks(&masks, &|_, _| {}).unwrap();
        assert_eq!(import.masks, if replaces { 24 } else { 1 });
        assert_eq!(project.label(image.id).unwrap().mask, mask, "what was cleared is there again");
        assert_eq!(project.label(other.id).unwrap().mask == whole, replaces);
    }
    assert!(project.label(other.id).unwrap().history.can_undo());
}

#[test]
fn in_the_window_classes_are_merged_after_a_word_labels_copied_and_those_of_the_list_cleared() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut driven = Driven::new(First::Project(root.clone()), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.state_mut().app.write(Write::AddClass("second".to_owned()));
    driven.window.run_steps(3);
    driven.window.state_mut().app.push(Command::Class(2));
    driven.drag("Image canvas", &[(0.4, 0.45), (0.6, 0.55)]);
    let second = share(&driven.mask(), 2);
    assert!(second > 0.0);

    // Copied into another image of the same size, as one step.
    let size = |mask: &qualm::domain::mask::Mask| (mask.width(), mask.height());
    let (first, copied) = (driven.project().current.id().unwrap(), driven.mask());
    driven.key(Modifiers::SHIFT, Key::C);
    let alike = driven
        .project()
        .study
        .images
        .iter()
        .find(|image| image.id != first && (image.width, image.height) == size(&copied) && !image.painted);
    let alike = alike.expect("demo images of one size").id;
    driven.window.state_mut().app.show(alike);
    driven.until("it is open", move |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.image == alike)
    });
    driven.key(Modifiers::SHIFT, Key::V);
    driven.until("it is pasted", |window| window.app.project().unwrap().editor().unwrap().can_undo());
    assert_eq!(driven.mask(), copied);

    // Merged: asked first, then every label.
    driven.window.get_by_label("second").click_secondary();
    driven.window.run_steps(3);
    driven.click("Merge or delete…");
    driven.window.get_by_label_contains("cannot be undone");
    driven.window.get_by_label("Its pixels become").click();
    driven.window.run_steps(3);
    let first_class = driven.project().study.classes[0].name.clone();
    driven.window.get_all_by_label(&first_class).last().unwrap().click();
    driven.window.run_steps(3);
    driven.click("Apply");
    driven.until("one class is left", |window| window.app.project().is_some_and(|p| p.study.classes.len() == 1));
    driven.until("an image is open", Driven::image_is_open);
    assert!((share(&driven.mask(), 1) - second).abs() < 1e-9 && share(&driven.mask(), 2) == 0.0);

    // All labels of the list.
    driven.window.state_mut().app.push(Command::ListedLabels);
    driven.window.run_steps(3);
    driven.click("Undo acceptance of 24 images");
    driven.click("Undo acceptance");
    driven.until("none is labelled", |window| {
        window.app.project().is_some_and(|p| p.study.images.iter().all(|image| !image.labelled))
    });
    driven.window.state_mut().app.push(Command::ListedLabels);
    driven.window.run_steps(3);
    driven.click("Clear the labels of 26 images");
    driven.click("Clear labels");
    driven.until("it is told", |window| window.app.notices.iter().any(|notice| notice.text.contains("labels cleared")));
    drop(driven);
    let project = Project::open_to_read(&root).unwrap();
    for image in project.images().unwrap() {
        assert!(project.label(image.id).unwrap().mask.pixels().iter().all(|class| *class == UNLABELLED));
    }
}

#[test]
fn an_answer_that_enter_ends_is_taken_before_anything_is_imported() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let out = temp.path().join("masks");
    let plan = ExportPlan { format: ExportFormat::Png, what: ExportWhat::Labels, out: out.clone(), overwrites: false };
    let mut project = Project::open(&root).unwrap();
    project.export(&plan, &|_, _| {}).unwrap();
    project.clear_label(labelled(&project)[0].id).unwrap();
    drop(project);
    let mut driven = Driven::new(First::Project(root), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.state_mut().app.plan_import(ImportTarget::Masks(out), Settings::default());
    let is_planned = |window: &Window| window.app.import.as_ref().is_some_and(|import| import.summary.is_some());
    driven.until("the plan is there", is_planned);
    driven.click("Masks' names end in");
    driven.window.get_by_label("Masks' names end in").type_text("_other");
    driven.window.run_steps(2);
    driven.key(Modifiers::NONE, Key::Enter);
    let import = driven.window.state().app.import.as_ref().expect("it waits for the user");
    assert_eq!((import.rules.suffix.as_deref(), import.is_being_done), (Some("_other"), false));
}

#[test]
fn renaming_a_class_lets_the_keyboard_go() {
    let temp = TempDir::new().unwrap();
    let mut driven = Driven::new(First::Project(tiny_demo(temp.path())), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.state_mut().app.write(Write::AddClass("second".to_owned()));
    driven.window.run_steps(3);
    driven.window.get_by_label("second").click_secondary();
    driven.window.run_steps(3);
    driven.click("Rename");
    driven.window.get_by_label("Class name").type_text("second one");
    driven.window.run_steps(2);
    driven.click("Search names");
    assert!(driven.window.query_by_label("Class name").is_none(), "another text field was clicked");
    assert_eq!(driven.project().study.classes[1].name, "second one");
}

#[test]
fn a_new_class_is_named_by_what_is_typed_next() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    for (name, classes) in [("vessel", vec!["lesion", "vessel"]), ("lesion", vec!["lesion", "vessel", "class 3"])] {
        driven.window.get_by_label_contains("Add a class").click();
        driven.window.run_steps(3);
        driven.window.get_by_label("Class name").type_text(name);
        driven.window.run_steps(2);
        driven.key(Modifiers::NONE, Key::Enter);
        let names: Vec<_> = driven.project().study.classes.iter().map(|class| class.name.as_str()).collect();
        assert_eq!(names, classes, "no name is given twice");
    }
    let image = driven.project().current.id().unwrap();
    assert!(!driven.project().study.image(image).unwrap().labelled, "Enter ends the name alone");
}
