//! What weights say of the model that they belong to, whoever made them: in one place, so that every maker is asked.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::{Modality, Registry};

use super::difference::Sides;
use super::{Description, Difference, RunCheckpoint, description, published};
use crate::config::RunConfig;
use crate::config::document::Document;
use crate::engine::towers::Towers;
use crate::failure::{Failure, Outcome};
use crate::formats::{FILES, Format, WeightFile};
use crate::models::Expansion;
use crate::models::pretrained::Pretrained;
use crate::weights::fit::Part;
use crate::weights::names::{SIGLIP, Tensors};

/// The entry of a safetensors file's metadata that holds the tables of its model, as JSON.
pub const METADATA_MODEL: &str = "vlhub.model";
/// The entry that says whether the weights are an average.
pub const METADATA_WEIGHTS: &str = "vlhub.weights";

/// What one source says.
#[derive(Debug)]
pub struct Claims {
    /// Who says it, for messages.
    pub source: String,
    /// What it says.
    pub description: Description,
}

/// Everything that weights say of themselves: what the checkpoint of the `run` that they are part of, the metadata of a converted file, files beside the weights, an
/// archive of OpenAI's, or a published tag tell.
pub fn of_weights(file: &WeightFile, run: Option<&RunCheckpoint>, tag: Option<&Pretrained>, registry: &Registry) -> Vec<Claims> {
    let path = file.path.display();
    let mut all = Vec::new();
    if let Some(run) = run {
        let model = run.model();
        all.push(Claims { source: format!("the run's checkpoint `{}`", run.folder.display()), description: of_document(&model, registry) });
    }
    if let Some(document) = of_metadata(&file.extras.metadata, &file.path) {
        all.push(Claims { source: format!("the metadata of `{path}`"), description: of_document(&document, registry) });
    }
    let folder = file.path.parent().unwrap_or(Path::new("."));
    // A file of a user's own naming may lie beside the description of something else.
    let published = file.path.file_name().is_some_and(|name| FILES.iter().any(|known| name == *known));
    let beside = |name: &str| {
        if !published {
            return None;
        }
        let path = folder.join(name);
        let value = std::fs::read_to_string(&path).ok().and_then(|text| serde_json::from_str::<Value>(&text).ok())?;
        Some((format!("`{}`", path.display()), value))
    };
    if let Some((source, config)) = beside("open_clip_config.json") {
        match of_open_clip(config, registry) {
            Ok(description) => all.push(Claims { source, description }),
            Err(why) => tracing::warn!("{source} is not compared with the model: {why}"),
        }
    }
    let others =
        [("config.json", published::of_config as fn(&Value) -> Description), ("preprocessor_config.json", published::of_preprocessor)];
    for (name, read) in others {
        if let Some((source, value)) = beside(name) {
            all.push(Claims { source, description: read(&value) });
        }
    }
    if file.format == Format::TorchScript {
        all.push(Claims { source: format!("the archive `{path}` of OpenAI's"), description: published::of_openai(&file.tensors) });
    }
    if let Some(tag) = tag {
        all.push(Claims { source: "open_clip's list of published weights".into(), description: published::of_tag(tag) });
    }
    all.retain(|claims| !claims.description.is_empty());
    all
}

/// What the names of SigLIP's parameters say where nothing else does: it is always published with one preprocessing. `names` is whose names
/// the file uses ([`crate::weights::fit::Fitted::names`]).
pub fn of_siglip(path: &Path, names: &str, tensors: &Tensors) -> Option<Claims> {
    let pooled = tensors.keys().any(|name| name.ends_with("attn_pool.latent")) && tensors.keys().any(|name| name.ends_with("logit_bias"));
    let source = || format!("the names in `{}`, which are SigLIP's", path.display());
    (names == SIGLIP || pooled).then(|| Claims { source: source(), description: published::siglip_pixels() })
}

/// The model that the metadata of a file describes.
pub fn of_metadata(metadata: &BTreeMap<String, String>, path: &Path) -> Option<Document> {
    let tree: Map<String, Value> = serde_json::from_str(metadata.get(METADATA_MODEL)?).ok()?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(document_of(tree, folder, &format!("the metadata of `{}`", path.display())))
}

/// Whether any of them tells how pictures were prepared.
pub fn tells_pixels(all: &[Claims]) -> bool {
    all.iter().any(|claims| claims.description.contains_key("preprocess.mean"))
}

/// Height and width of the pictures that the weights were made for, where they tell.
pub fn picture_size(all: &[Claims]) -> Option<(i64, i64)> {
    all.iter().find_map(|claims| {
        let size = claims.description.get("backbone.image.image_size")?;
        size.as_i64().map(|side| (side, side)).or_else(|| Some((size.get(0)?.as_i64()?, size.get(1)?.as_i64()?)))
    })
}

