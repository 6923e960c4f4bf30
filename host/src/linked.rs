//! The first-party plugins of this build. Naming a crate is what links it; no other file of the host names a plugin crate.

#[cfg(feature = "align-uniform")]
use vlhub_plugin_align_uniform as _;
#[cfg(feature = "augment")]
use vlhub_plugin_augment as _;
#[cfg(feature = "captions")]
use vlhub_plugin_captions as _;
#[cfg(feature = "classify")]
use vlhub_plugin_classify as _;
#[cfg(feature = "clip")]
use vlhub_plugin_clip as _;
#[cfg(feature = "coca")]
use vlhub_plugin_coca as _;
#[cfg(feature = "convnet")]
use vlhub_plugin_convnet as _;
#[cfg(feature = "declip")]
use vlhub_plugin_declip as _;
#[cfg(feature = "distill")]
use vlhub_plugin_distill as _;
#[cfg(feature = "eva")]
use vlhub_plugin_eva as _;
#[cfg(feature = "filip")]
use vlhub_plugin_filip as _;
#[cfg(feature = "hf-text")]
use vlhub_plugin_hf_text as _;
#[cfg(feature = "hybrid")]
use vlhub_plugin_hybrid as _;
#[cfg(feature = "probe")]
use vlhub_plugin_probe as _;
#[cfg(feature = "quasimetric")]
use vlhub_plugin_quasimetric as _;
#[cfg(feature = "resnet")]
use vlhub_plugin_resnet as _;
#[cfg(feature = "retrieval")]
use vlhub_plugin_retrieval as _;
#[cfg(feature = "simclr")]
use vlhub_plugin_simclr as _;
#[cfg(feature = "swin")]
use vlhub_plugin_swin as _;
#[cfg(feature = "timm-vit")]
use vlhub_plugin_timm_vit as _;
#[cfg(feature = "vit")]
use vlhub_plugin_vit as _;
#[cfg(feature = "zeroshot")]
use vlhub_plugin_zeroshot as _;

/// The feature that brings in the first-party crate of which `name` would be a plugin, when this build leaves it out.
pub fn left_out(name: &str) -> Option<&'static str> {
    const CRATES: &[(&str, bool, &[&str])] = &[
        (
            "augment",
            cfg!(feature = "augment"),
            &["random_resized_crop", "center_crop", "flip", "color_jitter", "greyscale", "blur", "simclr", "resize", "solarize"],
        ),
        ("captions", cfg!(feature = "captions"), &["templates", "choose", "lower", "upper", "clean", "shift_cipher"]),
        ("clip", cfg!(feature = "clip"), &["clip", "siglip"]),
        ("align-uniform", cfg!(feature = "align-uniform"), &["align_uniform"]),
        ("classify", cfg!(feature = "classify"), &["classify"]),
        ("coca", cfg!(feature = "coca"), &["caption"]),
        ("declip", cfg!(feature = "declip"), &["mlm", "simsiam", "nearest", "eda"]),
        ("distill", cfg!(feature = "distill"), &["distill"]),
        ("filip", cfg!(feature = "filip"), &["filip"]),
        ("quasimetric", cfg!(feature = "quasimetric"), &["iqe"]),
        ("simclr", cfg!(feature = "simclr"), &["simclr", "byol"]),
        ("probe", cfg!(feature = "probe"), &["accuracy", "knn", "linear_probe"]),
        ("retrieval", cfg!(feature = "retrieval"), &["retrieval"]),
        (
            "vit",
            cfg!(feature = "vit"),
            &[
                "vit",
                "vit_b_32",
                "vit_b_16",
                "vit_l_14",
                "text_transformer",
                "vit_s_16",
                "vit_s_32",
                "vit_tiny_8",
                "text_s",
                "text_l",
                "text_tiny",
            ],
        ),
        ("zeroshot", cfg!(feature = "zeroshot"), &["zeroshot"]),
    ];
    CRATES.iter().find(|(_, linked, names)| !linked && names.contains(&name)).map(|(feature, ..)| *feature)
}
