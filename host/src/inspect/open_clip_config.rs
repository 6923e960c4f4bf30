//! From the towers of a run back to an open_clip model config: the inverse of [`crate::models::Expansion`], checked by expanding it again.

use serde_json::{Map, Value, json};
use vlhub_core::Registry;

use crate::config::RunConfig;
use crate::config::document::Document;
use crate::models::Expansion;

/// Keys of a tower's table that belong to training, not to the model.
const OF_TRAINING: [&str; 6] = ["use", "freeze", "init", "drop", "mean", "std"];

/// The config that open_clip would build this run's towers from.
///
/// # Errors
/// The options that open_clip's format cannot say.
pub fn open_clip_config(config: &RunConfig, registry: &Registry) -> Result<Value, String> {
    let tower = |which: &str| config.resolved.get("backbone").and_then(|towers| towers.get(which)).and_then(Value::as_object);
    let image = tower("image").ok_or("open_clip has no models without an image tower")?;
    let mut out = json!({"embed_dim": config.top.embed, "vision_cfg": vision(image)});
    if let Some(options) = tower("text") {
        out["text_cfg"] = text(options, config);
        if config.top.custom_text {
            out["custom_text"] = json!(true);
        }
    }
    let quick =
        |tower: Option<&Map<String, Value>>| tower.and_then(|options| options.get("quick_gelu")).and_then(Value::as_bool) == Some(true);
    if quick(tower("image")) || quick(tower("text")) {
        out["quick_gelu"] = json!(true);
    }
    if let Some(caption) = config.resolved.get("objective").and_then(|all| all.get("caption")) {
        let kept = [
            ("context", "context_length"),
            ("vocab", "vocab_size"),
            ("width", "width"),
            ("layers", "layers"),
            ("heads", "heads"),
            ("mlp_ratio", "mlp_ratio"),
        ];
        out["multimodal_cfg"] = kept
            .iter()
            .map(|(ours, theirs)| ((*theirs).to_owned(), caption.get(ours).cloned().unwrap_or_default()))
            .collect::<Map<_, _>>()
            .into();
    }
    if config.objectives.iter().any(|term| term.chosen.plugin == "siglip") {
        out["init_logit_bias"] = json!(-10);
    }
    same_towers(&out, config, registry)?;
    Ok(out)
}

/// Keys with other names there, where the value is not what open_clip takes anyway.
fn moved(options: &Map<String, Value>, table: &mut Map<String, Value>, keys: &[(&str, &str, Value)]) {
    for (ours, theirs, default) in keys {
        match options.get(*ours) {
            Some(value) if value != default && !value.is_null() => table.insert((*theirs).to_owned(), value.clone()),
            _ => None,
        };
    }
}

fn vision(options: &Map<String, Value>) -> Value {
    let get = |key: &str| options.get(key).cloned().unwrap_or_default();
    let number = |key: &str| options.get(key).and_then(Value::as_i64).unwrap_or(1).max(1);
    let mut table = Map::from_iter([("image_size".to_owned(), get("image_size"))]);
    if options.contains_key("proj_bias") {
        let proj = match get("proj").as_str() {
            Some("classifier") => Value::Null,
            _ => get("proj"),
        };
        let pool = options.get("pool").and_then(Value::as_str).unwrap_or_default();
        table.extend([("timm_model_name".to_owned(), get("use")), ("timm_pool".to_owned(), json!(pool)), ("timm_proj".to_owned(), proj)]);
        moved(
            options,
            &mut table,
            &[
                ("proj_bias", "timm_proj_bias", json!(false)),
                ("drop_path", "timm_drop_path", json!(0.0)),
                ("patch_drop", "patch_dropout", json!(0.0)),
                ("drop", "timm_drop", json!(0.0)),
            ],
        );
        return table.into();
    }
    table.extend([("layers".to_owned(), get("layers")), ("width".to_owned(), get("width"))]);
    if get("layers").is_array() {
        table.extend([("head_width".to_owned(), json!(number("width") * 32 / number("heads"))), ("patch_size".to_owned(), Value::Null)]);
        return table.into();
    }
    table.insert("patch_size".into(), get("patch_size"));
    table.insert("head_width".into(), json!(number("width") / number("heads")));
    let pooler = !matches!(get("attentional_pool"), Value::Null | Value::Bool(false));
    moved(
        options,
        &mut table,
        &[
            ("mlp_ratio", "mlp_ratio", json!(4.0)),
            ("layer_scale", "ls_init_value", json!(0.0)),
            ("patch_dropout", "patch_dropout", json!(0.0)),
            ("no_ln_pre", "no_ln_pre", json!(false)),
            ("final_ln_after_pool", "final_ln_after_pool", json!(false)),
            ("pool", "pool_type", json!("tok")),
            ("attentional_pool", "attentional_pool", json!(false)),
        ],
    );
    if get("position").as_str().is_some_and(|position| position != "learnable" && position != "learned") {
        table.insert("pos_embed_type".into(), get("position"));
    }
    if pooler {
        table.extend([
            ("attn_pooler_queries".to_owned(), get("attn_pooler_queries")),
            ("attn_pooler_heads".to_owned(), get("attn_pooler_heads")),
        ]);
    }
    layers_of(options, &mut table);
    table.into()
}

