//! The tables of a run file that the host owns.

use serde::{Deserialize, Serialize};
use vlhub_sdk::pixels::{Filter, Fit, PassOrder};

use super::log::LoggerName;
use crate::data::decode::{AlphaPolicy, ExifPolicy, MAX_PIXELS, PictureOptions, SixteenBitPolicy};
use crate::data::tokens::{Clean, Mode};
use crate::engine::batch_norm::FreezeStatistics;
use crate::engine::lora::LoraConfig;
use crate::formats::WeightSet;
use crate::section::{Section, out_of_range};

/// Top-level keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopConfig {
    /// Name of the run; its folder is `logs/name`. Made from date, model and rates when empty.
    pub name: String,
    /// Folder of all runs.
    pub logs: String,
    /// Where numbers go besides `metrics.jsonl` and `results.jsonl`: any of `tensorboard`, `csv`, `wandb`, `mlflow`. `[log.wandb]` and
    /// `[log.mlflow]` hold their options.
    #[serde(deserialize_with = "one_or_more")]
    pub report_to: Vec<String>,
    /// Seed of every draw.
    pub seed: u64,
    /// Width of the joint space.
    pub embed: i64,
    /// Keep the text tower's parameters under `text.`, as open_clip does with what it calls custom text towers.
    pub custom_text: bool,
    /// Folders of model configs of the user's own, searched before those that the program ships.
    pub model_configs: Vec<String>,
    /// A model name (`vlhub models list`), a config file, `hf-hub:…` or `local-dir:…`, which stands for the two `backbone` tables and `embed`;
    /// the last two stand for their weights too.
    pub model: String,
    /// Weights to start from: a file or folder, a run, `hf-hub:…`, or a tag of the named model (`vlhub models show`). Without it, those that
    /// `model` stands for, else random ones; `none` asks for random ones.
    pub pretrained: String,
    /// Keep what the weights lack as it was initialised, leave out what the model lacks, and take weights that describe another model than
    /// this one; otherwise each is an error.
    pub pretrained_partial: bool,
    /// Where weights come with their moving average: `average` or `raw`. Without it, what a run was measured with; of other files, raw.
    pub pretrained_weights: Option<WeightSet>,
    /// Plugin libraries to load.
    pub libraries: Vec<String>,
    /// What the classes of the supervised head are called, in the order of its logits: training takes those of its data, and writes them here in
    /// the run's own file. For heads that do not say themselves.
    pub class_names: Vec<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Where token ids come from: `clip`, or a `tokenizer.json`, its folder, or `hf-hub:…`, alone or in a table with options.
    pub tokenizer: TokenizerConfig,
    /// Most pixels of a picture; one with more is not used. Pillow's limit by default, against files of few bytes that would fill the memory.
    pub max_pixels: u64,
    /// Orientation tags of pictures: `ignore`, as open_clip does, or `apply`, which turns them upright.
    pub exif: ExifPolicy,
    /// Transparency of pictures: `drop`, as Pillow does, or what they are laid on: `white` or `black`.
    pub alpha: AlphaPolicy,
    /// Channels of 16 bits: `scale` to 8, or `pil`, which makes of grey pictures all above 255 white, as Pillow does.
    pub sixteen_bit: SixteenBitPolicy,
}

impl Default for TopConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            logs: "logs".into(),
            report_to: vec!["tensorboard".into()],
            seed: 0,
            embed: 512,
            custom_text: false,
            model_configs: Vec::new(),
            model: String::new(),
            pretrained: String::new(),
            pretrained_partial: false,
            pretrained_weights: None,
            libraries: Vec::new(),
            class_names: Vec::new(),
            device: "auto".into(),
            tokenizer: TokenizerConfig::default(),
            max_pixels: MAX_PIXELS,
            exif: ExifPolicy::default(),
            alpha: AlphaPolicy::default(),
            sixteen_bit: SixteenBitPolicy::default(),
        }
    }
}

impl TopConfig {
    /// The loggers that `report_to` names.
    pub fn loggers(&self) -> Vec<LoggerName> {
        LoggerName::parse(&self.report_to).unwrap_or_default()
    }

    /// How the run decodes pictures.
    pub fn pictures(&self) -> PictureOptions {
        let Self { max_pixels, exif, alpha, sixteen_bit, .. } = *self;
        PictureOptions { max_pixels, exif, alpha, sixteen_bit }
    }
}

impl Section for TopConfig {
    const NAME: &'static str = "";
    const NEVER_DECIDE: &'static [&'static str] =
        &["name", "logs", "report_to", "libraries", "model", "pretrained", "pretrained_weights", "class_names"];

    fn check(&self) -> Vec<(&'static str, String)> {
        let mut problems =
            out_of_range(&[(self.embed < 1, "embed", "must be at least 1"), (self.max_pixels < 1, "max_pixels", "must be at least 1")]);
        if let Err(failure) = crate::device::parse(&self.device) {
            problems.push(("device", failure.message));
        }
        if let Err(message) = LoggerName::parse(&self.report_to) {
            problems.push(("report_to", message));
        }
        problems
    }
}

/// `tokenizer = "clip"`, or a table with options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct TokenizerConfig {
    /// `clip`, a `tokenizer.json` or its folder, or `hf-hub:ORGANISATION/NAME`.
    #[serde(rename = "use")]
    pub source: String,
    /// How texts are cleaned first: `whitespace`, `lower` or `canonicalize`; open_clip's choice for the tokenizer without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clean: Option<Clean>,
    /// Put id 0 in place of the separator, as CLIPA's models want it.
    pub strip_sep: bool,
    /// The language of the texts, where each language has a token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// How ids are framed and padded.
    pub mode: Mode,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self::from(Written::Name("clip".into()))
    }
}

