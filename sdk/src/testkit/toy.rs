//! Toys: random numbers, features, towers and batches, small enough for every law.

use rand_core::RngCore;
use tch::nn::{Init, Path};
use tch::{Device, Kind, Tensor};
use vlhub_core::{Batch, Encoded, Features, InputSpec, Modality, Need, ObjectiveCx, Teacher, Tokens, Tower, Weights};

use crate::ops::masked_mean;

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

/// A small generator (SplitMix64): a seed is a sequence on every machine.
#[derive(Clone, Debug)]
pub struct Seeded(pub u64);

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }
    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
    fn fill_bytes(&mut self, into: &mut [u8]) {
        for chunk in into.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

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

/// Random outputs of exactly the declared needs, as leaves that collect gradients where the need is of trained towers.
pub fn features(needs: &[Need], seed: u64) -> Features {
    let mut features = Features::new(0..ROWS, ROWS);
    for (at, need) in merged(needs).iter().enumerate() {
        let seed = seed.wrapping_mul(1000) + 10 * at as u64;
        let leaf = |shape: &[i64], seed| randn(shape, seed).set_requires_grad(need.is_trained());
        let count = if need.modality == Modality::Image { PATCHES } else { TOKENS };
        let mask = if need.modality == Modality::Image { Tensor::ones([ROWS, count], (Kind::Bool, Device::Cpu)) } else { mask(count) };
        let encoded = Encoded {
            embed: leaf(&[ROWS, WIDTH], seed),
            pooled: leaf(&[ROWS, WIDTH], seed + 1),
            tokens: need.tokens.then(|| Tokens { values: leaf(&[ROWS, count, WIDTH], seed + 2), mask }),
        };
        features.insert_for(need, encoded);
    }
    features
}

/// One need for each view, with tokens where any asks for them.
pub fn merged(needs: &[Need]) -> Vec<Need> {
    let mut merged: Vec<Need> = Vec::new();
    for need in needs {
        match merged.iter_mut().find(|known| known.same_forward(need)) {
            Some(known) => known.tokens |= need.tokens,
            None => merged.push(need.clone()),
        }
    }
    merged
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
    for (at, need) in merged(needs).iter().chain(&main).enumerate() {
        let added = match need.modality {
            Modality::Image => batch.set_image(need.view.clone(), &images + randn(&[ROWS, 3, 4, 4], 80 + at as u64) * 0.1),
            Modality::Text => batch.set_text(need.view.clone(), ids.shallow_clone()),
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
pub struct Towers {
    patch: Tensor,
    image: Tensor,
    embedding: Tensor,
    text: Tensor,
}

impl Towers {
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

    /// Towers that nothing moves: a teacher.
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
        for need in merged(needs) {
            let towers = if matches!(need.weights, Weights::Teacher(_)) { &teacher } else { self };
            let (values, mask, project) = match need.modality {
                Modality::Image => {
                    let patches = batch.image(&need.view)?.reshape([rows, PATCHES, 12]);
                    let mask = Tensor::ones([rows, PATCHES], (Kind::Bool, Device::Cpu));
                    (patches.matmul(&towers.patch), mask, &towers.image)
                }
                Modality::Text => {
                    let ids = batch.text(&need.view)?;
                    // A plugin may have added ids of its own (a mask token) behind the vocabulary.
                    (Tensor::embedding(&towers.embedding, &ids.remainder(VOCAB), -1, false, false), ids.not_equal(0), &towers.text)
                }
            };
            let pooled = masked_mean(&values, &mask);
            let encoded = Encoded { embed: pooled.matmul(project), pooled, tokens: need.tokens.then_some(Tokens { values, mask }) };
            features.insert_for(&need, if need.is_trained() { encoded } else { encoded.map(Tensor::detach) });
        }
        Ok(features)
    }
}