fn text(options: &Map<String, Value>, config: &RunConfig) -> Value {
    let get = |key: &str| options.get(key).cloned().unwrap_or_default();
    let mut table = Map::from_iter([("context_length".to_owned(), get("context"))]);
    if options.contains_key("pooling") {
        let pooling = match get("pooling").as_str() {
            Some("cls_last") => "cls_last_hidden_state_pooler".to_owned(),
            other => format!("{}_pooler", other.unwrap_or("mean")),
        };
        let name = crate::models::published(get("use").as_str().unwrap_or_default());
        table.extend([
            ("hf_model_name".to_owned(), json!(name)),
            ("hf_pooler_type".to_owned(), json!(pooling)),
            ("hf_proj_type".to_owned(), if get("proj") == "none" { Value::Null } else { get("proj") }),
        ]);
    } else {
        table.extend(["width", "heads", "layers"].map(|key| (key.to_owned(), get(key))));
        table.insert("vocab_size".into(), get("vocab"));
        moved(
            options,
            &mut table,
            &[
                ("mlp_ratio", "mlp_ratio", json!(4.0)),
                ("embed_cls", "embed_cls", json!(false)),
                ("pad", "pad_id", json!(0)),
                ("eos_id", "eos_id", json!(2)),
                ("no_causal_mask", "no_causal_mask", json!(false)),
                ("pool", "pool_type", json!("argmax")),
            ],
        );
        match get("projection").as_str() {
            Some("linear") => table.insert("proj_bias".into(), json!(true)),
            Some("none") => table.insert("proj_type".into(), json!("none")),
            _ => None,
        };
        layers_of(options, &mut table);
    }
    let tokenizer = &config.top.tokenizer;
    if tokenizer.source != "clip" {
        table.insert("hf_tokenizer_name".into(), json!(tokenizer.source.strip_prefix("hf-hub:").unwrap_or(&tokenizer.source)));
        let mut options = Map::new();
        if let Some(clean) = tokenizer.clean {
            options.insert("clean".into(), json!(clean));
        }
        if tokenizer.strip_sep {
            options.insert("strip_sep_token".into(), json!(true));
        }
        if !options.is_empty() {
            table.insert("tokenizer_kwargs".into(), options.into());
        }
    }
    table.into()
}

fn layers_of(options: &Map<String, Value>, table: &mut Map<String, Value>) {
    if options.get("gelu_tanh") == Some(&json!(true)) {
        table.insert("act_kwargs".into(), json!({"approximate": "tanh"}));
    }
    if let Some(epsilon) = options.get("norm_eps").filter(|epsilon| epsilon.as_f64().is_some_and(|epsilon| epsilon != 1e-5)) {
        table.insert("norm_kwargs".into(), json!({"eps": epsilon}));
    }
}

/// Expands the config again: every option must come back.
fn same_towers(made: &Value, config: &RunConfig, registry: &Registry) -> Result<(), String> {
    let mut document = Document::of_model("");
    document.tree = Expansion::of("this run", made)?.tables(None);
    let again = RunConfig::resolve(&document, registry).map_err(|list| {
        format!(
            "open_clip's format cannot say this model: {}",
            list.iter().map(|problem| problem.message.as_str()).collect::<Vec<_>>().join("; ")
        )
    })?;
    let mut lost = Vec::new();
    for which in ["image", "text"] {
        let of = |config: &RunConfig| {
            config.resolved.get("backbone").and_then(|towers| towers.get(which)).and_then(Value::as_object).cloned().unwrap_or_default()
        };
        let (ours, theirs) = (of(config), of(&again));
        let differs =
            |key: &String, value: &Value| !OF_TRAINING.contains(&key.as_str()) && !equal(theirs.get(key).unwrap_or(&Value::Null), value);
        lost.extend(ours.iter().filter(|(key, value)| differs(key, value)).map(|(key, value)| format!("backbone.{which}.{key} = {value}")));
    }
    if lost.is_empty() { Ok(()) } else { Err(format!("open_clip's model configs cannot say {}", lost.join(", "))) }
}

/// `4` and `4.0` are one number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => (a - b).abs() <= 1e-9 * a.abs().max(1.0),
        _ => a == b,
    }
}
