//! The canvas's view of the open image: position, zoom, overlays and panels.

use std::time::{Duration, Instant};

use egui::{Pos2, Rect, Vec2, vec2};
use serde::{Deserialize, Serialize};

use crate::app::editor::Editor;
use crate::domain::brush::Point;
use crate::domain::prediction::Uncertainty;
use crate::domain::study::ImageId;
use crate::domain::tiles::Tile;
use crate::ui::colours::ColourMap;
use crate::ui::theme::STEP;

/// Share of the panel that a tile to be labelled takes when its image is opened.
const TILE_SHARE: f32 = 0.8;
/// Maximum screen points per image pixel.
const LARGEST_ZOOM: f32 = 64.0;
/// How long the place that the view was moved to is marked.
const MARKED: Duration = Duration::from_secs(2);

/// What is drawn over the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overlay {
    /// The label.
    #[default]
    Label,
    /// The predicted mask.
    Prediction,
    /// Where they differ.
    Difference,
}

impl Overlay {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Label, "Label"), (Self::Prediction, "Prediction"), (Self::Difference, "Difference")];

    /// Whether the label is in it, for an image with a prediction or without one.
    fn has_label(self, has_prediction: bool) -> bool {
        match self {
            Self::Label => true,
            Self::Prediction => false,
            Self::Difference => has_prediction,
        }
    }

    /// The next one, in a cycle.
    pub fn next(self) -> Self {
        match self {
            Self::Label => Self::Prediction,
            Self::Prediction => Self::Difference,
            Self::Difference => Self::Label,
        }
    }
}

/// Display options of the overlay.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Which layer is drawn over the image.
    pub overlay: Overlay,
    /// Opacity of its areas.
    pub opacity: f32,
    /// Whether only outlines are drawn.
    pub outlines_only: bool,
    /// Whether magnified pixels are drawn as squares rather than interpolated.
    pub sharp: bool,
}

impl Options {
    /// Makes the label's areas more transparent by this share, or more opaque.
    pub fn make_fainter(&mut self, share: f32) {
        self.opacity = (self.opacity - share).clamp(0.0, 1.0);
    }
}

impl Default for Options {
    fn default() -> Self {
        Self { overlay: Overlay::Label, opacity: 0.25, outlines_only: false, sharp: true }
    }
}

/// A panel of the canvas. Its number is its position from the left, and the number of its map in the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Panel {
    /// The image with its label.
    Image,
    /// The predicted probability and mask.
    Prediction,
    /// The uncertainty map.
    Uncertainty,
}

impl Panel {
    /// All, from left to right.
    pub const ALL: [Self; 3] = [Self::Image, Self::Prediction, Self::Uncertainty];

    /// Its title.
    pub fn title(self) -> &'static str {
        match self {
            Self::Image => "Image",
            Self::Prediction => "Prediction",
            Self::Uncertainty => "Uncertainty",
        }
    }
}

/// Screen points per image pixel when the whole image fits the panel.
fn fitting(panel: Vec2, image: Vec2) -> f32 {
    ((panel - vec2(STEP, STEP)) / image).min_elem().max(0.01)
}

