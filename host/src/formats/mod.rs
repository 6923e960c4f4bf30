//! Formats of weight files: safetensors, PyTorch and TorchScript, read as data, whatever they claim to be, and written.
//!
//! Files come from strangers. Nothing in them is run: a pickle is read by a reader that knows a short list of names and builds values
//! alone. Nothing in them is believed: sizes, offsets and counts are checked before memory is taken, and beside the tensors themselves
//! (which share storages as the file does) memory stays within a constant, [`Limits`]. What a file is, its first bytes say, not its name.

mod globals;
mod pickle;
pub(crate) mod safetensors;
pub(crate) mod safetensors_write;
mod shards;
mod sniff;
pub(crate) mod source;
mod state;
#[cfg(test)]
mod tests;
mod torch;
mod torch_write;
mod values;
mod view;
mod zip;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vlhub_core::{Error, Result};

use sniff::Container;
use source::ByteSource;

pub use safetensors::{read_safetensors, read_with_metadata};
pub use safetensors_write::write_safetensors;
pub use shards::FILES;
pub use torch_write::write_pt;

/// A value, or what is wrong with the file; [`read`] adds the path.
pub(crate) type Checked<T> = std::result::Result<T, String>;

/// What was read.
#[derive(Debug)]
pub struct WeightFile {
    /// Tensors on the CPU under unique names, those of the file, in its order (safetensors: sorted). Tensors that share a storage in the file
    /// share memory here, and need not be contiguous: copy before writing into them.
    pub tensors: Vec<(String, Tensor)>,
    /// What kind of file it was.
    pub format: Format,
    /// What lay beside the weights.
    pub extras: Extras,
    /// The file itself, where a folder was named: the weight file or the index in it.
    pub path: PathBuf,
}

/// Kinds of weight files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One safetensors file.
    Safetensors,
    /// An index and several safetensors files.
    ShardedSafetensors,
    /// A zip archive of `torch.save` (PyTorch 1.6 and later).
    PyTorch,
    /// A file of `torch.save` before PyTorch 1.6.
    LegacyPyTorch,
    /// An index and several files of `torch.save`.
    ShardedPyTorch,
    /// An archive of `torch.jit.save`, as OpenAI published CLIP; its code is not looked at.
    TorchScript,
}

/// What lies beside the weights in a checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Epochs that were finished.
    pub epoch: Option<i64>,
    /// Name of the run.
    pub name: Option<String>,
    /// Whether the state of an optimiser is there. It is not read.
    pub optimizer: bool,
    /// Whether the state of a loss scaler is there. It is not read.
    pub scaler: bool,
    /// The part of the file that the weights are from, such as `state_dict`; `None` if they were at its top.
    pub part: Option<String>,
    /// Whether that part is a moving average.
    pub average: bool,
    /// Other parts that hold weights, such as `state_dict_ema`; [`read_part`] reads them.
    pub others: Vec<String>,
    /// Entries among the weights that are no tensors (the first hundred).
    pub skipped: Vec<String>,
    /// Other numbers and texts at the top of a checkpoint, and the metadata of a safetensors file.
    pub metadata: BTreeMap<String, String>,
}

/// The weights as they were trained, or their moving average.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum WeightSet {
    /// The moving average that a run kept of its weights (`[ema]`, timm's `state_dict_ema`).
    Average,
    /// The weights as the optimiser left them.
    Raw,
}

impl WeightSet {
    /// As it is written in options and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Average => "average",
            Self::Raw => "raw",
        }
    }

    /// From how it is written.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Average, Self::Raw].into_iter().find(|set| set.name() == name)
    }
}

/// What of a file is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartChoice<'a> {
    /// The weights as they were trained (`state_dict`, `model_state_dict`, `model`, `module`, whichever is there first), else their average,
    /// else the tensors at the top.
    Any,
    /// One of the two; an error if the file lacks it.
    Set(WeightSet),
    /// The part of a checkpoint of this name, such as `teacher`.
    Part(&'a str),
}

/// How much a file may ask for.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of all storages that are read.
    pub bytes: u64,
    /// Tensors, shards together.
    pub tensors: usize,
    /// Bytes of a header, a pickle, an index, or the directory of an archive.
    pub header: u64,
    /// How deeply dicts and modules may be nested.
    pub depth: usize,
    /// Bytes that compressed entries may unpack to, all together. PyTorch does not compress.
    pub inflated: u64,
    /// Bytes that tensors may show beyond those of their storages, by strides of zero, all together.
    pub expanded: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 << 30, tensors: 200_000, header: 64 << 20, depth: 64, inflated: 256 << 20, expanded: 64 << 20 }
    }
}

/// What is left of the limits while files are read.
pub(crate) struct Budget<'a> {
    limits: &'a Limits,
    bytes: u64,
    tensors: usize,
    inflated: u64,
    expanded: u64,
}

