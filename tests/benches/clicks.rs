//! `cargo bench --bench clicks -- IMAGES MASKS [PROJECT]`: how many simulated clicks it takes to reach a Dice of 0.9.
//!
//! The usual protocol for interactive segmentation: each click is placed in the middle of the largest wrong region (the
//! point farthest from its border) until the Dice reaches 0.9, with at most 15 clicks. Three modes: from scratch; from
//! scratch with the network of PROJECT's active round as prior; and from its prediction, adopted as the label.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use image::{GrayImage, Luma};
use imageproc::distance_transform::euclidean_squared_distance_transform;
use imageproc::region_labelling::{Connectivity, connected_components};
use qualm::domain::clicks::{Click, Clicks, segment};
use qualm::domain::mask::{BACKGROUND, Mask, UNLABELLED};
use qualm::domain::metrics;
use qualm::domain::picture::Picture;
use qualm::domain::prediction::Prediction;
use qualm::engine::model::Model;
use qualm::project::Project;
use qualm::raster;

const MOST: usize = 15;
const ENOUGH: f64 = 0.9;

/// The middle of the largest region of wrong pixels.
fn next_click(label: &Mask, truth: &Mask) -> Click {
    let (width, height) = (truth.width() as u32, truth.height() as u32);
    let is = |mask: &Mask, x: u32, y: u32| mask.get(x as usize, y as usize) == Some(1);
    let mut best: Option<(usize, Click)> = None;
    for is_positive in [true, false] {
        let wrong = GrayImage::from_fn(width, height, |x, y| {
            Luma([if is(truth, x, y) == is_positive && is(label, x, y) != is_positive { 255 } else { 0 }])
        });
        let parts = connected_components(&wrong, Connectivity::Four, Luma([0]));
        let mut sizes = vec![0usize; parts.iter().max().map_or(0, |part| *part as usize) + 1];
        parts.iter().filter(|part| **part > 0).for_each(|part| sizes[*part as usize] += 1);
        let Some((largest, size)) = sizes.iter().enumerate().max_by_key(|(_, size)| **size) else { continue };
        if *size == 0 || best.is_some_and(|(before, _)| before >= *size) {
            continue;
        }
        let outside = GrayImage::from_fn(width + 2, height + 2, |x, y| {
            let is_in =
                x > 0 && y > 0 && x <= width && y <= height && parts.get_pixel(x - 1, y - 1).0[0] as usize == largest;
            Luma([if is_in { 0 } else { 255 }])
        });
        let distance = euclidean_squared_distance_transform(&outside);
        let middle = distance.enumerate_pixels().max_by(|a, b| a.2.0[0].total_cmp(&b.2.0[0])).expect("a pixel");
        let at = (middle.0 as usize - 1, middle.1 as usize - 1);
        best = Some((*size, Click { at, is_positive }));
    }
    best.expect("something is wrong").1
}

fn apply(base: &Mask, picture: &Picture, prediction: Option<&Prediction>, clicks: &Clicks) -> Mask {
    let mut out = base.clone();
    let width = out.width();
    for (row, columns, joins) in segment(picture, base, 1, prediction, clicks) {
        out.pixels_mut()[row * width..][columns].fill(if joins { 1 } else { BACKGROUND });
    }
    out
}

/// Dice after 0, 1, 2, ... clicks, and the milliseconds of a click.
fn clicked(
    base: Mask,
    picture: &Picture,
    truth: &Mask,
    prediction: Option<&Prediction>,
    first: Clicks,
) -> (Vec<f64>, Vec<f64>) {
    let known = |label: &Mask| -> Vec<u8> { label.pixels().iter().map(|class| u8::from(*class == 1)).collect() };
    let dice = |label: &Mask| metrics::agreement(&known(label), truth.pixels(), 1).dice;
    let (mut dices, mut times, mut clicks, mut label) = (vec![dice(&base)], Vec::new(), first, base.clone());
    if clicks.within.is_some() {
        label = apply(&base, picture, prediction, &clicks);
        dices.push(dice(&label));
    }
    while dices.last().is_some_and(|dice| *dice < ENOUGH) && dices.len() <= MOST {
        clicks.points.push(next_click(&label, truth));
        let begun = Instant::now();
        label = apply(&base, picture, prediction, &clicks);
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        dices.push(dice(&label));
    }
    (dices, times)
}

