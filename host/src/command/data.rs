//! `vlhub data`.

use std::path::Path;

use serde_json::{Map, Value, json};
use vlhub_core::{Extent, Source, SourceCx, Want, Wants};

use super::{print_json, registry_of};
use crate::cli::{CacheArgs, DataCheckArgs, DataCommand, PackArgs, PreviewArgs, Shared, StatsArgs};
use crate::config::document::Document;
use crate::config::{Chosen, RunConfig};
use crate::data;
use crate::data::places::cache::{CachedFile, DataCache};
use crate::failure::{Failure, Outcome};
use crate::session;
use crate::training::first_batch;

/// Packs, checks, shows or matches a data set.
pub fn data(shared: &Shared, command: DataCommand) -> Outcome {
    match command {
        DataCommand::Pack(args) => pack(shared, &args),
        DataCommand::Check(args) => check(shared, &args),
        DataCommand::Preview(args) => preview(shared, &args),
        DataCommand::Stats(args) => stats(shared, &args),
        DataCommand::Cache(args) => cache(&args),
        DataCommand::Match(args) => super::data_match::data_match(shared, &args),
        DataCommand::Index(args) => super::data_index::data_index(shared, &args),
    }
}

/// A run file, or one that has no more than the `[data.train]` that stands for a path.
pub(super) fn document(name: &str, overrides: &[String]) -> Outcome<Document> {
    let path = Path::new(name);
    let (bases, overrides) = crate::config::base::apart(overrides);
    let mut document = match path.extension().and_then(|extension| extension.to_str()) {
        Some("toml") => Document::read(path, &bases)?,
        extension => {
            let (source, key) = match extension {
                _ if is_table(name) => ("csv", "path"),
                _ if is_shard(name) => ("webdataset", "shards"),
                Some("parquet") => ("parquet", "path"),
                Some("xlsx" | "xlsm") => ("xlsx", "path"),
                _ if holds(path, "_stats.json") => ("img2dataset", "path"),
                _ if shards_in(path).is_some() => ("webdataset", "shards"),
                _ if holds(path, ".parquet") => ("parquet", "path"),
                _ if path.is_dir() => ("imagefolder", "path"),
                _ if name == "shapes" => ("shapes", ""),
                _ if !name.contains("://") && !path.exists() => {
                    return Err(Failure::usage(format!(
                        "`{name}` is not there; data is a run file (.toml), a folder, a table, shards, or `shapes`"
                    )));
                }
                _ => {
                    return Err(Failure::usage(format!(
                        "`{name}` is no run file (.toml), folder, table (.csv, .tsv, .parquet, .xlsx), shard (.tar, .tar.gz, .tar.zst), or `shapes`"
                    )));
                }
            };
            let mut table = Map::from_iter([("use".to_owned(), Value::from(source))]);
            if !key.is_empty() {
                let shards = shards_in(path).filter(|_| source == "webdataset");
                let value = shards.map_or_else(|| name.to_owned(), |end| format!("{name}/*{end}"));
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
pub(super) fn source_of(shared: &Shared, mut document: Document) -> Outcome<(RunConfig, Chosen<dyn Source>)> {
    super::lay_shared(shared, &mut document)?;
    let mut config = RunConfig::of(&document, &registry_of(shared, &document)?)?;
    let chosen = config.data.take().ok_or_else(|| Failure::usage(format!("{} has no `[data.train]`", document.name)))?;
    Ok((config, chosen))
}

/// Whether a name is that of a table, perhaps compressed, wherever it is.
fn is_table(name: &str) -> bool {
    ends_with(name, &["csv", "tsv"])
}

/// Whether a name is that of shards, perhaps compressed, wherever they are; a command writes one.
fn is_shard(name: &str) -> bool {
    name.starts_with("pipe:") || ends_with(name, &["tar", "tgz"])
}

fn ends_with(name: &str, suffixes: &[&str]) -> bool {
    // What signs an address stands behind its name.
    let name = if name.starts_with("http") { name.split(['?', '#']).next().unwrap_or_default() } else { name };
    let name = [".gz", ".zst"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    name.rsplit_once('.').is_some_and(|(_, last)| suffixes.contains(&last))
}

/// How the names of shards in a folder end, if there are any: in one that `vlhub data pack` wrote, `.tar`.
fn shards_in(folder: &Path) -> Option<&'static str> {
    [".tar", ".tar.gz", ".tgz", ".tar.zst"].into_iter().find(|end| holds(folder, end))
}

/// Whether a name in a folder ends so.
fn holds(folder: &Path, end: &str) -> bool {
    let mut names = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    folder.is_dir() && names.any(|name| name.to_string_lossy().ends_with(end))
}

fn check(shared: &Shared, args: &DataCheckArgs) -> Outcome {
    let (config, chosen) = source_of(shared, document(&args.data, &args.overrides)?)?;
    let open = |wants: Wants| {
        let source = chosen.config.build(&SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &config.opener() })?;
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

fn stats(shared: &Shared, args: &StatsArgs) -> Outcome {
    let (config, chosen) = source_of(shared, document(&args.data, &args.overrides)?)?;
    let cx = SourceCx { folder: &config.folder, wants: Wants::WHATEVER, extent: Extent::Whole, host: &config.opener() };
    let source = data::open(chosen.config.as_ref(), &cx).map_err(|error| Failure::usage(error.to_string()))?;
    let tokenizer = match config.text {
        Some(_) => session::tokenizer_on_paper(&config)?,
        None => Some(data::tokens::clip(77)?),
    };
    let statistics = data::stats::statistics(source.as_ref(), tokenizer.as_deref(), args.samples);
    if args.json {
        return print_json(&statistics);
    }
    say!("{}", statistics.to_text());
    Ok(())
}

/// Lists or clears the data cache.
fn cache(args: &CacheArgs) -> Outcome {
    let failed = |error: vlhub_core::Error| Failure::new(Failure::RUN, error.to_string());
    let cache = DataCache::of_environment().map_err(|error| Failure::usage(error.to_string()))?;
    let named = |entry: &CachedFile| args.pattern.as_ref().is_none_or(|pattern| super::fits(pattern, &entry.place));
    if args.clear {
        let (count, bytes, held) = cache.clear(&named).map_err(failed)?;
        if args.json {
            return print_json(&json!({"removed": count, "bytes": bytes, "held": held}));
        }
        let held = if held == 0 { String::new() } else { format!("; {held} are held by running processes and stay") };
        say!("removed {count} files, {} MB{held}", bytes / 1_000_000);
        return Ok(());
    }
    let mut entries: Vec<_> = cache.entries().map_err(failed)?.into_iter().filter(named).collect();
    entries.sort_by(|one, other| one.place.cmp(&other.place));
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if args.json {
        return print_json(&json!({"folder": cache.folder(), "limit": cache.limit(), "bytes": bytes, "files": entries}));
    }
    for entry in &entries {
        say!("{:>9.1} MB  {}", entry.bytes as f64 / 1e6, entry.place);
    }
    let (folder, count) = (cache.folder().display(), entries.len());
    say!("{count} files, {} MB of at most {} MB, in {folder}", bytes / 1_000_000, cache.limit() / 1_000_000);
    Ok(())
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
    let (config, chosen) = source_of(shared, of_table(table))?;
    // Whatever belongs to a picture is packed with it.
    let wants = Wants::WHATEVER.picture(Want::Required);
    let cx = SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &config.opener() };
    let source = data::open(chosen.config.as_ref(), &cx).map_err(|error| Failure::usage(error.to_string()))?;
    let background = args.background.as_deref().map(colour).transpose()?;
    let pictures = args.pictures.over(config.top.pictures());
    let options = data::pack::PackOptions { shard_size: args.shard_size, background, shorter_side: args.resize.map(u32::from), pictures };
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
