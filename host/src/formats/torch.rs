//! The two containers of PyTorch: zip archives since 1.6, and pickles one after another before.

use std::collections::BTreeMap;

use tch::Tensor;

use super::pickle::{self, Stop};
use super::source::ByteSource;
use super::state;
use super::values::{Node, Pickle};
use super::view::{self, Dtype, Storages};
use super::zip::Archive;
use super::{Budget, Checked, Extras, Format, PartChoice};

/// Operations that a pickle may take: each costs at most about a hundred bytes. A large model with its optimiser takes some 100,000.
const OPERATIONS: usize = 4_000_000;
/// What a legacy file begins with.
const MAGIC: &[u8] = &[0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// Tensors by name, what lay beside them, and what the file is.
pub(super) type Content = (Vec<(String, Tensor)>, Extras, Format);

/// Reads a zip archive of PyTorch, or of TorchScript.
pub(super) fn zip(source: &ByteSource<'_>, wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Checked<Content> {
    let archive = Archive::open(source, budget.limits)?;
    let roots: Vec<_> =
        archive.names().filter_map(|name| name.strip_suffix("data.pkl").filter(|root| root.is_empty() || root.ends_with('/'))).collect();
    let root = match roots.as_slice() {
        [root] => (*root).to_owned(),
        [] if archive.names().any(|name| name.ends_with(".npy")) => {
            return Err("this is a NumPy archive (.npz); convert it to safetensors".into());
        }
        [] => {
            let names: Vec<_> = archive.names().take(5).collect();
            return Err(format!("this zip archive is not one of PyTorch: it has no `data.pkl`, but {}", names.join(" ")));
        }
        _ => return Err("it holds more than one `data.pkl`".into()),
    };
    let order = format!("{root}byteorder");
    if archive.names().any(|name| name == order) && archive.bytes(&order, budget)?.trim_ascii() != b"little" {
        return Err("its numbers are big-endian; save it again on a little-endian machine".into());
    }
    let constants = format!("{root}constants.pkl");
    let format = if archive.names().any(|name| name == constants) { Format::TorchScript } else { Format::PyTorch };
    let bytes = archive.bytes(&format!("{root}data.pkl"), budget)?;
    let pickle = pickle::read(&bytes, 0, OPERATIONS).map_err(|stop| match stop {
        Stop::Bad(why) => why,
        Stop::Cut => "its pickle is cut".into(),
    })?;
    let (views, extras) = state::find(&pickle, wanted, budget)?;
    drop(pickle);
    drop(bytes);
    let tensors = view::materialise(views, &Entries { archive, root }, budget)?;
    Ok((tensors, extras, format))
}

struct Entries<'a> {
    archive: Archive<'a>,
    root: String,
}

impl Storages for Entries<'_> {
    fn size(&self, key: &str) -> Checked<u64> {
        self.archive.size(&format!("{}data/{key}", self.root))
    }
    fn load(&self, key: &str, budget: &mut Budget<'_>) -> Checked<Tensor> {
        self.archive.tensor(&format!("{}data/{key}", self.root), budget)
    }
}

/// Reads a file of PyTorch before 1.6: five pickles, then the storages.
pub(super) fn legacy(source: &ByteSource<'_>, wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Checked<Content> {
    // How long the pickles are is not written anywhere: more of the file is read until they end.
    let most = source.size().min(budget.limits.header);
    let mut window = most.min(1 << 20);
    loop {
        let bytes = source.bytes(0, window)?;
        match legacy_head(&bytes, source.size(), wanted, budget) {
            Ok((views, extras, storages)) => {
                drop(bytes);
                let storages = RawPickle { source, places: places(source, storages)? };
                return Ok((view::materialise(views, &storages, budget)?, extras, Format::LegacyPyTorch));
            }
            Err(Stop::Bad(why)) => return Err(why),
            Err(Stop::Cut) if window < most => window = window.saturating_mul(8).min(most),
            Err(Stop::Cut) if window < source.size() => return Err(format!("its pickles take more than {window} bytes")),
            Err(Stop::Cut) => return Err("it is cut within its pickles".into()),
        }
    }
}

/// Where the storages begin, and the keys in their order, with the bytes of a number.
struct Order {
    at: u64,
    keys: Vec<(String, u64)>,
}

type Head = (Vec<(String, view::View)>, Extras, Order);

