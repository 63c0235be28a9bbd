//! A labeller who works from a script: random strokes, undo and redo, the same for the same seed. The test of durability
//! lets one work in the real program and kills it.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;

use crate::app::App;
use crate::domain::brush::Point;

/// What the labeller does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A stroke of the brush through these points; erasing or not.
    Stroke(Vec<Point>, f64, bool),
    /// Undo.
    Undo,
    /// Redo.
    Redo,
}

/// The script.
pub struct Script {
    rng: Pcg64Mcg,
    width: f64,
    height: f64,
}

impl Script {
    /// The script of this seed for an image of `width` × `height`.
    pub fn new(seed: u64, width: usize, height: usize) -> Self {
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

impl App {
    /// Does what the script says, as the window would for a person.
    pub fn act(&mut self, act: &Act) {
        match act {
            Act::Undo => self.undo(),
            Act::Redo => self.redo(),
            Act::Stroke(points, radius, erase) => {
                self.press(points[0], *radius, *erase);
                points.iter().for_each(|point| self.drag(*point));
                self.release();
            }
        }
    }
}
