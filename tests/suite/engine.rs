//! The network learns, training is reproducible, and all devices agree.

use burn::prelude::*;
use qualm::domain::scores::Moments;
use qualm::domain::settings::{
    Budget, Channels, DropoutPlace, Encoder, Flips, Geometry, Loss, OrAuto, Schedule, Settings,
};
use qualm::domain::value_range::ValueRange;
use qualm::engine::EngineError;
use qualm::engine::config::UNetConfig;
use qualm::engine::device::{self, AdapterKind, DeviceChoice, SELF_CHECK_LIMIT};
use qualm::engine::loss::loss;
use qualm::engine::model::Model;
use qualm::engine::passes::{Sampling, moments_of};
use qualm::engine::read;
use qualm::engine::sample::{Sample, Shape};
use qualm::engine::samples::SampleFile;
use qualm::engine::train::{Trained, TrainingSet, in_batches, train, validate};

const SIDE: usize = 32;

/// Small enough to train in a second.
pub fn tiny() -> Settings {
    Settings {
        encoder: Encoder::Unet,
        widths: OrAuto::Is(vec![8, 16, 32]),
        geometry: Geometry::Resize,
        rows: SIDE,
        columns: SIDE,
        channels: Channels::Grey,
        batch: 4,
        learning_rate: 3e-3,
        schedule: Schedule::Cosine,
        augment_flips: Flips::None,
        augment_rotation: 0.0,
        augment_scale: 0.0,
        augment_brightness: 0.0,
        augment_contrast: 0.0,
        dropout: 0.2,
        ..Settings::default()
    }
}

/// Four bright discs on a dark, uneven ground.
fn discs() -> TrainingSet {
    let disc = |number: usize| {
        let (cx, cy, r) = (10.0 + 4.0 * number as f64, 20.0 - 3.0 * number as f64, 5.0 + number as f64);
        let inside = |i: usize| ((i % SIDE) as f64 - cx).hypot((i / SIDE) as f64 - cy) <= r;
        Sample {
            image: (0..SIDE * SIDE)
                .map(|i| if inside(i) { 180 * 257 } else { (60 + (i % 7) as u16 * 5) * 257 })
                .collect(),
            label: (0..SIDE * SIDE).map(|i| u8::from(inside(i))).collect(),
            weight: 1.0,
            number,
        }
    };
    TrainingSet {
        training: (0..4).map(disc).collect(),
        validation: (0..4).map(disc).collect(),
        classes: 1,
        range: ValueRange::default(),
    }
}

fn trained(settings: &Settings, epochs: usize, device: &Device) -> Trained {
    train(&discs(), &in_epochs(settings, epochs), true, None, device, &mut ()).unwrap()
}

/// The settings, to train for so many epochs.
fn in_epochs(settings: &Settings, epochs: usize) -> Settings {
    Settings { budget: Budget::Epochs, epochs, ..settings.clone() }
}

/// The adapter tests run on: lavapipe where there is no graphics card.
fn adapter() -> Device {
    match device::choose(&DeviceChoice::Gpu, SELF_CHECK_LIMIT) {
        Ok((device, _)) => device,
        Err(error) => panic!("this test needs a Vulkan adapter; run `.ci/setup` to install one in software: {error}"),
    }
}

#[test]
fn four_images_are_learned_by_heart_and_dropout_leaves_doubt() {
    let result = trained(&tiny(), 60, &Device::flex());
    let dice = result.validation.unwrap().mean.dice;
    assert!(dice > 0.95, "Dice {dice}");
    assert!(result.curve.last().unwrap().loss < 0.3 * result.curve[0].loss, "{:?}", result.curve);
    let moments = result.model.moments(&discs().training[0].image, Sampling::plain(8, 1)).unwrap();
    assert!(moments.variance.iter().all(|v| *v >= 0.0 && v.is_finite()));
    assert!(moments.variance.iter().sum::<f32>() > 1e-3, "no variance: dropout did nothing");
}

