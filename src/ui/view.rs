//! How the canvas looks at the open image: where, how large, how bright, with what over it.

use egui::{Pos2, Rect, Vec2, vec2};

use crate::app::editor::Editor;
use crate::domain::brush::Point;
use crate::domain::prediction::Uncertainty;
use crate::domain::study::ImageId;
use crate::ui::colours::ColourMap;
use crate::ui::theme::STEP;

/// Screen points an image pixel may take, at most.
const LARGEST_ZOOM: f32 = 64.0;

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

    /// The one after this.
    pub fn next(self) -> Self {
        match self {
            Self::Label => Self::Prediction,
            Self::Prediction => Self::Difference,
            Self::Difference => Self::Label,
        }
    }
}

/// How what is drawn over the image looks.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// What.
    pub overlay: Overlay,
    /// Opacity of its areas.
    pub opacity: f32,
    /// Whether only outlines are drawn.
    pub outlines_only: bool,
    /// Whether magnified pixels are squares.
    pub sharp: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { overlay: Overlay::Label, opacity: 0.25, outlines_only: false, sharp: true }
    }
}

/// A panel of the canvas. Its number is its place from the left, and that of its map in the shader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// How the canvas looks at the open image.
pub struct CanvasState {
    /// Image position at the centre of each panel.
    pub centre: Vec2,
    /// Screen points an image pixel takes.
    pub zoom: f32,
    /// Whether the whole image is shown, whatever the panels' size.
    pub fit: bool,
    image: Option<ImageId>,
    /// The panel that a stroke is drawn in.
    pub drawing: Option<Panel>,
    /// Whether the label is drawn over each panel, by its number.
    pub label: [bool; 3],
    /// Whether it is hidden for as long as a key is held.
    pub peeking: bool,
    /// How what is drawn over the image looks.
    pub options: Options,
    /// The map in the third panel.
    pub uncertainty: Uncertainty,
    /// Its colours.
    pub colour_map: ColourMap,
    /// The top of its range, where that is the same for all images.
    pub fixed_range: Option<f32>,
    /// The colours on the graphics card.
    pub colours: Option<(Vec<[u8; 3]>, ColourMap)>,
    /// Where the pointer is, in image pixels.
    pub hovered: Option<Point>,
}

impl Default for CanvasState {
    fn default() -> Self {
        Self {
            centre: Vec2::ZERO,
            zoom: 1.0,
            fit: true,
            image: None,
            drawing: None,
            label: [true; 3],
            peeking: false,
            options: Options::default(),
            uncertainty: Uncertainty::Variance,
            colour_map: ColourMap::Inferno,
            fixed_range: None,
            colours: None,
            hovered: None,
        }
    }
}

impl CanvasState {
    /// Shows the whole image.
    pub fn fit(&mut self) {
        self.fit = true;
    }

    /// Magnifies around the middle.
    pub fn zoom_by(&mut self, factor: f32) {
        self.fit = false;
        self.zoom = (self.zoom * factor).clamp(0.01, LARGEST_ZOOM);
    }

    /// Shows a place, given as shares of the image, at a magnification that lets one work there.
    pub fn go_to(&mut self, (x, y): (f64, f64), editor: &Editor) {
        self.fit = false;
        self.zoom = self.zoom.max(2.0);
        self.centre = vec2(x as f32 * editor.picture.width as f32, y as f32 * editor.picture.height as f32);
    }

    /// The image position under a point of a panel.
    pub fn image_from_screen(&self, panel: Rect, at: Pos2) -> Point {
        let p = (at - panel.center()) / self.zoom + self.centre;
        Point { x: f64::from(p.x), y: f64::from(p.y) }
    }

    /// Where an image position lies in a panel.
    pub fn screen_from_image(&self, panel: Rect, at: Point) -> Pos2 {
        panel.center() + (vec2(at.x as f32, at.y as f32) - self.centre) * self.zoom
    }

    /// Once a frame: another image is shown whole; the image never leaves the panel altogether.
    pub fn look_at(&mut self, editor: &Editor, panel: Vec2) {
        let size = vec2(editor.picture.width as f32, editor.picture.height as f32);
        if self.image != Some(editor.image) {
            self.image = Some(editor.image);
            self.fit = true;
        }
        if self.fit {
            self.centre = size / 2.0;
            self.zoom = ((panel - vec2(STEP, STEP)) / size).min_elem().clamp(0.01, LARGEST_ZOOM);
        }
        self.centre = self.centre.clamp(Vec2::ZERO, size);
    }

    /// Forgets what belongs to another project.
    pub fn clear(&mut self) {
        self.image = None;
    }
}
