//! Selects representative images by clustering images that look alike.

use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64Mcg;
use rayon::prelude::*;

/// Lloyd's iterations at most.
const ITERATIONS: usize = 20;
/// Maximum number of clusters: more would take noticeably long.
const MOST: usize = 500;

/// The indices of up to `wanted` images that represent those similar to them, by `features`, one row per image, of any
/// norm. From each of the largest clusters without a labelled image, it takes the image nearest the centre, largest
/// cluster first (after TypiClust, Hacohen et al., arXiv 2202.02794, with the distance to the centre in place of
/// density). There are as many clusters as labelled and wanted images together, found by k-means on the normalised
/// features (Lloyd, IEEE Trans. Inf. Theory 28, 1982), initialised by k-means++ (Arthur & Vassilvitskii, SODA 2007). An
/// image without features is never chosen.
pub fn representative(features: &[Vec<f32>], is_labelled: &[bool], wanted: usize, seed: u64) -> Vec<usize> {
    let images: Vec<usize> = (0..features.len()).filter(|image| !features[*image].is_empty()).collect();
    let unit: Vec<Vec<f32>> = images.iter().map(|image| of_length_one(features[*image].clone())).collect();
    let labelled = images.iter().filter(|image| is_labelled[**image]).count();
    let (centres, cluster) = k_means(&unit, (labelled + wanted).min(MOST).min(unit.len()), seed);
    let mut clusters: Vec<Vec<usize>> = vec![Vec::new(); centres.len()];
    cluster.iter().enumerate().for_each(|(place, cluster)| clusters[*cluster].push(place));
    for (members, centre) in clusters.iter_mut().zip(&centres) {
        members.sort_by(|a, b| distance(&unit[*a], centre).total_cmp(&distance(&unit[*b], centre)));
    }
    // Those without a label first, then the larger ones.
    let labels = |members: &[usize]| members.iter().filter(|place| is_labelled[images[**place]]).count();
    clusters.sort_by_key(|members| (labels(members), std::cmp::Reverse(members.len())));
    let free = |members: &Vec<usize>| -> Vec<usize> {
        members.iter().map(|place| images[*place]).filter(|image| !is_labelled[*image]).collect()
    };
    let free: Vec<Vec<usize>> = clusters.iter().map(free).collect();
    let most = free.iter().map(Vec::len).max().unwrap_or(0);
    // One of each cluster, then a second one of each.
    (0..most)
        .flat_map(|place| free.iter().filter_map(move |members| members.get(place).copied()))
        .take(wanted)
        .collect()
}

/// The centres of `count` clusters, and the cluster of each row.
fn k_means(rows: &[Vec<f32>], count: usize, seed: u64) -> (Vec<Vec<f32>>, Vec<usize>) {
    if count == 0 {
        return (Vec::new(), Vec::new());
    }
    let mut rng = Pcg64Mcg::seed_from_u64(seed);
    let mut centres = vec![rows[rng.random_range(0..rows.len())].clone()];
    let mut nearest: Vec<f32> = vec![f32::INFINITY; rows.len()];
    while centres.len() < count {
        let last = centres.last().expect("there is one");
        nearest.iter_mut().zip(rows).for_each(|(nearest, row)| *nearest = nearest.min(distance(row, last)));
        let mut left = rng.random_range(0.0..1.0) * nearest.iter().map(|d| f64::from(*d)).sum::<f64>();
        let next = nearest.iter().position(|distance| {
            left -= f64::from(*distance);
            left < 0.0
        });
        // Where all that is left lies on a centre, any is as good.
        centres.push(rows[next.unwrap_or(centres.len() % rows.len())].clone());
    }
    let mut cluster = vec![usize::MAX; rows.len()];
    for _ in 0..ITERATIONS {
        let closest = |row: &Vec<f32>| {
            let by_distance =
                |a: &usize, b: &usize| distance(row, &centres[*a]).total_cmp(&distance(row, &centres[*b]));
            (0..count).min_by(by_distance).expect("there are clusters")
        };
        let found: Vec<usize> = rows.par_iter().map(closest).collect();
        if found == cluster {
            break;
        }
        cluster = found;
        for (number, centre) in centres.iter_mut().enumerate() {
            let members: Vec<&Vec<f32>> =
                rows.iter().zip(&cluster).filter(|(_, c)| **c == number).map(|(r, _)| r).collect();
            if !members.is_empty() {
                let mean = |i: usize| members.iter().map(|row| row[i]).sum::<f32>() / members.len() as f32;
                *centre = (0..centre.len()).map(mean).collect();
            }
        }
    }
    (centres, cluster)
}

/// Squared, between two rows.
fn distance(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}

/// The row normalised to unit length.
pub fn of_length_one(mut row: Vec<f32>) -> Vec<f32> {
    let length = row.iter().map(|v| v * v).sum::<f32>().sqrt().max(f32::MIN_POSITIVE);
    row.iter_mut().for_each(|v| *v /= length);
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(number: usize) -> usize {
        if number < 12 {
            0
        } else if number < 20 {
            1
        } else {
            2
        }
    }

    /// Three kinds of images: twelve, eight and four.
    fn kinds() -> Vec<Vec<f32>> {
        let value = |number: usize, i: usize| {
            let noise = ((number * 7 + i * 3) % 5) as f32 * 0.02;
            if i == kind(number) { 1.0 + noise } else { noise }
        };
        (0..24).map(|number| (0..3).map(|i| value(number, i)).collect()).collect()
    }

    #[test]
    fn one_of_each_kind_is_chosen_the_commonest_first() {
        for seed in 0..5 {
            let chosen = representative(&kinds(), &[false; 24], 3, seed);
            assert_eq!(chosen.iter().copied().map(kind).collect::<Vec<_>>(), [0, 1, 2], "{chosen:?}");
        }
        // One alone is of the commonest kind.
        assert_eq!(kind(representative(&kinds(), &[false; 24], 1, 3)[0]), 0);
        // What has a label is not asked for again.
        let mut is_labelled = [false; 24];
        is_labelled[3] = true;
        let chosen = representative(&kinds(), &is_labelled, 2, 1);
        assert_eq!(chosen.iter().copied().map(kind).collect::<Vec<_>>(), [1, 2], "{chosen:?}");
    }

    #[test]
    fn as_many_are_chosen_as_can_be() {
        let mut features = kinds();
        features[0] = Vec::new();
        assert_eq!(representative(&features, &[false; 24], 100, 0).len(), 23, "one has no features");
        assert!(representative(&[], &[], 3, 0).is_empty());
        let alike = vec![vec![1.0, 0.0]; 6];
        let mut chosen = representative(&alike, &[false; 6], 4, 0);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 4, "no image twice");
    }
}
