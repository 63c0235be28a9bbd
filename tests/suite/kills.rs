//! Commands killed at random moments, and pairs of commands at once: everything committed survives, and nothing half
//! written does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use qualm::domain::edit::{Edit, Step};
use qualm::domain::mask::Mask;
use qualm::domain::study::{ImageId, Side};
use qualm::project::Project;
use qualm::raster;
use qualm::worker::{Event, Request, Worker, Write};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;

use crate::driven::tiny_demo;

/// Kills of each command.
const KILLS: u64 = 60;
/// How many times two imports are started at once.
const PAIRS: usize = 80;
/// How many times two rounds are.
const ROUNDS: usize = 60;
/// How many times an import and a second window meet a window.
const WINDOWS: usize = 60;

fn qualm(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_qualm"));
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Every label of a project.
pub fn labels(root: &Path) -> Vec<(ImageId, bool, Mask)> {
    let project = Project::open_to_read(root).unwrap();
    let of =
        |image: qualm::domain::study::ImageRecord| (image.id, image.labelled, project.label(image.id).unwrap().mask);
    project.images().unwrap().into_iter().map(of).collect()
}

/// The folder of the demo's labels as masks, each of class 1 everywhere.
pub fn whole_masks(root: &Path, out: &Path) {
    for image in Project::open_to_read(root).unwrap().images().unwrap() {
        let mask = Mask::filled(image.width, image.height, 1);
        raster::write_label(&out.join(format!("{}.png", image.stem)), &mask, &[]).unwrap();
    }
}

#[test]
fn commands_that_are_killed_leave_a_project_that_is_whole() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let masks = temp.path().join("masks");
    whole_masks(&root, &masks);
    let before = labels(&root);
    let mut rng = Pcg64Mcg::seed_from_u64(3);
    // A first round, so that there is something to score and to export.
    assert!(qualm(&[&"round", &root, &"--device", &"cpu"]).wait().unwrap().success());
    let commands: [(&str, u64, Vec<PathBuf>); 5] = [
        ("round", 1500, ["--device", "cpu"].map(PathBuf::from).to_vec()),
        ("score", 600, ["--device", "cpu"].map(PathBuf::from).to_vec()),
        (
            "export",
            150,
            [["--format", "tiff", "--overwrite", "--out"].map(PathBuf::from).to_vec(), vec![temp.path().join("tiff")]]
                .concat(),
        ),
        ("refresh", 60, Vec::new()),
        ("import", 250, [["--replace", "--masks"].map(PathBuf::from).to_vec(), vec![masks]].concat()),
    ];
    for (name, longest, arguments) in commands {
        for kill in 0..KILLS {
            let mut all: Vec<&dyn AsRef<std::ffi::OsStr>> = vec![&name, &root];
            all.extend(arguments.iter().map(|argument| argument as &dyn AsRef<std::ffi::OsStr>));
            let mut child = qualm(&all);
            std::thread::sleep(Duration::from_millis(rng.random_range(1..longest)));
            let _ = child.kill();
            let _ = child.wait();
            let project = Project::open(&root).unwrap_or_else(|error| panic!("{name}, kill {kill}: {error}"));
            // Every recorded round has its model, and leftovers of an unrecorded one do not block any other.
            for round in project.rounds().unwrap() {
                let folder = project.model_folder(round.report.round);
                assert!(folder.join("weights.safetensors").is_file(), "{name}, kill {kill}: {}", folder.display());
            }
            assert!(project.images().unwrap().iter().all(|image| image.side != Side::Validation || image.labelled));
            drop(project);
            for ((image, labelled, mask), (_, was_labelled, was)) in labels(&root).iter().zip(&before) {
                // Each label is either as it was, or as the import says.
                let is_imported = mask.pixels().iter().all(|class| *class == 1);
                assert!(
                    mask == was && labelled == was_labelled || name == "import" && is_imported && *labelled,
                    "{name}, kill {kill}: image {image}"
                );
            }
        }
    }
    // No file of an export is half written.
    for file in std::fs::read_dir(temp.path().join("tiff")).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if file.extension().is_some_and(|ending| ending == "tif") {
            assert!(raster::read(&file, 0).is_ok(), "{}", file.display());
        }
    }
    assert!(qualm(&[&"import", &root, &"--replace", &"--masks", &temp.path().join("masks")]).wait().unwrap().success());
    assert!(labels(&root).iter().all(|(_, labelled, mask)| *labelled && mask.pixels().iter().all(|class| *class == 1)));
}

