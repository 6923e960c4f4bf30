//! open_clip's model configs, read as they are, by name.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The configs that this build knows, as open_clip 3.3.0 ships them.
const CONFIGS: &[(&str, &str)] = &[
    ("ViT-B-16", include_str!("models/ViT-B-16.json")),
    ("ViT-B-16-quickgelu", include_str!("models/ViT-B-16-quickgelu.json")),
    ("ViT-B-32", include_str!("models/ViT-B-32.json")),
    ("ViT-B-32-quickgelu", include_str!("models/ViT-B-32-quickgelu.json")),
    ("ViT-L-14", include_str!("models/ViT-L-14.json")),
    ("ViT-L-14-quickgelu", include_str!("models/ViT-L-14-quickgelu.json")),
    ("ViT-S-16", include_str!("models/ViT-S-16.json")),
    ("ViT-S-32", include_str!("models/ViT-S-32.json")),
];

/// An open_clip model config. Fields that name parts we lack are kept, so that they can be named in an error.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ModelConfig {
    /// Width of the joint space.
    pub embed_dim: i64,
    /// QuickGELU instead of GELU, in both towers.
    #[serde(default)]
    pub quick_gelu: bool,
    /// The image tower.
    pub vision_cfg: VisionConfig,
    /// The text tower.
    pub text_cfg: TextConfig,
    /// Anything else.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

/// The image tower of a config.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct VisionConfig {
    image_size: i64,
    layers: i64,
    width: i64,
    patch_size: i64,
    #[serde(default = "head_width")]
    head_width: i64,
    #[serde(default = "mlp_ratio")]
    mlp_ratio: f64,
    #[serde(flatten)]
    other: Map<String, Value>,
}

/// The text tower of a config.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct TextConfig {
    context_length: i64,
    vocab_size: i64,
    width: i64,
    heads: i64,
    layers: i64,
    #[serde(flatten)]
    other: Map<String, Value>,
}

fn head_width() -> i64 {
    64
}

fn mlp_ratio() -> f64 {
    4.0
}

/// Names of the configs that this build knows.
pub fn names() -> Vec<&'static str> {
    CONFIGS.iter().map(|(name, _)| *name).collect()
}

/// The config of a name.
///
/// # Errors
/// The nearest name and the known ones; or the part of the config that this build lacks.
pub fn config(name: &str) -> Result<ModelConfig, String> {
    // open_clip accepts `ViT-B/32` for `ViT-B-32`.
    let wanted = name.replace('/', "-");
    let Some((_, text)) = CONFIGS.iter().find(|(known, _)| *known == wanted) else {
        return Err(format!("no model is called `{name}`{}", super::problems::hint(name, &names())));
    };
    let config: ModelConfig = serde_json::from_str(text).map_err(|error| format!("the config of `{name}` cannot be read: {error}"))?;
    let parts = [("", &config.other), ("vision_cfg.", &config.vision_cfg.other), ("text_cfg.", &config.text_cfg.other)];
    let lacking: Vec<String> = parts.iter().flat_map(|(place, map)| map.keys().map(move |key| format!("{place}{key}"))).collect();
    if lacking.is_empty() {
        Ok(config)
    } else {
        Err(format!("the model `{name}` needs parts that this build lacks: {}", lacking.join(", ")))
    }
}

/// The tables that `model = "NAME"` stands for.
///
/// # Errors
/// As [`config`].
pub fn expand(name: &str) -> Result<Map<String, Value>, String> {
    let config = config(name)?;
    let (vision, text) = (&config.vision_cfg, &config.text_cfg);
    let tables = json!({
        "embed": config.embed_dim,
        "backbone": {
            "image": {
                "use": "vit", "image_size": vision.image_size, "patch_size": vision.patch_size, "width": vision.width,
                "layers": vision.layers, "heads": vision.width / vision.head_width, "mlp_ratio": vision.mlp_ratio,
                "quick_gelu": config.quick_gelu,
            },
            "text": {
                "use": "text_transformer", "context": text.context_length, "vocab": text.vocab_size, "width": text.width,
                "heads": text.heads, "layers": text.layers, "quick_gelu": config.quick_gelu,
            },
        },
    });
    Ok(tables.as_object().cloned().unwrap_or_default())
}
