//! `cargo bench --bench domain`: the host-side computations per image of a pool and per round.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use qualm::domain::prediction::Prediction;
use qualm::domain::query::propose;
use qualm::domain::scores::{Moments, Scores, scaled_distance};
use qualm::domain::settings::Settings;

/// Moments of one class: a blob with a soft edge, unsure there.
fn moments(width: usize, height: usize) -> Moments {
    let away = |i: usize| {
        let (x, y) = ((i % width) as f32 / width as f32 - 0.5, (i / width) as f32 / height as f32 - 0.5);
        x.hypot(y)
    };
    let mean: Vec<f32> = (0..width * height).map(|i| 1.0 / (1.0 + ((away(i) - 0.3) * 40.0).exp())).collect();
    let variance: Vec<f32> = mean.iter().map(|p| p * (1.0 - p) * 0.5).collect();
    Moments {
        width,
        height,
        classes: 1,
        mean,
        entropy: variance.clone(),
        mutual_information: variance.clone(),
        variance,
    }
}

fn per_image(c: &mut Criterion) {
    for (rows, columns) in [(192, 240), (512, 512)] {
        let (moments, size) = (moments(columns, rows), format!("{rows}x{columns}"));
        let mask = moments.mask(0.5);
        c.bench_with_input(BenchmarkId::new("scores", &size), &moments, |b, m| b.iter(|| black_box(m.scores())));
        c.bench_with_input(BenchmarkId::new("scaled_distance", &size), &mask, |b, mask| {
            b.iter(|| black_box(scaled_distance(mask, columns, rows)))
        });
        c.bench_with_input(BenchmarkId::new("prediction", &size), &moments, |b, m| {
            b.iter(|| black_box(Prediction::of(m)))
        });
    }
}

fn per_round(c: &mut Criterion) {
    let score = |i: i64| Scores {
        foreground_fraction: (i % 7) as f64 / 7.0,
        variance_edt_mean: (i * 7919 % 10_007) as f64,
        ..Scores::default()
    };
    let pool: Vec<(i64, Scores)> = (0..10_000).map(|i| (i, score(i))).collect();
    let settings = Settings::paper();
    c.bench_function("propose/10000", |b| {
        b.iter(|| black_box(propose(&pool, &[], &settings, 1, |_| Err("not diverse"))))
    });
}

criterion_group!(benches, per_image, per_round);
criterion_main!(benches);