#[test]
fn of_two_commands_at_once_one_works_and_the_other_is_refused_and_no_label_is_lost() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let (ones, others) = (temp.path().join("ones"), temp.path().join("others"));
    whole_masks(&root, &ones);
    for image in Project::open_to_read(&root).unwrap().images().unwrap() {
        let mask = Mask::filled(image.width, image.height, 0);
        raster::write_label(&others.join(format!("{}.png", image.stem)), &mask, &[]).unwrap();
    }
    let mut refused = 0;
    for pair in 0..PAIRS {
        let start = |masks: &PathBuf| qualm(&[&"import", &root, &"--replace", &"--masks", masks]);
        let mut both = [start(&ones), start(&others)];
        let done = both.each_mut().map(|child| child.wait().unwrap().success());
        refused += done.iter().filter(|done| !**done).count();
        assert!(done[0] || done[1], "pair {pair}: neither");
        let all = labels(&root);
        let first = all[0].2.pixels()[0];
        // All of one import: the later of two, or the only one.
        assert!(
            all.iter().all(|(_, labelled, mask)| *labelled && mask.pixels().iter().all(|class| *class == first)),
            "pair {pair}"
        );
        assert!(done[usize::from(first == 0)], "pair {pair}: labels of the one that was refused");
    }
    assert!(refused > 0, "the lock was never met");
}

#[test]
fn of_two_rounds_at_once_one_is_trained_and_no_label_is_changed() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let before = labels(&root);
    let mut trained = 0;
    for pair in 0..ROUNDS {
        let start = || qualm(&[&"round", &root, &"--device", &"cpu"]);
        let mut both = [start(), start()];
        let done = both.each_mut().map(|child| child.wait().unwrap().success());
        assert!(done[0] || done[1], "pair {pair}: neither");
        trained += done.iter().filter(|done| **done).count();
    }
    assert!(trained < 2 * ROUNDS, "the lock was never met");
    assert_eq!(labels(&root), before);
    let project = Project::open(&root).unwrap();
    let rounds = project.rounds().unwrap();
    assert_eq!(rounds.len(), trained, "each round that was reported is recorded, and no other");
    assert!(rounds.iter().all(|round| project.model_folder(round.report.round).join("weights.safetensors").is_file()));
}

#[test]
fn a_window_keeps_what_is_painted_in_it_while_commands_and_another_window_try_to_write() {
    let temp = TempDir::new().unwrap();
    let root = tiny_demo(temp.path());
    let masks = temp.path().join("masks");
    whole_masks(&root, &masks);
    let mut expected: BTreeMap<ImageId, Mask> = labels(&root).into_iter().map(|(id, _, mask)| (id, mask)).collect();
    let open = |request: Request| {
        let worker = Worker::start(|| {});
        assert!(worker.ask(request).is_ok());
        let begun = Instant::now();
        loop {
            match worker.wait(Duration::from_millis(100)) {
                Some(Event::Opened(_)) => return worker,
                _ => assert!(begun.elapsed() < Duration::from_secs(60), "it is never opened"),
            }
        }
    };
    for run in 0..WINDOWS {
        let window = open(Request::Open(root.clone()));
        let mut import = qualm(&[&"import", &root, &"--replace", &"--masks", &masks]);
        let other = open(Request::OpenToRead(root.clone()));
        let (image, mask) = expected.iter_mut().nth(run % 7).unwrap();
        let painted = Mask::filled(mask.width(), mask.height(), (run % 2) as u8);
        let position = Project::open_to_read(&root).unwrap().label(*image).unwrap().history.done();
        let edit = Edit::between(mask, &painted).unwrap_or_default();
        let step = |edit| Write::Step { image: *image, position, step: Step::from(edit) };
        assert!(window.ask(Request::Write(step(edit))).is_ok());
        // The other window may only look: what it is asked to write is refused.
        let nothing = Edit::between(mask, &Mask::filled(mask.width(), mask.height(), 2)).unwrap_or_default();
        assert!(other.ask(Request::Write(step(nothing))).is_ok());
        assert!(!import.wait().unwrap().success(), "run {run}: an import wrote into a project that a window has open");
        drop(other);
        drop(window);
        *mask = painted;
        let found: BTreeMap<ImageId, Mask> = labels(&root).into_iter().map(|(id, _, mask)| (id, mask)).collect();
        assert!(found == expected, "run {run}");
    }
}
