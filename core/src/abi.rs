//! What a library at run time and its host must agree on, as data: it is read, twice, before any code of the library runs.
//!
//! Libraries use the Rust ABI. That is sound only if both sides were built by one compiler, for one target, from one set of the crates whose
//! types cross the border. [`Identity`] is a text that can be found in the file without loading it; [`LAYOUT`] folds sizes, alignments and
//! offsets of the types that cross.

use std::mem::{align_of, offset_of, size_of};

use crate::*;

/// First line of an identity.
pub const MAGIC: &str = "VLHUB-PLUGIN/1";
/// Bytes of an identity, zero-padded.
pub const IDENTITY_BYTES: usize = 512;

const TEXT: &str = concat!(
    "VLHUB-PLUGIN/1\nrustc=",
    env!("VLHUB_RUSTC"),
    "\nsdk=",
    env!("CARGO_PKG_VERSION"),
    "\ntorch=",
    env!("VLHUB_TORCH"),
    "\ntarget=",
    env!("VLHUB_TARGET"),
    "\npanic=",
    env!("VLHUB_PANIC"),
    "\nend\n"
);

/// The identity of the binary or library into which this is compiled.
pub const IDENTITY: [u8; IDENTITY_BYTES] = {
    let text = TEXT.as_bytes();
    assert!(text.len() < IDENTITY_BYTES, "the identity text must fit");
    let mut bytes = [0; IDENTITY_BYTES];
    let mut at = 0;
    while at < text.len() {
        bytes[at] = text[at];
        at += 1;
    }
    bytes
};

macro_rules! layout {
    ($($type:ty),* $(,)?) => {{
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        $(
            hash = (hash ^ size_of::<$type>() as u64).wrapping_mul(0x0000_0100_0000_01b3);
            hash = (hash ^ align_of::<$type>() as u64).wrapping_mul(0x0000_0100_0000_01b3);
        )*
        hash
    }};
}

/// Sizes, alignments and offsets of the types that cross the border, folded into one number.
pub const LAYOUT: u64 = layout!(
    PluginEntry<dyn Backbone>,
    PluginEntry<dyn Objective>,
    PluginEntry<dyn Augmentation>,
    PluginEntry<dyn CaptionTransform>,
    PluginEntry<dyn EvalSuite>,
    PluginEntry<dyn Source>,
    PluginEntry<dyn ObjectStore>,
    Exports,
    Origin,
    Batch,
    Features,
    Encoded,
    Tokens,
    Forward,
    Need,
    Weights,
    Teacher,
    Loss,
    Hidden,
    Noise,
    InputSpec,
    Projection,
    Skills<'static>,
    TextSide<'static>,
    Captioning,
    Caption,
    Raw,
    Picture,
    Bad,
    Share,
    LocalFile,
    ObjectInfo,
    Digest,
    StoreFault,
    Wants,
    Sample,
    Metric,
    Report,
    Error,
    tch::Tensor,
    image::RgbImage,
    BackboneCx<'static>,
    ObjectiveCx<'static>,
    AugmentationCx,
    Crop,
    CaptionCx<'static>,
    EvalCx<'static>,
    SourceCx<'static>,
    StoreCx<'static>,
    Host<'static>,
) ^ ((offset_of!(PluginEntry<dyn Objective>, parse) as u64) << 8)
    ^ ((offset_of!(PluginEntry<dyn Objective>, origin) as u64) << 16)
    ^ ((offset_of!(Encoded, tokens) as u64) << 24)
    ^ ((offset_of!(Loss, metrics) as u64) << 32)
    ^ ((offset_of!(Exports, eval) as u64) << 40)
    ^ ((offset_of!(Exports, source) as u64) << 48)
    ^ ((offset_of!(Exports, store) as u64) << 56);

/// The one symbol that a library exports, `VLHUB_PLUGIN`, as data.
#[repr(C)]
pub struct LibraryHeader {
    /// Who built it.
    pub identity: [u8; IDENTITY_BYTES],
    /// [`LAYOUT`] as the library was compiled.
    pub layout: u64,
    /// Hands over what the library registers. Rust ABI: to be called only after both agree.
    pub load: unsafe fn(&Host<'_>) -> Exports,
}

/// What the host hands to a library.
pub struct Host<'a> {
    /// Where logs go.
    pub dispatch: &'a tracing::Dispatch,
}

impl Host<'_> {
    /// Points *this library's* copy of `tracing` at the host's subscriber.
    pub fn adopt_logging(&self) {
        if tracing::dispatcher::set_global_default(self.dispatch.clone()).is_ok() {
            // A fresh copy lets nothing through until its call sites are asked again.
            tracing::callsite::rebuild_interest_cache();
        }
    }
}

/// A parsed identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    fields: Vec<(String, String)>,
}

impl Identity {
    /// The identity of this binary.
    pub fn ours() -> Self {
        Self::read(&IDENTITY)
    }

