//! timm's `Beit`: a vision transformer with a table of relative positions in each block.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::net::{Net, Plan, Style};
use crate::options::{Pool, check_token_or_avg, family_options};
use crate::relative::Positions;

family_options! {
    /// BEiT's vision transformer (arXiv 2106.08254): each block learns a number for each distance of two patches, and keys have no bias.
    ///
    /// Parameters are named as in timm's `Beit`, under `trunk`. Tokens are those of the patches, row by row, normalised where the norm comes
    /// before the pooling.
    TimmBeitConfig {
        /// Pooling of the tokens: token or avg. The norm comes behind it where it is avg.
        global_pool: Pool,
    }
}

impl Default for TimmBeitConfig {
    /// A model for experiments on small pictures: 64 px in 8 px patches, width 192, 6 blocks, 3 heads; 2.7 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            patch_size: 8,
            width: 192,
            layers: 6,
            heads: 3,
            mlp_ratio: 4.0,
            qkv_bias: true,
            init_values: 0.1,
            global_pool: Pool::Avg,
            pool: None,
            drop_path: 0.0,
            proj: Proj::Linear,
            proj_bias: false,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl TimmBeitConfig {
    /// 768 wide, 12 blocks, 12 heads, in 16 px patches.
    fn base(image_size: i64, init_values: f64) -> Self {
        Self { image_size, patch_size: 16, width: 768, layers: 12, heads: 12, init_values, ..Self::default() }
    }

    /// 1024 wide, 24 blocks, 16 heads, in 16 px patches.
    fn large(image_size: i64) -> Self {
        Self { image_size, patch_size: 16, width: 1024, layers: 24, heads: 16, init_values: 1e-5, ..Self::default() }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(&mut problems);
        check_token_or_avg(&mut problems, self.pool.unwrap_or(self.global_pool));
        problems.finish()
    }
}

impl Config<dyn Backbone> for TimmBeitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let common = self.common();
        let behind = common.made_with(self.global_pool, self.pool) == Pool::Avg;
        let plan = Plan {
            common,
            style: Style::Beit,
            activation: Activation::Gelu,
            epsilon: 1e-6,
            class_token: true,
            distilled: false,
            reg_tokens: 0,
            absolute: None,
            relative: Some(Positions::Table),
            shared_relative: false,
            qk_norm: false,
            pre_norm: false,
            norm: !behind,
            fc_norm: behind,
            pool: self.pool.unwrap_or(self.global_pool),
            patch_drop: 0.0,
        };
        Ok(Box::new(Net::new(cx, plan)?))
    }
}

register!(dyn Backbone, "timm_beit", TimmBeitConfig);

/// Registers a preset for each line.
macro_rules! presets {
    ($($name:literal = $options:expr;)*) => { $(register!(dyn Backbone, $name, TimmBeitConfig, || $options);)* };
}

presets! {
    "beit_base_patch16_224" = TimmBeitConfig::base(224, 0.1);
    "beit_base_patch16_384" = TimmBeitConfig::base(384, 0.1);
    "beit_large_patch16_224" = TimmBeitConfig::large(224);
    "beit_large_patch16_384" = TimmBeitConfig::large(384);
    "beit_large_patch16_512" = TimmBeitConfig::large(512);
    "beitv2_base_patch16_224" = TimmBeitConfig::base(224, 1e-5);
    "beitv2_large_patch16_224" = TimmBeitConfig::large(224);
}