#[test]
fn one_seed_repeats_and_another_differs() {
    let (a, b) = (trained(&tiny(), 2, &Device::flex()), trained(&tiny(), 2, &Device::flex()));
    assert_eq!(a.curve, b.curve);
    let image = &discs().training[1].image;
    assert_eq!(
        a.model.moments(image, Sampling::plain(5, 9)).unwrap(),
        b.model.moments(image, Sampling::plain(5, 9)).unwrap()
    );
    assert_ne!(
        a.model.moments(image, Sampling::plain(5, 9)).unwrap(),
        a.model.moments(image, Sampling::plain(5, 10)).unwrap()
    );
    assert_ne!(a.curve, trained(&Settings { seed: 1, ..tiny() }, 2, &Device::flex()).curve);
}

/// Two passes give 0.2 and 0.6 for one pixel and 0.5 twice for the other: means 0.4 and 0.5, population variances 0.04
/// and 0.
#[test]
fn moments_of_two_pixels_are_those_of_the_pencil() {
    for device in [Device::flex(), adapter()] {
        let stack = TensorData::new(vec![0.2f32, 0.5, 0.6, 0.5], [2, 1, 1, 2]);
        let maps = read(moments_of(Tensor::<4>::from_data(stack, &device))).unwrap();
        let h = |p: f64| -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        let entropy = [h(0.4), h(0.5)];
        let information = [h(0.4) - (h(0.2) + h(0.6)) / 2.0, 0.0];
        let expected = [0.4, 0.5, 0.04, 0.0, entropy[0], entropy[1], information[0], information[1]];
        for (found, expected) in maps.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{maps:?}");
        }
    }
}

/// The accumulated moments equal the definition evaluated on the same passes, for every dropout position.
#[test]
fn accumulated_moments_equal_the_definition() {
    for place in [DropoutPlace::Deepest, DropoutPlace::Decoder, DropoutPlace::All] {
        let model = trained(&Settings { dropout_place: place, ..tiny() }, 3, &Device::flex()).model;
        let image = &discs().training[2].image;
        let moments = model.moments(image, Sampling::plain(7, 3)).unwrap();
        let plain = Moments::of_stack(&model.stack(image, Sampling::plain(7, 3)).unwrap(), SIDE, SIDE);
        for (a, b) in [
            (&moments.mean, &plain.mean),
            (&moments.variance, &plain.variance),
            (&moments.entropy, &plain.entropy),
            (&moments.mutual_information, &plain.mutual_information),
        ] {
            let apart = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{place:?}: {apart}");
        }
    }
}

/// Within 1e-5 of running the whole network once per pass, for every dropout position, on the CPU and on a graphics
/// adapter.
#[test]
fn planned_passes_equal_the_plain_loop() {
    for device in [Device::flex(), adapter()] {
        use DropoutPlace::{All, Decoder, Deepest};
        let kinds = [(Encoder::Unet, Deepest), (Encoder::Unet, Decoder), (Encoder::Unet, All)];
        for (encoder, place) in kinds.into_iter().chain([(Encoder::Lite0, Deepest), (Encoder::Lite0, Decoder)]) {
            let settings = Settings { encoder, dropout_place: place, dropout: 0.4, ..tiny() };
            let model = match encoder {
                Encoder::Unet => trained(&settings, 4, &device).model,
                Encoder::Lite0 => Model::untrained(&settings, ValueRange::default(), &device),
            };
            let image = &discs().training[1].image;
            let (planned, looped) =
                (model.stack(image, Sampling::plain(5, 11)).unwrap(), model.stack_looped(image, 5, 11).unwrap());
            let apart = planned.iter().zip(&looped).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(apart < 1e-5, "{encoder:?}, {place:?}: {apart}");
            assert!(looped[..SIDE * SIDE] != looped[SIDE * SIDE..2 * SIDE * SIDE], "two passes are alike");
        }
    }
}

