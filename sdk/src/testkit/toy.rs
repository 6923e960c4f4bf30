//! Toys: random numbers, features, towers and batches, small enough for every law.

use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};
use vlhub_core::{Batch, Encoded, Features, InputSpec, Modality, Need, ObjectiveCx, Teacher, Tokens, Tower, Weights};

use crate::ops::masked_mean;
pub use crate::random::SplitMix64 as Seeded;

/// Rows of a toy batch.
pub const ROWS: i64 = 6;
/// Width of the joint space and of both towers.
pub const WIDTH: i64 = 8;
/// Tokens of a text.
pub const TOKENS: i64 = 5;
/// Token ids.
pub const VOCAB: i64 = 20;
/// Image patches.
const PATCHES: i64 = 4;

/// Standard normal numbers that depend on the seed alone.
pub fn randn(shape: &[i64], seed: u64) -> Tensor {
    let mut rng = Seeded(seed);
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| crate::random::normal(&mut rng) as f32).collect();
    Tensor::from_slice(&values).view(shape)
}

/// What an objective is told of the toy towers, and of a teacher `teacher` that is like them.
pub fn objective_cx(root: Path<'_>) -> ObjectiveCx<'_> {
    let image = InputSpec::Image { size: (4, 4), mean: [0.0; 3], std: [1.0; 3] };
    let text = InputSpec::Text { context: TOKENS, vocab: VOCAB, pad: 0, truncates: false };
    let (image, text) = (Some(Tower { input: image, width: WIDTH }), Some(Tower { input: text, width: WIDTH }));
    let teacher = Teacher { name: "teacher".into(), embed: WIDTH, image: image.clone(), text: text.clone(), log_scale: Some(2.0) };
    ObjectiveCx { path: root.clone() / "objective", shared: root, embed: WIDTH, image, text, teachers: vec![teacher] }
}

/// `[ROWS, T]`: the first tokens of each row count; how many differs from row to row.
fn mask(tokens: i64) -> Tensor {
    let lengths = Tensor::from_slice(&(0..ROWS).map(|row| 2 + (row * 3 + 2) % (tokens - 1)).collect::<Vec<_>>());
    Tensor::arange(tokens, (Kind::Int64, Device::Cpu)).unsqueeze(0).lt_tensor(&lengths.unsqueeze(1))
}

/// Random outputs of exactly the declared needs, as leaves that collect gradients where the towers are trained.
pub fn features(needs: &[Need], seed: u64) -> Features {
    let mut features = Features::new(0..ROWS, ROWS);
    for (at, Need { forward, tokens }) in Need::union(needs).into_iter().enumerate() {
        let seed = seed.wrapping_mul(1000) + 10 * at as u64;
        let leaf = |shape: &[i64], seed| randn(shape, seed).set_requires_grad(forward.is_trained());
        let count = if forward.modality == Modality::Image { PATCHES } else { TOKENS };
        let mask = if forward.modality == Modality::Image { Tensor::ones([ROWS, count], (Kind::Bool, Device::Cpu)) } else { mask(count) };
        let encoded = Encoded {
            embed: leaf(&[ROWS, WIDTH], seed),
            pooled: leaf(&[ROWS, WIDTH], seed + 1),
            tokens: tokens.then(|| Tokens { values: leaf(&[ROWS, count, WIDTH], seed + 2), mask }),
        };
        features.insert_for(forward, encoded);
    }
    features
}

/// A batch that has the view `main` of both towers, every declared view, and labels out of three classes ([`Batch::LABELS`]), one or two a
/// row. Views of one row are alike.
pub fn batch(needs: &[Need]) -> Batch {
    let mut batch = Batch::new(ROWS);
    let images = randn(&[ROWS, 3, 4, 4], 71);
    let lengths = mask(TOKENS);
    let mut rng = Seeded(72);
    let ids: Vec<i64> = (0..ROWS * TOKENS).map(|_| 1 + crate::random::below(&mut rng, VOCAB as u64 - 1) as i64).collect();
    let ids = Tensor::from_slice(&ids).view([ROWS, TOKENS]) * lengths.to_kind(Kind::Int64);
    let main = [Need::image("main"), Need::text("main")];
    for (at, need) in Need::union(needs).iter().chain(&main).enumerate() {
        let view = need.forward.view.clone();
        let added = match need.forward.modality {
            Modality::Image => batch.set_image(view, &images + randn(&[ROWS, 3, 4, 4], 80 + at as u64) * 0.1),
            Modality::Text => batch.set_text(view, ids.shallow_clone()),
        };
        added.expect("a toy view has ROWS rows");
    }
    // Some rows have two labels.
    let labels: Vec<i64> = (0..ROWS).flat_map(|row| [row % 3, if row % 2 == 0 { (row + 1) % 3 } else { -1 }]).collect();
    batch.set_extra(Batch::LABELS, Tensor::from_slice(&labels).view([ROWS, 2])).expect("labels have ROWS rows");
    batch
}

/// Two towers without a non-linearity.
#[derive(Debug)]
pub struct ToyTowers {
    patch: Tensor,
    image: Tensor,
    embedding: Tensor,
    text: Tensor,
}

impl ToyTowers {
    /// Makes the parameters, from libtorch's generator.
    pub fn new(path: &Path<'_>) -> Self {
        let normal = Init::Randn { mean: 0.0, stdev: 0.3 };
        Self {
            patch: path.var("patch", &[12, WIDTH], normal),
            image: path.var("image", &[WIDTH, WIDTH], normal),
            embedding: path.var("embedding", &[VOCAB, WIDTH], normal),
            text: path.var("text", &[WIDTH, WIDTH], normal),
        }
    }

    /// Frozen towers: a teacher.
    fn fixed() -> Self {
        let make = |shape: &[i64], seed| randn(shape, seed) * 0.3;
        Self {
            patch: make(&[12, WIDTH], 61),
            image: make(&[WIDTH, WIDTH], 62),
            embedding: make(&[VOCAB, WIDTH], 63),
            text: make(&[WIDTH, WIDTH], 64),
        }
    }

    /// Encodes the views that `needs` names. The moving average is these towers, without a graph; a teacher is other ones.
    pub fn encode(&self, needs: &[Need], batch: &Batch) -> vlhub_core::Result<Features> {
        let rows = batch.rows();
        let teacher = Self::fixed();
        let mut features = Features::new(0..rows, rows);
        for Need { forward, tokens } in Need::union(needs) {
            let towers = if matches!(forward.weights, Weights::Teacher(_)) { &teacher } else { self };
            let (values, mask, project) = match forward.modality {
                Modality::Image => {
                    let patches = batch.image(&forward.view)?.reshape([rows, PATCHES, 12]);
                    let mask = Tensor::ones([rows, PATCHES], (Kind::Bool, Device::Cpu));
                    (patches.matmul(&towers.patch), mask, &towers.image)
                }
                Modality::Text => {
                    let ids = batch.text(&forward.view)?;
                    // A plugin may have added ids of its own (a mask token) behind the vocabulary.
                    (Tensor::embedding(&towers.embedding, &ids.remainder(VOCAB), -1, false, false), ids.not_equal(0), &towers.text)
                }
            };
            let pooled = masked_mean(&values, &mask);
            let encoded = Encoded { embed: pooled.matmul(project), pooled, tokens: tokens.then_some(Tokens { values, mask }) };
            let encoded = if forward.is_trained() { encoded } else { encoded.map(Tensor::detach) };
            features.insert_for(forward, encoded);
        }
        Ok(features)
    }
}
