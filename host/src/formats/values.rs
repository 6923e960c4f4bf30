//! What a pickle holds.
//!
//! Values live in one list and refer to each other by index: what a pickle shares stays shared, so that a few bytes cannot become much
//! memory, and what refers to itself is freed like the rest.

use super::Checked;
use super::globals::{self, Global};
use super::view::{Dtype, Storage, View};

/// Bytes of a text that is looked at.
const LONGEST: u32 = 4096;

/// A value, by its place.
pub(super) type Id = u32;

/// Bytes of the pickle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PickleSpan {
    pub from: u32,
    pub length: u32,
}

/// A value.
#[derive(Debug)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Checked to be UTF-8.
    Text(PickleSpan),
    Bytes(PickleSpan),
    /// An integer beyond 64 bits, little-endian.
    Long(PickleSpan),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Global),
    /// An object of TorchScript, and its attributes.
    Object {
        state: Option<Id>,
    },
    /// A storage, by its place in [`Pickle::storages`].
    Storage(u32),
    Tensor(Window),
    /// A tensor of a kind that is not read: quantised, sparse, nested.
    Unread,
    /// Something whose value weights do not need.
    Opaque,
}

/// A tensor whose numbers have not been looked at: a shape that many tensors share is kept once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub storage: u32,
    pub dtype: Dtype,
    pub offset: Id,
    pub size: Id,
    pub stride: Id,
}

/// A storage whose key has not been looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct StorageRef {
    pub key: Id,
    pub dtype: Dtype,
    pub count: i64,
    pub part: (i64, i64),
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    pub storages: Vec<StorageRef>,
    pub root: Id,
    /// Entries that may still be copied.
    copies: usize,
    /// First byte behind the pickle.
    pub end: usize,
}

impl<'a> Pickle<'a> {
    /// Nothing yet; as many entries may be copied as there may be operations.
    pub(super) fn new(bytes: &'a [u8], operations: usize) -> Self {
        Self { bytes, nodes: Vec::new(), storages: Vec::new(), root: 0, copies: operations, end: 0 }
    }

    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id as usize]
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The text at `id`; bytes that are ASCII count as text, as Python 2 wrote it. None if it is longer than [`LONGEST`]: a long text that
    /// is used again and again must not cost each time.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(span) | Node::Bytes(span) if span.length <= LONGEST => std::str::from_utf8(self.slice(*span)).ok(),
            _ => None,
        }
    }

    pub(super) fn slice(&self, span: PickleSpan) -> &[u8] {
        &self.bytes[span.from as usize..(span.from + span.length) as usize]
    }

    /// The window on its storage of a tensor.
    pub(super) fn view(&self, window: &Window) -> Checked<View> {
        let of = self.storages.get(window.storage as usize).ok_or("its storage is missing")?;
        let key = self.text(of.key).ok_or("the key of its storage is no text")?.to_owned();
        let storage = Storage { key, dtype: of.dtype, count: of.count, part: of.part };
        let (size, stride) = (globals::ints(self, window.size)?, globals::ints(self, window.stride)?);
        Ok(View { storage, dtype: window.dtype, offset: globals::int(self, window.offset)?, size, stride })
    }

    /// Allows `count` entries to be copied: otherwise a few bytes could copy a large dict again and again.
    pub(super) fn copy(&mut self, count: usize) -> Checked<()> {
        self.copies = self.copies.checked_sub(count).ok_or("it copies large dicts again and again")?;
        Ok(())
    }

    /// Gives an object its attributes.
    pub(super) fn set_state(&mut self, object: Id, attributes: Id) {
        if let Node::Object { state } = &mut self.nodes[object as usize] {
            *state = Some(attributes);
        }
    }

    pub(super) fn push(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        // The number of operations is limited far below 2^32, and each adds at most two values.
        (self.nodes.len() - 1) as Id
    }
}
