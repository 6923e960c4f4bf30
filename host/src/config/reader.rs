//! Reads a document section by section, and notes every problem on the way.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value};
use vlhub_core::{
    Augmentation, Backbone, CaptionTransform, Config, EvalSuite, Extent, Kind, ObjectStore, Objective, Registry, Source, SourceCx, Wants,
};
use vlhub_sdk::suites::data_table;

use super::base::BASE;
use super::document::{Document, FOLDER};
use super::log::{LOG, MlflowConfig, WandbConfig};
use super::problems::{Layer, Problems};
use super::sections::{Every, PreprocessConfig, TopConfig, TowerOptions};
use super::train::TrainConfig;
use super::{Chosen, NO_WEIGHTS, RunConfig, SuiteConfig, TeacherConfig, TermConfig, TowerConfig, ViewConfig, stands_for_weights};
use crate::data::Opener;
use crate::data::places::Places;
use crate::engine::ema::EmaConfig;
use crate::engine::optim::OptimizerConfig;
use crate::engine::schedule::ScheduleConfig;
use crate::failure::hint;
use crate::models::Models;
use crate::section::Section;

const TABLES: [&str; 13] =
    ["backbone", "preprocess", "view", "objective", "teacher", "eval", "data", "store", "train", "optimizer", "schedule", "ema", LOG];

/// What is read so far.
pub struct Reader<'a> {
    pub problems: Problems<'a>,
    registry: &'a Registry,
    folder: &'a Path,
    places: Arc<Places>,
    resolved: Map<String, Value>,
}

impl<'a> Reader<'a> {
    pub fn new(document: &'a Document, registry: &'a Registry) -> Self {
        let places = Arc::new(Places::new(&document.folder, BTreeMap::new()));
        Self { problems: Problems::new(document), registry, folder: &document.folder, places, resolved: Map::new() }
    }

    /// The whole document; what cannot be read is noted and left out.
    pub fn read(&mut self, document: &Document) -> Option<RunConfig> {
        let mut tree = document.tree.clone();
        self.expand_model(&mut tree);
        let top_only: Map<String, Value> =
            tree.iter().filter(|(key, _)| !TABLES.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
        let top: TopConfig = self.top(&top_only);
        let train: TrainConfig = self.section(&tree);
        self.check_weights("pretrained", &top.pretrained, &top.model);
        // `clip` is a tokenizer of the program; published ones are looked for when they are needed.
        let tokenizer = &top.tokenizer.source;
        if tokenizer != "clip" && !tokenizer.starts_with("hf-hub:") && !self.folder.join(tokenizer).exists() {
            self.problems.add("tokenizer", format!("there is no file `{}`", self.folder.join(tokenizer).display()));
        }
        let preprocess: PreprocessConfig = self.section(&tree);
        let optimizer: OptimizerConfig = self.section(&tree);
        let schedule: ScheduleConfig = self.section(&tree);
        let ema: EmaConfig = self.section(&tree);
        let log = self.table(&tree, LOG);
        self.only(&log, LOG, &["wandb", "mlflow"]);
        let wandb: WandbConfig = self.inner_section(&log, "wandb");
        let mlflow: MlflowConfig = self.inner_section(&log, "mlflow");

        let backbones = self.table(&tree, "backbone");
        self.only(&backbones, "backbone", &["image", "text"]);
        let image = backbones.get("image").and_then(|value| self.tower("image", value));
        let text = backbones.get("text").and_then(|value| self.tower("text", value));
        let views = self.table(&tree, "view");
        self.only(&views, "view", &["image", "text"]);
        let image_views = self.views::<dyn Augmentation>(&views, "image", "augment");
        let text_views = self.views::<dyn CaptionTransform>(&views, "text", "transform");
        let objectives = self.terms(&tree);
        let teachers = self.teachers(&tree, &top.model_configs);
        self.places = Arc::new(Places::new(self.folder, self.stores(&tree)));
        let suites = self.suites(&tree);
        let data = self.data(&tree);
        Some(RunConfig {
            top,
            preprocess,
            train,
            optimizer,
            schedule,
            ema,
            wandb,
            mlflow,
            image,
            text,
            image_views,
            text_views,
            objectives,
            teachers,
            suites,
            data,
            resolved: std::mem::take(&mut self.resolved),
            folder: document.folder.clone(),
            registry: Arc::new(self.registry.clone()),
            places: Arc::clone(&self.places),
        })
    }

    /// `model = "ViT-B-32"` stands for tables; what the file says itself goes first.
    fn expand_model(&mut self, tree: &mut Map<String, Value>) {
        let Some(name) = tree.get("model").and_then(Value::as_str).filter(|name| !name.is_empty()).map(str::to_owned) else { return };
        let folders = tree.get("model_configs").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Into::into);
        let mut expansion = match Models::new(folders.collect(), self.folder).expand(&name) {
            Ok(expansion) => expansion,
            Err(message) => return self.problems.add("model", message),
        };
        // Published weights are used with the preprocessing that they were published with, as open_clip does.
        let weights = tree.get("pretrained").and_then(Value::as_str).unwrap_or_default();
        if let Some(tag) = crate::models::pretrained::tag(&name, weights) {
            expansion.insert("preprocess".into(), Value::Object(tag.preprocess.clone()));
        }
        fn under(over: &mut Map<String, Value>, base: Map<String, Value>) {
            for (key, value) in base {
                match (over.get_mut(&key), value) {
                    (Some(Value::Object(over)), Value::Object(base)) => under(over, base),
                    (Some(_), _) => {}
                    (None, value) => {
                        over.insert(key, value);
                    }
                }
            }
        }
        under(tree, expansion);
    }

