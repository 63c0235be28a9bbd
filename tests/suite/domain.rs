//! The domain, compared with direct definitions and stored references.

use proptest::prelude::*;
use qualm::domain::brush::{Point, advance, covers, fill_outline, sweep};
use qualm::domain::cleanup::{Cleanup, Locked, flood};
use qualm::domain::edit::{Edit, Gesture, History};
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::metrics::agreement;
use qualm::domain::scores::{Moments, Scores};
use qualm::domain::settings::{Budget, DropoutPlace, Encoder, Geometry, Settings, TABLE};
use qualm::domain::uncertainty::PixelCounts;

const WIDTH: usize = 150;
const HEIGHT: usize = 90;

#[derive(Clone, Debug)]
struct Stroke {
    points: Vec<(f64, f64)>,
    radius: f64,
    class: u8,
}

fn stroke() -> impl Strategy<Value = Stroke> {
    let point = (-20.0..170.0f64, -20.0..110.0f64);
    (prop::collection::vec(point, 1..6), 0.3..30.0f64, 0..4u8).prop_map(|(points, radius, class)| Stroke {
        points,
        radius,
        class,
    })
}

fn draw(mask: &mut Mask, stroke: &Stroke) -> Option<Edit> {
    let mut gesture = Gesture::default();
    let mut from = stroke.points[0];
    for &to in &stroke.points {
        let (a, b) = (Point { x: from.0, y: from.1 }, Point { x: to.0, y: to.1 });
        sweep(a, b, stroke.radius, mask.width(), mask.height(), |row, columns| {
            gesture.paint(mask, row, columns, stroke.class)
        });
        from = to;
    }
    gesture.finish(mask)
}

proptest! {
    #[test]
    fn strokes_undone_give_back_the_first_mask_and_redone_the_last(strokes in prop::collection::vec(stroke(), 1..12)) {
        let first = Mask::filled(WIDTH, HEIGHT, UNLABELLED);
        let mut mask = first.clone();
        let mut history = History::default();
        for stroke in &strokes {
            let before = mask.clone();
            match draw(&mut mask, stroke) {
                Some(edit) => {
                    prop_assert_ne!(&before, &mask);
                    prop_assert_eq!(&Edit::from_bytes(&edit.to_bytes()).unwrap(), &edit);
                    history.push(edit.into());
                }
                None => prop_assert_eq!(&before, &mask),
            }
        }
        let last = mask.clone();
        while history.can_undo() { history.undo(&mut mask).unwrap(); }
        prop_assert_eq!(&mask, &first);
        while history.can_redo() { history.redo(&mut mask).unwrap(); }
        prop_assert_eq!(&mask, &last);
    }

    #[test]
    fn a_swept_brush_covers_what_its_definition_says(stroke in stroke()) {
        let (a, b) = (stroke.points[0], *stroke.points.last().unwrap());
        let (from, to) = (Point { x: a.0, y: a.1 }, Point { x: b.0, y: b.1 });
        let mut painted = Mask::filled(WIDTH, HEIGHT, 0);
        sweep(from, to, stroke.radius, WIDTH, HEIGHT, |row, columns| painted.pixels_mut()[row * WIDTH..][columns].fill(1));
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                prop_assert_eq!(painted.get(x, y) == Some(1), covers(from, to, stroke.radius, x, y), "pixel {} {}", x, y);
            }
        }
    }

    #[test]
    fn an_edit_between_two_masks_leads_from_one_to_the_other(seed in any::<[u8; 32]>()) {
        let before = Mask::filled(WIDTH, HEIGHT, 1);
        let pixels = (0..WIDTH * HEIGHT).map(|i| seed[i / 700 % 32] % 3).collect();
        let after = Mask::from_pixels(WIDTH, HEIGHT, pixels).unwrap();
        let mut mask = before.clone();
        if let Some(edit) = Edit::between(&before, &after) { edit.toggle(&mut mask).unwrap(); }
        prop_assert_eq!(mask, after);
    }

    #[test]
    fn damaged_edits_are_refused_and_change_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let before = Mask::filled(WIDTH, HEIGHT, 0);
        let mut mask = before.clone();
        if Edit::from_bytes(&bytes).and_then(|edit| edit.toggle(&mut mask)).is_err() {
            prop_assert_eq!(mask, before);
        }
    }
}

#[test]
fn a_gesture_that_changed_nothing_is_no_edit() {
    let mut mask = Mask::filled(WIDTH, HEIGHT, 2);
    let stroke = Stroke { points: vec![(20.0, 20.0), (60.0, 40.0)], radius: 8.0, class: 2 };
    assert_eq!(draw(&mut mask, &stroke), None);
}

