//! A day's work in the window: nothing is lost, nothing is done unasked, and every command is found.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT, Queryable};
use qualm::app::command::Command;
use qualm::app::{Gate, Gauge, Page};
use qualm::domain::mask::UNLABELLED;
use qualm::domain::query::Proposal;
use qualm::domain::round::Reason;
use qualm::domain::settings::{Budget, Settings};
use qualm::domain::study::{ImageId, Status};
use qualm::domain::tiles::Tile;
use qualm::project::Project;
use qualm::ui::First;
use tempfile::TempDir;

use crate::driven::{Driven, share, tiny_demo};

pub fn opened(temp: &TempDir) -> Driven {
    let root = tiny_demo(temp.path());
    let mut driven = Driven::new(First::Project(root), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven
}

#[test]
fn a_project_that_cannot_be_opened_leaves_the_open_one_as_it_is() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.drag("Image canvas", &[(0.4, 0.45), (0.6, 0.55)]);
    let painted = driven.mask();
    driven.key(Modifiers::COMMAND, Key::O);
    std::fs::create_dir(temp.path().join("nothing")).unwrap();
    let text = temp.path().join("nothing").display().to_string();
    driven.window.get_by_label("Project folder").type_text(&text);
    driven.window.run_steps(2);
    driven.click("Open");
    driven.until("the error is told", |window| window.app.notices.iter().any(|notice| notice.is_error));
    assert!(matches!(driven.window.state().app.page, Page::Project(_)));
    assert_eq!(driven.mask(), painted);
    assert_eq!(driven.window.get_by_label("Project folder").value().as_deref(), Some(text.as_str()), "what was typed");
    driven.key(Modifiers::NONE, Key::Escape);
    assert!(driven.window.query_by_label("Project folder").is_none(), "Esc closes the sheet");
    // It goes on: a further stroke is stored.
    driven.drag("Image canvas", &[(0.3, 0.7), (0.7, 0.7)]);
    driven.until("all is saved", |window| window.app.unsaved == 0);
    let (image, mask) = (driven.project().current.id().unwrap(), driven.mask());
    drop(driven);
    let project = Project::open_to_read(&temp.path().join("demo")).unwrap();
    assert_eq!(project.label(image).unwrap().mask, mask);
}

#[test]
fn an_acceptance_is_told_and_can_be_undone_from_another_image() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let first = driven.project().current.id().unwrap();
    driven.drag("Image canvas", &[(0.4, 0.45), (0.6, 0.55)]);
    let painted = driven.mask();
    driven.key(Modifiers::COMMAND, Key::Enter);
    driven.until("the next unlabelled image is open", move |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.image != first)
    });
    assert!(driven.project().study.image(first).unwrap().labelled);
    driven.window.get_by_label_contains("accepted");
    driven.click("Undo this");
    driven.until("the first image is open again", move |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.image == first)
    });
    assert!(!driven.project().study.image(first).unwrap().labelled);
    assert_eq!(driven.mask(), painted, "what was painted is there, what was not is not labelled");
}

#[test]
fn accepting_a_proposed_tile_leaves_the_rest_of_the_image_not_labelled() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    let record = project.images().unwrap().into_iter().find(|image| !image.labelled).unwrap();
    let tile =
        Tile { left: record.width / 4, top: record.height / 4, width: record.width / 2, height: record.height / 2 };
    let reason = Reason::MostUncertain;
    project.record_proposals(&[Proposal { image: record.id, reason, score: 0.2, tile: Some(tile) }]).unwrap();
    drop(project);
    let mut driven = Driven::new(First::Project(root.clone()), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.state_mut().app.show(record.id);
    let image = record.id;
    driven.until("it is open", move |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.image == image)
    });
    driven.window.get_by_label("Label the outlined tile");
    driven.drag("Image canvas", &[(0.45, 0.5), (0.55, 0.5)]);
    driven.key(Modifiers::NONE, Key::Enter);
    driven.until("it is accepted", move |window| {
        window.app.unsaved == 0
            && window.app.project().is_some_and(|p| p.study.image(image).is_some_and(|i| i.labelled))
    });
    driven.window.get_by_label_contains("outside the tile only what you painted is labelled");
    drop(driven);
    let mask = Project::open_to_read(&root).unwrap().label(image).unwrap().mask;
    for (place, class) in mask.pixels().iter().enumerate() {
        let is_inside = tile.contains(place % record.width, place / record.width);
        assert_eq!(*class != UNLABELLED, is_inside, "pixel {place}: {class}");
    }
    assert!(mask.pixels().contains(&1) && mask.pixels().contains(&0));
}

