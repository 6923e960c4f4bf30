//! Against pycocoevalcap, its Java tokenizer included.

use std::collections::BTreeMap;

use vlhub_sdk::{Captioner, Datasets, Sample, Skills, TextSide};

use super::*;
use crate::CaptionConfig;
use crate::golden::towers;

/// Pictures by number, with the captions that a model writes and those of people.
#[derive(Clone)]
struct Golden(serde_json::Value);

impl Golden {
    fn read() -> Self {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/caption_metrics.json");
        let text = std::fs::read_to_string(file).expect("tests/golden/caption_metrics.py writes it");
        Self(serde_json::from_str(&text).expect("JSON"))
    }

    fn pictures(&self) -> &Vec<serde_json::Value> {
        self.0["pictures"].as_array().expect("pictures")
    }
}

fn texts(value: &serde_json::Value) -> Vec<String> {
    serde_json::from_value(value.clone()).expect("texts")
}

impl Datasets for Golden {
    fn open(&self, _: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        Ok(Arc::new(self.clone()))
    }
}

impl Dataset for Golden {
    fn len(&self) -> usize {
        self.pictures().len()
    }
    fn classes(&self) -> &[String] {
        &[]
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        Box::new(self.pictures().iter().enumerate().map(|(at, picture)| {
            let image = RgbImage::from_pixel(1, 1, vlhub_sdk::image::Rgb([at as u8, 0, 0]));
            // Half of them as lines of one text, as in CLIP_benchmark's shards.
            let all = texts(&picture["references"]);
            let texts = if at % 2 == 0 { all } else { vec![all.join("\n")] };
            Ok(Sample { key: format!("picture {at}"), image, texts, labels: vec![], meta: BTreeMap::new() })
        }))
    }
}

impl Captioner for Golden {
    fn caption(&self, _: &Encoded, _: &[u64], _: &TextSide<'_>, _: &Captioning) -> Result<Tensor> {
        Err(Error::invalid("it is asked for texts alone"))
    }
}

impl Model for Golden {
    fn images(&self, _: &[RgbImage], _: bool) -> Result<Encoded> {
        Err(Error::invalid("it only writes"))
    }
    fn texts(&self, _: &[String], _: bool) -> Result<Encoded> {
        Err(Error::invalid("it only writes"))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, captioner: Some(self), ..Skills::default() }
    }
    fn captions(&self, images: &[RgbImage], _: &Captioning) -> Result<Vec<String>> {
        let caption = |image: &RgbImage| self.pictures()[image.get_pixel(0, 0)[0] as usize]["caption"].as_str().expect("text").to_owned();
        Ok(images.iter().map(caption).collect())
    }
}

#[test]
fn words_are_those_of_stanfords_tokenizer() {
    for picture in Golden::read().pictures() {
        for (text, words) in texts(&picture["references"]).iter().zip(texts(&picture["reference_words"])) {
            assert_eq!(ptb::words(text).join(" "), words, "{text}");
        }
        assert_eq!(ptb::words(picture["caption"].as_str().expect("text")).join(" "), picture["caption_words"]);
    }
}

#[test]
fn scores_are_pycocoevalcaps() {
    let golden = Golden::read();
    for batch in [1, 5, 64] {
        let mut report = Report::default();
        let config = CaptionSuiteConfig { batch, ..CaptionSuiteConfig::default() };
        config.build(&EvalCx::new(&golden)).expect("it is built").run(&golden, &mut report).expect("a report");
        let near = |name: &str, value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-9, "{name}: {value} for {wanted}");
        for at in 0..4 {
            let name = format!("BLEU-{}", at + 1);
            near(&name, report.get(&name).expect("it is measured"), golden.0["bleu"][at].as_f64().expect("a number"));
        }
        near("CIDEr", report.get("CIDEr").expect("it is measured"), golden.0["cider"].as_f64().expect("a number"));
        for (value, picture) in report.tables[0].columns[0].values.iter().zip(golden.pictures()) {
            let wanted = picture["cider"].as_f64().expect("a number");
            assert!((f64::from(*value) - wanted).abs() < 1e-6, "{value} for {wanted}: {picture}");
        }
        assert_eq!(report.examples.len(), golden.len());
        assert_eq!(report.examples[1].texts.len(), 1 + texts(&golden.pictures()[1]["references"]).len());
    }
}

#[test]
fn what_cannot_be_measured_is_listed_or_refused() {
    let mut golden = Golden::read();
    golden.0["pictures"] = serde_json::json!([{ "caption": "a", "references": ["  "] }, { "caption": "a dog", "references": ["a dog"] }]);
    let mut report = Report::default();
    let suite = CaptionSuiteConfig::default().build(&EvalCx::new(&golden)).expect("it is built");
    suite.run(&golden, &mut report).expect("one is left");
    assert_eq!(report.skipped, ["picture 0: no text"]);
    assert!(report.notes[0].contains("of one picture it is 0") && report.get("CIDEr") == Some(0.0), "{:?}", report.notes);
    assert_eq!(suite.requires().missing(&Skills { images: true, ..Skills::default() }), ["a captioner"]);
    for config in
        [CaptionSuiteConfig { beams: 5, beam_groups: 2, ..Default::default() }, CaptionSuiteConfig { batch: 0, ..Default::default() }]
    {
        assert!(config.build(&EvalCx::new(&golden)).is_err());
    }
}

#[test]
fn a_least_length_that_is_not_below_the_most_is_refused_when_the_suite_is_built() {
    let golden = Golden::read();
    for (min_length, max_length, words) in [
        (12, 12, &["`min_length` = 12", "`max_length` = 12"][..]),
        (13, 12, &["`min_length` = 13", "`max_length` = 12"]),
        (0, 1, &["`max_length` = 1 must be at least 2"]),
    ] {
        let config = CaptionSuiteConfig { min_length, max_length, ..Default::default() };
        let error = config.build(&EvalCx::new(&golden)).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}

#[test]
fn captions_longer_than_the_captioners_context_are_refused_before_anything_is_measured() {
    let golden = Golden::read();
    let store = tch::nn::VarStore::new(Device::Cpu);
    let options = CaptionConfig { layers: 1, heads: 2, context: Some(20), ..Default::default() };
    let objective = options.build(&towers(&store, 16)).expect("it is built");
    let suite = |max_length| {
        let config = CaptionSuiteConfig { max_length, ..Default::default() };
        config.build(&EvalCx::new(&golden)).expect("it is built")
    };
    suite(20).check(&objective.skills()).expect("20 tokens fit");
    let error = suite(CaptionSuiteConfig::default().max_length).check(&objective.skills()).expect_err("30 do not").to_string();
    assert!(error.contains("`max_length` = 30") && error.contains("20 tokens"), "{error}");
    suite(1000).check(&golden.skills()).expect("a captioner that does not tell its context is not checked");
    suite(1000).check(&Skills::default()).expect("what lacks a captioner is skipped by name instead");
}
