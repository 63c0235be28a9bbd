//! The window, driven through the accessibility tree as a user would.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use egui::{Key, Modifiers, vec2};
use egui_kittest::kittest::Queryable;
use qualm::app::Page;
use qualm::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use qualm::domain::picture::Levels;
use qualm::domain::settings::{Budget, Policy, Settings};
use qualm::domain::study::{ImageId, ImageRecord, Review, Status};
use qualm::project::Project;
use qualm::raster;
use qualm::ui::First;
use tempfile::TempDir;

use crate::driven::{Driven, share, tiny_demo};

#[test]
fn the_first_page_offers_three_ways() {
    let mut driven = Driven::new(First::Nothing, PathBuf::from("demo"));
    driven.until("the device is known", |window| window.app.device.is_some());
    for way in ["Open demo", "New project from a folder of images", "Open project"] {
        driven.window.get_by_label(way);
    }
    driven.window.snapshot("first_page");
    driven.click("New project from a folder of images");
    driven.window.get_by_label("Scan the folders");
    driven.key(Modifiers::NONE, Key::F1);
    driven.window.get_by_label("Accept and next");
    driven.window.snapshot("shortcuts");
}

#[test]
fn a_stroke_is_painted_undone_accepted_and_stored() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut driven = Driven::new(First::Nothing, root.clone());
    driven.click("Open demo");
    driven.until("an image is open", Driven::image_is_open);
    let image = driven.project().current.id().unwrap();
    let before = driven.mask();
    assert!(before.pixels().iter().all(|&class| class == UNLABELLED));

    driven.drag("Image canvas", &[(0.4, 0.45), (0.5, 0.5), (0.6, 0.55)]);
    let first = driven.mask();
    let painted = |mask: &Mask| mask.pixels().iter().filter(|&&class| class == 1).count();
    assert!(painted(&first) > 500, "{} pixels painted", painted(&first));
    driven.drag("Uncertainty canvas", &[(0.45, 0.55), (0.5, 0.45)]);
    assert_eq!(driven.mask(), first, "there is nothing in that panel yet to paint over");
    driven.drag("Image canvas", &[(0.45, 0.55), (0.5, 0.45)]);
    let second = driven.mask();
    assert_ne!(first, second);

    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(driven.mask(), first);
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(driven.mask(), before);
    driven.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    driven.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(driven.mask(), second);

    driven.key(Modifiers::NONE, Key::E);
    driven.drag("Image canvas", &[(0.5, 0.5), (0.51, 0.5)]);
    assert!(painted(&driven.mask()) < painted(&second));
    driven.key(Modifiers::NONE, Key::Enter);
    let accepted = driven.mask();
    assert!(!accepted.pixels().contains(&UNLABELLED));
    let record = driven.project().study.image(image).unwrap();
    assert_eq!(Status::of(record), Status::Labelled);
    let name = Path::new(&record.name).with_extension("png");
    driven.until("all is saved", |window| window.app.unsaved == 0);

    let file = root.join("labels").join(name);
    let begun = Instant::now();
    while !file.is_file() && begun.elapsed() < Duration::from_secs(10) {
        driven.window.step();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(raster::read_label(&file).unwrap(), accepted);
    drop(driven);
    let project = Project::open(&root).unwrap();
    let label = project.label(image).unwrap();
    assert_eq!((label.mask, label.history.done()), (accepted, 4));
    assert!(project.image(image).unwrap().unwrap().labelled);
}

