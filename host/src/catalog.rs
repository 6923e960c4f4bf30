//! What a build has, as data and as the page `plugins/CATALOG.md`.

use serde::Serialize;
use serde_json::Value;
use vlhub_core::{Registry, registry::About};

use crate::data::natural::natural;

/// One option of a plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Field {
    /// Its name.
    pub name: String,
    /// Its type, in a few words.
    pub kind: String,
    /// Its default, as JSON.
    pub default: Value,
    /// What it does.
    pub description: String,
}

/// One plugin.
#[derive(Clone, Debug, Serialize)]
pub struct Plugin {
    /// `backbone`, `objective`, `augmentation`, `caption`, `eval`, `source` or `store`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// One line.
    pub summary: String,
    /// Crate and version.
    pub package: String,
    /// Where it is registered.
    pub origin: String,
    /// `built in`, or its library.
    pub source: String,
    /// Its options.
    pub options: Vec<Field>,
}

/// Every plugin, by kind, names in natural order.
pub fn plugins(registry: &Registry) -> Vec<Plugin> {
    let mut all = Vec::new();
    registry.for_each(|about| all.push(plugin(&about)));
    let kind = |name: &str| Registry::KINDS.iter().position(|kind| *kind == name);
    all.sort_by(|a: &Plugin, b: &Plugin| kind(&a.kind).cmp(&kind(&b.kind)).then_with(|| natural(&a.name).cmp(&natural(&b.name))));
    all
}

fn plugin(about: &About<'_>) -> Plugin {
    let empty = serde_json::Map::new();
    let properties = about.schema.get("properties").and_then(Value::as_object).unwrap_or(&empty);
    let field = |(name, default): (&String, &Value)| {
        let schema = properties.get(name).cloned().unwrap_or_default();
        let description = schema.get("description").and_then(Value::as_str).unwrap_or_default().replace('\n', " ");
        Field { name: name.clone(), kind: type_of(&schema, &about.schema), default: default.clone(), description }
    };
    Plugin {
        kind: about.kind.into(),
        name: about.name.into(),
        summary: about.summary(),
        package: format!("{} {}", about.origin.package, about.origin.version),
        origin: format!("{}:{}", about.origin.file, about.origin.line),
        source: about.provenance.to_string(),
        options: about.defaults.as_object().unwrap_or(&empty).iter().map(field).collect(),
    }
}

/// The type that a JSON schema describes, in a few words.
fn type_of(schema: &Value, root: &Value) -> String {
    if let Some(name) = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next()) {
        return root.get("$defs").and_then(|defs| defs.get(name)).map_or_else(|| name.into(), |inner| type_of(inner, root));
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" | ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(choices) = schema.get(key).and_then(Value::as_array) {
            return choices.iter().map(|choice| type_of(choice, root)).collect::<Vec<_>>().join(" | ");
        }
    }
    if let Some(value) = schema.get("const") {
        return value.to_string();
    }
    let one = |kind: &str| match kind {
        "array" => match (schema.get("prefixItems").and_then(Value::as_array), schema.get("items")) {
            (Some(items), _) => format!("[{}]", items.iter().map(|item| type_of(item, root)).collect::<Vec<_>>().join(", ")),
            (None, Some(items)) if items.is_object() => {
                let inner = type_of(items, root);
                match schema.get("maxItems").and_then(Value::as_u64) {
                    Some(count) if schema.get("minItems").and_then(Value::as_u64) == Some(count) => format!("[{inner}; {count}]"),
                    _ => format!("list of {inner}"),
                }
            }
            _ => "list".into(),
        },
        other => other.to_owned(),
    };
    match schema.get("type") {
        Some(Value::String(kind)) => one(kind),
        Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).map(one).collect::<Vec<_>>().join(" | "),
        _ => "any".into(),
    }
}

/// Plugins that differ in their defaults alone.
#[derive(Debug)]
pub struct Family<'a> {
    /// The one that its file registers first.
    pub general: &'a Plugin,
    /// The others, in the order in which they were given.
    pub presets: Vec<&'a Plugin>,
}

