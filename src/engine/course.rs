//! The course of a training run: its progress, its learning rate, and when it ends.
//!
//! With the schedule `decay` the end is not fixed: the learning rate begins to fall once the network stops improving,
//! and the budget is extended by at most half.

use crate::domain::round::TrainingEnd;
use crate::domain::settings::{Budget, Schedule, Settings};

/// Share of the budget over which the rate falls at the end.
const DECAY: f64 = 0.3;
/// Window, as a fraction of the budget, whose mean is compared with that of the window before.
const WINDOW: f64 = 0.15;
/// Longest duration of training, as a multiple of the budget.
const LONGEST: f64 = 1.5;
/// An end before this fraction of the budget is reported as early.
const EARLY: f64 = 0.95;
/// Rise in Dice over a window below which it counts as flat.
const FLAT: f64 = 0.002;
/// Rise in Dice over a window above which training is extended.
const RISING: f64 = 0.006;
/// The same for the relative decrease of the loss, which alone decides if there is no validation.
const LOSS_FLAT: f64 = 0.02;
const LOSS_RISING: f64 = 0.1;
/// A network that does not improve has not yet begun to learn while its Dice is below this, or, without validation,
/// while its loss is above this fraction of its first value.
const LEARNED: f64 = 0.5;
/// Images trained on per image evaluated, so that evaluation takes about a tenth of the time.
const TRAINED_FOR_MEASURED: usize = 3;
/// Points of the curve that a budget of steps or seconds gives.
const POINTS: f64 = 40.0;

/// What has been spent so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Images, repetitions counted.
    pub images: usize,
    /// Steps.
    pub steps: usize,
    /// Seconds, without pauses.
    pub seconds: f64,
}

/// A measurement of the network in training.
#[derive(Clone, Copy, Debug)]
struct CoursePoint {
    share: f64,
    /// Images trained on until then.
    images: usize,
    loss: f64,
    dice: Option<f64>,
}

/// The trend of the measurements.
#[derive(Clone, Copy, PartialEq)]
enum Trend {
    Flat,
    Between,
    Rising,
}

/// The course of one training.
pub struct Course {
    budget: Budget,
    limit: f64,
    schedule: Schedule,
    learning_rate: f64,
    is_adaptive: bool,
    /// Minimum number of images to train on between two measurements.
    apart: usize,
    points: Vec<CoursePoint>,
    /// Fraction of the budget at which the learning rate begins to fall, and how training ends.
    decay_from: f64,
    end: TrainingEnd,
}

impl Course {
    /// The course of a round over `images` training images, evaluated on `validation` images; the first round has its
    /// own number of epochs.
    pub fn new(settings: &Settings, images: usize, validation: usize, is_first: bool) -> Self {
        let epochs = if is_first { settings.epochs } else { settings.epochs_later };
        let limit = match settings.budget {
            Budget::Epochs => (epochs * images) as f64,
            Budget::Steps => settings.steps as f64,
            Budget::Seconds => settings.seconds,
        };
        Self {
            budget: settings.budget,
            limit,
            schedule: settings.schedule,
            learning_rate: settings.learning_rate,
            is_adaptive: settings.adaptive && settings.schedule == Schedule::Decay && settings.budget != Budget::Epochs,
            apart: TRAINED_FOR_MEASURED * validation,
            points: Vec::new(),
            decay_from: 1.0 - DECAY,
            end: TrainingEnd::Whole,
        }
    }

    /// Fraction of the budget spent: 1 is all of it.
    pub fn share(&self, spent: Spent) -> f64 {
        let done = match self.budget {
            Budget::Epochs => spent.images as f64,
            Budget::Steps => spent.steps as f64,
            Budget::Seconds => spent.seconds,
        };
        done / self.limit
    }

    /// The fraction of the budget at which training ends, as far as that is known.
    pub fn last(&self) -> f64 {
        match self.schedule {
            Schedule::Decay => self.decay_from + DECAY,
            Schedule::Constant | Schedule::Cosine => 1.0,
        }
    }