#[test]
fn a_new_query_is_gone_through_from_its_first_image() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.window.state_mut().app.push(Command::Propose);
    driven.window.run_steps(2);
    driven.until("images are proposed", |window| window.app.job.is_none());
    let rank = |driven: &Driven| {
        let image = driven.project().current.id().unwrap();
        match Status::of(driven.project().study.image(image).unwrap()) {
            Status::Proposed(_, rank) => Some(rank),
            _ => None,
        }
    };
    let ranked = |driven: &Driven, wanted: usize| -> ImageId {
        let images = &driven.project().study.images;
        images.iter().find(|image| image.proposed.is_some_and(|(_, rank)| rank == wanted)).unwrap().id
    };
    // The open image may happen to be in the query: the first proposal still comes first.
    let begin = if rank(&driven) == Some(1) { 2 } else { 1 };
    for expected in [begin, begin + 1] {
        driven.key(Modifiers::NONE, Key::N);
        driven.until("it is open", Driven::image_is_open);
        assert_eq!(rank(&driven), Some(expected));
    }
    let image = ranked(&driven, 5);
    driven.window.state_mut().app.show(image);
    driven.until("it is open", Driven::image_is_open);
    driven.key(Modifiers::NONE, Key::N);
    driven.until("it is open", Driven::image_is_open);
    assert_eq!(rank(&driven), Some(6), "from an image chosen by hand it goes on");
}

/// Sets a budget that no round of a test uses up.
fn train_for_hours(root: &Path) {
    let mut project = Project::open(root).unwrap();
    let settings = Settings { epochs: 100_000, budget: Budget::Epochs, ..project.settings().unwrap() };
    project.set_settings(&settings).unwrap();
}

#[test]
fn closing_the_window_asks_about_a_running_training_and_can_keep_what_it_has_learned() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    train_for_hours(&root);
    let mut driven = Driven::new(First::Project(root.clone()), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.key(Modifiers::COMMAND, Key::T);
    driven.until("a batch is done", |window| window.app.progress.as_ref().is_some_and(|p| p.loss.is_some()));
    driven.key(Modifiers::COMMAND, Key::W);
    driven.window.get_by_label_contains("Close project: a job is running");
    driven.key(Modifiers::COMMAND, Key::Q);
    driven.click("Keep working");
    assert!(driven.window.state().app.job.is_some());
    driven.key(Modifiers::COMMAND, Key::Q);
    driven.click("Finish training, then close");
    driven.until("the job has ended", |window| window.app.job.is_none());
    drop(driven);
    assert_eq!(Project::open_to_read(&root).unwrap().rounds().unwrap().len(), 1, "the round is kept");
}

#[test]
fn commands_are_searched_for_and_one_that_cannot_be_given_says_why() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.key(Modifiers::COMMAND, Key::K);
    driven.window.get_by_label("Search commands").type_text("polyg");
    driven.window.run_steps(2);
    driven.key(Modifiers::NONE, Key::Enter);
    assert_eq!(driven.window.state().app.tool, qualm::app::Tool::Polygon);
    assert!(driven.window.query_by_label("Search commands").is_none());
    driven.key(Modifiers::NONE, Key::P);
    driven.window.get_by_label_contains("there is no prediction yet");
    assert_eq!(share(&driven.mask(), UNLABELLED), 1.0);
}

#[test]
fn panels_are_chosen_by_a_key_and_by_their_buttons() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let width = |driven: &Driven, canvas: &str| driven.window.query_by_label(canvas).map(|node| node.rect().width());
    let before = width(&driven, "Image canvas").unwrap();
    driven.key(Modifiers::NONE, Key::M);
    assert!(width(&driven, "Prediction canvas").is_none() && width(&driven, "Image canvas").unwrap() > 1.2 * before);
    driven.key(Modifiers::NONE, Key::M);
    assert!(width(&driven, "Prediction canvas").is_some() && width(&driven, "Uncertainty canvas").is_none());
    driven.click("Enlarge Prediction");
    let area = |driven: &Driven, canvas: &str| driven.window.get_by_label(canvas).rect().area();
    assert!(area(&driven, "Prediction canvas") >= area(&driven, "Image canvas"));
    driven.window.get_by_label("Enlarge Image");
    driven.key(Modifiers::NONE, Key::M);
    assert!(width(&driven, "Uncertainty canvas").is_some(), "all panels again");
}

