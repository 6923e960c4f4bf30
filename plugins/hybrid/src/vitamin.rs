//! ViTamin.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, Path, normal};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{LayerNorm2d, Pool, centred, conv_from_zero, nearest_multiple};
use crate::transformer::{Common, Stem, Transformer};

/// ViTamin (arXiv 2404.02132): two stages of inverted-bottleneck convolutions, and a transformer with gated MLPs on the map that is left,
/// one sixteenth of the picture's height and width.
///
/// Parameters are named as in open_clip's `visual`. Tokens are the places of that map, row by row, before the norm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct VitaminConfig {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Channels of the first convolutions.
    pub stem_width: i64,
    /// Channels of the two stages of convolutions.
    pub conv_widths: [i64; 2],
    /// Number of blocks of these stages.
    pub conv_depths: [i64; 2],
    /// Width of a token.
    pub width: i64,
    /// Number of transformer blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Absolute position embedding: add a learned position to each token.
    pub pos_embed: bool,
    /// Pooling: where the pooled output comes from; there is no class token.
    pub pool: Pool,
    /// Normalise after pooling instead of before it; without a value, after.
    pub fc_norm: Option<bool>,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Patch dropout: share of the tokens that is left out of each picture while training (FLIP, arXiv 2212.00794); 0 keeps all.
    pub patch_dropout: f64,
    /// Stochastic depth (arXiv 1603.09382): probability of leaving out a branch of the last block for a row while training; less in earlier
    /// blocks.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

impl Default for VitaminConfig {
    /// For experiments on small pictures: 64 px, convolutions of 24 and 48 channels, width 192, 4 blocks, 3 heads; 1.6 million parameters.
    fn default() -> Self {
        Self { conv_depths: [1, 2], ..Self::sized(64, 24, 192, 4, 3) }
    }
}

impl VitaminConfig {
    fn sized(image_size: i64, stem_width: i64, width: i64, layers: i64, heads: i64) -> Self {
        Self {
            image_size,
            stem_width,
            conv_widths: [stem_width, 2 * stem_width],
            conv_depths: [2, 4],
            width,
            layers,
            heads,
            mlp_ratio: 2.0,
            pos_embed: true,
            pool: Pool::Avg,
            fc_norm: None,
            proj: Proj::Linear,
            proj_bias: false,
            patch_dropout: 0.0,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    fn large(image_size: i64) -> Self {
        Self::sized(image_size, 160, 1024, 31, 16)
    }

    fn xlarge(image_size: i64) -> Self {
        Self { pos_embed: false, ..Self::sized(image_size, 192, 1152, 32, 16) }
    }

    fn common(&self) -> Common {
        let Self { image_size, width, layers, heads, mlp_ratio, pos_embed, pool, fc_norm, .. } = *self;
        let Self { proj, proj_bias, patch_dropout, drop_path, mean, std, .. } = *self;
        let (gated, class_token) = (true, false);
        Common {
            image_size,
            width,
            layers,
            heads,
            mlp_ratio,
            gated,
            class_token,
            pos_embed,
            pool,
            fc_norm,
            patch_dropout,
            drop_path,
            proj,
            proj_bias,
            mean,
            std,
        }
    }
}

impl Config<dyn Backbone> for VitaminConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let common = self.common();
        let mut problems = OptionProblems::default();
        common.check(&mut problems);
        let [first, second] = self.conv_widths;
        let [few, many] = self.conv_depths;
        problems.at_least_one(&[("stem_width", self.stem_width), ("conv_widths[0]", first), ("conv_widths[1]", second)]);
        problems.at_least_one(&[("conv_depths[0]", few), ("conv_depths[1]", many)]);
        problems.finish()?;
        let path = cx.path.sub("trunk");
        let stem = MbConvStages::new(&path.sub("patch_embed").sub("backbone"), self)?;
        // Each of the four steps halves the map and rounds up.
        let side = (0..4).fold(self.image_size, |side, _| (side + 1) / 2);
        Ok(Box::new(Transformer::new(&path, Box::new(stem), side * side, common, cx.embed)?))
    }
}

/// A convolution that starts as ViTamin's do: by the number of outputs that an input reaches.
fn conv(path: &Path<'_>, config: ConvConfig) -> Result<Conv2d> {
    let fan_out = config.kernel * config.kernel * config.output / config.groups;
    conv_from_zero(path, config, normal((2.0 / fan_out as f64).sqrt()))
}

/// What comes before the transformer. Parameters: `stem.{conv1,norm1,conv2}`, `stages.S.B`, `pool.{norm,proj}`.
#[derive(Debug)]
struct MbConvStages {
    conv1: Conv2d,
    norm1: LayerNorm2d,
    conv2: Conv2d,
    blocks: Vec<MbConv>,
    norm: LayerNorm2d,
    proj: Conv2d,
}

