//! The program is repeatedly killed during work: at most the stroke in flight is lost.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use image::RgbImage;
use qualm::app::editor::Editor;
use qualm::app::{App, Ink, Pen};
use qualm::domain::brush::Point;
use qualm::domain::cleanup::Locked;
use qualm::domain::mask::{BACKGROUND, Mask};
use qualm::domain::picture::Picture;
use qualm::domain::settings::Settings;
use qualm::domain::study::ImageId;
use qualm::project::{Label, Project};
use qualm::raster;
use qualm::worker::{Shown, Worker};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use tempfile::TempDir;

const WIDTH: usize = 200;
const HEIGHT: usize = 150;
const KILLS: u64 = 100;
/// Environment variables that give the labeller its project and its seed.
const PROJECT: &str = "QUALM_TEST_LABELLER";
const SEED: &str = "QUALM_TEST_LABELLER_SEED";
const PACE: Duration = Duration::from_millis(40);

/// What the labeller does next.
#[derive(Clone, Debug, PartialEq)]
enum Act {
    /// A stroke of the brush through these points; erasing or not.
    Stroke(Vec<Point>, f64, bool),
    /// Undo.
    Undo,
    /// Redo.
    Redo,
}

/// The script.
struct Script {
    rng: Pcg64Mcg,
    width: f64,
    height: f64,
}

impl Script {
    /// The script of this seed for an image of `width` × `height`.
    fn new(seed: u64, width: usize, height: usize) -> Self {
        Self { rng: Pcg64Mcg::seed_from_u64(seed), width: width as f64, height: height as f64 }
    }
}

impl Iterator for Script {
    type Item = Act;

    fn next(&mut self) -> Option<Act> {
        let (width, height) = (self.width, self.height);
        Some(match self.rng.random_range(0..10) {
            0 => Act::Undo,
            1 => Act::Redo,
            _ => {
                let count = self.rng.random_range(1..8);
                let mut point =
                    || Point { x: self.rng.random_range(0.0..width), y: self.rng.random_range(0.0..height) };
                let points = (0..count).map(|_| point()).collect();
                Act::Stroke(points, self.rng.random_range(1.0..20.0), self.rng.random_bool(0.3))
            }
        })
    }
}

/// The program that is killed: works through a script on the first image, and prints to standard error `made N` when it
/// has made the Nth action and `saved N` when everything up to that action is on disk.
#[test]
#[ignore = "the next test starts it, and kills it"]
fn a_labeller() {
    let (project, seed) = (PathBuf::from(std::env::var_os(PROJECT).unwrap()), std::env::var(SEED).unwrap());
    let mut app = App::new(Worker::start(|| {}), PathBuf::new());
    app.open(project);
    while app.project().is_none_or(|project| project.editor().is_none()) {
        app.update();
        std::thread::sleep(Duration::from_millis(1));
    }
    eprintln!("ready");
    for (number, act) in (1..).zip(Script::new(seed.parse().unwrap(), WIDTH, HEIGHT)) {
        match act {
            Act::Undo => app.undo(),
            Act::Redo => app.redo(),
            Act::Stroke(points, radius, erase) => {
                app.press(points[0], radius, erase);
                points.iter().for_each(|point| app.drag(*point));
                app.release();
            }
        }
        eprintln!("made {number}");
        let next = Instant::now() + PACE;
        let mut is_said = false;
        while Instant::now() < next {
            app.update();
            if app.unsaved == 0 && !is_said {
                eprintln!("saved {number}");
                is_said = true;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// The label after each action of a script that starts from the label `begun`.
fn expected(script: Script, begun: Label, acts: usize) -> Vec<Mask> {
    let picture = Picture::of_colour(WIDTH, HEIGHT, vec![0; WIDTH * HEIGHT * 4]);
    let shown = Shown {
        image: ImageId(1),
        ticket: 1,
        picture: Arc::new(picture),
        overview: None,
        label: begun,
        pseudo_label: None,
        prediction: None,
    };
    let mut editor = Editor::new(shown, None);
    let mut masks = vec![editor.mask().clone()];
    for act in script.take(acts) {
        match act {
            Act::Undo => drop(editor.undo().unwrap()),
            Act::Redo => drop(editor.redo().unwrap()),
            Act::Stroke(points, radius, erase) => {
                let ink = Ink::Class(if erase { BACKGROUND } else { 1 });
                editor.press(points[0], Pen { ink, gate: None, locked: Locked::default(), threshold: 0.5 }, radius);
                points.iter().for_each(|point| editor.drag(*point));
                editor.release();
            }
        }
        masks.push(editor.mask().clone());
    }
    masks
}

/// Lets the program paint for a while, kills it, and gives the numbers of the last act made and the last saved.
fn work_and_die(root: &Path, seed: u64, alive: Duration) -> (usize, usize) {
    let mut program = Command::new(std::env::current_exe().unwrap())
        .args(["durability::a_labeller", "--exact", "--ignored", "--nocapture"])
        .env(PROJECT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stderr.take().unwrap()).lines().map_while(Result::ok);
    assert!(lines.any(|line| line == "ready"));
    std::thread::sleep(alive);
    program.kill().unwrap();
    program.wait().unwrap();
    let (mut made, mut saved) = (0, 0);
    for line in lines {
        // The last line may be truncated: only complete lines count.
        let mut words = line.split(' ');
        match words.next().zip(words.next().and_then(|number| number.parse().ok())) {
            Some(("made", number)) => made = number,
            Some(("saved", number)) => saved = number,
            _ => {}
        }
    }
    (made, saved)
}

#[test]
fn a_hundred_kills_lose_at_most_the_stroke_in_flight() {
    let temp = TempDir::new().unwrap();
    let (images, root) = (temp.path().join("images"), temp.path().join("project"));
    std::fs::create_dir(&images).unwrap();
    RgbImage::new(WIDTH as u32, HEIGHT as u32).save(images.join("a.png")).unwrap();
    drop(crate::create(&root, &images, None, &Settings::default()).unwrap());
    let mut rng = Pcg64Mcg::seed_from_u64(7);
    let (mut acts, mut late) = (0, 0);
    for seed in 0..KILLS {
        let begun = Project::open(&root).unwrap().label(ImageId(1)).unwrap();
        let alive = Duration::from_millis(rng.random_range(0..250));
        let (made, saved) = work_and_die(&root, seed, alive);
        let masks = expected(Script::new(seed, WIDTH, HEIGHT), begun, made + 1);
        let found = Project::open(&root).unwrap().label(ImageId(1)).unwrap().mask;
        // The act in flight may have reached the disk before its line reached us.
        let possible = saved..=made + 1;
        let reached = possible.clone().rev().find(|acts| masks[*acts] == found);
        assert!(
            reached.is_some(),
            "kill {seed}: {made} made, {saved} saved, and the label is none of those after {possible:?} acts"
        );
        late += usize::from(reached < made.checked_sub(1));
        acts += made;
    }
    // If a commit takes the disk longer than a stroke takes, more than one is in flight.
    assert!(late <= 5, "{late} of {KILLS} times more than one act was missing");
    assert!(acts > 200, "only {acts} acts were made: the test tried nothing");
    let mut project = Project::open(&root).unwrap();
    project.export_labels().unwrap();
    let label = project.label(ImageId(1)).unwrap();
    assert_eq!(raster::read_label(&project.label_path("a")).unwrap(), label.mask);
}
