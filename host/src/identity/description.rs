//! A model as options by dotted key: what two models are compared by.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use tch::Device;
use vlhub_core::InputSpec;

use crate::config::RunConfig;
use crate::config::document::{OF_MODEL, leaves};
use crate::config::sections::TowerOptions;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};

/// Options of a model by dotted key, such as `backbone.image.heads`; lists are values, options without a value are left out.
pub type Description = BTreeMap<String, Value>;

/// The tables of a run that describe its model, without how it is trained.
pub fn tables(config: &RunConfig) -> Map<String, Value> {
    let mut tree = config.resolved.clone();
    tree.retain(|key, _| OF_MODEL.contains(&key.as_str()));
    for tower in tree.get_mut("backbone").and_then(Value::as_object_mut).into_iter().flat_map(|towers| towers.values_mut()) {
        if let Some(tower) = tower.as_object_mut() {
            tower.retain(|key, _| !TowerOptions::KEYS.contains(&key.as_str()));
        }
    }
    tree
}

/// Those tables as they are written, objectives too.
pub fn as_written(config: &RunConfig) -> Description {
    let mut options = of_tree(&tables(config));
    options.retain(|key, _| !key.starts_with("libraries") && !key.starts_with("class_names"));
    // A tokenizer's file is the same from whatever folder it is named.
    if let Some(Value::String(source)) = options.get_mut("tokenizer.use")
        && source != "clip"
        && !source.contains(':')
    {
        let path = config.folder.join(&*source);
        *source = path.canonicalize().unwrap_or(path).display().to_string();
    }
    options
}

/// What decides the embeddings of a model that is built: its towers, its tokenizer, and what becomes of a picture before the tower sees it
/// (`preprocess.mean` and `preprocess.std` are those that are used, wherever they are written).
pub fn of_model(config: &RunConfig, towers: &Towers) -> Description {
    let mut options = as_written(config);
    let own = ["backbone.image.mean", "backbone.image.std", "custom_text"];
    options.retain(|key, _| !key.starts_with("objective.") && !own.contains(&key.as_str()));
    if let Some(InputSpec::Image { mean, std, .. }) = towers.image.as_ref().map(|net| &net.input) {
        options.insert("preprocess.mean".into(), json!(config.preprocess.mean.unwrap_or(*mean)));
        options.insert("preprocess.std".into(), json!(config.preprocess.std.unwrap_or(*std)));
    }
    options
}

/// [`of_model`] for a model that is not built: its towers are made of shapes alone.
///
/// # Errors
/// Whatever a backbone refuses.
pub fn on_paper(config: &RunConfig) -> Outcome<Description> {
    let [image, text] = config.backbones();
    let built = vlhub_torch_ext::on_paper(|| {
        Towers::build(Device::Cpu, config.top.embed, config.top.custom_text, image, text).map(|towers| of_model(config, &towers))
    });
    let (description, _) = built.map_err(|error| Failure::from(vlhub_core::Error::from(error)))?;
    Ok(description?)
}

/// Every option of a tree that has a value.
pub fn of_tree(tree: &Map<String, Value>) -> Description {
    let mut options = leaves(tree);
    options.retain(|_, value| !value.is_null());
    options
}