    /// Finds the identity in the bytes of a library, without loading it.
    ///
    /// # Errors
    /// When there is none, or more than one.
    pub fn scan(file: &[u8]) -> Result<Self> {
        let magic = [MAGIC.as_bytes(), b"\nrustc="].concat();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(next) = file[at..].windows(magic.len()).position(|window| window == magic) {
            let start = at + next;
            let bytes = &file[start..file.len().min(start + IDENTITY_BYTES)];
            // The identity of a header is zero-padded to its full length; a copy of the plain text elsewhere is not.
            if bytes.len() == IDENTITY_BYTES && bytes[TEXT.len().min(IDENTITY_BYTES - 1)..].ends_with(&[0; 16]) {
                found.push(Self::read(bytes));
            }
            at = start + magic.len();
        }
        found.dedup();
        match found.len() {
            1 => Ok(found.remove(0)),
            0 => Err(Error::invalid(
                "it is not a VL Hub plugin: it holds no identity (was it built with `--features dylib`, and does it call `export!()`?)",
            )),
            count => Err(Error::invalid(format!("it holds {count} different identities; a plugin library has exactly one"))),
        }
    }

    /// Another identity with one field changed, for tests.
    pub fn pretend(field: &str, value: &str) -> Self {
        let mut ours = Self::ours();
        for (name, text) in &mut ours.fields {
            if name == field {
                value.clone_into(text);
            }
        }
        ours
    }

    /// The bytes of this identity, as in a [`LibraryHeader`].
    pub fn bytes(&self) -> [u8; IDENTITY_BYTES] {
        let mut text = format!("{MAGIC}\n");
        for (name, value) in &self.fields {
            text += &format!("{name}={value}\n");
        }
        text += "end\n";
        let mut bytes = [0; IDENTITY_BYTES];
        let length = text.len().min(IDENTITY_BYTES);
        bytes[..length].copy_from_slice(&text.as_bytes()[..length]);
        bytes
    }

    /// Whether a library of this identity may be loaded by a host of identity `host`.
    ///
    /// # Errors
    /// Both sides, the fields that differ, and how to rebuild.
    pub fn agrees_with(&self, host: &Self) -> Result<()> {
        let shared = |identity: &Self| matches!(identity.get("torch"), "static" | "unchecked");
        let differs: Vec<&str> =
            host.fields.iter().filter(|(name, value)| self.get(name) != value).map(|(name, _)| name.as_str()).collect();
        if differs.is_empty() && !shared(self) {
            return Ok(());
        }
        let remedy = match differs.first() {
            Some(&"rustc") => format!(
                "rebuild it with the compiler of this host: cargo +{} build --release --features dylib",
                host.get("rustc").split(' ').next().unwrap_or_default()
            ),
            Some(&"sdk") => format!("rebuild it with `vlhub-sdk = \"={}\"` in its Cargo.toml", host.get("sdk")),
            Some(_) => "rebuild it on the system for which this host was built".into(),
            None => {
                "a libtorch that is static or whose version was not checked cannot be shared; build both against one libtorch.so".into()
            }
        };
        Err(Error::invalid(format!(
            "it was built otherwise than this host\n         this host     {host}\n         the library   {self}\n       differs in: {}\n  help: {remedy}",
            if differs.is_empty() { "torch".into() } else { differs.join(", ") }
        )))
    }

    fn get(&self, field: &str) -> &str {
        self.fields.iter().find(|(name, _)| name == field).map_or("", |(_, value)| value)
    }

    fn read(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let lines = text.lines().skip(1).take_while(|line| *line != "end");
        Self { fields: lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts: Vec<_> = self.fields.iter().map(|(name, value)| format!("{name} {value}")).collect();
        f.write_str(&parts.join("   "))
    }
}

/// Whether a library was compiled with the layouts of this host.
///
/// # Errors
/// Both numbers.
pub fn same_layout(theirs: u64) -> Result<()> {
    if theirs == LAYOUT {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "types that cross the border are laid out otherwise than in this host (library {theirs:016x}, host {LAYOUT:016x}); rebuild it with this host's Cargo.lock"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_found_once_and_agrees_with_itself() {
        let mut file = vec![7u8; 4096];
        file[100..100 + IDENTITY_BYTES].copy_from_slice(&IDENTITY);
        let identity = Identity::scan(&file).expect("it is there");
        assert_eq!(identity, Identity::ours());
        identity.agrees_with(&Identity::ours()).expect("it is ours");
        assert_eq!(identity.bytes(), IDENTITY);
    }

    #[test]
    fn refusals_name_the_field_and_the_remedy() {
        for (field, value, wanted) in [
            ("rustc", "1.0.0 (abc)", "cargo +"),
            ("sdk", "9.9.9", "vlhub-sdk = \"="),
            ("torch", "2.0.0", "differs in: torch"),
            ("target", "riscv", "differs in: target"),
        ] {
            let error = Identity::pretend(field, value).agrees_with(&Identity::ours()).expect_err(field).to_string();
            assert!(error.contains(wanted) && error.contains(value), "{field}: {error}");
        }
        assert!(Identity::scan(b"#!/bin/sh\n").is_err(), "a script is no library");
        assert!(same_layout(LAYOUT ^ 1).is_err());
    }
}
