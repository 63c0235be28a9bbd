//! The decisions of active learning: the validation split, the query, pseudo-labels, when to stop.

use std::collections::BTreeSet;
use std::convert::Infallible;

use proptest::prelude::*;
use qualm::domain::mask::{Mask, UNLABELLED};
use qualm::domain::noise;
use qualm::domain::prediction::{Prediction, Uncertainty};
use qualm::domain::query::{Evidence, Proposal, propose, pseudo_label};
use qualm::domain::round::{ImageDice, Reason, Report, Standing};
use qualm::domain::scores::{Moments, Scores};
use qualm::domain::settings::{Policy, Settings};
use qualm::domain::split::{Member, draw_validation};
use qualm::domain::study::Side;
use qualm::domain::tiles::{self, Blend, Frame, Tile};

fn member(group: &str, foreground: f64, side: Side) -> Member {
    Member { group: group.to_owned(), foreground, side }
}

#[test]
fn the_first_draw_is_stratified_by_foreground() {
    let members: Vec<Member> = (0..50).map(|i| member(&format!("i{i}"), f64::from(i) / 50.0, Side::Undrawn)).collect();
    for seed in 0..20 {
        let drawn = draw_validation(&members, 0.2, seed);
        assert_eq!(drawn.iter().filter(|d| **d == Side::Validation).count(), 10);
        assert!(
            drawn.chunks(5).all(|stratum| stratum.iter().filter(|d| **d == Side::Validation).count() == 1),
            "{drawn:?}"
        );
    }
    assert_ne!(draw_validation(&members, 0.2, 1), draw_validation(&members, 0.2, 2));
    assert!(draw_validation(&members, 0.0, 1).iter().all(|drawn| *drawn == Side::Training));
    assert!(
        draw_validation(&members[..3], 0.2, 1).iter().all(|drawn| *drawn == Side::Training),
        "too few to spare one"
    );
}

#[test]
fn later_images_join_by_their_name_alone() {
    let old = || vec![member("a", 0.1, Side::Validation), member("b", 0.2, Side::Training)];
    let names: Vec<String> = (0..400).map(|i| format!("later {i}")).collect();
    let alone: Vec<Side> = names
        .iter()
        .map(|name| {
            let members: Vec<Member> = old().into_iter().chain([member(name, 0.5, Side::Undrawn)]).collect();
            draw_validation(&members, 0.25, 7)[2]
        })
        .collect();
    let all: Vec<Member> =
        old().into_iter().chain(names.iter().rev().map(|name| member(name, 0.0, Side::Undrawn))).collect();
    let together: Vec<Side> = draw_validation(&all, 0.25, 7).into_iter().skip(2).rev().collect();
    assert_eq!(alone, together, "neither company nor order nor size matters");
    let joined = alone.iter().filter(|side| **side == Side::Validation).count();
    assert!((70..130).contains(&joined), "{joined} of 400 joined, a quarter was wanted");
}

proptest! {
    #[test]
    fn a_group_is_never_on_both_sides(
        groups in prop::collection::vec(0usize..6, 1..40), known in prop::collection::vec(any::<bool>(), 6), seed in 0u64..50,
    ) {
        let mut members: Vec<Member> = groups.iter().map(|g| member(&g.to_string(), *g as f64 / 6.0, Side::Undrawn)).collect();
        for (number, member) in members.iter_mut().enumerate().filter(|(number, _)| number % 3 == 0) {
            member.side = if known[groups[number]] { Side::Validation } else { Side::Training };
        }
        let drawn = draw_validation(&members, 0.3, seed);
        for (member, side) in members.iter().zip(&drawn) {
            prop_assert!(member.side == Side::Undrawn || member.side == *side);
            let apart = members.iter().zip(&drawn).any(|(other, s)| other.group == member.group && s != side);
            prop_assert!(!apart);
        }
    }
}

