//! Measuring a model: suites, and the model as they see it.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use image::RgbImage;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::{CaptionTransform, Encoded, Error, Result, Wants};

/// An evaluation suite: measures a model. It knows metrics, and nothing of towers, tokenizers, files or devices.
///
/// ```
/// use tch::{Kind, Tensor};
/// use vlhub_core::{EvalSuite, Model, Report, Requires, Result};
///
/// /// The mean cosine of pictures with their first texts.
/// #[derive(Debug)]
/// struct Agreement {
///     pictures: Vec<image::RgbImage>,
///     texts: Vec<String>,
/// }
///
/// impl EvalSuite for Agreement {
///     fn requires(&self) -> Requires {
///         Requires::ENCODERS
///     }
///     fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()> {
///         let (images, texts) = (model.images(&self.pictures, false)?.embed, model.texts(&self.texts, false)?.embed);
///         let cosines = Tensor::f_cosine_similarity(&images, &texts, 1, 1e-8)?;
///         report.samples = self.pictures.len() as u64;
///         report.metric("agreement", cosines.f_mean(Kind::Float)?.double_value(&[]));
///         Ok(())
///     }
/// }
/// ```
pub trait EvalSuite: Debug + Send {
    /// The skills without which it is skipped, by name, rather than failed.
    fn requires(&self) -> Requires {
        Requires::default()
    }
    /// Checks a model against the data and the options before anything is computed, so that a run is refused at its start and not after its
    /// last step.
    ///
    /// # Errors
    /// A model that cannot be measured on this data or with these options, such as a head of other classes, or captions that are longer
    /// than the model's context.
    fn check(&self, _skills: &Skills<'_>) -> Result<()> {
        Ok(())
    }
    /// Measures `model`, and adds metrics, the number of samples, and what could not be used to `report`.
    ///
    /// # Errors
    /// What ends the measurement. A sample that cannot be read is none: it goes into [`Report::skipped`].
    fn run(&self, model: &dyn Model, report: &mut Report) -> Result<()>;
}

/// A trained model as evaluation suites see it. The host implements it; a suite's tests may have one of their own.
///
/// ```
/// use image::RgbImage;
/// use tch::{Device, Kind, Tensor};
/// use vlhub_core::{Encoded, Error, Model, Result, Skills};
///
/// /// Its embedding of a picture is the picture's mean colour.
/// struct MeanColour;
///
/// impl Model for MeanColour {
///     fn images(&self, images: &[RgbImage], _tokens: bool) -> Result<Encoded> {
///         let mean = |image: &RgbImage| {
///             let sum = image.pixels().fold([0.0f32; 3], |sum, pixel| [0, 1, 2].map(|at| sum[at] + f32::from(pixel[at])));
///             sum.map(|channel| channel / 255.0 / (image.width() * image.height()) as f32)
///         };
///         let colours: Vec<f32> = images.iter().flat_map(mean).collect();
///         let embed = Tensor::from_slice(&colours).view([-1, 3]);
///         Ok(Encoded { pooled: embed.shallow_clone(), embed, tokens: None })
///     }
///     fn texts(&self, _texts: &[String], _tokens: bool) -> Result<Encoded> {
///         Err(Error::invalid("this model reads no texts"))
///     }
///     fn skills(&self) -> Skills<'_> {
///         Skills { images: true, ..Skills::default() }
///     }
/// }
///
/// assert_eq!(MeanColour.images(&[RgbImage::new(4, 3)], false)?.embed.size(), [1, 3]);
/// # Ok::<(), vlhub_core::Error>(())
/// ```
pub trait Model {
    /// Encodes B pictures of any size: resizes, normalises and moves them to the device itself.
    ///
    /// # Shapes
    /// - embed: `[B, D]` float, not normalised; pooled: `[B, width]`; with `tokens` also `[B, T, width]` and a mask `[B, T]`
    ///
    /// # Errors
    /// When it has no image tower.
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded>;
    /// Encodes B texts of any length: tokenises, truncates and moves them to the device itself.
    ///
    /// # Shapes
    /// As [`Model::images`].
    ///
    /// # Errors
    /// When it has no text tower.
    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded>;
    /// A classifier made of texts: for each group of texts the mean of their unit-length embeddings, again of unit length. A host may remember
    /// what it has computed, and encode what texts have in common once.
    ///
    /// # Shapes
    /// - out: `[groups, D]`, float
    ///
    /// # Errors
    /// A group without texts, or no text tower.
    fn prototypes(&self, groups: &[Vec<String>]) -> Result<Tensor> {
        let rows = groups.iter().map(|texts| mean_direction(&self.texts(texts, false)?.embed));
        Ok(Tensor::f_stack(&rows.collect::<Result<Vec<_>>>()?, 0)?)
    }
    /// Which towers there are, and what the objectives can do beyond cosine similarity.
    fn skills(&self) -> Skills<'_>;
    /// Writes a caption for each picture.
    ///
    /// # Errors
    /// When no objective writes captions.
    fn captions(&self, _images: &[RgbImage], _how: &Captioning) -> Result<Vec<String>> {
        Err(Error::invalid("this model writes no captions; the objective `caption` does"))
    }
}

