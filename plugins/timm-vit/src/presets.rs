//! timm's names for the sizes of its `VisionTransformer`.

use vlhub_sdk::prelude::*;

use crate::options::{Act, Pool};
use crate::vit::TimmVitConfig;

/// Width, blocks, heads.
const TINY: [i64; 3] = [192, 12, 3];
const SMALL: [i64; 3] = [384, 12, 6];
const MEDIUM: [i64; 3] = [512, 12, 8];
const BASE: [i64; 3] = [768, 12, 12];
const LARGE: [i64; 3] = [1024, 24, 16];
const HUGE: [i64; 3] = [1280, 32, 16];
const GIANT_OPT: [i64; 3] = [1536, 40, 16];

/// Pixels of a picture, pixels of a patch, sizes: as in the first paper and in DeiT.
fn plain(image_size: i64, patch_size: i64, sizes: [i64; 3]) -> TimmVitConfig {
    TimmVitConfig::sized(image_size, patch_size, sizes)
}

fn siglip(image_size: i64, patch_size: i64, sizes: [i64; 3], act: Act) -> TimmVitConfig {
    plain(image_size, patch_size, sizes).siglip(act)
}

/// SigLIP's shape-optimised tower of 400 million parameters (arXiv 2305.13035).
fn so400m(image_size: i64, patch_size: i64, act: Act) -> TimmVitConfig {
    TimmVitConfig { mlp_ratio: 3.7362, ..siglip(image_size, patch_size, [1152, 27, 16], act) }
}

fn clip(patch_size: i64, sizes: [i64; 3], act_layer: Act) -> TimmVitConfig {
    TimmVitConfig { act_layer, ..plain(224, patch_size, sizes).clip() }
}

/// DeiT III (arXiv 2204.07118): scaled branches, and no position for the class token.
fn deit3(image_size: i64, patch_size: i64, sizes: [i64; 3]) -> TimmVitConfig {
    TimmVitConfig { no_embed_class: true, init_values: 1e-6, ..plain(image_size, patch_size, sizes) }
}

fn distilled(image_size: i64, sizes: [i64; 3]) -> TimmVitConfig {
    TimmVitConfig { distilled: true, ..plain(image_size, 16, sizes) }
}

/// No class token: the mean of the normalised patches.
fn gap(image_size: i64, patch_size: i64, sizes: [i64; 3]) -> TimmVitConfig {
    let own = TimmVitConfig { class_token: false, global_pool: Pool::Avg, fc_norm: Some(false), ..plain(image_size, patch_size, sizes) };
    TimmVitConfig { qkv_bias: false, init_values: 1e-6, ..own }
}

/// Registers a preset for each line.
macro_rules! presets {
    ($($name:literal = $options:expr;)*) => { $(register!(dyn Backbone, $name, TimmVitConfig, || $options);)* };
}