impl MbConvStages {
    fn new(path: &Path<'_>, config: &VitaminConfig) -> Result<Self> {
        let (stem, pool, width) = (path.sub("stem"), path.sub("pool"), config.stem_width);
        let (mut blocks, mut input) = (Vec::new(), width);
        for (stage, (output, depth)) in config.conv_widths.into_iter().zip(config.conv_depths).enumerate() {
            let path = path.sub("stages").sub(stage);
            for block in 0..depth {
                blocks.push(MbConv::new(&path.sub(block), input, output, if block == 0 { 2 } else { 1 })?);
                input = output;
            }
        }
        Ok(Self {
            conv1: conv(&stem.sub("conv1"), centred(3, width, 3, 2, 1))?,
            norm1: LayerNorm2d::new(&stem.sub("norm1"), width, 1e-6)?,
            conv2: conv(&stem.sub("conv2"), centred(width, width, 3, 1, 1))?,
            blocks,
            norm: LayerNorm2d::new(&pool.sub("norm"), input, 1e-6)?,
            proj: Conv2d::new(&pool.sub("proj"), centred(input, config.width, 3, 2, 1))?,
        })
    }
}

impl Stem for MbConvStages {
    fn forward(&self, images: &Tensor, _: Option<&Noise>) -> Tensor {
        let x = Activation::Gelu.forward(&self.norm1.forward(&self.conv1.forward(images)));
        let x = self.blocks.iter().fold(self.conv2.forward(&x), |x, block| block.forward(&x));
        self.proj.forward(&self.norm.forward(&x))
    }
}

/// An inverted bottleneck (MobileNetV2, arXiv 1801.04381) with layer norm before it. Parameters: `shortcut.expand`, `pre_norm`, `conv1_1x1`,
/// `conv2_kxk`, `conv3_1x1`.
#[derive(Debug)]
struct MbConv {
    /// Halves the map beside the branch.
    halves: bool,
    expand: Option<Conv2d>,
    pre_norm: LayerNorm2d,
    convs: [Conv2d; 3],
}

impl MbConv {
    fn new(path: &Path<'_>, input: i64, output: i64, stride: i64) -> Result<Self> {
        let inner = nearest_multiple(4.0 * output as f64, 8);
        Ok(Self {
            halves: stride == 2,
            expand: if input == output { None } else { Some(conv(&path.sub("shortcut").sub("expand"), centred(input, output, 1, 1, 1))?) },
            pre_norm: LayerNorm2d::new(&path.sub("pre_norm"), input, 1e-6)?,
            convs: [
                conv(&path.sub("conv1_1x1"), centred(input, inner, 1, 1, 1))?,
                conv(&path.sub("conv2_kxk"), centred(inner, inner, 3, stride, inner))?,
                conv(&path.sub("conv3_1x1"), centred(inner, output, 1, 1, 1))?,
            ],
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let mut shortcut = x.shallow_clone();
        if self.halves {
            shortcut = shortcut.avg_pool2d([3, 3], [2, 2], [1, 1], false, false, None::<i64>);
        }
        if let Some(expand) = &self.expand {
            shortcut = expand.forward(&shortcut);
        }
        let [first, second, third] = &self.convs;
        let gelu = |x: Tensor| Activation::Gelu.forward(&x);
        let x = gelu(second.forward(&gelu(first.forward(&self.pre_norm.forward(x)))));
        third.forward(&x) + shortcut
    }
}

register!(dyn Backbone, "vitamin", VitaminConfig);
register!(dyn Backbone, "vitamin_small_224", VitaminConfig, || VitaminConfig::sized(224, 64, 384, 14, 6));
register!(dyn Backbone, "vitamin_base_224", VitaminConfig, || VitaminConfig::sized(224, 128, 768, 14, 12));
register!(dyn Backbone, "vitamin_large_224", VitaminConfig, || VitaminConfig::large(224));
register!(dyn Backbone, "vitamin_large_256", VitaminConfig, || VitaminConfig::large(256));
register!(dyn Backbone, "vitamin_large_336", VitaminConfig, || VitaminConfig::large(336));
register!(dyn Backbone, "vitamin_large_384", VitaminConfig, || VitaminConfig::large(384));
register!(dyn Backbone, "vitamin_large2_224", VitaminConfig, || VitaminConfig::large(224));
register!(dyn Backbone, "vitamin_large2_256", VitaminConfig, || VitaminConfig::large(256));
register!(dyn Backbone, "vitamin_large2_336", VitaminConfig, || VitaminConfig::large(336));
register!(dyn Backbone, "vitamin_large2_384", VitaminConfig, || VitaminConfig::large(384));
register!(dyn Backbone, "vitamin_xlarge_256", VitaminConfig, || VitaminConfig::xlarge(256));
register!(dyn Backbone, "vitamin_xlarge_336", VitaminConfig, || VitaminConfig::xlarge(336));
register!(dyn Backbone, "vitamin_xlarge_384", VitaminConfig, || VitaminConfig::xlarge(384));
