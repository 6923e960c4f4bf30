//! timm's networks by name.

use vlhub_sdk::prelude::*;

use crate::options::{AttnType, EvaConfig, GridIndexing, Pool};

impl EvaConfig {
    /// EVA-01 giant.
    fn giant(image_size: i64) -> Self {
        Self { mlp_ratio: 6144.0 / 1408.0, ..Self::plain(image_size, 14, 1408, 40, 16) }
    }

    /// EVA-02 of the smaller sizes: rotary positions and a gated MLP.
    fn eva02(image_size: i64, width: i64) -> Self {
        Self { image_size, patch_size: 14, width, layers: 12, heads: width / 64, ..Self::default() }
    }

    /// EVA-02 of the larger sizes: with a norm inside the MLP, and queries, keys and values apart.
    fn eva02_scaled(image_size: i64, patch_size: i64, width: i64, layers: i64) -> Self {
        Self { patch_size, layers, scale_mlp: true, qkv_fused: false, ..Self::eva02(image_size, width) }
    }

    /// EVA-02 of EVA-CLIP: also with a norm inside attention.
    fn eva02_clip(image_size: i64, patch_size: i64, width: i64, layers: i64) -> Self {
        Self { scale_attn_inner: true, pool: Pool::Token, ..Self::eva02_scaled(image_size, patch_size, width, layers) }
    }

    fn enormous() -> Self {
        Self { mlp_ratio: 15360.0 / 1792.0, use_post_norm: true, pool: Pool::Token, ..Self::plain(224, 14, 1792, 64, 16) }
    }

    /// Vision transformers with axial rotary positions.
    fn rope(image_size: i64, patch_size: i64, width: i64, layers: i64) -> Self {
        Self {
            attn_type: AttnType::Rope,
            use_rot_pos_emb: true,
            rope_grid_indexing: GridIndexing::Xy,
            ..Self::plain(image_size, patch_size, width, layers, width / 64)
        }
    }

    /// The Perception Encoder; `reference` is the height and width of the map in pretraining.
    fn pe(image_size: i64, patch_size: i64, width: i64, layers: i64, reference: i64) -> Self {
        Self {
            use_pre_transformer_norm: true,
            ref_feat_shape: reference,
            rope_grid_offset: 1.0,
            norm_eps: 1e-5,
            ..Self::rope(image_size, patch_size, width, layers)
        }
    }

    /// Its largest size has no class token.
    fn pe_gigantic(layers: i64) -> Self {
        Self { heads: 16, mlp_ratio: 8960.0 / 1536.0, class_token: false, rope_grid_offset: 0.0, ..Self::pe(448, 14, 1536, layers, 32) }
    }

    /// Pools by attention, for pictures and texts.
    fn core(self) -> Self {
        Self { pool: Pool::Map, attn_pool_num_heads: Some(8), attn_pool_mlp_ratio: Some(4.0), ..self }
    }

    /// Without a norm after the blocks, for language models and dense tasks.
    fn bare(self, init_values: Option<f64>) -> Self {
        Self { use_post_transformer_norm: Some(false), use_fc_norm: Some(false), init_values, ..self }
    }

    /// RoPE-ViT; `learned` adds learned positions to the rotary ones.
    fn rope_vit(width: i64, layers: i64, learned: bool) -> Self {
        Self {
            init_values: Some(1e-5),
            pool: Pool::Token,
            use_abs_pos_emb: learned,
            no_embed_class: learned,
            rope_temperature: 100.0,
            ..Self::rope(224, 16, width, layers)
        }
    }

    /// timm's own vision transformers with registers instead of a class token.
    fn registers(width: i64, layers: i64, num_reg_tokens: i64, qkv_bias: bool) -> Self {
        Self {
            init_values: Some(1e-5),
            class_token: false,
            num_reg_tokens,
            qkv_bias,
            use_abs_pos_emb: false,
            use_rot_pos_emb: true,
            ref_feat_shape: 16,
            ..Self::plain(256, 16, width, layers, width / 64)
        }
    }
}

