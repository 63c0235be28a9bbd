//! The report's charts, as SVG.

use std::sync::Once;

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use plotters::style::{FontStyle, register_font};

/// Columns and rows of a chart.
const SIZE: (u32, u32) = (480, 300);
/// The lines' colours: Okabe and Ito's that are legible on white.
const COLOURS: [RGBColor; 5] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0x66, 0x66, 0x66),
];

/// One line of a chart.
pub struct ChartLine {
    /// Its name; none where it is the only one.
    pub name: String,
    /// Its points.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over `x`, with the line y = x if `diagonal`. `None` if there are no points.
pub fn chart(x: &str, y: &str, lines: &[ChartLine], diagonal: bool) -> Result<Option<String>> {
    static FONT: Once = Once::new();
    FONT.call_once(|| {
        let _ = register_font("sans-serif", FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT);
    });
    let points = || lines.iter().flat_map(|line| &line.points).copied();
    if points().next().is_none() {
        return Ok(None);
    }
    let bounds = |value: fn((f64, f64)) -> f64| {
        let (low, high) = points().map(value).fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(v), b.max(v)));
        let margin = if high > low { 0.05 * (high - low) } else { 0.5 * high.abs().max(0.1) };
        if diagonal { (0.0, 1.0) } else { (low - margin, high + margin) }
    };
    let ((left, right), (bottom, top)) = (bounds(|point| point.0), bounds(|point| point.1));
    let is_whole = points().all(|(x, _)| x.fract() == 0.0);
    let mut svg = String::new();
    {
        let failed = |e: DrawingAreaErrorKind<_>| anyhow!("a chart cannot be drawn: {e}");
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(55)
            .build_cartesian_2d(left..right, bottom..top)
            .map_err(failed)?;
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(BLACK.mix(0.12))
            .x_labels(6)
            .y_labels(6)
            .x_label_formatter(&|x| if is_whole { format!("{x:.0}") } else { format!("{x:.1}") })
            .x_desc(x)
            .y_desc(y)
            .label_style(("sans-serif", 14))
            .draw()
            .map_err(failed)?;
        if diagonal {
            let ends = [(0.0, 0.0), (1.0, 1.0)];
            chart.draw_series(DashedLineSeries::new(ends, 6, 5, BLACK.stroke_width(1))).map_err(failed)?;
        }
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let style = colour.stroke_width(2);
            let series = chart.draw_series(LineSeries::new(line.points.iter().copied(), style)).map_err(failed)?;
            if !line.name.is_empty() {
                series.label(&line.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            }
            let dots = line.points.iter().map(|at| Circle::new(*at, 3, colour.filled()));
            chart.draw_series(dots).map_err(failed)?;
        }
        if lines.len() > 1 {
            let labels = chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .background_style(WHITE.mix(0.85))
                .border_style(BLACK.mix(0.2))
                .label_font(("sans-serif", 14))
                .draw();
            labels.map_err(failed)?;
        }
        area.present().map_err(failed)?;
    }
    Ok(Some(svg))
}
