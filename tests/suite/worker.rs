//! The worker's threads: requests served while a job runs, and changes kept when the disk fails.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use qualm::domain::edit::{Edit, Step};
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::settings::{Budget, Encoder, Geometry, OrAuto, Settings};
use qualm::domain::study::ImageId;
use qualm::project::{Project, demo};
use qualm::worker::{DeviceChoice, Event, JobKind, Outcome, Phase, Request, Worker, Write};
use tempfile::TempDir;

fn tiny_demo(folder: &Path) -> PathBuf {
    let root = folder.join("demo");
    let (mut project, _) = demo::open_or_create(&root).unwrap();
    let settings = Settings {
        encoder: Encoder::Unet,
        widths: OrAuto::Is(vec![4, 8]),
        geometry: Geometry::Resize,
        rows: 32,
        columns: 32,
        epochs: 1,
        budget: Budget::Epochs,
        passes: 2,
        ..Settings::default()
    };
    project.set_settings(&settings).unwrap();
    root
}

/// Waits for an event for which `wanted` returns a value.
fn wait_for<T>(worker: &Worker, what: &str, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(120) {
        if let Some(found) = worker.wait(Duration::from_millis(100)).and_then(&mut wanted) {
            return found;
        }
    }
    panic!("never heard: {what}");
}

fn ask(worker: &Worker, request: Request) {
    assert!(worker.ask(request).is_ok());
}

fn open(worker: &Worker, root: PathBuf) -> Vec<qualm::domain::study::ImageRecord> {
    ask(worker, Request::Open(root));
    wait_for(worker, "the project is open", |event| match event {
        Event::Opened(opened) => Some(opened.study.images),
        _ => None,
    })
}

fn job(worker: &Worker, id: u64, kind: JobKind) {
    ask(worker, Request::Job { id, device: DeviceChoice::Cpu, kind });
}

fn step_on(image: ImageId, position: usize, from: &Mask, value: u8) -> (Write, Mask) {
    let after = Mask::filled(from.width(), from.height(), value);
    let step = Step::from(Edit::between(from, &after).unwrap());
    (Write::Step { image, position, step }, after)
}

