//! `vlhub plugins`.

use vlhub_core::Registry;

use super::plugin_list::PluginFilter;
use super::{print_json, screen};
use crate::catalog::{self, Plugin};
use crate::cli::{PluginsCommand, Shared};
use crate::failure::{Failure, Outcome};

/// Lists, shows, describes or tries plugins.
pub fn plugins(shared: &Shared, command: PluginsCommand) -> Outcome {
    let registry = crate::libraries::registry(&shared.libraries)?;
    match command {
        PluginsCommand::List { filter, all, json, markdown } => {
            super::plugin_list::list(&catalog::plugins(&registry), &PluginFilter { filter, presets: all, json, markdown })
        }
        PluginsCommand::Show { name, json } => show(&registry, &name, json),
        PluginsCommand::Schema { json: _ } => schema(&registry),
        PluginsCommand::Try { plugin, overrides, input, out, seed, repeat, json } => {
            super::try_plugin::try_plugin(&registry, &super::try_plugin::Trial { plugin, overrides, input, out, seed, repeat, json })
        }
    }
}

fn show(registry: &Registry, name: &str, json: bool) -> Outcome {
    let (kind, wanted) = name.split_once('/').map_or((None, name), |(kind, name)| (Some(kind), name));
    let all = catalog::plugins(registry);
    let found: Vec<&Plugin> = all.iter().filter(|plugin| plugin.name == wanted && kind.is_none_or(|kind| kind == plugin.kind)).collect();
    if found.is_empty() {
        let names = all.iter().map(|plugin| plugin.name.as_str());
        let hint = match crate::linked::left_out(kind, wanted) {
            Some(feature) => format!("; this build leaves it out: build it with `--features {feature}`"),
            None => {
                let near = vlhub_core::suggest(wanted, names).map(|near| format!(" did you mean `{near}`?")).unwrap_or_default();
                format!(";{near} `vlhub plugins list` shows what there is")
            }
        };
        return Err(Failure::usage(format!("no plugin is called `{name}`{hint}")));
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
        say!("{}\n", screen::wrapped(&plugin.summary, screen::width(), 0));
        for field in &plugin.options {
            say!("  {} = {}  ({})", field.name, catalog::short(&field.default), field.kind);
            say!("      {}", screen::wrapped(&field.description, screen::width(), 6));
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
