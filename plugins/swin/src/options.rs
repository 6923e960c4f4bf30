//! What the families' options have in common.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::prelude::*;

/// CLIP's mean of each channel, which open_clip gives towers of timm too.
pub(crate) const MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
/// CLIP's standard deviation of each channel.
pub(crate) const STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// How the last map becomes the pooled output: timm's `global_pool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The mean over the places.
    #[default]
    Avg,
    /// The largest value of each channel.
    Max,
    /// The mean of both.
    AvgMax,
}

impl Pool {
    /// `[B, C]` of the places `[B, T, C]`.
    pub(crate) fn forward(self, x: &Tensor) -> Tensor {
        let mean = || x.mean_dim([1i64].as_slice(), false, None::<Kind>);
        let largest = || x.amax([1i64].as_slice(), false);
        match self {
            Self::Avg => mean(),
            Self::Max => largest(),
            Self::AvgMax => (mean() + largest()) * 0.5,
        }
    }
}

/// The options that each family has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub image_size: i64,
    pub proj: Proj,
    pub proj_bias: bool,
    pub drop_path: f64,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Common {
    /// Adds what is wrong with them. `unit` is what the size of a picture must be a multiple of, and why.
    pub fn check(&self, problems: &mut Problems, (unit, why): (i64, &str)) {
        problems.at_least_one("image_size", &[self.image_size]);
        problems.multiple("image_size", self.image_size, unit, why);
        if !(0.0..1.0).contains(&self.drop_path) {
            problems.add(format!("`drop_path` = {} must be at least 0 and below 1", self.drop_path));
        }
        if self.std.iter().any(|std| *std <= 0.0) {
            problems.add(format!("`std` = {:?} must be above 0 in each channel", self.std));
        }
    }
}

/// Everything that is wrong with a table of options, to be told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    pub fn add(&mut self, problem: String) {
        self.0.push(problem);
    }

    pub fn at_least_one(&mut self, name: &str, values: &[i64]) {
        if values.iter().any(|value| *value < 1) {
            self.add(format!("`{name}` = {} must be at least 1", told(values)));
        }
    }

    /// `what` must be a multiple of `unit`, which is `why`.
    pub fn multiple(&mut self, name: &str, value: i64, unit: i64, why: &str) {
        if unit > 0 && value % unit != 0 {
            self.add(format!("`{name}` = {value} is not a multiple of {unit}, {why}"));
        }
    }

    /// There is one value for each stage.
    pub fn one_for_each(&mut self, name: &str, values: usize, stages: usize) {
        if values != stages {
            self.add(format!("`{name}` has {values} values, and `depths` has {stages} stages"));
        }
    }

    /// The heads of a stage share its width equally.
    pub fn heads(&mut self, name: &str, widths: impl Iterator<Item = i64>, heads: &[i64]) {
        self.at_least_one(name, heads);
        for (stage, (width, heads)) in widths.zip(heads).enumerate() {
            if *heads > 0 && width % heads != 0 {
                self.add(format!("`{name}` = {heads} of stage {stage} does not divide its width {width}"));
            }
        }
    }

    /// An MLP must have an inner width.
    pub fn mlp_ratio(&mut self, name: &str, width: i64, ratio: f64) {
        if width > 0 && (width as f64 * ratio) < 1.0 {
            self.add(format!("`{name}` = {ratio} leaves no width inside the MLP"));
        }
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}

fn told(values: &[i64]) -> String {
    match values {
        [one] => one.to_string(),
        many => format!("{many:?}"),
    }
}

/// timm's stochastic depth: the rate rises evenly from 0 at the first block to `rate` at the last of all stages.
pub(crate) fn rising(rate: f64, depths: &[i64]) -> impl Iterator<Item = f64> {
    let last = (depths.iter().sum::<i64>() - 1).max(1);
    (0i64..).map(move |block| rate * block as f64 / last as f64)
}