#[test]
fn scores_equal_the_numpy_reference() {
    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        shape: [usize; 3],
        stack: Vec<f32>,
        scores: Scores,
    }
    let cases: Vec<Case> = serde_json::from_str(include_str!("../data/scores.json")).unwrap();
    assert_eq!(cases.len(), 4);
    for case in cases {
        let [_, height, width] = case.shape;
        let ours = Moments::of_stack(&case.stack, width, height).scores();
        let pairs = serde_json::to_value(ours).unwrap();
        for (key, expected) in serde_json::to_value(case.scores).unwrap().as_object().unwrap() {
            let (ours, expected) = (pairs[key].as_f64().unwrap(), expected.as_f64().unwrap());
            assert!(
                (ours - expected).abs() <= 1e-5 * expected.abs().max(1.0),
                "{} {key}: {ours} is not {expected}",
                case.name
            );
        }
    }
}

#[test]
fn agreement_of_known_masks() {
    let a = agreement(&[1, 1, 0, 0, 1], &[1, 0, 0, 1, UNLABELLED], 1);
    assert_eq!((a.dice, a.jaccard), (0.5, 1.0 / 3.0));
    assert_eq!((a.sensitivity, a.specificity, a.images), (0.5, 0.5, 1));
    assert_eq!(agreement(&[0, 0], &[0, 0], 1).dice, 1.0);
    assert_eq!(agreement(&[1, 2], &[1, 1], 2).dice, (2.0 / 3.0) / 2.0);
}

#[test]
fn every_setting_reads_what_it_shows_and_refuses_nonsense() {
    for preset in [Settings::default(), Settings::paper()] {
        for setting in TABLE {
            let mut copy = preset.clone();
            let shown = setting.text(&preset);
            copy.set(setting.key, &shown).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(copy, preset);
            assert!(copy.set(setting.key, "nonsense").is_err(), "{} takes nonsense", setting.key);
        }
        preset.check().unwrap();
    }
    let mut settings = Settings::default();
    assert!(settings.assign("rows").is_err());
    assert!(settings.assign("no_such_key=1").unwrap_err().to_string().contains("no setting `no_such_key`"));
    assert!(settings.assign("dropout=1.5").unwrap_err().to_string().contains("from 0 to 0.95"));
    settings.assign("rows=100").unwrap();
    assert!(settings.check().unwrap_err().to_string().contains("with encoder lite0 it must be a multiple of 32"));
    settings.assign("widths=8,16,32,64,128").unwrap();
    assert_eq!(settings.encoder, Encoder::Unet, "widths are the U-Net's");
    assert!(settings.check().unwrap_err().to_string().contains("112"));
    settings.assign("widths=auto").unwrap();
    for (rows, columns, levels, deepest) in
        [(96, 128, 5, 256), (128, 128, 5, 256), (256, 192, 6, 512), (512, 1024, 7, 512), (32, 48, 3, 64)]
    {
        let widths = Settings { rows, columns, ..settings.clone() }.unet_widths();
        assert_eq!((widths.len(), widths[widths.len() - 1]), (levels, deepest), "{rows} × {columns}");
    }
    let nowhere = Settings { encoder: Encoder::Lite0, dropout_place: DropoutPlace::All, ..Settings::default() };
    assert!(nowhere.check().unwrap_err().to_string().contains("dropout_place = all"));
}

/// The brush at `from`, then on to `to`, by way of [`advance`].
fn advanced(a: Point, b: Point, radius: f64) -> Mask {
    let mut mask = Mask::filled(WIDTH, HEIGHT, 0);
    let mut gesture = Gesture::default();
    sweep(a, a, radius, WIDTH, HEIGHT, |row, columns| gesture.paint(&mut mask, row, columns, 1));
    advance(a, b, radius, WIDTH, HEIGHT, |row, columns| gesture.paint(&mut mask, row, columns, 1));
    mask
}

