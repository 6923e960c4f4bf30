//! `vlhub data`.

use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::{Extent, Source, SourceCx, Want, Wants};

use super::{print_json, registry_of};
use crate::cli::{DataCheckArgs, DataCommand, PackArgs, PreviewArgs, Shared};
use crate::config::document::Document;
use crate::config::{Chosen, RunConfig};
use crate::data;
use crate::failure::{Failure, Outcome};
use crate::session;
use crate::training::first_batch;

/// Packs, checks or shows a data set.
pub fn data(shared: &Shared, command: DataCommand) -> Outcome {
    match command {
        DataCommand::Pack(args) => pack(shared, &args),
        DataCommand::Check(args) => check(shared, &args),
        DataCommand::Preview(args) => preview(shared, &args),
    }
}

/// A run file, or one that has no more than the `[data.train]` that stands for a path.
fn document(name: &str, overrides: &[String]) -> Outcome<Document> {
    let path = Path::new(name);
    let (bases, overrides) = crate::config::base::apart(overrides);
    let mut document = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Document::read(path, &bases)?,
        extension => {
            let (source, key) = match extension {
                Some("csv" | "tsv") => ("csv", "path"),
                Some("tar") => ("webdataset", "shards"),
                Some("parquet") => ("parquet", "path"),
                Some("xlsx" | "xlsm") => ("xlsx", "path"),
                _ if holds(path, "_stats.json") => ("img2dataset", "path"),
                _ if holds(path, ".tar") => ("webdataset", "shards"),
                _ if holds(path, ".parquet") => ("parquet", "path"),
                _ if path.is_dir() => ("imagefolder", "path"),
                _ if name == "shapes" => ("shapes", ""),
                _ => {
                    return Err(Failure::usage(format!(
                        "`{name}` is no run file (.toml), folder, table (.csv, .tsv, .parquet, .xlsx), shard (.tar), or `shapes`"
                    )));
                }
            };
            let mut table = Map::from_iter([("use".to_owned(), Value::from(source))]);
            if !key.is_empty() {
                let value = if source == "webdataset" && path.is_dir() { format!("{name}/*.tar") } else { name.to_owned() };
                table.insert(key.to_owned(), Value::from(value));
            }
            of_table(table)
        }
    };
    for argument in &overrides {
        document.set(&format!("data.train.{argument}"))?;
    }
    Ok(document)
}

/// A run file with a `[data.train]` alone; its paths start where the program was started.
fn of_table(table: Map<String, Value>) -> Document {
    let mut document = Document::default();
    document.folder = ".".into();
    document.tree.insert("data".into(), json!({"train": table}));
    document
}

/// The `[data.train]` of a document, checked as a part of the whole.
fn source_of(shared: &Shared, document: &Document) -> Outcome<(RunConfig, Chosen<dyn Source>)> {
    let mut config = RunConfig::of(document, &registry_of(shared, document)?)?;
    let chosen = config.data.take().ok_or_else(|| Failure::usage(format!("{} has no `[data.train]`", document.name)))?;
    Ok((config, chosen))
}

/// Whether a name in a folder ends so: in that of one that `vlhub data pack` wrote, `.tar`.
fn holds(folder: &Path, end: &str) -> bool {
    let mut names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    folder.is_dir() && names.any(|name| name.to_string_lossy().ends_with(end))
}

fn check(shared: &Shared, args: &DataCheckArgs) -> Outcome {
    let (config, chosen) = source_of(shared, &document(&args.data, &args.overrides)?)?;
    let open = |wants: Wants| {
        let source = chosen.config.build(&SourceCx {
            folder: &config.folder,
            wants,
            extent: Extent::Whole,
            host: &data::Opener(&config.registry),
        })?;
        Ok(std::sync::Arc::from(source))
    };
    let pictures = args.pictures.over(config.top.pictures());
    // A run says what it reads; without one, every need is looked at.
    let summary = if config.objectives.is_empty() {
        data::check::survey(&open, pictures)
    } else {
        data::check::check(&open, session::wants::on_paper(&config)?, pictures)
    };
    let summary = summary.map_err(|error| Failure::usage(error.to_string()))?;
    if args.json {
        print_json(&summary)?;
    } else {
        say!("{}", summary.to_text());
    }
    match summary.bad() {
        0 => Ok(()),
        bad => Err(Failure::new(Failure::DATA, format!("{bad} of {} samples cannot be used", summary.samples))),
    }
}

fn preview(shared: &Shared, args: &PreviewArgs) -> Outcome {
    let config = super::load(shared, &args.file, &args.overrides)?;
    let data = session::loading::training_data(&config)?;
    let loaded = data.loader.start(args.step).next().map_err(|error| Failure::new(Failure::DATA, error.to_string()))?;
    let sheet = first_batch::write(&loaded.batch, &data.towers, data.tokenizer.as_deref(), &args.out)?;
    if sheet.is_none() {
        return Err(Failure::usage(format!("the objectives of {} read no pictures, so there is nothing to show", args.file.display())));
    }
    say!("wrote {}, step {} of {} an epoch: {} rows", args.out.display(), args.step, data.loader.steps_per_epoch(), loaded.batch.rows());
    Ok(())
}

fn pack(shared: &Shared, args: &PackArgs) -> Outcome {
    let mut table = Map::new();
    let mut put = |key: &str, value: Value| table.insert(key.to_owned(), value);
    let input = args.input.display().to_string();
    let source = match args.input.extension().and_then(|extension| extension.to_str()) {
        _ if args.input.is_dir() && !holds(&args.input, ".parquet") => "imagefolder",
        _ if args.input.is_dir() => "parquet",
        Some("parquet") => "parquet",
        Some("xlsx" | "xlsm") => "xlsx",
        _ => "csv",
    };
    put("use", source.into());
    put("path", input.into());
    if source != "imagefolder" {
        for (option, column) in [("img_key", &args.img_key), ("caption_key", &args.caption_key), ("label_key", &args.label_key)] {
            if let Some(column) = column {
                put(option, column.clone().into());
            }
        }
        if let Some(separator) = &args.csv_separator {
            put("separator", separator.replace("\\t", "\t").into());
        }
    }
    if let Some(classes) = &args.classes {
        put("classes", classes.display().to_string().into());
    }
    let (config, chosen) = source_of(shared, &of_table(table))?;
    // Whatever belongs to a picture is packed with it.
    let wants = Wants::WHATEVER.picture(Want::Required);
    let cx = SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &data::Opener(&config.registry) };
    let source = data::open(chosen.config.as_ref(), &cx).map_err(|error| Failure::usage(error.to_string()))?;
    let background = args.background.as_deref().map(colour).transpose()?;
    let pictures = args.pictures.over(config.top.pictures());
    let options = data::pack::PackOptions { shard_size: args.shard_size, background, pictures };
    let packed = data::pack::pack(source.as_ref(), &args.out, &options)?;
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
