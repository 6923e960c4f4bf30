//! `vlhub models`.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::{fits, print_json};
use crate::catalog::natural;
use crate::cli::ModelsCommand;
use crate::config::document::{Document, to_toml};
use crate::config::{RunConfig, models};
use crate::failure::{Failure, Outcome};

/// Lists or shows named models.
pub fn models(libraries: &[PathBuf], command: ModelsCommand) -> Outcome {
    match command {
        ModelsCommand::List { pattern, json } => {
            let mut names = models::names();
            names.retain(|name| pattern.as_deref().is_none_or(|pattern| fits(pattern, name)));
            names.sort_by_key(|name| natural(name));
            if names.is_empty() {
                return Err(Failure::usage(format!(
                    "no model fits `{}`; known: {}",
                    pattern.unwrap_or_default(),
                    models::names().join(" ")
                )));
            }
            if json {
                return print_json(&names);
            }
            for name in names {
                say!("{name}");
            }
            Ok(())
        }
        ModelsCommand::Show { name, json } => show(libraries, &name, json),
    }
}

fn show(libraries: &[PathBuf], name: &str, json: bool) -> Outcome {
    let tables = models::expand(name).map_err(Failure::usage)?;
    let document = Document::of_model(name);
    let config = RunConfig::of(&document, &crate::registry(libraries)?)?;
    // Building the towers counts their parameters for certain, whatever the plugin.
    let towers = crate::session::build(&config, tch::Device::Cpu)?.towers;
    let table = crate::session::parameter_table(&towers);
    let total: i64 = table.iter().map(|(_, count, _)| count).sum();
    if json {
        let groups: serde_json::Map<String, Value> = table.iter().map(|(group, count, _)| (group.clone(), json!(count))).collect();
        return print_json(&json!({"name": name, "parameters": total, "groups": groups, "tables": tables}));
    }
    say!("# {name}: {:.1} M parameters", total as f64 / 1e6);
    for (group, count, _) in table {
        say!("#   {group}: {:.1} M", count as f64 / 1e6);
    }
    super::say_text(&to_toml(&tables));
    Ok(())
}