/// The even-odd rule by its definition: counts edge crossings for each pixel, independently of the program's own code.
fn inside(outline: &[(f64, f64)], x: f64, y: f64) -> bool {
    let mut odd = false;
    let mut j = outline.len() - 1;
    for i in 0..outline.len() {
        let ((xi, yi), (xj, yj)) = (outline[i], outline[j]);
        if (yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi {
            odd = !odd;
        }
        j = i;
    }
    odd
}

/// A mask of 24 × 18 from bits.
fn small_mask(bits: &[bool]) -> Mask {
    Mask::from_pixels(24, 18, bits.iter().map(|&b| u8::from(b)).collect()).unwrap()
}

/// The connected component of `seed` among pixels where `is` holds, with 4- or, if `corners`, 8-connectivity, by the
/// simplest search.
fn connected(is: &dyn Fn(i32, i32) -> bool, seed: (i32, i32), corners: bool) -> std::collections::BTreeSet<(i32, i32)> {
    let mut part = std::collections::BTreeSet::new();
    let mut waiting = vec![seed];
    while let Some((x, y)) = waiting.pop() {
        if !is(x, y) || !part.insert((x, y)) {
            continue;
        }
        for (dx, dy) in [(1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1)] {
            if corners || dx == 0 || dy == 0 {
                waiting.push((x + dx, y + dy));
            }
        }
    }
    part
}

proptest! {
    #[test]
    fn a_brush_that_advances_paints_what_a_swept_one_does(stroke in stroke()) {
        let (a, b) = (stroke.points[0], *stroke.points.last().unwrap());
        let (a, b) = (Point { x: a.0, y: a.1 }, Point { x: b.0, y: b.1 });
        let mut swept = Mask::filled(WIDTH, HEIGHT, 0);
        let mut gesture = Gesture::default();
        sweep(a, b, stroke.radius, WIDTH, HEIGHT, |row, columns| gesture.paint(&mut swept, row, columns, 1));
        prop_assert_eq!(advanced(a, b, stroke.radius), swept);
    }

    #[test]
    fn a_filled_outline_is_the_even_odd_rule(outline in prop::collection::vec((-20.0..170.0f64, -20.0..110.0f64), 3..12)) {
        let points: Vec<Point> = outline.iter().map(|&(x, y)| Point { x, y }).collect();
        let mut mask = Mask::filled(WIDTH, HEIGHT, 0);
        let mut gesture = Gesture::default();
        fill_outline(&points, WIDTH, HEIGHT, |row, columns| gesture.paint(&mut mask, row, columns, 1));
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let expected = inside(&outline, x as f64 + 0.5, y as f64 + 0.5);
                prop_assert_eq!(mask.get(x, y) == Some(1), expected, "at {} {}", x, y);
            }
        }
    }

    #[test]
    fn a_flood_covers_what_is_connected(bits in prop::collection::vec(prop::bool::weighted(0.6), 24 * 18), x in 0..24usize, y in 0..18usize) {
        let mask = small_mask(&bits);
        let mut covered = std::collections::BTreeSet::new();
        for (row, columns) in flood(24, 18, (x, y), |x, y| mask.get(x, y) == Some(1)) {
            for column in columns {
                prop_assert!(covered.insert((column as i32, row as i32)), "covered twice");
            }
        }
        let is = |x: i32, y: i32| x >= 0 && y >= 0 && mask.get(x as usize, y as usize) == Some(1);
        prop_assert_eq!(covered, connected(&is, (x as i32, y as i32), false));
    }

    #[test]
    fn holes_and_islands_are_what_they_are_by_definition(bits in prop::collection::vec(prop::bool::weighted(0.55), 24 * 18)) {
        let mask = small_mask(&bits);
        let none = Locked::default();
        let on = |x: i32, y: i32| (0..24).contains(&x) && (0..18).contains(&y) && mask.get(x as usize, y as usize) == Some(1);
        let off = |x: i32, y: i32| (-1..25).contains(&x) && (-1..19).contains(&y) && !on(x, y);
        let outside = connected(&off, (-1, -1), false);
        let filled = Cleanup::FillHoles.apply(&mask, 1, &none);
        let fewest = 6;
        let without = Cleanup::RemoveIslands(fewest).apply(&mask, 1, &none);
        let largest_only = Cleanup::KeepLargest.apply(&mask, 1, &none);
        let size = |x: i32, y: i32| connected(&on, (x, y), true).len();
        let largest = (0..24 * 18).map(|i| size(i % 24, i / 24)).max().unwrap();
        for i in 0..24 * 18 {
            let (x, y) = (i % 24, i / 24);
            let at = |mask: &Mask| mask.get(x as usize, y as usize) == Some(1);
            prop_assert_eq!(at(&filled), !outside.contains(&(x, y)));
            prop_assert_eq!(at(&without), size(x, y) >= fewest as usize);
            prop_assert_eq!(at(&largest_only), largest > 0 && size(x, y) == largest);
        }
    }

    #[test]
    fn growing_and_shrinking_are_distances(bits in prop::collection::vec(prop::bool::weighted(0.2), 24 * 18), by in 1..4u8) {
        let mask = small_mask(&bits);
        let near = |x: i32, y: i32, value: u8| (0..24 * 18i32).any(|i| {
            let (dx, dy) = (i % 24 - x, i / 24 - y);
            mask.pixels()[i as usize] == value && dx * dx + dy * dy <= i32::from(by) * i32::from(by)
        });
        let grown = Cleanup::Grow(by).apply(&mask, 1, &Locked::default());
        let shrunk = Cleanup::Shrink(by).apply(&mask, 1, &Locked::default());
        for i in 0..24 * 18 {
            let (x, y) = (i % 24, i / 24);
            prop_assert_eq!(grown.pixels()[i as usize] == 1, near(x, y, 1));
            prop_assert_eq!(shrunk.pixels()[i as usize] == 1, !near(x, y, 0));
        }
    }
}