/// Lays out this many panels in the canvas, including headers of this height: side by side, stacked, or the first one
/// large with the others beside or below it, whichever shows the image and its maps largest.
pub fn arrange(canvas: Rect, image: Vec2, header: f32, panels: usize) -> Vec<Rect> {
    let cut = |rect: Rect, share: f32, is_vertical: bool| {
        let at = if is_vertical { rect.left() + share * rect.width() } else { rect.top() + share * rect.height() };
        let (first, rest) = if is_vertical { rect.split_left_right_at_x(at) } else { rect.split_top_bottom_at_y(at) };
        let gap = if is_vertical { vec2(1.0, 0.0) } else { vec2(0.0, 1.0) };
        [first, Rect::from_min_max(rest.min + gap, rest.max)]
    };
    let three = |share: f32, is_vertical: bool, is_other_vertical: bool| {
        let [main, rest] = cut(canvas, share, is_vertical);
        let [second, third] = cut(rest, 0.5, is_other_vertical);
        vec![main, second, third]
    };
    let all = match panels {
        0 | 1 => vec![vec![canvas]],
        2 => vec![
            cut(canvas, 0.5, true).to_vec(),
            cut(canvas, 0.5, false).to_vec(),
            cut(canvas, 2.0 / 3.0, true).to_vec(),
            cut(canvas, 2.0 / 3.0, false).to_vec(),
        ],
        _ => vec![
            three(1.0 / 3.0, true, true),
            three(1.0 / 3.0, false, false),
            three(2.0 / 3.0, true, false),
            three(2.0 / 3.0, false, true),
        ],
    };
    // The first panel counts twice: it is the one the user works in.
    let area = |rects: &Vec<Rect>| {
        let shown = |rect: &Rect| fitting(rect.size() - vec2(0.0, header), image).powi(2);
        rects.iter().map(shown).sum::<f32>() + shown(&rects[0])
    };
    all.into_iter().reduce(|best, next| if area(&next) > area(&best) { next } else { best }).expect("there are some")
}

/// How the canvas looks at the open image.
pub struct CanvasState {
    /// Where the canvas lies in the window.
    pub area: Option<Rect>,
    /// Image position at the centre of each panel.
    pub centre: Vec2,
    /// Screen points per image pixel in the first panel; the other panels show the same part of the image.
    pub zoom: f32,
    /// Whether the whole image is shown, whatever the panels' size.
    pub fit: bool,
    image: Option<ImageId>,
    /// The panels that are shown, the large one first.
    panels: Vec<Panel>,
    /// The image's size in pixels, and that of the first panel.
    sizes: Option<(Vec2, Vec2)>,
    /// The panel that a stroke is drawn in.
    pub drawing: Option<Panel>,
    /// Whether the label is drawn over each panel, by its number.
    pub label: [bool; 3],
    /// Whether the label is hidden while a key is held.
    pub peeking: bool,
    /// How what is drawn over the image looks.
    pub options: Options,
    /// The map in the third panel.
    pub uncertainty: Uncertainty,
    /// Its colours.
    pub colour_map: ColourMap,
    /// The top of its range, where that is the same for all images.
    pub fixed_range: Option<f32>,
    /// The colours last uploaded to the GPU.
    pub colours: Option<(Vec<[u8; 3]>, ColourMap)>,
    /// Where the pointer is, in image pixels.
    pub hovered: Option<Point>,
    /// The line that was measured last, in image pixels.
    pub measured: Option<(Point, Point)>,
    /// The place that the view was moved to last, in image pixels, and when.
    marked: Option<(Point, Instant)>,
    /// The open image and its label's revision, when it was last asked whether the label has changed.
    revision: Option<(ImageId, u64)>,
}

impl Default for CanvasState {
    fn default() -> Self {
        Self {
            area: None,
            centre: Vec2::ZERO,
            zoom: 1.0,
            fit: true,
            image: None,
            panels: Panel::ALL.to_vec(),
            sizes: None,
            drawing: None,
            label: [true; 3],
            peeking: false,
            options: Options::default(),
            uncertainty: Uncertainty::Variance,
            colour_map: ColourMap::Inferno,
            fixed_range: None,
            colours: None,
            hovered: None,
            measured: None,
            marked: None,
            revision: None,
        }
    }
}

impl CanvasState {
    /// Shows the whole image.
    pub fn fit(&mut self) {
        self.fit = true;
    }

    /// Zooms around the centre.
    pub fn zoom_by(&mut self, factor: f32) {
        self.fit = false;
        self.zoom = (self.zoom * factor).clamp(0.01, LARGEST_ZOOM);
    }

