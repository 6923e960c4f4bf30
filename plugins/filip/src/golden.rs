//! The loss against x-clip's, by `tests/golden/filip.json`; against the paper's formula without tiles; and what the tiles must not change.

use std::collections::BTreeMap;

use vlhub_sdk::Tower;
use vlhub_sdk::ops::normalize;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::nn::VarStore;
use vlhub_sdk::testkit::golden::losses::read;
use vlhub_sdk::testkit::golden::numbers;

use crate::{Compat, FilipConfig};

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct File {
    origin: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(crate = "vlhub_sdk::serde")]
struct Case {
    name: String,
    compat: Option<Compat>,
    dcl: bool,
    logit_scale: f64,
    /// Whether a class token stands in front of images and texts.
    class_tokens: bool,
    text_lengths: Vec<i64>,
    loss: f64,
    gradients: BTreeMap<String, Vec<f32>>,
}

fn table(name: &str, shape: &[i64]) -> Tensor {
    Tensor::from_slice(&numbers(name, shape.iter().product::<i64>() as usize)).view(shape) * 2.0
}

/// `[N, longest]`: the first tokens of each row count.
fn mask(lengths: &[i64], longest: i64) -> Tensor {
    Tensor::arange(longest, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&Tensor::from_slice(lengths).unsqueeze(1))
}

/// Image tokens and words that collect gradients, and the masks of both.
struct Inputs {
    images: Tensor,
    texts: Tensor,
    seen: Tensor,
    read: Tensor,
}

impl Inputs {
    /// Known numbers: every image token counts, and the first tokens of each text.
    fn new(images: &[i64], texts: &[i64], lengths: &[i64]) -> Self {
        Self {
            images: table("images", images).set_requires_grad(true),
            texts: table("texts", texts).set_requires_grad(true),
            seen: Tensor::ones([images[0], images[1]], (Kind::Bool, Device::Cpu)),
            read: mask(lengths, texts[1]),
        }
    }

    fn features(&self) -> Features {
        let rows = self.images.size()[0];
        let mut features = Features::new(0..rows, rows);
        features.insert(Modality::Image, "main", encoded(&self.images, &self.seen));
        features.insert(Modality::Text, "main", encoded(&self.texts, &self.read));
        features
    }

    /// An objective with known maps, or with none where the width of tokens is that of the space.
    fn objective(&self, store: &VarStore, config: &FilipConfig) -> Box<dyn Objective> {
        let image = InputSpec::Image { size: (8, 8), mean: [0.0; 3], std: [1.0; 3] };
        let text = InputSpec::Text { context: 8, vocab: 10, pad: 0, truncates: false };
        let cx = ObjectiveCx {
            path: store.root() / "objective",
            shared: store.root(),
            embed: 8,
            image: Some(Tower { input: image, width: self.images.size()[2] }),
            text: Some(Tower { input: text, width: self.texts.size()[2] }),
            teachers: Vec::new(),
        };
        let objective = config.build(&cx).expect("builds");
        let _no_grad = vlhub_sdk::tch::no_grad_guard();
        for (name, mut variable) in store.variables().into_iter().filter(|(name, _)| name != "logit_scale") {
            variable.copy_(&table(&name, &variable.size()));
        }
        objective
    }

    /// The loss, and the gradients of inputs and parameters.
    fn loss(&self, config: &FilipConfig) -> (f64, BTreeMap<String, Tensor>) {
        let rows = self.images.size()[0];
        self.loss_of(config, &[self.features()], rows)
    }

    /// The sum of the losses of parts, with the gradients of it.
    fn loss_of(&self, config: &FilipConfig, parts: &[Features], rows: i64) -> (f64, BTreeMap<String, Tensor>) {
        let store = VarStore::new(Device::Cpu);
        let objective = self.objective(&store, config);
        let loss = parts.iter().map(|part| {
            let loss = objective.loss(part, &Batch::new(rows)).expect("a loss");
            loss.total.backward();
            loss.value()
        });
        (loss.sum(), self.gradients(&store))
    }

