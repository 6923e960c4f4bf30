//! What a build has, as data and as the page `plugins/CATALOG.md`.

use serde::Serialize;
use serde_json::Value;
use vlhub_core::{Registry, registry::About};

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
    /// `backbone`, `objective`, `augmentation`, `caption` or `eval`.
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
        source: about.source.to_string(),
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

/// Key of natural order: `vit_2` before `vit_10`.
pub fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let text_end = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(text_end);
        let digits_end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
        let (digits, after) = after.split_at(digits_end);
        parts.push((text.to_owned(), digits.parse().unwrap_or(0)));
        rest = after;
    }
    parts
}

/// The catalogue as Markdown.
pub fn markdown(plugins: &[Plugin]) -> String {
    let mut page = String::from(
        "# Plugins\n\nEvery plugin of the full build, by kind. This page is written by a test from the plugins themselves; \
         `vlhub plugins show NAME` prints the same for your build.\n",
    );
    for kind in Registry::KINDS {
        let of_kind: Vec<&Plugin> = plugins.iter().filter(|plugin| plugin.kind == *kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        page += &format!("\n## {kind}\n");
        for plugin in of_kind {
            // Without the line, which moves with every change above it.
            let file = plugin.origin.split(':').next().unwrap_or_default();
            page += &format!("\n### `{}`\n\n{}\n\n*{file}*\n", plugin.name, plugin.summary);
            if plugin.options.is_empty() {
                continue;
            }
            page += "\n| option | type | default | |\n|---|---|---|---|\n";
            for field in &plugin.options {
                let cell = |text: &str| text.replace('|', "\\|");
                page += &format!(
                    "| `{}` | {} | `{}` | {} |\n",
                    field.name,
                    cell(&field.kind),
                    cell(&short(&field.default)),
                    cell(&field.description)
                );
            }
        }
    }
    page
}

/// A default as one short text.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(59).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_sort_naturally() {
        let mut names = vec!["vit_b_32", "vit_b_8", "vit", "vit_b_16"];
        names.sort_by_key(|name| natural(name));
        assert_eq!(names, ["vit", "vit_b_8", "vit_b_16", "vit_b_32"]);
    }
}