#[test]
fn a_preview_does_not_wait_for_the_round() {
    let temp = TempDir::new().unwrap();
    let worker = Worker::start(|| {});
    let images = open(&worker, tiny_demo(temp.path()));
    job(&worker, 1, JobKind::Round(None));
    wait_for(&worker, "the first round", |event| matches!(event, Event::Finished(1, _)).then_some(()));
    let settings = Settings {
        encoder: Encoder::Unet,
        widths: OrAuto::Is(vec![4, 8]),
        geometry: Geometry::Resize,
        rows: 32,
        columns: 32,
        epochs_later: 10_000,
        budget: Budget::Epochs,
        ..Settings::default()
    };
    ask(&worker, Request::Write(Write::Settings(Box::new(settings))));
    job(&worker, 2, JobKind::Round(None));
    while worker.progress().is_none_or(|progress| progress.loss.is_none()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    // A labelled image, which scoring the pool has not predicted.
    let image = images.iter().find(|image| image.labelled).unwrap().id;
    ask(&worker, Request::Show { image, ticket: 1 });
    wait_for(&worker, "a prediction", |event| matches!(event, Event::Predicted(id, _) if id == image).then_some(()));
    assert!(worker.progress().is_some_and(|progress| progress.job == 2), "the round is still running");
    job(&worker, 3, JobKind::Score);
    let refused = wait_for(&worker, "the third job is refused", |event| match event {
        Event::Failed(3, reason) => Some(reason),
        _ => None,
    });
    assert!(refused.text.contains("another job is running"), "{refused}");
    worker.cancel(2);
    wait_for(&worker, "the second round is cancelled", |event| matches!(event, Event::Cancelled(2)).then_some(()));
    job(&worker, 4, JobKind::Score);
    wait_for(&worker, "the pool is scored", |event| match event {
        Event::Finished(4, outcome) => matches!(*outcome, Outcome::Scored(36, _)).then_some(()),
        _ => None,
    });
}

#[test]
fn a_failed_write_is_kept_in_order_and_tried_again() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let worker = Worker::start(|| {});
    let image = open(&worker, root.clone()).iter().find(|image| !image.labelled).unwrap().id;
    let other = rusqlite::Connection::open(root.join("qualm.db")).unwrap();
    other
        .execute_batch(
            "CREATE TRIGGER full BEFORE INSERT ON journal BEGIN SELECT RAISE(ABORT, 'the disk is full'); END",
        )
        .unwrap();
    let blank = Mask::filled(256, 256, UNLABELLED);
    let (first, mask) = step_on(image, 0, &blank, 1);
    let (second, mask) = step_on(image, 1, &mask, 0);
    ask(&worker, Request::Write(first));
    let reason = wait_for(&worker, "that it is not saved", |event| match event {
        Event::NotSaved(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.contains("the disk is full"), "{reason}");
    ask(&worker, Request::Write(second));
    ask(&worker, Request::Show { image, ticket: 1 });
    let shown = wait_for(&worker, "the image", |event| match event {
        Event::Shown(shown) => Some(shown),
        _ => None,
    });
    assert_eq!((&shown.label.mask, shown.label.history.done()), (&mask, 2), "what is not saved yet is shown");
    job(&worker, 1, JobKind::Round(None));
    wait_for(&worker, "no round before labels are safe", |event| matches!(event, Event::Failed(1, _)).then_some(()));
    other.execute_batch("DROP TRIGGER full").unwrap();
    wait_for(&worker, "that all is saved", |event| matches!(event, Event::Saved(2)).then_some(()));
    drop(worker);
    let label = Project::open(&root).unwrap().label(image).unwrap();
    assert_eq!((label.mask, label.history.done()), (mask, 2));
}

#[test]
fn a_scoring_pauses_and_goes_on_after_a_restart_where_it_was_broken_off() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let settings = Settings { passes: 300, ..Project::open(&root).unwrap().settings().unwrap() };
    Project::open(&root).unwrap().set_settings(&settings).unwrap();
    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    job(&worker, 1, JobKind::Round(None));
    let scored = |worker: &Worker| worker.progress().filter(|p| p.phase == Phase::Scoring).map_or(0, |p| p.done);
    while scored(&worker) < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.pause(Some(1));
    std::thread::sleep(Duration::from_millis(300));
    let held = scored(&worker);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(scored(&worker), held, "a paused scoring stands still");
    assert!(held < 36);
    worker.pause(None);
    while scored(&worker) == held {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.pause(Some(1));
    worker.cancel(1);
    wait_for(&worker, "a paused job can be cancelled", |event| matches!(event, Event::Cancelled(1)).then_some(()));
    drop(worker);

    let predictions = std::fs::read_dir(root.join("cache/predictions")).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_dir(predictions).unwrap().count();
    assert!(kept > held, "what was scored is kept");
    let rounds = Project::open(&root).unwrap().rounds().unwrap();
    assert!(matches!(&rounds[..], [round] if round.active && round.report.scored == 0), "the trained round is kept");

    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    job(&worker, 1, JobKind::Score);
    let left = loop {
        if let Some(progress) = worker.progress().filter(|progress| progress.phase == Phase::Scoring) {
            break progress.total;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    assert_eq!(left, 36 - kept, "only the rest is scored");
    wait_for(&worker, "the pool is scored", |event| match event {
        Event::Finished(1, outcome) => matches!(*outcome, Outcome::Scored(36, _)).then_some(()),
        _ => None,
    });

    // An earlier round may be active: the scores still belong to the newest round.
    job(&worker, 2, JobKind::Round(None));
    while worker.progress().is_none_or(|p| p.job != 2 || p.phase != Phase::Scoring) {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.cancel(2);
    wait_for(&worker, "the second is cancelled", |event| matches!(event, Event::Cancelled(2)).then_some(()));
    ask(&worker, Request::Activate(1));
    job(&worker, 3, JobKind::Score);
    wait_for(&worker, "the pool is scored", |event| matches!(event, Event::Finished(3, _)).then_some(()));
    drop(worker);
    let rounds = Project::open(&root).unwrap().rounds().unwrap();
    let told = |round: usize| rounds[round].report.scored == 36 && !rounds[round].report.proposed.is_empty();
    assert!(rounds.len() == 2 && rounds[0].active && told(0) && told(1), "the history tells of both");
}

#[test]
fn a_training_that_is_finished_early_keeps_its_best_and_scores() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    let settings = Settings { epochs: 5000, budget: Budget::Epochs, ..project.settings().unwrap() };
    project.set_settings(&settings).unwrap();
    drop(project);
    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    job(&worker, 1, JobKind::Round(None));
    while worker.progress().is_none_or(|p| p.phase != Phase::Training || p.curve.len() < 2) {
        std::thread::sleep(Duration::from_millis(1));
    }
    worker.finish(1);
    wait_for(&worker, "the round is done", |event| matches!(event, Event::Finished(1, _)).then_some(()));
    drop(worker);
    let report = Project::open(&root).unwrap().rounds().unwrap().remove(0).report;
    assert!(report.scored == 36 && (2..5000).contains(&report.curve.len()), "{} epochs", report.curve.len());
    let best = report.curve.iter().filter_map(|point| point.dice).fold(0.0, f64::max);
    assert_eq!(report.validation.unwrap().dice, best, "the best epoch by then");
}

#[test]
fn a_first_round_measures_the_device_before_its_input_is_chosen() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let mut project = Project::open(&root).unwrap();
    let settings =
        Settings { geometry: Geometry::Auto, budget: Budget::Seconds, seconds: 0.5, ..project.settings().unwrap() };
    project.set_settings(&settings).unwrap();
    drop(project);
    let worker = Worker::start(|| {});
    open(&worker, root);
    // Cancelled at once, it ends without a round; asked again, it is planned and runs.
    job(&worker, 1, JobKind::Round(None));
    worker.cancel(1);
    wait_for(&worker, "it was cancelled", |event| matches!(event, Event::Cancelled(1)).then_some(()));
    job(&worker, 2, JobKind::Round(None));
    let report = wait_for(&worker, "the first round", |event| match event {
        Event::Finished(2, outcome) => match *outcome {
            Outcome::Round(report) => Some(report),
            _ => None,
        },
        Event::Failed(2, reason) => panic!("{reason}"),
        _ => None,
    });
    assert!(report.steps > 0 && report.notes.iter().any(|note| note.contains("resized to")), "{:?}", report.notes);
}

#[test]
fn a_closed_project_can_be_opened_by_another_program() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    assert!(Project::open(&root).is_err(), "it is open here");
    ask(&worker, Request::Close);
    let begun = Instant::now();
    while Project::open(&root).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(20), "its lock was kept");
        std::thread::sleep(Duration::from_millis(20));
    }
    // And opened here again.
    assert_eq!(open(&worker, root).len(), 60);
}

