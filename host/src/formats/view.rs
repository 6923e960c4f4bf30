//! Storages and the tensors that look at them, as a pickle describes them; checked before libtorch sees them.

use std::collections::{HashMap, HashSet};

use tch::{Device, Kind, Tensor};

use super::source::{of_torch, truths};
use super::{Budget, Checked};

/// Dimensions that a tensor may have.
pub(super) const RANK: usize = 32;

/// The type of the numbers of a storage, or of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    Known(Kind),
    /// Bytes; the tensor says what they are.
    Untyped,
    /// Complex, quantised, unsigned beyond 8 bits, and so on.
    Other,
}

/// A storage, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Storage {
    /// Its name in the file.
    pub key: String,
    pub dtype: Dtype,
    /// Numbers in the whole storage.
    pub count: i64,
    /// First number of the part, and how many the part has.
    pub part: (i64, i64),
}

/// A tensor, as a window on a storage.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub storage: Storage,
    pub dtype: Dtype,
    pub offset: i64,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

/// Bytes of a tensor whose numbers follow one another.
pub(super) fn contiguous_bytes(shape: &[i64], kind: Kind) -> Checked<u64> {
    if shape.len() > RANK {
        return Err(format!("it has {} dimensions; at most {RANK} are read", shape.len()));
    }
    if let Some(bad) = shape.iter().find(|n| **n < 0) {
        return Err(format!("its shape {shape:?} has the negative size {bad}"));
    }
    // Sizes of zero are skipped, so that the sizes beside them cannot overflow unseen.
    let whole = shape.iter().filter(|n| **n > 0).try_fold(kind.elt_size_in_bytes() as i64, |bytes, n| bytes.checked_mul(*n));
    let whole = whole.ok_or_else(|| format!("its shape {shape:?} overflows"))?;
    Ok(if shape.contains(&0) { 0 } else { whole as u64 })
}

impl View {
    /// The type of the tensor's numbers.
    fn kind(&self) -> Checked<Kind> {
        match self.dtype {
            Dtype::Known(kind) => Ok(kind),
            Dtype::Untyped => Err("its storage has no type, and neither has it".into()),
            Dtype::Other => Err("its type is not read (complex, quantised, 8-bit floats, or unsigned beyond 8 bits)".into()),
        }
    }

    /// Refuses a window that leaves its storage; returns the kind and the numbers that it shows beyond those of its storage.
    fn check(&self) -> Checked<(Kind, u64)> {
        let kind = self.kind()?;
        let storage = &self.storage;
        let (size, stride) = (&self.size, &self.stride);
        if size.len() != stride.len() {
            return Err(format!("its shape {size:?} and its strides {stride:?} differ in length"));
        }
        let bytes = contiguous_bytes(size, kind)?;
        if self.offset < 0 || stride.iter().any(|n| *n < 0) {
            return Err(format!("its offset {} or its strides {stride:?} are negative", self.offset));
        }
        if bytes == 0 {
            return Ok((kind, 0));
        }
        let last = size.iter().zip(stride).try_fold(self.offset, |last, (n, step)| last.checked_add((n - 1).checked_mul(*step)?));
        let last = last.ok_or_else(|| format!("its shape {size:?} with strides {stride:?} overflows"))?;
        let width = kind.elt_size_in_bytes() as i64;
        let held = match storage.dtype {
            Dtype::Untyped => storage.part.1 / width,
            dtype if dtype == self.dtype => storage.part.1,
            _ => return Err(format!("its type {kind:?} is not that of its storage")),
        };
        if last >= held {
            return Err(format!("it needs number {last} of its storage `{}`, which has {held}", storage.key));
        }
        Ok((kind, bytes.saturating_sub(held as u64 * width as u64)))
    }
}

