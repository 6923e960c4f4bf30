//! Writes tensors as safetensors files, in pieces.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};
use std::path::Path;

use tch::{Device, Kind, Tensor};
use vlhub_core::{Error, Result};
use xxhash_rust::xxh3::Xxh3;

use super::safetensors::KINDS;
use crate::files::replace;

/// Bytes that are copied out of libtorch at a time.
const PIECE: usize = 4 << 20;

/// Writes tensors as one safetensors file that replaces `path` only once it is complete and on disk.
///
/// # Errors
/// The file; two tensors of one name; a type that safetensors does not have.
pub fn write_safetensors(path: &Path, tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<()> {
    let layout = Layout::new(tensors, metadata).map_err(|error| error.within(path.display().to_string()))?;
    replace(path, layout.size(), &mut |to| layout.write(tensors, to).map(drop))
}

/// Where each tensor goes in a file.
pub(crate) struct Layout {
    /// Indices into the tensors, in file order.
    order: Vec<usize>,
    header: Vec<u8>,
    data: u64,
}

impl Layout {
    /// Lays out tensors: wide types first, so that every tensor is aligned, then by name.
    pub(crate) fn new(tensors: &[(String, Tensor)], metadata: &BTreeMap<String, String>) -> Result<Self> {
        let mut seen = BTreeSet::new();
        if let Some((twice, _)) = tensors.iter().find(|(name, _)| !seen.insert(name) || name == "__metadata__") {
            return Err(Error::invalid(format!("two tensors are called `{twice}`, or the name is reserved; names in a file are unique")));
        }
        let mut order: Vec<usize> = (0..tensors.len()).collect();
        order.sort_by_key(|&at| (std::cmp::Reverse(tensors[at].1.kind().elt_size_in_bytes()), &tensors[at].0));
        let mut header = serde_json::Map::new();
        let mut about = metadata.clone();
        about.entry("format".into()).or_insert_with(|| "pt".into());
        header.insert("__metadata__".into(), serde_json::json!(about));
        let mut end = 0;
        for &at in &order {
            let (name, tensor) = &tensors[at];
            let kind = tensor.f_kind()?;
            let dtype =
                dtype(kind).ok_or_else(|| Error::invalid(format!("tensor `{name}` has type {kind:?}, which safetensors does not have")))?;
            let start = end;
            end += (tensor.numel() * kind.elt_size_in_bytes()) as u64;
            header.insert(name.clone(), serde_json::json!({"dtype": dtype, "shape": tensor.size(), "data_offsets": [start, end]}));
        }
        let mut header = serde_json::to_vec(&header).map_err(|error| Error::invalid(error.to_string()))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        Ok(Self { order, header, data: end })
    }

    /// Bytes of the whole file.
    pub(crate) fn size(&self) -> u64 {
        8 + self.header.len() as u64 + self.data
    }

    /// Writes the file; returns the hash of its bytes. At most one tensor is copied to the CPU, and [`PIECE`] bytes of it, at a time.
    pub(crate) fn write(&self, tensors: &[(String, Tensor)], to: &mut dyn Write) -> io::Result<u128> {
        let mut hash = Xxh3::new();
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            to.write_all(bytes)
        };
        put(&(self.header.len() as u64).to_le_bytes())?;
        put(&self.header)?;
        for &at in &self.order {
            pieces(&tensors[at].1, &mut put)?;
        }
        Ok(hash.digest128())
    }
}

/// Gives the bytes of a tensor to `put`, row by row, [`PIECE`] at a time.
pub(super) fn pieces(tensor: &Tensor, put: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let flat = tch::no_grad(|| tensor.f_detach()?.f_to_device(Device::Cpu)?.f_contiguous()?.f_view([-1])).map_err(of_torch)?;
    let width = flat.f_kind().map_err(of_torch)?.elt_size_in_bytes();
    let (count, step) = (flat.numel(), PIECE / width);
    let mut piece = Vec::new();
    for start in (0..count).step_by(step) {
        let length = step.min(count - start);
        piece.resize(length * width, 0);
        let part = flat.f_narrow(0, start as i64, length as i64).map_err(of_torch)?;
        part.f_copy_data_u8(&mut piece, length).map_err(of_torch)?;
        put(&piece)?;
    }
    Ok(())
}

fn of_torch(error: tch::TchError) -> io::Error {
    io::Error::other(Error::from(error).to_string())
}