    /// Takes the gradients that were collected.
    fn gradients(&self, store: &VarStore) -> BTreeMap<String, Tensor> {
        let inputs = [("images", &self.images), ("texts", &self.texts)].map(|(name, value)| (name.to_owned(), value.shallow_clone()));
        let leaves = store.variables().into_iter().chain(inputs);
        leaves
            .map(|(name, leaf)| {
                let gradient = leaf.grad().copy();
                let _ = leaf.grad().zero_();
                (name, gradient)
            })
            .collect()
    }

    /// The paper's formula with all products at once, and autograd.
    fn plain(&self, config: &FilipConfig) -> (f64, BTreeMap<String, Tensor>) {
        let store = VarStore::new(Device::Cpu);
        let _objective = self.objective(&store, config);
        let variables = store.variables();
        let map = |tokens: &Tensor, name: &str| normalize(&tokens.linear(&variables[&format!("objective.{name}.weight")], None::<&Tensor>));
        let products = Tensor::einsum("xid,ytd->xyit", &[map(&self.images, "image"), map(&self.texts, "text")], None::<i64>);
        let products = products * variables["logit_scale"].exp();
        let read = self.read.to_kind(Kind::Float);
        let sum = |x: Tensor, dim: i64| x.sum_dim_intlist([dim].as_slice(), false, Kind::Float);
        let hidden = self.read.logical_not().view([1, read.size()[0], 1, -1]);
        let by_image = products.masked_fill(&hidden, -1e9).amax([3i64].as_slice(), false).mean_dim([2i64].as_slice(), false, Kind::Float);
        let by_text = sum(products.amax([2i64].as_slice(), false) * &read, 2) / sum(read, 1);
        let by_image = if config.compat.is_some() { by_image.tr() } else { by_image };
        let half = |logits: &Tensor| {
            let others = if config.dcl { logits - Tensor::eye(logits.size()[0], (Kind::Float, Device::Cpu)) * 1e9 } else { logits.copy() };
            (others.logsumexp([1i64].as_slice(), false) - logits.diagonal(0, 0, 1)).mean(Kind::Float)
        };
        let loss = (half(&by_image) + half(&by_text.tr())) * 0.5;
        loss.backward();
        (loss.double_value(&[]), self.gradients(&store))
    }
}

fn encoded(values: &Tensor, mask: &Tensor) -> Encoded {
    let pooled = Tensor::ones([values.size()[0], 8], (Kind::Float, Device::Cpu));
    let tokens = Tokens { values: values.shallow_clone(), mask: mask.shallow_clone() };
    Encoded { embed: pooled.shallow_clone(), pooled, tokens: Some(tokens) }
}

/// Loss to 1e-5 and gradients to 1e-4 of their largest entry.
#[track_caller]
fn same(ours: &(f64, BTreeMap<String, Tensor>), theirs: &(f64, BTreeMap<String, Tensor>), why: &str) {
    assert!((ours.0 - theirs.0).abs() <= 1e-5 * theirs.0.abs().max(1.0), "{why}: the loss is {} for {}", ours.0, theirs.0);
    assert_eq!(ours.1.keys().collect::<Vec<_>>(), theirs.1.keys().collect::<Vec<_>>(), "{why}");
    for (name, expected) in &theirs.1 {
        let apart = (&ours.1[name].flatten(0, -1) - expected.flatten(0, -1)).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        assert!(apart <= 1e-4 * largest, "{why}: the gradient of {name} is off by {apart:e}, where the largest entry is {largest:e}");
    }
}

/// Seven pairs of 4 image tokens and 6 words at most.
fn seven() -> (Inputs, FilipConfig) {
    (Inputs::new(&[7, 4, 5], &[7, 6, 7], &[3, 1, 5, 2, 1, 4, 5]), FilipConfig { dim: 8, ..Default::default() })
}