/// What may stand in a run file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Name(String),
    Table(TokenizerTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenizerTable {
    #[serde(rename = "use")]
    source: String,
    clean: Option<Clean>,
    #[serde(default)]
    strip_sep: bool,
    language: Option<String>,
    #[serde(default)]
    mode: Mode,
}

impl From<Written> for TokenizerConfig {
    fn from(written: Written) -> Self {
        match written {
            Written::Name(source) => Self { source, clean: None, strip_sep: false, language: None, mode: Mode::Standard },
            Written::Table(TokenizerTable { source, clean, strip_sep, language, mode }) => {
                Self { source, clean, strip_sep, language, mode }
            }
        }
    }
}

/// `[preprocess]`: how pictures are brought to the size that the image tower reads. It follows the model and is kept with the run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PreprocessConfig {
    /// Mean of each channel, for values in 0..1; the image tower's own when it is not given.
    pub mean: Option<[f64; 3]>,
    /// Standard deviation of each channel; the image tower's own when it is not given.
    pub std: Option<[f64; 3]>,
    /// Filter of the resize.
    pub interpolation: Filter,
    /// Which direction the resize takes first: `horizontal` as Pillow up to 12.1, `pillow12` as 12.2 and 12.3, `pillow13` as 13.
    pub pass_order: PassOrder,
    /// Which side fits.
    pub resize_mode: Fit,
    /// Grey level of the border where the longer side fits; 0 is black.
    pub fill_color: u8,
}

impl Section for PreprocessConfig {
    const NAME: &'static str = "preprocess";
}

/// What a tower's table may hold besides its plugin's options: how the tower is begun and trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TowerOptions {
    /// Weights for this tower alone, over those of `pretrained`: a file or folder, `hf-hub:…`; empty for none.
    pub init: String,
    /// Of weights that are loaded, only those of the first so many groups of layers stay; the others begin afresh. 0 keeps all.
    pub load_groups: usize,
    /// Stages that are not trained; `all` for the whole tower with its projection.
    #[serde(deserialize_with = "one_or_more")]
    pub freeze: Vec<String>,
    /// Lock the tower but for its last so many groups of layers, as open_clip's `--lock-image-unlocked-groups` and
    /// `--lock-text-unlocked-layers` do; without it nothing is locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unlocked: Option<usize>,
    /// Batch norms that normalise by their running statistics while the tower is trained, and leave these as they are: `true` for those
    /// whose weights are not trained, `"all"` for every one.
    pub freeze_bn_stats: FreezeStatistics,
    /// Low-rank adapters.
    #[serde(skip_serializing_if = "no_adapters")]
    pub lora: LoraConfig,
    /// Begin with orthogonal layers of unit variance on the first batch.
    pub lsuv: bool,
    /// Share of the pooled output that is zeroed before the projection while training.
    pub drop: f64,
}

impl TowerOptions {
    /// The keys, as they are written.
    pub const KEYS: [&'static str; 8] = ["init", "load_groups", "freeze", "unlocked", "freeze_bn_stats", "lora", "lsuv", "drop"];

    /// Options that are out of range: the key within the table, and what is wrong.
    pub fn check(&self) -> Vec<(&'static str, String)> {
        out_of_range(&[
            (!(0.0..1.0).contains(&self.drop), "drop", "is a share from 0 to below 1"),
            (self.lora.rank < 0, "lora.rank", "must not be negative"),
        ])
    }
}

fn no_adapters(lora: &LoraConfig) -> bool {
    lora.rank == 0
}

/// A text, or a list of texts.
fn one_or_more<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "is a text or a list of texts")]
    enum Either {
        One(String),
        More(Vec<String>),
    }
    Ok(match Either::deserialize(deserializer)? {
        Either::One(one) => vec![one],
        Either::More(more) => more,
    })
}

/// When a suite runs: `end`, `never`, `N epochs` or `N steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After the last step.
    End,
    /// Only with `vlhub eval`.
    Never,
    /// After every N epochs, and at the end.
    Epochs(u64),
    /// After every N steps, and at the end.
    Steps(u64),
}

impl Every {
    /// Parses the text of the option.
    ///
    /// # Errors
    /// What may be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time; write `end`, `never`, `1 epoch`, `500 steps`");
        match text.trim() {
            "end" => return Ok(Self::End),
            "never" => return Ok(Self::Never),
            _ => {}
        }
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        match unit.trim().trim_end_matches('s') {
            "epoch" => Ok(Self::Epochs(number)),
            "step" => Ok(Self::Steps(number)),
            _ => Err(wrong()),
        }
    }

    /// Whether it is time after `done` steps of `total`.
    pub fn is_due(self, done: u64, total: u64, epoch: u64) -> bool {
        match self {
            Self::Never => false,
            Self::End => done == total,
            Self::Epochs(number) => done == total || done.is_multiple_of(epoch.saturating_mul(number).max(1)),
            Self::Steps(number) => done == total || done.is_multiple_of(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_and_come_due() {
        for (text, done, due, why) in [
            ("end", 100, true, "the last step"),
            ("end", 50, false, "not yet"),
            ("never", 100, false, "never"),
            ("1 epoch", 25, true, "after an epoch of 25 steps"),
            ("2 epochs", 25, false, "after two"),
            ("30 steps", 60, true, "a multiple"),
            ("30 steps", 100, true, "the end is always measured"),
        ] {
            assert_eq!(Every::parse(text).expect(text).is_due(done, 100, 25), due, "{text} at {done}: {why}");
        }
        for text in ["", "soon", "0 epochs", "1 week", "epoch"] {
            assert!(Every::parse(text).is_err(), "{text}");
        }
    }
}