fn dtype(kind: Kind) -> Option<&'static str> {
    KINDS.iter().find(|(known, _)| *known == kind).map(|(_, dtype)| *dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::read_safetensors;
    use crate::formats::safetensors::of_ours;
    use crate::formats::source::ByteSource;

    fn samples() -> Vec<(String, Tensor)> {
        vec![
            ("visual.proj".into(), Tensor::arange(6, (Kind::Float, Device::Cpu)).view([2, 3]).tr()),
            ("logit_scale".into(), Tensor::from(2.659_f64)),
            ("mask".into(), Tensor::from_slice(&[true, false, true])),
            ("step".into(), Tensor::from(7_i64)),
            ("empty".into(), Tensor::zeros([0, 4], (Kind::Float, Device::Cpu))),
            ("half".into(), Tensor::from_slice(&[1.5_f32, -2.0]).to_kind(Kind::BFloat16)),
        ]
    }

    #[test]
    fn tensors_come_back_with_type_shape_and_values() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.safetensors");
        write_safetensors(&path, &samples(), &BTreeMap::new()).expect("it is written");
        let back: BTreeMap<_, _> = read_safetensors(&path).expect("it is read").into_iter().collect();
        assert_eq!(back.len(), samples().len());
        for (name, tensor) in samples() {
            assert_eq!(back[&name].kind(), tensor.kind(), "{name}");
            assert_eq!(back[&name].size(), tensor.size(), "{name}");
            assert!(back[&name].equal(&tensor), "{name}");
        }
        let names: Vec<_> = std::fs::read_dir(dir.path()).expect("it is there").collect();
        assert_eq!(names.len(), 1, "no temporary file stays behind");
    }

    #[test]
    fn a_tensor_longer_than_one_piece_is_whole() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("long.safetensors");
        let long = Tensor::arange((PIECE / 8 * 2 + 5) as i64, (Kind::Int64, Device::Cpu));
        write_safetensors(&path, &[("long".into(), long.shallow_clone())], &BTreeMap::new()).expect("it is written");
        assert!(read_safetensors(&path).expect("it is read")[0].1.equal(&long));
    }

    #[test]
    fn hostile_files_are_refused_by_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |header: &str, data: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend_from_slice(header.as_bytes());
            bytes.resize(bytes.len() + data, 0);
            bytes
        };
        let one = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}"#;
        assert!(of_ours(&ByteSource::Bytes(&file(one, 8))).is_ok(), "the base of the cases below is sound");
        for (why, bytes) in [
            ("an empty file", Vec::new()),
            ("a cut length", vec![1, 2, 3]),
            ("a header longer than the file", u64::MAX.to_le_bytes().to_vec()),
            ("a header of 200 MB", file(one, 8).splice(0..8, 200_000_000_u64.to_le_bytes()).chain(Vec::new()).collect()),
            ("a cut header", file(one, 0)[..20].to_vec()),
            ("a header that is no JSON", file("{\"a\":", 0)),
            ("missing data", file(one, 4)),
            ("data that nothing names", file(one, 12)),
            (
                "overlapping tensors",
                file(r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#, 12),
            ),
            ("a shape that overflows", file(r#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,2],"data_offsets":[0,8]}}"#, 8)),
            ("a type that libtorch lacks", file(r#"{"a":{"dtype":"F8_E8M0","shape":[2],"data_offsets":[0,2]}}"#, 2)),
        ] {
            let path = dir.path().join("hostile.safetensors");
            std::fs::write(&path, bytes).expect("it is written");
            let error = read_safetensors(&path).expect_err(why).to_string();
            assert!(error.contains("hostile.safetensors"), "{why}: {error}");
        }
        let error = read_safetensors(&dir.path().join("none")).expect_err("no such file").to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn names_must_be_unique_and_types_known() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.safetensors");
        let one = || Tensor::from(1_f32);
        let error = write_safetensors(&path, &[("w".into(), one()), ("w".into(), one())], &BTreeMap::new()).expect_err("twice").to_string();
        assert!(error.contains("`w`"), "{error}");
        let complex = Tensor::zeros([1], (Kind::ComplexFloat, Device::Cpu));
        let error = write_safetensors(&path, &[("z".into(), complex)], &BTreeMap::new()).expect_err("complex").to_string();
        assert!(error.contains("`z`") && error.contains("ComplexFloat"), "{error}");
        assert!(!path.exists(), "nothing is left behind");
    }
}