#[test]
fn loss_and_gradients_equal_x_clip() {
    let file: File = read(env!("CARGO_MANIFEST_DIR"), "filip");
    assert!(file.cases.len() >= 8);
    for case in file.cases {
        let (rows, extra) = (case.text_lengths.len() as i64, i64::from(case.class_tokens));
        let lengths: Vec<_> = case.text_lengths.iter().map(|length| length + extra).collect();
        let inputs = Inputs::new(&[rows, 4 + extra, 5], &[rows, 6 + extra, 7], &lengths);
        let theirs = (case.loss, case.gradients.into_iter().map(|(name, values)| (name, Tensor::from_slice(&values))).collect());
        for tile in [2, 3, 32] {
            let config = FilipConfig {
                dim: 8,
                init_log_scale: case.logit_scale,
                dcl: case.dcl,
                compat: case.compat,
                image_skip: extra,
                text_skip: [extra, 0],
                tile,
                ..Default::default()
            };
            same(&inputs.loss(&config), &theirs, &format!("{} with tile {tile}, {}", case.name, file.origin));
        }
    }
}

#[test]
fn equals_the_worked_example_of_the_paper_formula() {
    let wave = |tokens: i64, f: &dyn Fn(f64, f64, f64) -> f64| {
        let each = |at: i64| f((at / (tokens * 8)) as f64, (at / 8 % tokens) as f64, (at % 8) as f64) as f32;
        Tensor::from_slice(&(0..4 * tokens * 8).map(each).collect::<Vec<_>>()).view([4, tokens, 8])
    };
    let inputs = Inputs {
        images: wave(2, &|i, k, j| (0.5 + 1.3 * i + 0.7 * j + 0.4 * k).sin()),
        texts: wave(3, &|i, k, j| (0.2 + 0.9 * i + 1.1 * j + 0.5 * k).cos()),
        seen: mask(&[2; 4], 2),
        read: mask(&[2, 3, 2, 3], 3),
    };
    for (compat, expected, why) in
        [(None, 2.4903402873652754, "images choose texts"), (Some(Compat::Vlhub), 2.539766392769656, "x-clip lacks the transpose")]
    {
        let store = VarStore::new(Device::Cpu);
        let config = FilipConfig { dim: 8, init_log_scale: 1.0, compat, ..Default::default() };
        let objective = inputs.objective(&store, &config);
        vlhub_sdk::tch::no_grad(|| {
            for name in ["objective.image.weight", "objective.text.weight"] {
                store.variables()[name].shallow_clone().copy_(&Tensor::eye(8, (Kind::Float, Device::Cpu)));
            }
        });
        let loss = objective.loss(&inputs.features(), &Batch::new(4)).expect("a loss").value();
        assert!((loss - expected).abs() <= 1e-5 * expected, "{why}: {loss} for {expected}");
    }
}

#[test]
fn tiles_change_neither_the_loss_nor_a_gradient() {
    let (inputs, plain) = seven();
    for (dcl, compat) in [(false, None), (true, None), (false, Some(Compat::Vlhub)), (true, Some(Compat::Vlhub))] {
        let plain = FilipConfig { dcl, compat, ..plain.clone() };
        let expected = inputs.plain(&plain);
        for tile in [1, 2, 3, 4, 7, 32] {
            let config = FilipConfig { tile, ..plain.clone() };
            same(&inputs.loss(&config), &expected, &format!("tile {tile}, dcl {dcl}, {compat:?}"));
        }
    }
}

#[test]
fn parts_of_the_rows_add_up_with_tiles_that_divide_nothing() {
    let (inputs, plain) = seven();
    for (dcl, compat) in [(false, None), (true, None), (false, Some(Compat::Vlhub))] {
        let config = FilipConfig { dcl, compat, tile: 2, ..plain.clone() };
        let parts = [0..3, 3..4, 4..4, 4..7].map(|own| inputs.features().with_own(own));
        same(&inputs.loss_of(&config, &parts, 7), &inputs.loss(&config), &format!("dcl {dcl}, {compat:?}"));
    }
}

#[test]
fn the_largest_scale_is_exact() {
    let (inputs, plain) = seven();
    for dcl in [false, true] {
        let config = FilipConfig { init_log_scale: 100f64.ln(), dcl, tile: 3, ..plain.clone() };
        same(&inputs.loss(&config), &inputs.plain(&config), &format!("dcl {dcl}"));
    }
}

