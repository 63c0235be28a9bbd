//! How the pointer paints: its ink, its gate, and edits of the whole label.

use std::sync::Arc;

use crate::app::{App, OpenProject};
use crate::domain::cleanup::{self, Cleanup, Locked};
use crate::domain::clicks::{self, Clicks};
use crate::domain::edit::Gesture;
use crate::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use crate::domain::picture::Picture;
use crate::domain::prediction::{Prediction, SampledPrediction, Uncertainty};
use crate::domain::tiles::Tile;

/// What the pointer leaves on the label.
#[derive(Clone, Debug)]
pub enum Ink {
    /// A class, background, or *not labelled*.
    Class(u8),
    /// The predicted mask.
    Prediction,
}

/// A gate of the brush: it paints only pixels whose value lies within a range, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate {
    /// Which value.
    pub by: Gauge,
    /// The lower end.
    pub low: f32,
    /// The upper end.
    pub high: f32,
}

/// A value of each pixel that a gate looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gauge {
    /// The image's brightness, 0 to 1.
    Intensity,
    /// The predicted probability.
    Probability,
    /// The predictive variance.
    Variance,
    /// The class in the label, by its number: what is painted has that class before.
    Class,
}

impl App {
    /// The gate that a gauge begins with: the upper half of what the open image is shown with, of probability and of
    /// variance, and a class other than the one that is painted.
    pub fn first_gate(&self, by: Gauge) -> Gate {
        let (low, high) = match by {
            Gauge::Intensity => {
                let middle = self.project().and_then(OpenProject::editor).map_or(0.5, |editor| {
                    let (levels, span) = (self.levels(), editor.picture.span);
                    let middle = (levels.low + levels.high) / 2.0;
                    (middle - span.low) / (span.high - span.low).max(f32::MIN_POSITIVE)
                });
                (middle.clamp(0.0, 1.0), 1.0)
            }
            Gauge::Probability => (0.5, 1.0),
            Gauge::Variance => (0.125, 0.25),
            Gauge::Class => {
                let classes = self.project().map_or(&[][..], |project| project.study.classes.as_slice());
                let other = classes.iter().map(|class| class.number).find(|number| *number != self.class);
                let other = f32::from(other.unwrap_or(UNLABELLED));
                (other, other)
            }
        };
        Gate { by, low, high }
    }

    /// The pixels that the gate lets be painted, in words; `None` without a gate.
    pub(super) fn gated_pixels(&self) -> Option<String> {
        let gate = self.gate?;
        let project = self.project()?;
        let pixels = |what: &str, [low, high]: [f64; 2]| {
            let rounded = |value: f64| (value * 1000.0).round() / 1000.0;
            format!("pixels whose {what} is {} – {}", rounded(low), rounded(high))
        };
        let shares = [gate.low, gate.high].map(f64::from);
        Some(match gate.by {
            Gauge::Intensity => {
                let picture = &project.editor()?.picture;
                let (black, white) = picture.values_of(picture.span);
                pixels("intensity", shares.map(|share| black + share * (white - black)))
            }
            Gauge::Probability => pixels("probability", shares),
            Gauge::Variance => pixels("variance", shares),
            Gauge::Class => format!("pixels that are {}", project.class_name(gate.low as u8)),
        })
    }
}

impl OpenProject {
    /// The name of a class, or what a pixel without one is called.
    pub fn class_name(&self, number: u8) -> String {
        match number {
            UNLABELLED => "not labelled".to_owned(),
            BACKGROUND => "background".to_owned(),
            _ => {
                let class = self.study.classes.iter().find(|class| class.number == number);
                class.map_or(format!("class {number}"), |class| class.name.clone())
            }
        }
    }
}

/// How the pointer paints.
#[derive(Clone, Debug)]
pub struct Pen {
    /// What it leaves.
    pub ink: Ink,
    /// Where it paints; everywhere without one.
    pub gate: Option<Gate>,
    /// Classes it leaves alone.
    pub locked: Locked,
    /// Probability from which a pixel is predicted foreground.
    pub threshold: f32,
}

