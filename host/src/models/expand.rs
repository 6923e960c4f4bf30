//! An open_clip model config, field by field, and the tables of a run file that it stands for.

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A config whose every field is understood.
#[derive(Debug)]
pub struct Expansion {
    config: OpenClipConfig,
    vision: Vision,
    text: Option<Text>,
}

/// The top of a config. What is not listed in these structs is a part that this program lacks.
#[derive(Debug, Deserialize)]
struct OpenClipConfig {
    embed_dim: i64,
    #[serde(default)]
    quick_gelu: bool,
    #[serde(default)]
    custom_text: bool,
    init_logit_bias: Option<f64>,
    init_logit_scale: Option<f64>,
    vision_cfg: Map<String, Value>,
    text_cfg: Option<Map<String, Value>>,
    multimodal_cfg: Option<Map<String, Value>>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Vision {
    layers: Value,
    width: i64,
    head_width: i64,
    mlp_ratio: f64,
    patch_size: Option<i64>,
    image_size: Value,
    ls_init_value: Option<f64>,
    patch_dropout: f64,
    attentional_pool: Value,
    attn_pooler_queries: i64,
    attn_pooler_heads: i64,
    no_ln_pre: bool,
    pos_embed_type: String,
    final_ln_after_pool: bool,
    pool_type: String,
    /// Says what the reference's forward returns; here tokens come when an objective asks for them.
    output_tokens: bool,
    act_kwargs: Map<String, Value>,
    norm_kwargs: Map<String, Value>,
    timm_model_name: Option<String>,
    /// Whether Python fetches the network's own weights; here weights are named in the run file.
    timm_model_pretrained: bool,
    timm_pool: String,
    timm_proj: Option<String>,
    timm_proj_bias: bool,
    /// penfever/vlhub's word is `drop_rate`.
    #[serde(alias = "drop_rate")]
    timm_drop: f64,
    timm_drop_path: Option<f64>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Default for Vision {
    fn default() -> Self {
        Self {
            layers: json!(12),
            width: 768,
            head_width: 64,
            mlp_ratio: 4.0,
            patch_size: Some(16),
            image_size: json!(224),
            ls_init_value: None,
            patch_dropout: 0.0,
            attentional_pool: json!(false),
            attn_pooler_queries: 256,
            attn_pooler_heads: 8,
            no_ln_pre: false,
            pos_embed_type: "learnable".into(),
            final_ln_after_pool: false,
            pool_type: "tok".into(),
            output_tokens: false,
            act_kwargs: Map::new(),
            norm_kwargs: Map::new(),
            timm_model_name: None,
            timm_model_pretrained: false,
            timm_pool: "avg".into(),
            timm_proj: Some("linear".into()),
            timm_proj_bias: false,
            timm_drop: 0.0,
            timm_drop_path: None,
            other: Map::new(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default)]
struct Text {
    context_length: i64,
    vocab_size: i64,
    width: i64,
    heads: i64,
    layers: i64,
    mlp_ratio: f64,
    ls_init_value: Option<f64>,
    embed_cls: bool,
    pad_id: i64,
    eos_id: i64,
    no_causal_mask: bool,
    pool_type: String,
    proj_bias: bool,
    proj_type: String,
    output_tokens: bool,
    act_kwargs: Map<String, Value>,
    norm_kwargs: Map<String, Value>,
    hf_model_name: Option<String>,
    hf_model_pretrained: bool,
    hf_tokenizer_name: Option<String>,
    tokenizer_kwargs: Map<String, Value>,
    /// Older configs say `proj` and `pooler_type`.
    #[serde(alias = "proj")]
    hf_proj_type: Option<String>,
    #[serde(alias = "pooler_type")]
    hf_pooler_type: String,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl Default for Text {
    fn default() -> Self {
        Self {
            context_length: 77,
            vocab_size: 49408,
            width: 512,
            heads: 8,
            layers: 12,
            mlp_ratio: 4.0,
            ls_init_value: None,
            embed_cls: false,
            pad_id: 0,
            eos_id: 2,
            no_causal_mask: false,
            pool_type: "argmax".into(),
            proj_bias: false,
            proj_type: "linear".into(),
            output_tokens: false,
            act_kwargs: Map::new(),
            norm_kwargs: Map::new(),
            hf_model_name: None,
            hf_model_pretrained: true,
            hf_tokenizer_name: None,
            tokenizer_kwargs: Map::new(),
            hf_proj_type: Some("mlp".into()),
            hf_pooler_type: "mean_pooler".into(),
            other: Map::new(),
        }
    }
}

impl Expansion {
    /// Reads a config.
    ///
    /// # Errors
    /// What is missing or of a wrong type, and every part that this program lacks.
    pub fn of(name: &str, config: &Value) -> Result<Self, String> {
        let broken = |place: &str, error: serde_json::Error| format!("the model config of `{name}`{place}: {error}");
        let config = OpenClipConfig::deserialize(config).map_err(|error| broken("", error))?;
        let vision = Vision::deserialize(&config.vision_cfg).map_err(|error| broken(", `vision_cfg`", error))?;
        let text =
            config.text_cfg.as_ref().map(|text| Text::deserialize(text).map_err(|error| broken(", `text_cfg`", error))).transpose()?;
        let mut lacking: Vec<String> = config.other.keys().cloned().collect();
        lacking.extend(vision.other.keys().map(|key| format!("vision_cfg.{key}")));
        if let Some(text) = &text {
            lacking.extend(text.other.keys().map(|key| format!("text_cfg.{key}")));
            if text.ls_init_value.is_some() {
                lacking.push("text_cfg.ls_init_value".into());
            }
        }
        for (place, options) in
            [("vision_cfg", &vision.act_kwargs), ("text_cfg", text.as_ref().map_or(&config.other, |text| &text.act_kwargs))]
        {
            lacking.extend(
                options
                    .iter()
                    .filter(|(key, value)| !(*key == "approximate" && *value == "tanh"))
                    .map(|(key, _)| format!("{place}.act_kwargs.{key}")),
            );
        }
        for (place, options) in
            [("vision_cfg", &vision.norm_kwargs), ("text_cfg", text.as_ref().map_or(&config.other, |text| &text.norm_kwargs))]
        {
            lacking.extend(options.keys().filter(|key| *key != "eps").map(|key| format!("{place}.norm_kwargs.{key}")));
        }
        if lacking.is_empty() {
            Ok(Self { config, vision, text })
        } else {
            Err(format!("the model `{name}` needs parts that VL Hub lacks: {}", lacking.join(", ")))
        }
    }

    /// The tables of a run file; `preprocess` is a published model's `preprocess_cfg`.
    pub fn tables(&self, preprocess: Option<&Value>) -> Map<String, Value> {
        let mut backbone = Map::from_iter([("image".to_owned(), self.image())]);
        let mut tables = json!({"embed": self.config.embed_dim});
        if let Some(text) = &self.text {
            backbone.insert("text".into(), self.text(text));
            let multimodal = self.config.multimodal_cfg.is_some();
            tables["custom_text"] = json!(self.config.custom_text || multimodal || text.hf_model_name.is_some());
            if let Some(tokenizer) = &text.hf_tokenizer_name {
                let mut table = json!({"use": format!("hf-hub:{tokenizer}")});
                for (key, value) in &text.tokenizer_kwargs {
                    table[if key == "strip_sep_token" { "strip_sep" } else { key }] = value.clone();
                }
                tables["tokenizer"] = table;
            }
        }
        tables["backbone"] = Value::Object(backbone);
        if let (Some(multimodal), Some(text)) = (&self.config.multimodal_cfg, &self.text) {
            tables["objective"] = json!({"caption": self.caption(multimodal, text)});
        }
        if let Some(preprocess) = preprocess.and_then(Value::as_object) {
            let known = ["mean", "std", "interpolation", "resize_mode", "fill_color"];
            let kept = preprocess.iter().filter(|(key, value)| known.contains(&key.as_str()) && !value.is_null());
            tables["preprocess"] = kept.map(|(key, value)| (key.clone(), value.clone())).collect::<Map<_, _>>().into();
        }
        tables.as_object().cloned().unwrap_or_default()
    }

    /// What training starts the logit scale and bias from, where the config says so: `(init_logit_scale, init_logit_bias)`.
    pub fn logits(&self) -> (Option<f64>, Option<f64>) {
        (self.config.init_logit_scale, self.config.init_logit_bias)
    }

    fn image(&self) -> Value {
        let vision = &self.vision;
        if let Some(name) = &vision.timm_model_name {
            // `resnetv2_50x1_bit.goog_in21k` names weights after the dot.
            let name = name.split('.').next().unwrap_or(name);
            let pooled = matches!(vision.timm_pool.as_str(), "abs_attn" | "rot_attn");
            let proj = match vision.timm_proj.as_deref() {
                Some("") | None if pooled => "none",
                Some("") | None => "classifier",
                Some(proj) => proj,
            };
            let mut table = json!({"use": name, "image_size": vision.image_size, "proj": proj, "proj_bias": vision.timm_proj_bias});
            for (key, given, value) in [
                ("pool", !vision.timm_pool.is_empty(), json!(vision.timm_pool)),
                ("drop_path", vision.timm_drop_path.is_some_and(|rate| rate > 0.0), json!(vision.timm_drop_path)),
                ("patch_drop", vision.patch_dropout > 0.0, json!(vision.patch_dropout)),
                ("drop", vision.timm_drop > 0.0, json!(vision.timm_drop)),
            ] {
                if given {
                    table[key] = value;
                }
            }
            return table;
        }
        if vision.layers.is_array() {
            let heads = vision.width * 32 / vision.head_width;
            let (layers, width) = (&vision.layers, vision.width);
            return json!({"use": "modified_resnet", "image_size": vision.image_size, "layers": layers, "width": width, "heads": heads});
        }
        let mut table = json!({
            "use": "vit", "image_size": vision.image_size, "patch_size": vision.patch_size.unwrap_or(16), "width": vision.width,
            "layers": vision.layers, "heads": vision.width / vision.head_width, "mlp_ratio": vision.mlp_ratio,
            "quick_gelu": self.config.quick_gelu,
        });
        let pooler = vision.attentional_pool != json!(false) && !vision.attentional_pool.is_null();
        for (key, given, value) in [
            ("layer_scale", vision.ls_init_value.is_some(), json!(vision.ls_init_value)),
            ("patch_dropout", vision.patch_dropout > 0.0, json!(vision.patch_dropout)),
            ("no_ln_pre", vision.no_ln_pre, json!(true)),
            ("final_ln_after_pool", vision.final_ln_after_pool, json!(true)),
            ("position", vision.pos_embed_type != "learnable", json!(vision.pos_embed_type)),
            ("pool", vision.pool_type != "tok", json!(vision.pool_type)),
            ("attentional_pool", pooler, vision.attentional_pool.clone()),
            ("attn_pooler_queries", pooler, json!(vision.attn_pooler_queries)),
            ("attn_pooler_heads", pooler, json!(vision.attn_pooler_heads)),
            ("gelu_tanh", !vision.act_kwargs.is_empty(), json!(true)),
            ("norm_eps", !vision.norm_kwargs.is_empty(), json!(vision.norm_kwargs.get("eps"))),
        ] {
            if given {
                table[key] = value;
            }
        }
        table
    }

    /// The id that fills up short texts. open_clip's towers of SigLIP do not look at it, and its tokenizers fill up with 1.
    fn pad(text: &Text) -> i64 {
        let siglip = text.tokenizer_kwargs.get("clean").is_some_and(|clean| clean == "canonicalize");
        if text.pad_id == 0 && siglip { 1 } else { text.pad_id }
    }

    fn text(&self, text: &Text) -> Value {
        if let Some(name) = &text.hf_model_name {
            let pooling = text.hf_pooler_type.replace("_last_hidden_state_pooler", "_last").replace("_pooler", "");
            let proj = text.hf_proj_type.as_deref().unwrap_or("none");
            return json!({"use": plugin_of(name), "context": text.context_length, "pooling": pooling, "proj": proj});
        }
        let mut table = json!({
            "use": "text_transformer", "context": text.context_length, "vocab": text.vocab_size, "width": text.width,
            "heads": text.heads, "layers": text.layers, "quick_gelu": self.config.quick_gelu,
        });
        for (key, given, value) in [
            ("mlp_ratio", text.mlp_ratio != 4.0, json!(text.mlp_ratio)),
            ("embed_cls", text.embed_cls, json!(true)),
            ("pad", Self::pad(text) != 0, json!(Self::pad(text))),
            ("eos_id", text.pool_type == "eos", json!(text.eos_id)),
            ("no_causal_mask", text.no_causal_mask, json!(true)),
            ("pool", text.pool_type != "argmax", json!(text.pool_type)),
            ("projection", text.proj_bias || text.proj_type == "none", json!(if text.proj_bias { "linear" } else { "none" })),
            ("gelu_tanh", !text.act_kwargs.is_empty(), json!(true)),
            ("norm_eps", !text.norm_kwargs.is_empty(), json!(text.norm_kwargs.get("eps"))),
        ] {
            if given {
                table[key] = value;
            }
        }
        table
    }

    /// The decoder of CoCa belongs to the `caption` objective.
    fn caption(&self, multimodal: &Map<String, Value>, text: &Text) -> Value {
        let number = |key: &str, default: f64| multimodal.get(key).and_then(Value::as_f64).unwrap_or(default);
        json!({
            "context": number("context_length", 77.0) as i64, "vocab": text.vocab_size, "width": number("width", 512.0) as i64,
            "layers": number("layers", 12.0) as i64, "heads": number("heads", 8.0) as i64, "mlp_ratio": number("mlp_ratio", 4.0),
            "quick_gelu": self.config.quick_gelu, "pad": text.pad_id,
        })
    }
}

/// The text tower of a Hugging Face model: the last part of its name in this program's spelling.
fn plugin_of(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_lowercase().replace(['-', '.'], "_")
}

/// The published name of a text tower of this program: the inverse of [`plugin_of`] for those that open_clip's configs name.
pub(crate) fn published(plugin: &str) -> String {
    const NAMES: &[&str] = &[
        "bert-base-uncased",
        "roberta-base",
        "roberta-large",
        "xlm-roberta-base",
        "xlm-roberta-large",
        "google/mt5-small",
        "google/mt5-base",
        "google/mt5-large",
        "google/mt5-xl",
        "facebook/nllb-200-distilled-600M",
        "facebook/nllb-200-distilled-1.3B",
    ];
    NAMES.iter().find(|name| plugin_of(name) == plugin).map_or_else(|| plugin.to_owned(), |name| (*name).to_owned())
}
