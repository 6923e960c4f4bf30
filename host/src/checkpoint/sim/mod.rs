//! A file system that remembers every operation and can lose power at any of them, after the method of "All File Systems Are Not Created
//! Equal" (Pillai et al., OSDI 2014): of the operations that no `sync` has made durable, any subset may be lost, in any order.

mod crash;
mod real;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::files::fs::{Fs, NewFile};

/// What the disk was told.
#[derive(Clone, Debug)]
pub enum Op {
    /// Entries of a directory change, all at once.
    Entries { dir: usize, edits: Vec<(String, Option<usize>)> },
    /// A file gets a length.
    Reserve { file: usize, size: usize },
    /// Bytes of a file change.
    Write { file: usize, at: usize, bytes: Vec<u8> },
    /// A file or directory becomes durable.
    Sync { node: usize },
}

impl Op {
    fn node(&self) -> usize {
        match self {
            Self::Entries { dir, .. } => *dir,
            Self::Reserve { file, .. } | Self::Write { file, .. } => *file,
            Self::Sync { node } => *node,
        }
    }
}

#[derive(Clone, Debug)]
enum DiskNode {
    Dir(BTreeMap<String, usize>),
    File(Vec<u8>),
}

/// Which operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    None,
    /// The N-th, once.
    Once(usize),
    /// The N-th and all later ones, except removals: a full disk.
    From(usize),
}

#[derive(Debug)]
struct Disk {
    nodes: Vec<DiskNode>,
    journal: Vec<Op>,
    calls: usize,
    fault: Fault,
}

/// The simulated file system. Its root, node 0, is the checkpoint folder.
#[derive(Clone, Debug)]
pub struct Sim {
    disk: Arc<Mutex<Disk>>,
    /// Syncs that this system forgets, to prove that the tests would notice.
    pub forgets: Forgets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forgets {
    Nothing,
    FileSync,
    DirSync,
}

pub const ROOT: &str = "/sim";

impl Sim {
    pub fn new() -> Self {
        Self::of(vec![DiskNode::Dir(BTreeMap::new())])
    }

