//! Objectives against what their reference implementation computes: inputs of the worked examples, and the cases of a golden file.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tch::Tensor;
use vlhub_core::{Encoded, Features, Modality};

/// `I[i][j] = sin(.5 + 1.3 i + .7 j)` and `T[i][j] = cos(.2 + .9 i + 1.1 j)`, 4 rows of 8, float64: the inputs of every worked example.
pub fn waves() -> (Tensor, Tensor) {
    let wave = |value: &dyn Fn(f64, f64) -> f64| {
        let values: Vec<f64> = (0..32).map(|at| value(f64::from(at / 8), f64::from(at % 8))).collect();
        Tensor::from_slice(&values).view([4, 8])
    };
    (wave(&|i, j| (0.5 + 1.3 * i + 0.7 * j).sin()), wave(&|i, j| (0.2 + 0.9 * i + 1.1 * j).cos()))
}

/// [`waves`] in float32.
pub fn float_waves() -> (Tensor, Tensor) {
    let (image, text) = waves();
    (image.to_kind(tch::Kind::Float), text.to_kind(tch::Kind::Float))
}

/// Outputs of a tower of which an objective reads the embedding `[N, D]`; the pooled output is the same.
pub fn encoded(embed: &Tensor) -> Encoded {
    Encoded { embed: embed.shallow_clone(), pooled: embed.shallow_clone(), tokens: None }
}

/// Features of the view `main` of both towers, `[N, D]` each.
pub fn pair_features(image: &Tensor, text: &Tensor) -> Features {
    let rows = image.size()[0];
    let mut features = Features::new(0..rows, rows);
    features.insert(Modality::Image, "main", encoded(image));
    features.insert(Modality::Text, "main", encoded(text));
    features
}

/// Reads a golden file, `tests/golden/NAME.json` of the repository. `manifest` is the crate's `env!("CARGO_MANIFEST_DIR")`.
///
/// # Panics
/// When the file is not there or not of this form; its script `tests/golden/NAME.py` writes it.
pub fn read<T: DeserializeOwned>(manifest: &str, name: &str) -> T {
    let path = Path::new(manifest).join("../../tests/golden").join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("tests/golden/{name}.py writes {}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The list under `key` of a golden file, of at least two cases; see [`read`].
///
/// # Panics
/// When the file has no such list.
pub fn cases(manifest: &str, name: &str, key: &str) -> Vec<Value> {
    let file: Value = read(manifest, name);
    let cases = file[key].as_array().unwrap_or_else(|| panic!("`{key}` of {name}.json is a list")).clone();
    assert!(cases.len() >= 2, "{name}.json has cases");
    cases
}

/// A number of a case.
///
/// # Panics
/// When it is none.
pub fn number(case: &Value, key: &str) -> f64 {
    case[key].as_f64().unwrap_or_else(|| panic!("`{key}` is a number"))
}

/// A matrix of a case, a list of rows, as float32 `[R, C]`.
///
/// # Panics
/// When it is none.
pub fn matrix(case: &Value, key: &str) -> Tensor {
    let rows: Vec<Vec<f32>> = serde_json::from_value(case[key].clone()).unwrap_or_else(|error| panic!("`{key}` is a matrix: {error}"));
    Tensor::stack(&rows.iter().map(|row| Tensor::from_slice(row)).collect::<Vec<_>>(), 0)
}

/// Holds a number to `tolerance` of the expected one, or of 1 if that is larger.
///
/// # Panics
/// When it is farther off.
#[track_caller]
pub fn near(actual: f64, expected: f64, tolerance: f64, what: &str) {
    let off = (actual - expected).abs();
    assert!(off <= tolerance * expected.abs().max(1.0), "{what}: {actual} is not {expected}, off by {off:e}");
}

/// Holds a tensor to `tolerance` of the largest element of the expected one.
///
/// # Panics
/// When an element is farther off.
#[track_caller]
pub fn close(actual: &Tensor, expected: &Tensor, tolerance: f64, what: &str) {
    let off = (actual.detach() - expected).abs().max().double_value(&[]) / expected.abs().max().double_value(&[]);
    assert!(off <= tolerance, "{what} is off by {off:e} of its largest element");
}