    /// Centres on a place, given as fractions of the image's width and height, at a zoom suitable for work, and marks it.
    pub fn go_to(&mut self, (x, y): (f64, f64), editor: &Editor) {
        let fitted = self.sizes.map_or(1.0, |(image, main)| fitting(main, image));
        self.fit = false;
        self.zoom = self.zoom.max(2.0 * fitted.max(1.0));
        let place = Point { x: x * editor.picture.width as f64, y: y * editor.picture.height as f64 };
        self.centre = vec2(place.x as f32, place.y as f32);
        self.marked = Some((place, Instant::now()));
    }

    /// The marked place, and how much longer it is marked.
    pub fn marked(&self) -> Option<(Point, Duration)> {
        let (place, since) = self.marked?;
        Some((place, MARKED.checked_sub(since.elapsed())?))
    }

    /// Removes the mark.
    pub fn unmark(&mut self) {
        self.marked = None;
    }

    /// Whether no panel draws the label, of an image with a prediction or without one.
    pub fn hides_label(&self, has_prediction: bool) -> bool {
        let draws = |panel: &Panel| self.label[*panel as usize] && (has_prediction || *panel == Panel::Image);
        !self.options.overlay.has_label(has_prediction) || !self.panels.iter().any(draws)
    }

    /// Draws the label where no panel draws it.
    pub fn show_label(&mut self, has_prediction: bool) {
        if !self.options.overlay.has_label(has_prediction) {
            self.options.overlay = Overlay::Label;
        }
        if self.hides_label(has_prediction) {
            self.label = [true; 3];
        }
    }

    /// Whether the label of the open image has another revision than when this was last called; `now` is the image with
    /// its label's revision.
    pub fn has_label_changed(&mut self, now: Option<(ImageId, u64)>) -> bool {
        let before = std::mem::replace(&mut self.revision, now);
        before.zip(now).is_some_and(|(before, now)| before.0 == now.0 && before.1 < now.1)
    }

    /// The image position under a point of a panel.
    pub fn image_from_screen(&self, panel: Rect, at: Pos2) -> Point {
        let p = (at - panel.center()) / self.scale(panel) + self.centre;
        Point { x: f64::from(p.x), y: f64::from(p.y) }
    }

    /// Where an image position lies in a panel.
    pub fn screen_from_image(&self, panel: Rect, at: Point) -> Pos2 {
        panel.center() + (vec2(at.x as f32, at.y as f32) - self.centre) * self.scale(panel)
    }

    /// Screen points that an image pixel takes in a panel.
    pub fn scale(&self, panel: Rect) -> f32 {
        let Some((image, main)) = self.sizes else { return self.zoom };
        self.zoom * (fitting(panel.size(), image) / fitting(main, image))
    }

    /// The panels that are shown, the large one first.
    pub fn panels(&self) -> &[Panel] {
        &self.panels
    }

    /// Shows these panels, the large one first; all of them where there is none.
    pub fn show_panels(&mut self, panels: &[Panel]) {
        self.panels.clear();
        for panel in panels {
            if !self.panels.contains(panel) {
                self.panels.push(*panel);
            }
        }
        if self.panels.is_empty() {
            self.panels = Panel::ALL.to_vec();
        }
    }

    /// Shows all panels, then the image alone, then with the prediction, then with the uncertainty.
    pub fn next_panels(&mut self) {
        let ways: [&[Panel]; 4] =
            [&Panel::ALL, &[Panel::Image], &[Panel::Image, Panel::Prediction], &[Panel::Image, Panel::Uncertainty]];
        let at = ways.iter().position(|way| *way == self.panels);
        self.show_panels(ways[at.map_or(0, |at| (at + 1) % ways.len())]);
    }

    /// Shows this panel first.
    pub fn enlarge(&mut self, panel: Panel) {
        self.panels.retain(|shown| *shown != panel);
        self.panels.insert(0, panel);
    }