/// Folds presets under the plugin whose options they share. Families come in the order of their first members.
pub fn fold(mut plugins: Vec<&Plugin>) -> Vec<Family<'_>> {
    let mut families = Vec::new();
    while let Some(first) = plugins.first().copied() {
        let (mut alike, others): (Vec<&Plugin>, Vec<&Plugin>) = plugins.into_iter().partition(|other| first.has_options_of(other));
        let at = alike.iter().enumerate().min_by_key(|(_, plugin)| plugin.line()).map_or(0, |(at, _)| at);
        families.push(Family { general: alike.remove(at), presets: alike });
        plugins = others;
    }
    families
}

/// The catalogue as Markdown. Plugins of one file with the same options share a table: the first has every option, the others, its presets,
/// are told by the defaults in which they differ.
pub fn markdown(plugins: &[Plugin]) -> String {
    let mut page = String::from(
        "# Plugins\n\nEvery plugin of the full build, by kind. This page is written by a test from the plugins themselves; \
         `vlhub plugins show NAME` prints the same for your build, and `vlhub models list` the models that are made of them.\n",
    );
    page += &families(plugins);
    for kind in Registry::KINDS {
        let families = fold(plugins.iter().filter(|plugin| plugin.kind == *kind).collect());
        if !families.is_empty() {
            page += &format!("\n## {kind}\n");
        }
        for family in families {
            page += &section(family.general, &family.presets);
        }
    }
    page += &left_out(plugins);
    page
}

/// First-party plugins that the full build leaves out.
fn left_out(plugins: &[Plugin]) -> String {
    let absent = crate::linked::absent(|kind, name| plugins.iter().any(|plugin| plugin.kind == kind && plugin.name == name));
    let lines: String =
        absent.iter().map(|plugins| format!("| `{}` | {} | `{}` |\n", plugins.feature, plugins.kind, plugins.names.join("` `"))).collect();
    if lines.is_empty() {
        return lines;
    }
    format!(
        "\n## Left out\n\nA build with the feature has them, and `vlhub plugins show` tells of their options.\n\n| feature | kind | names |\n|---|---|---|\n{lines}"
    )
}

/// One plugin with its options, and its presets.
fn section(plugin: &Plugin, presets: &[&Plugin]) -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    let mut page = format!("\n### `{}`\n\n{}\n\n*{}*\n", plugin.name, plugin.summary, plugin.file());
    if !plugin.options.is_empty() {
        page += "\n| option | type | default | |\n|---|---|---|---|\n";
    }
    for field in &plugin.options {
        let (kind, default, text) = (cell(&field.kind), cell(&short(&field.default)), cell(&field.description));
        page += &format!("| `{}` | {kind} | `{default}` | {text} |\n", field.name);
    }
    if !presets.is_empty() {
        page += &format!("\n| preset of `{}` | other defaults |\n|---|---|\n", plugin.name);
    }
    for preset in presets {
        let differs = plugin.options.iter().zip(&preset.options).filter(|(a, b)| a.default != b.default);
        let differs: Vec<String> = differs.map(|(_, field)| format!("`{} = {}`", field.name, cell(&short(&field.default)))).collect();
        page += &format!("| `{}` | {} |\n", preset.name, differs.join(", "));
    }
    page
}

impl Plugin {
    /// Where it is registered, without the line, which moves with every change above it.
    fn file(&self) -> &str {
        self.origin.split(':').next().unwrap_or_default()
    }

    fn line(&self) -> u64 {
        self.origin.rsplit(':').next().and_then(|line| line.parse().ok()).unwrap_or(u64::MAX)
    }

    /// Whether only defaults tell it from `other`.
    fn has_options_of(&self, other: &Self) -> bool {
        let same = |(a, b): (&Field, &Field)| a.name == b.name && a.kind == b.kind && a.description == b.description;
        let alike = self.kind == other.kind
            && self.summary == other.summary
            && self.file() == other.file()
            && self.options.len() == other.options.len();
        alike && self.options.iter().zip(&other.options).all(same)
    }
}

