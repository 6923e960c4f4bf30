//! Object stores: where files come from that are not on this machine.

use std::fmt::{self, Debug};
use std::io;
use std::path::Path;

/// Files by address, read as a whole. The name of such a plugin is the scheme of its addresses: `s3` serves `s3://BUCKET/KEY`.
///
/// A store sends and lists, and nothing else: the cache, repeating what failed, and checking lengths and digests are the host's business. So
/// it makes one try of each request; what it knows of the object it says before the first byte. Several threads call it at a time.
///
/// # Examples
/// A store of files that are made when they are read, `zeros://COUNT`:
///
/// ```
/// use vlhub_core::{Config, ObjectInfo, ObjectSink, ObjectStore, Result, StoreCx, StoreFault};
///
/// #[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
/// struct Zeros {}
///
/// impl Config<dyn ObjectStore> for Zeros {
///     fn build(&self, _: &StoreCx<'_>) -> Result<Box<dyn ObjectStore>> {
///         Ok(Box::new(Zeros {}))
///     }
/// }
///
/// impl ObjectStore for Zeros {
///     fn fetch(&self, address: &str, begun: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault> {
///         let count = address.strip_prefix("zeros://").and_then(|count| count.parse().ok());
///         let count: u64 = count.ok_or_else(|| StoreFault::lasting(format!("`{address}` is no `zeros://COUNT`")))?;
///         // All files of one length are alike, so any of them can be gone on with.
///         let from = begun.map_or(0, |(from, _)| from);
///         to.begin(&ObjectInfo { length: Some(count), version: Some("1".into()), digest: None }, from)?;
///         to.write(&vec![0; (count - from) as usize])?;
///         Ok(())
///     }
///     fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFault> {
///         Err(StoreFault::lasting(format!("`{prefix}` begins too many addresses to list")))
///     }
/// }
/// ```
///
/// In a plugin crate `register!(dyn ObjectStore, "zeros", Zeros);` lets every source read `zeros://1000`; its options stand in `[store.zeros]`.
pub trait ObjectStore: Debug + Send + Sync {
    /// Sends an object, in one try. `begun` says how many bytes of which [version](ObjectInfo::version) are there already, not 0: a store
    /// that can go on with that very version begins there, any other begins at 0. [`ObjectSink::begin`] is called once, before the first byte.
    ///
    /// # Errors
    /// No such object, no permission, no connection, or a connection that was cut; a sink that takes no more.
    fn fetch(&self, address: &str, begun: Option<(u64, &str)>, to: &mut dyn ObjectSink) -> Result<(), StoreFault>;

    /// The addresses of all objects that begin with `prefix`, an address, perhaps cut within a name. In any order.
    ///
    /// # Errors
    /// A store that cannot list, and as [`ObjectStore::fetch`].
    fn list(&self, prefix: &str) -> Result<Vec<String>, StoreFault>;

    /// What decides beside the address which object is meant, such as the endpoint. What one realm gave is not taken for another's.
    fn realm(&self) -> String {
        String::new()
    }
}

/// What a store is built with.
#[derive(Clone, Copy, Debug)]
pub struct StoreCx<'a> {
    /// Folder of the run file: relative paths in options start here.
    pub folder: &'a Path,
}

/// What a store knows of an object when it begins to send it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Bytes of the whole object.
    pub length: Option<u64>,
    /// What changes when the object does: an ETag, not a weak one. Without it a transfer that was cut begins again.
    pub version: Option<String>,
    /// Of the whole object's bytes.
    pub digest: Option<Digest>,
}

/// A digest that a server tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// MD5, against accidents only.
    Md5([u8; 16]),
    /// CRC-32C (Castagnoli).
    Crc32c(u32),
}

/// Where an object goes.
pub trait ObjectSink {
    /// What will be sent, from byte `from` on: 0, or what was asked for.
    ///
    /// # Errors
    /// It does not fit, or contradicts what was said before; the store returns that.
    fn begin(&mut self, object: &ObjectInfo, from: u64) -> io::Result<()>;

    /// The next bytes.
    ///
    /// # Errors
    /// They cannot be kept; the store returns that.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
}

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreFault {
    /// Whether the same request may succeed in a moment: no answer, a cut, 408, 429, 500, 502, 503, 504.
    pub passes: bool,
    /// For people, with a remedy where there is one, and without secrets.
    pub why: String,
}

impl StoreFault {
    /// One that may pass.
    pub fn passing(why: impl Into<String>) -> Self {
        Self { passes: true, why: why.into() }
    }
    /// One that no further try mends.
    pub fn lasting(why: impl Into<String>) -> Self {
        Self { passes: false, why: why.into() }
    }
}

impl From<io::Error> for StoreFault {
    /// Of the sink, which does not pass.
    fn from(error: io::Error) -> Self {
        Self::lasting(error.to_string())
    }
}

impl fmt::Display for StoreFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}