#[test]
fn a_prediction_of_a_folder_replaces_its_own_results_and_no_other_file() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let run = |kind: JobKind| crate::run_job(&root, kind);
    run(JobKind::Round(None)).unwrap();
    let (images, out) = (temp.path().join("images"), temp.path().join("out"));
    std::fs::create_dir_all(&images).unwrap();
    std::fs::create_dir_all(&out).unwrap();
    image::RgbImage::from_pixel(40, 30, image::Rgb([90, 60, 40])).save(images.join("a.png")).unwrap();
    let predict = || run(JobKind::Predict { images: images.clone(), out: out.clone(), passes: None, npy: false });
    for name in ["scores.csv", "a.mask.png", "a.variance.png"] {
        // Not text of any kind that the program writes.
        std::fs::write(out.join(name), [0xff, 0xfe, 0x41]).unwrap();
        let refused = predict().unwrap_err();
        assert!(refused.text.contains("was not written by this program") && refused.text.contains(name), "{refused}");
        assert_eq!(std::fs::read(out.join(name)).unwrap(), [0xff, 0xfe, 0x41]);
        std::fs::remove_file(out.join(name)).unwrap();
    }
    predict().unwrap();
    // As an earlier version left it.
    let text = std::fs::read_to_string(out.join("scores.csv")).unwrap();
    let (columns, line) = text.trim_end().split_once('\n').unwrap();
    let earlier = columns.strip_suffix(",mean_of,mean_scale,variance_scale").expect("it says what the maps are");
    assert!(line.starts_with("a.png,a.mask.png,") && line.contains(",lesion,1.0,"), "{line}");
    std::fs::write(out.join("scores.csv"), format!("{earlier}\n")).unwrap();
    predict().unwrap();
    assert!(std::fs::read_to_string(out.join("scores.csv")).unwrap().starts_with(columns));
    for name in ["a.mean.png", "a.variance.png", "a.mask.png"] {
        assert_eq!(image::image_dimensions(out.join(name)).unwrap(), (40, 30), "{name}");
    }
}