/// Where the bytes of a storage are.
pub(super) trait Storages {
    /// Bytes of storage `key`.
    fn size(&self, key: &str) -> Checked<u64>;
    /// Storage `key` as a tensor of bytes.
    fn load(&self, key: &str, budget: &mut Budget<'_>) -> Checked<Tensor>;
}

/// Tensors for views. A storage is read once, when the first tensor needs it; tensors of one storage share memory.
pub(super) fn materialise(views: Vec<(String, View)>, from: &dyn Storages, budget: &mut Budget<'_>) -> Checked<Vec<(String, Tensor)>> {
    budget.tensors(views.len())?;
    // Everything is checked before the first storage is read.
    let mut kinds = Vec::with_capacity(views.len());
    for (name, view) in &views {
        let within = |why: String| format!("tensor `{name}`: {why}");
        // The storage first: what follows counts on its size.
        held(&view.storage, from).map_err(within)?;
        let (kind, excess) = view.check().map_err(within)?;
        budget.expanded(excess).map_err(within)?;
        kinds.push(kind);
    }
    let mut loaded = LoadedStorages::default();
    let mut tensors = Vec::with_capacity(views.len());
    for ((name, view), kind) in views.into_iter().zip(kinds) {
        let tensor = if view.size.contains(&0) {
            Tensor::f_empty(view.size.as_slice(), (kind, Device::Cpu)).map_err(of_torch)
        } else {
            loaded.get(&view.storage.key, kind, from, budget).and_then(|bytes| window(bytes, &view, kind))
        };
        tensors.push((name.clone(), tensor.map_err(|why| format!("tensor `{name}`: {why}"))?));
    }
    Ok(tensors)
}

/// Storages that are in memory.
#[derive(Default)]
struct LoadedStorages {
    bytes: HashMap<String, Tensor>,
    truths: HashSet<String>,
}

impl LoadedStorages {
    fn get(&mut self, key: &str, kind: Kind, from: &dyn Storages, budget: &mut Budget<'_>) -> Checked<&Tensor> {
        if !self.bytes.contains_key(key) {
            self.bytes.insert(key.to_owned(), from.load(key, budget)?);
        }
        let bytes = &self.bytes[key];
        // Once a storage, not once a tensor: a file may have many tensors on one storage.
        if kind == Kind::Bool && self.truths.insert(key.to_owned()) {
            truths(bytes)?;
        }
        Ok(bytes)
    }
}

/// Refuses a storage that claims more than the file has of it.
fn held(storage: &Storage, from: &dyn Storages) -> Checked<()> {
    let width = match storage.dtype {
        Dtype::Known(kind) => kind.elt_size_in_bytes() as i64,
        Dtype::Untyped | Dtype::Other => 1,
    };
    let (claimed, there) = (storage.count.checked_mul(width).filter(|bytes| *bytes >= 0), from.size(&storage.key)?);
    let inside =
        storage.part.0 >= 0 && storage.part.1 >= 0 && storage.part.0.checked_add(storage.part.1).is_some_and(|end| end <= storage.count);
    match claimed {
        Some(bytes) if bytes as u64 <= there && inside => Ok(()),
        _ => Err(format!("storage `{}` claims {} numbers, but the file has {there} bytes of it", storage.key, storage.count)),
    }
}

fn window(bytes: &Tensor, view: &View, kind: Kind) -> Checked<Tensor> {
    let storage = &view.storage;
    let width = kind.elt_size_in_bytes() as i64;
    let unit = if storage.dtype == Dtype::Untyped { 1 } else { width };
    let (from, length) = (storage.part.0 * unit, storage.part.1 * unit);
    // A storage without type may end within a number; the numbers that are seen do not.
    let skip = view.offset * width;
    let rest = (length - skip) / width * width;
    let part = bytes.f_narrow(0, from + skip, rest).and_then(|part| part.f_view_dtype(kind));
    // Without an offset, the one of the narrowed tensor holds.
    part.and_then(|part| part.f_as_strided(view.size.as_slice(), view.stride.as_slice(), None)).map_err(of_torch)
}