    /// Whether training is over.
    pub fn is_over(&self, share: f64) -> bool {
        share >= self.last() - 1e-9
    }

    /// The step size of Adam.
    pub fn learning_rate(&self, share: f64) -> f64 {
        self.learning_rate
            * match self.schedule {
                Schedule::Constant => 1.0,
                Schedule::Cosine => (1.0 + (std::f64::consts::PI * share.min(1.0)).cos()) / 2.0,
                Schedule::Decay => ((self.last() - share) / DECAY).clamp(0.0, 1.0),
            }
    }

    /// Whether it is time to measure the network; with a budget of epochs, after each epoch.
    pub fn is_due(&self, spent: Spent, is_epoch_over: bool) -> bool {
        let share = self.share(spent);
        let (before, images) = self.points.last().map_or((0.0, 0), |point| (point.share, point.images));
        match self.budget {
            Budget::Epochs => is_epoch_over,
            Budget::Steps | Budget::Seconds => {
                self.is_over(share) || share >= before + 1.0 / POINTS && spent.images >= images + self.apart
            }
        }
    }

    /// Whether the network at this point may be kept in preference to earlier ones: while the learning rate is high,
    /// the best of many measurements on a few images is merely the luckiest.
    pub fn is_candidate(&self, share: f64) -> bool {
        match self.schedule {
            Schedule::Constant | Schedule::Cosine => true,
            Schedule::Decay => share >= self.decay_from,
        }
    }

    /// Adds a measurement and adjusts the end of training by it.
    pub fn measured(&mut self, spent: Spent, loss: f64, dice: Option<f64>) {
        let share = self.share(spent);
        self.points.push(CoursePoint { share, images: spent.images, loss, dice });
        if !self.is_adaptive || share >= self.decay_from {
            return;
        }
        match self.trend(share) {
            Some(Trend::Flat) if share >= 3.0 * WINDOW => {
                self.decay_from = share;
                if self.last() < EARLY {
                    self.end = TrainingEnd::Flat;
                }
            }
            Some(Trend::Rising) if share + 1.0 / POINTS >= self.decay_from => {
                let next = (self.decay_from + WINDOW / 2.0).min(LONGEST - DECAY);
                self.end = if next > self.decay_from { TrainingEnd::Longer } else { TrainingEnd::StillRising };
                self.decay_from = next;
            }
            Some(Trend::Flat | Trend::Rising | Trend::Between) | None => {}
        }
    }

