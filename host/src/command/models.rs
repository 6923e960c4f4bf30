//! `vlhub models`.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vlhub_core::Registry;

use super::{fits, print_json};
use crate::cli::{ModelsCommand, Shared};
use crate::config::RunConfig;
use crate::config::document::{Document, to_toml};
use crate::config::problems::Problem;
use crate::data::natural::natural;
use crate::failure::{Failure, Outcome};
use crate::inspect::sizes::{self, Sizes};
use crate::models::{Models, pretrained};

/// Lists, shows or converts models.
pub fn models(shared: &Shared, command: ModelsCommand) -> Outcome {
    match command {
        ModelsCommand::List { pattern, json } => list(shared, pattern.as_deref(), json),
        ModelsCommand::Show { name, json } => show(shared, &name, json),
        ModelsCommand::Convert(args) => super::convert::convert(shared, &args),
    }
}

/// A model that the list shows.
struct ModelRow {
    name: String,
    sizes: Option<Sizes>,
    /// What it lacks, when it cannot be built.
    lacks: Option<String>,
}

fn known(shared: &Shared) -> Models {
    let folders: Vec<PathBuf> = shared.model_configs.clone();
    Models::new(folders, Path::new("."))
}

fn document(shared: &Shared, name: &str) -> Document {
    let mut document = Document::of_model(name);
    document.add_model_configs(&shared.model_configs);
    document
}

fn list(shared: &Shared, pattern: Option<&str>, json: bool) -> Outcome {
    let registry = crate::libraries::registry(&shared.libraries)?;
    let known = known(shared);
    let all = known.all().map_err(Failure::usage)?;
    let mut names: Vec<&String> = all.keys().filter(|name| pattern.is_none_or(|pattern| fits(pattern, name))).collect();
    names.sort_by_key(|name| natural(name));
    if names.is_empty() {
        let near = vlhub_core::suggest(pattern.unwrap_or_default(), all.keys().map(String::as_str));
        let near = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
        return Err(Failure::usage(format!(
            "no model fits `{}`{near}; `vlhub models list` shows all {}",
            pattern.unwrap_or_default(),
            all.len()
        )));
    }
    let rows: Vec<ModelRow> = names.into_iter().map(|name| row(shared, &registry, name)).collect();
    if json {
        return print_json(&rows.iter().map(ModelRow::json).collect::<Vec<_>>());
    }
    let width = rows.iter().map(|row| row.name.len()).max().unwrap_or_default();
    say!("{:width$}  {:>9}  {:>8}  status", "name", "params", "GFLOPs");
    for row in &rows {
        let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.1}"));
        let parameters = row.sizes.as_ref().map(|sizes| sizes.parameters() as f64 / 1e6);
        let status = row.lacks.as_deref().unwrap_or("ready");
        say!("{:width$}  {:>7} M  {:>8}  {status}", row.name, number(parameters), number(row.sizes.as_ref().map(Sizes::gflops)));
    }
    Ok(())
}

fn row(shared: &Shared, registry: &Registry, name: &str) -> ModelRow {
    let config = RunConfig::resolve(&document(shared, name), registry);
    let told = |problems: Vec<Problem>| {
        problems.iter().map(|problem| format!("{}: {}", problem.key, problem.message)).collect::<Vec<_>>().join("; ")
    };
    let measured = config.map_err(told).and_then(|config| sizes::measure(&config).map_err(|failure| failure.message));
    let (sizes, lacks) = match measured {
        Ok(sizes) => (Some(sizes), None),
        Err(why) => (None, Some(why)),
    };
    ModelRow { name: name.to_owned(), sizes, lacks }
}

impl ModelRow {
    fn json(&self) -> Value {
        let sizes = self.sizes.as_ref();
        json!({
            "name": self.name,
            "parameters": sizes.map(Sizes::parameters),
            "gflops": sizes.map(Sizes::gflops),
            "sizes": sizes,
            "ready": self.lacks.is_none(),
            "lacks": self.lacks,
            "pretrained": pretrained::tags(&self.name),
        })
    }
}

fn show(shared: &Shared, name: &str, json: bool) -> Outcome {
    let tables = known(shared).expand(name).map_err(Failure::usage)?;
    let config = RunConfig::of(&document(shared, name), &crate::libraries::registry(&shared.libraries)?)?;
    let sizes = sizes::measure(&config)?;
    let tags = pretrained::tags(name);
    if json {
        return print_json(&json!({
            "name": name, "parameters": sizes.parameters(), "gflops": sizes.gflops(), "sizes": sizes,
            "tokenizer": config.text.as_ref().map(|_| &config.top.tokenizer), "preprocess": config.preprocess, "pretrained": tags, "tables": tables,
        }));
    }
    let million = |count: i64| count as f64 / 1e6;
    say!("# {name}: {:.1} M parameters, {:.1} GFLOPs for a picture and a text", million(sizes.parameters()), sizes.gflops());
    for (what, tower, parameters, gflops) in [
        ("image tower", config.image.is_some(), sizes.image_parameters, sizes.image_gflops),
        ("text tower", config.text.is_some(), sizes.text_parameters, sizes.text_gflops),
        ("objectives", sizes.other_parameters > 0, sizes.other_parameters, 0.0),
    ] {
        if tower {
            let work = if gflops > 0.0 { format!(", {gflops:.2} GFLOPs") } else { String::new() };
            say!("#   {what}: {:.1} M{work}", million(parameters));
        }
    }
    if config.text.is_some() {
        say!("#   tokenizer: {}", config.top.tokenizer.source);
    }
    if !tags.is_empty() {
        say!("#   weights (`pretrained = \"TAG\"`): {}", tags.join(" "));
    }
    super::say_text(&to_toml(&tables));
    Ok(())
}
