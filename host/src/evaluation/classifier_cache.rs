//! Zero-shot classifiers on disk, found by everything that decides their numbers.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::json;
use tch::Tensor;
use vlhub_core::{Backbone, Modality, Provenance, Result};
use xxhash_rust::xxh3::Xxh3;

use super::text_rows::device_name;
use crate::config::RunConfig;
use crate::engine::towers::Towers;
use crate::formats::safetensors_write::Layout;
use crate::formats::{read_safetensors, write_safetensors};

/// Classifiers that are kept; the longest unused go first.
const MOST: usize = 256;

/// The name of the tensor in a file.
const TENSOR: &str = "classifier";

/// A folder of classifiers, for one model.
#[derive(Clone, Debug)]
pub struct ClassifierCache {
    folder: PathBuf,
    /// The options of the text tower: with the same weights, other options compute something else.
    tower: String,
    /// The hash of the text tower's weights, once it was needed: suites ask again and again.
    weights: OnceCell<u128>,
}

impl ClassifierCache {
    /// Classifiers of the text tower that `model` names, in `folder`. Its weights must not change while this lives.
    ///
    /// `None` without a text tower, and for one of a plugin library: its code may change while options and weights stay, and only the code of
    /// this program is part of the key, by its version.
    pub fn of_model(folder: PathBuf, model: &RunConfig) -> Option<Self> {
        let plugin = &model.text.as_ref()?.chosen.plugin;
        let is_linked = model.registry.get::<dyn Backbone>(plugin).is_ok_and(|listed| listed.provenance == Provenance::Linked);
        let options = model.resolved.get("backbone")?.get("text")?;
        is_linked.then(|| Self { folder, tower: json!([options, model.top.embed]).to_string(), weights: OnceCell::new() })
    }

    /// The cache's folder: `classifiers` in `VLHUB_CACHE`, or in `vlhub` in `XDG_CACHE_HOME` or `~/.cache`. `None` without any of these.
    pub fn folder() -> Option<PathBuf> {
        crate::files::cache_folder(&|name| std::env::var_os(name)).map(|folder| folder.join("classifiers"))
    }

    /// The file for the classes whose prompts have these ids.
    ///
    /// # Errors
    /// Weights that cannot be read.
    pub(super) fn file(&self, towers: &Towers, classes: &[&[Vec<i64>]]) -> Result<PathBuf> {
        let weights = match self.weights.get() {
            Some(known) => *known,
            None => {
                let hash = hash_of_text_tower(towers)?;
                *self.weights.get_or_init(|| hash)
            }
        };
        let mut hash = Xxh3::new();
        for part in [env!("CARGO_PKG_VERSION"), device_name(towers.vars.device()), &self.tower] {
            hash.update(part.as_bytes());
            hash.update(&[0]);
        }
        hash.update(&weights.to_le_bytes());
        for prompts in classes {
            hash.update(&(prompts.len() as u64).to_le_bytes());
            for ids in *prompts {
                hash.update(&(ids.len() as u64).to_le_bytes());
                ids.iter().for_each(|id| hash.update(&id.to_le_bytes()));
            }
        }
        Ok(self.folder.join(format!("{:032x}.safetensors", hash.digest128())))
    }

    /// The classifier `[classes, D]` of a file that was written before. A damaged file is as good as none.
    pub(super) fn read(file: &Path, classes: usize) -> Option<Tensor> {
        let found = read_safetensors(file).ok()?.into_iter().find(|(name, _)| name == TENSOR)?.1;
        let whole = found.size().len() == 2 && found.size()[0] == classes as i64 && found.isfinite().all().int64_value(&[]) == 1;
        if whole {
            // Its time says when it was used last.
            let now = std::fs::FileTimes::new().set_modified(std::time::SystemTime::now());
            std::fs::File::options().append(true).open(file).and_then(|file| file.set_times(now)).ok();
        }
        whole.then_some(found)
    }

