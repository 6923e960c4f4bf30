//! Against SciPy and statsmodels: tests/golden/statistics.py wrote the numbers.

use serde::Deserialize;

use super::*;

const GOLDEN: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/statistics.json"));

#[derive(Deserialize)]
struct Golden {
    paired: Vec<PairedCase>,
    classes: ClassCase,
    units: UnitCase,
    mcnemar: Vec<(u64, u64, f64)>,
    holm: Vec<(Vec<f64>, Vec<f64>)>,
    deviation: Vec<(Vec<f64>, f64, f64)>,
    line: LineCase,
}

#[derive(Deserialize)]
struct PairedCase {
    first: Vec<f32>,
    second: Vec<f32>,
    difference: f64,
    interval: [f64; 2],
    p: f64,
    t_test: f64,
    only: [u64; 2],
    mcnemar: f64,
}

#[derive(Deserialize)]
struct ClassCase {
    labels: Vec<u32>,
    first: Vec<f32>,
    second: Vec<f32>,
    difference: f64,
    interval: [f64; 2],
}

#[derive(Deserialize)]
struct UnitCase {
    units: Vec<u32>,
    first: Vec<f32>,
    second: Vec<f32>,
    interval: [f64; 2],
}

#[derive(Deserialize)]
struct LineCase {
    pairs: Vec<(f64, f64)>,
    slope: f64,
    intercept: f64,
}

fn golden() -> Golden {
    serde_json::from_str(GOLDEN).expect("the golden numbers")
}

fn near(found: f64, expected: f64, tolerance: f64) -> bool {
    (found - expected).abs() <= tolerance
}

#[test]
fn the_paired_bootstrap_is_scipys() {
    for case in golden().paired {
        let rows: Vec<u32> = (0..case.first.len() as u32).collect();
        let means = replicates(&[case.first.clone(), case.second.clone()], &rows, &[]);
        let found = over_seeds(&[&means[0]], &[&means[1]], true).expect("two runs");
        let width = case.interval[1] - case.interval[0];
        assert!(near(found.difference, case.difference, 1e-6), "{found:?} {}", case.difference);
        assert!(
            near(found.interval[0], case.interval[0], 0.06 * width) && near(found.interval[1], case.interval[1], 0.06 * width),
            "{found:?}"
        );
        // The t-test is another test of the same question.
        assert!(near(found.p, case.p, 0.01 + 0.1 * case.p) && near(found.p, case.t_test, 0.01 + 0.3 * case.t_test), "{found:?} {}", case.p);
        let only = |first: f32| case.first.iter().zip(&case.second).filter(|(a, b)| **a == first && **b != first).count() as u64;
        assert_eq!([only(1.0), only(0.0)], case.only);
        assert!(near(mcnemar(case.only[0], case.only[1]), case.mcnemar, 1e-12));
    }
}

#[test]
fn classes_of_unequal_sizes_count_alike() {
    let case = golden().classes;
    let rows: Vec<u32> = (0..case.labels.len() as u32).collect();
    let means = replicates(&[case.first, case.second], &rows, &case.labels);
    let found = over_seeds(&[&means[0]], &[&means[1]], true).expect("two runs");
    let width = case.interval[1] - case.interval[0];
    assert!(near(found.difference, case.difference, 1e-6));
    assert!(
        near(found.interval[0], case.interval[0], 0.06 * width) && near(found.interval[1], case.interval[1], 0.06 * width),
        "{found:?}"
    );
}

#[test]
fn units_of_several_rows_are_drawn_as_a_whole() {
    let case = golden().units;
    let means = replicates(&[case.first, case.second], &case.units, &[]);
    let found = over_seeds(&[&means[0]], &[&means[1]], true).expect("two runs");
    let width = case.interval[1] - case.interval[0];
    assert!(
        near(found.interval[0], case.interval[0], 0.06 * width) && near(found.interval[1], case.interval[1], 0.06 * width),
        "{found:?}"
    );
}

#[test]
fn exact_tests_adjustments_and_spreads_agree() {
    let golden = golden();
    for (first, second, p) in golden.mcnemar {
        assert!(near(mcnemar(first, second), p, 1e-9), "{first} {second}: {} {p}", mcnemar(first, second));
    }
    for (given, expected) in golden.holm {
        assert!(holm(&given).iter().zip(&expected).all(|(a, b)| near(*a, *b, 1e-12)), "{given:?}");
    }
    for (values, mean, deviation) in golden.deviation {
        let found = mean_and_deviation(&values);
        assert!(near(found.0, mean, 1e-12) && near(found.1.expect("several"), deviation, 1e-12));
    }
    assert_eq!(mean_and_deviation(&[2.0]), (2.0, None));
    let line = LogitLine::fit(&golden.line.pairs).expect("twelve models");
    assert!(near(line.slope, golden.line.slope, 1e-9) && near(line.intercept, golden.line.intercept, 1e-9), "{line:?}");
}