#[test]
fn a_round_is_trained_and_images_are_proposed() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut driven = Driven::new(First::Project(root), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.window.get_by_label("Every round you train is listed here; you can make any of them active again.");
    driven.key(Modifiers::COMMAND, Key::T);
    assert!(driven.window.state().app.job.is_some());
    driven.window.get_by_label("Cancel");
    driven.until("the round is done", |window| window.app.job.is_none());
    assert_eq!(driven.project().study.rounds.len(), 1, "{:?}", driven.window.state().app.notices);
    let proposed =
        driven.project().study.images.iter().filter(|i| matches!(Status::of(i), Status::Proposed(..))).count();
    assert!((5..=7).contains(&proposed), "{proposed} proposed");
    driven.until("a prediction is there", |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.prediction().is_some())
    });

    driven.key(Modifiers::NONE, Key::N);
    driven.until("the next is open", Driven::image_is_open);
    let current = driven.project().current.id().unwrap();
    assert!(matches!(Status::of(driven.project().study.image(current).unwrap()), Status::Proposed(..)));
    driven.until("its prediction is there", |window| {
        window.app.project().and_then(|p| p.editor()).is_some_and(|editor| editor.prediction().is_some())
    });
    driven.window.state_mut().app.threshold = 0.01;
    driven.key(Modifiers::NONE, Key::A);
    driven.drag("Image canvas", &[(0.3, 0.5), (0.7, 0.5)]);
    let stroked = driven.mask();
    assert!(share(&stroked, UNLABELLED) < 1.0, "the adopting brush left nothing");
    let fitted = driven.window.state().zoom();
    driven.key(Modifiers::NONE, Key::U);
    assert!(driven.window.state().zoom() >= 1.9 * fitted, "it looks closer");
    driven.key(Modifiers::NONE, Key::F);
    driven.click("More");
    driven.click("Next uncertain region");
    assert!(driven.window.state().zoom() >= 1.9 * fitted, "it looks closer");
    driven.key(Modifiers::NONE, Key::F);
    driven.key(Modifiers::NONE, Key::P);
    let adopted = driven.mask();
    let agrees = |(s, a): (&u8, &u8)| *s == UNLABELLED || s == a;
    assert!(stroked.pixels().iter().zip(adopted.pixels()).all(agrees), "the brush adopts what adopting the whole does");
    assert!(!adopted.pixels().contains(&UNLABELLED), "adopting labels every pixel");
    driven.key(Modifiers::COMMAND, Key::Enter);
    driven.until("another is open", move |window| {
        Driven::image_is_open(window) && window.app.project().and_then(|p| p.current.id()) != Some(current)
    });
    assert_eq!(Status::of(driven.project().study.image(current).unwrap()), Status::Labelled);
    driven.click("Round 1 active");

    // The effort of the label is recorded with the rounds.
    let cost = driven.project().study.acceptances_of_labelled().last().unwrap().clone();
    assert_eq!((cost.image, cost.round), (current, Some(1)));
    assert_eq!(cost.dice, Some(1.0), "an adopted prediction was not corrected");
    driven.window.state_mut().app.show(current);
    driven.until("it is open again", Driven::image_is_open);
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(driven.project().study.acceptances_of_labelled().count(), 0, "a label taken back has cost nothing");
    driven.key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    assert_eq!(
        driven.project().study.acceptances_of_labelled().last(),
        Some(&cost),
        "and once more what it cost when it is back"
    );
    driven.key(Modifiers::COMMAND, Key::R);
    driven.window.get_by_label("Corrective Dice, and seconds per label");
    driven.window.get_by_label_contains("Last 1 label: Dice 1.000");
    driven.window.get_by_label_contains("Is the uncertainty calibrated?");
}

