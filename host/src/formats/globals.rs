//! The Python objects that a pickle may name, and what becomes of calling them. Nothing else is known, so nothing else can happen.

use tch::Kind;

use super::Checked;
use super::values::{Id, Node, Pickle, StorageRef, Window};
use super::view::{Dtype, RANK};

/// A Python object that weights need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `_rebuild_tensor`, `_rebuild_tensor_v2`: a view of a typed storage.
    Tensor,
    /// `_rebuild_tensor_v3`: the type is the seventh argument.
    TypedTensor,
    /// Gives back its first argument.
    First,
    /// `_rebuild_from_type_v2(function, type, arguments, state)`.
    FromType,
    /// A dict, empty or of pairs.
    Dict,
    /// A class of storages.
    Storage(Dtype),
    Dtype(Dtype),
    /// A class of TorchScript.
    Object,
    /// What it makes is not looked at.
    Opaque,
    /// Tensors of a kind that is not read.
    Unread,
}

/// Looks a name up.
///
/// # Errors
/// The name, if it is not on the list.
pub(super) fn find(module: &str, name: &str) -> Checked<Global> {
    let known = match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Global::Tensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Global::TypedTensor),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Global::First),
        ("torch._tensor", "_rebuild_from_type_v2") => Some(Global::FromType),
        ("torch._utils", "_rebuild_qtensor" | "_rebuild_sparse_tensor" | "_rebuild_nested_tensor" | "_rebuild_meta_tensor_no_storage") => {
            Some(Global::Unread)
        }
        ("torch", "Size" | "Tensor") | ("torch.nn.parameter", "Parameter") => Some(Global::First),
        ("torch.jit._pickle", "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist" | "restore_type_tag") => {
            Some(Global::First)
        }
        ("collections", "OrderedDict" | "defaultdict" | "Counter") => Some(Global::Dict),
        ("torch" | "torch.cuda", name) if name.ends_with("Storage") => Some(Global::Storage(storage_class(name))),
        ("torch.storage", "UntypedStorage" | "_UntypedStorage") => Some(Global::Storage(Dtype::Untyped)),
        ("torch", "device" | "strided" | "per_tensor_affine" | "per_channel_affine" | "contiguous_format" | "preserve_format") => {
            Some(Global::Opaque)
        }
        ("torch", name) => dtype(name).map(Global::Dtype),
        ("torch.serialization", "_get_layout") | ("_codecs", "encode") => Some(Global::Opaque),
        (
            "builtins" | "__builtin__",
            "set" | "frozenset" | "list" | "dict" | "tuple" | "int" | "float" | "bool" | "str" | "bytes" | "bytearray" | "complex",
        ) => Some(Global::Opaque),
        // Options of a training program and its best score, as they lie beside weights.
        ("argparse", "Namespace") | ("pathlib", "PosixPath" | "WindowsPath" | "PurePosixPath" | "PureWindowsPath") => Some(Global::Opaque),
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") | ("numpy", "dtype" | "ndarray") => {
            Some(Global::Opaque)
        }
        (module, _) if module == "__torch__" || module.starts_with("__torch__.") => Some(Global::Object),
        _ => None,
    };
    known.ok_or_else(|| {
        let full: String = format!("{module}.{name}").chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect();
        format!(
            "it names the Python object `{full}`, which weights do not need; nothing of the file was run. \
             If you trust the file, load it in Python and save its `state_dict()` alone, as safetensors"
        )
    })
}

fn storage_class(name: &str) -> Dtype {
    match name {
        "FloatStorage" => Dtype::Known(Kind::Float),
        "DoubleStorage" => Dtype::Known(Kind::Double),
        "HalfStorage" => Dtype::Known(Kind::Half),
        "BFloat16Storage" => Dtype::Known(Kind::BFloat16),
        "LongStorage" => Dtype::Known(Kind::Int64),
        "IntStorage" => Dtype::Known(Kind::Int),
        "ShortStorage" => Dtype::Known(Kind::Int16),
        "CharStorage" => Dtype::Known(Kind::Int8),
        "ByteStorage" => Dtype::Known(Kind::Uint8),
        "BoolStorage" => Dtype::Known(Kind::Bool),
        "UntypedStorage" => Dtype::Untyped,
        _ => Dtype::Other,
    }
}

fn dtype(name: &str) -> Option<Dtype> {
    Some(match name {
        "float32" | "float" => Dtype::Known(Kind::Float),
        "float64" | "double" => Dtype::Known(Kind::Double),
        "float16" | "half" => Dtype::Known(Kind::Half),
        "bfloat16" => Dtype::Known(Kind::BFloat16),
        "int64" | "long" => Dtype::Known(Kind::Int64),
        "int32" | "int" => Dtype::Known(Kind::Int),
        "int16" | "short" => Dtype::Known(Kind::Int16),
        "int8" => Dtype::Known(Kind::Int8),
        "uint8" => Dtype::Known(Kind::Uint8),
        "bool" => Dtype::Known(Kind::Bool),
        "complex32" | "complex64" | "complex128" | "uint16" | "uint32" | "uint64" | "quint8" | "qint8" | "qint32" => Dtype::Other,
        name if name.starts_with("float8_") || name.starts_with("float4_") => Dtype::Other,
        _ => return None,
    })
}