    fn of(nodes: Vec<DiskNode>) -> Self {
        let disk = Disk { nodes, journal: Vec::new(), calls: 0, fault: Fault::None };
        Self { disk: Arc::new(Mutex::new(disk)), forgets: Forgets::Nothing }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn fail(&self, fault: Fault) {
        let mut disk = self.disk();
        disk.fault = fault;
        disk.calls = 0;
    }

    pub fn calls(&self) -> usize {
        self.disk().calls
    }

    pub fn ops(&self) -> usize {
        self.disk().journal.len()
    }

    /// Operations among the first `prefix` that nothing has made durable by then.
    pub fn pending(&self, prefix: usize) -> Vec<usize> {
        let disk = self.disk();
        let durable = |at: usize| {
            let node = disk.journal[at].node();
            disk.journal[at + 1..prefix].iter().any(|op| matches!(op, Op::Sync { node: synced } if *synced == node))
        };
        (0..prefix).filter(|&at| !matches!(disk.journal[at], Op::Sync { .. }) && !durable(at)).collect()
    }

    /// The system after power was lost behind the first `prefix` operations, without those in `lost`.
    pub fn after_crash(&self, prefix: usize, lost: &[usize]) -> Self {
        let disk = self.disk();
        let blank = |node: &DiskNode| match node {
            DiskNode::Dir(_) => DiskNode::Dir(BTreeMap::new()),
            DiskNode::File(_) => DiskNode::File(Vec::new()),
        };
        let mut nodes: Vec<_> = disk.nodes.iter().map(blank).collect();
        for (at, op) in disk.journal[..prefix].iter().enumerate() {
            if !lost.contains(&at) {
                apply(&mut nodes, op);
            }
        }
        Self::of(nodes)
    }

    fn call(&self, removal: bool) -> io::Result<()> {
        let mut disk = self.disk();
        disk.calls += 1;
        let fails = match disk.fault {
            Fault::None => false,
            Fault::Once(nth) => disk.calls == nth,
            Fault::From(nth) => disk.calls >= nth && !removal,
        };
        if fails { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn apply(nodes: &mut [DiskNode], op: &Op) {
    match (op, &mut nodes[op.node()]) {
        (Op::Entries { edits, .. }, DiskNode::Dir(entries)) => {
            for (name, node) in edits {
                match node {
                    Some(node) => entries.insert(name.clone(), *node),
                    None => entries.remove(name),
                };
            }
        }
        (Op::Reserve { size, .. }, DiskNode::File(bytes)) => bytes.resize(*size, 0),
        (Op::Write { at, bytes: new, .. }, DiskNode::File(bytes)) => {
            bytes.resize(bytes.len().max(at + new.len()), 0);
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        (Op::Sync { .. }, _) => {}
        _ => panic!("{op:?} on a node of another kind"),
    }
}

impl Disk {
    fn find(&self, path: &Path) -> io::Result<usize> {
        let inside = path.strip_prefix(ROOT).expect("every path is below the root");
        let mut node = 0;
        for part in inside {
            let DiskNode::Dir(entries) = &self.nodes[node] else { return Err(io::ErrorKind::NotADirectory.into()) };
            node = *entries.get(&*part.to_string_lossy()).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    fn place(&self, path: &Path) -> io::Result<(usize, String)> {
        let dir = self.find(path.parent().expect("it is below the root"))?;
        Ok((dir, path.file_name().expect("it is below the root").to_string_lossy().into_owned()))
    }

    fn make(&mut self, path: &Path, node: DiskNode) -> io::Result<usize> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let (dir, name) = self.place(path)?;
        self.nodes.push(node);
        let new = self.nodes.len() - 1;
        self.record(Op::Entries { dir, edits: vec![(name, Some(new))] });
        Ok(new)
    }

    fn record(&mut self, op: Op) {
        apply(&mut self.nodes, &op);
        self.journal.push(op);
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (dir, name) = self.place(path)?;
        self.record(Op::Entries { dir, edits: vec![(name, None)] });
        Ok(())
    }
}

impl Fs for Sim {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call(false)?;
        self.disk().make(path, DiskNode::Dir(BTreeMap::new())).map(|_| ())
    }

    fn create(&self, path: &Path, size: u64) -> io::Result<Box<dyn NewFile>> {
        self.call(false)?;
        let mut disk = self.disk();
        let file = disk.make(path, DiskNode::File(Vec::new()))?;
        disk.record(Op::Reserve { file, size: usize::try_from(size).expect("tests are small") });
        Ok(Box::new(SimFile { sim: self.clone(), file, at: 0 }))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.call(false)?;
        let mut disk = self.disk();
        let node = disk.find(path)?;
        if self.forgets != Forgets::DirSync {
            disk.record(Op::Sync { node });
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(false)?;
        let mut disk = self.disk();
        let node = disk.find(from)?;
        if let Ok(there) = disk.find(to)
            && matches!(&disk.nodes[there], DiskNode::Dir(entries) if !entries.is_empty())
        {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        let ((dir, old), (other, new)) = (disk.place(from)?, disk.place(to)?);
        assert_eq!(dir, other, "the protocol renames within one folder");
        disk.record(Op::Entries { dir, edits: vec![(old, None), (new, Some(node))] });
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(true)?;
        let mut disk = self.disk();
        match disk.find(path).map(|node| &disk.nodes[node])? {
            DiskNode::File(_) => disk.unlink(path),
            DiskNode::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call(true)?;
        let mut disk = self.disk();
        match disk.find(path).map(|node| &disk.nodes[node])? {
            DiskNode::Dir(entries) if entries.is_empty() => disk.unlink(path),
            _ => Err(io::ErrorKind::DirectoryNotEmpty.into()),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        let disk = self.disk();
        match &disk.nodes[disk.find(path)?] {
            DiskNode::Dir(entries) => Ok(entries.keys().cloned().collect()),
            DiskNode::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let disk = self.disk();
        match &disk.nodes[disk.find(path)?] {
            DiskNode::File(bytes) => Ok(bytes.clone()),
            DiskNode::Dir(_) => Err(io::ErrorKind::IsADirectory.into()),
        }
    }
}

struct SimFile {
    sim: Sim,
    file: usize,
    at: usize,
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.sim.call(false)?;
        self.sim.disk().record(Op::Write { file: self.file, at: self.at, bytes: bytes.to_vec() });
        self.at += bytes.len();
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl NewFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        self.sim.call(false)?;
        if self.sim.forgets != Forgets::FileSync {
            self.sim.disk().record(Op::Sync { node: self.file });
        }
        Ok(())
    }
}