#[test]
fn pseudo_labels_take_one_key_and_rounds_are_held_against_each_other() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    let settings = Settings {
        policy: Policy::Ceal,
        pseudo_from: 1,
        pseudo_count: 3,
        pseudo_dice: 0.0,
        pseudo_calibration: 1.0,
        ..project.settings().unwrap()
    };
    project.set_settings(&settings).unwrap();
    drop(project);
    let mut driven = Driven::new(First::Project(root), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    for _ in 0..2 {
        driven.key(Modifiers::COMMAND, Key::T);
        driven.until("the round is done", |window| window.app.job.is_none());
    }
    let waiting = |driven: &Driven| -> Vec<ImageId> {
        let waits = |image: &&ImageRecord| Status::of(image) == Status::Pseudo(Review::Unreviewed);
        driven.project().study.images.iter().filter(waits).map(|image| image.id).collect()
    };
    let offered = waiting(&driven);
    assert!(offered.len() >= 3, "{offered:?}");
    driven.window.state_mut().app.show(offered[0]);
    driven.until("it is open", Driven::image_is_open);
    driven.window.get_by_label("pseudo-label");
    let drawn = driven.project().editor().unwrap().drawn_mask().clone();
    assert!(share(&drawn, UNLABELLED) < 1.0 && share(&driven.mask(), UNLABELLED) == 1.0, "drawn, not labelled");
    driven.key(Modifiers::NONE, Key::Y);
    driven.until("the next is open", Driven::image_is_open);
    assert_eq!(driven.project().current.id(), Some(offered[1]));
    driven.key(Modifiers::NONE, Key::V);
    driven.until("the next is open", Driven::image_is_open);
    let before = driven.project().editor().unwrap().drawn_mask().clone();
    driven.begin_drag("Image canvas", &[(0.3, 0.5), (0.7, 0.5)]);
    assert!(driven.project().editor().unwrap().is_drawing());
    driven.key(Modifiers::NONE, Key::Escape);
    driven.end_drag("Image canvas", (0.7, 0.5));
    assert_eq!(share(&driven.mask(), UNLABELLED), 1.0);
    assert_eq!(*driven.project().editor().unwrap().drawn_mask(), before, "a stroke given up costs no pseudo-label");
    driven.drag("Image canvas", &[(0.3, 0.5), (0.7, 0.5)]);
    let status = |driven: &Driven, place: usize| Status::of(driven.project().study.image(offered[place]).unwrap());
    assert_eq!(status(&driven, 0), Status::Pseudo(Review::Accepted));
    assert_eq!(status(&driven, 1), Status::Pseudo(Review::Rejected));
    assert!(!matches!(status(&driven, 2), Status::Pseudo(_)), "a stroke takes the machine's label away");
    let label = driven.mask();
    let kept = before.pixels().iter().zip(label.pixels()).filter(|(before, now)| before == now).count();
    assert!(before != label && kept > label.pixels().len() / 2, "a stroke corrects what was drawn");
    (0..2).for_each(|_| driven.key(Modifiers::COMMAND, Key::Z));
    assert_eq!(share(&driven.mask(), UNLABELLED), 1.0, "both can be taken back");
    driven.window.state_mut().app.show(offered[0]);
    driven.until("it is open", Driven::image_is_open);
    driven.key(Modifiers::NONE, Key::W);
    assert_eq!(status(&driven, 0), Status::Pseudo(Review::Unreviewed));

    // Enter accepts what is drawn as the user's own label.
    driven.window.state_mut().app.show(offered[0]);
    driven.until("it is open", Driven::image_is_open);
    let drawn = driven.project().editor().unwrap().drawn_mask().clone();
    driven.key(Modifiers::NONE, Key::Enter);
    assert_eq!(status(&driven, 0), Status::Labelled);
    let agrees = |(drawn, label): (&u8, &u8)| drawn == label || (*drawn, *label) == (UNLABELLED, 0);
    assert!(drawn.pixels().iter().zip(driven.mask().pixels()).all(agrees), "another label than the one drawn");

    let active = driven.project().study.active_round().unwrap().report.round;
    driven.window.state_mut().app.compare(Some(3 - active));
    driven.until("the other round has predicted", |window| {
        window.app.project().and_then(|project| project.editor()).is_some_and(|editor| editor.has_compared())
    });
    driven.window.get_by_label_contains("and the active one differ");
    driven.click("End");
    assert_eq!(driven.project().compared, None);
}

#[test]
fn a_cancelled_round_leaves_the_project_as_it_was() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    let settings = Settings { epochs: 1000, budget: Budget::Epochs, ..project.settings().unwrap() };
    project.set_settings(&settings).unwrap();
    drop(project);
    let mut driven = Driven::new(First::Project(root.clone()), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    driven.key(Modifiers::COMMAND, Key::T);
    driven.until("a batch is done", |window| window.app.progress.as_ref().is_some_and(|p| p.loss.is_some()));
    driven.click("Cancel");
    driven.until("the round has ended", |window| window.app.job.is_none());
    assert!(driven.project().study.rounds.is_empty());
    assert!(driven.window.state().app.notices.iter().any(|notice| notice.text.contains("cancelled")));
    assert!(!root.join("models/round-001").exists());
}

#[test]
fn what_cannot_be_opened_is_said() {
    let temp = TempDir::new().unwrap();
    let mut driven = Driven::new(First::Project(temp.path().to_owned()), PathBuf::from("demo"));
    driven.until("the error is told", |window| !window.app.notices.is_empty());
    assert!(matches!(driven.window.state().app.page, Page::Welcome));
    assert!(driven.window.state().app.notices[0].text.contains("not a Qualm project"));
    driven.window.get_by_label("Open demo");
}

