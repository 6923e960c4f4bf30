//! Paired bootstrap: sampling units are drawn anew with replacement, the same ones for every model, and each time the difference is
//! computed.

use rand_core::RngCore;

use crate::data::philox::Philox;
use crate::evaluation::intervals::percentile;
use crate::evaluation::resampling::Resampler;

/// Draws at least: the least p that can be told is about 2 of so many.
const FEWEST_DRAWS: usize = 2_000;
/// Draws at most.
const MOST_DRAWS: usize = 10_000;
/// Units that are drawn in all, where that leaves enough draws: about a second.
const WORK: usize = 100_000_000;
/// Keys of the random numbers, for units and for seeds.
const KEYS: [u64; 2] = [1, 2];

/// What the difference of two models' means is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Of the means: the second less the first.
    pub difference: f64,
    /// Its 95 % percentile interval.
    pub interval: [f64; 2],
    /// Two-sided: twice the smaller share of draws on either side of no difference, each with one draw more, at most 1 (Davison and Hinkley 1997).
    pub p: f64,
}

impl Paired {
    /// Of the differences in all draws, and the one that was seen.
    fn of(difference: f64, mut draws: Vec<f64>) -> Self {
        let below = draws.iter().filter(|value| **value <= 0.0).count();
        let above = draws.iter().filter(|value| **value >= 0.0).count();
        let p = 2.0 * (below.min(above) + 1) as f64 / (draws.len() + 1) as f64;
        draws.sort_by(f64::total_cmp);
        Self { difference, interval: [percentile(&draws, 0.025), percentile(&draws, 0.975)], p: p.min(1.0) }
    }
}

/// One run's mean over all samples, and its means over samples that were drawn anew.
#[derive(Clone, Debug, PartialEq)]
pub struct SeedMeans {
    /// Over all samples.
    pub mean: f64,
    /// Over those of each draw.
    pub draws: Vec<f64>,
}

