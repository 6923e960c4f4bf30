//! Against open_clip, and what it does not cover: several texts of a picture, ties, tiles.

use std::collections::BTreeMap;

use vlhub_sdk::{Datasets, Sample, Scorer, Skills};

use super::*;

/// Features by number; a picture's number is its first pixel, a text's number is what it says.
struct Table {
    image: Tensor,
    text: Tensor,
    scores: bool,
}

impl Table {
    fn pick(from: &Tensor, at: &[i64]) -> Encoded {
        let embed = from.index_select(0, &Tensor::from_slice(at));
        Encoded { pooled: embed.shallow_clone(), embed, tokens: None }
    }
}

impl Model for Table {
    fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
        Ok(Self::pick(&self.image, &images.iter().map(|image| i64::from(image.get_pixel(0, 0)[0])).collect::<Vec<_>>()))
    }
    fn texts(&self, texts: &[String], _tokens: bool) -> Result<Encoded> {
        Ok(Self::pick(&self.text, &texts.iter().map(|text| text.parse().expect("a number")).collect::<Vec<_>>()))
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

/// Samples: the number of the picture, and its texts.
#[derive(Clone)]
struct Data(Vec<(usize, Vec<String>)>);

impl Datasets for Data {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Dataset for Data {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.0.iter().enumerate().map(|(at, (picture, texts))| {
            let image = RgbImage::from_pixel(1, 1, image_of(*picture));
            Ok(Sample { key: format!("sample {at}"), image, texts: texts.clone(), labels: vec![], meta: BTreeMap::new() })
        }))
    }
}

fn image_of(at: usize) -> vlhub_sdk::image::Rgb<u8> {
    vlhub_sdk::image::Rgb([at as u8, 0, 0])
}

/// The suite on pictures of their own, each with its texts.
fn run(config: &RetrievalConfig, texts: Vec<Vec<String>>, model: &Table) -> Result<Report> {
    run_on(config, texts.into_iter().enumerate().collect(), model)
}

fn run_on(config: &RetrievalConfig, samples: Vec<(usize, Vec<String>)>, model: &Table) -> Result<Report> {
    let mut report = Report::default();
    config.build(&EvalCx::new(&Data(samples)))?.run(model, &mut report)?;
    Ok(report)
}

fn one_text_each(count: usize) -> Vec<Vec<String>> {
    (0..count).map(|at| vec![at.to_string()]).collect()
}