proptest! {
    #[test]
    fn smoothing_is_the_vote_of_a_disc(bits in prop::collection::vec(any::<bool>(), 24 * 18), by in 1..7u8) {
        let mask = small_mask(&bits);
        let smoothed = Cleanup::Smooth(by).apply(&mask, 1, &Locked::default());
        for i in 0..24 * 18i32 {
            let is_near = |j: &i32| {
                let (dx, dy) = (j % 24 - i % 24, j / 24 - i / 24);
                dx * dx + dy * dy <= i32::from(by) * i32::from(by)
            };
            let is_class = |j: i32| mask.pixels()[j as usize] == 1;
            let votes: i32 = (0..24 * 18).filter(is_near).map(|j| if is_class(j) { 1 } else { -1 }).sum();
            prop_assert_eq!(smoothed.pixels()[i as usize] == 1, votes > 0 || votes == 0 && is_class(i));
        }
    }
}

#[test]
fn smoothing_takes_a_spike_away_and_joins_no_neighbours() {
    // Two squares, 4 apart, in the middle of an image; the first has a spike.
    let mut mask = Mask::filled(60, 40, 0);
    let mut fill = |columns: std::ops::Range<usize>, rows: std::ops::Range<usize>| {
        rows.for_each(|row| mask.pixels_mut()[row * 60..][columns.clone()].fill(1));
    };
    fill(10..22, 10..22);
    fill(26..38, 10..22);
    fill(3..10, 15..16);
    let smoothed = Cleanup::Smooth(4).apply(&mask, 1, &Locked::default());
    let is_class = |x: usize, y: usize| smoothed.get(x, y) == Some(1);
    assert!((3..9).all(|x| !is_class(x, 15)), "the spike");
    assert!((22..26).all(|x| (0..40).all(|y| !is_class(x, y))), "the gap");
    assert!((12..20).all(|y| is_class(10, y) && is_class(21, y) && is_class(26, y) && is_class(37, y)), "the sides");
    assert!(!is_class(10, 10) && !is_class(37, 21), "the corners are rounded");
}

#[test]
fn a_label_has_a_class_also_where_a_step_brings_it_back() {
    let mut mask = Mask::filled(10, 10, UNLABELLED);
    let mut history = History::default();
    for class in [2, 1] {
        let mut gesture = Gesture::default();
        gesture.paint(&mut mask, 4, 2..8, class);
        history.push(gesture.finish(&mask).unwrap().into());
    }
    let has = |history: &History, mask: &Mask, class: u8| history.ever_has(mask, |other| other == class).unwrap();
    assert!(has(&history, &mask, 1) && has(&history, &mask, 2) && !has(&history, &mask, 3));
    history.undo(&mut mask).unwrap();
    history.undo(&mut mask).unwrap();
    assert!(mask.is_unlabelled() && has(&history, &mask, 1) && has(&history, &mask, 2));
}

#[test]
fn locked_classes_stay() {
    let mut mask = Mask::filled(9, 9, 0);
    (0..9).for_each(|x| mask.pixels_mut()[4 * 9 + x] = 1);
    (0..9).for_each(|x| mask.pixels_mut()[5 * 9 + x] = 2);
    let mut locked = Locked::default();
    locked.toggle(2);
    let grown = Cleanup::Grow(2).apply(&mask, 1, &locked);
    assert_eq!((grown.get(3, 2), grown.get(3, 5), grown.get(3, 6)), (Some(1), Some(2), Some(1)));
    assert_eq!(Cleanup::Shrink(1).apply(&mask, 2, &locked), mask);
    locked.toggle(2);
    assert_eq!(Cleanup::Grow(2).apply(&mask, 1, &locked).get(3, 5), Some(1));
}