fn scored(count: usize) -> Vec<(usize, Scores)> {
    let scores = |i: usize| Scores { foreground_fraction: 0.1, variance_edt_mean: i as f64, ..Scores::default() };
    (0..count).map(|i| (i, scores(i))).collect()
}

/// The picks of a policy that is not diverse.
fn plainly(pool: &[(usize, Scores)], settings: &Settings, seed: usize) -> Vec<Proposal<usize>> {
    propose(pool, &[], settings, seed, |_| Err("only a policy that compares images asks")).unwrap()
}

#[test]
fn the_query_keeps_its_kinds_apart() {
    let score = |found: f64, s: f64| Scores {
        foreground_fraction: found,
        variance_edt_mean: s,
        variance_sum: s,
        ..Scores::default()
    };
    let pool: Vec<(usize, Scores)> =
        (0..40).map(|i| (i, score(if i % 4 == 0 { 0.0 } else { 0.2 }, i as f64))).collect();
    let counts = Settings { query_no_detection: 3, query_uncertain: 4, query_random: 5, ..Settings::default() };
    let settings = Settings { policy: Policy::Ceal, ..counts };
    let picks = plainly(&pool, &settings, 1);
    let of = |reason| picks.iter().filter(|p| p.reason == reason).map(|p| p.image).collect::<Vec<_>>();
    assert_eq!(of(Reason::NoDetection), [36, 32, 28]);
    assert_eq!(of(Reason::MostUncertain), [39, 38, 37, 35]);
    assert_eq!(of(Reason::Random).len(), 5);
    let mut all: Vec<usize> = picks.iter().map(|p| p.image).collect();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 12);
    assert_eq!(picks, plainly(&pool, &settings, 1));
    assert_ne!(picks, plainly(&pool, &settings, 2));
}

#[test]
fn policies_pick_as_many_images_by_score_or_at_random() {
    let score = |i: usize| Scores { foreground_fraction: 0.1, variance_edt_mean: i as f64, ..Scores::default() };
    let pool: Vec<(usize, Scores)> = (0..40).map(|i| (i, score(i))).collect();
    let counts = Settings { query_no_detection: 3, query_uncertain: 4, query_random: 5, ..Settings::default() };
    let picked = |settings: &Settings, seed: usize| -> Vec<usize> {
        plainly(&pool, settings, seed).iter().map(|proposal| proposal.image).collect()
    };
    let uncertain = Settings { policy: Policy::Uncertain, ..counts.clone() };
    assert_eq!(picked(&uncertain, 1), (28..40).rev().collect::<Vec<_>>());
    let random = Settings { policy: Policy::Random, ..counts };
    assert_eq!(picked(&random, 1).len(), 12);
    assert_ne!(picked(&random, 1), picked(&random, 2));
    assert!(plainly(&pool, &random, 1).iter().all(|proposal| proposal.reason == Reason::Random));

    // With noise, in round r the first is image i with a probability in proportion to i to the power of 2^(r − 1): in the
    // first round of mean 26.3, in the third of mean 33.
    let noisy = Settings { policy: Policy::UncertainNoisy, ..uncertain };
    for round in [1, 3] {
        let drawn = |seed: u64| picked(&Settings { seed, ..noisy.clone() }, round)[0] as f64;
        let found = (0..2000).map(drawn).sum::<f64>() / 2000.0;
        let weight = |i: usize| (i as f64).powi(1 << (round - 1));
        let expected = (0..40).map(|i| i as f64 * weight(i)).sum::<f64>() / (0..40).map(weight).sum::<f64>();
        assert!((found - expected).abs() < 0.7, "round {round}: {found} beside {expected}");
    }
    assert!((1..200).all(|round| !picked(&noisy, round).contains(&0)), "an image of score 0 comes last");

    // Where the network found something first, though the others score higher.
    let found = |i: usize| Scores { foreground_fraction: if i < 15 { 0.1 } else { 0.0 }, ..score(i) };
    let pool: Vec<(usize, Scores)> = (0..40).map(|i| (i, found(i))).collect();
    let foreground = Settings { policy: Policy::RandomForeground, ..noisy };
    let picks = |round| plainly(&pool, &foreground, round).iter().map(|p| p.image).collect::<Vec<_>>();
    assert!(picks(1).iter().all(|image| *image < 15));
    assert_ne!(picks(1), picks(2));
}

