//! The decoder, the loss and generation against open_clip's CoCa, by `tests/golden/coca.json`.

use std::collections::BTreeMap;

use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::read;
use vlhub_sdk::testkit::golden::{fill, numbers};
use vlhub_sdk::{Captioning, Decoding, TextSide, Tower, serde_json};

use crate::CaptionConfig;
use crate::decoder::Decoder;

const ROWS: i64 = 4;
const PATCHES: i64 = 5;
const LENGTH: i64 = 9;
const WIDTH: i64 = 16;
const VOCAB: i64 = 40;
const CONTEXT: i64 = 12;
const START: i64 = 38;

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct File {
    loss: Vec<LossCase>,
    generated: Vec<Generated>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct LossCase {
    options: CaptionConfig,
    parameters: BTreeMap<String, Vec<i64>>,
    ids: Vec<Vec<i64>>,
    loss: f64,
    logits: Vec<f32>,
    gradients: BTreeMap<String, f64>,
    image_gradient: Vec<f32>,
    text_gradient: Vec<f32>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Generated {
    end: i64,
    settings: BTreeMap<String, serde_json::Value>,
    ids: Vec<Vec<i64>>,
}

fn file() -> File {
    read(env!("CARGO_MANIFEST_DIR"), "coca")
}

fn table(name: &str, shape: &[i64]) -> Tensor {
    Tensor::from_slice(&numbers(name, shape.iter().product::<i64>() as usize)).view(shape) * 2.0
}

fn matrix(rows: &[Vec<i64>]) -> Tensor {
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

/// Towers of this width.
pub(crate) fn towers(store: &VarStore, width: i64) -> ObjectiveCx<'_> {
    let image = InputSpec::Image { size: (8, 8), mean: [0.0; 3], std: [1.0; 3] };
    let text = InputSpec::Text { context: CONTEXT, vocab: VOCAB, pad: 0, truncates: true };
    ObjectiveCx {
        path: store.root() / "objective" / "caption",
        shared: store.root(),
        embed: 8,
        image: Some(Tower { input: image, width }),
        text: Some(Tower { input: text, width: WIDTH }),
        teachers: Vec::new(),
    }
}

fn encoded(values: Tensor) -> Encoded {
    let (size, place) = (values.size(), (Kind::Float, values.device()));
    let mask = Tensor::ones([size[0], size[1]], (Kind::Bool, values.device()));
    Encoded {
        embed: Tensor::ones([size[0], 8], place),
        pooled: Tensor::ones([size[0], size[2]], place),
        tokens: Some(Tokens { values, mask }),
    }
}

/// Off by so much of the largest.
#[track_caller]
fn close(ours: &Tensor, theirs: &[f32], tolerance: f64, what: &str) {
    let theirs = Tensor::from_slice(theirs);
    let apart = (ours.detach().flatten(0, -1) - &theirs).abs().max().double_value(&[]) / theirs.abs().max().double_value(&[]);
    assert!(apart <= tolerance, "{what} is off by {apart:e} of its largest");
}

#[test]
fn a_word_with_the_id_of_padding_is_predicted() {
    let store = VarStore::new(Device::Cpu);
    let objective = CaptionConfig { heads: 2, layers: 1, ..Default::default() }.build(&towers(&store, WIDTH)).expect("builds");
    for (ids, counted, why) in [
        ([[1, 5, 0, 6, 2, 0, 0]], 4.0, "0 between words is one"),
        ([[1, 5, 6, 2, 0, 0, 0]], 3.0, "0 behind the end is padding"),
        ([[0, 0, 1, 5, 0, 6, 2]], 5.0, "0 before the start is padding"),
    ] {
        let mut batch = Batch::new(1);
        batch.set_text("main", matrix(&ids.map(Vec::from))).expect("a row");
        assert_eq!(objective.weight(&batch), counted, "{why}");
    }
}

#[test]
fn names_loss_logits_and_gradients_equal_open_clip() {
    for case in file().loss {
        let store = VarStore::new(Device::Cpu);
        let objective = case.options.build(&towers(&store, WIDTH)).expect("builds");
        let shapes: BTreeMap<String, Vec<i64>> = store.variables().into_iter().map(|(name, value)| (name, value.size())).collect();
        assert_eq!(shapes, case.parameters, "names and shapes of the reference");
        fill(&store);
        let images = table("images", &[ROWS, PATCHES, WIDTH]).set_requires_grad(true);
        let texts = table("texts", &[ROWS, LENGTH, WIDTH]).set_requires_grad(true);
        let mut features = Features::new(0..ROWS, ROWS);
        features.insert(Modality::Image, "main", encoded(images.shallow_clone()));
        features.insert(Modality::Text, "main", encoded(texts.shallow_clone()));
        let mut batch = Batch::new(ROWS);
        batch.set_text("main", matrix(&case.ids)).expect("it has the rows");
        assert_eq!(objective.weight(&batch), 17.0, "tokens that are neither the first nor padding");
        let loss = objective.loss(&features, &batch).expect("a loss");
        assert!((loss.value() - case.loss).abs() <= 1e-5 * case.loss, "{} for {}", loss.value(), case.loss);
        loss.total.backward();
        let largest = case.gradients.values().copied().fold(0.0, f64::max);
        for (name, parameter) in store.variables() {
            let (ours, theirs) = (parameter.grad().norm().double_value(&[]), case.gradients[&name]);
            assert!((ours - theirs).abs() <= 1e-4 * largest, "the gradient of {name} has norm {ours} for {theirs}");
        }
        close(&images.grad().get(0), &case.image_gradient, 1e-4, "the gradient of an image");
        close(&texts.grad().get(1), &case.text_gradient, 1e-4, "the gradient of a text");
        let again = VarStore::new(Device::Cpu);
        let cx = towers(&again, WIDTH);
        let (image, text) = (cx.image.as_ref().expect("it is there"), cx.text.as_ref().expect("it is there"));
        let (sizes, ..) = case.options.resolve(image, text).expect("they fit");
        let decoder = Decoder::new(&again.root().sub("text_decoder"), &sizes).expect("builds");
        fill(&again);
        let logits = decoder.logits(&decoder.forward(&images, &texts.narrow(1, 0, LENGTH - 1)));
        close(&logits.narrow(0, 0, 2).narrow(1, 0, 3).contiguous(), &case.logits, 1e-5, "the logits");
    }
}

/// A decoder with known weights, and captions of the known images whose numbers are listed.
fn captions(start: i64, end: i64, images: &[i64], seeds: &[u64], how: &Captioning) -> Result<Vec<Vec<i64>>> {
    let store = VarStore::new(Device::Cpu);
    let config = CaptionConfig { layers: 2, heads: 2, ..Default::default() };
    let objective = config.build(&towers(&store, WIDTH))?;
    fill(&store);
    let encode = |ids: &Tensor| {
        let texts = Tensor::embedding(&table("ids", &[VOCAB, WIDTH]), ids, -1, false, false);
        Ok(encoded(texts + table("places", &[CONTEXT, WIDTH]).narrow(0, 0, ids.size()[1])))
    };
    let images = encoded(table("images", &[ROWS, PATCHES, WIDTH]).index_select(0, &Tensor::from_slice(images)));
    let captioner = objective.skills().captioner.expect("it writes captions");
    let ids = captioner.caption(&images, seeds, &TextSide { encode: &encode, start, end }, how)?;
    Ok((0..ids.size()[0]).map(|row| Vec::try_from(ids.get(row)).expect("ids")).collect())
}

#[test]
fn captions_equal_those_of_open_clip() {
    let cases = file().generated;
    assert!(cases.len() > 30);
    for case in cases {
        let number = |key: &str| case.settings[key].as_f64().expect("a number");
        let method = match case.settings["generation_type"].as_str() {
            Some("beam_search") => Decoding::Beam { beams: number("num_beams") as i64, groups: number("num_beam_groups") as i64 },
            _ => Decoding::Greedy,
        };
        let (longest, shortest) = (number("seq_len") as i64, number("min_seq_len") as i64);
        let how = Captioning { method, longest, shortest, repetition_penalty: number("repetition_penalty"), seed: 0 };
        let found = captions(START, case.end, &[0, 1, 2, 3], &[0; 4], &how).expect("captions");
        assert_eq!(found, case.ids, "{how:?}, end {}", case.end);
    }
}

#[test]
fn a_caption_depends_on_its_image_and_its_seed_alone() {
    let sample = Decoding::Sample { temperature: 0.8, top_k: 20, top_p: 0.95 };
    for method in [Decoding::Greedy, sample, Decoding::Beam { beams: 4, groups: 2 }] {
        let how = Captioning { method, longest: 12, ..Captioning::default() };
        // Padding alone depends on the batch: it fills up to the longest caption.
        let trimmed = |mut ids: Vec<i64>| {
            ids.truncate(ids.iter().rposition(|id| *id != 0).map_or(0, |last| last + 1));
            ids
        };
        let write = |images: &[i64], seeds: &[u64]| -> Vec<Vec<i64>> {
            captions(START, 27, images, seeds, &how).expect("captions").into_iter().map(trimmed).collect()
        };
        let together = write(&[0, 1, 2, 3], &[5, 6, 7, 8]);
        assert_eq!(write(&[0, 1, 2, 3], &[5, 6, 7, 8]), together, "{method:?}: the same again");
        for (image, expected) in together.iter().enumerate() {
            assert_eq!(&write(&[image as i64], &[5 + image as u64])[0], expected, "{method:?}: alone");
        }
        let other = write(&[0, 1, 2, 3], &[15, 16, 17, 18]);
        assert_eq!(other != together, method == sample, "{method:?}: other seeds");
    }
}

#[test]
fn one_candidate_left_is_the_likeliest() {
    let written = |method| captions(START, 27, &[0, 1, 2, 3], &[1; 4], &Captioning { method, longest: 10, ..Captioning::default() });
    let greedy = written(Decoding::Greedy).expect("captions");
    for (top_k, top_p, why) in [(1, 1.0, "top-k"), (0, 1e-9, "top-p")] {
        assert_eq!(written(Decoding::Sample { temperature: 1.0, top_k, top_p }).expect("captions"), greedy, "{why}");
    }
    assert!(greedy.iter().all(|ids| ids.iter().take(5).all(|id| *id != 27)), "no caption ends before five tokens: {greedy:?}");
}

#[test]
fn settings_that_mean_nothing_are_refused_together() {
    let sample = |temperature, top_k, top_p| Decoding::Sample { temperature, top_k, top_p };
    for (how, words) in [
        (Captioning { longest: 13, ..Captioning::default() }, &["at most 13", "2 to 12"][..]),
        (Captioning { longest: 5, shortest: 5, repetition_penalty: 0.0, ..Captioning::default() }, &["at least 5", "penalty is 0"]),
        (
            Captioning { longest: 9, method: sample(0.0, -1, 0.0), ..Captioning::default() },
            &["temperature is 0", "top-k is -1", "top-p is 0"],
        ),
        (Captioning { longest: 9, method: Decoding::Beam { beams: 4, groups: 3 }, ..Captioning::default() }, &["4 beams", "3 groups"]),
        (
            Captioning { longest: 9, method: Decoding::Beam { beams: 21, groups: 1 }, ..Captioning::default() },
            &["21 beams", "vocabulary of 40"],
        ),
    ] {
        let error = captions(START, 27, &[0], &[0], &how).expect_err("refused").to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
    let how = Captioning { longest: 9, ..Captioning::default() };
    let error = captions(40, 41, &[0], &[0], &how).expect_err("no such ids").to_string();
    assert!(error.contains("start token 40") && error.contains("end token 41"), "{error}");
    assert!(captions(START, 27, &[0, 1], &[0], &how).expect_err("a seed is missing").to_string().contains("1 seeds for 2 images"));
}

#[test]
fn towers_and_options_that_do_not_fit_are_told_of_together() {
    let store = VarStore::new(Device::Cpu);
    let config = CaptionConfig { heads: 3, width: Some(20), pad: Some(40), layers: 0, ..Default::default() };
    let error = config.build(&towers(&store, 24)).expect_err("refused").to_string();
    for word in [
        "`heads` = 3",
        "`layers` = 0",
        "`pad` = 40",
        "image tower's tokens have width 24",
        "attentional_pool",
        "text tower's tokens have width 16",
    ] {
        assert!(error.contains(word), "{word}: {error}");
    }
    assert!(store.is_empty(), "nothing was made");
}

#[test]
fn a_batch_without_a_token_to_predict_has_no_loss_and_no_weight() {
    let store = VarStore::new(Device::Cpu);
    let objective = CaptionConfig { layers: 1, heads: 2, ..Default::default() }.build(&towers(&store, WIDTH)).expect("builds");
    for ids in [vec![vec![START, 0, 0]], vec![vec![START]]] {
        let mut features = Features::new(0..1, 1);
        features.insert(Modality::Image, "main", encoded(table("images", &[1, PATCHES, WIDTH])));
        features.insert(Modality::Text, "main", encoded(table("texts", &[1, ids[0].len() as i64, WIDTH])));
        let mut batch = Batch::new(1);
        batch.set_text("main", matrix(&ids)).expect("one row");
        assert_eq!((objective.weight(&batch), objective.loss(&features, &batch).expect("a loss").value()), (0.0, 0.0), "{ids:?}");
    }
}
