//! The suites on features that are written down, and against what other libraries compute from the same ones.

use std::collections::BTreeMap;
use std::sync::Arc;

use vlhub_sdk::image::Rgb;
use vlhub_sdk::prelude::*;
use vlhub_sdk::{Classifier, Datasets, Sample, serde_json};

use crate::{AccuracyConfig, KnnConfig, LinearProbeConfig, Output};

mod asked;
mod golden;

type Suite = Box<dyn Config<dyn EvalSuite>>;

/// Features by row; a picture's row is its first two bytes.
struct Table {
    pooled: Vec<Vec<f32>>,
    embed: Vec<Vec<f32>>,
    head: bool,
    /// What the classes of the head are called.
    names: Vec<String>,
    largest: std::cell::Cell<usize>,
}

impl Table {
    fn new(pooled: Vec<Vec<f32>>) -> Self {
        Self {
            embed: pooled.iter().map(|row| row.iter().map(|value| -value).collect()).collect(),
            pooled,
            head: true,
            names: vec![],
            largest: 0.into(),
        }
    }
}

fn rows(table: &[Vec<f32>], images: &[RgbImage]) -> Tensor {
    let row = |image: &RgbImage| {
        let [low, high, _] = image.get_pixel(0, 0).0;
        Tensor::from_slice(&table[usize::from(low) + 256 * usize::from(high)])
    };
    Tensor::stack(&images.iter().map(row).collect::<Vec<_>>(), 0)
}

impl Model for Table {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        self.largest.set(self.largest.get().max(images.len()));
        Ok(Encoded { pooled: rows(&self.pooled, images), embed: rows(&self.embed, images), tokens: None })
    }
    fn texts(&self, _: &[String], _: bool) -> Result<Encoded> {
        Err(Error::invalid("these suites read no text"))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, classifier: self.head.then_some(self), classes: &self.names, ..Skills::default() }
    }
}

/// A head whose logits are the features.
impl Classifier for Table {
    fn classes(&self) -> usize {
        self.pooled[0].len()
    }
    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        Ok(images.pooled.shallow_clone())
    }
}

/// The data sets `train` and `data`: labels of pictures, of which `None` cannot be read. The pictures of `data` are behind those of `train`.
struct Labels {
    classes: [Vec<String>; 2],
    train: Vec<Option<i64>>,
    data: Vec<Option<i64>>,
}

struct Data {
    classes: Vec<String>,
    labels: Vec<Option<i64>>,
    first: usize,
}

impl Datasets for Labels {
    fn open(&self, options: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        let train = options == "train";
        let (labels, first) = if train { (&self.train, 0) } else { (&self.data, self.train.len()) };
        let classes = self.classes[usize::from(!train)].clone();
        Ok(Arc::new(Data { classes, labels: labels.clone(), first }))
    }
}

impl Dataset for Data {
    fn len(&self) -> usize {
        self.labels.len()
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.labels.iter().enumerate().map(|(at, label)| {
            let at = self.first + at;
            let label = label.ok_or_else(|| Error::invalid(format!("picture {at}: broken")))?;
            let image = RgbImage::from_pixel(1, 1, Rgb([(at % 256) as u8, (at / 256) as u8, 0]));
            // A label of 99 stands for none.
            let label = (label != 99).then_some(label);
            Ok(Sample { key: format!("picture {at}"), image, texts: vec![], labels: label.into_iter().collect(), meta: BTreeMap::new() })
        }))
    }
}

/// Names of so many classes.
fn kinds(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("kind {at}")).collect()
}