/// Passes with mirroring equal passes over explicitly mirrored images with each map mirrored back.
#[test]
fn mirrored_passes_are_those_of_mirror_images() {
    for device in [Device::flex(), adapter()] {
        let model = trained(&tiny(), 4, &device).model;
        let image = &discs().training[1].image;
        let channels = image.len() / (SIDE * SIDE);
        fn mirrored<T: Copy>(map: &[T], channels: usize, columns: bool, rows: bool) -> Vec<T> {
            let from = |at: usize, is_mirrored: bool| if is_mirrored { SIDE - 1 - at } else { at };
            let places = (0..SIDE).flat_map(|y| (0..SIDE).map(move |x| (x, y)));
            let pixel = |(x, y)| &map[(from(y, rows) * SIDE + from(x, columns)) * channels..][..channels];
            places.flat_map(pixel).copied().collect()
        }
        let found = model.stack(image, Sampling { passes: 6, seed: 11, flips: Flips::Both }).unwrap();
        let mut expected = Vec::new();
        for (way, passes) in [(0, 2), (1, 2), (2, 1), (3, 1)] {
            let (columns, rows) = (way & 1 == 1, way & 2 == 2);
            let sampling = Sampling::plain(passes, 11 ^ way << 61);
            let maps = model.stack(&mirrored(image, channels, columns, rows), sampling).unwrap();
            maps.chunks_exact(SIDE * SIDE).for_each(|map| expected.extend(mirrored(map, 1, columns, rows)));
        }
        assert_eq!(found.len(), 6 * SIDE * SIDE);
        let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-6, "{apart}");
        let plain = model.stack(image, Sampling::plain(6, 11)).unwrap();
        assert!(found != plain, "the network is the same whichever way an image lies");
        assert_eq!(
            model.stack(image, Sampling { passes: 2, seed: 1, flips: Flips::Both }).unwrap().len(),
            2 * SIDE * SIDE
        );
        // A network that was not trained with vertical flips is not evaluated on them.
        let sampling = Sampling { passes: 4, seed: 11, flips: Flips::LeftRight };
        let found = model.stack(image, sampling).unwrap();
        assert_eq!(found.len(), 4 * SIDE * SIDE);
        let expected = model.stack(&mirrored(image, channels, true, false), Sampling::plain(2, 11 ^ 1 << 61)).unwrap();
        let expected: Vec<f32> =
            expected.chunks_exact(SIDE * SIDE).flat_map(|map| mirrored(map, 1, true, false)).collect();
        let apart = found[2 * SIDE * SIDE..].iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-6, "{apart}");
    }
}

/// Tolerance 2e-3 of the largest value: rounding through two epochs of training on lavapipe.
#[test]
fn a_graphics_adapter_says_what_the_cpu_says() {
    let device = adapter();
    let settings = Settings { widths: OrAuto::Is(vec![4, 8]), ..tiny() };
    let (here, there) = (trained(&settings, 2, &device), trained(&settings, 2, &Device::flex()));
    let image = &discs().training[3].image;
    let (a, b) = (
        here.model.moments(image, Sampling::plain(6, 2)).unwrap(),
        there.model.moments(image, Sampling::plain(6, 2)).unwrap(),
    );
    for (name, a, b) in
        [("mean", a.mean, b.mean), ("variance", a.variance, b.variance), ("entropy", a.entropy, b.entropy)]
    {
        let scale = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let apart = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(apart <= 2e-3 * scale, "{name}: {apart} of {scale}");
    }
}

#[test]
fn an_adapter_is_checked_at_the_shape_of_the_network_that_is_to_run_on_it() {
    let of = |rows, columns| UNetConfig::new(&Settings { rows, columns, ..tiny() }, 1);
    let chosen = |network: &UNetConfig| device::choose_for(&DeviceChoice::Gpu, Some(network), SELF_CHECK_LIMIT);
    let (_, reports) = chosen(&of(32, 48)).unwrap();
    let report = reports.last().unwrap();
    assert!(report.refused.is_none() && report.difference > 0.0, "{report:?}");
    // Mesa's software renderer ends long loops early: Burn's own weight gradients over maps of this size are too small there.
    let large = of(160, 192);
    let (_, reports) = chosen(&large).unwrap();
    assert!(reports.last().unwrap().difference < 2e-3, "{reports:?}");
    let (_, reports) = device::choose_for(&DeviceChoice::Cpu, Some(&large), SELF_CHECK_LIMIT).unwrap();
    assert_eq!(reports.len(), 1);
}

