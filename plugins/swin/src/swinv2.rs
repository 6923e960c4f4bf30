//! Swin Transformer V2 (arXiv 2111.09883).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::hierarchy::Plan;
use crate::options::{Common, Pool};

/// Swin Transformer V2 (arXiv 2111.09883): cosine attention, biases that an MLP makes of logarithmic distances, and norms behind the
/// branches instead of before them.
///
/// Parameters are named as in timm's `SwinTransformerV2`, under `trunk`. Tokens are the places of the last map, row by row, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SwinV2Config {
    /// Height and width of the picture, in pixels; a multiple of `patch_size`. Maps that windows do not divide are padded.
    pub image_size: i64,
    /// Height and width of a patch, in pixels.
    pub patch_size: i64,
    /// Width of a patch in the first stage; it doubles from stage to stage.
    pub embed_dim: i64,
    /// Number of blocks of each stage.
    pub depths: Vec<i64>,
    /// Attention heads of each stage's blocks; they share the width equally.
    pub num_heads: Vec<i64>,
    /// Height and width of a window, in patches; smaller maps are one window.
    pub window_size: i64,
    /// The window of each stage in pre-training, at whose distances the biases were learnt; 0 is the stage's own.
    pub pretrained_window_sizes: Vec<i64>,
    /// Width inside the MLPs, as a multiple of their outer width.
    pub mlp_ratio: f64,
    /// Pooling: how the last map becomes the pooled output.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether the last layer of `proj` has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): the probability to leave out a branch of the last block; earlier blocks have less.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

impl Default for SwinV2Config {
    /// For a CPU: 32 px, two stages of two blocks, width 48, windows of 4; 0.3 million parameters.
    fn default() -> Self {
        Self {
            image_size: 32,
            patch_size: 4,
            embed_dim: 48,
            depths: vec![2, 2],
            num_heads: vec![2, 4],
            window_size: 4,
            pretrained_window_sizes: vec![0, 0],
            mlp_ratio: 4.0,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl SwinV2Config {
    fn sized(image_size: i64, window_size: i64, embed_dim: i64, third: i64) -> Self {
        Self {
            image_size,
            window_size,
            embed_dim,
            depths: vec![2, 2, third, 2],
            // Heads are 32 wide in every stage.
            num_heads: (0..4).map(|stage| (embed_dim / 32) << stage).collect(),
            pretrained_window_sizes: vec![0; 4],
            ..Self::default()
        }
    }

    /// Pre-trained at 192 px with windows of 12, and fine-tuned at this size.
    fn tuned(image_size: i64, window_size: i64, embed_dim: i64) -> Self {
        Self { pretrained_window_sizes: vec![12, 12, 12, 6], ..Self::sized(image_size, window_size, embed_dim, 18) }
    }

    /// SwinV2-T at 256 px, windows of 8.
    pub fn tiny_8() -> Self {
        Self::sized(256, 8, 96, 6)
    }

    /// SwinV2-T at 256 px, windows of 16.
    pub fn tiny_16() -> Self {
        Self::sized(256, 16, 96, 6)
    }

    /// SwinV2-S at 256 px, windows of 8.
    pub fn small_8() -> Self {
        Self::sized(256, 8, 96, 18)
    }

    /// SwinV2-S at 256 px, windows of 16.
    pub fn small_16() -> Self {
        Self::sized(256, 16, 96, 18)
    }

    /// SwinV2-B at 256 px, windows of 8.
    pub fn base_8() -> Self {
        Self::sized(256, 8, 128, 18)
    }

    /// SwinV2-B at 256 px, windows of 16.
    pub fn base_16() -> Self {
        Self::sized(256, 16, 128, 18)
    }

    /// SwinV2-B at 192 px, windows of 12.
    pub fn base_12() -> Self {
        Self::sized(192, 12, 128, 18)
    }

    /// SwinV2-L at 192 px, windows of 12.
    pub fn large_12() -> Self {
        Self::sized(192, 12, 192, 18)
    }

    /// SwinV2-B at 256 px, windows of 16, pre-trained at 192 px.
    pub fn base_12_to_16() -> Self {
        Self::tuned(256, 16, 128)
    }

    /// SwinV2-B at 384 px, windows of 24, pre-trained at 192 px.
    pub fn base_12_to_24() -> Self {
        Self::tuned(384, 24, 128)
    }

    /// SwinV2-L at 256 px, windows of 16, pre-trained at 192 px.
    pub fn large_12_to_16() -> Self {
        Self::tuned(256, 16, 192)
    }

    /// SwinV2-L at 384 px, windows of 24, pre-trained at 192 px.
    pub fn large_12_to_24() -> Self {
        Self::tuned(384, 24, 192)
    }
}

impl Config<dyn Backbone> for SwinV2Config {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let Self { image_size, patch_size, embed_dim, window_size, mlp_ratio, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        let common = Common { image_size, proj, proj_bias, drop_path, mean, std };
        let (depths, num_heads, pretrained) = (&self.depths[..], &self.num_heads[..], Some(&self.pretrained_window_sizes[..]));
        Plan { common, patch_size, embed_dim, depths, num_heads, window_size, mlp_ratio, pool, pretrained }.build(cx)
    }
}

register!(dyn Backbone, "swinv2", SwinV2Config);
register!(dyn Backbone, "swinv2_tiny_window8_256", SwinV2Config, SwinV2Config::tiny_8);
register!(dyn Backbone, "swinv2_tiny_window16_256", SwinV2Config, SwinV2Config::tiny_16);
register!(dyn Backbone, "swinv2_small_window8_256", SwinV2Config, SwinV2Config::small_8);
register!(dyn Backbone, "swinv2_small_window16_256", SwinV2Config, SwinV2Config::small_16);
register!(dyn Backbone, "swinv2_base_window8_256", SwinV2Config, SwinV2Config::base_8);
register!(dyn Backbone, "swinv2_base_window16_256", SwinV2Config, SwinV2Config::base_16);
register!(dyn Backbone, "swinv2_base_window12_192", SwinV2Config, SwinV2Config::base_12);
register!(dyn Backbone, "swinv2_large_window12_192", SwinV2Config, SwinV2Config::large_12);
register!(dyn Backbone, "swinv2_base_window12to16_192to256", SwinV2Config, SwinV2Config::base_12_to_16);
register!(dyn Backbone, "swinv2_base_window12to24_192to384", SwinV2Config, SwinV2Config::base_12_to_24);
register!(dyn Backbone, "swinv2_large_window12to16_192to256", SwinV2Config, SwinV2Config::large_12_to_16);
register!(dyn Backbone, "swinv2_large_window12to24_192to384", SwinV2Config, SwinV2Config::large_12_to_24);
// timm's name for it before version 0.9.
register!(dyn Backbone, "swinv2_large_window12to24_192to384_22kft1k", SwinV2Config, SwinV2Config::large_12_to_24);
