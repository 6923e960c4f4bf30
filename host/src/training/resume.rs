//! Resuming: what a checkpoint must agree with for a run to go on to the bit.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::{Resume, Training, save};
use crate::checkpoint::Store;
use crate::config::document::{Document, flat};
use crate::engine::ema::Ema;
use crate::evaluation::class_names;
use crate::failure::{Failure, Outcome};

/// Where a checkpoint says whose code multiplied float matrices on the CPU.
pub(super) const PRODUCTS: &str = "products";

/// Where it says how `train.memory` has cut batches.
pub(super) const CHUNKS: &str = "grad_cache";

/// Where it says whether `train.memory` lets blocks be computed again.
pub(super) const RECOMPUTE: &str = "grad_checkpointing";

impl Training<'_> {
    /// Puts everything back as a checkpoint has it.
    ///
    /// # Errors
    /// Exit status 4 when there is no checkpoint, or its options or data are others.
    pub fn resume(&mut self, store: &Store, resume: &Resume, allow_changed: bool) -> Outcome<Option<String>> {
        let (path, rejected, state) = match resume {
            Resume::No => return Ok(None),
            Resume::At(path) if !path.exists() => {
                return Err(Failure::new(
                    Failure::RESUME,
                    format!("there is no checkpoint `{}`; those of this run are in {}", path.display(), store.dir().display()),
                ));
            }
            Resume::At(path) => (path.clone(), Vec::new(), Store::load(path).map_err(refused)?),
            Resume::Latest | Resume::Auto => match store.load_latest().map_err(refused)? {
                Some((found, state)) => (found.path, found.rejected, state),
                None if *resume == Resume::Auto => return Ok(None),
                None => {
                    return Err(Failure::new(
                        Failure::RESUME,
                        format!("there is no valid checkpoint in {}; `--resume auto` starts afresh then", store.dir().display()),
                    ));
                }
            },
        };
        let mut changes = Vec::new();
        if state.config_hash != self.config_hash() {
            changes.push(format!("options differ:{}", difference(&decisive_of(&state.config), &self.decisive())));
        }
        if state.dataset != self.fingerprint {
            changes.push("the training data has changed".to_owned());
        }
        let names = state.extra.get(class_names::KEY).and_then(|text| class_names::parse(text)).unwrap_or_default();
        if !names.is_empty() && names != self.class_names {
            changes.push(format!("the classes have changed: {}", class_names::contrast(&names, &self.class_names)));
        }
        let device = state.extra.get("device").cloned().unwrap_or_default();
        if !device.is_empty() && device != format!("{:?}", self.device) {
            changes.push(format!("the run was on {device} and would now be on {:?}", self.device));
        }
        let threads = state.extra.get("torch_threads").cloned().unwrap_or_default();
        if !threads.is_empty() && threads != tch::get_num_threads().to_string() {
            changes.push(format!(
                "libtorch ran with {threads} threads and would now run with {}; sums would round otherwise (train.torch_threads={threads})",
                tch::get_num_threads()
            ));
        }
        // Older checkpoints do not say it: then there was only one.
        let products = state.extra.get(PRODUCTS).map_or("mkl", String::as_str);
        let now = vlhub_torch_ext::Products::now().name();
        if self.device == tch::Device::Cpu && products != now {
            changes.push(format!(
                "products of matrices were {products}'s and would now be {now}'s; sums would round otherwise ({}={products})",
                crate::device::PRODUCTS
            ));
        }
        if !changes.is_empty() && !allow_changed {
            return Err(Failure::new(
                Failure::RESUME,
                format!(
                    "cannot resume {} exactly:\n  {}\n  give the same run file and the same overrides; `--allow-changed` resumes with the new ones all the same",
                    path.display(),
                    changes.join("\n  ")
                ),
            ));
        }
        // Other options, such as less memory, ask for another plan.
        let planned = self.engine.memory.is_some() && state.config_hash == self.config_hash();
        if let Some(chunks) = state.extra.get(CHUNKS).filter(|_| planned).and_then(|text| serde_json::from_str(text).ok()) {
            (self.engine.cache, self.engine.memory) = (chunks, None);
            self.engine.towers.recompute |= state.extra.get(RECOMPUTE).is_some_and(|text| text == "true");
        }
        let find = |name: &str| state.tensors.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor.shallow_clone());
        let _no_grad = tch::no_grad_guard();
        let averages = self.engine.readonly.variables().into_iter().chain(self.engine.ema.iter().flat_map(Ema::variables));
        for (name, mut tensor) in self.engine.towers.variables().into_iter().chain(averages) {
            let saved = find(&name).ok_or_else(|| Failure::new(Failure::RESUME, format!("{} has no `{name}`", path.display())))?;
            tensor.f_copy_(&saved).map_err(|error| {
                Failure::new(Failure::RESUME, format!("`{name}` of {}: {}", path.display(), vlhub_core::Error::from(error)))
            })?;
        }
        let unfit = |error: vlhub_core::Error| Failure::new(Failure::RESUME, format!("{}: {error}", path.display()));
        self.engine.optimizer.load(find).map_err(unfit)?;
        self.engine.scaler.iter_mut().try_for_each(|scaler| scaler.load(find)).map_err(unfit)?;
        self.started_at = state.progress.step;
        if matches!(resume, Resume::At(_)) {
            // What came after it belongs to another life of the run: `latest` must not go back to that.
            store.set_aside_after(self.started_at)?;
        }
        let mut text = format!("resumed {} at step {}", path.display(), self.started_at);
        for (path, why) in rejected {
            text += &format!("\n  passed over {}: {why}", path.display());
        }
        Ok(Some(text))
    }
}

fn refused(error: vlhub_core::Error) -> Failure {
    Failure::new(Failure::RESUME, error.to_string())
}

/// Of a checkpoint's options, those that decide what is computed; older checkpoints hold nothing else.
fn decisive_of(config: &str) -> String {
    Document::parse(config, "", PathBuf::new()).map(|document| save::decisive(document.tree)).unwrap_or_default()
}

/// Options that two TOML texts do not have in common, with both values.
fn difference(before: &str, now: &str) -> String {
    let options = |text: &str| Document::parse(text, "", PathBuf::new()).map(|document| flat(&document.tree)).unwrap_or_default();
    let (before, now): (BTreeMap<_, _>, BTreeMap<_, _>) = (options(before), options(now));
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let shown = |map: &BTreeMap<String, String>, key: &String| map.get(key).cloned().unwrap_or_else(|| "nothing".into());
    let lines = keys.into_iter().filter(|key| before.get(*key) != now.get(*key));
    lines.map(|key| format!("\n    {key} = {} before, {} now", shown(&before, key), shown(&now, key))).collect()
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_names_the_option_and_both_values() {
        let before = "[backbone.image]\nlayers = 1\n[backbone.text]\nlayers = 2\n";
        let now = "[backbone.image]\nlayers = 2\n[backbone.text]\nlayers = 2\nheads = 4\n";
        let text = difference(before, now);
        assert_eq!(text, "\n    backbone.image.layers = 1 before, 2 now\n    backbone.text.heads = nothing before, 4 now");
    }
}
