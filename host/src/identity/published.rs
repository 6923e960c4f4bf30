//! What transformers, timm, OpenAI and open_clip's list of tags say of published weights, in this program's options.

use serde_json::{Value, json};
use tch::Tensor;

use super::Description;
use crate::models::pretrained::Pretrained;

/// Puts a value where there is one.
fn put(description: &mut Description, key: &str, value: Option<Value>) {
    if let Some(value) = value.filter(|value| !value.is_null()) {
        description.insert(key.to_owned(), value);
    }
}

/// `config.json` of transformers' CLIP and SigLIP, or of timm. transformers leaves out what has its default.
pub(super) fn of_config(config: &Value) -> Description {
    match config["model_type"].as_str() {
        Some("clip") => of_transformers(config, &CLIP),
        Some("siglip") => of_transformers(config, &SIGLIP),
        _ => of_timm(config),
    }
}

/// Defaults of transformers' configs: activation, epsilon of norms, heads of the image and of the text tower, side of the picture.
struct Defaults {
    act: &'static str,
    eps: f64,
    heads: [i64; 2],
    side: i64,
    context: i64,
}

const CLIP: Defaults = Defaults { act: "quick_gelu", eps: 1e-5, heads: [12, 8], side: 224, context: 77 };
const SIGLIP: Defaults = Defaults { act: "gelu_pytorch_tanh", eps: 1e-6, heads: [12, 12], side: 224, context: 64 };

fn of_transformers(config: &Value, defaults: &Defaults) -> Description {
    let mut out = Description::new();
    for (tower, key, heads) in [("image", "vision_config", defaults.heads[0]), ("text", "text_config", defaults.heads[1])] {
        let options = &config[key];
        let or = |name: &str, default: Value| if options[name].is_null() { default } else { options[name].clone() };
        let act = or("hidden_act", json!(defaults.act));
        let mut set = |option: &str, value: Value| drop(out.insert(format!("backbone.{tower}.{option}"), value));
        set("heads", or("num_attention_heads", json!(heads)));
        set("quick_gelu", json!(act == "quick_gelu"));
        set("gelu_tanh", json!(["gelu_pytorch_tanh", "gelu_new", "gelu_fast"].iter().any(|tanh| act == *tanh)));
        set("norm_eps", or("layer_norm_eps", json!(defaults.eps)));
        if tower == "image" {
            set("image_size", or("image_size", json!(defaults.side)));
        } else {
            set("context", or("max_position_embeddings", json!(defaults.context)));
        }
    }
    out
}

/// `config.json` of timm, as its `save_for_hf` writes it.
fn of_timm(config: &Value) -> Description {
    let mut out = Description::new();
    let pretrained = &config["pretrained_cfg"];
    let Some(architecture) = config["architecture"].as_str().filter(|_| pretrained.is_object()) else { return out };
    let name = architecture.split('.').next().unwrap_or(architecture);
    out.insert("backbone.image.use".into(), json!(name));
    put(&mut out, "preprocess.mean", Some(pretrained["mean"].clone()));
    put(&mut out, "preprocess.std", Some(pretrained["std"].clone()));
    put(&mut out, "preprocess.interpolation", Some(pretrained["interpolation"].clone()));
    let mode = match pretrained["crop_mode"].as_str() {
        Some("squash") => Some("squash"),
        Some("border") => Some("longest"),
        Some("center") => Some("shortest"),
        _ => None,
    };
    put(&mut out, "preprocess.resize_mode", mode.map(Value::from));
    put(&mut out, "backbone.image.image_size", pretrained["input_size"].get(1).cloned());
    out
}

/// `preprocessor_config.json` of transformers' image processors.
pub(super) fn of_preprocessor(config: &Value) -> Description {
    let mut out = Description::new();
    if config["do_normalize"] != false {
        put(&mut out, "preprocess.mean", Some(config["image_mean"].clone()));
        put(&mut out, "preprocess.std", Some(config["image_std"].clone()));
    }
    // Pillow's numbers of filters.
    let filter = match config["resample"].as_i64() {
        Some(1) => Some("lanczos"),
        Some(2) => Some("bilinear"),
        Some(3) => Some("bicubic"),
        Some(4) => Some("box"),
        _ => None,
    };
    put(&mut out, "preprocess.interpolation", filter.map(Value::from));
    let size = &config["size"];
    let mode = if size["shortest_edge"].is_number() || size.is_number() {
        Some("shortest")
    } else if size["height"].is_number() && config["do_center_crop"] != true {
        Some("squash")
    } else {
        None
    };
    put(&mut out, "preprocess.resize_mode", mode.map(Value::from));
    out
}