    /// Called once per frame, for the first panel: fits a newly opened image, or its tile to be labelled, to the panel,
    /// and keeps part of the image inside the panel.
    pub fn look_at(&mut self, editor: &Editor, tile: Option<Tile>, panel: Vec2) {
        let size = vec2(editor.picture.width as f32, editor.picture.height as f32);
        if self.image != Some(editor.image) {
            self.image = Some(editor.image);
            (self.measured, self.marked) = (None, None);
            self.fit = tile.is_none();
            if let Some(tile) = tile {
                let extent = vec2(tile.width as f32, tile.height as f32);
                self.centre = vec2(tile.left as f32, tile.top as f32) + extent / 2.0;
                self.zoom = (fitting(panel, extent) * TILE_SHARE).min(LARGEST_ZOOM);
            }
        }
        if self.fit {
            self.centre = size / 2.0;
            self.zoom = fitting(panel, size).min(LARGEST_ZOOM);
        }
        self.sizes = Some((size, panel));
        self.centre = self.centre.clamp(Vec2::ZERO, size);
    }

    /// Discards the state of another project.
    pub fn clear(&mut self) {
        self.image = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_shown_large_whatever_its_shape_and_all_panels_show_as_much_of_it() {
        let canvas = Rect::from_min_size(Pos2::ZERO, vec2(1200.0, 900.0));
        for (image, least) in [(vec2(512.0, 512.0), 700.0), (vec2(3000.0, 600.0), 1100.0), (vec2(300.0, 2000.0), 800.0)]
        {
            let rects = arrange(canvas, image, 32.0, 3);
            let shown = image * fitting(rects[0].size() - vec2(0.0, 32.0), image);
            assert!(shown.max_elem() > least, "{image:?}: {shown:?}");
            let two = arrange(canvas, image, 32.0, 2);
            assert!(two.len() == 2 && two[0].area() > rects[0].area() * 0.7 && !two[0].shrink(0.5).intersects(two[1]));
            assert_eq!(arrange(canvas, image, 32.0, 1), [canvas]);
            assert!(rects.iter().all(|rect| canvas.contains_rect(*rect)));
            let apart = |a: &Rect, b: &Rect| !a.shrink(0.5).intersects(b.shrink(0.5));
            assert!(apart(&rects[0], &rects[1]) && apart(&rects[1], &rects[2]) && apart(&rects[0], &rects[2]));
            let mut state = CanvasState { zoom: fitting(rects[0].size(), image), ..CanvasState::default() };
            state.sizes = Some((image, rects[0].size()));
            for rect in rects {
                assert!((state.scale(rect) - fitting(rect.size(), image)).abs() < 1e-4, "each shows the whole image");
            }
        }
    }

    #[test]
    fn a_hidden_label_is_drawn_again_by_changing_no_more_than_hides_it() {
        let mut state = CanvasState::default();
        assert!(!state.hides_label(false) && !state.hides_label(true));
        state.options.overlay = Overlay::Difference;
        assert!(state.hides_label(false) && !state.hides_label(true), "it is compared with a prediction");
        state.show_label(true);
        assert_eq!(state.options.overlay, Overlay::Difference);
        state.options.overlay = Overlay::Prediction;
        state.label = [false, false, true];
        state.show_label(true);
        assert_eq!((state.options.overlay, state.label), (Overlay::Label, [false, false, true]));
        assert!(state.hides_label(false), "an empty panel draws nothing");
        state.show_label(false);
        assert_eq!(state.label, [true; 3]);
    }

    #[test]
    fn only_another_revision_of_one_image_is_a_change_of_its_label() {
        let mut state = CanvasState::default();
        let changes = [None, Some((1, 4)), Some((1, 4)), Some((1, 5)), Some((2, 7)), Some((2, 0))]
            .map(|now| state.has_label_changed(now.map(|(image, revision)| (ImageId(image), revision))));
        assert_eq!(changes, [false, false, false, true, false, false]);
    }
}