    fn top(&mut self, user: &Map<String, Value>) -> TopConfig {
        let mut user = user.clone();
        if user.remove(BASE).is_some() {
            self.problems.add(BASE, "is allowed in a run file alone: bases are laid under files, and these options come from no file");
        }
        let known: Vec<&str> = TABLES.iter().copied().chain([BASE, FOLDER]).collect();
        let (top, merged) = self.lay::<TopConfig>(&user, &known, "a run file has no key");
        self.resolved.extend(merged);
        top
    }

    fn section<T: Section>(&mut self, tree: &Map<String, Value>) -> T {
        let user = self.table(tree, T::NAME);
        let (section, merged) = self.lay::<T>(&user, &[], &format!("`[{}]` has no option", T::NAME));
        self.resolved.insert(T::NAME.to_owned(), Value::Object(merged));
        section
    }

    /// A section that is a table within `[log]`.
    fn inner_section<T: Section>(&mut self, log: &Map<String, Value>, name: &str) -> T {
        let user = log.get(name).and_then(|value| self.object(T::NAME, value)).unwrap_or_default();
        let (section, merged) = self.lay::<T>(&user, &[], &format!("`[{}]` has no option", T::NAME));
        self.resolve_into(&[LOG, name], merged);
        section
    }

    /// A section with a user's options over its defaults, checked, and the same as values.
    fn lay<T: Section>(&mut self, user: &Map<String, Value>, known: &[&str], lacks: &str) -> (T, Map<String, Value>) {
        let defaults = serde_json::to_value(T::default()).unwrap_or_default();
        let parse = |value: &Value| T::deserialize(value).map(|_| ()).map_err(|error| error.to_string());
        let merged = self.problems.lay_over(&Layer { key: T::NAME, defaults: &defaults, known, lacks, parse: &parse }, user);
        let section: T = serde_json::from_value(Value::Object(merged.clone())).unwrap_or_default();
        for (key, message) in section.check() {
            self.problems.add(if T::NAME.is_empty() { key.to_owned() } else { format!("{}.{key}", T::NAME) }, message);
        }
        (section, merged)
    }

    fn tower(&mut self, which: &str, value: &Value) -> Option<TowerConfig> {
        let key = format!("backbone.{which}");
        let mut user = self.object(&key, value)?;
        let own: Map<String, Value> = TowerOptions::KEYS.iter().filter_map(|name| user.remove_entry(*name)).collect();
        let defaults = serde_json::to_value(TowerOptions::default()).unwrap_or_default();
        let parse = |value: &Value| TowerOptions::deserialize(value).map(|_| ()).map_err(|error| error.to_string());
        let layer = Layer { key: &key, defaults: &defaults, known: &TowerOptions::KEYS, lacks: "a tower has no option", parse: &parse };
        let merged = self.problems.lay_over(&layer, &own);
        let training: TowerOptions = serde_json::from_value(Value::Object(merged)).unwrap_or_default();
        let extra = serde_json::to_value(&training).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default();
        self.check_weights(&format!("{key}.init"), &training.init, "");
        for (option, message) in training.check() {
            self.problems.add(format!("{key}.{option}"), message);
        }
        let (chosen, resolved) = self.plugin::<dyn Backbone>(&key, None, user, extra)?;
        self.resolve_into(&["backbone", which], resolved);
        Some(TowerConfig { chosen, training })
    }

