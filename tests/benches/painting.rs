//! `cargo bench --bench painting`: the brush, undo, the window's frame while one paints, and a project of 10,000 images.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use egui::{Key, Modifiers, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use qualm::app::editor::{Editor, Stale};
use qualm::app::{Ink, Pen};
use qualm::domain::brush::Point;
use qualm::domain::cleanup::Locked;
use qualm::domain::edit::History;
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::picture::Picture;
use qualm::domain::settings::{Budget, Settings};
use qualm::domain::study::ImageId;
use qualm::project::{ImportPlan, ImportRules, Project, ProjectError};
use qualm::ui::{First, Window};
use qualm::worker::{Label, Shown};
use tempfile::TempDir;

fn create(root: &Path, images: &Path, masks: Option<&Path>, settings: &Settings) -> Result<Project, ProjectError> {
    let plan = ImportPlan::read(images, masks, Some(root), &ImportRules::default(), &|_, _| {})?;
    Ok(Project::create(root, &plan, settings, &|_, _| {})?.0)
}

fn editor(side: usize) -> Editor {
    let picture = Picture::of_colour(side, side, vec![90; side * side * 4]);
    let label = Label { mask: Mask::filled(side, side, UNLABELLED), history: History::default() };
    let mut editor = Editor::new(
        Shown {
            image: ImageId(1),
            ticket: 1,
            picture: Arc::new(picture),
            overview: None,
            label,
            pseudo_label: None,
            prediction: None,
        },
        None,
    );
    editor.stale = Stale::Parts(Vec::new());
    editor
}

fn pen() -> Pen {
    Pen { ink: Ink::Class(1), gate: None, locked: Locked::default(), threshold: 0.5 }
}

/// A pointer that moves by 10 pixels at a time and bounces off the image's edges.
struct Path10 {
    at: Point,
    step: (f64, f64),
    side: f64,
}

impl Path10 {
    fn new(side: usize) -> Self {
        Self { at: Point { x: side as f64 / 2.0, y: side as f64 / 2.0 }, step: (9.3, 3.7), side: side as f64 }
    }

    fn next(&mut self) -> Point {
        let turn = |at: f64, step: &mut f64, side: f64| {
            if !(0.0..=side).contains(&(at + *step)) {
                *step = -*step;
            }
            at + *step
        };
        self.at =
            Point { x: turn(self.at.x, &mut self.step.0, self.side), y: turn(self.at.y, &mut self.step.1, self.side) };
        self.at
    }
}

fn moves(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("brush_move");
    for (radius, side) in [(200, 1024), (200, 4096), (2000, 4096)] {
        group.bench_function(BenchmarkId::new(format!("radius_{radius}"), side), |b| {
            let mut editor = editor(side);
            let mut path = Path10::new(side);
            editor.press(path.next(), pen(), f64::from(radius));
            b.iter(|| {
                editor.drag(path.next());
                editor.stale = Stale::Parts(Vec::new());
            });
        });
    }
    group.finish();
}

fn draw(editor: &mut Editor, path: &mut Path10) {
    editor.press(path.next(), pen(), 20.0);
    (0..500).for_each(|_| editor.drag(path.next()));
    black_box(editor.release());
}

fn strokes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stroke_500");
    group.throughput(Throughput::Elements(500));
    group.bench_function(BenchmarkId::new("radius_20", 4096), |b| {
        let mut editor = editor(4096);
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let mut path = Path10::new(4096);
                    let begun = Instant::now();
                    draw(&mut editor, &mut path);
                    let took = begun.elapsed();
                    editor.undo().unwrap();
                    took
                })
                .sum()
        });
    });
    group.finish();
    criterion.bench_function("undo/stroke_500", |b| {
        let mut editor = editor(4096);
        draw(&mut editor, &mut Path10::new(4096));
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let begun = Instant::now();
                    black_box(editor.undo().unwrap());
                    let took = begun.elapsed();
                    editor.redo().unwrap();
                    took
                })
                .sum()
        });
    });
}

fn window(root: &Path) -> Harness<'static, Window> {
    let root = root.to_owned();
    let build = move |cc: &mut eframe::CreationContext<'_>| {
        Window::new(cc, First::Project(root.clone()), PathBuf::from("demo"))
    };
    Harness::builder().with_size(vec2(1440.0, 860.0)).wgpu().build_eframe(build)
}