fn legacy_head(bytes: &[u8], whole: u64, wanted: PartChoice<'_>, budget: &mut Budget<'_>) -> Result<Head, Stop> {
    let magic = pickle::read(bytes, 0, OPERATIONS)?;
    if !matches!(magic.node(magic.root), Node::Long(span) if magic.slice(*span) == MAGIC) {
        return Err("it is a pickle, but not one of PyTorch: save tensors with `torch.save` or as safetensors".to_owned().into());
    }
    let protocol = pickle::read(bytes, magic.end, OPERATIONS)?;
    if !matches!(protocol.node(protocol.root), Node::Int(1001)) {
        return Err("its protocol is not 1001".to_owned().into());
    }
    let system = pickle::read(bytes, protocol.end, OPERATIONS)?;
    let little = match system.node(system.root) {
        Node::Dict(entries) => {
            entries.iter().find(|(key, _)| system.text(*key) == Some("little_endian")).map(|(_, value)| system.node(*value))
        }
        _ => None,
    };
    if !matches!(little, Some(Node::Bool(true))) {
        return Err("its numbers are big-endian, or it does not say".to_owned().into());
    }
    let object = pickle::read(bytes, system.end, OPERATIONS)?;
    let list = pickle::read(bytes, object.end, OPERATIONS)?;
    let keys = keys(&object, &list)?;
    if (list.end as u64).checked_add(keys.len() as u64 * 8).is_none_or(|least| least > whole) {
        return Err("it is cut within its storages".to_owned().into());
    }
    let (views, extras) = state::find(&object, wanted, budget)?;
    Ok((views, extras, Order { at: list.end as u64, keys }))
}

fn keys(object: &Pickle<'_>, list: &Pickle<'_>) -> Checked<Vec<(String, u64)>> {
    let mut widths = BTreeMap::new();
    for storage in &object.storages {
        let width = match storage.dtype {
            Dtype::Known(kind) => kind.elt_size_in_bytes() as u64,
            Dtype::Untyped => 1,
            Dtype::Other => return Err("one of its storages has a type that is not read (complex, quantised)".into()),
        };
        let key = object.text(storage.key).unwrap_or_default();
        if widths.insert(key, width).is_some_and(|before| before != width) {
            return Err(format!("storage `{key}` has two types"));
        }
    }
    let Node::List(items) = list.node(list.root) else { return Err("the keys of its storages are no list".into()) };
    let mut keys = Vec::with_capacity(items.len());
    for item in items {
        let key = list.text(*item).ok_or("the key of a storage is no text")?;
        // Removed: so that a key that comes twice is found.
        let width = widths.remove(key).ok_or_else(|| format!("storage `{}` is listed twice, or nothing refers to it", shorten(key)))?;
        keys.push((key.to_owned(), width));
    }
    match widths.keys().next() {
        Some(key) => Err(format!("storage `{}` is not in the file", shorten(key))),
        None => Ok(keys),
    }
}

fn shorten(key: &str) -> String {
    key.chars().take(60).collect()
}

/// First byte and length of each storage. Each begins with the number of its numbers.
fn places(source: &ByteSource<'_>, order: Order) -> Checked<BTreeMap<String, (u64, u64)>> {
    let mut at = order.at;
    let mut places = BTreeMap::new();
    for (key, width) in order.keys {
        let mut count = [0; 8];
        source.read(at, &mut count)?;
        let length = u64::from_le_bytes(count)
            .checked_mul(width)
            .filter(|length| (at + 8).checked_add(*length).is_some_and(|end| end <= source.size()));
        let length = length.ok_or_else(|| format!("storage `{key}` reaches beyond the file: it is cut"))?;
        places.insert(key, (at + 8, length));
        at += 8 + length;
    }
    if at != source.size() {
        return Err(format!("{} bytes follow the last storage", source.size() - at));
    }
    Ok(places)
}

struct RawPickle<'a> {
    source: &'a ByteSource<'a>,
    places: BTreeMap<String, (u64, u64)>,
}

impl RawPickle<'_> {
    fn place(&self, key: &str) -> Checked<(u64, u64)> {
        self.places.get(key).copied().ok_or_else(|| format!("storage `{key}` is not in the file"))
    }
}

impl Storages for RawPickle<'_> {
    fn size(&self, key: &str) -> Checked<u64> {
        Ok(self.place(key)?.1)
    }
    fn load(&self, key: &str, budget: &mut Budget<'_>) -> Checked<Tensor> {
        let (at, length) = self.place(key)?;
        budget.bytes(length)?;
        self.source.tensor(at, length)
    }
}
