//! timm's `VisionTransformerRelPos`: no learned positions, but an MLP of the distances of patches.

use vlhub_sdk::nn::Activation;
use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::net::{Net, Plan, Style};
use crate::options::{Pool, check_class_token, check_token_or_avg, family_options};
use crate::relative::Positions;

family_options! {
    /// Vision transformer with relative positions: what is added to an attention logit is an MLP of the logarithmic distance, after Swin v2
    /// (arXiv 2111.09883), in timm's variant `mlp`.
    ///
    /// Parameters are named as in timm's `VisionTransformerRelPos`, under `trunk`. Tokens are those of the patches, row by row, normalised
    /// unless `fc_norm` is set.
    TimmVitRelPosConfig {
        /// QK norm: whether queries and keys are normalised, head by head.
        qk_norm: bool,
        /// Pooling of the tokens: token or avg.
        global_pool: Pool,
        /// Whether a learned token stands before the patches.
        class_token: bool,
        /// Whether the norm comes behind the pooling.
        fc_norm: bool,
        /// Width inside the MLP of the distances.
        rel_pos_dim: i64,
        /// Whether all blocks share one MLP.
        shared_rel_pos: bool,
        /// Share of that MLP's inner elements that is zeroed while training; timm's is 0.125. timm draws once for a batch. Here each picture
        /// has its own draw, which gradient caching needs, and which costs memory for B · (2 · grid − 1)² · `rel_pos_dim` numbers a block.
        rel_pos_drop: f64,
    }
}

impl Default for TimmVitRelPosConfig {
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
            init_values: 1e-6,
            qk_norm: false,
            global_pool: Pool::Avg,
            class_token: false,
            fc_norm: false,
            rel_pos_dim: 128,
            shared_rel_pos: false,
            rel_pos_drop: 0.125,
            pool: None,
            drop_path: 0.0,
            proj: Proj::Linear,
            proj_bias: false,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl TimmVitRelPosConfig {
    /// The published ones: 224 px in 16 px patches, 12 blocks with heads 64 wide, no bias for queries, keys and values.
    fn published(width: i64) -> Self {
        Self { image_size: 224, patch_size: 16, width, layers: 12, heads: width / 64, qkv_bias: false, ..Self::default() }
    }

    /// With a class token that is read.
    fn cls(self) -> Self {
        Self { class_token: true, global_pool: Pool::Token, ..self }
    }

    /// With one MLP of the distances, as wide as the tokens.
    fn shared(self) -> Self {
        Self { shared_rel_pos: true, rel_pos_dim: self.width, ..self }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        self.common().check(&mut problems);
        let pool = self.pool.unwrap_or(self.global_pool);
        check_token_or_avg(&mut problems, pool);
        check_class_token(&mut problems, pool, self.class_token);
        problems.at_least("rel_pos_dim", self.rel_pos_dim, 1);
        problems.share("rel_pos_drop", self.rel_pos_drop);
        problems.finish()
    }
}

impl Config<dyn Backbone> for TimmVitRelPosConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let positions = Positions::Mlp { hidden: self.rel_pos_dim, prefix: i64::from(self.class_token), drop: self.rel_pos_drop };
        let plan = Plan {
            common: self.common(),
            style: Style::RelPos,
            activation: Activation::Gelu,
            epsilon: 1e-6,
            class_token: self.class_token,
            distilled: false,
            reg_tokens: 0,
            absolute: None,
            relative: Some(positions),
            shared_relative: self.shared_rel_pos,
            qk_norm: self.qk_norm,
            pre_norm: false,
            norm: !self.fc_norm,
            fc_norm: self.fc_norm,
            pool: self.pool.unwrap_or(self.global_pool),
            patch_drop: 0.0,
        };
        Ok(Box::new(Net::new(cx, plan)?))
    }
}

register!(dyn Backbone, "timm_vit_relpos", TimmVitRelPosConfig);

/// Registers a preset for each line.
macro_rules! presets {
    ($($name:literal = $options:expr;)*) => { $(register!(dyn Backbone, $name, TimmVitRelPosConfig, || $options);)* };
}

presets! {
    "vit_relpos_small_patch16_224" = TimmVitRelPosConfig { fc_norm: true, ..TimmVitRelPosConfig::published(384) };
    "vit_relpos_medium_patch16_224" = TimmVitRelPosConfig { fc_norm: true, ..TimmVitRelPosConfig::published(512) };
    "vit_relpos_base_patch16_224" = TimmVitRelPosConfig { fc_norm: true, ..TimmVitRelPosConfig::published(768) };
    "vit_relpos_medium_patch16_cls_224" = TimmVitRelPosConfig { rel_pos_dim: 256, ..TimmVitRelPosConfig::published(512).cls() };
    "vit_relpos_base_patch16_cls_224" = TimmVitRelPosConfig::published(768).cls();
    "vit_srelpos_small_patch16_224" = TimmVitRelPosConfig::published(384).shared();
    "vit_srelpos_medium_patch16_224" = TimmVitRelPosConfig::published(512).shared();
}