fn until(window: &mut Harness<'static, Window>, holds: impl Fn(&Window) -> bool) {
    while !holds(window.state()) {
        window.step();
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Frame times, with one pointer event per frame, while a stroke is drawn on a 4,096 × 4,096 image.
fn frames(window: &mut Harness<'static, Window>) -> Vec<Duration> {
    let rect = window.get_by_label("Image canvas").rect();
    let at = |i: usize| {
        let angle = i as f32 / 40.0;
        Pos2::new(rect.center().x + angle.cos() * 100.0, rect.center().y + angle.sin() * 100.0)
    };
    window.hover_at(at(0));
    window.step();
    window.drag_at(at(0));
    window.step();
    let times = (1..600)
        .map(|i| {
            window.hover_at(at(i));
            let begun = Instant::now();
            window.step();
            begun.elapsed()
        })
        .collect();
    window.drop_at(at(600));
    window.run_steps(2);
    times
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("{name}: median {:.2} ms, p99 {:.2} ms, largest {:.2} ms", at(0.5), at(0.99), at(1.0));
}

fn frame_times() {
    let temp = TempDir::new().unwrap();
    let images = temp.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let large = image::RgbImage::from_fn(4096, 4096, |x, y| [(x / 16) as u8, (y / 16) as u8, 90].into());
    large.save(images.join("a.png")).unwrap();
    let masks = temp.path().join("masks");
    std::fs::create_dir(&masks).unwrap();
    for i in 0..8 {
        let small = image::RgbImage::from_fn(64, 64, |x, y| [(x * 4) as u8, (y * 4) as u8, i * 9].into());
        small.save(images.join(format!("b{i}.png"))).unwrap();
        image::GrayImage::from_fn(64, 64, |x, _| image::Luma([u8::from(x > 30) * 255]))
            .save(masks.join(format!("b{i}.png")))
            .unwrap();
    }
    let root = temp.path().join("project");
    let settings = Settings { epochs: 1000, budget: Budget::Epochs, ..Settings::default() };
    drop(create(&root, &images, Some(&masks), &settings).unwrap());
    let mut window = window(&root);
    until(&mut window, |window| window.app.project().and_then(|p| p.editor()).is_some());
    window.state_mut().app.radius = 200.0;
    window.run_steps(20);
    report("frame/painting_4096/idle", frames(&mut window));
    window.key_press_modifiers(Modifiers::COMMAND, Key::T);
    until(&mut window, |window| window.app.progress.as_ref().is_some_and(|p| p.loss.is_some()));
    report("frame/painting_4096/training", frames(&mut window));
}

fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or("VmRSS: 0 kB");
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

fn ten_thousand() {
    let temp = TempDir::new().unwrap();
    let images = temp.path().join("images");
    std::fs::create_dir(&images).unwrap();
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo/images/ISIC_0000042.jpg");
    let bytes = std::fs::read(demo).unwrap();
    (0..10_000).for_each(|i| std::fs::write(images.join(format!("image_{i:05}.jpg")), &bytes).unwrap());
    let root = temp.path().join("project");
    drop(create(&root, &images, None, &Settings::default()).unwrap());
    let before = resident_mb();
    let begun = Instant::now();
    let mut window = window(&root);
    until(&mut window, |window| window.app.project().is_some());
    window.step();
    window.get_by_label("image_00000.jpg, unlabelled");
    println!("open/10000: first paint of the list after {:.0} ms", begun.elapsed().as_secs_f64() * 1e3);
    let rect = window.get_by_label("image_00000.jpg, unlabelled").rect();
    window.hover_at(rect.center());
    let times = (0..400)
        .map(|_| {
            let delta = vec2(0.0, -400.0);
            let (unit, phase, modifiers) = (egui::MouseWheelUnit::Point, egui::TouchPhase::Move, Modifiers::NONE);
            let source = egui::MouseWheelSource::Unknown;
            window.event(egui::Event::MouseWheel { unit, delta, phase, modifiers, source });
            let begun = Instant::now();
            window.step();
            begun.elapsed()
        })
        .collect();
    report("frame/scrolling_10000", times);
    println!("open/10000: {:.0} MB resident, {:.0} MB before the window", resident_mb(), before);
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    moves(&mut criterion);
    strokes(&mut criterion);
    criterion.final_summary();
    frame_times();
    ten_thousand();
}