#[test]
fn a_class_of_a_name_that_is_taken_is_refused_and_what_follows_is_saved() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    for name in ["lesion", "vessel"] {
        ask(&worker, Request::Write(Write::AddClass(name.to_owned())));
    }
    let mut classes = None;
    let refused = wait_for(&worker, "that it is refused", |event| match event {
        Event::Refreshed(study) => {
            classes = Some(study.classes.len());
            None
        }
        Event::Error(failure) => Some(failure.text),
        _ => None,
    });
    assert!(refused.contains("a class lesion already"), "{refused}");
    assert_eq!(classes, Some(1), "the window is told what there is");
    drop(worker);
    assert_eq!(Project::open(&root).unwrap().class_names().unwrap(), ["lesion", "vessel"]);
}

/// A pipe that nobody writes to hangs whoever opens it, as a driver or a network drive may.
#[test]
#[cfg(unix)]
fn a_job_that_hangs_is_given_up_on_and_the_next_one_runs() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let worker = Worker::start(|| {});
    open(&worker, root.clone());
    job(&worker, 1, JobKind::Round(None));
    wait_for(&worker, "the first round", |event| matches!(event, Event::Finished(1, _)).then_some(()));
    let model = temp.path().join("model");
    std::fs::create_dir_all(&model).unwrap();
    let rounds = Project::open_to_read(&root).unwrap();
    std::fs::copy(rounds.model_folder(1).join("model.json"), model.join("model.json")).unwrap();
    let pipe = model.join("model.safetensors");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    job(&worker, 2, JobKind::ImportModel { folder: model, ignores_names: true });
    // Where it hangs it reads the network, after the images.
    wait_until_progress(&worker, Phase::Training);
    worker.cancel(2);
    let reason = wait_for(&worker, "the job is given up on", |event| match event {
        Event::Failed(2, reason) => Some(reason),
        _ => None,
    });
    assert!(reason.text.contains("started again"), "{reason}");
    job(&worker, 3, JobKind::Score);
    wait_for(&worker, "the next job runs", |event| match event {
        Event::Finished(3, _) => Some(()),
        Event::Failed(3, reason) => panic!("{reason}"),
        _ => None,
    });
    drop(worker);
    assert_eq!(Project::open(&root).unwrap().rounds().unwrap().len(), 1);
    // Let the thread that hangs end.
    drop(std::fs::File::options().write(true).open(pipe));
}

fn wait_until_progress(worker: &Worker, phase: Phase) {
    let begun = Instant::now();
    while worker.progress().is_none_or(|progress| progress.phase != phase) {
        assert!(begun.elapsed() < Duration::from_secs(60), "phase {phase:?} is never reached");
        std::thread::sleep(Duration::from_millis(10));
    }
}
