//! Plugins by name. A binary, or a library, knows what was compiled into it; the host merges what the libraries know into one [`Registry`].

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::PathBuf;

use crate::guard;
use crate::*;

/// One of the seven things a plugin can be. Implemented for `dyn Backbone`, `dyn Objective`, … and for nothing else.
pub trait Kind: 'static {
    /// As in `vlhub plugins list objective`.
    const NAME: &'static str;
    /// What a plugin of this kind is built with.
    type Cx<'a>;
    /// Wraps a plugin so that a panic becomes an error. Runs in the library that built it.
    fn guard(inner: Box<Self>, name: &'static str) -> Box<Self>;
    #[doc(hidden)]
    fn table(registry: &Registry) -> &BTreeMap<&'static str, Listed<Self>>;
    #[doc(hidden)]
    fn table_mut(registry: &mut Registry) -> &mut BTreeMap<&'static str, Listed<Self>>;
    #[doc(hidden)]
    fn here() -> Vec<&'static PluginEntry<Self>>;
}

/// One registered plugin: a constant in the binary or library that links it.
pub struct PluginEntry<K: Kind + ?Sized> {
    /// Its name.
    pub name: &'static str,
    /// JSON schema of its options, as text: summary, fields, types, defaults, docs.
    pub schema: fn() -> String,
    /// Its options when the user gives none.
    pub defaults: fn() -> Box<dyn erased_serde::Serialize>,
    /// Parses complete options.
    pub parse: Parse<K>,
    /// Where it was registered.
    pub origin: Origin,
}

/// Parses complete options of a plugin.
pub type Parse<K> = fn(&mut dyn erased_serde::Deserializer<'_>) -> Result<Box<dyn Config<K>>, erased_serde::Error>;

/// Parsed options: they can be written back to the run's folder, and they can build the plugin.
pub trait Config<K: Kind + ?Sized>: erased_serde::Serialize + Debug + Send + Sync {
    /// Makes the plugin.
    fn build(&self, cx: &K::Cx<'_>) -> Result<Box<K>>;
}

/// Where a plugin was registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Its crate.
    pub package: &'static str,
    /// The crate's version.
    pub version: &'static str,
    /// The source file.
    pub file: &'static str,
    /// The line of `register!`.
    pub line: u32,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} · {}:{}", self.package, self.version, self.file, self.line)
    }
}

/// How a plugin came into this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// It was linked into the program.
    Linked,
    /// It came with a library.
    Library(PathBuf),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linked => f.write_str("built in"),
            Self::Library(path) => write!(f, "{}", path.display()),
        }
    }
}

/// An entry and how it came here.
pub struct Listed<K: Kind + ?Sized> {
    /// The entry.
    pub entry: &'static PluginEntry<K>,
    /// Built in, or from a library.
    pub provenance: Provenance,
}

impl<K: Kind + ?Sized> Clone for Listed<K> {
    fn clone(&self) -> Self {
        Self { entry: self.entry, provenance: self.provenance.clone() }
    }
}

macro_rules! kinds {
    ($($field:ident: $kind:ident, $name:literal, $cx:ty;)*) => {
        /// Everything that one binary or library registers.
        #[derive(Default)]
        pub struct Exports {
            $(
                #[doc = concat!("Entries of kind ", $name, ".")]
                pub $field: Vec<&'static PluginEntry<dyn $kind>>,
            )*
        }

        /// Every plugin that can be named in a run file.
        #[derive(Clone, Default)]
        pub struct Registry {
            $($field: BTreeMap<&'static str, Listed<dyn $kind>>,)*
        }

        $(
            inventory::collect!(PluginEntry<dyn $kind>);

            impl Kind for dyn $kind {
                const NAME: &'static str = $name;
                type Cx<'a> = $cx;
                fn guard(inner: Box<Self>, name: &'static str) -> Box<Self> {
                    guard::Wrap::wrap(inner, name)
                }
                fn table(registry: &Registry) -> &BTreeMap<&'static str, Listed<Self>> {
                    &registry.$field
                }
                fn table_mut(registry: &mut Registry) -> &mut BTreeMap<&'static str, Listed<Self>> {
                    &mut registry.$field
                }
                fn here() -> Vec<&'static PluginEntry<Self>> {
                    inventory::iter::<PluginEntry<dyn $kind>>().collect()
                }
            }
        )*

        /// Everything registered in the binary or library into which this call was compiled.
        pub fn registered_here() -> Exports {
            Exports { $($field: <dyn $kind>::here(),)* }
        }

        impl Exports {
            /// What `package` registered itself; not what a crate linked beside it may have registered.
            pub fn only_from(mut self, package: &str) -> Self {
                $(self.$field.retain(|entry| entry.origin.package == package);)*
                self
            }
        }

        impl Registry {
            /// Adds what a binary or library exports.
            ///
            /// # Errors
            /// [`Error::Duplicate`] names both origins; the registry is then left as it was.
            pub fn merge(&mut self, exports: Exports, provenance: &Provenance) -> Result<()> {
                $(self.vacant(&exports.$field, provenance)?;)*
                $(for entry in exports.$field {
                    self.$field.insert(entry.name, Listed { entry, provenance: provenance.clone() });
                })*
                Ok(())
            }

            /// Calls `visit` with the kind, name, summary text, schema, origin and provenance of every plugin.
            pub fn for_each(&self, mut visit: impl FnMut(About<'_>)) {
                $(for listed in self.$field.values() {
                    visit(About::of(listed));
                })*
            }

            /// Names of the kinds, in a fixed order.
            pub const KINDS: &'static [&'static str] = &[$($name),*];
        }
    };
}