/// What the claims and the model that was built disagree on.
pub fn differences(all: &[Claims], config: &RunConfig, towers: &Towers, part: Part) -> Vec<Difference> {
    let built = description::of_model(config, towers);
    let of_part = |key: &str| match part {
        Part::Whole => true,
        Part::Tower(Modality::Image) => key.starts_with("backbone.image.") || key.starts_with("preprocess."),
        Part::Tower(Modality::Text) => key.starts_with("backbone.text.") || key.starts_with("tokenizer."),
    };
    let found = all.iter().flat_map(|claims| Sides { used: "the model", other: &claims.source }.shared(&built, &claims.description));
    // One tokenizer may lie in two places.
    let is_path = |value: &Value| value.as_str().is_some_and(|name| name != "clip" && !name.contains(':'));
    let moved = |one: &Difference| one.key == "tokenizer.use" && (is_path(&one.used) || is_path(&one.other));
    let mut found: Vec<Difference> = found.filter(|difference| of_part(&difference.key) && !moved(difference)).collect();
    // Of several sources, the first speaks.
    let mut seen = BTreeSet::new();
    found.retain(|difference| seen.insert(difference.key.clone()));
    found
}

/// Whether a difference makes the towers compute something else from the same input. The others concern what goes in, or training alone.
fn computes(key: &str) -> bool {
    let Some(option) = key.strip_prefix("backbone.").and_then(|rest| rest.split_once('.')).map(|(_, option)| option) else { return false };
    let harmless = ["use", "image_size", "context", "vocab", "pad", "dropout", "patch_dropout", "patch_drop", "drop_path", "drop"];
    !harmless.contains(&option) && !option.ends_with("dropout")
}

/// Tells of contradictions between weights and the model that was built. Those that make its towers compute something else are refused, unless
/// `allowed`.
///
/// # Errors
/// Every such option, with both values and what to do.
pub fn check(found: &[Difference], weights: &Path, allowed: bool) -> Outcome {
    let (wrong, told): (Vec<_>, Vec<_>) = found.iter().partition(|difference| computes(&difference.key) && !allowed);
    for difference in told {
        tracing::warn!("{}: {difference}", weights.display());
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> =
        wrong.iter().map(|one| format!("\n  {}: {} in the model, {} in {}", one.key, one.used, one.other, one.from)).collect();
    let remedy: Vec<String> = wrong.iter().map(|one| format!("{}={}", one.key, one.other)).collect();
    Err(Failure::new(
        Failure::RESUME,
        format!(
            "the weights `{}` belong to another model, although every shape fits:{}\n  set {}; `pretrained_partial = true` takes them into this model \
             all the same",
            weights.display(),
            lines.concat(),
            remedy.join(" ")
        ),
    ))
}

/// A document that comes from no run file.
pub fn document_of(tree: Map<String, Value>, folder: &Path, name: &str) -> Document {
    let mut document = Document::of_model("");
    (document.tree, document.folder, document.name) = (tree, folder.to_path_buf(), name.to_owned());
    document
}

/// A model's tables as options. Where a plugin is unknown here, as the tables have them.
fn of_document(document: &Document, registry: &Registry) -> Description {
    let resolved = RunConfig::resolve(document, registry).ok().and_then(|config| description::on_paper(&config).ok());
    resolved.unwrap_or_else(|| {
        let mut options = description::of_tree(&document.tree);
        for (from, to) in [("backbone.image.mean", "preprocess.mean"), ("backbone.image.std", "preprocess.std")] {
            if let Some(value) = options.remove(from) {
                options.entry(to.into()).or_insert(value);
            }
        }
        options
    })
}

/// `open_clip_config.json`, with the defaults of what it leaves out.
fn of_open_clip(mut config: Value, registry: &Registry) -> Result<Description, String> {
    let preprocess = config.get_mut("preprocess_cfg").map(Value::take);
    let model = config.get_mut("model_cfg").map(Value::take).unwrap_or(config);
    let mut tree = Expansion::of("open_clip_config.json", &model)?.tables(preprocess.as_ref());
    // The tokenizer is named by its repository there, which may be the folder itself.
    let tokenizer = tree.remove("tokenizer");
    let document = document_of(tree, Path::new("."), "open_clip_config.json");
    let config = RunConfig::resolve(&document, registry)
        .map_err(|list| list.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>().join("; "))?;
    let mut description = description::on_paper(&config).map_err(|failure| failure.message)?;
    description.retain(|key, _| !key.starts_with("tokenizer."));
    if preprocess.is_none() {
        description.retain(|key, _| !key.starts_with("preprocess."));
    }
    if let Some(Value::Object(options)) = tokenizer {
        description.extend(options.into_iter().filter(|(key, _)| key != "use").map(|(key, value)| (format!("tokenizer.{key}"), value)));
    }
    Ok(description)
}

/// The tables of a model for the metadata of a file of its weights: complete, with the preprocessing that is used.
pub fn metadata(config: &RunConfig, towers: &Towers) -> String {
    let mut tree = description::tables(config);
    // Where libraries lie on this disk, and the order of classes of heads that are not in the file, say nothing about the weights.
    for key in ["libraries", "class_names", "objective"] {
        tree.remove(key);
    }
    let built = description::of_model(config, towers);
    if let Some(preprocess) = tree.get_mut("preprocess").and_then(Value::as_object_mut) {
        for key in ["mean", "std"] {
            preprocess.insert(key.into(), built.get(&format!("preprocess.{key}")).cloned().unwrap_or(json!(null)));
        }
    }
    Value::Object(tree).to_string()
}