/// The means of several columns over the same draws of whole sampling units. `units` has the unit of each row. `classes` has its class where
/// the means of the classes are averaged, over those that were drawn; it is empty where all rows count alike. The numbers are the same each
/// time. No columns or no rows give nothing.
pub fn replicates(columns: &[Vec<f32>], units: &[u32], classes: &[u32]) -> Vec<SeedMeans> {
    if columns.is_empty() || units.is_empty() {
        return Vec::new();
    }
    let values: Vec<&[f32]> = columns.iter().map(Vec::as_slice).collect();
    let resampler = Resampler::new(&values, units, classes);
    // Each draw has random numbers of its own, so that they do not depend on how many threads there are.
    let one = |draw: usize| resampler.redrawn(&mut Philox::new([KEYS[0], draw as u64]));
    let draws = (WORK / resampler.units()).clamp(FEWEST_DRAWS, MOST_DRAWS);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let all: Vec<Vec<f64>> = std::thread::scope(|scope| {
        let part = |at: usize| (at * draws / threads..(at + 1) * draws / threads).map(one).collect::<Vec<_>>();
        let running: Vec<_> = (0..threads).map(|at| scope.spawn(move || part(at))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    let observed = resampler.observed();
    observed.into_iter().enumerate().map(|(at, mean)| SeedMeans { mean, draws: all.iter().map(|draw| draw[at]).collect() }).collect()
}

/// The difference of two groups of runs, each run with another seed, over samples and seeds: in each draw the samples are drawn, and the runs of
/// each group. Runs of groups that have the same seeds (`paired`, in the same order) are drawn together. With one run a group it is the paired
/// bootstrap over samples. `None` without runs.
pub fn over_seeds(first: &[&SeedMeans], second: &[&SeedMeans], paired: bool) -> Option<Paired> {
    let draws = first.iter().chain(second).map(|run| run.draws.len()).min()?;
    if first.is_empty() || second.is_empty() || draws == 0 {
        return None;
    }
    let mut rng = Philox::new([KEYS[1]]);
    let mut pick = |count: usize| -> Vec<usize> {
        (0..count).map(|_| if count == 1 { 0 } else { ((u64::from(rng.next_u32()) * count as u64) >> 32) as usize }).collect()
    };
    let together = paired && first.len() == second.len();
    let differences = (0..draws).map(|draw| {
        let of_first = pick(first.len());
        let of_second = if together { of_first.clone() } else { pick(second.len()) };
        let mean = |runs: &[&SeedMeans], picked: &[usize]| picked.iter().map(|at| runs[*at].draws[draw]).sum::<f64>() / picked.len() as f64;
        mean(second, &of_second) - mean(first, &of_first)
    });
    let differences: Vec<f64> = differences.collect();
    let mean = |runs: &[&SeedMeans]| runs.iter().map(|run| run.mean).sum::<f64>() / runs.len() as f64;
    Some(Paired::of(mean(second) - mean(first), differences))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each row is a unit of its own.
    fn alone(rows: u32) -> Vec<u32> {
        (0..rows).collect()
    }

    #[test]
    fn equal_models_are_equal_and_one_that_is_always_better_is_better() {
        let a: Vec<f32> = (0..50).map(|at| (at % 2) as f32).collect();
        let b: Vec<f32> = a.iter().map(|value| value + 0.25).collect();
        let means = replicates(&[a.clone(), a, b], &alone(50), &[]);
        let same = over_seeds(&[&means[0]], &[&means[1]], true).expect("runs");
        assert_eq!((same.difference, same.interval, same.p), (0.0, [0.0, 0.0], 1.0));
        let better = over_seeds(&[&means[0]], &[&means[2]], true).expect("runs");
        assert!((better.difference - 0.25).abs() < 1e-9 && (better.interval[0] - 0.25).abs() < 1e-9 && better.p < 0.001, "{better:?}");
    }

    #[test]
    fn seeds_that_disagree_widen_the_interval() {
        let level = |share: usize| (0..400).map(|at| f32::from(u8::from(at % 100 < share))).collect::<Vec<f32>>();
        let means = replicates(&[level(50), level(52), level(48), level(60), level(62), level(58)], &alone(400), &[]);
        let steady = over_seeds(&[&means[0]], &[&means[3]], true).expect("runs");
        let wide = replicates(&[level(20), level(50), level(80), level(60), level(90), level(30)], &alone(400), &[]);
        let seeds = over_seeds(&[&wide[0], &wide[1], &wide[2]], &[&wide[3], &wide[4], &wide[5]], true).expect("runs");
        assert!((steady.difference - 0.1).abs() < 1e-9 && (seeds.difference - 0.1).abs() < 1e-9);
        let width = |test: &Paired| test.interval[1] - test.interval[0];
        assert!(width(&seeds) > 3.0 * width(&steady) && steady.p < 0.01 && seeds.p > 0.1, "{steady:?} {seeds:?}");
        assert_eq!(over_seeds(&[], &[&wide[0]], false), None);
    }

    #[test]
    fn classes_count_alike() {
        let values: Vec<f32> = [vec![1.0; 90], vec![0.0; 10]].concat();
        let classes: Vec<u32> = [vec![0; 90], vec![1; 10]].concat();
        assert_eq!(replicates(&[values], &alone(100), &classes)[0].mean, 0.5);
        assert!(replicates(&[Vec::new()], &[], &[]).is_empty() && replicates(&[], &alone(3), &[]).is_empty());
    }

    #[test]
    fn one_picture_of_a_class_of_its_own_decides_nothing() {
        let (first, mut second) = (vec![1.0f32; 20], vec![1.0f32; 20]);
        second[7] = 0.0;
        let means = replicates(&[first, second], &alone(20), &alone(20));
        let found = over_seeds(&[&means[0]], &[&means[1]], true).expect("runs");
        // Drawn within classes, the difference would be the same in each draw, and p as small as it can be.
        assert!(found.p > 0.5 && found.interval[0] < found.interval[1] && found.interval[1] == 0.0, "{found:?}");
    }

    #[test]
    fn rows_of_one_picture_decide_no_more_than_the_picture() {
        // One model is better on 6 pictures of 10, the other on 4; each picture has 50 rows.
        let rows: Vec<f32> = (0..500).map(|row| f32::from(u8::from(row / 50 < 6))).collect();
        let other: Vec<f32> = rows.iter().map(|value| 1.0 - value).collect();
        let p = |units: &[u32]| {
            let means = replicates(&[rows.clone(), other.clone()], units, &[]);
            over_seeds(&[&means[0]], &[&means[1]], true).expect("runs").p
        };
        let pictures: Vec<u32> = (0..500).map(|row| row / 50).collect();
        assert!(p(&pictures) > 0.3 && p(&alone(500)) < 0.01, "{} {}", p(&pictures), p(&alone(500)));
    }
}