    /// A file or folder of weights must be there; published ones are looked for when they are needed.
    fn check_weights(&mut self, key: &str, source: &str, model: &str) {
        let published = source.starts_with("hf-hub:") || source.starts_with("local-dir:");
        let none = key == "pretrained" && source == NO_WEIGHTS;
        let there = source.is_empty() || none || published || self.folder.join(source).exists();
        if !there && crate::models::pretrained::tag(model, source).is_none() {
            let tags = crate::models::pretrained::tags(model);
            let near = if tags.is_empty() { String::new() } else { format!(", and no tag of `{model}`{}", hint(source, &tags)) };
            self.problems.add(key, format!("there is no file `{}`{near}", self.folder.join(source).display()));
        }
    }

    fn terms(&mut self, tree: &Map<String, Value>) -> Vec<TermConfig> {
        let mut terms = Vec::new();
        for (name, value) in self.table(tree, "objective") {
            let key = format!("objective.{name}");
            self.plain(&key, &name);
            let Some(mut user) = self.object(&key, &value) else { continue };
            let weight = match user.remove("weight") {
                None => 1.0,
                Some(value) => value.as_f64().unwrap_or_else(|| {
                    self.problems.add(format!("{key}.weight"), format!("is a number, not `{value}`"));
                    1.0
                }),
            };
            let mut extra = Map::new();
            extra.insert("weight".into(), weight.into());
            if let Some((chosen, resolved)) = self.plugin::<dyn Objective>(&key, Some(&name), user, extra) {
                self.resolve_into(&["objective", &name], resolved);
                terms.push(TermConfig { key: name, weight, chosen });
            }
        }
        terms
    }

    /// `[teacher.NAME]`: `model` is a model's name or the folder of a run, `pretrained` its weights, which a run's folder has.
    fn teachers(&mut self, tree: &Map<String, Value>, model_configs: &[String]) -> Vec<TeacherConfig> {
        let mut teachers = Vec::new();
        for (name, value) in self.table(tree, "teacher") {
            let key = format!("teacher.{name}");
            self.plain(&key, &name);
            let Some(user) = self.object(&key, &value) else { continue };
            self.only(&user, &key, &["model", "pretrained"]);
            let text = |field: &str| user.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
            let (model, mut pretrained) = (text("model"), text("pretrained"));
            let run = self.folder.join(&model).join("config.toml");
            let document = if model.is_empty() {
                self.problems.add(&key, "needs `model`: a model's name, or the folder of a run");
                continue;
            } else if run.is_file() {
                if pretrained.is_empty() {
                    pretrained = std::path::absolute(self.folder.join(&model)).unwrap_or_default().display().to_string();
                }
                Document::of_run(&run).map_err(|failure| failure.message)
            } else if model.contains('/') && !model.contains(':') && !model.ends_with(".json") {
                self.problems.add(
                    format!("{key}.model"),
                    format!("there is no run `{}`: it has no `config.toml`", self.folder.join(&model).display()),
                );
                continue;
            } else {
                let mut document = Document::of_model(&model);
                document.folder = self.folder.to_owned();
                document.tree.insert("model_configs".into(), model_configs.into());
                Ok(document)
            };
            self.resolve_into(
                &["teacher", &name],
                Map::from_iter([("model".into(), model.clone().into()), ("pretrained".into(), text("pretrained").into())]),
            );
            if pretrained == NO_WEIGHTS || pretrained.is_empty() && !stands_for_weights(&model) {
                self.problems
                    .add(&key, "needs `pretrained`: the weights of the teacher, as a file, a folder, `hf-hub:…` or a tag of its model");
            }
            match document {
                Err(message) => self.problems.add(format!("{key}.model"), message),
                Ok(mut document) => {
                    document.tree.insert("pretrained".into(), pretrained.into());
                    // The objectives of the teacher's own training are not asked for anything.
                    document.tree.remove("objective");
                    match RunConfig::resolve(&document, self.registry) {
                        Ok(config) => teachers.push(TeacherConfig { name, config: Box::new(config) }),
                        Err(list) => {
                            for problem in list {
                                self.problems.add(format!("{key}.{}", problem.key), problem.message);
                            }
                        }
                    }
                }
            }
        }
        teachers
    }

