//! Laws of evaluation suites, on a toy data set: an oracle and a model that knows nothing.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use image::{Rgb, RgbImage};
use tch::{Device, Kind, Tensor};
use vlhub_core::{Classifier, Config, Dataset, Datasets, Encoded, Error, EvalCx, EvalSuite, Model, Report, Result, Sample, Skills, Tokens};

use super::{Law, LawOutcome, Verdict, all, ensure, failed, near};

/// Options of a suite.
pub type SuiteOptions = dyn Config<dyn EvalSuite>;

/// The laws, by name.
pub const LAWS: &[Law<dyn EvalSuite>] = &[
    ("oracle", |entry| with(entry, oracle)),
    ("chance", |entry| with(entry, chance)),
    ("stable", |entry| with(entry, stable)),
    ("unreadable", |entry| with(entry, unreadable)),
    ("class_names", |entry| with(entry, class_names)),
    ("skills", |entry| with(entry, skills)),
];

/// Classes of the toy data set.
pub const CLASSES: [&str; 4] = ["falcon", "teapot", "bicycle", "orchid"];
/// Its pictures, as many of each class.
pub const PICTURES: i64 = 12;

/// What the oracle's head calls its classes.
static NAMES: LazyLock<Vec<String>> = LazyLock::new(|| CLASSES.map(String::from).to_vec());

/// Sentences that the toy data set brings.
static TEMPLATES: LazyLock<Vec<String>> = LazyLock::new(|| vec!["a photo of a {}.".into()]);

fn with(entry: &vlhub_core::PluginEntry<dyn EvalSuite>, law: fn(&SuiteOptions) -> Verdict) -> LawOutcome {
    let config = match all::default_config(entry) {
        Ok(config) => config,
        Err(why) => return LawOutcome::Broken(why),
    };
    match build(&*config, &Toys::default()) {
        Ok(suite) => match suite.requires().missing(&Oracle.skills())[..] {
            [] => law(&*config).into(),
            ref lacks => LawOutcome::Untried(format!("the oracle lacks {}", lacks.join(" and "))),
        },
        Err(why) => LawOutcome::Broken(why),
    }
}

/// Opens one toy data set, whatever the options say.
#[derive(Debug, Default)]
pub struct Toys {
    /// Whether it has an unreadable sample.
    pub broken: bool,
    /// Whether the first data set that is opened, the third, and so on, list their classes in the reverse order.
    pub turned: bool,
    opened: Cell<usize>,
}

impl Datasets for Toys {
    fn open(&self, _options: &serde_json::Value) -> Result<Arc<dyn Dataset>> {
        let turned = self.turned && self.opened.get().is_multiple_of(2);
        self.opened.set(self.opened.get() + 1);
        let mut classes = NAMES.clone();
        if turned {
            classes.reverse();
        }
        Ok(Arc::new(ToyData { classes, broken: self.broken, turned }))
    }
}

struct ToyData {
    classes: Vec<String>,
    broken: bool,
    turned: bool,
}

impl Dataset for ToyData {
    fn len(&self) -> usize {
        PICTURES as usize + usize::from(self.broken)
    }
    fn classes(&self) -> &[String] {
        &self.classes
    }
    fn templates(&self) -> &[String] {
        &TEMPLATES
    }
    fn samples(&self) -> Box<dyn Iterator<Item = Result<Sample>> + '_> {
        let broken = self.broken.then(|| Err(Error::invalid("toy/broken.png: not a picture")));
        let count = CLASSES.len() as i64;
        let good = (0..PICTURES).map(|at| {
            let class = at % count;
            Ok(Sample {
                key: format!("toy/{at}.png"),
                image: RgbImage::from_pixel(4, 4, Rgb([(at * 20) as u8, 100, 200])),
                texts: vec![caption(at)],
                labels: vec![if self.turned { count - 1 - class } else { class }],
                meta: BTreeMap::new(),
            })
        });
        // In the middle of a batch, so that a suite which stops there is found out.
        let mut all: Vec<_> = good.collect();
        all.splice(5..5, broken);
        Box::new(all.into_iter())
    }
}

fn caption(at: i64) -> String {
    format!("number {at} of twelve: one {}", CLASSES[(at % CLASSES.len() as i64) as usize])
}

/// One-hot class, then one-hot picture; a class name alone has no picture.
fn code(picture: Option<i64>, class: Option<i64>) -> Tensor {
    let width = CLASSES.len() as i64 + PICTURES;
    let mut values = vec![0f32; width as usize];
    if let Some(class) = class {
        values[class as usize] = 1.0;
    }
    if let Some(picture) = picture {
        values[CLASSES.len() + picture as usize] = 1.0;
    }
    Tensor::from_slice(&values)
}

fn encoded(embed: Tensor, tokens: bool) -> Encoded {
    let rows = embed.size()[0];
    let tokens =
        tokens.then(|| Tokens { values: embed.unsqueeze(1).repeat([1, 3, 1]), mask: Tensor::ones([rows, 3], (Kind::Bool, Device::Cpu)) });
    Encoded { pooled: embed.shallow_clone(), embed, tokens }
}

/// Knows every toy picture, caption and class name.
#[derive(Debug)]
pub struct Oracle;

impl Model for Oracle {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        let rows: Vec<_> = images
            .iter()
            .map(|image| {
                let at = i64::from(image.get_pixel(0, 0)[0]) / 20;
                code(Some(at), Some(at % CLASSES.len() as i64))
            })
            .collect();
        Ok(encoded(Tensor::stack(&rows, 0), tokens))
    }
    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        let rows: Vec<_> = texts
            .iter()
            .map(|text| {
                let text = text.to_lowercase();
                let picture = (0..PICTURES).find(|at| text == caption(*at));
                let class = CLASSES.iter().position(|class| text.contains(class)).map(|at| at as i64);
                code(picture, class)
            })
            .collect();
        Ok(encoded(Tensor::stack(&rows, 0), tokens))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, classifier: Some(self), classes: &NAMES, ..Skills::default() }
    }
}

