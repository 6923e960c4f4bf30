use std::fs;
use std::path::Path;

use vlhub_core::{MeanOf, Report, SampleTable, ScoreColumn};

use super::*;
use crate::run::results;

fn run(dir: &Path, name: &str, lr: &str, top1: f64) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.join("checkpoints")).expect("it can be made");
    fs::write(path.join("config.toml"), format!("name = \"{name}\"\nseed = 1\n[train]\nlr = {lr}\n")).expect("it can be written");
    fs::write(path.join("metrics.jsonl"), "{\"step\":1,\"loss\":2.0}\n{\"step\":2,\"loss\":1.0}\n").expect("it can be written");
    let line =
        format!("{{\"name\":\"zeroshot\",\"step\":2,\"metrics\":{{\"top1\":{top1},\"mean_rank\":{top1}}},\"chance\":{{\"top1\":0.1}}}}\n");
    fs::write(path.join("checkpoints/results.jsonl"), line).expect("it can be written");
    path
}

#[test]
fn only_what_differs_is_shown_and_the_best_is_marked() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = [run(dir.path(), "slow", "0.001", 0.3), run(dir.path(), "fast<", "0.01", 0.4)];
    let found = compare(&runs, None).expect("they are runs");
    assert_eq!(found.config, [OptionRow { key: "train.lr".into(), values: vec![Some("0.001".into()), Some("0.01".into())] }]);
    let best: Vec<_> = found.metrics.iter().map(|row| (row.metric.as_str(), row.best, row.chance)).collect();
    assert_eq!(best, [("mean_rank", Some(0), None), ("top1", Some(1), Some(0.1))]);
    let text = found.to_text();
    assert!(text.contains("train.lr") && text.contains("0.40000 *") && !text.contains("seed"), "{text}");
    let page = found.to_page();
    assert!(page.contains("fast&lt;") && page.contains("0.40000 ★") && !page.contains("<script"));
    let json = serde_json::to_value(&found).expect("it is data");
    assert_eq!(json["runs"][1]["final_loss"], 1.0);
}

#[test]
fn a_plugin_that_only_some_runs_have_takes_one_row() {
    let row = |key: &str, values: &[&str]| OptionRow {
        key: key.into(),
        values: values.iter().map(|value| Some((*value).to_owned()).filter(|value| !value.is_empty())).collect(),
    };
    let config = vec![
        row("objective.clip.tile", &["0", "8", ""]),
        row("objective.clip.use", &["clip", "clip", ""]),
        row("objective.clip.weight", &["1.0", "1.0", ""]),
        row("train.batch", &["1", "", ""]),
        row("view.image.a.augment.0.p", &["0.5", "", ""]),
        row("view.image.a.augment.0.use", &["flip", "", ""]),
    ];
    let comparison = Comparison { config, ..Comparison::default() };
    let shown: Vec<String> = comparison.config_rows().into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(shown, ["objective.clip.tile", "objective.clip.use", "train.batch", "view.image.a.augment.0.use"]);
}

#[test]
fn mistakes_are_named() {
    let dir = tempfile::tempdir().expect("a directory");
    assert!(compare(&[], None).expect_err("none").to_string().contains("no run"));
    let error = compare(&[dir.path().join("none")], None).expect_err("it is not there").to_string();
    assert!(error.contains("none"), "{error}");
}

#[test]
fn one_run_is_described_without_a_page() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = compare(&[run(dir.path(), "only", "0.001", 0.3)], None).expect("it is a run");
    let text = found.to_text();
    assert!(text.contains("zeroshot: top1 (chance 0.1)") && !text.contains("configurations") && !text.contains('*'), "{text}");
}

#[test]
fn a_suites_numbers_are_shown_with_chance_and_notes() {
    let mut report = Report { samples: 40, skipped: vec!["a.png".into(); 7], notes: vec!["3 prompts".into()], ..Report::default() };
    report.metric_with_chance("top1", 0.5, 0.1);
    report.metric("mean_rank", 12.0);
    report.metrics[0].interval = Some([0.35, 0.65]);
    let text = result_table("zeroshot", &report);
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        "zeroshot 95 % interval 40 samples, 7 not used",
        "top1 0.50000 0.35 to 0.65 chance 0.1",
        "mean_rank 12.000",
        "3 prompts",
        "not used: a.png",
        "not used: a.png",
        "not used: a.png",
        "not used: a.png",
        "not used: a.png",
        "and 2 more; `--json` lists them all",
    ];
    assert_eq!(lines, expected.map(|line| line.split_whitespace().collect::<Vec<_>>()), "{text}");
}

