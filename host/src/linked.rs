//! First-party plugins that a build may leave out, for hints.

/// The feature that brings in the first-party crate of which `name` is a plugin: for a name that this build does not know.
pub fn left_out(name: &str) -> Option<&'static str> {
    const CRATES: &[(&str, &[&str])] = &[
        ("augment", &["random_resized_crop", "center_crop", "flip", "color_jitter", "greyscale", "blur", "simclr", "resize", "solarize"]),
        ("captions", &["templates", "choose", "lower", "upper", "clean", "shift_cipher"]),
        ("clip", &["clip", "siglip"]),
        ("align-uniform", &["align_uniform"]),
        ("classify", &["classify"]),
        ("coca", &["caption"]),
        ("declip", &["mlm", "simsiam", "nearest", "eda"]),
        ("distill", &["distill"]),
        ("filip", &["filip"]),
        ("quasimetric", &["iqe"]),
        ("simclr", &["simclr", "byol"]),
        ("probe", &["accuracy", "knn", "linear_probe"]),
        ("retrieval", &["retrieval"]),
        (
            "vit",
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
        ("zeroshot", &["zeroshot"]),
    ];
    CRATES.iter().find(|(_, names)| names.contains(&name)).map(|(feature, _)| *feature)
}

#[cfg(test)]
mod tests {
    use vlhub_plugin_align_uniform as _;
    use vlhub_plugin_augment as _;
    use vlhub_plugin_captions as _;
    use vlhub_plugin_classify as _;
    use vlhub_plugin_clip as _;
    use vlhub_plugin_coca as _;
    use vlhub_plugin_convnet as _;
    use vlhub_plugin_declip as _;
    use vlhub_plugin_distill as _;
    use vlhub_plugin_eva as _;
    use vlhub_plugin_filip as _;
    use vlhub_plugin_hf_text as _;
    use vlhub_plugin_hybrid as _;
    use vlhub_plugin_probe as _;
    use vlhub_plugin_quasimetric as _;
    use vlhub_plugin_resnet as _;
    use vlhub_plugin_retrieval as _;
    use vlhub_plugin_simclr as _;
    use vlhub_plugin_swin as _;
    use vlhub_plugin_timm_vit as _;
    use vlhub_plugin_vit as _;
    use vlhub_plugin_zeroshot as _;
}