kinds! {
    backbone: Backbone, "backbone", BackboneCx<'a>;
    objective: Objective, "objective", ObjectiveCx<'a>;
    augmentation: Augmentation, "augmentation", AugmentationCx;
    caption: CaptionTransform, "caption", CaptionCx<'a>;
    eval: EvalSuite, "eval", EvalCx<'a>;
    source: Source, "source", SourceCx<'a>;
    store: ObjectStore, "store", StoreCx<'a>;
}

/// What can be said of a plugin without knowing its kind's type.
pub struct About<'a> {
    /// `backbone`, `objective`, `augmentation`, `caption`, `eval`, `source` or `store`.
    pub kind: &'static str,
    /// Its name.
    pub name: &'static str,
    /// JSON schema of its options.
    pub schema: serde_json::Value,
    /// Default options.
    pub defaults: serde_json::Value,
    /// Where it was registered.
    pub origin: Origin,
    /// Built in, or from a library.
    pub provenance: &'a Provenance,
}

impl<'a> About<'a> {
    fn of<K: Kind + ?Sized>(listed: &'a Listed<K>) -> Self {
        let entry = listed.entry;
        Self {
            kind: K::NAME,
            name: entry.name,
            schema: serde_json::from_str(&(entry.schema)()).unwrap_or_default(),
            defaults: listed.defaults(),
            origin: entry.origin,
            provenance: &listed.provenance,
        }
    }

    /// The first paragraph of the options' documentation.
    pub fn summary(&self) -> String {
        let text = self.schema.get("description").and_then(serde_json::Value::as_str).unwrap_or_default();
        text.split("\n\n").next().unwrap_or_default().replace('\n', " ")
    }
}

impl<K: Kind + ?Sized> Listed<K> {
    /// Default options as JSON.
    pub fn defaults(&self) -> serde_json::Value {
        serde_json::to_value((self.entry.defaults)()).unwrap_or_default()
    }

    /// Parses complete options.
    pub fn parse(&self, options: &serde_json::Value) -> Result<Box<dyn Config<K>>> {
        (self.entry.parse)(&mut <dyn erased_serde::Deserializer<'_>>::erase(options)).map_err(|error| Error::Options(error.to_string()))
    }
}

impl Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut counts: BTreeMap<&'static str, usize> = BTreeMap::new();
        self.for_each(|about| *counts.entry(about.kind).or_default() += 1);
        f.debug_tuple("Registry").field(&counts).finish()
    }
}

impl Registry {
    /// What is registered in the binary or library into which this call was compiled.
    ///
    /// # Errors
    /// [`Error::Duplicate`].
    pub fn linked() -> Result<Self> {
        let mut registry = Self::default();
        registry.merge(registered_here(), &Provenance::Linked)?;
        Ok(registry)
    }

    /// The plugin of kind `K` called `name`.
    ///
    /// # Errors
    /// [`Error::Unknown`] with a suggestion, the known names, and the other kind that has a plugin of this name.
    pub fn get<K: Kind + ?Sized>(&self, name: &str) -> Result<&Listed<K>> {
        K::table(self).get(name).ok_or_else(|| {
            let mut elsewhere = None;
            self.for_each(|about| {
                if about.name == name {
                    elsewhere = Some(format!("`{name}` is of kind {}, not {}", about.kind, K::NAME));
                }
            });
            let known = self.names::<K>();
            let near = elsewhere.is_none().then(|| suggest(name, known.iter().copied())).flatten();
            Error::Unknown {
                kind: K::NAME,
                name: name.to_owned(),
                near: near.map(str::to_owned),
                known: known.into_iter().map(str::to_owned).collect(),
                elsewhere,
            }
        })
    }

    /// Names of kind `K`, sorted.
    pub fn names<K: Kind + ?Sized>(&self) -> Vec<&'static str> {
        K::table(self).keys().copied().collect()
    }

    fn vacant<K: Kind + ?Sized>(&self, new: &[&'static PluginEntry<K>], provenance: &Provenance) -> Result<()> {
        let mut seen = BTreeMap::new();
        for entry in new {
            let there = K::table(self).get(entry.name).map(|listed| format!("{} ({})", listed.entry.origin, listed.provenance));
            let twice = seen.insert(entry.name, entry.origin).map(|origin| format!("{origin} ({provenance})"));
            if let Some(first) = there.or(twice) {
                let second = format!("{} ({provenance})", entry.origin);
                return Err(Error::Duplicate { kind: K::NAME, name: entry.name.into(), first, second });
            }
        }
        Ok(())
    }
}