/// The known features of images, each predicted as one of three classes, and of their tiles.
struct Known;

impl Evidence<usize> for Known {
    type Error = Infallible;

    fn features(&mut self, _: usize) -> Result<Vec<f32>, Infallible> {
        Ok(Vec::new())
    }

    fn tile(&self, image: usize) -> Option<(Tile, f64)> {
        // The least scored images have the most uncertain tiles.
        (image != 7).then_some((Tile { left: image, top: 0, width: 8, height: 8 }, 100.0 - image as f64))
    }

    fn class_variances(&self, image: usize) -> Vec<f64> {
        // Class 3 is found in images 0 and 1 only, class 2 in every fourth.
        let class = if image < 2 { 2 } else { usize::from(image.is_multiple_of(4)) };
        (0..3).map(|other| if other == class { 1.0 } else { 0.0 }).collect()
    }
}

#[test]
fn a_noisy_query_of_several_classes_asks_for_each_of_them() {
    let counts = Settings { query_no_detection: 0, query_uncertain: 12, query_random: 0, ..Settings::default() };
    let noisy = Settings { policy: Policy::UncertainNoisy, ..counts };
    for round in 5..15 {
        let Ok(picks) = propose(&scored(40), &[], &noisy, round, Known);
        let images: Vec<usize> = picks.iter().map(|pick| pick.image).collect();
        assert_eq!(images.iter().collect::<BTreeSet<_>>().len(), 12, "{images:?}");
        // Six by class: two of each. The class that is only in images of the lowest scores has its share.
        assert!(images[..6].contains(&0) && images[..6].contains(&1), "{images:?}");
        assert!(images[..6].iter().filter(|image| **image > 1 && **image % 4 == 0).count() == 2, "{images:?}");
        assert!(picks.iter().all(|pick| pick.tile.is_none()));
    }
}

#[test]
fn a_query_of_tiles_ranks_images_by_their_most_uncertain_tile_and_proposes_that() {
    let counts = Settings { query_no_detection: 0, query_uncertain: 3, query_random: 0, ..Settings::default() };
    let tiles = Settings { policy: Policy::UncertainTiles, ..counts };
    let Ok(picks) = propose(&scored(40), &[], &tiles, 1, Known);
    assert_eq!(picks.iter().map(|pick| pick.image).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(picks.iter().all(|pick| pick.tile.is_some_and(|tile| tile.left == pick.image) && pick.score > 90.0));
    // Where images are not cut into tiles, it is the images that are uncertain.
    assert_eq!(plainly(&scored(40), &tiles, 1)[0].image, 39);
}

#[test]
fn representative_images_are_of_the_kinds_that_have_no_label() {
    let settings = Settings {
        policy: Policy::Representative,
        query_no_detection: 0,
        query_uncertain: 2,
        query_random: 0,
        ..Settings::default()
    };
    // Four kinds of image; two of them have a labelled one.
    let Ok(picks) = propose(&scored(40), &[41, 42], &settings, 1, |image| {
        let mut features = vec![0.01; 4];
        features[image % 4] = 1.0 + image as f32 * 1e-3;
        Ok::<_, Infallible>(features)
    });
    let mut kinds: Vec<usize> = picks.iter().map(|pick| pick.image % 4).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [0, 3], "{picks:?}");
    assert!(picks.iter().all(|pick| pick.reason == Reason::Representative));
}