#[test]
fn every_tool_leaves_what_it_says() {
    let temp = TempDir::new().unwrap();
    let mut driven = Driven::new(First::Project(tiny_demo(temp.path())), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);

    let current = driven.project().current.id().unwrap();
    let is_labelled = |driven: &Driven| driven.project().study.image(current).unwrap().labelled;
    driven.key(Modifiers::NONE, Key::Enter);
    assert!(!is_labelled(&driven), "an untouched image is asked about");
    driven.window.get_by_label_contains("nothing is painted in this image");
    driven.key(Modifiers::NONE, Key::Enter);
    assert!(is_labelled(&driven) && share(&driven.mask(), BACKGROUND) == 1.0);
    driven.key(Modifiers::COMMAND, Key::Z);

    // The canvas is higher than wide: the square image fills its width, and this is a square in its middle.
    let square = [(0.3, 0.45), (0.7, 0.45), (0.7, 0.55), (0.3, 0.55), (0.3, 0.45)];
    driven.key(Modifiers::NONE, Key::O);
    driven.drag("Image canvas", &square);
    let encircled = driven.mask();
    assert!(share(&encircled, 1) > 0.02, "encircle: {}", share(&encircled, 1));
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(share(&driven.mask(), 1), 0.0);

    driven.key(Modifiers::NONE, Key::G);
    let corners = |driven: &mut Driven, corners: &[(f32, f32)]| {
        for corner in corners {
            driven.drag("Image canvas", &[*corner]);
            // A pause, so that two corners are not a double click.
            driven.window.run_steps(4);
        }
    };
    corners(&mut driven, &square);
    assert_eq!(driven.mask(), encircled, "the same corners give the same polygon, closed at the first");
    driven.key(Modifiers::COMMAND, Key::Z);
    corners(&mut driven, &square[..4]);
    corners(&mut driven, &[(0.5, 0.7)]);
    driven.key(Modifiers::NONE, Key::Backspace);
    driven.key(Modifiers::NONE, Key::Enter);
    assert_eq!(driven.mask(), encircled, "Backspace removes the last corner, and Enter closes the polygon");
    let current = driven.project().current.id().unwrap();
    assert!(!driven.project().study.image(current).unwrap().labelled, "and does not accept the image");

    driven.key(Modifiers::NONE, Key::X);
    driven.drag("Image canvas", &[(0.5, 0.5)]);
    assert!(share(&driven.mask(), 1) < share(&encircled, 1), "unlabelled again");
    let holed = driven.mask();
    driven.click("Clean up");
    driven.click("Fill holes");
    assert_eq!(driven.mask(), encircled, "the hole is filled");
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(driven.mask(), holed);

    driven.click("Lock lesion");
    driven.key(Modifiers::NONE, Key::E);
    driven.drag("Image canvas", &[(0.3, 0.5), (0.7, 0.5)]);
    assert_eq!(share(&driven.mask(), 1), share(&holed, 1), "a locked class is not overwritten");
    driven.click("Lock lesion");

    driven.key(Modifiers::NONE, Key::R);
    assert_eq!(share(&driven.mask(), UNLABELLED), 0.0);
    driven.key(Modifiers::NONE, Key::B);
    let before = driven.mask();
    driven.window.state_mut().app.gate =
        Some(qualm::app::Gate { by: qualm::app::Gauge::Intensity, low: 2.0, high: 3.0 });
    driven.drag("Image canvas", &[(0.2, 0.4), (0.8, 0.6)]);
    assert_eq!(driven.mask(), before, "no pixel is that bright");
    driven.window.state_mut().app.gate = None;
    let rect = driven.window.get_by_label("Image canvas").rect();
    driven.window.hover_at(rect.center());
    driven.window.drag_at(rect.center());
    driven.window.hover_at(rect.center() + vec2(60.0, 0.0));
    driven.key(Modifiers::NONE, Key::Escape);
    assert_eq!(driven.mask(), before, "the gesture is abandoned");
    driven.window.drop_at(rect.center());
    driven.window.run_steps(3);
    assert_eq!(driven.mask(), before);

    driven.key(Modifiers::NONE, Key::K);
    driven.drag("Image canvas", &[(0.5, 0.5)]);
    assert!(share(&driven.mask(), 1) > share(&before, 1), "what looks alike is filled");
    driven.until("all is saved", |window| window.app.unsaved == 0);
}