/// An edit of the whole label.
#[derive(Clone, Debug)]
pub enum Whole {
    /// The predicted mask becomes the label.
    Adopt,
    /// All unlabelled pixels, or those of a tile, become background.
    RestIsBackground(Option<Tile>),
    /// An operation on one class.
    Cleanup(Cleanup, u8),
    /// Flood fill from this pixel, up to this difference in any channel.
    Flood((usize, usize), f32),
    /// Another label takes its place.
    Replace(Arc<Mask>),
    /// Clicked regions join a class or leave it.
    Clicks(Arc<Clicked>),
}

/// Clicks on a label, with the data needed to segment the object.
#[derive(Clone, Debug)]
pub struct Clicked {
    /// The label before the first of the clicks.
    pub base: Arc<Mask>,
    /// The class that is clicked.
    pub class: u8,
    /// The clicks.
    pub clicks: Clicks,
    /// The network's prediction for the image.
    pub prediction: Option<Arc<Prediction>>,
}

/// A pen with the image and the prediction that its gate and ink read.
pub(super) struct Nib {
    pen: Pen,
    picture: Arc<Picture>,
    predicted: Option<SampledPrediction>,
}

impl Nib {
    /// A pen over a label of this many columns and rows.
    pub(super) fn new(
        pen: Pen,
        picture: Arc<Picture>,
        prediction: Option<Arc<Prediction>>,
        (columns, rows): (usize, usize),
    ) -> Self {
        let looks = matches!(pen.ink, Ink::Prediction)
            || pen.gate.is_some_and(|gate| matches!(gate.by, Gauge::Probability | Gauge::Variance));
        let predicted = prediction
            .filter(|_| looks)
            .map(|prediction| SampledPrediction::new(prediction, pen.threshold, columns, rows));
        Self { pen, picture, predicted }
    }

    /// Paints a run of pixels of a row.
    pub(super) fn paint(&self, gesture: &mut Gesture, mask: &mut Mask, row: usize, columns: std::ops::Range<usize>) {
        match self.pen.ink {
            Ink::Class(class) if self.pen.gate.is_none() && self.pen.locked.is_empty() => {
                gesture.paint(mask, row, columns, class);
            }
            Ink::Class(_) | Ink::Prediction => {
                gesture.paint_with(mask, row, columns, |column, old| self.value(column, row, old))
            }
        }
    }

    /// What a pixel of class `old` becomes.
    fn value(&self, x: usize, y: usize, old: u8) -> u8 {
        if self.pen.locked.contains(old) || !self.passes(x, y, old) {
            return old;
        }
        match (&self.pen.ink, &self.predicted) {
            (Ink::Class(class), _) => *class,
            (Ink::Prediction, Some(predicted)) => predicted.class(x, y),
            (Ink::Prediction, None) => old,
        }
    }

    /// Whether the gate lets a pixel of class `old` be painted.
    fn passes(&self, x: usize, y: usize, old: u8) -> bool {
        let Some(gate) = self.pen.gate else { return true };
        let value = match (gate.by, &self.predicted) {
            (Gauge::Intensity, _) => self.picture.brightness(x, y),
            (Gauge::Class, _) => f32::from(old),
            (Gauge::Probability, Some(predicted)) => predicted.probability(x, y),
            (Gauge::Variance, Some(predicted)) => predicted.uncertainty(Uncertainty::Variance, x, y),
            (Gauge::Probability | Gauge::Variance, None) => return false,
        };
        (gate.low..=gate.high).contains(&value)
    }
}

impl Clicked {
    /// The label after the clicks.
    fn apply(&self, nib: &Nib) -> Mask {
        let Self { base, class, clicks, prediction } = self;
        let mut out = Mask::clone(base);
        let width = out.width();
        for (row, columns, joins) in clicks::segment(&nib.picture, base, *class, prediction.as_deref(), clicks) {
            for (pixel, x) in out.pixels_mut()[row * width..][columns.clone()].iter_mut().zip(columns) {
                let is_held = nib.pen.locked.contains(*pixel) || !nib.passes(x, row, *pixel);
                *pixel = match (is_held, joins) {
                    (true, _) => *pixel,
                    (false, true) => *class,
                    (false, false) => BACKGROUND,
                };
            }
        }
        out
    }
}