fn rows(values: &[&[f32]]) -> Tensor {
    Tensor::stack(&values.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

fn golden() -> serde_json::Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/retrieval.json");
    serde_json::from_str(&std::fs::read_to_string(file).expect("tests/golden/retrieval.py writes it")).expect("JSON")
}

/// A model that knows the features of a case.
fn model_of(case: &serde_json::Value) -> Table {
    let matrix = |key: &str| {
        let values: Vec<Vec<f32>> = serde_json::from_value(case[key].clone()).expect(key);
        rows(&values.iter().map(Vec::as_slice).collect::<Vec<_>>())
    };
    Table { image: matrix("image"), text: matrix("text"), scores: false }
}

#[test]
fn several_texts_of_a_picture_give_clip_benchmarks_numbers_in_every_layout() {
    let golden = golden();
    for case in golden["several"].as_array().expect("cases") {
        let (model, name) = (model_of(case), &case["name"]);
        let counts: Vec<usize> = serde_json::from_value(case["counts"].clone()).expect("counts");
        let mut next = 0..;
        let texts: Vec<Vec<String>> =
            counts.iter().map(|count| next.by_ref().take(*count).map(|text| text.to_string()).collect()).collect();
        let samples = |of: &dyn Fn(&[String]) -> Vec<Vec<String>>| -> Vec<(usize, Vec<String>)> {
            texts.iter().enumerate().flat_map(|(at, texts)| of(texts).into_iter().map(move |texts| (at, texts))).collect()
        };
        let rows = samples(&|texts| texts.iter().map(|text| vec![text.clone()]).collect());
        // All first texts, then all second ones, …: as in tables that are sorted by the number of the text.
        let mut mixed = rows.clone();
        mixed.sort_by_key(|(picture, texts)| self::texts_before(&rows, *picture, &texts[0]));
        let layouts = [
            ("a list", samples(&|texts| vec![texts.to_vec()])),
            ("a row for each text", rows.clone()),
            ("rows in another order", mixed),
            ("lines of one text", samples(&|texts| vec![vec![texts.join("\n")]])),
            ("a JSON list", samples(&|texts| vec![vec![serde_json::to_string(texts).expect("JSON")]])),
        ];
        for (layout, samples) in layouts {
            for batch in [2, 64] {
                let config = RetrievalConfig { batch, recall_k: vec![1, 5], ..Default::default() };
                let report = run_on(&config, samples.clone(), &model).expect("a report");
                assert_eq!(report.samples as usize, counts.len(), "{layout}");
                for (metric, value) in case["metrics"].as_object().expect("metrics") {
                    let (ours, theirs) = (report.get(metric).expect(metric), value.as_f64().expect(metric));
                    assert!((ours - theirs).abs() < 1e-6, "{metric} of {name}, {layout} ({}): {ours} for {theirs}", golden["origin"]);
                }
            }
        }
        let apart = run_on(&RetrievalConfig { group: Group::Sample, ..Default::default() }, rows.clone(), &model).expect("a report");
        assert_eq!(apart.samples as usize, rows.len(), "rows are kept apart when that is asked for");
    }
}

/// How many rows of a picture come before that of `text`.
fn texts_before(rows: &[(usize, Vec<String>)], picture: usize, text: &String) -> usize {
    rows.iter().filter(|(other, _)| *other == picture).position(|(_, texts)| texts[0] == *text).expect("it is there")
}

#[test]
fn what_was_taken_together_is_told_and_can_be_chosen() {
    let model = Table { image: rows(&[&[1.0, 0.0], &[0.0, 1.0]]), text: rows(&[&[1.0, 0.1], &[1.0, 0.2], &[0.1, 1.0]]), scores: false };
    let texts = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let one_each = vec![(0, texts(&["0"])), (1, texts(&["2"])), (0, texts(&["1"]))];
    let several = vec![(0, texts(&["0", "1"])), (1, texts(&["2"])), (0, texts(&["1", "0"]))];
    for (samples, group, pictures, note) in [
        (&one_each, Group::Auto, 2, Some("3 samples are 2 pictures")),
        (&one_each, Group::Picture, 2, Some("3 samples are 2 pictures")),
        (&one_each, Group::Sample, 3, None),
        (&several, Group::Auto, 3, Some("5 texts of 3 pictures")),
        (&several, Group::Picture, 2, Some("3 samples are 2 pictures")),
        (&several, Group::Sample, 3, Some("5 texts of 3 pictures")),
    ] {
        let report = run_on(&RetrievalConfig { group, ..Default::default() }, samples.clone(), &model).expect("a report");
        assert_eq!(report.samples, pictures, "{group:?}");
        assert!(note.is_none_or(|note| report.notes[0].contains(note)), "{group:?}: {:?}", report.notes);
    }
    let limited = RetrievalConfig { texts_per_image: 1, ..Default::default() };
    let report = run_on(&limited, one_each, &model).expect("a report");
    assert_eq!(report.get("text_to_image_R@1"), Some(1.0));
    assert!(!report.notes.iter().any(|note| note.contains("texts of")), "one text of each is left: {:?}", report.notes);
}

#[test]
fn more_than_all_candidates_is_all_of_them() {
    let model = Table { image: rows(&[&[1.0, 0.0], &[0.0, 1.0]]), text: rows(&[&[0.0, 1.0], &[1.0, 0.0]]), scores: false };
    let report = run(&RetrievalConfig { recall_k: vec![1, 5], ..Default::default() }, one_text_each(2), &model).expect("a report");
    assert_eq!((report.get("image_to_text_R@1"), report.get("image_to_text_R@5")), (Some(0.0), Some(1.0)));
}

#[test]
fn every_metric_equals_open_clip() {
    let golden = golden();
    for case in golden["cases"].as_array().expect("cases") {
        let model = model_of(case);
        let count = model.image.size()[0] as usize;
        for batch in [3, 64] {
            let report = run(&RetrievalConfig { batch, ..Default::default() }, one_text_each(count), &model).expect("a report");
            let expected = case["metrics"].as_object().expect("metrics");
            assert_eq!(report.metrics.len(), expected.len(), "no metric more or less");
            for (name, value) in expected {
                let (ours, theirs) = (report.get(name).expect(name), value.as_f64().expect(name));
                assert!((ours - theirs).abs() < 1e-6, "{name} of {} ({}): {ours} for {theirs}", case["name"], golden["origin"]);
            }
        }
    }
}

#[test]
fn a_picture_with_several_texts_is_found_by_the_best_of_them() {
    // Text 0 and 1 belong to picture 0, text 2 to picture 1. Picture 0 is nearest to text 1.
    let model = Table { image: rows(&[&[1.0, 0.0], &[0.0, 1.0]]), text: rows(&[&[0.1, 1.0], &[1.0, 0.0], &[0.5, 1.0]]), scores: false };
    let texts = vec![vec!["0".to_owned(), "1".to_owned()], vec!["2".to_owned()]];
    let report = run(&RetrievalConfig { recall_k: vec![1, 2], ..Default::default() }, texts.clone(), &model).expect("a report");
    assert_eq!(report.get("image_to_text_R@1"), Some(0.5), "picture 0 by text 1; picture 1 prefers text 0, which is not its own");
    assert_eq!(report.get("image_to_text_R@2"), Some(1.0));
    assert_eq!(report.get("text_to_image_R@1"), Some(2.0 / 3.0), "text 0 prefers picture 1");
    assert_eq!(report.samples, 2);
    assert!(report.notes[0].contains("3 texts of 2 pictures"), "{:?}", report.notes);
    let first = run(&RetrievalConfig { texts_per_image: 1, ..Default::default() }, texts, &model).expect("a report");
    assert_eq!(first.get("text_to_image_R@1"), Some(0.5), "text 1 is left out");
}

#[test]
fn repeated_texts_are_noted_and_gain_nothing() {
    let model = Table { image: rows(&[&[1.0, 0.0], &[1.0, 0.0]]), text: rows(&[&[1.0, 0.0]]), scores: false };
    let report = run(&RetrievalConfig::default(), vec![vec!["0".into()], vec!["0".into()]], &model).expect("a report");
    assert_eq!(report.get("image_to_text_R@1"), Some(0.5), "one of two equal texts comes first");
    assert!(report.notes[0].contains("2 of 2 texts belong to several pictures"), "{:?}", report.notes);
    let report = run(&RetrievalConfig::default(), vec![vec!["0".into(), "0".into()]], &model).expect("a report");
    assert_eq!(report.notes.len(), 1, "a text twice of one picture is right both times: {:?}", report.notes);
}

#[test]
fn a_scorer_of_the_model_replaces_the_cosine() {
    let table = |scores| Table { image: rows(&[&[1.0, 0.0], &[0.0, 1.0]]), text: rows(&[&[1.0, 0.0], &[0.0, 1.0]]), scores };
    let recall = |scores| run(&RetrievalConfig::default(), one_text_each(2), &table(scores)).expect("a report").get("image_to_text_R@1");
    assert_eq!((recall(false), recall(true)), (Some(1.0), Some(0.0)));
}

#[test]
fn what_cannot_be_measured_is_an_error_or_is_listed() {
    let model = Table { image: rows(&[&[f32::NAN], &[1.0]]), text: rows(&[&[1.0], &[1.0]]), scores: false };
    let error = run(&RetrievalConfig::default(), one_text_each(2), &model).expect_err("nan would rank first").to_string();
    assert!(error.contains("not finite"), "{error}");
    let model = Table { image: rows(&[&[1.0], &[1.0]]), text: rows(&[&[1.0], &[1.0]]), scores: false };
    let report = run(&RetrievalConfig::default(), vec![vec![], vec!["1".into()]], &model).expect("one sample is left");
    assert_eq!((report.samples, report.skipped), (1, vec!["sample 0: no text".to_owned()]));
    let error = run(&RetrievalConfig::default(), vec![vec![]], &model).expect_err("nothing is left").to_string();
    assert!(error.contains("sample 0: no text"), "{error}");
    let error = run(&RetrievalConfig { recall_k: vec![0], ..Default::default() }, vec![], &model).expect_err("R@0").to_string();
    assert!(error.contains("recall_k"), "{error}");
}

#[test]
fn chance_counts_every_right_answer() {
    for (all, right, k, expected, why) in [
        (10, 1, 1, 0.1, "one of ten"),
        (10, 1, 5, 0.5, "half of them"),
        (4, 2, 2, 5.0 / 6.0, "all but one of the six pairs"),
        (3, 1, 10, 1.0, "more than there are"),
    ] {
        assert!((rank::chance(all, right, k) - expected).abs() < 1e-12, "{why}");
    }
}

#[test]
fn the_samples_behind_each_metric_are_reported() {
    let count = 40;
    let numbers = |name: &str| Tensor::from_slice(&vlhub_sdk::testkit::golden::numbers(name, count * 6)).view([count as i64, 6]);
    let text = numbers("text");
    let model = Table { image: numbers("image") + &text * 2.0, text, scores: false };
    let texts = (0..count / 2).map(|at| vec![at.to_string(), (at + count / 2).to_string()]).collect();
    let report = run(&RetrievalConfig::default(), texts, &model).expect("a report");
    let names: Vec<_> = report.tables.iter().map(|table| (table.name.as_str(), table.keys.len())).collect();
    assert_eq!(names, [("image_to_text", count / 2), ("text_to_image", count)]);
    assert_eq!((&*report.tables[0].keys[1], &*report.tables[1].keys[3]), ("sample 1", "sample 1#1"));
    assert!(report.tables[0].units.is_empty(), "every picture is a sampling unit of its own");
    assert_eq!(report.tables[1].units[..4], ["sample 0", "sample 0", "sample 1", "sample 1"], "both captions of a picture are one unit");
    for table in &report.tables {
        for column in &table.columns {
            let mean = column.values.iter().map(|value| f64::from(*value)).sum::<f64>() / column.values.len() as f64;
            assert!((mean - report.get(&column.metric).expect("its metric")).abs() < 1e-9, "{}", column.metric);
        }
    }
    assert!((16..=24).contains(&report.examples.len()), "hits and failures each way, six of each where there are so many");
    for example in &report.examples {
        let answers: Vec<&vlhub_sdk::Answer> = match &*example.section {
            "Texts to pictures" => example.pictures.iter().map(|picture| &picture.answer).collect(),
            section => {
                assert_eq!((section, example.pictures.len()), ("Pictures to texts", 1), "the picture that was asked about");
                example.texts.iter().collect()
            }
        };
        assert!(answers.iter().any(|answer| answer.right == Some(true)), "{example:?}");
        assert!(answers[..5].is_sorted_by(|left, right| left.score >= right.score), "{example:?}");
    }
}

#[test]
fn blocks_give_the_ranks_of_the_whole_matrix() {
    // More pictures than a block has, some with more texts than a tile: against a sort of all scores.
    let counts: Vec<i64> = (0..1500).map(|at| if at == 700 { 4500 } else { 1 + at % 3 }).collect();
    let all: i64 = counts.iter().sum();
    let numbers = |name: &str, rows: i64| Tensor::from_slice(&vlhub_sdk::testkit::golden::numbers(name, rows as usize * 4)).view([rows, 4]);
    // Rounded, so that there are ties.
    let (images, texts) = (((numbers("image", 1500) * 2.0).round()), ((numbers("text", all) * 2.0).round()));
    let keep = |rows: &Tensor| Encoded { embed: rows.shallow_clone(), pooled: rows.shallow_clone(), tokens: None };
    let names: Vec<Vec<String>> = counts
        .iter()
        .scan(0, |next, count| {
            *next += count;
            Some((*next - count..*next).map(|text: i64| text.to_string()).collect())
        })
        .collect();
    let encode = |names: &[String]| {
        let first: i64 = names[0].parse().expect("a number");
        Ok(keep(&texts.narrow(0, first, names.len() as i64)))
    };
    let parts = || images.split(64, 0).iter().map(keep).collect::<Vec<_>>();
    let pool = Pool::new(parts(), &names, &Measure::Cosine, 64, encode).expect("a pool");
    assert!(pool.blocks.len() > 2 && pool.blocks.iter().any(|block| block.texts[0].rows == 4500));
    let found = ranks(&Measure::Cosine, &pool, &counts).expect("ranks");
    let table = Table { image: images.shallow_clone(), text: texts.shallow_clone(), scores: true };
    let own = Measure::Own(&table);
    let tokens = Pool::new(images.split(64, 0).iter().map(|rows| keep(&-rows)).collect(), &names, &own, 64, encode).expect("a pool");
    let other = ranks(&own, &tokens, &counts).expect("ranks");
    assert_eq!((&other.images, &other.texts), (&found.images, &found.texts), "small batches of tokens give the same");

    let scores = images.matmul(&texts.tr());
    let rows = Vec::<Vec<f32>>::try_from(&scores).expect("rows");
    let columns = Vec::<Vec<f32>>::try_from(&scores.tr().contiguous()).expect("columns");
    let before = |scores: &[f32], right: usize| {
        (0..scores.len()).filter(|at| scores[*at] > scores[right] || (scores[*at] == scores[right] && *at < right)).count() as i64
    };
    let mut text = 0usize;
    for (image, count) in counts.iter().enumerate() {
        let own = text..text + *count as usize;
        assert_eq!(found.images[image], own.clone().map(|text| before(&rows[image], text)).min().expect("a text"), "picture {image}");
        for text in own.clone() {
            assert_eq!(found.texts[text], before(&columns[text], image), "text {text}");
        }
        text = own.end;
    }
}
