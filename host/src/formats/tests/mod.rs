//! Files of other programs against what those programs say of them; hostile files in [`hostile`]; damage in [`damage`].

mod build;
mod damage;
mod hostile;
mod hostile_pickles;
mod written;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};

use super::{Limits, PartChoice, WeightFile, WeightSet, read, read_part};

#[derive(Deserialize)]
struct Golden {
    cases: BTreeMap<String, Case>,
}

/// What weights.py says of a file.
#[derive(Deserialize)]
struct Case {
    format: String,
    tensors: BTreeMap<String, (String, Vec<i64>, f64, f64)>,
    part: Option<String>,
    epoch: Option<i64>,
    name: Option<String>,
    #[serde(default)]
    optimizer: bool,
    #[serde(default)]
    scaler: bool,
    #[serde(default)]
    others: Vec<String>,
    #[serde(default)]
    skipped: Vec<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/weights")
}

fn golden() -> BTreeMap<String, Case> {
    let text = std::fs::read_to_string(folder().with_extension("json")).expect("weights.json is there");
    serde_json::from_str::<Golden>(&text).expect("weights.json is valid").cases
}

/// The type, the shape, the sum, and the sum weighted by place, as weights.py has them.
fn told(tensor: &Tensor) -> (String, Vec<i64>, f64, f64) {
    let kind = match tensor.kind() {
        Kind::Float => "float32",
        Kind::Double => "float64",
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Int64 => "int64",
        Kind::Int => "int32",
        Kind::Int16 => "int16",
        Kind::Int8 => "int8",
        Kind::Uint8 => "uint8",
        Kind::Bool => "bool",
        _ => "another",
    };
    // Masks hold minus infinity.
    let flat = tensor.to_kind(Kind::Double).reshape([-1]).nan_to_num(0.0, 1000.0, -1000.0);
    let places = Tensor::arange(flat.size()[0], (Kind::Double, tch::Device::Cpu)).remainder(17.0) + 1.0;
    (kind.to_owned(), tensor.size(), flat.sum(Kind::Double).double_value(&[]), (flat * places).sum(Kind::Double).double_value(&[]))
}

fn compare(path: &str, case: &Case, file: &WeightFile) {
    assert_eq!(format!("{:?}", file.format), case.format, "{path}");
    // weights.py names tensors as open_clip does, which takes this off.
    let tensors: Vec<_> = file.tensors.iter().map(|(name, tensor)| (name.replace("module.", ""), tensor)).collect();
    let names: Vec<_> = tensors.iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), case.tensors.len(), "{path}: {names:?}");
    for (name, tensor) in &tensors {
        let (found, wanted) = (told(tensor), case.tensors.get(name).unwrap_or_else(|| panic!("{path} has `{name}`, torch does not")));
        assert_eq!((&found.0, &found.1), (&wanted.0, &wanted.1), "{path}: {name}");
        let near = |left: f64, right: f64| (left - right).abs() <= 1e-9 * right.abs().max(1.0);
        assert!(near(found.2, wanted.2) && near(found.3, wanted.3), "{path}: {name}: {found:?} is not {wanted:?}");
    }
    let extras = &file.extras;
    assert_eq!((&extras.part, extras.epoch, &extras.name), (&case.part, case.epoch, &case.name), "{path}");
    assert_eq!((extras.optimizer, extras.scaler), (case.optimizer, case.scaler), "{path}");
    assert_eq!((&extras.others, &extras.skipped), (&case.others, &case.skipped), "{path}");
    assert_eq!(extras.metadata, case.metadata, "{path}");
}

#[test]
fn files_hold_what_their_makers_say() {
    let cases = golden();
    assert!(cases.len() >= 14, "there are {} cases", cases.len());
    for (path, case) in &cases {
        let file = read(&folder().join(path), &Limits::default()).unwrap_or_else(|error| panic!("{error}"));
        compare(path, case, &file);
    }
}

#[test]
fn tensors_of_one_storage_share_memory() {
    for (path, tied) in [("views.pt", true), ("legacy.pth.tar", true), ("types.pt", false)] {
        let file = read(&folder().join(path), &Limits::default()).expect("it is read");
        // Names are those of the file, wrappers' prefixes too.
        let address = |name: &str| {
            let named = file.tensors.iter().find(|(known, _)| known.rsplit('.').next() == Some(name));
            named.unwrap_or_else(|| panic!("{path} has no {name}")).1.data_ptr()
        };
        let (one, other) = if tied { ("base", "tied") } else { ("float32", "float64") };
        assert_eq!(address(one) == address(other), tied, "{path}");
    }
}

#[test]
fn parts_are_read_by_name() {
    let path = folder().join("ema.bin");
    for wanted in [PartChoice::Part("state_dict_ema"), PartChoice::Set(WeightSet::Average)] {
        let average = read_part(&path, wanted, &Limits::default()).expect("it is there");
        assert_eq!((average.extras.others, average.extras.average), (vec!["model".to_owned()], true));
        assert_eq!(average.tensors[0].1.sum(Kind::Float).double_value(&[]), 0.0);
    }
    let raw = read_part(&path, PartChoice::Set(WeightSet::Raw), &Limits::default()).expect("it is there");
    assert_eq!((raw.extras.part.as_deref(), raw.extras.average), (Some("model"), false));
    let plain = folder().join("trainer.pt");
    let error = read_part(&plain, PartChoice::Set(WeightSet::Average), &Limits::default()).expect_err("there is none").to_string();
    assert!(error.contains("no moving average") && error.contains("trainer.pt"), "{error}");
    let error = read_part(&path, PartChoice::Part("teacher"), &Limits::default()).expect_err("there is none").to_string();
    assert!(error.contains("`teacher`") && error.contains("state_dict_ema") && error.contains("ema.bin"), "{error}");
}

#[test]
fn limits_hold() {
    let read = |path: &str, limits: Limits| read(&folder().join(path), &limits).expect_err(path).to_string();
    let limits = Limits::default;
    for (error, why, part) in [
        (read("types.pt", Limits { tensors: 5, ..limits() }), "tensors of a pickle", "more than 5 tensors"),
        (read("types.safetensors", Limits { tensors: 5, ..limits() }), "tensors of a header", "more than 5 tensors"),
        (read("sharded_bin", Limits { tensors: 3, ..limits() }), "tensors of all shards", "more than 3 tensors"),
        (read("views.pt", Limits { bytes: 100, ..limits() }), "bytes of a storage", "at most 100"),
        (read("types.safetensors", Limits { bytes: 100, ..limits() }), "bytes of a safetensors file", "at most 100"),
        (read("sharded_safetensors", Limits { bytes: 60, ..limits() }), "bytes of all shards", "at most 60"),
        (read("types.pt", Limits { header: 1000, ..limits() }), "bytes of a pickle", "at most 1000"),
        (read("legacy.pth.tar", Limits { header: 1000, ..limits() }), "bytes of legacy pickles", "more than 1000"),
        (read("types.safetensors", Limits { header: 100, ..limits() }), "bytes of a header", "at most 100"),
        (read("sharded_bin", Limits { header: 100, ..limits() }), "bytes of an index", "at most 100"),
        (read("scripted.pt", Limits { depth: 1, ..limits() }), "depth of modules", "more than 1 deep"),
        (read("deflated.pt", Limits { inflated: 100, ..limits() }), "bytes that entries unpack to", "at most 100"),
        (read("views.pt", Limits { expanded: 10, ..limits() }), "bytes beyond the storages", "at most 10"),
    ] {
        assert!(error.contains(part), "{why}: {error}");
    }
}
