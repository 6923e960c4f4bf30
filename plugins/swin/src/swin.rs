//! Swin Transformer (arXiv 2103.14030).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::hierarchy::Plan;
use crate::options::{Common, Pool};

/// Swin Transformer (arXiv 2103.14030): attention in windows that every second block shifts by half, and maps that halve from stage to
/// stage.
///
/// Parameters are named as in timm's `SwinTransformer`, under `trunk`. Tokens are the places of the last map, row by row, normalised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct SwinConfig {
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

impl Default for SwinConfig {
    /// For a CPU: 32 px, two stages of two blocks, width 48, windows of 4; 0.3 million parameters.
    fn default() -> Self {
        Self {
            image_size: 32,
            patch_size: 4,
            embed_dim: 48,
            depths: vec![2, 2],
            num_heads: vec![2, 4],
            window_size: 4,
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

impl SwinConfig {
    /// Swin-T: 224 px, width 96, windows of 7.
    pub fn tiny() -> Self {
        Self { image_size: 224, embed_dim: 96, depths: vec![2, 2, 6, 2], num_heads: vec![3, 6, 12, 24], window_size: 7, ..Self::default() }
    }

    /// Swin-S: three times the blocks of Swin-T in the third stage.
    pub fn small() -> Self {
        Self { depths: vec![2, 2, 18, 2], ..Self::tiny() }
    }

    /// Swin-B: width 128.
    pub fn base() -> Self {
        Self { embed_dim: 128, num_heads: vec![4, 8, 16, 32], ..Self::small() }
    }

    /// Swin-B at 384 px with windows of 12.
    pub fn base_384() -> Self {
        Self { image_size: 384, window_size: 12, ..Self::base() }
    }

    /// Swin-L: width 192.
    pub fn large() -> Self {
        Self { embed_dim: 192, num_heads: vec![6, 12, 24, 48], ..Self::small() }
    }

    /// Swin-L at 384 px with windows of 12.
    pub fn large_384() -> Self {
        Self { image_size: 384, window_size: 12, ..Self::large() }
    }
}

impl Config<dyn Backbone> for SwinConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let Self { image_size, patch_size, embed_dim, window_size, mlp_ratio, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        let common = Common { image_size, proj, proj_bias, drop_path, mean, std };
        let (depths, num_heads) = (&self.depths[..], &self.num_heads[..]);
        Plan { common, patch_size, embed_dim, depths, num_heads, window_size, mlp_ratio, pool, pretrained: None }.build(cx)
    }
}

register!(dyn Backbone, "swin", SwinConfig);
register!(dyn Backbone, "swin_tiny_patch4_window7_224", SwinConfig, SwinConfig::tiny);
register!(dyn Backbone, "swin_small_patch4_window7_224", SwinConfig, SwinConfig::small);
register!(dyn Backbone, "swin_base_patch4_window7_224", SwinConfig, SwinConfig::base);
register!(dyn Backbone, "swin_base_patch4_window12_384", SwinConfig, SwinConfig::base_384);
register!(dyn Backbone, "swin_large_patch4_window7_224", SwinConfig, SwinConfig::large);
register!(dyn Backbone, "swin_large_patch4_window12_384", SwinConfig, SwinConfig::large_384);

#[cfg(test)]
mod tests {
    use vlhub_sdk::tch::nn::VarStore;

    use super::*;

    fn build(config: &SwinConfig) -> Result<Box<dyn Backbone>> {
        config.build(&BackboneCx { path: VarStore::new(Device::Cpu).root(), embed: 8 })
    }

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong = SwinConfig {
            image_size: 30,
            num_heads: vec![5, 4, 2],
            window_size: 0,
            mlp_ratio: 0.0,
            drop_path: 1.0,
            std: [0.0; 3],
            ..SwinConfig::default()
        };
        let error = build(&wrong).expect_err("seven mistakes").to_string();
        for part in [
            "`image_size` = 30 is not a multiple of 4",
            "`num_heads` has 3 values",
            "`num_heads` = 5 of stage 0 does not divide its width 48",
            "`window_size` = 0",
            "`mlp_ratio` = 0",
            "`drop_path` = 1",
            "`std`",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
        let none = SwinConfig { depths: vec![], num_heads: vec![], ..SwinConfig::default() };
        assert!(build(&none).expect_err("no stage").to_string().contains("0 stages"));
    }

    #[test]
    fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
        let tower = build(&SwinConfig::default())?;
        for (input, wanted) in [
            (Tensor::zeros([2, 3, 32, 36], (Kind::Float, Device::Cpu)), "Float [2, 3, 32, 36]"),
            (Tensor::zeros([2, 3, 32, 32], (Kind::Uint8, Device::Cpu)), "Uint8 [2, 3, 32, 32]"),
        ] {
            let error = tower.encode(&input, false, None).expect_err("another shape").to_string();
            assert!(error.contains("[B, 3, 32, 32]") && error.contains(wanted), "{error}");
        }
        Ok(())
    }

    #[test]
    fn the_projection_is_open_clips_or_timms_own_classifier() -> Result<()> {
        let linear = build(&SwinConfig { proj_bias: true, ..SwinConfig::default() })?;
        assert_eq!(linear.projection(), Projection::Linear { name: "head.proj", bias: true });
        let classifier = build(&SwinConfig { proj: Proj::Classifier, ..SwinConfig::default() })?;
        assert_eq!(classifier.projection(), Projection::Linear { name: "trunk.head.fc", bias: true });
        Ok(())
    }
}
