//! What the options of all families have in common.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;

/// Pooling: how the last map becomes one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The mean over all places.
    #[default]
    Avg,
    /// The largest value of each channel.
    Max,
    /// Attention of the mean to all places, with a learned position for each place of the map of `image_size`, under `head.pool`. It maps
    /// into the joint space by itself, so `proj` must be `none`, and there are no tokens unless the map is as wide as the joint space.
    AbsAttn,
}

/// The options that every family of timm has here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub image_size: i64,
    pub pool: Pool,
    pub proj: Proj,
    pub proj_bias: bool,
    pub drop_path: f64,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

impl Common {
    /// What goes in.
    pub fn input(&self) -> InputSpec {
        InputSpec::Image { size: (self.image_size, self.image_size), mean: self.mean, std: self.std }
    }

    /// Adds what is wrong with them, for a last map of `width` channels.
    pub fn check(&self, width: i64, problems: &mut OptionProblems) {
        problems.at_least_one(&[("image_size", self.image_size)]);
        problems.std(self.std);
        problems.share("drop_path", self.drop_path);
        if self.pool == Pool::AbsAttn {
            if self.proj != Proj::None {
                problems.push("`pool` = \"abs_attn\" projects into the joint space by itself; set `proj` = \"none\"");
            }
            if width < 64 || width % 64 != 0 {
                problems.push(format!("`pool` = \"abs_attn\" has heads of width 64, which do not divide the last map's {width} channels"));
            }
        }
    }
}

/// The probability with which block `index` of `blocks` is left out: from 0 to `rate` in equal steps.
pub(crate) fn drop_rate(rate: f64, index: i64, blocks: i64) -> f64 {
    rate * index as f64 / (blocks - 1).max(1) as f64
}

/// The places of a map `[B, width, H, W]` as tokens, row by row.
pub(crate) fn places(map: &Tensor) -> Tokens {
    Tokens::unmasked(map.flatten(2, 3).transpose(1, 2))
}