#[test]
fn an_object_is_segmented_click_by_click_and_each_click_can_be_undone() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.key(Modifiers::NONE, Key::Q);
    let idle = |window: &qualm::ui::Window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| !editor.computing)
    };
    let clicks = |driven: &Driven| driven.project().editor().unwrap().clicks().len();
    let image = driven.project().current.id().unwrap();
    driven.click_at("Image canvas", (0.5, 0.5), egui::PointerButton::Primary);
    driven.until("the click is computed", idle);
    let first = driven.mask();
    let (width, height) = (first.width(), first.height());
    assert_eq!(first.get(width / 2, height / 2), Some(1));
    assert!((0.005..0.9).contains(&share(&first, 1)), "{}", share(&first, 1));
    // A pixel that the first click did not include.
    let outside = first.pixels().iter().position(|class| *class != 1).unwrap() + 10 * width + 10;
    let (x, y) = (outside % width, outside / width);
    assert_ne!(first.get(x, y), Some(1));
    let rect = driven.window.get_by_label("Image canvas").rect();
    let zoom = driven.window.state().zoom();
    let share_of = |at: usize, side: usize, panel: f32| 0.5 + (at as f32 + 0.5 - side as f32 / 2.0) * zoom / panel;
    let place = (share_of(x, width, rect.width()), share_of(y, height, rect.height()));
    driven.click_at("Image canvas", place, egui::PointerButton::Primary);
    driven.until("the click is computed", idle);
    assert_eq!(clicks(&driven), 2);
    let second = driven.mask();
    assert!(share(&second, 1) > share(&first, 1));
    driven.click_at("Image canvas", (0.5, 0.5), egui::PointerButton::Secondary);
    driven.until("the click is computed", idle);
    assert_ne!(driven.mask(), second);
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!((driven.mask(), clicks(&driven)), (second, 2), "the click is gone with what it did");
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!((driven.mask(), clicks(&driven)), (first.clone(), 1));
    driven.key(Modifiers::NONE, Key::Escape);
    assert_eq!(clicks(&driven), 0, "the next click begins another object");
    assert_eq!(driven.mask(), first);
    driven.until("all is saved", |window| window.app.unsaved == 0);
    drop(driven);
    let project = Project::open_to_read(&temp.path().join("demo")).unwrap();
    assert_eq!(project.label(image).unwrap().mask, first);
}

#[test]
fn a_second_button_and_a_panel_that_goes_lose_nothing_of_a_stroke() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let image = driven.project().current.id().unwrap();
    driven.begin_drag("Image canvas", &[(0.4, 0.4), (0.6, 0.4)]);
    driven.click_at("Image canvas", (0.5, 0.6), egui::PointerButton::Secondary);
    driven.end_drag("Image canvas", (0.6, 0.4));
    driven.key(Modifiers::NONE, Key::G);
    for corner in [(0.3, 0.6), (0.5, 0.6), (0.4, 0.8)] {
        driven.click_at("Image canvas", corner, egui::PointerButton::Primary);
    }
    driven.key(Modifiers::NONE, Key::B);
    driven.drag("Image canvas", &[(0.7, 0.7), (0.72, 0.7)]);
    assert!(!driven.project().editor().unwrap().has_polygon());
    driven.until("all is saved", |window| window.app.unsaved == 0);
    let shown = driven.mask();
    drop(driven);
    let project = Project::open_to_read(&temp.path().join("demo")).unwrap();
    let label = project.label(image).unwrap();
    assert_eq!(label.mask, shown, "what is seen is what is stored");
    assert!(label.history.done() >= 3, "stroke, polygon, stroke");
}

#[test]
fn each_box_is_an_object_of_its_own() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.key(Modifiers::NONE, Key::Q);
    let idle = |window: &qualm::ui::Window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| !editor.computing)
    };
    driven.drag("Image canvas", &[(0.3, 0.3), (0.5, 0.5)]);
    driven.until("the box is computed", idle);
    let first = driven.mask();
    assert!(share(&first, 1) > 0.0);
    driven.drag("Image canvas", &[(0.55, 0.55), (0.75, 0.75)]);
    driven.until("the box is computed", idle);
    let second = driven.mask();
    let kept = first.pixels().iter().zip(second.pixels()).filter(|(a, b)| **a == 1 && **b == 1).count();
    assert_eq!(kept, first.pixels().iter().filter(|class| **class == 1).count(), "the first object stays");
    assert!(share(&second, 1) > share(&first, 1));
    driven.key(Modifiers::SHIFT, Key::R);
    driven.key(Modifiers::NONE, Key::Escape);
    assert!(driven.project().editor().unwrap().clicks().is_empty(), "Esc ends the object before it closes a table");
    assert!(driven.window.query_by_label_contains("regions,").is_some());
}