/// The families of towers that open_clip's and VL Hub's configs are made of: what each is called here.
const FAMILIES: &[(&str, &[&str])] = &[
    ("ViT of open_clip: patch dropout, attentional pooling, layer scale, sin-cos positions, …", &["vit"]),
    ("ModifiedResNet of OpenAI (RN50 to RN50x64)", &["modified_resnet"]),
    ("timm vit_* (all but vit_relpos below), SigLIP's and the GAP ones too", &["timm_vit", "vit_*patch*"]),
    ("timm vit_relpos_*", &["timm_vit_relpos", "vit_relpos_*", "vit_srelpos_*"]),
    ("timm deit, deit3", &["deit_*", "deit3_*"]),
    ("timm beit, beitv2", &["timm_beit", "beit_*", "beitv2_*"]),
    ("timm eva, eva02; PE (perception encoder)", &["eva*", "vit_pe_*"]),
    ("timm resnet, resnetd, resnetaa, resnetblur, resnext", &["resnet", "resnet[0-9]*", "resnetaa*", "resnetblur*", "*resnext*"]),
    ("timm resnetv2 (BiT)", &["resnetv2*"]),
    ("timm regnet", &["regnet*"]),
    ("timm nf_regnet", &["nf_regnet*"]),
    ("timm convnext, convnextv2", &["convnext*"]),
    ("timm efficientnet, efficientnetv2", &["*efficientnet*"]),
    ("timm swin", &["swin", "swin_*"]),
    ("timm swinv2", &["swinv2", "swinv2_*"]),
    ("timm maxvit", &["maxvit*"]),
    ("timm gcvit", &["gcvit*"]),
    ("timm coat", &["coat*"]),
    ("timm resmlp", &["resmlp*"]),
    ("timm vitamin", &["vitamin*"]),
    ("timm fastvit (MobileCLIP)", &["fastvit*"]),
    ("CLIP's text transformer; CoCa's with its class token", &["text_*"]),
    ("Hugging Face BERT, MiniLM", &["bert*", "minilm*"]),
    ("Hugging Face RoBERTa, XLM-R", &["roberta*", "xlm_roberta*"]),
    ("Hugging Face mT5 (encoder)", &["t5_encoder", "mt5*"]),
    ("Hugging Face NLLB (M2M-100's encoder)", &["nllb*", "m2m100*"]),
];

/// Parts of towers that are refused by name, and why.
const REFUSED: &[(&str, &str)] = &[
    ("`timm_pool = \"rot_attn\"`", "no config of open_clip or VL Hub asks for it, so there is nothing to hold it against"),
    (
        "`timm_pool = \"abs_attn\"` over transformers, MLPs and ConvNeXt",
        "open_clip refuses it too: the pool reads a map, and these have none",
    ),
    ("`text_cfg.ls_init_value`", "no config asks for it"),
];

fn families(plugins: &[Plugin]) -> String {
    let mut page = String::from("\n## Families of towers\n\n| family | status | plugins |\n|---|---|---|\n");
    for (family, patterns) in FAMILIES {
        let patterns: Vec<glob::Pattern> = patterns.iter().filter_map(|pattern| glob::Pattern::new(pattern).ok()).collect();
        let fits = |plugin: &&Plugin| plugin.kind == "backbone" && patterns.iter().any(|pattern| pattern.matches(&plugin.name));
        let names: Vec<String> = plugins.iter().filter(fits).map(|plugin| format!("`{}`", plugin.name)).collect();
        let status = if names.is_empty() { "not in this build" } else { "done" };
        page += &format!("| {family} | {status} | {} |\n", names.join(" "));
    }
    for (part, why) in REFUSED {
        page += &format!("| {part} | refused: {why} | |\n");
    }
    page + "\n`tests/peers/models.md` has every config of open_clip and VL Hub with its error against the reference.\n"
}

/// A default as one short text.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(59).collect::<String>()) }
}