impl Whole {
    /// The ink of this edit; `ink` is the pen's own.
    pub(super) fn ink(&self, ink: Ink) -> Ink {
        match self {
            Self::Adopt => Ink::Prediction,
            Self::RestIsBackground(_) => Ink::Class(BACKGROUND),
            Self::Clicks(clicked) => Ink::Class(clicked.class),
            Self::Cleanup(..) | Self::Flood(..) | Self::Replace(_) => ink,
        }
    }

    /// The label after it.
    pub(super) fn apply(&self, mask: &Mask, nib: &Nib) -> Mask {
        let what = self;
        if let Whole::Replace(label) = what {
            return Mask::clone(label);
        }
        if let Whole::Cleanup(cleanup, class) = what {
            return cleanup.apply(mask, *class, &nib.pen.locked);
        }
        if let Whole::Clicks(clicked) = what {
            return clicked.apply(nib);
        }
        let mut out = mask.clone();
        let (width, height) = (mask.width(), mask.height());
        if let Whole::Flood(seed, tolerance) = *what {
            let alike = |x: usize, y: usize| nib.picture.distance(seed, (x, y)) <= tolerance;
            for (row, columns) in cleanup::flood(width, height, seed, alike) {
                for (pixel, x) in out.pixels_mut()[row * width..][columns.clone()].iter_mut().zip(columns) {
                    *pixel = nib.value(x, row, *pixel);
                }
            }
            return out;
        }
        let tile = match *what {
            Self::RestIsBackground(tile) => tile,
            Self::Adopt | Self::Cleanup(..) | Self::Flood(..) | Self::Replace(_) | Self::Clicks(_) => None,
        };
        for (row, line) in out.pixels_mut().chunks_mut(width).enumerate() {
            for (x, pixel) in line.iter_mut().enumerate() {
                let is_rest = *pixel == UNLABELLED && tile.is_none_or(|tile| tile.contains(x, row));
                if matches!(what, Whole::Adopt) || is_rest {
                    *pixel = nib.value(x, row, *pixel);
                }
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clicks::Click;

    #[test]
    fn a_gate_of_a_class_lets_every_tool_paint_only_what_has_that_class() {
        // The left half is of class 1; everything is painted with class 2.
        let side = 32;
        let mut before = Mask::filled(side, side, UNLABELLED);
        before.pixels_mut().chunks_mut(side).for_each(|row| row[..side / 2].fill(1));
        let picture = Arc::new(Picture::of_colour(side, side, vec![255; side * side * 4]));
        let gate = Some(Gate { by: Gauge::Class, low: 1.0, high: 1.0 });
        let pen = Pen { ink: Ink::Class(2), gate, locked: Locked::default(), threshold: 0.5 };
        let nib = Nib::new(pen, picture, None, (side, side));
        let mut brushed = before.clone();
        let mut gesture = Gesture::default();
        (0..side).for_each(|row| nib.paint(&mut gesture, &mut brushed, row, 0..side));
        let split =
            Mask::from_pixels(side, side, before.pixels().iter().map(|c| if *c == 1 { 2 } else { *c }).collect());
        assert_eq!(brushed, split.unwrap());
        assert_eq!(Whole::Flood((0, 0), 0.1).apply(&before, &nib), brushed);

        let mut clicks = Clicks::default();
        clicks.points.push(Click { at: (side / 2, side / 2), is_positive: true });
        let clicked = Clicked { base: Arc::new(before.clone()), class: 2, clicks, prediction: None };
        let clicked = Whole::Clicks(Arc::new(clicked)).apply(&before, &nib);
        let mut pairs = before.pixels().iter().zip(clicked.pixels());
        assert!(pairs.all(|(before, after)| before == after || (*before, *after) == (1, 2)));
    }
}
