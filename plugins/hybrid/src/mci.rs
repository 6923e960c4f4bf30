//! MobileCLIP's vision transformer behind a convolutional stem.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Activation, Conv2d, ConvConfig, Path};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{ConvNorm, Pool};
use crate::transformer::{Common, Stem, Transformer};

/// The image encoder of MobileCLIP-B (arXiv 2311.17049): a vision transformer whose 16 px patches are made by three convolutions, the first
/// two with batch norm.
///
/// Parameters are named as in open_clip's `visual`. Tokens are those of the patches, row by row, normalised where the network normalises
/// before it pools.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct VitMciConfig {
    /// Height and width of the picture, in pixels; a multiple of 16.
    pub image_size: i64,
    /// Width of a token; a multiple of 4, as the first two convolutions have a quarter of it as channels.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally.
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Pooling: where the pooled output comes from.
    pub pool: Pool,
    /// Normalise after pooling instead of before it; without a value, for every `pool` but `token`.
    pub fc_norm: Option<bool>,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Patch dropout: share of the patches that is left out of each picture while training (FLIP, arXiv 2212.00794); 0 keeps all.
    pub patch_dropout: f64,
    /// Stochastic depth (arXiv 1603.09382): probability of leaving out a branch of the last block for a row while training; less in earlier
    /// blocks.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

impl Default for VitMciConfig {
    /// For experiments on small pictures: 64 px, width 192, 4 blocks, 3 heads; 1.8 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            width: 192,
            layers: 4,
            heads: 3,
            mlp_ratio: 4.0,
            pool: Pool::Token,
            fc_norm: None,
            proj: Proj::Linear,
            proj_bias: false,
            patch_dropout: 0.0,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl VitMciConfig {
    fn common(&self) -> Common {
        let Self { image_size, width, layers, heads, mlp_ratio, pool, fc_norm, .. } = *self;
        let Self { proj, proj_bias, patch_dropout, drop_path, mean, std, .. } = *self;
        let (gated, class_token, pos_embed) = (false, true, true);
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

impl Config<dyn Backbone> for VitMciConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let common = self.common();
        let mut problems = OptionProblems::default();
        common.check(&mut problems);
        problems.ensure(self.image_size % 16 == 0, || format!("`image_size` = {} must be a multiple of 16, the stride", self.image_size));
        problems.ensure(self.width % 4 == 0, || format!("`width` = {} must be a multiple of 4", self.width));
        problems.finish()?;
        let path = cx.path.sub("trunk");
        let stem = ConvStem::new(&path.sub("patch_embed").sub("backbone"), self.width)?;
        let side = self.image_size / 16;
        Ok(Box::new(Transformer::new(&path, Box::new(stem), side * side, common, cx.embed)?))
    }
}

/// Three convolutions whose fields do not overlap. Parameters: `0.{conv,bn}`, `1.{conv,bn}`, `2.conv`.
#[derive(Debug)]
struct ConvStem {
    first: [ConvNorm; 2],
    last: Conv2d,
}

impl ConvStem {
    fn new(path: &Path<'_>, width: i64) -> Result<Self> {
        let tiles = |input: i64, output: i64, side: i64| ConvConfig { input, output, kernel: side, stride: side, ..ConvConfig::default() };
        let inner = width / 4;
        Ok(Self {
            first: [ConvNorm::new(&path.sub(0), tiles(3, inner, 4))?, ConvNorm::new(&path.sub(1), tiles(inner, inner, 2))?],
            last: Conv2d::new(&path.sub(2).sub("conv"), tiles(inner, width, 2))?,
        })
    }
}

impl Stem for ConvStem {
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let layer = |x: Tensor, layer: &ConvNorm| Activation::Gelu.forward(&layer.forward(&x, noise));
        self.last.forward(&self.first.iter().fold(images.shallow_clone(), layer))
    }
}

register!(dyn Backbone, "vit_mci", VitMciConfig);
register!(dyn Backbone, "vit_base_mci_224", VitMciConfig, || VitMciConfig {
    image_size: 224,
    width: 768,
    layers: 12,
    heads: 12,
    ..VitMciConfig::default()
});
