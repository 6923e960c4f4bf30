//! What the families' options have in common.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Pooling: how the last map becomes the pooled output: timm's `global_pool`.
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
    pub fn check(&self, problems: &mut OptionProblems, (unit, why): (i64, &str)) {
        problems.at_least_one(&[("image_size", self.image_size)]);
        problems.multiple("image_size", self.image_size, unit, why);
        problems.share("drop_path", self.drop_path);
        problems.std(self.std);
    }
}

/// The heads of a stage share its width equally.
pub(crate) fn check_heads(problems: &mut OptionProblems, widths: impl Iterator<Item = i64>, heads: &[i64]) {
    problems.each_at_least_one("num_heads", heads);
    for (stage, (width, heads)) in widths.zip(heads).enumerate() {
        problems.ensure(*heads < 1 || width % heads == 0, || {
            format!("`num_heads` = {heads} of stage {stage} does not divide its width {width}")
        });
    }
}

/// timm's stochastic depth: the rate rises evenly from 0 at the first block to `rate` at the last of all stages.
pub(crate) fn rising(rate: f64, depths: &[i64]) -> impl Iterator<Item = f64> {
    let last = (depths.iter().sum::<i64>() - 1).max(1);
    (0i64..).map(move |block| rate * block as f64 / last as f64)
}