presets! {
    "vit_tiny_patch16_224" = plain(224, 16, TINY);
    "vit_tiny_patch16_384" = plain(384, 16, TINY);
    "vit_small_patch32_224" = plain(224, 32, SMALL);
    "vit_small_patch32_384" = plain(384, 32, SMALL);
    "vit_small_patch16_224" = plain(224, 16, SMALL);
    "vit_small_patch16_384" = plain(384, 16, SMALL);
    "vit_small_patch8_224" = plain(224, 8, SMALL);
    "vit_base_patch32_224" = plain(224, 32, BASE);
    "vit_base_patch32_384" = plain(384, 32, BASE);
    "vit_base_patch16_224" = plain(224, 16, BASE);
    "vit_base_patch16_384" = plain(384, 16, BASE);
    "vit_base_patch8_224" = plain(224, 8, BASE);
    "vit_large_patch32_224" = plain(224, 32, LARGE);
    "vit_large_patch32_384" = plain(384, 32, LARGE);
    "vit_large_patch16_224" = plain(224, 16, LARGE);
    "vit_large_patch16_224_in21k" = plain(224, 16, LARGE);
    "vit_large_patch16_384" = plain(384, 16, LARGE);
    "vit_large_patch14_224" = plain(224, 14, LARGE);
    "vit_large_patch8_224" = plain(224, 8, LARGE);
    "vit_huge_patch14_224" = plain(224, 14, HUGE);
    "vit_huge_patch14_224_in21k" = plain(224, 14, HUGE);
    "vit_medium_patch16_gap_256" = gap(256, 16, MEDIUM);
    "vit_medium_patch16_gap_384" = gap(384, 16, MEDIUM);
    "vit_base_patch32_clip_224" = clip(32, BASE, Act::Gelu);
    "vit_base_patch16_clip_224" = clip(16, BASE, Act::Gelu);
    "vit_large_patch14_clip_224" = clip(14, LARGE, Act::Gelu);
    "vit_huge_patch14_clip_224" = clip(14, HUGE, Act::Gelu);
    "vit_base_patch32_clip_quickgelu_224" = clip(32, BASE, Act::QuickGelu);
    "vit_base_patch16_clip_quickgelu_224" = clip(16, BASE, Act::QuickGelu);
    "vit_large_patch14_clip_quickgelu_224" = clip(14, LARGE, Act::QuickGelu);
    "vit_huge_patch14_clip_quickgelu_224" = clip(14, HUGE, Act::QuickGelu);
    "vit_base_patch32_siglip_256" = siglip(256, 32, BASE, Act::GeluTanh);
    "vit_base_patch16_siglip_224" = siglip(224, 16, BASE, Act::Gelu);
    "vit_base_patch16_siglip_256" = siglip(256, 16, BASE, Act::Gelu);
    "vit_base_patch16_siglip_384" = siglip(384, 16, BASE, Act::Gelu);
    "vit_base_patch16_siglip_512" = siglip(512, 16, BASE, Act::Gelu);
    "vit_large_patch16_siglip_256" = siglip(256, 16, LARGE, Act::Gelu);
    "vit_large_patch16_siglip_384" = siglip(384, 16, LARGE, Act::Gelu);
    "vit_large_patch16_siglip_512" = siglip(512, 16, LARGE, Act::GeluTanh);
    "vit_so400m_patch14_siglip_224" = so400m(224, 14, Act::Gelu);
    "vit_so400m_patch14_siglip_378" = so400m(378, 14, Act::Gelu);
    "vit_so400m_patch14_siglip_384" = so400m(384, 14, Act::Gelu);
    "vit_so400m_patch16_siglip_256" = so400m(256, 16, Act::GeluTanh);
    "vit_so400m_patch16_siglip_384" = so400m(384, 16, Act::GeluTanh);
    "vit_so400m_patch16_siglip_512" = so400m(512, 16, Act::GeluTanh);
    "vit_giantopt_patch16_siglip_256" = siglip(256, 16, GIANT_OPT, Act::GeluTanh);
    "vit_giantopt_patch16_siglip_384" = siglip(384, 16, GIANT_OPT, Act::GeluTanh);
    "deit_tiny_patch16_224" = plain(224, 16, TINY);
    "deit_small_patch16_224" = plain(224, 16, SMALL);
    "deit_base_patch16_224" = plain(224, 16, BASE);
    "deit_base_patch16_384" = plain(384, 16, BASE);
    "deit_tiny_distilled_patch16_224" = distilled(224, TINY);
    "deit_small_distilled_patch16_224" = distilled(224, SMALL);
    "deit_base_distilled_patch16_224" = distilled(224, BASE);
    "deit_base_distilled_patch16_384" = distilled(384, BASE);
    "deit3_small_patch16_224" = deit3(224, 16, SMALL);
    "deit3_small_patch16_384" = deit3(384, 16, SMALL);
    "deit3_medium_patch16_224" = deit3(224, 16, MEDIUM);
    "deit3_base_patch16_224" = deit3(224, 16, BASE);
    "deit3_base_patch16_384" = deit3(384, 16, BASE);
    "deit3_large_patch16_224" = deit3(224, 16, LARGE);
    "deit3_large_patch16_384" = deit3(384, 16, LARGE);
    "deit3_huge_patch14_224" = deit3(224, 14, HUGE);
}