    fn suites(&mut self, tree: &Map<String, Value>) -> Vec<SuiteConfig> {
        let mut suites = Vec::new();
        for (name, value) in self.table(tree, "eval") {
            let key = format!("eval.{name}");
            self.plain(&key, &name);
            let Some(mut user) = self.object(&key, &value) else { continue };
            let text = match user.remove("every") {
                None => "end".to_owned(),
                Some(Value::String(text)) => text,
                Some(other) => other.to_string(),
            };
            let every = Every::parse(&text).unwrap_or_else(|message| {
                self.problems.add(format!("{key}.every"), message);
                Every::End
            });
            // What is measured, and what suites such as `knn` learn from.
            for field in ["data", "train"] {
                if let Some(data) = user.get(field).filter(|data| field == "data" || data.get("use").is_some()) {
                    // A suite may say by an option of its own where its data are.
                    let whole = if field == "data" { data_table(data, &user) } else { data.clone() };
                    self.source(&format!("{key}.{field}"), &whole, true);
                }
            }
            let mut extra = Map::new();
            extra.insert("every".into(), text.into());
            if let Some((chosen, resolved)) = self.plugin::<dyn EvalSuite>(&key, Some(&name), user, extra) {
                self.resolve_into(&["eval", &name], resolved);
                suites.push(SuiteConfig { key: name, every, chosen });
            }
        }
        suites
    }

    fn views<K: Kind + ?Sized>(&mut self, views: &Map<String, Value>, modality: &str, field: &str) -> Vec<ViewConfig<K>> {
        let mut out = Vec::new();
        for (name, value) in self.table(views, modality) {
            let key = format!("view.{modality}.{name}");
            self.plain(&key, &name);
            let Some(user) = self.object(&key, &value) else { continue };
            self.only(&user, &key, &[field]);
            let list = match user.get(field) {
                None => Vec::new(),
                Some(Value::Array(list)) => list.clone(),
                Some(_) => {
                    self.problems.add(format!("{key}.{field}"), "is a list of tables, each with `use`");
                    continue;
                }
            };
            let mut steps = Vec::new();
            let mut resolved = Vec::new();
            for (index, value) in list.iter().enumerate() {
                let key = format!("{key}.{field}.{index}");
                let user = match value {
                    // A plugin without options may be written as its name alone.
                    Value::String(name) => Map::from_iter([("use".to_owned(), Value::String(name.clone()))]),
                    other => match self.object(&key, other) {
                        Some(user) => user,
                        None => continue,
                    },
                };
                if let Some((chosen, options)) = self.plugin::<K>(&key, None, user, Map::new()) {
                    steps.push(chosen);
                    resolved.push(Value::Object(options));
                }
            }
            self.resolve_into(&["view", modality, &name], Map::from_iter([(field.to_owned(), Value::Array(resolved))]));
            out.push(ViewConfig { name, steps });
        }
        out
    }

    fn data(&mut self, tree: &Map<String, Value>) -> Option<Chosen<dyn Source>> {
        let data = self.table(tree, "data");
        self.only(&data, "data", &["train"]);
        let (chosen, complete) = self.source("data.train", data.get("train")?, false)?;
        self.resolve_into(&["data", "train"], complete);
        Some(chosen)
    }

    /// `[store.SCHEME]`: options of the store that serves a scheme.
    fn stores(&mut self, tree: &Map<String, Value>) -> BTreeMap<String, Box<dyn Config<dyn ObjectStore>>> {
        let mut stores = BTreeMap::new();
        for (scheme, value) in self.table(tree, "store") {
            let key = format!("store.{scheme}");
            let Some(user) = self.object(&key, &value) else { continue };
            if user.contains_key("use") {
                self.problems.add(format!("{key}.use"), "is not read: a store is named by its scheme, as in `[store.s3]`");
                continue;
            }
            if let Some((chosen, mut resolved)) = self.plugin::<dyn ObjectStore>(&key, Some(&scheme), user, Map::new()) {
                resolved.remove("use");
                self.resolve_into(&["store", &scheme], resolved);
                stores.insert(scheme, chosen.config);
            }
        }
        stores
    }