#[test]
fn labels_are_exported_from_the_window_after_it_has_said_what_it_would_write() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.window.state_mut().app.push(Command::Export);
    driven.until("the plan is there", |window| window.app.export.as_ref().is_some_and(|e| e.outcome.is_some()));
    driven.window.get_by_label_contains("24 images, 24 files");
    driven.click("Format");
    driven.click("COCO, run lengths");
    driven.until("the plan is there", |window| window.app.export.as_ref().is_some_and(|e| e.outcome.is_some()));
    driven.window.get_by_label_contains("24 images, 1 file");
    driven.click("Export");
    driven.until("it is done", |window| window.app.export.is_none());
    assert!(temp.path().join("demo/export/annotations.json").is_file());
    assert!(driven.window.state().app.notices.iter().any(|notice| notice.text.contains("images exported")));
    driven.window.state_mut().app.push(Command::Export);
    driven.until("the plan is there", |window| window.app.export.as_ref().is_some_and(|e| e.outcome.is_some()));
    driven.click("Format");
    driven.click("COCO, run lengths");
    driven.until("the plan is there", |window| window.app.export.as_ref().is_some_and(|e| e.outcome.is_some()));
    driven.window.get_by_label_contains("is there already");
}

/// Role and name of every control that can be used now.
fn controls(driven: &Driven, only_focused: bool) -> BTreeSet<String> {
    const ROLES: [&str; 8] =
        ["Button", "CheckBox", "RadioButton", "ComboBox", "Slider", "SpinButton", "TextInput", "ColorWell"];
    let all = driven.window.root().children_recursive();
    let named = all.filter_map(|node| {
        let node = node.accesskit_node();
        let role = format!("{:?}", node.role());
        let is_meant = ROLES.contains(&role.as_str()) && !node.is_disabled() && (!only_focused || node.is_focused());
        is_meant.then(|| format!("{role} {}", node.label().unwrap_or_default()))
    });
    named.collect()
}

#[test]
fn tab_reaches_every_control_and_each_has_a_name() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let all = controls(&driven, false);
    assert!(
        all.len() > 40 && all.iter().all(|control| control.split_once(' ').is_some_and(|(_, name)| !name.is_empty())),
        "{all:?}"
    );
    let mut reached = BTreeSet::new();
    for _ in 0..3 * all.len() {
        driven.window.key_press(Key::Tab);
        driven.window.run_steps(1);
        reached.extend(controls(&driven, true));
    }
    let missed: Vec<_> = all.difference(&reached).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn a_closed_project_can_be_opened_by_another_program() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    driven.window.state_mut().app.push(Command::CloseProject);
    let root = temp.path().join("demo");
    driven.until("its lock is let go", |_| Project::open(&root).is_ok());
}

fn says(driven: &Driven, text: &str) -> bool {
    driven.window.state().app.notices.iter().any(|notice| notice.text.contains(text))
}

#[test]
fn a_hidden_label_is_shown_once_it_is_changed_and_before_it_is_accepted() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let image = driven.project().current.id().unwrap();
    let is_labelled = |driven: &Driven| driven.project().study.image(image).unwrap().labelled;
    driven.key(Modifiers::NONE, Key::D);
    assert!(!says(&driven, "hidden"));
    driven.drag("Image canvas", &[(0.4, 0.5), (0.6, 0.5)]);
    assert!(says(&driven, "changed while it was hidden"));
    driven.key(Modifiers::NONE, Key::L);
    driven.key(Modifiers::NONE, Key::Enter);
    assert!(says(&driven, "accept again") && !is_labelled(&driven), "nobody saw the label");
    driven.key(Modifiers::NONE, Key::Enter);
    assert!(is_labelled(&driven));
    driven.key(Modifiers::COMMAND, Key::Z);
    assert!(says(&driven, "not accepted any more") && !is_labelled(&driven));
}