#[test]
fn a_diverse_query_takes_no_two_nearly_equal_images() {
    let settings = Settings {
        policy: Policy::CealDiverse,
        query_no_detection: 0,
        query_uncertain: 4,
        query_random: 0,
        query_spread: 4,
        ..Settings::default()
    };
    // Four kinds of image, each four times over and nearly equal: 15, 11, 7 and 3 are one kind, and so on.
    let mut asked = 0;
    let picks = propose(&scored(40), &[], &settings, 1, |image| {
        asked += 1;
        let mut features = vec![0.01; 4];
        features[image % 4] = 1.0 + image as f32 * 1e-3;
        Ok::<_, Infallible>(features)
    });
    let Ok(picks) = picks;
    assert_eq!(asked, 16, "only the candidates' features are asked for");
    let mut kinds: Vec<usize> = picks.iter().map(|pick| pick.image % 4).collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [0, 1, 2, 3], "{picks:?}");
    assert_eq!(picks[0].image, 39, "the most uncertain comes first");
    assert!(picks.iter().all(|pick| pick.image >= 24 && pick.reason == Reason::MostUncertain));
    let plain = Settings { policy: Policy::Ceal, ..settings.clone() };
    assert_eq!(propose(&scored(40), &[], &settings, 1, |_| Err("cancelled")), Err("cancelled"), "an error ends it");
    let plain = plainly(&scored(40), &plain, 1);
    assert_eq!(plain.iter().map(|pick| pick.image).collect::<Vec<_>>(), [39, 38, 37, 36]);
}

#[test]
fn places_that_no_detection_cannot_fill_go_to_the_most_uncertain() {
    let mut pool = scored(40);
    pool[5].1.foreground_fraction = 0.0;
    let settings = Settings { query_no_detection: 3, query_uncertain: 2, query_random: 1, ..Settings::default() };
    let settings = Settings { policy: Policy::Ceal, ..settings };
    let picks = plainly(&pool, &settings, 1);
    let of = |reason| picks.iter().filter(|p| p.reason == reason).map(|p| p.image).collect::<Vec<_>>();
    assert_eq!(of(Reason::NoDetection), [5]);
    assert_eq!(of(Reason::MostUncertain), [39, 38, 37, 36]);
    assert_eq!(of(Reason::Random).len(), 1);
}

#[test]
fn the_network_labels_what_it_is_surest_of_from_the_round_set() {
    let mut pool = scored(40);
    pool[0].1.foreground_fraction = 0.0;
    let settings = Settings { pseudo_from: 3, pseudo_count: 2, pseudo_growth: 3, ..Settings::default() };
    let settings = Settings { policy: Policy::Ceal, ..settings };
    let good = Standing { dice: Some(0.8), calibration_error: Some(0.03) };
    let chosen = |round, labelled| pseudo_label(&pool, &settings, good, round, labelled, |image| image == 2);
    assert!(chosen(2, 40).is_empty(), "not yet");
    assert_eq!(chosen(3, 40), [1, 3], "neither what it found nothing in nor what is excluded");
    assert_eq!(chosen(5, 40), [1, 3, 4, 5, 6, 7, 8, 9]);
    assert_eq!(chosen(5, 3), [1, 3, 4, 5, 6, 7], "no more than two for each label");
    let poor = [
        (Standing { dice: Some(0.1), ..good }, "pseudo_dice"),
        (Standing { dice: None, ..good }, "pseudo_dice"),
        (Standing { calibration_error: Some(0.3), ..good }, "pseudo_calibration"),
        (Standing { calibration_error: None, ..good }, "pseudo_calibration"),
    ];
    for (standing, gate) in poor {
        assert!(pseudo_label(&pool, &settings, standing, 9, 40, |_| false).is_empty(), "a poor network labels nothing");
        assert!(standing.bars_labelling(&settings).unwrap().contains(gate));
    }
    let never = Settings { pseudo_from: 0, ..settings.clone() };
    assert!(pseudo_label(&pool, &never, good, 9, 40, |_| false).is_empty());
    let other = Settings { policy: Policy::Uncertain, ..settings };
    assert!(pseudo_label(&pool, &other, good, 9, 40, |_| false).is_empty(), "machine labels are CEAL's");
}

