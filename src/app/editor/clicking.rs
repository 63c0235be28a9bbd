//! Click to segment: which clicks belong to the current object.

use std::sync::Arc;

use crate::app::editor::{Active, Editor};
use crate::app::pen::{Clicked, Whole};
use crate::domain::brush::Point;
use crate::domain::clicks::{Click, Clicks};
use crate::domain::mask::Mask;

/// A drag of fewer pixels than this share of the image's longer side is a click.
const SMALLEST_BOX: f64 = 0.01;

/// The clicks on the current object. They are evaluated together as long as nothing else changes the label.
pub(super) struct Session {
    base: Arc<Mask>,
    class: u8,
    clicks: Clicks,
    /// For each click, whether it changed the label.
    steps: Vec<bool>,
    /// The label's revision after the last click.
    revision: u64,
    /// Whether the last click is still being computed.
    is_awaited: bool,
}

impl Editor {
    /// Begins a click, which becomes a box where the pointer moves.
    pub fn press_click(&mut self, at: Point, is_positive: bool) {
        self.active = Some(Active::Box { from: at, corners: vec![at], is_positive });
    }

    /// The corners of the box between two points, and the first again.
    pub(super) fn corners(from: Point, to: Point) -> Vec<Point> {
        let corner = |x: f64, y: f64| Point { x, y };
        vec![from, corner(to.x, from.y), to, corner(from.x, to.y), from]
    }

    /// Ends a click or a box on an object of `class` and returns its edit; `None` if there is no click or box, or if it
    /// lies outside the image.
    pub fn release_click(&mut self, class: u8) -> Option<Whole> {
        let Some(Active::Box { from, corners, is_positive }) =
            self.active.take_if(|active| matches!(active, Active::Box { .. }))
        else {
            return None;
        };
        let (width, height) = (self.mask.width(), self.mask.height());
        let to = corners.get(2).copied().unwrap_or(from);
        let place = |value: f64, side: usize| (value.max(0.0) as usize).min(side - 1);
        let is_box = is_positive
            && (to.x - from.x).abs().min((to.y - from.y).abs()) >= (SMALLEST_BOX * width.max(height) as f64).max(3.0);
        let middle = if is_box { Point { x: (from.x + to.x) / 2.0, y: (from.y + to.y) / 2.0 } } else { from };
        if middle.x < 0.0 || middle.y < 0.0 || middle.x >= width as f64 || middle.y >= height as f64 {
            return None;
        }
        let revision = self.revision;
        let at = (place(middle.x, width), place(middle.y, height));
        // A box begins a new object; so does a click outside the box.
        let goes_on = self.session.take().filter(|session| {
            !is_box && session.class == class && session.revision == revision && session.clicks.take(at, width, height)
        });
        let mut session = goes_on.unwrap_or_else(|| Session {
            base: self.pseudo_label.clone().unwrap_or_else(|| self.mask.clone()),
            class,
            clicks: Clicks::default(),
            steps: Vec::new(),
            revision,
            is_awaited: false,
        });
        if is_box {
            let range = |a: f64, b: f64, side: usize| place(a.min(b), side)..place(a.max(b), side) + 1;
            session.clicks.within = Some((range(from.x, to.x, width), range(from.y, to.y, height)));
        }
        session.clicks.points.push(Click { at, is_positive });
        session.is_awaited = true;
        let (base, clicks) = (session.base.clone(), session.clicks.clone());
        self.session = Some(session);
        Some(Whole::Clicks(Arc::new(Clicked { base, class, clicks, prediction: self.prediction.clone() })))
    }

    /// The clicks on the current object.
    pub fn clicks(&self) -> &[Click] {
        let session = self.session.as_ref().filter(|session| session.is_awaited || session.revision == self.revision);
        session.map_or(&[], |session| &session.clicks.points)
    }

    /// Ends the current object: the next click begins a new one. Returns whether there was one.
    pub fn end_clicks(&mut self) -> bool {
        let is_there = !self.clicks().is_empty();
        self.session = None;
        is_there
    }

    /// After a click was computed: whether it changed the label.
    pub(super) fn click_is_done(&mut self, has_changed: bool) {
        let revision = self.revision;
        if let Some(session) = self.session.as_mut().filter(|session| session.is_awaited) {
            session.is_awaited = false;
            session.revision = revision;
            session.steps.push(has_changed);
        }
    }

    /// After an undo from revision `before`: drops the click that was undone, and those after it that changed nothing.
    pub(super) fn click_is_undone(&mut self, before: u64) {
        let revision = self.revision;
        if let Some(session) = self.session.as_mut().filter(|session| session.revision == before) {
            let left = session.steps.iter().rposition(|has_changed| *has_changed).unwrap_or(0);
            session.steps.truncate(left);
            session.clicks.points.truncate(left);
            session.revision = revision;
        }
        self.session.take_if(|session| session.clicks.points.is_empty());
    }
}