/// One class, `[rows = 1, columns]`.
fn line(mean: &[f32], variance: &[f32]) -> Moments {
    Moments {
        width: mean.len(),
        height: 1,
        classes: 1,
        mean: mean.to_vec(),
        variance: variance.to_vec(),
        entropy: vec![0.0; mean.len()],
        mutual_information: vec![0.0; mean.len()],
    }
}

#[test]
fn honesty_of_five_pixels_is_that_of_the_pencil() {
    // Correct and certain; correct and uncertain; wrong and most uncertain; correct background; unlabelled.
    let mut counts = PixelCounts::default();
    counts.add(&line(&[0.9, 0.6, 0.7, 0.2, 0.5], &[0.01, 0.08, 0.2, 0.02, 9.0]), &[1, 1, 0, 0, UNLABELLED]);
    let uncertainty = counts.quality().unwrap();
    assert_eq!(uncertainty.error_auroc, Some(1.0));
    // Confidences .9, .6, .7 and .8 fall into separate bins: |.9 − 1| + |.6 − 1| + |.7 − 0| + |.8 − 1|, over 4.
    assert!((uncertainty.ece - 1.4 / 4.0).abs() < 1e-6, "{}", uncertainty.ece);
    assert_eq!(uncertainty.reliability.len(), 4);
    // In order of rising variance: correct, correct, correct, wrong. The risk is 0 up to a coverage c of 3/4, then
    // (c − 3/4) / c.
    assert!((uncertainty.aurc.unwrap() - (0.25 - 0.75 * (4.0f64 / 3.0).ln())).abs() < 1e-9);
    // All pixels: 2 · 2 / (3 + 2). Setting half aside removes the wrong and the uncertain pixel: 2 · 1 / (1 + 1).
    assert!((uncertainty.set_aside[0][1] - 0.8).abs() < 1e-9);
    assert_eq!(uncertainty.set_aside.last(), Some(&[0.5, 1.0]));
    let mut all_right = PixelCounts::default();
    all_right.add(&line(&[0.9], &[0.1]), &[1]);
    assert_eq!(all_right.quality().unwrap().error_auroc, None);
    assert_eq!(PixelCounts::default().quality(), None);
}

proptest! {
    #[test]
    fn error_auroc_is_the_share_of_pairs_in_order(pixels in prop::collection::vec((0.0f32..1.0, 0u8..12, 0u8..2), 2..60)) {
        // Variances are equal or differ by powers of two, so that unequal ones never share a bin.
        let mean: Vec<f32> = pixels.iter().map(|p| p.0).collect();
        let variance: Vec<f32> = pixels.iter().map(|p| 0.5f32.powi(i32::from(p.1))).collect();
        let label: Vec<u8> = pixels.iter().map(|p| p.2).collect();
        let mut counts = PixelCounts::default();
        // In two images: the counts are joined.
        let half = pixels.len() / 2;
        counts.add(&line(&mean[..half], &variance[..half]), &label[..half]);
        counts.add(&line(&mean[half..], &variance[half..]), &label[half..]);
        let wrong = |i: usize| (mean[i] >= 0.5) != (label[i] == 1);
        let (mut pairs, mut won) = (0.0, 0.0);
        for i in (0..pixels.len()).filter(|i| wrong(*i)) {
            for j in (0..pixels.len()).filter(|j| !wrong(*j)) {
                pairs += 1.0;
                won += if variance[i] > variance[j] { 1.0 } else if variance[i] == variance[j] { 0.5 } else { 0.0 };
            }
        }
        match counts.quality().unwrap().error_auroc {
            Some(auroc) => prop_assert!((auroc - won / pairs).abs() < 1e-9),
            None => prop_assert!(pairs == 0.0),
        }
    }
}

#[test]
fn what_is_said_last_on_the_command_line_is_what_training_is_measured_in() {
    let mut settings = Settings::default();
    assert_eq!((settings.budget, settings.geometry), (Budget::Seconds, Geometry::Auto));
    settings.assign("epochs=5").unwrap();
    assert_eq!(settings.budget, Budget::Epochs);
    settings.assign("steps=100").unwrap();
    assert_eq!(settings.budget, Budget::Steps);
    settings.assign("rows=64").unwrap();
    assert_eq!(settings.geometry, Geometry::Resize);
    assert_eq!(Settings::paper().budget, Budget::Epochs);
}