#[test]
fn equal_values_have_no_best() {
    assert_eq!(best("top1", &[Some(0.5), Some(0.5)]), None);
    assert_eq!(best("top1", &[None, Some(0.5)]), None);
    assert_eq!(best("val_loss", &[Some(2.0), None, Some(1.0)]), Some(2));
    assert_eq!(best("top1", &[]), None);
}

/// A run whose suite found each of 200 samples right or wrong: those whose number is below `right` of a hundred.
fn measured(dir: &Path, name: &str, (seed, lr): (u64, &str), right: usize, keys: &str) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.join("checkpoints")).expect("it can be made");
    fs::write(path.join("config.toml"), format!("name = \"{name}\"\nseed = {seed}\n[train]\nlr = {lr}\n")).expect("it can be written");
    let values: Vec<f32> = (0..200).map(|at| f32::from(u8::from(at * 37 % 100 < right))).collect();
    let column = |metric: &str, mean| ScoreColumn { metric: metric.into(), values: values.clone(), mean };
    let table = SampleTable {
        keys: (0..200).map(|at| format!("{keys}{at}")).collect(),
        classes: (0..200).map(|at| at / 150).collect(),
        predicted: vec![0; 200],
        columns: vec![column("top1", MeanOf::Rows), column("mean_per_class_recall", MeanOf::Classes)],
        ..SampleTable::default()
    };
    let mut report = Report { samples: 200, tables: vec![table], classes: vec!["a".into(), "b".into()], ..Report::default() };
    report.metric_with_chance("top1", values.iter().sum::<f32>() as f64 / 200.0, 0.5);
    let of_class = |from: usize, to: usize| f64::from(values[from..to].iter().sum::<f32>()) / (to - from) as f64;
    report.metric("mean_per_class_recall", (of_class(0, 150) + of_class(150, 200)) / 2.0);
    crate::evaluation::intervals::add(&mut report);
    results::write(&path, &path.join("checkpoints/results.jsonl"), "zero", serde_json::json!({"step": 9}), &report).expect("written");
    path
}

#[test]
fn differences_are_tested_on_the_same_samples() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |name: &str, lr, right| measured(dir.path(), name, (1, lr), right, "k");
    let runs = [run("low|<", "1.0", 50), run("high", "2.0", 80), run("near", "3.0", 79)];
    let found = compare(&runs, None).expect("they are runs");
    let of = |metric: &str| found.verdicts.iter().find(|verdict| verdict.metric == metric).expect(metric);
    let top1 = of("top1");
    assert_eq!((top1.best.as_str(), &top1.same[..], &top1.worse[..]), ("high", &["near".to_owned()][..], &["low|<".to_owned()][..]));
    let test = found.tests.iter().find(|test| test.metric == "top1" && test.first == "low|<" && test.second == "high").expect("a pair");
    assert!((test.difference - 0.3).abs() < 1e-9 && test.interval[0] > 0.2 && test.p_holm < 0.01 && !test.same, "{test:?}");
    // Sixty samples are right in one alone, none in the other: twice a half to the sixtieth.
    assert!(test.mcnemar.expect("right or wrong") < 1e-17 && test.samples == 200, "{test:?}");
    assert_eq!(of("mean_per_class_recall").best, "high");
    assert!(found.tests.iter().filter(|test| test.metric == "mean_per_class_recall").all(|test| test.mcnemar.is_none()));
    let text = found.to_text();
    assert!(text.contains("The same within noise: `near`") && text.contains("Worse: `low|<` by 0.3 ("), "{text}");
    let page = found.to_page();
    assert!(page.contains("The same within noise: `near`") && page.contains("low|&lt;") && !page.contains("low|<"), "{page}");
    let markdown = found.to_markdown();
    assert!(markdown.contains("low\\|&lt;") && markdown.contains("## Paired tests") && !markdown.contains("<td"), "{markdown}");
    let csv = found.to_csv().expect("written");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    let head = rows.headers().expect("a header").clone();
    let all: Vec<_> = rows.records().map(|row| row.expect("a row")).collect();
    let at = |name: &str| head.iter().position(|column| column == name).expect(name);
    let low = all.iter().find(|row| &row[at("run")] == "low|<" && &row[at("metric")] == "top1").expect("a row");
    let number = |name: &str| low[at(name)].parse::<f64>().expect(name);
    assert!((number("difference_from_best") + 0.3).abs() < 1e-9 && number("difference_high") < -0.2 && &low[at("best_group")] == "high");
    assert!(number("low") < number("value") && number("value") < number("high"));
    let json: serde_json::Value = serde_json::from_str(&found.to_json().expect("data")).expect("JSON");
    assert_eq!((&json["verdicts"][0]["best"], json["tests"].as_array().map(Vec::len)), (&serde_json::json!("high"), Some(6)));
}

