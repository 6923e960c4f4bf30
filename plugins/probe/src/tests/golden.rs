//! Against scikit-learn and lightly, from the file that `tests/golden/probe.py` writes.

use vlhub_sdk::ops::normalize;
use vlhub_sdk::serde_json::Value;

use super::*;
use crate::features::Known;
use crate::lbfgs::Stop;
use crate::logistic::Problem;

fn read() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/probe.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("tests/golden/probe.py writes it")).expect("JSON")
}

fn cases<'a>(golden: &'a Value, key: &str) -> &'a [Value] {
    golden[key].as_array().expect("a list")
}

fn part<T: serde_json::value::Index + Copy, R: vlhub_sdk::serde::de::DeserializeOwned>(case: &Value, key: T) -> R {
    serde_json::from_value(case[key].clone()).expect("the key of a case")
}

/// The data of a case, and a model that knows their features.
fn data(case: &Value) -> (Labels, Table) {
    let labels = |key: &str| part::<_, Vec<i64>>(case, key).into_iter().map(Some).collect();
    let classes = kinds(part(case, "classes"));
    let rows: Vec<Vec<f32>> = [part::<_, Vec<_>>(case, "train"), part(case, "data")].concat();
    (Labels { classes: [classes.clone(), classes], train: labels("train_labels"), data: labels("data_labels") }, Table::new(rows))
}

fn tensor(case: &Value, key: &str) -> Tensor {
    let rows: Vec<Vec<f32>> = part(case, key);
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

fn known(case: &Value) -> Known {
    Known { features: tensor(case, "train"), labels: part(case, "train_labels") }
}

#[track_caller]
fn same_metrics(report: &Report, case: &Value) {
    for (name, value) in case["metrics"].as_object().expect("metrics") {
        let (ours, theirs) = (report.get(name).expect(name), value.as_f64().expect(name));
        assert!((ours - theirs).abs() < 1e-9, "{name}: {ours} for {theirs}");
    }
}

#[test]
fn a_fit_ends_where_scikit_learn_does() {
    for case in cases(&read(), "logistic") {
        let (name, l2): (String, f64) = (part(case, "name"), part(case, "l2"));
        let (known, standardise) = (known(case), part(case, "standardise"));
        let problem = Problem::new(&known, standardise);
        let found = problem.fit(l2, problem.zeros(), Stop { tolerance: 1e-9, iterations: 5000 }).expect("a fit");
        // Where `l2` is strong, the last digits of the loss tell no more.
        assert!(found.gradient < 1e-7, "{name}: {found:?}");
        let (ours, theirs) = (problem.loss(&found.at, l2).expect("a loss").0, part::<_, f64>(case, "loss"));
        assert!((ours - theirs).abs() < 1e-9 * theirs.max(1.0), "{name}: loss {ours} for {theirs}");

        let scores = problem.scores(&tensor(case, "data"), &found.at, part(case, "classes")).expect("scores");
        let present: Vec<usize> = part(case, "present");
        for (scores, wanted) in scores.iter().zip(part::<_, Vec<Vec<f64>>>(case, "log_probabilities")) {
            let logits: Vec<_> = present.iter().map(|class| scores[*class]).collect();
            let ours = Vec::<f64>::try_from(Tensor::from_slice(&logits).log_softmax(0, Kind::Double)).expect("a row");
            for (ours, wanted) in ours.iter().zip(wanted) {
                assert!((ours - wanted).abs() < 1e-5 * wanted.abs().max(1.0), "{name}: log-probability {ours} for {wanted}");
            }
        }
        // The suite, as it stops by itself.
        let (labels, model) = data(case);
        let config = LinearProbeConfig { l2: vec![l2], standardise, topk: vec![1, 2, 5], tolerance: 1e-6, ..probe() };
        same_metrics(&run(&config, &labels, &model).expect(&name), case);
    }
}

#[test]
fn the_l2_is_the_one_that_scikit_learn_would_choose() {
    let golden = read();
    let case = &golden["chosen"];
    let (labels, model) = data(case);
    let report = run(&LinearProbeConfig { l2: part(case, "l2"), ..probe() }, &labels, &model).expect("a report");
    let chosen = format!("l2 {:e} was chosen", part::<_, f64>(case, "best"));
    assert!(report.notes[0].starts_with(&chosen), "{:?} for {chosen}", report.notes);
    let (mut l2, right): (Vec<f64>, Vec<u64>) = (part(case, "l2"), part(case, "right"));
    l2.reverse();
    let told: Vec<_> = l2.iter().zip(right.iter().rev()).map(|(l2, right)| format!("{l2:e}: {right}")).collect();
    let wanted = format!("right of {} held-out pictures: {}", case["held_out"], told.join(", "));
    assert!(report.notes[0].ends_with(&wanted), "{:?} for {wanted}", report.notes);
    same_metrics(&report, case);
}

#[test]
fn neighbours_vote_as_those_of_scikit_learn_and_lightly() {
    let golden = read();
    let all = &golden["neighbours"];
    let classes = part(all, "classes");
    let mut known = known(all);
    known.features = normalize(&known.features);
    let features = normalize(&tensor(all, "data"));
    for case in cases(all, "cases") {
        let (k, temperature): (i64, f64) = (part(case, "k"), part(case, "temperature"));
        let votes = crate::knn::votes(&features, &known, classes, k, temperature).expect("votes");
        for (votes, wanted) in votes.iter().zip(part::<_, Vec<Vec<f32>>>(case, "shares")) {
            let sum: f32 = votes.iter().sum();
            let off = votes.iter().zip(&wanted).map(|(vote, wanted)| (vote / sum - wanted).abs()).fold(0.0, f32::max);
            assert!(off < 1e-5, "k {k}, temperature {temperature}: {votes:?} for {wanted:?}");
        }
        if temperature > 0.0 {
            let first: Vec<_> = votes.iter().map(|votes| vlhub_sdk::suites::predicted(votes)).collect();
            assert_eq!(first, part::<_, Vec<usize>>(case, "lightly"), "k {k}, temperature {temperature}");
        }
    }
}
