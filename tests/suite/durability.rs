//! The program is killed in the middle of work, again and again: at most the stroke in flight is missing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use image::RgbImage;
use qualm::app::editor::Editor;
use qualm::app::rehearsal::{Act, Script};
use qualm::app::{Ink, Pen};
use qualm::domain::cleanup::Locked;
use qualm::domain::mask::{BACKGROUND, Mask};
use qualm::domain::picture::Picture;
use qualm::domain::settings::Settings;
use qualm::domain::study::ImageId;
use qualm::project::{Label, Project};
use qualm::raster;
use qualm::worker::Shown;
use rand::{RngExt, SeedableRng};
use tempfile::TempDir;

const WIDTH: usize = 200;
const HEIGHT: usize = 150;
const KILLS: u64 = 100;

/// The label after each act of a script that begins with this one.
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
    let mut editor = Editor::new(shown);
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
    let mut program = Command::new(env!("CARGO_BIN_EXE_qualm"))
        .args(["rehearse", &root.display().to_string(), "--seed", &seed.to_string(), "--pace-ms", "40"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines().map_while(Result::ok);
    assert_eq!(lines.next().as_deref(), Some("ready"));
    std::thread::sleep(alive);
    program.kill().unwrap();
    program.wait().unwrap();
    let (mut made, mut saved) = (0, 0);
    for line in lines {
        // The last line may be torn: only whole ones count.
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
    let mut rng = rand_pcg::Pcg64Mcg::seed_from_u64(7);
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
    // Where the disk takes longer for a commit than a hand for a stroke, more than one is in flight.
    assert!(late <= 5, "{late} of {KILLS} times more than one act was missing");
    assert!(acts > 200, "only {acts} acts were made: the test tried nothing");
    let mut project = Project::open(&root).unwrap();
    project.export_labels().unwrap();
    let label = project.label(ImageId(1)).unwrap();
    assert_eq!(raster::read_label(&project.label_path("a")).unwrap(), label.mask);
}