#[test]
fn padding_wherever_it_stands_and_whatever_it_holds_changes_nothing() {
    let (mut inputs, config) = seven();
    inputs.read = Tensor::from_slice(&[0i64, 1, 1, 0, 1, 0]).to_kind(Kind::Bool).repeat([7, 1]);
    inputs.seen = Tensor::from_slice(&[1i64, 0, 1, 1]).to_kind(Kind::Bool).repeat([7, 1]);
    let expected = inputs.loss(&config);
    let noise = |mask: &Tensor| -> Tensor { mask.logical_not().to_kind(Kind::Float).unsqueeze(-1) * 50.0 };
    let louder = Inputs {
        images: (inputs.images.detach() + noise(&inputs.seen)).set_requires_grad(true),
        texts: (inputs.texts.detach() + noise(&inputs.read)).set_requires_grad(true),
        seen: inputs.seen.shallow_clone(),
        read: inputs.read.shallow_clone(),
    };
    let found = louder.loss(&config);
    same(&found, &expected, "louder padding");
    for (name, mask) in [("images", &louder.seen), ("texts", &louder.read)] {
        let of_padding = &found.1[name] * noise(mask);
        assert_eq!(of_padding.abs().max().double_value(&[]), 0.0, "padding of {name} gets no gradient");
    }
}

#[test]
fn start_and_end_are_words_unless_they_are_skipped() {
    let (inputs, config) = seven();
    let words = FilipConfig { text_skip: [1, 1], image_skip: 1, ..config.clone() };
    let (found, _) = inputs.loss(&words);
    // The second to the last but one, where there are three or more.
    let skipped = |length: i64| (0..6).map(move |at| i64::from(if length > 2 { (1..length - 1).contains(&at) } else { at < length }));
    let read: Vec<i64> = [3, 1, 5, 2, 1, 4, 5].into_iter().flat_map(skipped).collect();
    let by_mask = Inputs { read: Tensor::from_slice(&read).view([7, 6]).to_kind(Kind::Bool), seen: mask(&[4; 7], 4), ..inputs };
    let seen = by_mask.seen.copy();
    let _ = seen.narrow(1, 0, 1).fill_(0);
    let by_mask = Inputs { seen, ..by_mask };
    assert_eq!(by_mask.loss(&config).0, found);
    assert!((by_mask.loss(&FilipConfig { image_skip: 0, ..config }).0 - found).abs() < 1e-6);
}

#[test]
fn a_text_without_words_is_alike_to_no_image() {
    let (inputs, config) = seven();
    let inputs = Inputs { read: mask(&[3, 0, 5, 2, 1, 4, 0], 6), ..inputs };
    let (loss, gradients) = inputs.loss(&config);
    assert!(loss.is_finite());
    for (name, gradient) in gradients {
        assert_eq!(gradient.isfinite().all().int64_value(&[]), 1, "{name}");
    }
    let scores = score(&inputs, &config, 0..7, 0..7);
    assert_eq!(scores.select(1, 1).abs().max().double_value(&[]), 0.0, "no word, no similarity");
}

#[test]
fn narrow_numbers_are_widened() {
    let (inputs, config) = seven();
    let half = |tensor: &Tensor| tensor.detach().to_kind(Kind::BFloat16).set_requires_grad(true);
    let half = Inputs { images: half(&inputs.images), texts: half(&inputs.texts), seen: inputs.seen.copy(), read: inputs.read.copy() };
    let (loss, gradients) = half.loss(&config);
    assert!((loss - inputs.loss(&config).0).abs() < 0.1, "bf16 tokens are a little off");
    assert_eq!(gradients["images"].kind(), Kind::BFloat16);
}