    /// Writes a classifier, and removes what has not been used for longest.
    ///
    /// # Errors
    /// The file and why it cannot be written.
    pub(super) fn write(file: &Path, classifier: &Tensor) -> Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder).map_err(|error| vlhub_core::Error::io(folder, error))?;
        write_safetensors(file, &[(TENSOR.to_owned(), classifier.shallow_clone())], &BTreeMap::new())?;
        let mut all: Vec<(std::time::SystemTime, PathBuf)> = std::fs::read_dir(folder)
            .map_err(|error| vlhub_core::Error::io(folder, error))?
            .flatten()
            .filter(|entry| entry.path().extension().is_some_and(|suffix| suffix == "safetensors"))
            .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
            .collect();
        all.sort();
        for (_, old) in all.iter().take(all.len().saturating_sub(MOST)) {
            // Another process may have removed it.
            std::fs::remove_file(old).ok();
        }
        Ok(())
    }
}

/// The hash of the safetensors file that the text tower's weights would make.
fn hash_of_text_tower(towers: &Towers) -> Result<u128> {
    let variables = towers.vars.variables();
    let mut weights: Vec<(String, Tensor)> = variables.into_iter().filter(|(name, _)| towers.owner(name) == Some(Modality::Text)).collect();
    weights.sort_by(|left, right| left.0.cmp(&right.0));
    Layout::new(&weights, &BTreeMap::new())?
        .write(&weights, &mut std::io::sink())
        .map_err(|error| vlhub_core::Error::io("the weights of the text tower", error))
}

#[cfg(test)]
mod tests {
    use vlhub_core::{Registry, registered_here};

    use super::*;
    use crate::config::document::Document;

    #[test]
    fn the_classifiers_of_a_librarys_tower_are_not_kept_because_its_code_may_change() {
        let text = "embed = 8\n[backbone.text]\nuse = \"text_transformer\"\ncontext = 9\nvocab = 32\nwidth = 16\nlayers = 2\nheads = 2\n";
        let document = Document::parse(text, "test", ".".into()).expect("it is TOML");
        let cache = |provenance: Provenance| {
            let mut registry = Registry::default();
            registry.merge(registered_here(), &provenance).expect("no duplicates");
            let config = RunConfig::of(&document, &registry).expect("it is right");
            ClassifierCache::of_model("classifiers".into(), &config)
        };
        assert!(cache(Provenance::Linked).is_some());
        assert!(cache(Provenance::Library("libtower.so".into())).is_none());
    }

    #[test]
    fn a_classifier_is_found_again_and_a_damaged_one_is_not() {
        let folder = tempfile::tempdir().expect("a directory");
        let file = folder.path().join("classifiers/a.safetensors");
        assert!(ClassifierCache::read(&file, 2).is_none());
        let classifier = Tensor::from_slice(&[1.0f32, 0.0, 0.6, 0.8]).view([2, 2]);
        ClassifierCache::write(&file, &classifier).expect("it can be written");
        assert_eq!(ClassifierCache::read(&file, 2).expect("it is there"), classifier);
        assert!(ClassifierCache::read(&file, 3).is_none(), "another number of classes");
        std::fs::write(&file, b"damaged").expect("written");
        assert!(ClassifierCache::read(&file, 2).is_none());
    }

    #[test]
    fn the_longest_unused_go_first() {
        let folder = tempfile::tempdir().expect("a directory");
        let classifier = Tensor::from_slice(&[1.0f32]).view([1, 1]);
        for number in 0..MOST + 3 {
            let file = folder.path().join(format!("{number}.safetensors"));
            std::fs::write(&file, b"old").expect("written");
            let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(number as u64);
            std::fs::File::options().append(true).open(&file).expect("open").set_modified(long_ago).expect("set");
        }
        ClassifierCache::write(&folder.path().join("new.safetensors"), &classifier).expect("it can be written");
        let left: Vec<_> = std::fs::read_dir(folder.path()).expect("it is there").flatten().collect();
        assert_eq!(left.len(), MOST);
        assert!(!folder.path().join("3.safetensors").exists() && folder.path().join("4.safetensors").exists());
    }
}