/// The mean of the unit vectors of `rows` `[N, D]`, of unit length itself: `[D]`, float.
///
/// # Errors
/// No rows.
pub fn mean_direction(rows: &Tensor) -> Result<Tensor> {
    if rows.size().first().is_none_or(|rows| *rows == 0) {
        return Err(Error::invalid("a class has no text"));
    }
    // As torch.nn.functional.normalize does it: never divided by zero.
    let unit =
        |rows: &Tensor| -> Result<Tensor> { Ok(rows.f_div(&rows.f_norm_scalaropt_dim(2, [-1i64].as_slice(), true)?.f_clamp_min(1e-12)?)?) };
    unit(&unit(&rows.f_to_kind(Kind::Float)?)?.f_mean_dim([0i64].as_slice(), false, Kind::Float)?)
}

/// What a model can do.
#[derive(Clone, Copy, Default)]
pub struct Skills<'a> {
    /// It has an image tower.
    pub images: bool,
    /// It has a text tower.
    pub texts: bool,
    /// Scores images against texts in its own way (FILIP). Cosine similarity where it is absent.
    pub scorer: Option<&'a dyn Scorer>,
    /// Writes captions (CoCa).
    pub captioner: Option<&'a dyn Captioner>,
    /// Predicts classes (supervised heads).
    pub classifier: Option<&'a dyn Classifier>,
    /// Class names of the classifier's logits, in their order; empty when the model does not say. An objective leaves it empty: the run knows the
    /// names of the data that it was trained on.
    pub classes: &'a [String],
}

impl Debug for Skills<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Skills")
            .field("images", &self.images)
            .field("texts", &self.texts)
            .field("scorer", &self.scorer.is_some())
            .field("captioner", &self.captioner.is_some())
            .field("classifier", &self.classifier.is_some())
            .field("classes", &self.classes.len())
            .finish()
    }
}

/// Scores images against texts.
pub trait Scorer {
    /// Whether it reads tokens.
    fn tokens(&self) -> bool;
    /// `[images, texts]`, larger is better.
    fn score(&self, images: &Encoded, texts: &Encoded) -> Result<Tensor>;
}

/// Writes captions.
pub trait Captioner {
    /// Context length: most tokens of a caption that it can write, start and end included; `None` where it does not say. A suite
    /// compares it in [`EvalSuite::check`] with the length that it will ask for.
    fn context(&self) -> Option<i64> {
        None
    }
    /// Token ids `[B, L]`, int64, for encoded images with their tokens: each row from the start to the end token, then filled up with
    /// padding; L is at most `how.longest`. Row b draws from `seeds[b]` alone, so a caption does not depend on the rows beside it.
    ///
    /// # Errors
    /// Settings that mean nothing, or images without tokens.
    fn caption(&self, images: &Encoded, seeds: &[u64], text: &TextSide<'_>, how: &Captioning) -> Result<Tensor>;
}

/// What a captioner may know of the text tower and its tokenizer.
#[derive(Clone, Copy)]
pub struct TextSide<'a> {
    /// Encodes token ids `[B, L]`, with tokens, as in evaluation.
    pub encode: &'a dyn Fn(&Tensor) -> Result<Encoded>,
    /// The id with which a text starts.
    pub start: i64,
    /// The id with which it ends.
    pub end: i64,
}

