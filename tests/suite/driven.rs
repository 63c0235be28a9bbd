//! A window driven through the accessibility tree.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use egui::{Key, Modifiers, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use qualm::app::OpenProject;
use qualm::domain::mask::Mask;
use qualm::domain::settings::{Budget, Encoder, Geometry, OrAuto, Settings};
use qualm::project::demo;
use qualm::ui::{First, Window};

/// One window at a time: the Vulkan loader is unreliable when several threads create and destroy instances.
static ONE: Mutex<()> = Mutex::new(());

pub struct Driven {
    pub window: Harness<'static, Window>,
    _one: MutexGuard<'static, ()>,
}

impl Driven {
    pub fn new(first: First, demo: PathBuf) -> Self {
        let one = ONE.lock().unwrap_or_else(|e| e.into_inner());
        let window = Harness::builder()
            .with_size(vec2(1440.0, 860.0))
            .wgpu()
            .build_eframe(move |cc| Window::new(cc, first, demo.clone()));
        Self { window, _one: one }
    }

    /// Runs the window until a condition holds.
    pub fn until(&mut self, what: &str, holds: impl Fn(&Window) -> bool) {
        let begun = Instant::now();
        while !holds(self.window.state()) {
            assert!(begun.elapsed() < Duration::from_secs(120), "it never came to this: {what}");
            self.window.step();
            std::thread::sleep(Duration::from_millis(10));
        }
        self.window.run_steps(3);
    }

    pub fn project(&self) -> &OpenProject {
        self.window.state().app.project().expect("a project is open")
    }

    pub fn mask(&self) -> Mask {
        self.project().editor().expect("an image is open").mask().clone()
    }

    pub fn click(&mut self, label: &str) {
        self.window.get_by_label(label).click();
        self.window.run_steps(3);
    }

    pub fn key(&mut self, modifiers: Modifiers, key: Key) {
        self.window.key_press_modifiers(modifiers, key);
        self.window.run_steps(3);
    }

    /// Drags with the primary button through points given as fractions of a canvas.
    pub fn drag(&mut self, canvas: &str, points: &[(f32, f32)]) {
        self.begin_drag(canvas, points);
        self.end_drag(canvas, points[points.len() - 1]);
    }

    fn place(&self, canvas: &str, (x, y): (f32, f32)) -> Pos2 {
        let rect = self.window.get_by_label(canvas).rect();
        Pos2::new(rect.left() + x * rect.width(), rect.top() + y * rect.height())
    }

    /// The same, without letting go of the button.
    pub fn begin_drag(&mut self, canvas: &str, points: &[(f32, f32)]) {
        self.window.hover_at(self.place(canvas, points[0]));
        self.window.step();
        self.window.drag_at(self.place(canvas, points[0]));
        for point in points {
            self.window.hover_at(self.place(canvas, *point));
        }
        self.window.run_steps(2);
    }

    /// Releases the button.
    pub fn end_drag(&mut self, canvas: &str, at: (f32, f32)) {
        self.window.drop_at(self.place(canvas, at));
        self.window.run_steps(3);
    }

    /// Clicks with a button at a point given as fractions of a canvas.
    pub fn click_at(&mut self, canvas: &str, at: (f32, f32), button: egui::PointerButton) {
        let pos = self.place(canvas, at);
        self.window.hover_at(pos);
        self.window.step();
        for pressed in [true, false] {
            self.window.event(egui::Event::PointerButton { pos, button, pressed, modifiers: Modifiers::NONE });
            self.window.step();
        }
        self.window.run_steps(2);
    }

    pub fn image_is_open(window: &Window) -> bool {
        window.app.project().is_some_and(|project| project.editor().is_some())
    }
}

/// The demo project with a network that trains in a moment.
pub fn tiny_demo(folder: &Path) -> PathBuf {
    let root = folder.join("demo");
    let (mut project, _) = demo::open_or_create(&root).unwrap();
    let settings = Settings {
        encoder: Encoder::Unet,
        widths: OrAuto::Is(vec![4, 8]),
        geometry: Geometry::Resize,
        rows: 32,
        columns: 32,
        epochs: 2,
        budget: Budget::Epochs,
        passes: 3,
        query_no_detection: 2,
        query_uncertain: 3,
        query_random: 2,
        ..Settings::default()
    };
    project.set_settings(&settings).unwrap();
    root
}

/// Share of the label that is of a class.
pub fn share(mask: &Mask, class: u8) -> f64 {
    mask.pixels().iter().filter(|&&c| c == class).count() as f64 / mask.pixels().len() as f64
}