#[test]
fn runs_of_several_seeds_are_tested_over_seeds_too() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |name: &str, seed, lr, right| measured(dir.path(), name, (seed, lr), right, "k");
    let runs = [
        run("a_s1", 1, "1.0", 40),
        run("a_s2", 2, "1.0", 70),
        run("a_s3", 3, "1.0", 55),
        run("b_s1", 1, "2.0", 75),
        run("b_s2", 2, "2.0", 50),
        run("b_s3", 3, "2.0", 62),
        run("c_s1", 1, "3.0", 95),
        run("c_s2", 2, "3.0", 97),
        run("c_s3", 3, "3.0", 96),
    ];
    let found = compare(&runs, None).expect("they are runs");
    let names: Vec<_> = found.groups.iter().map(|group| group.name.as_str()).collect();
    assert_eq!(names, ["a", "b", "c"]);
    let test = |first: &str, second: &str| {
        found.tests.iter().find(|test| test.metric == "top1" && test.first == first && test.second == second).expect("a pair").clone()
    };
    assert!(
        test("a", "b").same && test("a", "b").seeds == [3, 3] && test("a", "b").mcnemar.is_none(),
        "seeds disagree: {:?}",
        test("a", "b")
    );
    assert!(!test("a", "c").same, "{:?}", test("a", "c"));
    let spread = found.spreads.iter().find(|row| row.metric == "top1").expect("three seeds");
    let (mean, deviation, count) = spread.groups[0].expect("measured");
    assert!((mean - 0.55).abs() < 1e-9 && (deviation.expect("three") - 0.15).abs() < 1e-9 && count == 3);
    let page = found.to_page();
    assert!(page.contains("Results over seeds") && page.contains("± 0.15<") && page.contains("of 3 runs") && page.contains("× 3 seeds"));
}

#[test]
fn runs_on_other_samples_are_not_tested_and_that_is_said() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = [
        measured(dir.path(), "a", (1, "1.0"), 40, "k"),
        measured(dir.path(), "b", (1, "2.0"), 90, "k"),
        measured(dir.path(), "other", (1, "3.0"), 95, "elsewhere"),
    ];
    let found = compare(&runs, None).expect("they are runs");
    assert!(found.tests.iter().all(|test| test.first == "a" && test.second == "b") && found.tests.len() == 2, "{:?}", found.tests);
    assert!(found.remarks.iter().any(|remark| remark.contains("other samples: other")), "{:?}", found.remarks);
    // What is known of each sample belongs to another evaluation.
    let line = "{\"name\":\"zero\",\"step\":10,\"metrics\":{\"top1\":0.1},\"tables\":[{\"name\":\"\",\"file\":\"per_sample/zero.csv\"}]}\n";
    fs::write(runs[0].join("checkpoints/results.jsonl"), line).expect("written");
    let found = compare(&runs[..2], None).expect("they are runs");
    assert!(found.tests.is_empty() && found.remarks.iter().any(|remark| remark.contains("zero top1")), "{:?}", found.remarks);
}