impl Classifier for Oracle {
    fn classes(&self) -> usize {
        CLASSES.len()
    }
    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        Ok(images.embed.narrow(1, 0, CLASSES.len() as i64))
    }
}

/// Finds everything alike.
#[derive(Debug)]
pub struct Constant;

impl Constant {
    fn rows(count: usize, tokens: bool) -> Encoded {
        encoded(Tensor::ones([count as i64, CLASSES.len() as i64 + PICTURES], (Kind::Float, Device::Cpu)), tokens)
    }
}

impl Model for Constant {
    fn images(&self, images: &[RgbImage], tokens: bool) -> Result<Encoded> {
        Ok(Self::rows(images.len(), tokens))
    }
    fn texts(&self, texts: &[String], tokens: bool) -> Result<Encoded> {
        Ok(Self::rows(texts.len(), tokens))
    }
    fn skills(&self) -> Skills<'_> {
        Skills { images: true, texts: true, classifier: Some(self), classes: &NAMES, ..Skills::default() }
    }
}

impl Classifier for Constant {
    fn classes(&self) -> usize {
        CLASSES.len()
    }
    fn classify(&self, images: &Encoded) -> Result<Tensor> {
        Ok(images.embed.narrow(1, 0, CLASSES.len() as i64))
    }
}

fn build(config: &SuiteOptions, datasets: &dyn Datasets) -> std::result::Result<Box<dyn EvalSuite>, String> {
    config.build(&EvalCx::new(datasets)).map_err(failed("building with the default options"))
}

fn run(config: &SuiteOptions, broken: bool, model: &dyn Model) -> std::result::Result<Report, String> {
    let mut report = Report::default();
    build(config, &Toys { broken, ..Toys::default() })?.run(model, &mut report).map_err(failed("run"))?;
    Ok(report)
}

/// A model that knows everything scores 1 in each metric that has a chance value: an accuracy of 1, a rank of 1.
pub fn oracle(config: &SuiteOptions) -> Verdict {
    let report = run(config, false, &Oracle)?;
    ensure(report.metrics.iter().any(|metric| metric.chance.is_some()), || "no metric says what chance would score".into())?;
    for metric in report.metrics.iter().filter(|metric| metric.chance.is_some()) {
        near(metric.value, 1.0, 1e-6, &format!("`{}` of a model that knows everything", metric.name))?;
    }
    ensure(report.samples == PICTURES as u64, || format!("{} of {PICTURES} samples were measured", report.samples))?;
    ensure(report.skipped.is_empty(), || format!("skipped: {:?}", report.skipped))
}

/// A model that finds everything alike scores what the metric calls chance.
pub fn chance(config: &SuiteOptions) -> Verdict {
    for metric in run(config, false, &Constant)?.metrics {
        if let Some(chance) = metric.chance {
            near(metric.value, chance, 0.02, &format!("`{}` of a model that finds everything alike", metric.name))?;
        }
    }
    Ok(())
}

/// Metrics have names of their own, the same for every model, and finite values; two runs agree.
pub fn stable(config: &SuiteOptions) -> Verdict {
    let (first, again, other) = (run(config, false, &Oracle)?, run(config, false, &Oracle)?, run(config, false, &Constant)?);
    ensure(first == again, || "two runs of one model differ".into())?;
    let names = |report: &Report| report.metrics.iter().map(|metric| metric.name.clone()).collect::<Vec<_>>();
    ensure(!names(&first).is_empty(), || "no metric".into())?;
    ensure(names(&first) == names(&other), || format!("{:?} for one model, {:?} for another", names(&first), names(&other)))?;
    let mut unique = names(&first);
    unique.sort();
    unique.dedup();
    ensure(unique.len() == first.metrics.len(), || format!("a metric is named twice: {:?}", names(&first)))?;
    for metric in first.metrics.iter().chain(&other.metrics) {
        ensure(metric.value.is_finite(), || format!("`{}` is {}", metric.name, metric.value))?;
    }
    Ok(())
}

/// A sample that cannot be read is reported by name, and the others are still measured.
pub fn unreadable(config: &SuiteOptions) -> Verdict {
    let report = run(config, true, &Oracle)?;
    ensure(report.samples == PICTURES as u64, || format!("{} of {PICTURES} readable samples were measured", report.samples))?;
    let named = report.skipped.iter().any(|line| line.contains("toy/broken.png"));
    ensure(named, || format!("the unreadable sample is not listed in `skipped`: {:?}", report.skipped))
}

/// Classes are matched by name: data sets that list them in another order, one against the other and against the model's head, change no number.
pub fn class_names(config: &SuiteOptions) -> Verdict {
    let straight = run(config, false, &Oracle)?;
    let mut report = Report::default();
    let suite = build(config, &Toys { turned: true, ..Toys::default() })?;
    suite.check(&Oracle.skills()).map_err(failed("check"))?;
    suite.run(&Oracle, &mut report).map_err(failed("run"))?;
    ensure(report.metrics == straight.metrics, || {
        format!("with the classes in another order {:?}, and {:?} without", report.metrics, straight.metrics)
    })
}

/// A model without any skill is refused by name before the suite runs.
pub fn skills(config: &SuiteOptions) -> Verdict {
    let suite = build(config, &Toys::default())?;
    let missing = suite.requires().missing(&Skills::default());
    ensure(!missing.is_empty(), || "`requires()` asks for nothing, so it would run on a model without towers".into())
}
