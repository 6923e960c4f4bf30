//! Run files: read, checked as a whole, laid over the plugins' defaults, and written back complete.

pub mod base;
pub mod document;
pub mod log;
pub mod problems;
mod reader;
pub mod sections;
pub mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value};
use vlhub_core::{Augmentation, Backbone, CaptionTransform, Config, EvalSuite, Kind, Objective, Registry, Source};

use crate::data::Opener;
use crate::data::places::Places;
use crate::engine::ema::EmaConfig;
use crate::engine::optim::OptimizerConfig;
use crate::engine::schedule::ScheduleConfig;
use crate::failure::Outcome;
use document::Document;
use log::{MlflowConfig, WandbConfig};
use problems::{Problem, Problems};
use sections::{Every, PreprocessConfig, TopConfig, TowerOptions};
use train::TrainConfig;

/// `pretrained = "none"`: random weights, although the model's name stands for some.
pub const NO_WEIGHTS: &str = "none";

/// Whether a model's name is that of published weights too, as `hf-hub:…` and `local-dir:…` are.
pub fn stands_for_weights(model: &str) -> bool {
    crate::hub::PublishedSource::parse(model).is_some()
}

/// A plugin that a run file names, with its complete options.
#[derive(Debug)]
pub struct Chosen<K: Kind + ?Sized> {
    /// The plugin's name.
    pub plugin: String,
    /// Its options.
    pub config: Box<dyn Config<K>>,
}

/// `[backbone.image]` or `[backbone.text]`.
#[derive(Debug)]
pub struct TowerConfig {
    /// The backbone.
    pub chosen: Chosen<dyn Backbone>,
    /// How it is begun and trained.
    pub training: TowerOptions,
}

/// `[objective.KEY]`.
#[derive(Debug)]
pub struct TermConfig {
    /// Its key.
    pub key: String,
    /// Its share of the loss.
    pub weight: f64,
    /// The objective.
    pub chosen: Chosen<dyn Objective>,
}

/// `[teacher.NAME]`: a model that objectives read and nothing trains.
#[derive(Debug)]
pub struct TeacherConfig {
    /// Its name.
    pub name: String,
    /// Its towers, and the weights that they get.
    pub config: Box<RunConfig>,
}

/// `[eval.KEY]`.
#[derive(Debug)]
pub struct SuiteConfig {
    /// Its key.
    pub key: String,
    /// When it runs.
    pub every: Every,
    /// The suite.
    pub chosen: Chosen<dyn EvalSuite>,
}

/// A view with the plugins that make it.
#[derive(Debug)]
pub struct ViewConfig<K: Kind + ?Sized> {
    /// Its name.
    pub name: String,
    /// Applied in order.
    pub steps: Vec<Chosen<K>>,
}

/// A whole run file, checked.
#[derive(Debug)]
pub struct RunConfig {
    /// Top-level keys.
    pub top: TopConfig,
    /// `[preprocess]`.
    pub preprocess: PreprocessConfig,
    /// `[train]`.
    pub train: TrainConfig,
    /// `[optimizer]`.
    pub optimizer: OptimizerConfig,
    /// `[schedule]`.
    pub schedule: ScheduleConfig,
    /// `[ema]`.
    pub ema: EmaConfig,
    /// `[log.wandb]`.
    pub wandb: WandbConfig,
    /// `[log.mlflow]`.
    pub mlflow: MlflowConfig,
    /// The image tower.
    pub image: Option<TowerConfig>,
    /// The text tower.
    pub text: Option<TowerConfig>,
    /// Image views.
    pub image_views: Vec<ViewConfig<dyn Augmentation>>,
    /// Text views.
    pub text_views: Vec<ViewConfig<dyn CaptionTransform>>,
    /// Objectives.
    pub objectives: Vec<TermConfig>,
    /// Models that objectives read.
    pub teachers: Vec<TeacherConfig>,
    /// Suites.
    pub suites: Vec<SuiteConfig>,
    /// `[data.train]`.
    pub data: Option<Chosen<dyn Source>>,
    /// Every option, defaults too: what the run's folder gets.
    pub resolved: Map<String, Value>,
    /// Where relative paths start.
    pub folder: PathBuf,
    /// The plugins that were there: suites open sources by name.
    pub registry: Arc<Registry>,
    /// `[store.NAME]`: where files come from that are not on this machine.
    pub places: Arc<Places>,
}

impl RunConfig {
    /// Checks a document against what is registered. Nothing is allocated, no data is opened.
    ///
    /// # Errors
    /// Every problem, with its place and what was near.
    pub fn resolve(document: &Document, registry: &Registry) -> Result<Self, Vec<Problem>> {
        let mut reader = reader::Reader::new(document, registry);
        let config = reader.read(document);
        match reader.problems.list.is_empty() {
            true => config.ok_or_else(Vec::new),
            false => Err(reader.problems.list),
        }
    }

    /// [`RunConfig::resolve`] with every problem in one failure.
    ///
    /// # Errors
    /// Exit status 2 with the list.
    pub fn of(document: &Document, registry: &Registry) -> Outcome<Self> {
        Self::resolve(document, registry).map_err(|list| {
            let problems = Problems::found(document, list);
            problems.failure().unwrap_or_else(|| crate::failure::Failure::usage("the run file cannot be read"))
        })
    }

    /// What the sources of this run may ask for.
    pub fn opener(&self) -> Opener<'_> {
        Opener { registry: &self.registry, places: &self.places }
    }

    /// The options of the image and of the text backbone.
    pub fn backbones(&self) -> [Option<&dyn Config<dyn Backbone>>; 2] {
        [&self.image, &self.text].map(|tower| tower.as_ref().map(|tower| tower.chosen.config.as_ref()))
    }

    /// The complete options as TOML.
    pub fn to_toml(&self) -> String {
        document::to_toml(&self.resolved)
    }

    /// The complete options as TOML, with where relative paths start: it describes the run in whatever folder it lies. `resolved` are
    /// [`RunConfig::resolved`], and what training found out besides.
    pub fn portable_toml(&self, resolved: Map<String, Value>) -> String {
        let absolute = |path: &Path| Value::from(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string());
        let mut tree = resolved;
        tree.insert(document::FOLDER.into(), absolute(&self.folder));
        // The folder of all runs starts where the program does, not at the run file.
        tree.insert("logs".into(), absolute(Path::new(&self.top.logs)));
        document::to_toml(&tree)
    }

    /// The weights that the run starts from, as they are named: `pretrained`, else a model's name that stands for weights; `None` for random ones.
    pub fn weights(&self) -> Option<&str> {
        match self.top.pretrained.as_str() {
            NO_WEIGHTS => None,
            "" => Some(self.top.model.as_str()).filter(|model| stands_for_weights(model)),
            named => Some(named),
        }
    }
}