impl Debug for TextSide<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextSide").field("start", &self.start).field("end", &self.end).finish_non_exhaustive()
    }
}

/// How captions are written. The defaults write the likeliest token each time, as open_clip's `top_k` of 1 does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Captioning {
    /// How each token is chosen.
    pub method: Decoding,
    /// Most tokens of a caption, start and end included (open_clip: `seq_len`).
    pub longest: i64,
    /// Tokens before which a caption does not end, the start included (open_clip: `min_seq_len`).
    pub shortest: i64,
    /// Divides the positive logits of tokens that the caption has, and multiplies the negative ones; 1 changes nothing (CTRL, arXiv
    /// 1909.05858).
    pub repetition_penalty: f64,
    /// Seed of whatever is drawn; each picture makes its own of it.
    pub seed: u64,
}

impl Default for Captioning {
    fn default() -> Self {
        Self { method: Decoding::Greedy, longest: 30, shortest: 5, repetition_penalty: 1.0, seed: 0 }
    }
}

/// How the next token is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Decoding {
    /// The likeliest.
    Greedy,
    /// Drawn among the likeliest.
    Sample {
        /// Divides the logits of those that are left; above 1 evens them out.
        temperature: f64,
        /// Only so many of the likeliest; 0 takes all.
        top_k: i64,
        /// Only the likeliest that together have this probability (arXiv 1904.09751); 1 takes all.
        top_p: f64,
    },
    /// Several captions are carried on, and the one of the largest mean logit is taken.
    Beam {
        /// Captions that are carried on (open_clip: `num_beams`).
        beams: i64,
        /// Groups of equal size into which they are cut (open_clip: `num_beam_groups`).
        groups: i64,
    },
}

/// Predicts classes.
pub trait Classifier {
    /// Number of classes: the width of the logits, at least 1.
    fn classes(&self) -> usize;
    /// Logits `[B, classes]`, float, for encoded images.
    ///
    /// # Errors
    /// Features of another width than the head was made for.
    fn classify(&self, images: &Encoded) -> Result<Tensor>;
}

/// The skills that a suite cannot do without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Requires {
    /// An image tower.
    pub images: bool,
    /// A text tower.
    pub texts: bool,
    /// A captioner.
    pub captioner: bool,
    /// A classifier.
    pub classifier: bool,
}

impl Requires {
    /// Both towers.
    pub const ENCODERS: Self = Self { images: true, texts: true, captioner: false, classifier: false };

    /// What `skills` lacks.
    pub fn missing(&self, skills: &Skills<'_>) -> Vec<&'static str> {
        [
            (self.images && !skills.images, "an image tower"),
            (self.texts && !skills.texts, "a text tower"),
            (self.captioner && skills.captioner.is_none(), "a captioner"),
            (self.classifier && skills.classifier.is_none(), "a classifier"),
        ]
        .into_iter()
        .filter_map(|(lacks, what)| lacks.then_some(what))
        .collect()
    }
}

/// One picture and what is known about it.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Where it is from, for people: shard and key, or file.
    pub key: String,
    /// The decoded picture.
    pub image: RgbImage,
    /// Its captions; may be empty.
    pub texts: Vec<String>,
    /// Its classes, places in [`Dataset::classes`]: none where it has no label, several where several are right.
    pub labels: Vec<i64>,
    /// Other columns or keys.
    pub meta: BTreeMap<String, String>,
}

impl Sample {
    /// Its class, the first where several are right.
    pub fn label(&self) -> Option<i64> {
        self.labels.first().copied()
    }
}