/// A run that measured ten pictures with 50 rows each, and says which rows are of one picture, or does not. It is right on those of `right`.
fn measured_pictures(dir: &Path, name: &str, right: std::ops::Range<usize>, says_units: bool) -> PathBuf {
    let path = dir.join(name);
    fs::create_dir_all(path.join("checkpoints")).expect("it can be made");
    fs::write(path.join("config.toml"), format!("name = \"{name}\"\n[train]\nlr = {}\n", right.start)).expect("it can be written");
    let values: Vec<f32> = (0..500).map(|row| f32::from(u8::from(right.contains(&(row / 50))))).collect();
    let mut report = Report { samples: 500, ..Report::default() };
    report.metric("top1", f64::from(values.iter().sum::<f32>()) / 500.0);
    report.metric("mean_average_precision", 0.5);
    let column = |metric: &str, values| ScoreColumn { metric: metric.into(), values, mean: MeanOf::Rows };
    let units = if says_units { (0..500).map(|row| format!("picture {}", row / 50)).collect() } else { Vec::new() };
    let keys = (0..500).map(|row| format!("row {row}")).collect();
    report.tables.push(SampleTable { keys, units, columns: vec![column("top1", values)], ..SampleTable::default() });
    let precisions = column("average_precision", vec![0.5 + right.start as f32 / 100.0; 2]);
    let keys = vec!["cat".into(), "dog".into()];
    report.tables.push(SampleTable { name: "classes".into(), keys, columns: vec![precisions], ..SampleTable::default() });
    results::write(&path, &path.join("checkpoints/results.jsonl"), "corrupted", serde_json::json!({"step": 9}), &report).expect("written");
    path
}

#[test]
fn rows_of_one_picture_are_drawn_together_and_classes_are_not_tested() {
    let dir = tempfile::tempdir().expect("a directory");
    let run = |name: &str, right, says| measured_pictures(dir.path(), name, right, says);
    let (first, second) = (run("a", 0..6, true), run("b", 6..10, true));
    let old = [run("old_a", 0..6, false), run("old_b", 6..10, false)];
    let test = |runs: &[PathBuf]| {
        let found = compare(runs, None).expect("they are runs");
        assert!(found.tests.iter().all(|test| test.metric == "top1") && found.tests.len() == 1, "{:?}", found.tests);
        let why = found.remarks.iter().find(|remark| remark.contains("no means over samples")).expect("what is not tested");
        assert!(why.contains("corrupted mean_average_precision") && !why.contains(" average_precision"), "{why}");
        found.tests[0].clone()
    };
    let together = test(&[first.clone(), second]);
    assert!(together.same && together.mcnemar.is_none() && together.samples == 500, "six pictures against four: {together:?}");
    let alone = test(&old);
    assert!(!alone.same && alone.mcnemar.is_some(), "a folder without units has a unit for each row: {alone:?}");
    assert!(test(&[old[1].clone(), first]).same, "one that says it is enough");
}

#[test]
fn robustness_is_shown_for_the_runs_that_measured_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let runs = [run(dir.path(), "plain", "1.0", 0.3), run(dir.path(), "robust", "2.0", 0.4)];
    let lines = [("imagenet", 0.5), ("imagenet_a", 0.1), ("objectnet", 0.4)]
        .map(|(suite, top1)| format!("{{\"name\":\"{suite}\",\"step\":2,\"metrics\":{{\"top1\":{top1}}}}}\n"));
    fs::write(runs[1].join("checkpoints/results.jsonl"), lines.concat()).expect("written");
    let csv = dir.path().join("standard.csv");
    fs::write(&csv, "imagenet,imagenet_a\n0.4,0.05\n0.5,0.09\n0.6,0.15\n").expect("written");
    let found = compare(&runs, Some(&csv)).expect("they are runs");
    assert!(found.robustness[0].is_none());
    let robust = found.robustness[1].as_ref().expect("measured");
    assert_eq!((robust.ratio, robust.shifts.len()), (Some(0.2), 2));
    let page = found.to_page();
    for wanted in ["Effective robustness", "line of 3 standard models", "as on ImageNet", "top1 on objectnet", "above the line"] {
        assert!(page.contains(wanted), "{wanted}");
    }
    assert!(found.to_markdown().contains("## Effective robustness"));
}
