//! The domain against plain definitions and stored references.

use proptest::prelude::*;
use qualm::domain::brush::{Point, covers, sweep};
use qualm::domain::edit::{Edit, Gesture, History};
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::metrics::agreement;
use qualm::domain::query::{Reason, propose};
use qualm::domain::scores::{Moments, Scores};
use qualm::domain::settings::{Settings, TABLE};

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
    assert_eq!(agreement(&[0, 0], &[0, 0], 1).dice, 1.0);
    assert_eq!(agreement(&[1, 2], &[1, 1], 2).dice, (2.0 / 3.0) / 2.0);
}

#[test]
fn the_query_keeps_its_kinds_apart() {
    let score = |found: f64, s: f64| Scores {
        foreground_fraction: found,
        variance_edt_sum: s,
        variance_sum: s,
        ..Scores::default()
    };
    let pool: Vec<(usize, Scores)> =
        (0..40).map(|i| (i, score(if i % 4 == 0 { 0.0 } else { 0.2 }, i as f64))).collect();
    let settings = Settings { query_no_detection: 3, query_uncertain: 4, query_random: 5, ..Settings::default() };
    let picks = propose(&pool, &settings, 1);
    let of = |reason| picks.iter().filter(|p| p.reason == reason).map(|p| p.image).collect::<Vec<_>>();
    assert_eq!(of(Reason::NoDetection), [36, 32, 28]);
    assert_eq!(of(Reason::MostUncertain), [39, 38, 37, 35]);
    assert_eq!(of(Reason::Random).len(), 5);
    let mut all: Vec<usize> = picks.iter().map(|p| p.image).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 12);
    assert_eq!(picks, propose(&pool, &settings, 1));
    assert_ne!(picks, propose(&pool, &settings, 2));
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
    assert!(settings.assign("no_such_key=1").unwrap_err().to_string().contains("qualm settings"));
    assert!(settings.assign("dropout=1.5").unwrap_err().to_string().contains("from 0 to 0.95"));
    settings.assign("rows=100").unwrap();
    assert!(settings.check().unwrap_err().to_string().contains("112"));
}