#[test]
fn one_pixel_does_not_set_the_range_of_the_uncertainty_map() {
    let variance: Vec<f32> = (0..200)
        .map(|i| {
            if i < 100 {
                0.0
            } else if i < 199 {
                0.02
            } else {
                0.25
            }
        })
        .collect();
    let zeros = vec![0.0; 200];
    let moments = Moments {
        width: 20,
        height: 10,
        classes: 1,
        mean: zeros.clone(),
        variance,
        entropy: zeros.clone(),
        mutual_information: zeros,
    };
    let plane = Prediction::of(&moments).plane(Uncertainty::Variance).clone();
    assert!(plane.largest == 0.25 && (plane.high - 0.02).abs() < 1e-3, "{}", plane.high);
}

#[test]
fn pixels_of_high_variance_stay_unlabelled_in_a_pseudo_label() {
    // Two passes at three pixels: both near 1, both near 0, and disagreeing.
    let stack = [0.9, 0.1, 1.0, 0.9, 0.1, 0.2];
    let prediction = Prediction::of(&Moments::of_stack(&stack, 3, 1));
    assert_eq!(prediction.pseudo_label(0.05), Some(vec![1, 0, 255]));
    assert_eq!(prediction.pseudo_label(0.25), Some(vec![1, 0, 1]));
    let torn = Prediction::of(&Moments::of_stack(&[0.1, 1.0, 0.1, 0.2], 2, 1));
    assert_eq!(torn.pseudo_label(0.05), None, "what is left of it would teach that nothing is there");
}

fn report(dice: &[f64]) -> Report {
    let image = |(number, dice): (usize, &f64)| ImageDice { image: number.to_string(), dice: *dice };
    Report { validation_images: dice.iter().enumerate().map(image).collect(), ..Report::default() }
}

#[test]
fn a_round_is_held_against_the_active_one_on_the_images_that_both_measured() {
    let active = report(&[0.8, 0.7, 0.8, 0.6]);
    let may = |dice: &[f64]| noise::may_replace(&active, &report(dice), 0.02);
    assert!(may(&[0.79, 0.7, 0.79, 0.6, 0.1, 0.1]), "two hard images joined: no fall");
    assert!(!may(&[0.7, 0.65, 0.7, 0.5, 0.9, 0.9]), "two easy ones do not hide it");
    assert!(may(&[0.5, 0.75, 0.82, 0.62]), "one image fell, the others rose: noise");
    assert!(!may(&[0.0, 0.0, 0.82, 0.62]), "a collapse of half of them is none");
    // With two images, only a collapse is significant.
    let two = report(&[0.8, 0.7]);
    assert!(
        noise::may_replace(&two, &report(&[0.7, 0.6]), 0.02) && !noise::may_replace(&two, &report(&[0.5, 0.4]), 0.02)
    );
    assert!(noise::may_replace(&active, &report(&[]), 0.02), "nothing was measured");
    let other = Report { classes: vec![Default::default(); 2], ..report(&[0.1, 0.1]) };
    assert!(noise::may_replace(&active, &other, 0.02), "the mean over other classes says nothing");
}

