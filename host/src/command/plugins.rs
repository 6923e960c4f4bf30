//! `vlhub plugins`.

use comfy_table::{ContentArrangement, Table, presets};
use vlhub_core::Registry;

use super::{fits, print_json};
use crate::catalog::{self, Plugin};
use crate::cli::{PluginsCommand, Shared};
use crate::failure::{Failure, Outcome, hint};

/// Lists, shows, describes or tries plugins.
pub fn plugins(shared: &Shared, command: PluginsCommand) -> Outcome {
    let registry = crate::libraries::registry(&shared.libraries)?;
    match command {
        PluginsCommand::List { filter, json, markdown } => list(&catalog::plugins(&registry), &filter, json, markdown),
        PluginsCommand::Show { name, json } => show(&registry, &name, json),
        PluginsCommand::Schema { json: _ } => schema(&registry),
        PluginsCommand::Try { plugin, overrides, input, out, seed, json } => {
            super::try_plugin::try_plugin(&registry, &super::try_plugin::Trial { plugin, overrides, input, out, seed, json })
        }
    }
}

fn list(all: &[Plugin], filter: &[String], json: bool, markdown: bool) -> Outcome {
    let is_kind = |word: &String| Registry::KINDS.contains(&word.as_str());
    let (kinds, patterns): (Vec<&String>, Vec<&String>) = filter.iter().partition(|word| is_kind(word));
    let chosen: Vec<&Plugin> = all
        .iter()
        .filter(|plugin| kinds.is_empty() || kinds.iter().any(|kind| **kind == plugin.kind))
        .filter(|plugin| patterns.is_empty() || patterns.iter().any(|pattern| fits(pattern, &plugin.name)))
        .collect();
    if markdown {
        super::say_text(&catalog::markdown(all));
        return Ok(());
    }
    if json {
        return print_json(&chosen);
    }
    if chosen.is_empty() {
        let names: Vec<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
        let known = if names.is_empty() {
            "this build has no plugin".to_owned()
        } else {
            format!("known kinds: {}; known names: {}", Registry::KINDS.join(" "), names.join(" "))
        };
        return Err(Failure::usage(format!("no plugin fits `{}`; {known}", filter.join(" "))));
    }
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(["kind", "name", "package", "summary"]);
    for plugin in chosen {
        table.add_row([&plugin.kind, &plugin.name, &plugin.package, &plugin.summary]);
    }
    say!("{table}");
    Ok(())
}

fn show(registry: &Registry, name: &str, json: bool) -> Outcome {
    let (kind, wanted) = name.split_once('/').map_or((None, name), |(kind, name)| (Some(kind), name));
    let all = catalog::plugins(registry);
    let found: Vec<&Plugin> = all.iter().filter(|plugin| plugin.name == wanted && kind.is_none_or(|kind| kind == plugin.kind)).collect();
    if found.is_empty() {
        let names: Vec<&str> = all.iter().map(|plugin| plugin.name.as_str()).collect();
        return Err(Failure::usage(format!("no plugin is called `{name}`{}", hint(wanted, &names))));
    }
    if json {
        return print_json(&found);
    }
    for plugin in found {
        say!(
            "{} · {} · {} · {}{}",
            plugin.name,
            plugin.kind,
            plugin.package,
            plugin.origin,
            if plugin.source == "built in" { String::new() } else { format!(" · {}", plugin.source) }
        );
        say!("{}\n", plugin.summary);
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        for field in &plugin.options {
            table.add_row([format!("  {}", field.name), field.kind.clone(), catalog::short(&field.default), field.description.clone()]);
        }
        if !plugin.options.is_empty() {
            say!("{table}");
        }
    }
    Ok(())
}

fn schema(registry: &Registry) -> Outcome {
    let mut kinds = serde_json::Map::new();
    registry.for_each(|about| {
        let kind = kinds.entry(about.kind).or_insert_with(|| serde_json::json!({}));
        if let Some(kind) = kind.as_object_mut() {
            kind.insert(about.name.to_owned(), about.schema.clone());
        }
    });
    print_json(&kinds)
}