/// An archive of OpenAI's tells its architecture by its shapes, as OpenAI's own loader reads it: heads of width 64, QuickGELU.
pub(super) fn of_openai(tensors: &[(String, Tensor)]) -> Description {
    let rows = |name: &str| tensors.iter().find(|(known, _)| known == name).and_then(|(_, tensor)| tensor.size().first().copied());
    let mut out = Description::new();
    let Some(text) = rows("ln_final.weight") else { return out };
    if let Some(width) = rows("visual.class_embedding") {
        out.insert("backbone.image.heads".into(), json!(width / 64));
        out.insert("backbone.image.quick_gelu".into(), json!(true));
    } else if let Some(width) = rows("visual.layer1.0.conv1.weight") {
        out.insert("backbone.image.heads".into(), json!(width * 32 / 64));
    } else {
        return out;
    }
    out.insert("backbone.text.heads".into(), json!(text / 64));
    out.insert("backbone.text.quick_gelu".into(), json!(true));
    out.insert("tokenizer.use".into(), json!("clip"));
    out.extend(pixels([0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_58, 0.275_777_11], "shortest"));
    out
}

/// Preprocessing and activation of a tag.
pub(super) fn of_tag(tag: &Pretrained) -> Description {
    let mut out: Description = tag.preprocess.iter().map(|(key, value)| (format!("preprocess.{key}"), value.clone())).collect();
    for tower in ["image", "text"] {
        out.insert(format!("backbone.{tower}.quick_gelu"), json!(tag.quick_gelu));
    }
    out
}

/// How every published SigLIP reads pictures.
pub(super) fn siglip_pixels() -> Description {
    pixels([0.5; 3], [0.5; 3], "squash")
}

fn pixels(mean: [f64; 3], std: [f64; 3], mode: &str) -> Description {
    let values = [("mean", json!(mean)), ("std", json!(std)), ("interpolation", json!("bicubic")), ("resize_mode", json!(mode))];
    values.into_iter().map(|(key, value)| (format!("preprocess.{key}"), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transformers_configs_are_read_with_the_defaults_that_they_leave_out() {
        let clip = of_config(&json!({"model_type": "clip", "vision_config": {"num_attention_heads": 16, "image_size": 336},
            "text_config": {"hidden_act": "gelu", "max_position_embeddings": 77}}));
        for (key, value) in [
            ("backbone.image.heads", json!(16)),
            ("backbone.image.quick_gelu", json!(true)),
            ("backbone.image.image_size", json!(336)),
            ("backbone.text.heads", json!(8)),
            ("backbone.text.quick_gelu", json!(false)),
            ("backbone.text.norm_eps", json!(1e-5)),
        ] {
            assert_eq!(clip[key], value, "{key}");
        }
        let siglip = of_config(&json!({"model_type": "siglip", "vision_config": {}, "text_config": {}}));
        assert_eq!((&siglip["backbone.text.gelu_tanh"], &siglip["backbone.text.norm_eps"]), (&json!(true), &json!(1e-6)));
        assert!(of_config(&json!({"model_type": "bert"})).is_empty() && of_config(&json!(3)).is_empty());
    }

    #[test]
    fn processors_and_timm_tell_how_pictures_are_prepared() {
        let shortest = of_preprocessor(&json!({"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "resample": 3,
            "size": {"shortest_edge": 224}, "do_center_crop": true}));
        assert_eq!((&shortest["preprocess.interpolation"], &shortest["preprocess.resize_mode"]), (&json!("bicubic"), &json!("shortest")));
        let squash = of_preprocessor(&json!({"size": {"height": 224, "width": 224}, "resample": 2}));
        assert_eq!((&squash["preprocess.interpolation"], &squash["preprocess.resize_mode"]), (&json!("bilinear"), &json!("squash")));
        let timm =
            of_config(&json!({"architecture": "vit_base_patch16_224", "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5],
            "interpolation": "bicubic", "crop_mode": "center", "input_size": [3, 224, 224]}}));
        assert_eq!((&timm["backbone.image.use"], &timm["backbone.image.image_size"]), (&json!("vit_base_patch16_224"), &json!(224)));
    }

    #[test]
    fn openais_archives_tell_heads_by_their_widths() {
        let ones = |shape: &[i64]| Tensor::ones(shape, (tch::Kind::Float, tch::Device::Cpu));
        let file = vec![("visual.class_embedding".to_owned(), ones(&[768])), ("ln_final.weight".to_owned(), ones(&[512]))];
        let said = of_openai(&file);
        assert_eq!((&said["backbone.image.heads"], &said["backbone.text.heads"]), (&json!(12), &json!(8)));
        assert_eq!(said["backbone.text.quick_gelu"], true);
        assert!(of_openai(&file[..1]).is_empty());
    }
}
