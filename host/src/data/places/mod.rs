//! Places: from a name in a run file to a file of a local disk.
//!
//! Sources read local files at random. So what lies elsewhere is fetched from its [store](vlhub_core::ObjectStore), and what is compressed is
//! unpacked, into a [cache](cache) that all runs of a user share. A file of it is whole or not there, and is not evicted while a process that
//! asked for it lives.

pub mod cache;
mod fetch;
mod leases;
mod place;
mod stores;
mod unpack;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use vlhub_core::{Config, Error, Extent, LocalFile, ObjectStore, Registry, Result, StoreCx};

use cache::{DataCache, Key};
use place::DataPlace;

/// How many files are brought at a time.
const AT_A_TIME: usize = 8;

/// The stores of a run, as its `[store.NAME]` tables describe them.
#[derive(Debug)]
pub struct Places {
    folder: PathBuf,
    configs: BTreeMap<String, Box<dyn Config<dyn ObjectStore>>>,
    /// Those that were used.
    built: Mutex<BTreeMap<String, Arc<dyn ObjectStore>>>,
    /// Where the cache is; of the environment unless a test says otherwise.
    cache: Option<DataCache>,
    /// The wait before a transfer that brought nothing is tried again.
    pause: Duration,
    /// Why nothing was brought, by the first of the places that were asked for: what is asked for again is not tried again.
    refused: Mutex<BTreeMap<String, String>>,
}

/// What has to be brought or unpacked before it can be read.
struct Missing<'a> {
    place: &'a DataPlace,
    key: Key,
    store: Option<Arc<dyn ObjectStore>>,
}

