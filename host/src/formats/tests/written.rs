//! Files that are written, read back.

use std::collections::BTreeMap;

use serde_json::json;
use tch::{Device, Kind, Tensor};

use super::told;
use crate::formats::{Format, Limits, read, write_pt};

fn samples() -> Vec<(String, Tensor)> {
    let numbers = || Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]);
    let kinds = [Kind::Double, Kind::Half, Kind::BFloat16, Kind::Int64, Kind::Int, Kind::Int16, Kind::Int8, Kind::Uint8, Kind::Bool];
    let mut samples: Vec<_> = kinds.iter().map(|kind| (format!("of.{kind:?}"), numbers().to_kind(*kind))).collect();
    samples.push(("transposed".into(), numbers().tr()));
    samples.push(("scalar".into(), Tensor::from(2.659_f32)));
    samples.push(("empty".into(), Tensor::zeros([0, 4], (Kind::Float, Device::Cpu))));
    samples.push(("long".into(), Tensor::arange(1_100_000, (Kind::Float, Device::Cpu))));
    samples.push(("müller".into(), numbers().set_requires_grad(true)));
    samples
}

#[test]
fn tensors_come_back() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.pt");
    let extras = BTreeMap::from([
        ("epoch".to_owned(), json!(3)),
        ("name".into(), json!("run")),
        ("loss".into(), json!(0.5)),
        ("amp".into(), json!(true)),
    ]);
    for extras in [BTreeMap::new(), extras] {
        write_pt(&path, &samples(), &extras).expect("it is written");
        let back = read(&path, &Limits::default()).expect("it is read");
        assert_eq!(back.format, Format::PyTorch);
        let names: Vec<_> = back.tensors.iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(names, samples().into_iter().map(|(name, _)| name).collect::<Vec<_>>(), "in the order that was given");
        for ((name, left), (_, right)) in back.tensors.iter().zip(samples()) {
            assert_eq!(told(left), told(&right), "{name}");
        }
        assert_eq!(back.extras.part.is_some(), !extras.is_empty());
        assert_eq!((back.extras.epoch, back.extras.name.as_deref()), if extras.is_empty() { (None, None) } else { (Some(3), Some("run")) });
        assert_eq!(back.extras.metadata.len(), if extras.is_empty() { 0 } else { 2 });
    }
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 1, "no temporary file stays behind");
    let bytes = std::fs::read(&path).expect("it is there");
    for (at, _) in bytes.windows(13).enumerate().filter(|(_, name)| *name == b"archive/data/").take(samples().len()) {
        let header = &bytes[at - 4..at];
        let end = at + usize::from(u16::from_le_bytes([header[0], header[1]])) + usize::from(u16::from_le_bytes([header[2], header[3]]));
        assert_eq!(end % 64, 0, "the storage at {end} is aligned");
    }
}

#[test]
fn what_cannot_be_written_leaves_the_old_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("a.pt");
    std::fs::write(&path, b"old").expect("it is written");
    let one = || Tensor::from(1_f32);
    let complex = Tensor::zeros([1], (Kind::ComplexFloat, Device::Cpu));
    let none = BTreeMap::new();
    for (tensors, extras, part) in [
        (vec![("w".to_owned(), one()), ("w".into(), one())], none.clone(), "`w`"),
        (vec![("z".to_owned(), complex)], none, "ComplexFloat"),
        (vec![("w".to_owned(), one())], BTreeMap::from([("args".to_owned(), json!({}))]), "`args`"),
    ] {
        let error = write_pt(&path, &tensors, &extras).expect_err(part).to_string();
        assert!(error.contains(part) && error.contains("a.pt"), "{error}");
    }
    assert_eq!(std::fs::read(&path).expect("it is there"), b"old");
    let error = write_pt(dir.path(), &[], &BTreeMap::new()).expect_err("a folder").to_string();
    assert!(error.contains("not a regular file"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).expect("it is there").count(), 1, "no temporary file stays behind");
}