/// Scores of some images and some texts.
fn score(inputs: &Inputs, config: &FilipConfig, images: std::ops::Range<i64>, texts: std::ops::Range<i64>) -> Tensor {
    let store = VarStore::new(Device::Cpu);
    let objective = inputs.objective(&store, config);
    let scorer = objective.skills().scorer.expect("it scores");
    assert!(scorer.tokens());
    let cut = |of: &Tensor, range: &std::ops::Range<i64>| of.narrow(0, range.start, range.end - range.start);
    let images = encoded(&cut(&inputs.images, &images), &cut(&inputs.seen, &images));
    let texts = encoded(&cut(&inputs.texts, &texts), &cut(&inputs.read, &texts));
    scorer.score(&images, &texts).expect("scores")
}

#[test]
fn a_score_is_the_mean_of_both_similarities() {
    let (inputs, config) = seven();
    let scores = score(&inputs, &config, 0..7, 0..7);
    assert!(!scores.requires_grad());
    assert_eq!(scores.size(), [7, 7]);
    let store = VarStore::new(Device::Cpu);
    let _objective = inputs.objective(&store, &config);
    let variables = store.variables();
    let map = |tokens: Tensor, name: &str| normalize(&tokens.linear(&variables[&format!("objective.{name}.weight")], None::<&Tensor>));
    for (image, text) in [(0, 0), (2, 5), (6, 1), (3, 2)] {
        let length = inputs.read.get(text).sum(Kind::Int64).int64_value(&[]);
        let products = map(inputs.images.get(image), "image").matmul(&map(inputs.texts.get(text).narrow(0, 0, length), "text").tr());
        let best = |dim: i64| products.amax([dim].as_slice(), false).mean(Kind::Float).double_value(&[]);
        let found = scores.double_value(&[image, text]);
        assert!((found - (best(0) + best(1)) / 2.0).abs() < 1e-6, "image {image}, text {text}");
    }
    for tile in [1, 2, 3] {
        let tiled = score(&inputs, &FilipConfig { tile, ..config.clone() }, 0..7, 0..7);
        assert!(tiled.allclose(&scores, 1e-5, 1e-6, false), "tile {tile}");
    }
    let few = score(&inputs, &config, 2..5, 1..3);
    assert!(few.allclose(&scores.narrow(0, 2, 3).narrow(1, 1, 2), 1e-5, 1e-6, false), "a score depends on its pair alone");
}

#[test]
fn what_was_encoded_without_tokens_cannot_be_scored() {
    let (inputs, config) = seven();
    let store = VarStore::new(Device::Cpu);
    let objective = inputs.objective(&store, &config);
    let without = Encoded { tokens: None, ..encoded(&inputs.images, &inputs.seen) };
    let error = objective.skills().scorer.expect("it scores").score(&without, &encoded(&inputs.texts, &inputs.read));
    assert!(error.expect_err("refused").to_string().contains("tokens"));
}

#[test]
fn several_pairs_are_averaged() {
    let (inputs, config) = seven();
    let pairs = [("main", "main"), ("main", "eda")].map(|(image, text)| (image.to_owned(), text.to_owned())).to_vec();
    let other = Inputs { texts: inputs.texts.flip([2]), ..seven().0 };
    let mut features = inputs.features();
    features.insert(Modality::Text, "eda", encoded(&other.texts, &other.read));
    let store = VarStore::new(Device::Cpu);
    let objective = inputs.objective(&store, &FilipConfig { pairs, ..config.clone() });
    let both = objective.loss(&features, &Batch::new(7)).expect("a loss").value();
    let alone =
        |features: Features| inputs.objective(&VarStore::new(Device::Cpu), &config).loss(&features, &Batch::new(7)).expect("a loss");
    let expected = (alone(inputs.features()).value() + alone(other.features()).value()) / 2.0;
    assert!((both - expected).abs() < 1e-5 * expected, "{both} for {expected}");
}

#[test]
fn without_gradients_the_loss_is_the_same() {
    let (inputs, config) = seven();
    let store = VarStore::new(Device::Cpu);
    let objective = inputs.objective(&store, &config);
    let loss = vlhub_sdk::tch::no_grad(|| objective.loss(&inputs.features(), &Batch::new(7))).expect("a loss");
    assert!(!loss.total.requires_grad());
    assert_eq!(loss.value(), inputs.loss(&config).0);
}