#[test]
fn a_partly_labelled_image_keeps_what_nobody_labelled() {
    let temp = TempDir::new().unwrap();
    let mut driven = Driven::new(First::Project(tiny_demo(temp.path())), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    let image = driven.project().current.id().unwrap();
    driven.drag("Image canvas", &[(0.4, 0.5), (0.6, 0.5)]);
    driven.key(Modifiers::SHIFT, Key::Enter);
    assert_eq!(Status::of(driven.project().study.image(image).unwrap()), Status::Labelled);
    assert!(share(&driven.mask(), UNLABELLED) > 0.5);
    driven.key(Modifiers::COMMAND, Key::Z);
    assert_eq!(Status::of(driven.project().study.image(image).unwrap()), Status::Unlabelled);
}

#[test]
fn contrast_is_fitted_scrolling_zooms_at_the_pointer_and_space_drags() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut driven = Driven::new(First::Project(root.clone()), PathBuf::from("demo"));
    driven.until("an image is open", Driven::image_is_open);
    let whole = driven.window.state().zoom();
    let rect = driven.window.get_by_label("Image canvas").rect();
    let at = rect.center() + vec2(40.0, 20.0);
    driven.window.hover_at(at);
    driven.window.step();
    driven.window.get_by_label_contains("black 0  white 255");
    driven.key(Modifiers::SHIFT, Key::T);
    assert!(driven.window.query_by_label_contains("black 0  white 255").is_none(), "contrast was not fitted");
    let image = driven.project().current.id().unwrap();
    let fitted = driven.window.state().app.levels();
    let kept = || Project::open_to_read(&root).unwrap().contrast().unwrap().of(image, Levels::default(), fitted);
    driven.until("contrast is stored", |_| kept() == fitted);
    driven.key(Modifiers::NONE, Key::ArrowDown);
    driven.until("the next image is open", |window| {
        Driven::image_is_open(window) && window.app.project().unwrap().current.id() != Some(image)
    });
    let other = driven.window.state().app.levels();
    assert!(other != Levels::default() && other != fitted, "each image is fitted by itself");
    driven.key(Modifiers::NONE, Key::ArrowUp);
    driven.until("the image is open again", |window| {
        Driven::image_is_open(window) && window.app.project().unwrap().current.id() == Some(image)
    });
    driven.click("Reset");
    driven.window.get_by_label_contains("black 0  white 255");
    driven.window.hover_at(at);
    driven.window.step();
    let under = driven.window.state().hovered().unwrap();
    driven.window.event(egui::Event::MouseWheel {
        unit: egui::MouseWheelUnit::Point,
        delta: vec2(0.0, 120.0),
        phase: egui::TouchPhase::Move,
        modifiers: Modifiers::NONE,
        source: egui::MouseWheelSource::Unknown,
    });
    driven.window.run_steps(12);
    assert!(driven.window.state().zoom() > 1.5 * whole, "it did not zoom");
    let now = driven.window.state().hovered().unwrap();
    assert!((now.x - under.x).hypot(now.y - under.y) < 0.5, "{under:?} {now:?}");
    driven.window.key_down(Key::Space);
    driven.window.drag_at(at);
    driven.window.hover_at(at + vec2(30.0, 0.0));
    driven.window.hover_at(at + vec2(60.0, 0.0));
    driven.window.drop_at(at + vec2(60.0, 0.0));
    driven.window.key_up(Key::Space);
    driven.window.run_steps(3);
    driven.window.hover_at(at);
    driven.window.run_steps(2);
    assert!(driven.window.state().hovered().unwrap().x < now.x - 10.0, "the view was not dragged");
    assert_eq!(share(&driven.mask(), UNLABELLED), 1.0, "dragging the view paints nothing");
}

#[test]
fn an_error_outlasts_the_notices_after_it() {
    let mut driven = Driven::new(First::Nothing, PathBuf::from("demo"));
    let app = &mut driven.window.state_mut().app;
    app.notify("an error", true);
    (0..6).for_each(|number| app.notify(format!("notice {number}"), false));
    let texts: Vec<&str> = app.notices.iter().map(|notice| notice.text.as_str()).collect();
    assert_eq!(texts, ["an error", "notice 3", "notice 4", "notice 5"]);
}
