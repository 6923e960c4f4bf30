//! `vlhub data`.

use std::path::Path;

use serde_json::{Map, Value};

use super::print_json;
use crate::cli::{DataCommand, PackArgs};
use crate::config::document::Document;
use crate::data;
use crate::failure::{Failure, Outcome};

/// Packs or checks a data set.
pub fn data(command: DataCommand) -> Outcome {
    match command {
        DataCommand::Pack(args) => pack(&args),
        DataCommand::Check { data, overrides, json } => check(&data, &overrides, json),
    }
}

/// The `[data.train]` table of a run file, or the table that stands for a path.
fn options(name: &str, overrides: &[String]) -> Outcome<(Value, std::path::PathBuf)> {
    let path = Path::new(name);
    let (bases, overrides) = crate::config::base::apart(overrides);
    let (mut tree, folder) = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => {
            let document = Document::read(path, &bases)?;
            let table = document.tree.get("data").and_then(|data| data.get("train")).and_then(Value::as_object).cloned();
            let table = table.ok_or_else(|| Failure::usage(format!("{name} has no `[data.train]`")))?;
            (table, document.folder.clone())
        }
        extension => {
            let (source, key) = match extension {
                Some("csv" | "tsv") => ("csv", "path"),
                Some("tar") => ("webdataset", "shards"),
                _ if holds_shards(path) => ("webdataset", "shards"),
                _ if path.is_dir() => ("imagefolder", "path"),
                _ if name == "shapes" => ("shapes", ""),
                _ => {
                    return Err(Failure::usage(format!(
                        "`{name}` is no run file (.toml), folder, CSV (.csv, .tsv), shard (.tar), or `shapes`"
                    )));
                }
            };
            let mut table = Map::from_iter([("use".to_owned(), Value::from(source))]);
            if !key.is_empty() {
                let value = if source == "webdataset" && path.is_dir() { format!("{name}/*.tar") } else { name.to_owned() };
                table.insert(key.to_owned(), Value::from(value));
            }
            (table, std::path::PathBuf::from("."))
        }
    };
    let mut laid = Document::default();
    for argument in &overrides {
        laid.set(argument)?;
    }
    tree.extend(laid.tree);
    Ok((Value::Object(tree), folder))
}

/// Whether a folder is one that `vlhub data pack` wrote, or the like.
fn holds_shards(path: &Path) -> bool {
    let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    path.is_dir() && names.filter_map(|path| path.extension().map(ToOwned::to_owned)).any(|extension| extension == "tar")
}

fn check(name: &str, overrides: &[String], json: bool) -> Outcome {
    let (options, folder) = options(name, overrides)?;
    let source = data::open(&options, &folder).map_err(|error| Failure::usage(error.to_string()))?;
    let summary = data::check::check(source.as_ref());
    if json {
        print_json(&summary)?;
    } else {
        say!("{}", summary.to_text());
    }
    match summary.bad() {
        0 => Ok(()),
        bad => Err(Failure::new(Failure::DATA, format!("{bad} of {} samples cannot be used", summary.samples))),
    }
}

fn pack(args: &PackArgs) -> Outcome {
    let mut table = Map::new();
    let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
    let input = args.input.display().to_string();
    if args.input.is_dir() {
        put("use", "imagefolder".into());
        put("path", input.into());
    } else {
        put("use", "csv".into());
        put("path", input.into());
        put("img_key", args.img_key.clone().into());
        put("caption_key", args.caption_key.clone().into());
        if let Some(key) = &args.label_key {
            put("label_key", key.clone().into());
        }
        if let Some(separator) = &args.csv_separator {
            put("separator", separator.replace("\\t", "\t").into());
        }
    }
    if let Some(classes) = &args.classes {
        put("classes", classes.display().to_string().into());
    }
    let source = data::open(&Value::Object(table), Path::new(".")).map_err(|error| Failure::usage(error.to_string()))?;
    let background = args.background.as_deref().map(colour).transpose()?;
    let packed = data::pack::pack(source.as_ref(), &args.out, &data::pack::PackOptions { shard_size: args.shard_size, background })?;
    if args.json {
        return print_json(&packed);
    }
    say!("{}", packed.to_text());
    Ok(())
}

fn colour(text: &str) -> Outcome<[u8; 3]> {
    match text {
        "white" => return Ok([255; 3]),
        "black" => return Ok([0; 3]),
        _ => {}
    }
    let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let value = digits.ok_or_else(|| Failure::usage(format!("`{text}` is no colour; write `white`, `black` or `#rrggbb`")))?;
    Ok([(value >> 16) as u8, (value >> 8) as u8, value as u8])
}
