//! Saving: what a checkpoint holds so that a run goes on to the bit, and which options decide what is computed.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::Training;
use super::resume::{CHUNKS, PRODUCTS, RECOMPUTE};
use crate::checkpoint::{Progress as Place, State};
use crate::config::document::{FOLDER, to_toml};
use crate::config::log::LOG;
use crate::config::sections::TopConfig;
use crate::config::train::TrainConfig;
use crate::data::decode::PictureOptions;
use crate::engine::ema::Ema;
use crate::engine::moment::StateFormat;
use crate::engine::optim::OptimizerConfig;
use crate::engine::precision::Precision;
use crate::engine::scaler::LossScaler;
use crate::evaluation::class_names;
use crate::identity::teachers;
use crate::section::Section;

impl Training<'_> {
    /// The options that decide what is computed, as TOML.
    pub(super) fn decisive(&self) -> String {
        decisive(self.config.resolved.clone())
    }

    pub(super) fn config_hash(&self) -> String {
        format!("{:032x}", xxhash_rust::xxh3::xxh3_128(self.decisive().as_bytes()))
    }

    /// What a checkpoint after `step` steps holds; its tensors are the live ones.
    pub(super) fn state(&self, step: u64) -> State {
        let mut tensors = self.engine.towers.variables();
        tensors.extend(self.engine.readonly.variables());
        tensors.extend(self.engine.ema.iter().flat_map(Ema::variables));
        tensors.extend(self.engine.optimizer.state());
        tensors.extend(self.engine.scaler.iter().flat_map(LossScaler::state));
        let teachers: Vec<_> = self.engine.readonly.teachers.iter().map(|(about, _)| about.clone()).collect();
        State {
            tensors,
            progress: Place {
                step,
                epoch: step / self.steps_per_epoch.max(1),
                samples_seen: step * self.config.train.batch as u64,
                seed: self.config.top.seed,
            },
            config_hash: self.config_hash(),
            config: self.config.portable_toml(self.resolved()),
            dataset: self.fingerprint.clone(),
            extra: BTreeMap::from([
                ("torch_threads".to_owned(), tch::get_num_threads().to_string()),
                (PRODUCTS.to_owned(), vlhub_torch_ext::Products::now().name().to_owned()),
                ("device".to_owned(), format!("{:?}", self.device)),
                (teachers::KEY.to_owned(), teachers::to_json(&teachers)),
                (class_names::KEY.to_owned(), class_names::to_text(&self.class_names)),
            ])
            .into_iter()
            .chain(self.memory_plan())
            .collect(),
        }
    }

    /// What `train.memory` has chosen: a run that goes on cuts batches alike, or sums would round otherwise.
    fn memory_plan(&self) -> Vec<(String, String)> {
        let planned = self.config.train.memory_bytes().and_then(|_| serde_json::to_string(&self.engine.cache).ok());
        let plan = |chunks: String| [(CHUNKS.to_owned(), chunks), (RECOMPUTE.to_owned(), self.engine.towers.recompute.to_string())];
        planned.map(plan).into_iter().flatten().collect()
    }
}

/// Of complete options, those that decide what is computed.
pub(super) fn decisive(mut tree: Map<String, Value>) -> String {
    // Where paths start, and from where files come, says nothing about what they are; the data has its fingerprint.
    for key in ["eval", "store", LOG, FOLDER] {
        tree.remove(key);
    }
    TopConfig::NEVER_DECIDE.iter().for_each(|key| drop(tree.remove(*key)));
    // Runs that are older than these choices decoded pictures so; a smaller limit of pixels, within which nothing has changed, aside.
    if let Ok(Value::Object(usual)) = serde_json::to_value(PictureOptions::default()) {
        tree.retain(|key, value| usual.get(key) != Some(&*value));
    }
    if let Some(train) = tree.get_mut(TrainConfig::NAME).and_then(Value::as_object_mut) {
        TrainConfig::NEVER_DECIDE.iter().for_each(|key| drop(train.remove(*key)));
    }
    // Runs that are older than these choices computed so.
    let usual: [(&str, &str, Value); 4] = [
        (TrainConfig::NAME, "precision", Precision::Fp32.name().into()),
        (TrainConfig::NAME, "memory", "".into()),
        (TrainConfig::NAME, "grad_checkpointing", false.into()),
        (OptimizerConfig::NAME, "state", StateFormat::Fp32.name().into()),
    ];
    for (section, key, usual) in usual {
        if let Some(section) = tree.get_mut(section).and_then(Value::as_object_mut)
            && section.get(key) == Some(&usual)
        {
            section.remove(key);
        }
    }
    to_toml(&tree)
}