/// Samples in a fixed order.
pub trait Dataset: Send + Sync {
    /// How many samples it lists; unreadable ones count.
    fn len(&self) -> usize;
    /// Whether it lists none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Class names in the order of labels; empty when it has no classes.
    fn classes(&self) -> &[String];
    /// Sentences about a class that it was published with, `{}` or `{c}` standing for the class name; empty where it has none.
    fn templates(&self) -> &[String] {
        &[]
    }
    /// Labels of the classes among which a model chooses, as [`Source::evaluated`](crate::Source::evaluated).
    fn evaluated(&self) -> &[u32] {
        &[]
    }
    /// Remarks on the data as a whole, for people, as [`Source::notes`](crate::Source::notes).
    fn notes(&self) -> &[String] {
        &[]
    }
    /// The sampling unit of the sample that [`Dataset::samples`] gives at `index`, as [`Source::unit`](crate::Source::unit).
    fn unit(&self, _index: usize) -> Option<String> {
        None
    }
    /// Reads them in order. An unreadable one is an `Err` that names it; the next call goes on with the next sample.
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_>;
    /// Reads one sample again: the one that [`Dataset::samples`] gives at `index`. For the few that are shown on a page. By default the samples
    /// before it are read too.
    ///
    /// # Errors
    /// It cannot be read, or there are not so many.
    fn sample(&self, index: usize) -> Result<Sample> {
        let beyond = || Err(Error::invalid(format!("sample {index} of {}", self.len())));
        self.samples().nth(index).unwrap_or_else(beyond)
    }
}

/// Opens data sets: the host's business, lent to suites.
pub trait Datasets {
    /// `options` is a table as in `[data.train]`. Whatever a sample has is read, and only its picture must be there.
    fn open(&self, options: &serde_json::Value) -> Result<Arc<dyn Dataset>>;
    /// [`Datasets::open`] for a suite that says what it reads: the rest of a sample may be missing or damaged. A picture is always read.
    fn open_for(&self, options: &serde_json::Value, _wants: Wants) -> Result<Arc<dyn Dataset>> {
        self.open(options)
    }
}

/// Builds the caption transform that a value names, as in `transform` of `[view.text.NAME]`.
pub type BuildTransform<'a> = dyn Fn(&serde_json::Value) -> Result<Box<dyn CaptionTransform>> + 'a;

/// What a suite is built with.
#[derive(Clone, Copy)]
pub struct EvalCx<'a> {
    /// Opens the data sets that the options name.
    pub datasets: &'a dyn Datasets,
    /// Builds caption transforms that the options name.
    pub transform: &'a BuildTransform<'a>,
    /// Reads a small text file that the options name: a list of classes. Relative paths start at the run file's folder.
    pub read_text: &'a dyn Fn(&str) -> Result<String>,
}

impl<'a> EvalCx<'a> {
    /// With data sets alone: caption transforms and files are refused.
    pub fn new(datasets: &'a dyn Datasets) -> Self {
        let transform = &|_: &serde_json::Value| Err(Error::Options("no caption transforms are at hand here".into()));
        let read_text = &|name: &str| Err(Error::Options(format!("`{name}` cannot be read: no files are at hand here")));
        Self { datasets, transform, read_text }
    }
}

impl Debug for EvalCx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EvalCx").finish_non_exhaustive()
    }
}

/// One number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// `top1`, `image_to_text_R@5`, …
    pub name: String,
    /// The number.
    pub value: f64,
    /// What a model that guesses would get, where that is known.
    pub chance: Option<f64>,
    /// Bounds of its 95 % confidence interval. The host fills it in by bootstrap where [`Report::tables`] has the metric's samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What a suite found for each sample: of this the host makes confidence intervals, and paired tests between models.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleTable {
    /// What its rows are, where a suite has several tables: `image_to_text`; else empty.
    pub name: String,
    /// [`Sample::key`] of each row, or what else tells rows apart: the same for every model on the same data.
    pub keys: Vec<String>,
    /// The sampling unit of each row, where rows are not independent of each other: those of one picture (its captions, its labels, its
    /// corruptions) have the same. Intervals and paired tests draw whole units. Empty where each row is a unit of its own; so is a row
    /// whose text here is empty.
    pub units: Vec<String>,
    /// The true class of each row, a place in [`Report::classes`]; empty where there are no classes.
    pub classes: Vec<u32>,
    /// The predicted class of each row; empty where there is none.
    pub predicted: Vec<u32>,
    /// What was found.
    pub columns: Vec<ScoreColumn>,
}