/// A box around the whole object, a twentieth larger on each side, with a click in its middle, as in the window.
fn boxed(truth: &Mask) -> Clicks {
    let (width, height) = (truth.width(), truth.height());
    let places: Vec<usize> = (0..width * height).filter(|place| truth.pixels()[*place] == 1).collect();
    let range = |place: fn(usize, usize) -> usize, side: usize| {
        let places = || places.iter().map(|p| place(*p, width));
        let (low, high) = (places().min().unwrap_or(0), places().max().unwrap_or(0) + 1);
        let more = (high - low) / 20;
        low.saturating_sub(more)..(high + more).min(side)
    };
    let (columns, rows) = (range(|place, width| place % width, width), range(|place, width| place / width, height));
    let middle = ((columns.start + columns.end) / 2, (rows.start + rows.end) / 2);
    Clicks { points: vec![Click { at: middle, is_positive: true }], within: Some((columns, rows)) }
}

fn truth(masks: &Path, image: &Path) -> Option<Mask> {
    let file = masks.join(image.with_extension("png").file_name()?);
    let mask = image::open(file).ok()?.to_luma8();
    let pixels: Vec<u8> = mask.pixels().map(|value| u8::from(value.0[0] > 127)).collect();
    let mask = Mask::from_pixels(mask.width() as usize, mask.height() as usize, pixels).ok()?;
    mask.pixels().contains(&1).then_some(mask)
}

fn main() {
    let arguments: Vec<PathBuf> =
        std::env::args().skip(1).filter(|a| !a.starts_with("--")).map(PathBuf::from).collect();
    let [images, masks, project @ ..] = arguments.as_slice() else {
        println!("clicks: give -- IMAGES MASKS [PROJECT]");
        return;
    };
    let network = project.first().map(|root| {
        let project = Project::open_to_read(root).expect("a project");
        let round = project.active_round().unwrap().expect("a trained round");
        let device =
            qualm::engine::device::choose(&qualm::worker::DeviceChoice::Cpu, std::time::Duration::from_secs(60))
                .expect("the CPU")
                .0;
        (Model::load(&project.model_folder(round.report.round), &device).unwrap(), project.settings().unwrap())
    });
    let mut files: Vec<PathBuf> = std::fs::read_dir(images).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut ways: Vec<(&str, Vec<Vec<f64>>)> =
        ["from nothing", "from nothing, with the network", "from the prediction", "from nothing, a box first"]
            .map(|name| (name, Vec::new()))
            .into();
    let mut times = Vec::new();
    for file in &files {
        let Some(truth) = truth(masks, file) else { continue };
        let image = raster::read(file, 0).unwrap();
        let picture = raster::picture(&image);
        let empty = || Mask::filled(truth.width(), truth.height(), UNLABELLED);
        let mut add = |way: usize, (dices, mut spent): (Vec<f64>, Vec<f64>)| {
            ways[way].1.push(dices);
            times.append(&mut spent);
        };
        add(0, clicked(empty(), &picture, &truth, None, Clicks::default()));
        add(3, clicked(empty(), &picture, &truth, None, boxed(&truth)));
        if let Some((model, settings)) = &network {
            let frame = raster::frame(&image, &model.frame_spec());
            let moments =
                model.moments_of(&frame, model.sampling(settings, 0), settings.tile_overlap, || Ok(())).unwrap();
            let prediction = Arc::new(Prediction::of(&moments));
            add(1, clicked(empty(), &picture, &truth, Some(&prediction), Clicks::default()));
            let adopted = prediction.mask(0.5, truth.width(), truth.height());
            add(2, clicked(adopted, &picture, &truth, Some(&prediction), Clicks::default()));
        }
    }
    for (name, all) in ways.iter().filter(|(_, all)| !all.is_empty()) {
        let count = all.len() as f64;
        let clicks = all.iter().map(|dices| dices.len() - 1).sum::<usize>() as f64 / count;
        let after = |clicks: usize| all.iter().map(|d| d[clicks.min(d.len() - 1)]).sum::<f64>() / count;
        let failed = all.iter().filter(|dices| dices.last().is_some_and(|dice| *dice < ENOUGH)).count();
        println!(
            "{name}: {clicks:.2} clicks to Dice {ENOUGH} (mean of {count} images, {failed} not within {MOST}); Dice after \
             0 to 5 clicks {}",
            (0..6).map(|clicks| format!("{:.3}", after(clicks))).collect::<Vec<_>>().join(" ")
        );
    }
    times.sort_by(f64::total_cmp);
    let time = |share: f64| times.get((times.len() as f64 * share) as usize).copied().unwrap_or_default();
    println!("a click takes {:.0} ms (median), {:.0} ms (95 %)", time(0.5), time(0.95));
}