register!(dyn Backbone, "eva", EvaConfig);
register!(dyn Backbone, "eva_giant_patch14_224", EvaConfig, || EvaConfig::giant(224));
register!(dyn Backbone, "eva_giant_patch14_336", EvaConfig, || EvaConfig::giant(336));
register!(dyn Backbone, "eva_giant_patch14_560", EvaConfig, || EvaConfig::giant(560));
register!(dyn Backbone, "eva_giant_patch14_clip_224", EvaConfig, || EvaConfig { pool: Pool::Token, ..EvaConfig::giant(224) });
register!(dyn Backbone, "eva02_tiny_patch14_224", EvaConfig, || EvaConfig::eva02(224, 192));
register!(dyn Backbone, "eva02_tiny_patch14_336", EvaConfig, || EvaConfig::eva02(336, 192));
register!(dyn Backbone, "eva02_small_patch14_224", EvaConfig, || EvaConfig::eva02(224, 384));
register!(dyn Backbone, "eva02_small_patch14_336", EvaConfig, || EvaConfig::eva02(336, 384));
register!(dyn Backbone, "eva02_base_patch14_224", EvaConfig, || EvaConfig::eva02_scaled(224, 14, 768, 12));
register!(dyn Backbone, "eva02_base_patch14_448", EvaConfig, || EvaConfig::eva02_scaled(448, 14, 768, 12));
register!(dyn Backbone, "eva02_large_patch14_224", EvaConfig, || EvaConfig::eva02_scaled(224, 14, 1024, 24));
register!(dyn Backbone, "eva02_large_patch14_448", EvaConfig, || EvaConfig::eva02_scaled(448, 14, 1024, 24));
register!(dyn Backbone, "eva02_base_patch16_clip_224", EvaConfig, || EvaConfig::eva02_clip(224, 16, 768, 12));
register!(dyn Backbone, "eva02_large_patch14_clip_224", EvaConfig, || EvaConfig::eva02_clip(224, 14, 1024, 24));
register!(dyn Backbone, "eva02_large_patch14_clip_336", EvaConfig, || EvaConfig::eva02_clip(336, 14, 1024, 24));
register!(dyn Backbone, "eva02_enormous_patch14_clip_224", EvaConfig, EvaConfig::enormous);
register!(dyn Backbone, "vit_pe_core_tiny_patch16_384", EvaConfig, || EvaConfig::pe(384, 16, 192, 12, 24).core());
register!(dyn Backbone, "vit_pe_core_small_patch16_384", EvaConfig, || EvaConfig::pe(384, 16, 384, 12, 24).core());
register!(dyn Backbone, "vit_pe_core_base_patch16_224", EvaConfig, || EvaConfig::pe(224, 16, 768, 12, 14).core());
register!(dyn Backbone, "vit_pe_core_large_patch14_336", EvaConfig, || EvaConfig::pe(336, 14, 1024, 24, 24).core());
register!(dyn Backbone, "vit_pe_core_gigantic_patch14_448", EvaConfig, || EvaConfig::pe_gigantic(50).core());
register!(dyn Backbone, "vit_pe_lang_large_patch14_448", EvaConfig, || EvaConfig::pe(448, 14, 1024, 23, 32).bare(Some(0.1)));
register!(dyn Backbone, "vit_pe_lang_gigantic_patch14_448", EvaConfig, || EvaConfig::pe_gigantic(47).bare(Some(0.1)));
register!(dyn Backbone, "vit_pe_spatial_tiny_patch16_512", EvaConfig, || EvaConfig::pe(512, 16, 192, 12, 32).bare(None));
register!(dyn Backbone, "vit_pe_spatial_small_patch16_512", EvaConfig, || EvaConfig::pe(512, 16, 384, 12, 32).bare(None));
register!(dyn Backbone, "vit_pe_spatial_base_patch16_512", EvaConfig, || EvaConfig::pe(512, 16, 768, 12, 32).bare(None));
register!(dyn Backbone, "vit_pe_spatial_large_patch14_448", EvaConfig, || EvaConfig::pe(448, 14, 1024, 24, 32).bare(None));
register!(dyn Backbone, "vit_pe_spatial_gigantic_patch14_448", EvaConfig, || EvaConfig::pe_gigantic(50).bare(Some(0.1)));
register!(dyn Backbone, "vit_small_patch16_rope_224", EvaConfig, || EvaConfig::rope_vit(384, 12, false));
register!(dyn Backbone, "vit_base_patch16_rope_224", EvaConfig, || EvaConfig::rope_vit(768, 12, false));
register!(dyn Backbone, "vit_large_patch16_rope_224", EvaConfig, || EvaConfig::rope_vit(1024, 24, false));
register!(dyn Backbone, "vit_small_patch16_rope_ape_224", EvaConfig, || EvaConfig::rope_vit(384, 12, true));
register!(dyn Backbone, "vit_base_patch16_rope_ape_224", EvaConfig, || EvaConfig::rope_vit(768, 12, true));
register!(dyn Backbone, "vit_large_patch16_rope_ape_224", EvaConfig, || EvaConfig::rope_vit(1024, 24, true));
register!(dyn Backbone, "vit_medium_patch16_rope_reg1_gap_256", EvaConfig, || EvaConfig::registers(512, 12, 1, true));
register!(dyn Backbone, "vit_mediumd_patch16_rope_reg1_gap_256", EvaConfig, || EvaConfig::registers(512, 20, 1, false));
register!(dyn Backbone, "vit_betwixt_patch16_rope_reg4_gap_256", EvaConfig, || EvaConfig::registers(640, 12, 4, true));
register!(dyn Backbone, "vit_base_patch16_rope_reg1_gap_256", EvaConfig, || EvaConfig::registers(768, 12, 1, true));