    /// The improvement of the network over the last window: by validation Dice, and by the loss.
    fn trend(&self, share: f64) -> Option<Trend> {
        let mean = |(from, to): (f64, f64), value: fn(&CoursePoint) -> Option<f64>| {
            let points = self.points.iter().filter(|point| point.share > from && point.share <= to);
            let values: Vec<f64> = points.filter_map(value).collect();
            (values.len() > 1).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let windows = [(share - 2.0 * WINDOW, share - WINDOW), (share - WINDOW, share)];
        let [Some(before), Some(now)] = windows.map(|window| mean(window, |point| Some(point.loss))) else {
            return None;
        };
        let fall = (before - now) / before.abs().max(1e-9);
        let has_fallen = self.points.first().is_some_and(|first| now < LEARNED * first.loss);
        // Dice on a few validation images fluctuates: while the loss still falls, training is not flat.
        Some(match windows.map(|window| mean(window, |point| point.dice)) {
            [Some(before), Some(now)] if now - before > RISING => Trend::Rising,
            [Some(before), Some(now)] if now - before < FLAT && fall < LOSS_FLAT && now > LEARNED => Trend::Flat,
            [Some(_), Some(_)] => Trend::Between,
            _ if fall > LOSS_RISING => Trend::Rising,
            _ if fall < LOSS_FLAT && has_fallen => Trend::Flat,
            _ => Trend::Between,
        })
    }

    /// How training ended.
    pub fn end(&self) -> TrainingEnd {
        self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(budget: Budget) -> Settings {
        Settings { budget, steps: 1000, seconds: 10.0, epochs: 4, learning_rate: 1.0, ..Settings::default() }
    }

    /// Goes through a training whose Dice and loss at each share are given; the shares at which it was measured.
    fn trained(course: &mut Course, measure: impl Fn(f64) -> (Option<f64>, f64)) -> Vec<f64> {
        let mut measured = Vec::new();
        for steps in 1.. {
            let spent = Spent { images: 4 * steps, steps, seconds: 0.0 };
            let share = course.share(spent);
            if course.is_due(spent, false) {
                let (dice, loss) = measure(share);
                course.measured(spent, loss, dice);
                measured.push(share);
            }
            if course.is_over(share) {
                break;
            }
        }
        measured
    }

    #[test]
    fn a_budget_is_spent_in_its_own_unit_and_the_rate_falls_to_0_at_its_end() {
        let spent = Spent { images: 40, steps: 500, seconds: 2.5 };
        let share = |budget| Course::new(&settings(budget), 20, 5, true).share(spent);
        assert_eq!([share(Budget::Epochs), share(Budget::Steps), share(Budget::Seconds)], [0.5, 0.5, 0.25]);
        let course = Course::new(&settings(Budget::Steps), 20, 5, true);
        assert_eq!([course.learning_rate(0.2), course.learning_rate(1.0)], [1.0, 0.0]);
        assert!((course.learning_rate(0.85) - 0.5).abs() < 1e-9);
        assert!(!course.is_candidate(0.5) && course.is_candidate(0.9));
    }

    #[test]
    fn training_ends_early_where_nothing_gets_better_and_lasts_longer_where_it_does() {
        let course = || Course::new(&settings(Budget::Steps), 20, 5, true);
        let mut flat = course();
        let shares = trained(&mut flat, |_| (Some(0.8), 0.3));
        assert!(flat.end() == TrainingEnd::Flat && (0.7..0.85).contains(shares.last().unwrap()), "{shares:?}");
        let mut rising = course();
        let shares = trained(&mut rising, |share| (Some(share.min(1.2) / 2.0), 1.0 - share / 2.0));
        assert!(rising.end() == TrainingEnd::StillRising && *shares.last().unwrap() > 1.45, "{:?}", rising.end());
        // A Dice that wavers while the loss falls is no end; nor is it a reason to go on.
        let mut wavering = course();
        let shares = trained(&mut wavering, |share| (Some(0.5), 1.0 - share / 2.0));
        assert!(wavering.end() == TrainingEnd::Whole && (0.97..1.03).contains(shares.last().unwrap()), "{shares:?}");
        // Without validation images the loss decides.
        let mut unmeasured = course();
        trained(&mut unmeasured, |share| (None, if share < 0.1 { 1.0 } else { 0.3 }));
        assert_eq!(unmeasured.end(), TrainingEnd::Flat);
        // What has not begun to learn is not at its end.
        let mut unlearned = course();
        trained(&mut unlearned, |_| (Some(0.05), 1.5));
        assert_eq!(unlearned.end(), TrainingEnd::Whole);
        let mut fixed = Course::new(&Settings { adaptive: false, ..settings(Budget::Steps) }, 20, 5, true);
        let shares = trained(&mut fixed, |_| (Some(0.8), 0.3));
        assert!(fixed.end() == TrainingEnd::Whole && *shares.last().unwrap() > 0.97 && shares.len() <= 41);
        // Many validation images are measured more rarely: 400 want 1,200 images of training in between.
        let mut large = Course::new(&settings(Budget::Steps), 20, 400, true);
        assert_eq!(trained(&mut large, |share| (Some(share / 2.0), 1.0)).len(), 4);
    }
}
