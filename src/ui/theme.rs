//! The window's look: a neutral background for the image, one accent colour, two text sizes, one icon set.

use std::collections::BTreeMap;
use std::sync::Arc;

use egui::{
    Color32, Context, CornerRadius, FontData, FontDefinitions, FontFamily, FontId, Stroke, Style, TextStyle, Theme,
    vec2,
};
use egui_plot::{GridInput, GridMark, Plot};

/// The one accent colour.
pub const ACCENT: Color32 = Color32::from_rgb(0x4c, 0x9f, 0xe6);
/// Something went wrong.
pub const WRONG: Color32 = Color32::from_rgb(0xe0, 0x6c, 0x5a);
/// Something awaits the user.
pub const WANTED: Color32 = Color32::from_rgb(0xe6, 0x9f, 0x00);
/// Something is done.
pub const DONE: Color32 = Color32::from_rgb(0x3c, 0xae, 0x8a);
/// Made by the network, not by the user.
pub const MACHINE: Color32 = Color32::from_rgb(0xcc, 0x79, 0xa7);
/// The canvas's background, the same in both themes, because images are judged against it.
pub const CANVAS: Color32 = Color32::from_gray(26);
/// The step of the grid, in points.
pub const STEP: f32 = 8.0;

/// Icons of the Phosphor set.
pub mod icon {
    #![allow(missing_docs)]
    pub const UNDO: &str = "\u{E08A}";
    pub const REDO: &str = "\u{E08C}";
    pub const ACCEPT: &str = "\u{E182}";
    pub const ACCEPT_NEXT: &str = "\u{E53A}";
    pub const ERASER: &str = "\u{E21E}";
    pub const EYE: &str = "\u{E220}";
    pub const EYE_SLASH: &str = "\u{E224}";
    pub const DEMO: &str = "\u{E79E}";
    pub const OPEN: &str = "\u{E256}";
    pub const NEW: &str = "\u{E258}";
    pub const GEAR: &str = "\u{E270}";
    pub const IMAGES: &str = "\u{E836}";
    pub const KEYBOARD: &str = "\u{E2D8}";
    pub const MENU: &str = "\u{E2F0}";
    pub const LOCK: &str = "\u{E308}";
    pub const UNLOCK: &str = "\u{E30A}";
    pub const ADOPT: &str = "\u{E6B6}";
    pub const SEARCH: &str = "\u{E30C}";
    pub const MOON: &str = "\u{E330}";
    pub const BRUSH: &str = "\u{E6F0}";
    pub const CLEAR: &str = "\u{E602}";
    pub const OUTLINE: &str = "\u{EDC6}";
    pub const POLYGON: &str = "\u{E6D0}";
    pub const CLICK: &str = "\u{E7C8}";
    pub const FILL: &str = "\u{E392}";
    pub const ADOPT_BRUSH: &str = "\u{EA48}";
    pub const PLAY: &str = "\u{E3D0}";
    pub const PLUS: &str = "\u{E3D4}";
    pub const SIDEBAR: &str = "\u{EC24}";
    pub const NEXT: &str = "\u{E5A6}";
    pub const PAUSE: &str = "\u{E39E}";
    pub const STOP: &str = "\u{E46C}";
    pub const SUN: &str = "\u{E472}";
    pub const WARNING: &str = "\u{E4E0}";
    pub const INFO: &str = "\u{E2CE}";
    pub const ENLARGE: &str = "\u{E0A2}";
    pub const CLOSE: &str = "\u{E4F6}";
}

/// Installs the fonts and both themes.
pub fn install(ctx: &Context) {
    let mut fonts = FontDefinitions::default();
    let phosphor = FontData::from_static(include_bytes!("../../assets/fonts/Phosphor.ttf"));
    fonts.font_data.insert("phosphor".to_owned(), Arc::new(phosphor));
    for family in [FontFamily::Proportional, FontFamily::Monospace] {
        fonts.families.entry(family).or_default().push("phosphor".to_owned());
    }
    ctx.set_fonts(fonts);
    for theme in [Theme::Dark, Theme::Light] {
        ctx.style_mut_of(theme, |style| adjust(style, theme));
    }
}