#[test]
fn a_gain_within_the_noise_advises_to_stop() {
    let spread: Vec<f64> = (0..20).map(|i| 0.5 + 0.02 * f64::from(i)).collect();
    let first = report(&spread);
    // Every image a little better: significant, however widely the images vary.
    let better = report(&spread.iter().map(|dice| dice + 0.01).collect::<Vec<_>>());
    let gain = noise::gain(&first, &better).unwrap();
    assert!((gain.mean - 0.01).abs() < 1e-9 && !gain.is_noise(), "{gain:?}");
    // The same on average, but some images better and others worse.
    let shaken: Vec<f64> = (0..20).map(|i| spread[i] + 0.01 + if i % 2 == 0 { 0.2 } else { -0.2 }).collect();
    let gain = noise::gain(&first, &report(&shaken)).unwrap();
    assert!((gain.mean - 0.01).abs() < 1e-9 && gain.is_noise() && gain.low < 0.0 && gain.high > 0.0, "{gain:?}");
    let reports = [&first, &better, &better];
    assert!(!noise::last_gain(&reports, 2).unwrap().is_noise());
    assert!(noise::last_gain(&reports, 1).unwrap().is_noise(), "the last round brought nothing");
    assert!(noise::last_gain(&reports, 3).is_none(), "not as many rounds");
    assert!(noise::gain(&report(&[0.1, 0.2, 0.3]), &report(&[0.2, 0.3, 0.4])).is_none(), "too few images");
}

#[test]
fn the_interval_of_a_mean_is_the_bootstraps() {
    // The mean of 100 values, half 0 and half 1, has a standard error of 0.05: the interval is about 0.4 to 0.6.
    let values: Vec<f64> = (0..100).map(|i| f64::from(i % 2)).collect();
    let found = noise::interval(&values).unwrap();
    assert_eq!(found.mean, 0.5);
    assert!((found.low - 0.4).abs() < 0.025 && (found.high - 0.6).abs() < 0.025, "{found:?}");
    assert_eq!(noise::interval(&values), Some(found), "the same values give the same interval");
    assert!(noise::interval(&[]).is_none());
    let measured = |count: usize| Report {
        validation_images: (0..count)
            .map(|i| ImageDice { image: i.to_string(), dice: 0.9 - i as f64 / 10.0 })
            .collect(),
        ..Report::default()
    };
    assert!(noise::dice(&measured(1)).is_none(), "one image has no spread to resample");
    assert!(noise::dice(&measured(2)).is_some_and(|interval| interval.low < interval.high));
}

#[test]
fn tiles_cover_the_image_and_overlap_as_set() {
    for (width, height, overlap) in [(100, 70, 0.25), (32, 24, 0.25), (20, 90, 0.0), (33, 25, 0.5), (640, 31, 0.75)] {
        let origins = tiles::grid(width, height, 32, 24, overlap);
        let mut covered = vec![false; width * height];
        for (left, top) in &origins {
            assert!(left + 32 <= width.max(32) && top + 24 <= height.max(24), "a tile lies outside");
            for y in *top..(top + 24).min(height) {
                covered[y * width + left..y * width + (left + 32).min(width)].fill(true);
            }
        }
        assert!(covered.iter().all(|covered| *covered), "{width} × {height}");
        let mut lefts: Vec<usize> = origins.iter().map(|(left, _)| *left).collect();
        lefts.dedup();
        let apart = lefts.windows(2).take_while(|pair| pair[0] < pair[1]).map(|pair| pair[1] - pair[0]).max();
        assert!(apart.is_none_or(|apart| apart as f64 <= 32.0 * (1.0 - overlap)), "{lefts:?}");
    }
}

#[test]
fn blended_tiles_are_the_map_that_they_were_cut_from() {
    let (width, height) = (75, 50);
    let value = |x: usize, y: usize| (x + 2 * y) as f32 / 200.0;
    let mut blend = Blend::new(width, height, 1);
    for (left, top) in tiles::grid(width, height, 32, 24, 0.25) {
        let map = |scale: f32| (0..32 * 24).map(|i| scale * value(left + i % 32, top + i / 32)).collect::<Vec<f32>>();
        let tile = Moments {
            width: 32,
            height: 24,
            classes: 1,
            mean: map(1.0),
            variance: map(0.1),
            entropy: map(2.0),
            mutual_information: map(0.5),
        };
        blend.add((left, top), &tile);
    }
    let whole = blend.finish();
    assert_eq!((whole.width, whole.height), (width, height));
    for (map, scale) in
        [(&whole.mean, 1.0), (&whole.variance, 0.1), (&whole.entropy, 2.0), (&whole.mutual_information, 0.5)]
    {
        let right = |(i, found): (usize, &f32)| (found - scale * value(i % width, i / width)).abs() < 1e-5;
        assert!(map.iter().enumerate().all(right));
    }
    let huge = Blend::new(16_384, 16_384, 1).finish();
    assert_eq!((huge.width, huge.height), (2048, 2048), "maps of a huge image are kept smaller");
}

