//! Laws of object stores.
//!
//! `conformance!()` tries on a store with default options what needs no server: that it refuses what it cannot serve in words. A store's own
//! tests call [`every_law`] with an object that they put into a server on this machine.

use std::io;
use std::path::Path;

use vlhub_core::{Config, ObjectInfo, ObjectSink, ObjectStore, PluginEntry, StoreCx};

use super::{Law, LawOutcome, Verdict, all, ensure};

/// The laws, by name.
pub const LAWS: &[Law<dyn ObjectStore>] = &[("refuses", refuses)];

/// Takes what a store sends, and as much of it as it is told.
#[derive(Debug, Default)]
struct Received {
    begun: Vec<(ObjectInfo, u64)>,
    bytes: Vec<u8>,
    /// After so many bytes it takes no more.
    most: Option<usize>,
    /// Calls after it had refused.
    late: usize,
}

impl ObjectSink for Received {
    fn begin(&mut self, object: &ObjectInfo, from: u64) -> io::Result<()> {
        self.begun.push((object.clone(), from));
        Ok(())
    }
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.most.is_some_and(|most| self.bytes.len() > most) {
            self.late += 1;
        }
        self.bytes.extend_from_slice(bytes);
        match self.most {
            Some(most) if self.bytes.len() > most => Err(io::Error::other("this sink is full")),
            _ => Ok(()),
        }
    }
}

/// An address of nothing is refused in words, and nothing is sent.
fn refuses(entry: &'static PluginEntry<dyn ObjectStore>) -> LawOutcome {
    let config = match all::default_config(entry) {
        Ok(config) => config,
        Err(why) => return LawOutcome::Broken(why),
    };
    let store = match config.build(&StoreCx { folder: Path::new(".") }) {
        Ok(store) => store,
        Err(error) => return LawOutcome::Untried(format!("the default options make no store: {error}")),
    };
    let address = format!("{}://", entry.name);
    let mut taken = Received::default();
    match store.fetch(&address, None, &mut taken) {
        Ok(()) => LawOutcome::Broken(format!("`{address}` names nothing, and was sent")),
        Err(fault) => {
            ensure(!fault.why.trim().is_empty() && taken.bytes.is_empty(), || format!("`{address}` was refused without a word")).into()
        }
    }
}

/// All laws for an object: its address, and its bytes, at least two. `absent` is an address at which there is nothing. What a store cannot do
/// (list, or go on) it may leave.
pub fn every_law(config: &dyn Config<dyn ObjectStore>, address: &str, bytes: &[u8], absent: &str) -> Verdict {
    let store = config.build(&StoreCx { folder: Path::new(".") }).map_err(|error| format!("making it: {error}"))?;
    let fetch = |address: &str, begun: Option<(u64, &str)>, most| {
        let mut taken = Received { most, ..Received::default() };
        let done = store.fetch(address, begun, &mut taken);
        (done, taken)
    };
    let (done, whole) = fetch(address, None, None);
    done.map_err(|fault| format!("whole: {fault}"))?;
    let [(info, 0)] = &whole.begun[..] else { return Err(format!("whole: it begins with {:?}, and once at 0 is wanted", whole.begun)) };
    ensure(whole.bytes == bytes, || format!("whole: {} bytes came, not the {} of the object", whole.bytes.len(), bytes.len()))?;
    ensure(info.length.is_none_or(|length| length == bytes.len() as u64), || format!("whole: it tells a length of {:?}", info.length))?;

    let half = bytes.len() / 2;
    for version in [info.version.as_deref(), Some("\"another\"")] {
        let Some(version) = version else { continue };
        let (done, rest) = fetch(address, Some((half as u64, version)), None);
        done.map_err(|fault| format!("goes on: {fault}"))?;
        let [(again, from)] = &rest.begun[..] else { return Err(format!("goes on: it begins with {:?}", rest.begun)) };
        ensure(*from == 0 || (*from == half as u64 && again == info), || {
            format!("goes on: from byte {half} of version {version}, it begins at {from} of {again:?}")
        })?;
        ensure(rest.bytes == bytes[*from as usize..], || format!("goes on: other bytes than those from {from} on"))?;
    }

    let (done, full) = fetch(address, None, Some(0));
    ensure(done.is_err() && full.late == 0, || "full: a sink that refuses has to end it, with an error".into())?;
    let (done, nothing) = fetch(absent, None, None);
    let fault = done.err().ok_or_else(|| format!("absent: nothing is at `{absent}`, and it was sent"))?;
    ensure(!fault.passes && nothing.bytes.is_empty(), || format!("absent: `{fault}` passes for what may pass"))?;

    let folder = address.rsplit_once('/').map_or(address, |(folder, _)| folder);
    if let Ok(names) = store.list(&format!("{folder}/")) {
        ensure(names.iter().any(|name| name == address), || format!("lists: `{address}` is not among {names:?}"))?;
    }
    Ok(())
}
