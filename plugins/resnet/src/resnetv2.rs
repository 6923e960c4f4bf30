//! timm's `ResNetV2`: norm and activation come before each convolution.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::divisible;
use crate::options::{Common, Pool};
use crate::tower::{Tower, halved};

/// ResNet with norm and activation before each convolution (arXiv 1603.05027), as timm's ResNetV2; with standardised convolutions and group
/// norm it is BiT (arXiv 1912.11370).
///
/// Parameters are named as in timm's `ResNetV2`, under `trunk`. Tokens are the places of the last map after its norm, row by row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct ResNetV2Config {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Number of blocks of each stage.
    pub layers: [i64; 4],
    /// Channels that the blocks of each stage give, before `width_factor`.
    pub channels: [i64; 4],
    /// Factor of all channels.
    pub width_factor: i64,
    /// Channels of the stem, before `width_factor`.
    pub stem_chs: i64,
    /// The first convolutions and the pool after them.
    pub stem_type: StemTypeV2,
    /// Make shortcuts smaller by the mean of two by two places instead of a stride.
    pub avg_down: bool,
    /// Two convolutions of three by three in a block, instead of one between two of one by one.
    pub basic: bool,
    /// Channels inside a block, as a share of those that it gives.
    pub bottle_ratio: f64,
    /// The norm before each convolution.
    pub norm_layer: NormLayer,
    /// Standardise the kernels (arXiv 1903.10520) with this ε; 0 leaves them as they are.
    pub std_conv_eps: f64,
    /// Pooling: how the last map becomes one vector.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether the last layer of `proj` = "linear" or "mlp" has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): probability with which the last block is left out while training; it grows from 0 by the block.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// The first convolutions and the pool after them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum StemTypeV2 {
    /// One of seven by seven; timm's empty word.
    Plain,
    /// As `plain`, with zeros around the pool's input as BiT has them.
    Fixed,
    /// Three of three by three.
    Deep,
    /// Three of three by three, the first a quarter narrower.
    Tiered,
}

/// The norm before each convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum NormLayer {
    /// Over 32 groups of channels (arXiv 1803.08494).
    GroupNorm,
    /// Over the rows of a batch.
    BatchNorm,
}