#[test]
fn tiles_to_measure_on_have_every_pixel_once() {
    for (width, height) in [(75, 50), (32, 24), (64, 24), (20, 90)] {
        let label = Mask::from_pixels(width, height, (0..width * height).map(|i| (i % 3) as u8).collect()).unwrap();
        let mut seen = vec![0; width * height];
        for ((left, top), part) in tiles::partition(&label, 32, 24) {
            for (i, class) in part.iter().enumerate().filter(|(_, class)| **class != UNLABELLED) {
                let (x, y) = (left + i % 32, top + i / 32);
                assert_eq!(label.get(x, y), Some(*class));
                seen[y * width + x] += 1;
            }
        }
        assert!(seen.iter().all(|times| *times == 1), "{width} × {height}");
    }
}

#[test]
fn training_tiles_lie_around_the_labels() {
    let mut mask = Mask::filled(200, 100, UNLABELLED);
    for y in 60..70 {
        for x in 150..180 {
            mask.pixels_mut()[y * 200 + x] = u8::from(x >= 176);
        }
    }
    let origins = tiles::around_labels(&mask, 32, 24, 20, 3);
    assert_eq!(origins.len(), 20);
    for (number, origin) in origins.iter().enumerate() {
        let label = mask.cut(*origin, 32, 24);
        assert!(label.iter().any(|class| *class != UNLABELLED), "{origin:?} has no label");
        assert!(number >= 10 || label.contains(&1), "the first half has foreground: {origin:?}");
    }
    assert_eq!(origins, tiles::around_labels(&mask, 32, 24, 20, 3));
    assert!(tiles::around_labels(&Mask::filled(9, 9, UNLABELLED), 32, 24, 20, 3).is_empty());
    // A class of four pixels beside one of thousands has as many tiles as that.
    let class = |place: usize| match (place % 200, place / 200) {
        (10..=11, 10..=11) => 2,
        (100.., _) => 1,
        _ => 0,
    };
    let mask = Mask::from_pixels(200, 100, (0..200 * 100).map(class).collect()).unwrap();
    let with = |class: u8| {
        let origins = tiles::around_labels(&mask, 32, 24, 20, 3);
        origins.into_iter().filter(|origin| mask.cut(*origin, 32, 24).contains(&class)).count()
    };
    assert!(with(2) >= 5 && with(1) >= 5, "{} and {}", with(2), with(1));
    let frame = Frame { width: 3, height: 2, values: vec![1, 2, 3, 4, 5, 6] };
    assert_eq!(frame.cut((2, 1), 2, 2), [6, 6, 6, 6], "the border is repeated");
}

#[test]
fn labels_are_counted_by_the_cells_of_a_tiles_size_that_hold_any_of_them() {
    let cells = |is_labelled: &dyn Fn(usize, usize) -> bool| {
        let pixel = |place: usize| if is_labelled(place % 60, place / 60) { 1 } else { UNLABELLED };
        tiles::labelled_cells(&Mask::from_pixels(60, 40, (0..60 * 40).map(pixel).collect()).unwrap(), 20, 20)
    };
    assert_eq!(cells(&|_, _| true), 6);
    assert_eq!(cells(&|x, y| (13..33).contains(&x) && (5..25).contains(&y)), 1, "a proposed tile, wherever it lies");
    assert_eq!(cells(&|x, y| x % 20 == 3 && y % 20 == 3), 6, "scribbles all over the image");
    assert_eq!(cells(&|_, _| false), 0);
}