#[test]
fn a_gate_keeps_what_was_set_and_a_stroke_that_it_stops_says_so() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let choose = |driven: &mut Driven, name: &str| {
        driven.click("Paint only where");
        driven.click(name);
    };
    choose(&mut driven, "intensity");
    let begun = driven.window.state().app.gate.unwrap();
    assert_eq!((begun.by, begun.low, begun.high), (Gauge::Intensity, 0.5, 1.0), "the upper half of what is shown");
    driven.window.state_mut().app.gate = Some(Gate { low: 0.75, ..begun });
    driven.window.run_steps(2);
    choose(&mut driven, "anywhere");
    assert_eq!(driven.window.state().app.gate, None);
    choose(&mut driven, "intensity");
    assert_eq!(driven.window.state().app.gate, Some(Gate { low: 0.75, ..begun }));

    choose(&mut driven, "class");
    driven.drag("Image canvas", &[(0.4, 0.5), (0.6, 0.5)]);
    assert!(share(&driven.mask(), 1) > 0.0, "what is not labelled is painted");
    driven.window.state_mut().app.gate = Some(Gate { by: Gauge::Class, low: 0.0, high: 0.0 });
    driven.drag("Image canvas", &[(0.4, 0.6), (0.6, 0.6)]);
    assert!(says(&driven, "only pixels that are background are painted"));
}

#[test]
fn the_buttons_stay_where_they_are_whatever_the_tool_and_its_gate() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let place = |driven: &Driven| driven.window.get_by_label("Accept").rect();
    let before = place(&driven);
    for key in [Key::E, Key::X, Key::A, Key::O, Key::G, Key::K, Key::Q, Key::B] {
        driven.key(Modifiers::NONE, key);
        assert_eq!(place(&driven), before, "{key:?}");
    }
    for by in [Gauge::Intensity, Gauge::Probability, Gauge::Variance, Gauge::Class] {
        let gate = driven.window.state().app.first_gate(by);
        driven.window.state_mut().app.gate = Some(gate);
        driven.window.run_steps(3);
        assert_eq!(place(&driven), before, "{by:?}");
    }
}

#[test]
fn what_is_typed_into_a_sheet_outlasts_a_job_and_a_cancelled_plan() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    train_for_hours(&root);
    let mut driven = Driven::new(First::Project(root), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.state_mut().app.push(Command::ImportMasks);
    driven.window.run_steps(3);
    let text = temp.path().display().to_string();
    driven.window.get_by_label("Masks folder").type_text(&text);
    driven.window.state_mut().app.push(Command::Train);
    driven.until("a batch is done", |window| window.app.progress.as_ref().is_some_and(|p| p.loss.is_some()));
    let typed = |driven: &Driven| driven.window.get_by_label("Masks folder").value();
    driven.click("Scan the folder");
    assert_eq!(typed(&driven).as_deref(), Some(text.as_str()));
    assert!(driven.window.state().app.import.is_none());
    driven.window.state_mut().app.cancel_job();
    driven.until("the job has ended", |window| window.app.job.is_none());
    driven.click("Scan the folder");
    assert!(driven.window.state().app.import.is_some());
    driven.key(Modifiers::NONE, Key::Escape);
    assert_eq!(typed(&driven).as_deref(), Some(text.as_str()));
}

#[test]
fn the_list_goes_on_from_the_place_of_the_accepted_image() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let row = |driven: &Driven, row: usize| driven.project().study.images[driven.project().list.shown[row]].id;
    let (first, second) = (row(&driven, 0), row(&driven, 1));
    driven.drag("Image canvas", &[(0.4, 0.45), (0.6, 0.55)]);
    driven.window.get_by_label("not accepted");
    driven.key(Modifiers::NONE, Key::Enter);
    assert!(driven.project().study.image(first).unwrap().labelled);
    assert_eq!((row(&driven, 0), row(&driven, 1)), (first, second));
    driven.key(Modifiers::NONE, Key::ArrowDown);
    driven.until("it is open", Driven::image_is_open);
    assert_eq!(driven.project().current.id(), Some(second));
    assert_eq!(row(&driven, 0), second, "the accepted image is among the labelled ones");
}

#[test]
fn enter_opens_the_first_image_found_and_the_search_is_cleared() {
    let temp = TempDir::new().unwrap();
    let mut driven = opened(&temp);
    let (image, name) = driven.project().study.images.last().map(|image| (image.id, image.name.clone())).unwrap();
    driven.click("Search names");
    driven.window.get_by_label("Search names").type_text(&name);
    driven.window.run_steps(2);
    driven.key(Modifiers::NONE, Key::Enter);
    driven.until("it is open", Driven::image_is_open);
    assert_eq!((driven.project().current.id(), driven.project().list.shown.len()), (Some(image), 1));
    driven.click("Clear the search");
    assert_eq!(driven.project().list.shown.len(), driven.project().study.images.len());
}