fn adjust(style: &mut Style, theme: Theme) {
    let (small, body) = (FontId::proportional(12.0), FontId::proportional(14.0));
    style.text_styles = BTreeMap::from([
        (TextStyle::Small, small),
        (TextStyle::Body, body.clone()),
        (TextStyle::Button, body.clone()),
        (TextStyle::Heading, body),
        (TextStyle::Monospace, FontId::monospace(12.0)),
    ]);
    style.spacing.item_spacing = vec2(STEP, STEP * 0.75);
    style.spacing.button_padding = vec2(STEP, STEP * 0.5);
    style.spacing.interact_size.y = 3.0 * STEP;
    let visuals = &mut style.visuals;
    let (ground, field, text) = match theme {
        Theme::Dark => (Color32::from_gray(36), Color32::from_gray(26), Color32::from_gray(208)),
        Theme::Light => (Color32::from_gray(240), Color32::from_gray(255), Color32::from_gray(48)),
    };
    visuals.panel_fill = ground;
    visuals.window_fill = ground;
    visuals.extreme_bg_color = field;
    visuals.override_text_color = Some(text);
    visuals.selection.bg_fill = ACCENT.gamma_multiply(0.55);
    visuals.selection.stroke = Stroke::new(1.0, text);
    visuals.hyperlink_color = ACCENT;
    visuals.slider_trailing_fill = true;
    let radius = CornerRadius::same(4);
    visuals.window_corner_radius = radius;
    visuals.menu_corner_radius = radius;
    let widgets = &mut visuals.widgets;
    for state in [&mut widgets.inactive, &mut widgets.hovered, &mut widgets.active, &mut widgets.open] {
        state.corner_radius = radius;
    }
    widgets.noninteractive.bg_stroke = Stroke::new(1.0, ground.lerp_to_gamma(text, 0.12));
}

/// The quieter text colour.
pub fn quiet(ui: &egui::Ui) -> Color32 {
    ui.visuals().text_color().gamma_multiply(0.65)
}

/// A text colour that is legible on the panels: darkened in the light theme.
pub fn legible(ui: &egui::Ui, colour: Color32) -> Color32 {
    if ui.visuals().dark_mode { colour } else { colour.lerp_to_gamma(Color32::BLACK, 0.3) }
}

/// Seconds as minutes and seconds, such as `0:48`.
pub fn clock(seconds: f64) -> String {
    let seconds = seconds.round() as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// The decimals with which a value of this size has three significant digits; none where it is large.
pub fn decimals(size: f64) -> usize {
    if size == 0.0 { 0 } else { (2 - size.abs().log10().floor() as i32).clamp(0, 6) as usize }
}

/// A value to three significant digits, whole where it is large; in scientific notation where it is tiny.
pub fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-4 {
        return format!("{value:.1e}");
    }
    let decimals = decimals(value);
    format!("{value:.decimals$}")
}

/// The least step between two grid lines of an axis that has whole numbers only.
pub const WHOLE: f64 = 1.0;
/// And of an axis that has fractions too.
pub const REAL: f64 = 0.0;

/// Grid lines at 1, 2 or 5 times a power of ten: `apart` points from each other at least, so that each has its number.
fn grid(input: &GridInput, least_step: f64, apart: f64) -> Vec<GridMark> {
    // The base step is the one of lines that are 8 points apart.
    let least = (input.base_step_size * apart / 8.0).max(least_step);
    if least <= 0.0 || !least.is_finite() {
        return Vec::new();
    }
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|n| n * power).into_iter().find(|step| *step >= least).unwrap_or(10.0 * power);
    let (first, last) = ((input.bounds.0 / step).ceil() as i64, (input.bounds.1 / step).floor() as i64);
    (first..=last).map(|n| GridMark { value: n as f64 * step, step_size: step }).collect()
}

/// A grid line's value, to the decimals of the step between two.
fn tick(mark: GridMark) -> String {
    let decimals = (-mark.step_size.log10().floor()).max(0.0) as usize;
    format!("{:.decimals$}", mark.value)
}

/// A plot with nothing in it yet, by the least steps of its axes.
pub fn plot<'a>(name: &'a str, x: f64, y: f64) -> Plot<'a> {
    let plot = Plot::new(name).height(22.0 * STEP).allow_drag(false).allow_zoom(false).allow_scroll(false);
    let plot = plot.x_grid_spacer(move |input| grid(&input, x, 80.0)).x_axis_formatter(|mark, _| tick(mark));
    let plot = plot.y_grid_spacer(move |input| grid(&input, y, 24.0)).y_axis_formatter(|mark, _| tick(mark));
    plot.allow_boxed_zoom(false).y_axis_min_width(4.0 * STEP).set_margin_fraction(vec2(0.04, 0.08))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_three_significant_digits_in_one_format() {
        let texts = [0.0, 4213.7, 17.26, 0.2, 0.011, 0.00734, 0.00012, 0.000012].map(short);
        assert_eq!(texts, ["0", "4214", "17.3", "0.200", "0.0110", "0.00734", "0.000120", "1.2e-5"]);
    }

    #[test]
    fn an_axis_has_several_numbers_and_only_whole_ones_where_there_are_no_others() {
        let ticks = |bounds: (f64, f64), points: f64, least_step: f64| -> Vec<String> {
            let input = GridInput { bounds, base_step_size: 8.0 * (bounds.1 - bounds.0) / points };
            grid(&input, least_step, 24.0).into_iter().map(tick).collect()
        };
        assert_eq!(ticks((-0.08, 1.08), 68.0, REAL), ["0.0", "0.5", "1.0"]);
        assert_eq!(ticks((8.9, 11.1), 400.0, WHOLE), ["9", "10", "11"]);
        assert_eq!(ticks((0.0, 35.0), 44.0, WHOLE), ["0", "20"]);
    }
}