impl<'a> Budget<'a> {
    pub(crate) fn new(limits: &'a Limits) -> Self {
        Self { limits, bytes: 0, tensors: 0, inflated: 0, expanded: 0 }
    }

    fn spend(spent: &mut u64, more: u64, most: u64, what: &str) -> Checked<()> {
        *spent = spent.saturating_add(more);
        if *spent > most { Err(format!("{what} take {spent} bytes; at most {most} are read")) } else { Ok(()) }
    }

    fn bytes(&mut self, more: u64) -> Checked<()> {
        Self::spend(&mut self.bytes, more, self.limits.bytes, "its tensors")
    }

    fn inflated(&mut self, more: u64) -> Checked<()> {
        Self::spend(&mut self.inflated, more, self.limits.inflated, "compressed entries, unpacked,")
    }

    fn expanded(&mut self, more: u64) -> Checked<()> {
        Self::spend(&mut self.expanded, more, self.limits.expanded, "tensors that are larger than their storages")
    }

    fn header(&self, what: &str, bytes: u64) -> Checked<()> {
        let most = self.limits.header;
        if bytes > most { Err(format!("{what} takes {bytes} bytes; at most {most} are read")) } else { Ok(()) }
    }

    fn tensors_at_most(&self, more: usize) -> Checked<()> {
        let most = self.limits.tensors;
        if more > most.saturating_sub(self.tensors) { Err(format!("it holds more than {most} tensors")) } else { Ok(()) }
    }

    fn tensors(&mut self, more: usize) -> Checked<()> {
        self.tensors_at_most(more)?;
        self.tensors += more;
        Ok(())
    }
}

/// Reads a weight file: safetensors, PyTorch (zip or legacy), TorchScript, an index of shards (`*.index.json`), or a folder that holds one
/// of the names that open_clip and Hugging Face use.
///
/// # Errors
/// The file, and what is wrong with it or what it is instead.
pub fn read(path: &Path, limits: &Limits) -> Result<WeightFile> {
    read_part(path, PartChoice::Any, limits)
}

/// [`read`], from a part of a checkpoint.
///
/// # Errors
/// As [`read`]; the part, if the file lacks it, and what it has.
pub fn read_part(path: &Path, wanted: PartChoice<'_>, limits: &Limits) -> Result<WeightFile> {
    let mut budget = Budget::new(limits);
    if path.is_dir() {
        return read_one(&shards::in_folder(path)?, wanted, &mut budget, true);
    }
    read_one(path, wanted, &mut budget, true)
}

/// The metadata of a safetensors file, without its tensors; other files have none that can be read alone.
///
/// # Errors
/// The file, and what is wrong with it.
pub fn metadata(path: &Path, limits: &Limits) -> Result<BTreeMap<String, String>> {
    let source = ByteSource::open(path)?;
    let bad = |why: String| Error::invalid(format!("{}: {why}", path.display()));
    match sniff::sniff(&source).map_err(bad)? {
        Container::Safetensors => safetensors::metadata(&source, &Budget::new(limits)).map_err(bad),
        _ => Ok(BTreeMap::new()),
    }
}

/// Reads one file; with `index`, also the files that it is an index of.
fn read_one(path: &Path, wanted: PartChoice<'_>, budget: &mut Budget<'_>, index: bool) -> Result<WeightFile> {
    let bad = |why: String| Error::invalid(format!("{}: {why}", path.display()));
    let source = ByteSource::open(path)?;
    if index && sniff::sniff(&source).map_err(bad)? == Container::Json {
        let json = budget.header("the index", source.size()).and_then(|()| source.bytes(0, source.size())).map_err(bad)?;
        return shards::read(path, &json, wanted, budget).map(|file| WeightFile { path: path.to_owned(), ..file });
    }
    let (tensors, extras, format) = parse(&source, wanted, budget).map_err(bad)?;
    Ok(WeightFile { tensors, format, extras, path: path.to_owned() })
}

/// Reads one file that is no index.
fn parse(source: &ByteSource<'_>, wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Checked<torch::Content> {
    let content = match sniff::sniff(source)? {
        Container::Safetensors if matches!(wanted, PartChoice::Part(_)) => return Err("a safetensors file has no parts".into()),
        Container::Safetensors => {
            let (tensors, metadata) = safetensors::read(source, budget).map_err(|why| format!("not a valid safetensors file: {why}"))?;
            (tensors, Extras { metadata, ..Extras::default() }, Format::Safetensors)
        }
        Container::Zip => torch::zip(source, wanted, budget)?,
        Container::Pickles => torch::legacy(source, wanted, budget)?,
        Container::Json => return Err("a shard is itself an index, or another JSON file".into()),
    };
    let mut seen = BTreeSet::new();
    match content.0.iter().find(|(name, _)| !seen.insert(name)) {
        Some((twice, _)) => Err(format!("two tensors are called `{twice}`")),
        None => Ok(content),
    }
}