impl Places {
    /// Stores with the options of a run file; others have their defaults. Relative paths in options start at `folder`.
    pub fn new(folder: &Path, configs: BTreeMap<String, Box<dyn Config<dyn ObjectStore>>>) -> Self {
        Self {
            folder: folder.to_owned(),
            configs,
            built: Mutex::default(),
            cache: None,
            pause: Duration::from_secs(1),
            refused: Mutex::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn with_cache(self, cache: DataCache) -> Self {
        Self { cache: Some(cache), pause: Duration::from_millis(2), ..self }
    }

    /// As [`vlhub_core::SourceHost::local`].
    pub(super) fn local(&self, registry: &Registry, places: &[String], folder: &Path, extent: Extent) -> Result<Vec<LocalFile>> {
        let places: Vec<DataPlace> = places.iter().map(|place| DataPlace::parse(place, folder)).collect();
        let mut files: Vec<Option<LocalFile>> = Vec::with_capacity(places.len());
        let mut missing: Vec<(usize, Missing<'_>)> = Vec::new();
        let mut cache = None;
        for (at, place) in places.iter().enumerate() {
            let (key, store) = match place {
                DataPlace::Path(path) => match unpack::Packing::of(path) {
                    None => {
                        files.push(Some(LocalFile::of(path.clone())));
                        continue;
                    }
                    Some(_) => (Key::of_file(path)?, None),
                },
                DataPlace::Stored { scheme, address } => {
                    let store = self.store(registry, scheme)?;
                    (Key::of_object(&store.realm(), address), Some(store))
                }
            };
            if cache.is_none() {
                cache = Some(self.cache()?);
            }
            let found = cache.as_ref().and_then(|cache| cache.get(&key).transpose()).transpose()?;
            if found.is_none() {
                missing.push((at, Missing { place, key, store }));
            }
            files.push(found.map(|entry| entry.file(place)));
        }
        let Some(cache) = cache.filter(|_| !missing.is_empty()) else { return Ok(files.into_iter().flatten().collect()) };
        if extent == Extent::Glance {
            return Err(Error::Elsewhere(missing[0].1.place.shown()));
        }
        let first = missing[0].1.place.shown();
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = refused().get(&first) {
            return Err(Error::invalid(why.clone()));
        }
        let brought = self.bring_all(&cache, &missing).inspect_err(|error| drop(refused().insert(first, error.to_string())))?;
        for (at, file) in brought {
            files[at] = Some(file);
        }
        Ok(files.into_iter().flatten().collect())
    }

    /// As [`vlhub_core::SourceHost::names`].
    pub(super) fn names(&self, registry: &Registry, pattern: &str, folder: &Path, extent: Extent) -> Result<Vec<String>> {
        let place = DataPlace::parse(pattern, folder);
        let mut names: Vec<String> = match &place {
            DataPlace::Path(path) => {
                if !pattern.contains(['*', '?', '[']) || path.exists() {
                    return Ok(vec![pattern.to_owned()]);
                }
                let bad = |error: String| Error::invalid(format!("pattern `{pattern}`: {error}"));
                let found = glob::glob(&path.to_string_lossy()).map_err(|error| bad(error.to_string()))?;
                let found: Vec<PathBuf> = found.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
                // As they would be written in the run file: whoever reads them lays them over its folder again.
                let written = |path: PathBuf| path.strip_prefix(folder).map(Path::to_owned).unwrap_or(path);
                found.into_iter().map(|path| written(path).to_string_lossy().into_owned()).collect()
            }
            DataPlace::Stored { scheme, address } => {
                // A `*` of a command is its shell's.
                if scheme == stores::PIPE || !address.contains('*') {
                    return Ok(vec![pattern.to_owned()]);
                }
                let store = self.store(registry, scheme)?;
                if extent == Extent::Glance {
                    return Err(Error::Elsewhere(place.shown()));
                }
                let (fits, prefix) = place::star(address)?;
                let listed = fetch::patiently(self.pause, &place.shown(), || store.list(&prefix));
                listed.map_err(|fault| Error::invalid(format!("`{pattern}`: {fault}")))?.into_iter().filter(|name| fits(name)).collect()
            }
        };
        if names.is_empty() {
            return Err(Error::invalid(format!("pattern `{pattern}`: no file matches")));
        }
        names.sort();
        Ok(names)
    }

    fn cache(&self) -> Result<DataCache> {
        self.cache.clone().map_or_else(DataCache::of_environment, Ok)
    }

    /// The store that serves a scheme.
    fn store(&self, registry: &Registry, scheme: &str) -> Result<Arc<dyn ObjectStore>> {
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = built.get(scheme) {
            return Ok(Arc::clone(store));
        }
        let cx = StoreCx { folder: &self.folder };
        let store: Arc<dyn ObjectStore> = match self.configs.get(scheme) {
            Some(config) => config.build(&cx)?.into(),
            None => {
                let listed =
                    registry.get::<dyn ObjectStore>(scheme).map_err(|error| match crate::linked::left_out(Some("store"), scheme) {
                        Some(feature) => Error::invalid(format!("{error}; this build leaves it out: build it with `--features {feature}`")),
                        None => error,
                    })?;
                listed.parse(&listed.defaults())?.build(&cx)?.into()
            }
        };
        built.insert(scheme.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn bring_all(&self, cache: &DataCache, missing: &[(usize, Missing<'_>)]) -> Result<Vec<(usize, LocalFile)>> {
        tracing::info!("{} files come to the data cache {}", missing.len(), cache.folder().display());
        let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let brought: Mutex<BTreeMap<usize, Result<LocalFile>>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..AT_A_TIME.min(missing.len()) {
                scope.spawn(|| {
                    // What is broken for one is mostly broken for all: a few failures are enough.
                    while failed.load(Ordering::Relaxed) < AT_A_TIME
                        && let Some((at, missing)) = missing.get(next.fetch_add(1, Ordering::Relaxed))
                    {
                        let file = self.bring(cache, missing);
                        failed.fetch_add(usize::from(file.is_err()), Ordering::Relaxed);
                        brought.lock().unwrap_or_else(PoisonError::into_inner).insert(*at, file);
                    }
                });
            }
        });
        let mut files = Vec::new();
        let mut first = None;
        for (at, file) in brought.into_inner().unwrap_or_else(PoisonError::into_inner) {
            match file {
                Ok(file) => files.push((at, file)),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        let failed = failed.into_inner();
        match first {
            None => Ok(files),
            Some(error) if failed == 1 => Err(error),
            Some(error) => Err(Error::invalid(format!("{failed} of {} files cannot be brought; the first: {error}", missing.len()))),
        }
    }

    fn bring(&self, cache: &DataCache, missing: &Missing<'_>) -> Result<LocalFile> {
        let Missing { place, key, store } = missing;
        let _lock = cache.lock(key)?;
        // Another process may have been here meanwhile.
        if let Some(entry) = cache.get(key)? {
            return Ok(entry.file(place));
        }
        let (packed, version) = match (place, store) {
            (DataPlace::Path(path), _) => (path.clone(), None),
            (DataPlace::Stored { address, .. }, Some(store)) => {
                let partial = cache.partial(key);
                let version = fetch::fetch(&**store, address, &place.shown(), &partial, cache, self.pause)?;
                (partial, version)
            }
            (DataPlace::Stored { .. }, None) => return Err(Error::invalid(format!("`{}` has no store", place.shown()))),
        };
        let entry = match unpack::Packing::of(&packed) {
            // A file of the user's is never moved.
            None if store.is_none() => return Err(Error::invalid(format!("{} changes while it is read", packed.display()))),
            None => cache.keep(key, &packed, place.shown(), version, None)?,
            Some(packing) => {
                let unpacked = packed_beside(cache, key);
                let damage = unpack::unpack(&packed, packing, &unpacked, cache).inspect_err(|_| drop(std::fs::remove_file(&unpacked)))?;
                let entry = cache.keep(key, &unpacked, place.shown(), version, damage)?;
                if store.is_some() {
                    std::fs::remove_file(&packed).map_err(|error| Error::io(&packed, error))?;
                }
                entry
            }
        };
        Ok(entry.file(place))
    }
}

/// Where a file is unpacked.
fn packed_beside(cache: &DataCache, key: &Key) -> PathBuf {
    cache.partial(key).with_extension("unpacked")
}

#[cfg(test)]
mod tests;
