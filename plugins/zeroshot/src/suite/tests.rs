//! The protocol, on features that are written down.

use std::collections::BTreeMap;

use vlhub_sdk::{Datasets, Sample, Skills};

use super::*;

/// Gives each text and each picture (by its first pixel) a row of a table.
struct Table {
    texts: BTreeMap<&'static str, Vec<f32>>,
    images: Vec<Vec<f32>>,
    scores: bool,
    largest: std::cell::Cell<usize>,
}

fn encoded(rows: Vec<&Vec<f32>>) -> Encoded {
    let embed = Tensor::stack(&rows.into_iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0);
    Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
}

impl Model for Table {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        self.largest.set(self.largest.get().max(images.len()));
        Ok(encoded(images.iter().map(|image| &self.images[image.get_pixel(0, 0)[0] as usize]).collect()))
    }
    fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
        Ok(encoded(texts.iter().map(|text| &self.texts[text.as_str()]).collect()))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, scorer: self.scores.then_some(self), ..Skills::default() }
    }
}

/// A scorer that turns the order round.
impl Scorer for Table {
    fn tokens(&self) -> bool {
        false
    }
    fn score(&self, images: &Encoded, texts: &Encoded) -> Result<Tensor> {
        Ok(-images.embed.matmul(&texts.embed.tr()))
    }
}

/// Labels of pictures that are their own number.
struct Labels(Vec<Option<i64>>);

struct Data(Vec<Option<i64>>, Vec<String>);

impl Datasets for Labels {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(Data(self.0.clone(), vec!["cat".into(), "dog".into()])))
    }
}

impl Dataset for Data {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        &self.1
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.0.iter().enumerate().map(|(at, label)| {
            let image = RgbImage::from_pixel(1, 1, vlhub_sdk::image::Rgb([at as u8, 0, 0]));
            Ok(Sample { key: format!("sample {at}"), image, texts: vec![], labels: label.iter().copied().collect(), meta: BTreeMap::new() })
        }))
    }
}

fn table(scores: bool) -> Table {
    let texts = [("a cat", [1.0, 0.0]), ("a dog", [0.0, 1.0]), ("the cat", [0.0, 30.0]), ("the dog", [0.0, 1.0]), ("a hound", [1.0, 0.1])];
    Table {
        texts: texts.map(|(text, row)| (text, row.to_vec())).into(),
        images: vec![vec![5.0, 0.0], vec![0.0, 0.1], vec![1.0, 0.9]],
        scores,
        largest: Default::default(),
    }
}

fn config(templates: &[&str]) -> ZeroshotConfig {
    ZeroshotConfig { templates: Templates::List(templates.iter().map(|&text| text.into()).collect()), ..Default::default() }
}

fn run(config: &ZeroshotConfig, labels: &[Option<i64>], model: &Table) -> Result<Report> {
    let datasets = Labels(labels.to_vec());
    let mut report = Report::default();
    config.build(&EvalCx::new(&datasets))?.run(model, &mut report)?;
    Ok(report)
}

#[test]
fn pictures_go_to_the_nearest_class() {
    let labels = [Some(0), Some(1), Some(1)];
    for batch in [1, 2, 64] {
        let model = table(false);
        let report = run(&ZeroshotConfig { batch, ..config(&["a {}"]) }, &labels, &model).expect("a report");
        assert_eq!(report.get("top1"), Some(2.0 / 3.0), "the third picture is a little more like a cat");
        assert_eq!(report.get("top5"), Some(1.0), "there are only two classes");
        assert_eq!(report.get("mean_per_class_recall"), Some(0.75), "all cats, half of the dogs");
        assert_eq!(report.confusion.expect("a matrix").counts, [[1, 0], [1, 1]]);
        assert_eq!(model.largest.get(), batch.min(3), "no more pictures at once than `batch`");
    }
}

#[test]
fn an_ensemble_is_the_mean_of_unit_vectors() {
    // `the cat` is 30 long and points to `dog`: without normalisation before the mean, `cat` would be `dog`.
    let labels = [Some(0), Some(1)];
    let both = run(&config(&["a {}", "the {c}"]), &labels, &table(false)).expect("a report");
    assert_eq!(both.get("top1"), Some(1.0));
    let first = run(&ZeroshotConfig { ensemble: false, ..config(&["the {}", "a {}"]) }, &labels, &table(false)).expect("a report");
    assert_eq!(first.get("top1"), Some(0.5), "`the cat` and `the dog` are one direction, so the lower index wins");
}

#[test]
fn a_scorer_of_the_model_replaces_the_cosine() {
    let report = run(&config(&["a {}"]), &[Some(0), Some(1)], &table(true)).expect("a report");
    assert_eq!(report.get("top1"), Some(0.0), "this scorer prefers what is far away");
}

#[test]
fn samples_without_a_usable_label_are_listed() {
    let report = run(&config(&["a {}"]), &[Some(0), None, Some(7)], &table(false)).expect("one is left");
    assert_eq!(report.samples, 1);
    assert_eq!(report.skipped, ["sample 1: no label", "sample 2: label 7 is not in 0..2"]);
    let error = run(&config(&["a {}"]), &[None], &table(false)).expect_err("nothing is left").to_string();
    assert!(error.contains("sample 0: no label"), "{error}");
}

#[test]
fn class_names_are_matched_by_name_and_replaced_by_their_order() {
    let run_with = |classes: &[&str], labels: &[Option<i64>]| {
        let config = ZeroshotConfig { classes: classes.iter().map(|&name| name.into()).collect(), ..config(&["a {}"]) };
        run(&config, labels, &table(false))
    };
    // The pictures are a cat and a dog, in the classes `cat` and `dog` of the data set.
    let labels = [Some(0), Some(1)];
    for (classes, why) in [(&["cat", "dog"][..], "the same"), (&["dog", "cat"], "in another order"), (&["hound", "dog", "cat"], "one more")]
    {
        let report = run_with(classes, &labels).expect(why);
        // A hound is nearly what a cat is.
        assert_eq!(report.get("top1"), Some(1.0), "{why}");
        let unseen = report.notes.iter().filter(|note| !note.contains("have no sample")).count();
        assert_eq!(unseen, 0, "{why}: {:?}", report.notes);
        assert_eq!(report.confusion.expect("a matrix").classes, classes, "{why}");
    }
    let renamed = run_with(&["cat", "hound"], &labels).expect("`hound` stands for `dog`");
    assert!(renamed.notes[0].contains("`dog` was taken for `hound`"), "{:?}", renamed.notes);
    for (classes, part) in [
        (&["dog", "hound"][..], "1 of the 2 classes of `data` are none of `classes`: `cat`"),
        (&["dog"], "1 of the 2 classes of `data` are none of `classes`: `cat`"),
        (&["hound", "lynx", "boar"], "2 of the 2 classes of `data` are none of `classes`"),
    ] {
        let error = run_with(classes, &labels).expect_err(part).to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn scores_that_are_not_finite_are_an_error() {
    let mut model = table(false);
    model.images[0] = vec![f32::NAN, 1.0];
    let error = run(&config(&["a {}"]), &[Some(0)], &model).expect_err("nan would be a right answer").to_string();
    assert!(error.contains("sample 0") && error.contains("not finite"), "{error}");
}
