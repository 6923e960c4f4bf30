//! `vlhub data`.

use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::{Extent, Source, SourceCx, Want, Wants};

use super::{print_json, registry_of};
use crate::cli::{DataCheckArgs, DataCommand, IndexArgs, PackArgs, PreviewArgs, Shared};
use crate::config::document::Document;
use crate::config::{Chosen, RunConfig};
use crate::data;
use crate::data::sources::webdataset::{WebDatasetConfig, list, write_index};
use crate::failure::{Failure, Outcome};
use crate::session;
use crate::training::first_batch;

/// Packs, checks or shows a data set.
pub fn data(shared: &Shared, command: DataCommand) -> Outcome {
    match command {
        DataCommand::Pack(args) => pack(shared, &args),
        DataCommand::Check(args) => check(shared, &args),
        DataCommand::Preview(args) => preview(shared, &args),
        DataCommand::Index(args) => index(shared, &args),
    }
}

fn index(shared: &Shared, args: &IndexArgs) -> Outcome {
    let (config, chosen) = source_of(shared, &document(&args.data, &args.overrides)?)?;
    let options = erased_serde::serialize(chosen.config.as_ref(), serde_json::value::Serializer)
        .map_err(|error| Failure::usage(error.to_string()))?;
    if chosen.plugin != "webdataset" {
        return Err(Failure::usage(format!("{} is `{}`; only tar shards (`webdataset`) are indexed", args.data, chosen.plugin)));
    }
    let options: WebDatasetConfig = serde_json::from_value(options).map_err(|error| Failure::usage(error.to_string()))?;
    let usage = |error: vlhub_core::Error| Failure::usage(error.to_string());
    if args.list {
        return list(&options, &config.folder, &mut |entry| {
            say!("{}", serde_json::to_string(&entry).unwrap_or_default());
            Ok(())
        })
        .map_err(usage);
    }
    let (mut shards, mut failed) = (Vec::new(), Vec::new());
    for shard in write_index(&options, &config.folder).map_err(usage)? {
        match shard {
            Ok(shard) => shards.push(shard),
            Err(error) => failed.push(error.to_string()),
        }
    }
    if args.json {
        print_json(&shards)?;
    } else {
        for shard in shards.iter().filter(|shard| shard.lost > 0) {
            say!("{} × lost in {}: {}", shard.lost, shard.shard.display(), shard.first_lost.as_deref().unwrap_or_default());
        }
        let of = |count: fn(&crate::data::sources::webdataset::ShardSummary) -> u64| shards.iter().map(count).sum::<u64>();
        say!(
            "{} shards indexed: {} samples, {} members, {} lost",
            shards.len(),
            of(|it| it.samples),
            of(|it| it.members),
            of(|it| it.lost)
        );
        if let Some(first) = shards.first().and_then(|shard| shard.index.as_ref()) {
            say!("the first index file is {}", first.display());
        }
    }
    match failed.first() {
        Some(first) => Err(Failure::new(Failure::DATA, format!("{} shards were not indexed; the first: {first}", failed.len()))),
        None => Ok(()),
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

/// Whether a folder is one that `vlhub data pack` wrote, or the like.
fn holds_shards(path: &Path) -> bool {
    let names = std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    path.is_dir() && names.filter_map(|path| path.extension().map(ToOwned::to_owned)).any(|extension| extension == "tar")
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
    let max_pixels = args.max_pixels.unwrap_or(config.top.max_pixels);
    // A run says what it reads; without one, every need is looked at.
    let summary = if config.objectives.is_empty() {
        data::check::survey(&open, max_pixels)
    } else {
        data::check::check(&open, session::wants::on_paper(&config)?, max_pixels)
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
    let (config, chosen) = source_of(shared, &of_table(table))?;
    // Whatever belongs to a picture is packed with it.
    let wants = Wants::WHATEVER.picture(Want::Required);
    let cx = SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &data::Opener(&config.registry) };
    let source = data::open(chosen.config.as_ref(), &cx).map_err(|error| Failure::usage(error.to_string()))?;
    let background = args.background.as_deref().map(colour).transpose()?;
    let max_pixels = args.max_pixels.unwrap_or(config.top.max_pixels);
    let options = data::pack::PackOptions { shard_size: args.shard_size, background, max_pixels };
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