fn named(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn knn() -> KnnConfig {
    KnnConfig { train: "train".into(), data: "data".into(), ..Default::default() }
}

fn probe() -> LinearProbeConfig {
    LinearProbeConfig { train: "train".into(), data: "data".into(), l2: vec![1e-2], ..Default::default() }
}

fn accuracy() -> AccuracyConfig {
    AccuracyConfig { data: "data".into(), ..Default::default() }
}

fn run(config: &dyn Config<dyn EvalSuite>, labels: &Labels, model: &dyn Model) -> Result<Report> {
    let mut report = Report::default();
    config.build(&EvalCx::new(labels))?.run(model, &mut report)?;
    Ok(report)
}

/// The message of a refusal.
#[track_caller]
fn refused(config: &dyn Config<dyn EvalSuite>, labels: &Labels, model: &dyn Model) -> String {
    run(config, labels, model).expect_err("it is refused").to_string()
}

/// Two classes, on two axes; the last picture of `data` is a mistake.
fn axes() -> (Labels, Table) {
    let some = |labels: &[i64]| labels.iter().copied().map(Some).collect();
    let labels = Labels { classes: [kinds(2), kinds(2)], train: some(&[0, 1, 0, 1]), data: some(&[0, 1, 1]) };
    let rows = [[5.0, 0.0], [0.0, 1.0], [3.0, 0.1], [0.2, 2.0], [4.0, 1.0], [0.0, 4.0], [6.0, 0.2]];
    (labels, Table::new(rows.map(Vec::from).into()))
}

#[test]
fn every_suite_counts_the_same_way() {
    let (labels, model) = axes();
    for batch in [1, 2, 64] {
        let suites: [&dyn Config<dyn EvalSuite>; 3] =
            [&KnnConfig { batch, k: 1, ..knn() }, &LinearProbeConfig { batch, ..probe() }, &AccuracyConfig { batch, ..accuracy() }];
        for suite in suites {
            model.largest.set(0);
            let report = run(suite, &labels, &model).expect("a report");
            assert_eq!((report.get("top1"), report.get("top5"), report.samples), (Some(2.0 / 3.0), Some(1.0), 3), "{suite:?}");
            assert_eq!(report.get("mean_per_class_recall"), Some(0.75), "{suite:?}");
            assert_eq!(report.confusion.expect("two classes").counts, [[1, 0], [1, 1]], "{suite:?}");
            assert!(model.largest.get() <= batch, "no more pictures at once than `batch`");
        }
    }
}

#[test]
fn what_cannot_be_used_is_listed() {
    let (mut labels, mut model) = axes();
    labels.train.insert(0, None);
    labels.data.extend([None, Some(99), Some(7)]);
    model.pooled.insert(0, vec![0.0; 2]);
    model.pooled.extend(vec![vec![0.0; 2]; 3]);
    model.embed = model.pooled.clone();
    let suites: [&dyn Config<dyn EvalSuite>; 2] = [&knn(), &probe()];
    for suite in suites {
        let report = run(suite, &labels, &model).expect("a report");
        assert_eq!(report.samples, 3);
        let wanted = ["`train`: picture 0: broken", "picture 8: broken", "picture 9: no label", "picture 10: label 7 is not in 0..2"];
        assert_eq!(report.skipped, wanted);
    }
    labels.train = vec![None];
    let error = refused(&knn(), &labels, &model);
    assert!(error.contains("`train`") && error.contains("no sample could be used, 1 were skipped; the first: picture 0"), "{error}");
    labels = Labels { train: vec![Some(0)], data: vec![None], ..labels };
    let error = refused(&accuracy(), &labels, &model);
    assert!(error.contains("no sample could be used, 1 were skipped; the first: picture 1"), "{error}");
}

#[test]
fn classes_of_the_head_are_matched_by_name() {
    let (labels, model) = axes();
    let head = |names: &[&str], data: &[&str], labels: &[Option<i64>]| {
        let model = Table { names: named(names), ..Table::new(model.pooled.clone()) };
        let labels = Labels { classes: [vec![], named(data)], train: axes().0.train, data: labels.to_vec() };
        run(&accuracy(), &labels, &model)
    };
    let right = [Some(0), Some(1), Some(0)];
    // The first axis is a cat for the head, the second one a dog.
    for (data, labels) in [(&["cat", "dog"][..], right), (&["dog", "cat"], [Some(1), Some(0), Some(1)]), (&["cat"], [Some(0); 3])] {
        let report = head(&["cat", "dog"], data, &labels).expect("a report");
        assert_eq!(report.get("top1"), Some(if data.len() > 1 { 1.0 } else { 2.0 / 3.0 }), "{data:?}");
        assert_eq!(report.confusion.expect("two classes").classes, ["cat", "dog"], "in the order of the head");
        assert!(!report.notes.iter().any(|note| note.contains("order")), "{:?}", report.notes);
    }
    let error = head(&["cat", "dog"], &["cot", "dog"], &right).expect_err("there is no cot").to_string();
    assert!(error.contains("none of the supervised head: `cot` (near: `cat`)"), "{error}");
    // Without names on one side the places count, and that is told.
    for (names, data, note) in [
        (&[][..], &["cat", "dog"][..], "the supervised head does not name its classes"),
        (&["cat", "dog"], &[], "`data` does not name its classes: label 0 for `cat`, 1 for `dog`"),
        (&[], &[], "neither `data` nor the supervised head names its classes"),
    ] {
        let report = head(names, data, &right).expect(note);
        assert_eq!(report.get("top1"), Some(1.0), "{note}");
        assert!(report.notes.iter().any(|line| line.contains(note)), "{:?}", report.notes);
    }
    let error = head(&[], &["cat", "dog", "owl"], &right).expect_err("three for two").to_string();
    assert!(error.contains("`data` has 3 classes") && error.contains("the supervised head has 2"), "{error}");
    for (wrong, text) in [(2, "picture 6: label 2 is not in 0..2, the classes of the supervised head"), (-1, "label -1")] {
        let error = head(&[], &[], &[Some(0), Some(1), Some(wrong)]).expect_err("no class of the head").to_string();
        assert!(error.contains(text), "{error}");
    }
    let model = Table { head: false, ..model };
    assert!(refused(&accuracy(), &labels, &model).contains("no supervised head"));
}

#[test]
fn a_head_that_does_not_fit_is_found_before_anything_is_computed() {
    let (labels, model) = axes();
    let suite = accuracy().build(&EvalCx::new(&labels)).expect("builds");
    let check = |names: &[String]| suite.check(&Skills { classes: names, ..model.skills() });
    check(&kinds(2)).expect("the same classes");
    let error = check(&named(&["cat", "dog"])).expect_err("others").to_string();
    assert!(error.contains("2 of the 2 classes of `data` are none of the supervised head: `kind 0`"), "{error}");
}

#[test]
fn what_is_learnt_is_matched_by_name() {
    let (mut labels, model) = axes();
    labels.classes = [named(&["cat", "dog", "fox"]), named(&["dog", "cat"])];
    // As before, by the other names; the last picture of `data` is a mistake.
    labels.data = vec![Some(1), Some(0), Some(0)];
    let suites: [&dyn Config<dyn EvalSuite>; 2] = [&KnnConfig { k: 1, ..knn() }, &probe()];
    for suite in suites {
        let report = run(suite, &labels, &model).expect("a report");
        assert_eq!(report.get("top1"), Some(2.0 / 3.0), "{suite:?}");
        assert_eq!(report.confusion.expect("three classes").classes, ["cat", "dog", "fox"], "{suite:?}");
    }
    // Numbers: labels without names on one side, and names that are numbers, in the order of strings, on the other.
    let twelve = named(&["0", "1", "10", "11", "2", "3"]);
    for [train, data] in [[vec![], twelve.clone()], [twelve.clone(), vec![]]] {
        let place = |names: &[String], class: i64| if names.is_empty() { [1, 11][class as usize] } else { [1, 3][class as usize] };
        let some = |names: &[String], classes: &[i64]| classes.iter().map(|class| Some(place(names, *class))).collect();
        let labels = Labels { train: some(&train, &[0, 1, 0, 1]), data: some(&data, &[0, 1, 1]), classes: [train, data] };
        for suite in suites {
            let report = run(suite, &labels, &model).expect("a report");
            assert_eq!(report.get("top1"), Some(2.0 / 3.0), "{suite:?}, {:?}", labels.classes);
        }
    }
    let both = Labels { classes: [vec![], vec![]], ..axes().0 };
    assert_eq!(run(&knn(), &both, &model).expect("numbers alone").get("top5"), Some(1.0));
    let error = refused(&knn(), &Labels { data: vec![Some(2)], ..both }, &model);
    assert!(error.contains("picture 4: label 2 is none of the classes 0, 1, the classes of `train`"), "{error}");
}

#[test]
fn features_are_those_that_were_asked_for() {
    let (labels, mut model) = axes();
    // In the joint space the two classes are exchanged for the pictures of `data`.
    model.embed = model.pooled.iter().enumerate().map(|(at, row)| if at < 4 { row.clone() } else { vec![row[1], row[0]] }).collect();
    let suites = |features| -> [Suite; 2] {
        [Box::new(KnnConfig { features, k: 1, ..knn() }), Box::new(LinearProbeConfig { features, standardise: false, ..probe() })]
    };
    for (features, top1) in [(Output::Pooled, 2.0 / 3.0), (Output::Embed, 1.0 / 3.0)] {
        for suite in suites(features) {
            assert_eq!(run(&*suite, &labels, &model).expect("a report").get("top1"), Some(top1), "{suite:?}");
        }
    }
}

#[test]
fn what_is_not_finite_is_an_error_that_names_the_picture() {
    for at in [1, 5] {
        let (labels, mut model) = axes();
        model.pooled[at][1] = f32::NAN;
        let suites: [&dyn Config<dyn EvalSuite>; 3] = [&knn(), &probe(), &accuracy()];
        // The head does not see the pictures of `train`.
        for suite in &suites[..if at < 4 { 2 } else { 3 }] {
            let error = refused(*suite, &labels, &model);
            assert!(error.contains(&format!("picture {at}: ")) && error.contains("not finite"), "{error}");
        }
    }
}

#[test]
fn classes_that_the_probe_has_not_seen_are_told() {
    let (mut labels, mut model) = axes();
    labels.classes = [kinds(3), kinds(3)];
    labels.data.push(Some(2));
    model.pooled.push(vec![1.0, 1.0]);
    model.embed.push(vec![1.0, 1.0]);
    let report = run(&probe(), &labels, &model).expect("a report");
    assert_eq!((report.get("top1"), report.get("top5")), (Some(0.5), Some(1.0)));
    assert!(report.notes.iter().any(|note| note.contains("1 of 3 classes have no picture in `train`")), "{:?}", report.notes);
    // With one class there is nothing to learn, and nothing to fail on.
    labels.train = vec![Some(1); 4];
    let report = run(&probe(), &labels, &model).expect("a report");
    assert_eq!(report.get("top1"), Some(0.5), "all are called class 1");
}

#[test]
fn a_fit_that_did_not_end_is_told() {
    let (labels, model) = axes();
    let short = run(&LinearProbeConfig { iterations: 1, ..probe() }, &labels, &model).expect("a report");
    assert!(short.notes[0].contains("ended after 1 steps with a gradient of"), "{:?}", short.notes);
    assert!(run(&probe(), &labels, &model).expect("a report").notes.is_empty());
    let error = refused(&LinearProbeConfig { l2: vec![0.1, 1.0], ..probe() }, &labels, &model);
    assert!(error.contains("only 4 usable pictures"), "{error}");
    // One picture for each of seven classes.
    let labels = Labels { classes: [kinds(7), kinds(7)], train: (0..7).map(Some).collect(), data: vec![] };
    let error = refused(&LinearProbeConfig { l2: vec![0.1, 1.0], ..probe() }, &labels, &model);
    assert!(error.contains("nothing tells which `l2` is best"), "{error}");
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let (labels, model) = axes();
    let cases: [(Suite, &str); 12] = [
        (Box::new(KnnConfig { k: 0, ..knn() }), "`k`"),
        (Box::new(KnnConfig { temperature: -0.1, ..knn() }), "`temperature`"),
        (Box::new(KnnConfig { temperature: f64::NAN, ..knn() }), "`temperature`"),
        (Box::new(KnnConfig { batch: 0, ..knn() }), "`batch`"),
        (Box::new(LinearProbeConfig { topk: vec![], ..probe() }), "`topk`"),
        (Box::new(AccuracyConfig { topk: vec![0, 1], ..accuracy() }), "`topk`"),
        (Box::new(AccuracyConfig { batch: 0, ..accuracy() }), "`batch`"),
        (Box::new(LinearProbeConfig { l2: vec![], ..probe() }), "`l2`"),
        (Box::new(LinearProbeConfig { l2: vec![-1.0], ..probe() }), "`l2`"),
        (Box::new(LinearProbeConfig { l2: vec![f64::INFINITY], ..probe() }), "`l2`"),
        (Box::new(LinearProbeConfig { tolerance: f64::NAN, ..probe() }), "`tolerance`"),
        (Box::new(LinearProbeConfig { iterations: 0, ..probe() }), "`iterations`"),
    ];
    for (config, name) in cases {
        let error = refused(&*config, &labels, &model);
        assert!(error.starts_with(name), "{error}");
    }
    let apart = Labels { classes: [kinds(2), kinds(3)], ..axes().0 };
    let error = refused(&knn(), &apart, &model);
    assert!(error.contains("1 of the 3 classes of `data` are none of `train`: `kind 2`"), "{error}");
    let unlabelled = Labels { classes: [vec![], vec![]], data: vec![None, Some(99)], ..axes().0 };
    let suites: [&dyn Config<dyn EvalSuite>; 3] = [&accuracy(), &knn(), &probe()];
    for suite in suites {
        assert!(refused(suite, &unlabelled, &model).starts_with("`data` has no labels"));
    }
}

#[test]
fn a_few_pictures_of_each_class_are_enough_and_draws_are_averaged() {
    // Two classes on two axes, far apart but for a few of `train` that lie on the other axis.
    let count = 40;
    let label = |at: usize| (at % 2) as i64;
    let row = |at: usize| if at.is_multiple_of(5) != (label(at) == 0) { vec![4.0, 0.1 * at as f32] } else { vec![0.1 * at as f32, 4.0] };
    let labels = |count: usize| (0..count).map(|at| Some(label(at))).collect();
    let set = Labels { classes: [kinds(2), kinds(2)], train: labels(count), data: labels(20) };
    let model = Table::new((0..count + 20).map(row).collect());
    let few = |seeds: &[u64], shots| LinearProbeConfig { shots, seeds: seeds.to_vec(), ..probe() };
    let top1 = |seeds: &[u64], shots| run(&few(seeds, shots), &set, &model).expect("a report").get("top1").expect("it is measured");
    let all: Vec<f64> = [0, 1, 2].map(|seed| top1(&[seed], 3)).to_vec();
    let report = run(&few(&[0, 1, 2], 3), &set, &model).expect("a report");
    let mean = report.get("top1").expect("it is measured");
    assert!((mean - all.iter().sum::<f64>() / 3.0).abs() < 1e-12, "{mean} of {all:?}");
    let column = report.tables[0].columns.iter().find(|column| column.metric == "top1").expect("its samples");
    let of_samples = column.values.iter().map(|value| f64::from(*value)).sum::<f64>() / 20.0;
    assert!((of_samples - mean).abs() < 1e-6, "the samples behind a mean are means: {of_samples}");
    assert!(report.notes.iter().any(|note| note.contains("over the seeds 0, 1, 2")), "{:?}", report.notes);
    assert_eq!(top1(&[7], 99), run(&probe(), &set, &model).expect("a report").get("top1").expect("it is measured"), "all are all");
    for config in [few(&[], 3), few(&[1, 1], 3), few(&[0, 1], 0)] {
        assert!(refused(&config, &set, &model).contains("`seeds`"));
    }
}