#[test]
fn auto_never_takes_a_software_adapter() {
    let (_, reports) = device::choose(&DeviceChoice::Auto, SELF_CHECK_LIMIT).unwrap();
    assert_ne!(reports.last().unwrap().kind, AdapterKind::Software);
    let (_, reports) = device::choose(&DeviceChoice::Cpu, SELF_CHECK_LIMIT).unwrap();
    assert_eq!(reports.len(), 1);
}

#[test]
fn unlabelled_pixels_carry_no_loss() {
    let device = Device::flex();
    let tensor = |values: &[f32], maps: usize| {
        Tensor::<4>::from_data(TensorData::new(values.to_vec(), [1, maps, 1, values.len() / maps]), &device)
    };
    for kind in [Loss::Dice, Loss::CrossEntropy, Loss::Both] {
        let loss = |logits, labels| read(loss(kind, logits, labels, tensor(&[1.0], 1))).unwrap()[0];
        let of = |logits: &[f32]| loss(tensor(logits, 1), tensor(&[1.0, 0.0, 255.0], 1));
        assert_eq!(of(&[0.3, -0.2, 5.0]), of(&[0.3, -0.2, -7.0]));
        assert_ne!(of(&[0.3, -0.2, 5.0]), of(&[0.4, -0.2, 5.0]));
        let of = |logits: &[f32]| loss(tensor(logits, 3), tensor(&[2.0, 255.0], 1));
        assert_eq!(of(&[0.1, 9.0, 0.2, 9.0, 0.3, 9.0]), of(&[0.1, 1.0, 0.2, 2.0, 0.3, 3.0]));
    }
}

/// By hand: p = σ(0) = ½ on both pixels, target (1, 0). Dice (2·½ + 1) / (1 + 1 + 1); cross-entropy ln 2.
#[test]
fn losses_are_those_of_the_pencil() {
    let device = Device::flex();
    let logits = || Tensor::<4>::from_data(TensorData::new(vec![0.0f32, 0.0], [1, 1, 1, 2]), &device);
    let labels = || Tensor::<4>::from_data(TensorData::new(vec![1.0f32, 0.0], [1, 1, 1, 2]), &device);
    let weight = |weight: f32| Tensor::<4>::from_data(TensorData::new(vec![weight], [1, 1, 1, 1]), &device);
    let of = |kind| read(loss(kind, logits(), labels(), weight(1.0))).unwrap()[0];
    assert!((of(Loss::Dice) - 1.0 / 3.0).abs() < 1e-6);
    assert!((of(Loss::CrossEntropy) - 2f32.ln()).abs() < 1e-6);
    assert!((of(Loss::Both) - 1.0 / 3.0 - 2f32.ln()).abs() < 1e-6);
    assert!((read(loss(Loss::Both, logits(), labels(), weight(0.25))).unwrap()[0] * 4.0 - of(Loss::Both)).abs() < 1e-6);
}

#[test]
fn several_classes_are_told_apart() {
    let label = |i: usize| {
        if i % SIDE < 10 {
            1
        } else if i % SIDE > 20 {
            2
        } else {
            0
        }
    };
    let sample = Sample {
        image: (0..SIDE * SIDE).map(|i| ([40, 220, 130][label(i) as usize] + (i % 5) as u16) * 257).collect(),
        label: (0..SIDE * SIDE).map(label).collect(),
        weight: 1.0,
        number: 0,
    };
    let set = TrainingSet {
        training: vec![sample.clone()],
        validation: vec![sample.clone()],
        classes: 2,
        range: ValueRange::default(),
    };
    let result =
        train(&set, &in_epochs(&Settings { batch: 1, ..tiny() }, 60), true, None, &Device::flex(), &mut ()).unwrap();
    assert!(result.validation.as_ref().unwrap().mean.dice > 0.95, "{:?}", result.validation);
    let moments = result.model.moments(&sample.image, Sampling::plain(4, 0)).unwrap();
    assert_eq!(moments.mean.len(), 2 * SIDE * SIDE);
    assert_eq!((moments.mask(0.5)[5], moments.mask(0.5)[15], moments.mask(0.5)[30]), (1, 0, 2));
}