impl Default for ResNetV2Config {
    /// BiT for experiments on small pictures: 64 px, one block a stage, 64 to 512 channels; 1.2 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            layers: [1; 4],
            channels: [64, 128, 256, 512],
            width_factor: 1,
            stem_chs: 32,
            stem_type: StemTypeV2::Fixed,
            avg_down: false,
            basic: false,
            bottle_ratio: 0.5,
            norm_layer: NormLayer::GroupNorm,
            std_conv_eps: 1e-8,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl ResNetV2Config {
    /// BiT at 224 px.
    fn bit(layers: [i64; 4], width_factor: i64) -> Self {
        let channels = [256, 512, 1024, 2048];
        Self { image_size: 224, layers, channels, width_factor, stem_chs: 64, bottle_ratio: 0.25, ..Self::default() }
    }

    /// With batch norm and plain convolutions at 224 px.
    fn batch(layers: [i64; 4]) -> Self {
        Self { stem_type: StemTypeV2::Plain, norm_layer: NormLayer::BatchNorm, std_conv_eps: 0.0, ..Self::bit(layers, 1) }
    }

    /// [`ResNetV2Config::batch`] of basic blocks.
    fn small(layers: [i64; 4]) -> Self {
        Self { channels: [64, 128, 256, 512], basic: true, bottle_ratio: 1.0, ..Self::batch(layers) }
    }

    /// The D variant: a deep stem, and means for the strides of shortcuts.
    fn d(self) -> Self {
        Self { stem_type: StemTypeV2::Deep, avg_down: true, ..self }
    }

    fn common(&self) -> Common {
        let Self { image_size, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { image_size, pool, proj, proj_bias, drop_path, mean, std }
    }

    /// Channels, as many of them as timm gives.
    pub(crate) fn wide(&self, channels: i64) -> i64 {
        divisible((channels * self.width_factor) as f64, 8, 0.9)
    }

    /// Channels inside a block that gives `output`.
    pub(crate) fn inside(&self, output: i64) -> i64 {
        divisible(output as f64 * self.bottle_ratio, 8, 0.9)
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(self.wide(self.channels[3]), &mut problems);
        problems.at_least_one(&[("width_factor", self.width_factor), ("stem_chs", self.stem_chs)]);
        problems.each_at_least_one("layers", &self.layers);
        problems.each_at_least_one("channels", &self.channels);
        if self.bottle_ratio <= 0.0 {
            problems.push(format!("`bottle_ratio` = {} must be above 0", self.bottle_ratio));
        }
        if self.std_conv_eps < 0.0 {
            problems.push(format!("`std_conv_eps` = {} must not be below 0", self.std_conv_eps));
        }
        if self.norm_layer == NormLayer::GroupNorm {
            let outside = self.channels.iter().map(|channels| self.wide(*channels));
            let inside = self.channels.iter().map(|channels| self.inside(self.wide(*channels)));
            let stem = self.wide(self.stem_chs);
            let deep = match self.stem_type {
                StemTypeV2::Plain | StemTypeV2::Fixed => [stem, stem],
                StemTypeV2::Deep => [stem / 2, stem],
                StemTypeV2::Tiered => [3 * stem / 8, stem / 2],
            };
            let uneven: Vec<_> = outside.chain(inside).chain([stem]).chain(deep).filter(|channels| channels % 32 != 0).collect();
            if !uneven.is_empty() {
                problems.push(format!("`norm_layer` = \"group_norm\" has 32 groups, which do not divide {uneven:?} channels"));
            }
        }
        problems.finish()
    }
}

impl Config<dyn Backbone> for ResNetV2Config {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let trunk = self.trunk(&cx.path.sub("trunk"))?;
        let width = self.wide(self.channels[3]);
        Tower::around(trunk, cx, self.common(), (width, halved(self.image_size, 5)), "trunk.head.fc")
    }
}

register!(dyn Backbone, "resnetv2", ResNetV2Config);
register!(dyn Backbone, "resnetv2_50x1_bit", ResNetV2Config, || ResNetV2Config::bit([3, 4, 6, 3], 1));
register!(dyn Backbone, "resnetv2_50x3_bit", ResNetV2Config, || ResNetV2Config::bit([3, 4, 6, 3], 3));
register!(dyn Backbone, "resnetv2_101x1_bit", ResNetV2Config, || ResNetV2Config::bit([3, 4, 23, 3], 1));
register!(dyn Backbone, "resnetv2_101x3_bit", ResNetV2Config, || ResNetV2Config::bit([3, 4, 23, 3], 3));
register!(dyn Backbone, "resnetv2_152x2_bit", ResNetV2Config, || ResNetV2Config::bit([3, 8, 36, 3], 2));
register!(dyn Backbone, "resnetv2_152x4_bit", ResNetV2Config, || ResNetV2Config::bit([3, 8, 36, 3], 4));
register!(dyn Backbone, "resnetv2_18", ResNetV2Config, || ResNetV2Config::small([2, 2, 2, 2]));
register!(dyn Backbone, "resnetv2_18d", ResNetV2Config, || ResNetV2Config::small([2, 2, 2, 2]).d());
register!(dyn Backbone, "resnetv2_34", ResNetV2Config, || ResNetV2Config::small([3, 4, 6, 3]));
register!(dyn Backbone, "resnetv2_34d", ResNetV2Config, || ResNetV2Config::small([3, 4, 6, 3]).d());
register!(dyn Backbone, "resnetv2_50", ResNetV2Config, || ResNetV2Config::batch([3, 4, 6, 3]));
register!(dyn Backbone, "resnetv2_50d", ResNetV2Config, || ResNetV2Config::batch([3, 4, 6, 3]).d());
register!(dyn Backbone, "resnetv2_101", ResNetV2Config, || ResNetV2Config::batch([3, 4, 23, 3]));
register!(dyn Backbone, "resnetv2_101d", ResNetV2Config, || ResNetV2Config::batch([3, 4, 23, 3]).d());
register!(dyn Backbone, "resnetv2_152", ResNetV2Config, || ResNetV2Config::batch([3, 8, 36, 3]));
