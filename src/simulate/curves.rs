//! The curves of an experiment as pictures: mean test Dice against labels spent, the spread over the seeds as a band.

use std::path::Path;
use std::sync::Once;

use anyhow::{Result, anyhow};
use image::RgbImage;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

use qualm::domain::settings::Policy;

use super::write_whole;

/// One policy over its seeds.
pub struct Curve {
    /// Its name.
    pub policy: String,
    /// A point each round that all of its seeds have done.
    pub points: Vec<CurvePoint>,
    /// AUROC of variance against error after the last of them, mean over the seeds.
    pub error_auroc: Option<f64>,
    /// Area under the risk–coverage curve after the last of them, mean over the seeds.
    pub aurc: Option<f64>,
    /// Mean Jaccard index over rounds and seeds.
    pub jaccard: f64,
    pub ece: f64,
    /// Share of the queried images' pixels that the network got wrong, mean over rounds and seeds.
    pub corrected: Option<f64>,
    /// Mean training steps and seconds per round.
    pub steps: f64,
    pub seconds: f64,
    pub seeds: usize,
}

/// One round over the seeds.
#[derive(Clone, Copy)]
pub struct CurvePoint {
    /// Labels spent, mean.
    pub labelled: f64,
    /// Test Dice, mean over the seeds.
    pub dice: f64,
    /// Standard deviation over the seeds.
    pub spread: f64,
}

const SIZE: (u32, u32) = (960, 600);
/// A colour for each policy: Okabe and Ito's that are legible on white, and two more.
fn colour(policy: &str) -> RGBColor {
    match policy.parse().ok() {
        Some(Policy::Random) => RGBColor(0x66, 0x66, 0x66),
        Some(Policy::RandomForeground) => RGBColor(0x56, 0xb4, 0xe9),
        Some(Policy::Uncertain) => RGBColor(0x00, 0x72, 0xb2),
        Some(Policy::UncertainDiverse) => RGBColor(0xcc, 0x79, 0xa7),
        Some(Policy::UncertainNoisy) => RGBColor(0x8c, 0x56, 0x4b),
        Some(Policy::UncertainTiles) => RGBColor(0x99, 0x44, 0xaa),
        Some(Policy::Representative) => RGBColor(0xe6, 0x9f, 0x00),
        Some(Policy::Ceal) => RGBColor(0xd5, 0x5e, 0x00),
        Some(Policy::CealDiverse) => RGBColor(0x00, 0x9e, 0x73),
        None => BLACK,
    }
}

/// Draws `curves.svg` and `curves.png`; `full` is the Dice of the whole pool.
pub fn draw(out: &Path, curves: &[Curve], full: Option<CurvePoint>) -> Result<()> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    if curves.iter().all(|curve| curve.points.is_empty()) {
        return Ok(());
    }
    let mut svg = String::new();
    plot(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area(), curves, full)?;
    write_whole(&out.join("curves.svg"), svg.as_bytes())?;
    let mut pixels = vec![0; (SIZE.0 * SIZE.1 * 3) as usize];
    plot(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), curves, full)?;
    let picture = RgbImage::from_raw(SIZE.0, SIZE.1, pixels).expect("three bytes per pixel");
    let path = out.join("curves.png");
    picture.save(&path).map_err(|e| anyhow!("{} cannot be written: {e}", path.display()))
}

fn plot<B: DrawingBackend>(area: &DrawingArea<B, Shift>, curves: &[Curve], full: Option<CurvePoint>) -> Result<()> {
    let failed = |e: DrawingAreaErrorKind<B::ErrorType>| anyhow!("the curves cannot be drawn: {e}");
    area.fill(&WHITE).map_err(failed)?;
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let low = points().map(|p| p.dice - p.spread).fold(f64::INFINITY, f64::min);
    let high = points().map(|p| p.dice + p.spread).chain(full.map(|f| f.dice)).fold(0.0, f64::max);
    let (first, last) = points().fold((f64::INFINITY, 0.0f64), |(a, b), p| (a.min(p.labelled), b.max(p.labelled)));
    let (low, high) = ((low * 20.0).floor() / 20.0, ((high * 20.0).ceil() / 20.0).min(1.0));
    let mut chart = ChartBuilder::on(area)
        .margin(20)
        .x_label_area_size(45)
        .y_label_area_size(60)
        .build_cartesian_2d(first..last.max(first + 1.0), low..high)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("labels spent")
        .y_desc("test Dice (mean, band: standard deviation over the seeds)")
        .x_label_formatter(&|labels| format!("{labels:.0}"))
        .y_label_formatter(&|dice| format!("{dice:.2}"))
        .label_style(("sans-serif", 16))
        .draw()
        .map_err(failed)?;
    for curve in curves {
        let upper = curve.points.iter().map(|p| (p.labelled, p.dice + p.spread));
        let lower = curve.points.iter().rev().map(|p| (p.labelled, p.dice - p.spread));
        let band = Polygon::new(upper.chain(lower).collect::<Vec<_>>(), colour(&curve.policy).mix(0.10));
        chart.draw_series([band]).map_err(failed)?;
    }
    for curve in curves {
        let colour = colour(&curve.policy);
        let style = colour.stroke_width(2);
        let line = curve.points.iter().map(|p| (p.labelled, p.dice));
        let series = chart.draw_series(LineSeries::new(line.clone(), style)).map_err(failed)?;
        let key = move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style);
        series.label(curve.policy.as_str()).legend(key);
        chart.draw_series(line.map(|at| Circle::new(at, 4, colour.filled()))).map_err(failed)?;
    }
    if let Some(full) = full {
        let style = BLACK.stroke_width(1);
        let ends = [(first, full.dice), (last, full.dice)];
        let series = chart.draw_series(DashedLineSeries::new(ends, 6, 5, style)).map_err(failed)?;
        let key = move |(x, y)| PathElement::new([(x, y), (x + 24, y)], style);
        series.label(format!("whole pool ({:.0} labels)", full.labelled)).legend(key);
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .legend_area_size(32)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.2))
        .label_font(("sans-serif", 16))
        .draw()
        .map_err(failed)?;
    area.present().map_err(failed)
}