#[test]
fn divergence_ends_with_an_explanation() {
    let mut set = discs();
    let broken = Settings { learning_rate: f64::NAN, ..tiny() };
    let error = train(&set, &in_epochs(&broken, 5), true, None, &Device::flex(), &mut ()).err().unwrap();
    assert!(matches!(error, EngineError::LossNotFinite { epoch: 2 }), "{error}");
    assert!(error.to_string().contains("lower the learning rate"));
    set.training.clear();
    assert!(matches!(
        train(&set, &in_epochs(&tiny(), 1), true, None, &Device::flex(), &mut ()),
        Err(EngineError::NothingToLearn)
    ));
}

#[test]
fn the_pretrained_encoder_is_trained_or_stays_as_it_is() {
    let settings = |encoder_rate: f64| Settings { encoder: Encoder::Lite0, encoder_rate, ..tiny() };
    let image = &discs().training[0].image;
    let before = Model::untrained(&settings(0.0), ValueRange::default(), &Device::flex()).features(image).unwrap();
    for (rate, is_kept) in [(0.0, true), (0.3, false)] {
        let Trained { model, curve, .. } = trained(&settings(rate), 12, &Device::flex());
        assert_eq!(model.features(image).unwrap() == before, is_kept, "at {rate} of the learning rate");
        assert!(curve[11].loss < 0.7 * curve[0].loss, "it does not learn: {curve:?}");
    }
}

#[test]
fn the_pretrained_encoder_says_on_a_graphics_adapter_what_it_says_on_the_cpu() {
    let settings = Settings { encoder: Encoder::Lite0, ..tiny() };
    let image = &discs().training[3].image;
    let features =
        |device: &Device| Model::untrained(&settings, ValueRange::default(), device).features(image).unwrap();
    let (there, here) = (features(&adapter()), features(&Device::flex()));
    let scale = here.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let apart = here.iter().zip(&there).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(here.len() == 320 && apart <= 1e-4 * scale, "{apart} of {scale}");
}

#[test]
fn a_model_is_the_same_after_storing() {
    for encoder in [Encoder::Unet, Encoder::Lite0] {
        is_the_same_after_storing(trained(&Settings { encoder, ..tiny() }, 2, &Device::flex()).model);
    }
}

fn is_the_same_after_storing(mut model: Model) {
    let folder = tempfile::tempdir().unwrap();
    model.save(folder.path()).unwrap();
    let read_back = Model::load(folder.path(), &Device::flex()).unwrap();
    let image = &discs().training[0].image;
    assert_eq!(
        model.moments(image, Sampling::plain(3, 4)).unwrap(),
        read_back.moments(image, Sampling::plain(3, 4)).unwrap()
    );
    std::fs::write(folder.path().join("weights.safetensors"), b"torn").unwrap();
    let error = Model::load(folder.path(), &Device::flex()).err().unwrap();
    assert!(error.to_string().contains("weights.safetensors"), "{error}");
}