/// One number of each sample.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreColumn {
    /// The metric that is a mean of these. Where the report has no metric of that name, the numbers are only written down: rows that nobody
    /// sampled, such as classes with their average precision, have no interval, and no test is made of them.
    pub metric: String,
    /// One for each row of the table.
    pub values: Vec<f32>,
    /// How the metric is their mean.
    pub mean: MeanOf,
}

/// What a metric is a mean of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MeanOf {
    /// Of all rows alike.
    #[default]
    Rows,
    /// Of the means of each class that has rows.
    Classes,
}

/// An example for the page: what was asked, and what the model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Example {
    /// Under which heading it stands: `Least recognised`, `Texts to pictures`.
    pub section: String,
    /// What was asked: a class, a caption.
    pub title: String,
    /// Pictures that were asked about or found.
    pub pictures: Vec<Thumbnail>,
    /// Texts that were found.
    pub texts: Vec<Answer>,
}

/// A small picture of an [`Example`].
#[derive(Clone, Debug, PartialEq)]
pub struct Thumbnail {
    /// At most [`Thumbnail::SIDE`] pixels high and wide.
    pub image: RgbImage,
    /// What stands below it.
    pub answer: Answer,
}

impl Thumbnail {
    /// The longest side in pixels.
    pub const SIDE: u32 = 112;

    /// Of a picture of any size.
    pub fn new(image: &RgbImage, answer: Answer) -> Self {
        Self { image: Self::shrunk(image, Self::SIDE), answer }
    }

    /// A picture with at most `most` pixels on its longer side.
    pub fn shrunk(image: &RgbImage, most: u32) -> RgbImage {
        let (width, height) = image.dimensions();
        let scale = f64::from(most) / f64::from(width.max(height).max(1));
        let side = |pixels: u32| if scale < 1.0 { ((f64::from(pixels) * scale) as u32).max(1) } else { pixels };
        image::imageops::thumbnail(image, side(width), side(height))
    }
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// A class, a caption, a file.
    pub text: String,
    /// Its score, where there is one.
    pub score: Option<f64>,
    /// Whether it is right; `None` where that is not the question.
    pub right: Option<bool>,
}

/// Counts of true class (row) against predicted class (column).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// Class names.
    pub classes: Vec<String>,
    /// `counts[true][predicted]`.
    pub counts: Vec<Vec<u64>>,
}

/// What a suite found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The numbers, in the order in which they were added.
    pub metrics: Vec<Metric>,
    /// How many samples were measured.
    pub samples: u64,
    /// Samples that could not be used, with the reason.
    pub skipped: Vec<String>,
    /// A confusion matrix, for classification.
    pub confusion: Option<Matrix>,
    /// Class names, for classification.
    #[serde(skip)]
    pub classes: Vec<String>,
    /// What was found for each sample.
    #[serde(skip)]
    pub tables: Vec<SampleTable>,
    /// Examples for the page; a few dozen at most.
    #[serde(skip)]
    pub examples: Vec<Example>,
    /// Remarks for the reader.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds a number.
    pub fn metric(&mut self, name: impl Into<String>, value: f64) {
        self.metrics.push(Metric { name: name.into(), value, chance: None, interval: None });
    }
    /// Adds a number with what guessing would get.
    pub fn metric_with_chance(&mut self, name: impl Into<String>, value: f64, chance: f64) {
        self.metrics.push(Metric { name: name.into(), value, chance: Some(chance), interval: None });
    }
    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    }
}