    /// Checks a data table and whether what it names is there, whatever a run reads of it. A suite whose published data set is absent is told
    /// and passed over when it is built.
    fn source(&mut self, key: &str, options: &Value, may_be_absent: bool) -> Option<(Chosen<dyn Source>, Map<String, Value>)> {
        let user = self.object(key, options)?;
        let (chosen, complete) = self.plugin::<dyn Source>(key, None, user, Map::new())?;
        let host = Opener { registry: self.registry, places: &self.places };
        let glance = SourceCx { folder: self.folder, wants: Wants::NOTHING, extent: Extent::Glance, host: &host };
        if let Err(error) = chosen.config.build(&glance)
            && !error.is_elsewhere()
            && !(may_be_absent && error.is_absent())
        {
            self.problems.add(key, error.to_string());
        }
        Some((chosen, complete))
    }

    /// The plugin that a table names with `use`, or with its own key, and its complete options.
    fn plugin<K: Kind + ?Sized>(
        &mut self,
        key: &str,
        name: Option<&str>,
        mut user: Map<String, Value>,
        extra: Map<String, Value>,
    ) -> Option<(Chosen<K>, Map<String, Value>)> {
        let (named, plugin) = match (user.remove("use"), name) {
            (Some(Value::String(plugin)), _) => (format!("{key}.use"), plugin),
            (Some(other), _) => {
                self.problems.add(format!("{key}.use"), format!("is the name of a plugin, not `{other}`"));
                return None;
            }
            (None, Some(name)) => (key.to_owned(), name.to_owned()),
            (None, None) => {
                self.problems.add(key, format!("needs `use`, the name of a plugin of kind {}", K::NAME));
                return None;
            }
        };
        let listed = match self.registry.get::<K>(&plugin) {
            Ok(listed) => listed,
            Err(error) => {
                self.problems.add(named, with_absent(error));
                return None;
            }
        };
        let parse = |value: &Value| listed.parse(value).map(|_| ()).map_err(|error| error.to_string());
        let lacks = format!("`{plugin}` has no option");
        let layer = Layer { key, defaults: &listed.defaults(), known: &[], lacks: &lacks, parse: &parse };
        let merged = self.problems.lay_over(&layer, &user);
        let config = listed.parse(&Value::Object(merged.clone())).ok()?;
        let mut resolved = Map::from_iter([("use".to_owned(), Value::String(plugin.clone()))]);
        resolved.extend(extra);
        resolved.extend(merged);
        Some((Chosen { plugin, config }, resolved))
    }

    fn table(&mut self, tree: &Map<String, Value>, name: &str) -> Map<String, Value> {
        tree.get(name).and_then(|value| self.object(name, value)).unwrap_or_default()
    }

    fn object(&mut self, key: &str, value: &Value) -> Option<Map<String, Value>> {
        let table = value.as_object().cloned();
        if table.is_none() {
            self.problems.add(key, format!("is a table, not `{value}`"));
        }
        table
    }

    /// Keys become parts of parameter names and of file names.
    fn plain(&mut self, key: &str, name: &str) {
        if name.is_empty() || !name.chars().all(|letter| letter.is_alphanumeric() || "-_".contains(letter)) {
            self.problems.add(key, format!("`{name}` cannot be a key here; use letters, digits, `-` and `_`"));
        }
    }

    fn only(&mut self, table: &Map<String, Value>, key: &str, known: &[&str]) {
        for name in table.keys().filter(|name| !known.contains(&name.as_str())) {
            self.problems.add(format!("{key}.{name}"), format!("`[{key}]` has no `{name}`{}", hint(name, known)));
        }
    }

    fn resolve_into(&mut self, path: &[&str], table: Map<String, Value>) {
        let mut at = &mut self.resolved;
        for name in path {
            let next = at.entry(*name).or_insert_with(|| Value::Object(Map::new()));
            let Value::Object(map) = next else { return };
            at = map;
        }
        at.extend(table);
    }
}

/// An unknown name, with the feature that would bring it in when a first-party crate of that name was left out of this build.
fn with_absent(error: vlhub_core::Error) -> String {
    let text = error.to_string();
    match &error {
        vlhub_core::Error::Unknown { kind, name, elsewhere: None, .. } => match crate::linked::left_out(Some(*kind), name) {
            Some(feature) => format!("{text}; this build leaves it out: build it with `--features {feature}`"),
            None => text,
        },
        _ => text,
    }
}