#[test]
fn a_round_can_start_from_the_last() {
    let mut first = trained(&tiny(), 10, &Device::flex());
    let folder = tempfile::tempdir().unwrap();
    first.model.save(folder.path()).unwrap();
    let stored = Model::load(folder.path(), &Device::flex()).unwrap();
    let gentle = Settings { learning_rate: 1e-3, ..tiny() };
    let fresh = trained(&gentle, 10, &Device::flex());
    for start in [&first.model, &stored] {
        let next = train(&discs(), &in_epochs(&gentle, 10), true, Some(start), &Device::flex(), &mut ()).unwrap();
        assert!(next.is_continued && next.curve[0].loss < 0.8 * fresh.curve[0].loss, "{:?}", next.curve);
        assert!(next.curve[9].loss < next.curve[0].loss, "it does not go on learning: {:?}", next.curve);
    }
    // Dropout and the input's size change no weight; other widths do.
    let continued = |settings: Settings| {
        train(&discs(), &in_epochs(&settings, 1), true, Some(&stored), &Device::flex(), &mut ()).unwrap().is_continued
    };
    assert!(continued(Settings { dropout: 0.5, dropout_place: DropoutPlace::Decoder, ..tiny() }));
    assert!(!continued(Settings { widths: OrAuto::Is(vec![8, 16]), ..tiny() }));
}

#[test]
fn a_batch_that_does_not_fit_is_halved_for_good_and_no_image_is_left_out() {
    let (items, mut size): (Vec<usize>, _) = ((0..21).collect(), 8);
    let (mut seen, mut largest) = (Vec::new(), Vec::new());
    in_batches(&items, &mut size, |batch| {
        if batch.len() > 3 {
            return Err(EngineError::OutOfMemory("64 GiB wanted".to_owned()));
        }
        seen.extend_from_slice(batch);
        largest.push(batch.len());
        Ok(())
    })
    .unwrap();
    assert_eq!((seen, size), (items.clone(), 2));
    assert_eq!(largest.len(), 11);
    let always = |_: &[usize]| Err(EngineError::OutOfMemory("64 GiB wanted".to_owned()));
    let error = in_batches(&items, &mut size, always).unwrap_err().to_string();
    assert!(error.contains("one image") && error.contains("64 GiB wanted"), "{error}");
}

#[test]
fn the_best_epoch_is_kept_and_training_ends_when_it_rises_no_more() {
    let settings = Settings { learning_rate: 0.03, keep_best: true, ..tiny() };
    let rough = trained(&settings, 30, &Device::flex());
    let dice: Vec<f64> = rough.curve.iter().map(|point| point.dice.unwrap()).collect();
    let best = dice.iter().copied().fold(0.0, f64::max);
    assert!(*dice.last().unwrap() < best, "this rate wavers, so that there is something to keep");
    assert_eq!(rough.validation.as_ref().unwrap().mean.dice, best);
    let measured = validate(&rough.model, &discs().validation, || Ok(())).unwrap().unwrap();
    assert_eq!(measured.mean.dice, best, "the weights kept are those that were measured");
    let last = trained(&Settings { keep_best: false, ..settings }, 30, &Device::flex());
    assert_eq!(last.validation.as_ref().unwrap().mean.dice, *dice.last().unwrap());

    // A learning rate this small changes no pixel, so Dice never rises after the first epoch.
    let still = Settings { learning_rate: 1e-7, patience: 3, ..tiny() };
    assert_eq!(trained(&still, 50, &Device::flex()).curve.len(), 4);
    assert_eq!(trained(&Settings { patience: 0, ..still }, 6, &Device::flex()).curve.len(), 6);
}

#[test]
fn samples_in_a_file_train_as_those_in_memory_do() {
    let temp = tempfile::TempDir::new().unwrap();
    let set = discs();
    let on_disk = |samples: &[Sample]| {
        let shape = Shape { channels: 1, rows: SIDE, columns: SIDE };
        let mut file = SampleFile::new(&temp.path().join("new"), shape).unwrap();
        samples.iter().for_each(|sample| file.push(sample).unwrap());
        file
    };
    let filed = TrainingSet {
        training: on_disk(&set.training),
        validation: on_disk(&set.validation),
        classes: 1,
        range: ValueRange::default(),
    };
    let there = train(&filed, &in_epochs(&tiny(), 3), true, None, &Device::flex(), &mut ()).unwrap();
    let here = trained(&tiny(), 3, &Device::flex());
    assert_eq!(there.curve, here.curve);
    assert_eq!(std::fs::read_dir(temp.path().join("new")).unwrap().count(), 0, "the files have no name");
}