/// What `callee(*arguments)` is, for REDUCE and NEWOBJ alike.
pub(super) fn call(pickle: &mut Pickle<'_>, callee: Id, arguments: Id) -> Checked<Id> {
    let Node::Tuple(items) = pickle.node(arguments) else { return Err("what a call is given is no tuple".into()) };
    // The few that are looked at: a long tuple that is used again and again must not cost each time.
    let (items, first): (Vec<Id>, _) = (items.iter().take(7).copied().collect(), items.first().copied());
    let Node::Global(global) = pickle.node(callee) else { return Err("something is called that is no function".into()) };
    match *global {
        Global::Tensor | Global::TypedTensor => {
            let window = window(pickle, &items, *global == Global::TypedTensor)?;
            Ok(pickle.push(Node::Tensor(window)))
        }
        Global::First => first.ok_or_else(|| "a function that needs an argument has none".into()),
        Global::FromType => {
            let missing = || "_rebuild_from_type_v2 lacks arguments".to_owned();
            let (inner, inner_arguments) = (first.ok_or_else(missing)?, *items.get(2).ok_or_else(missing)?);
            // Only of a plain function: otherwise a file could nest calls without end.
            match pickle.node(inner) {
                Node::Global(Global::Tensor | Global::TypedTensor | Global::First) => call(pickle, inner, inner_arguments),
                _ => Ok(pickle.push(Node::Opaque)),
            }
        }
        Global::Dict => {
            let (first, count) = match first.map(|first| (first, pickle.node(first))) {
                Some((first, Node::List(list))) => (first, list.len()),
                Some((first, Node::Dict(entries))) => (first, entries.len()),
                // Empty, or of a factory.
                _ => return Ok(pickle.push(Node::Dict(Vec::new()))),
            };
            pickle.copy(count)?;
            let pairs = match pickle.node(first) {
                Node::List(list) => list.iter().map(|pair| pair_of(pickle, *pair)).collect::<Checked<Vec<_>>>()?,
                Node::Dict(entries) => entries.clone(),
                _ => Vec::new(),
            };
            Ok(pickle.push(Node::Dict(pairs)))
        }
        Global::Object => Ok(pickle.push(Node::Object { state: None })),
        Global::Unread => Ok(pickle.push(Node::Unread)),
        Global::Opaque | Global::Storage(_) | Global::Dtype(_) => Ok(pickle.push(Node::Opaque)),
    }
}

fn pair_of(pickle: &Pickle<'_>, pair: Id) -> Checked<(Id, Id)> {
    match pickle.node(pair) {
        Node::Tuple(pair) | Node::List(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
        _ => Err("a dict is made of what is no pair".into()),
    }
}

/// Sets the state of an object that was made before.
pub(super) fn build(pickle: &mut Pickle<'_>, target: Id, state: Id) -> Checked<()> {
    match pickle.node(target) {
        Node::Object { .. } => pickle.set_state(target, state),
        // `_metadata` of a state dict, attributes of a parameter, fields of options.
        Node::Dict(_) | Node::Tensor(_) | Node::Unread | Node::Opaque => {}
        _ => return Err("a state is set on what has none".into()),
    }
    Ok(())
}

pub(super) fn int(pickle: &Pickle<'_>, id: Id) -> Checked<i64> {
    match pickle.node(id) {
        Node::Int(number) => Ok(*number),
        Node::Long(_) => Err("its shape, strides or offset are beyond 64 bits".into()),
        _ => Err("its shape, strides or offset are no integers".into()),
    }
}

/// The integers of a shape.
pub(super) fn ints(pickle: &Pickle<'_>, id: Id) -> Checked<Vec<i64>> {
    match pickle.node(id) {
        Node::Tuple(items) | Node::List(items) if items.len() <= RANK => items.iter().map(|item| int(pickle, *item)).collect(),
        _ => Err(format!("its shape or its strides are no tuple of at most {RANK} integers")),
    }
}

fn window(pickle: &Pickle<'_>, items: &[Id], typed: bool) -> Checked<Window> {
    let [storage, offset, size, stride, ..] = items else { return Err("a tensor is made of too few arguments".into()) };
    let Node::Storage(storage) = pickle.node(*storage) else { return Err("a tensor is made of what is no storage".into()) };
    let dtype = if typed {
        match items.get(6).map(|id| pickle.node(*id)) {
            Some(Node::Global(Global::Dtype(dtype))) => *dtype,
            _ => return Err("the type of a tensor is none".into()),
        }
    } else {
        pickle.storages[*storage as usize].dtype
    };
    Ok(Window { storage: *storage, dtype, offset: *offset, size: *size, stride: *stride })
}

/// The storage of `("storage", class, key, device, count[, view])`.
pub(super) fn persistent(pickle: &mut Pickle<'_>, id: Id) -> Checked<Id> {
    let Node::Tuple(items) = pickle.node(id) else { return Err("the name of a storage is no tuple".into()) };
    let (tag, class, key, count, view) = match items.as_slice() {
        [tag, class, key, _, count] => (*tag, *class, *key, *count, None),
        [tag, class, key, _, count, view] => (*tag, *class, *key, *count, Some(*view)),
        _ => return Err("the name of a storage has neither five nor six parts".into()),
    };
    if pickle.text(tag) != Some("storage") {
        return Err("it refers to something outside that is no storage (a whole module, perhaps); save its `state_dict()` alone".into());
    }
    let Node::Global(Global::Storage(dtype)) = pickle.node(class) else { return Err("the class of a storage is none".into()) };
    if pickle.text(key).is_none_or(|key| key.len() > 255) {
        return Err("the key of a storage is no text, or longer than 255 bytes".into());
    }
    let count = int(pickle, count)?;
    let part = match view.map(|view| pickle.node(view)) {
        None | Some(Node::None) => (0, count),
        Some(Node::Tuple(view)) if view.len() == 3 => (int(pickle, view[1])?, int(pickle, view[2])?),
        Some(_) => return Err("a part of a storage is not described by three values".into()),
    };
    let storage = StorageRef { key, dtype: *dtype, count, part };
    pickle.storages.push(storage);
    let place = (pickle.storages.len() - 1) as u32;
    Ok(pickle.push(Node::Storage(place)))
}
