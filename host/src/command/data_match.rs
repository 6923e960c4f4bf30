//! `vlhub data match`.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};

use serde_json::{Map, Value, json};
use vlhub_core::{Error, Extent, SourceCx, Want, Wants};

use super::data::{document, source_of};
use super::print_json;
use crate::cli::{DataMatchArgs, Shared};
use crate::config::document::Document;
use crate::data;
use crate::data::matches::{Fate, Matched, Matches, matches};
use crate::data::views::Views;
use crate::failure::{Failure, Outcome};
use crate::session;

/// Names of classes without captions that are shown; JSON has all.
const SHOWN: usize = 12;
/// Characters of a caption that are shown.
const WIDTH: usize = 72;

/// Runs the caption transforms of a run over its data, and tells what becomes of them.
pub fn data_match(shared: &Shared, args: &DataMatchArgs) -> Outcome {
    let mut document = document(&args.data, &args.overrides)?;
    if !args.transform.is_empty() {
        set_transforms(&mut document, &args.transform)?;
    }
    let (config, chosen) = source_of(shared, &document)?;
    let views = Views { texts: session::text_views(&config, None)?, labels: true, ..Views::default() };
    if views.texts.iter().all(|view| view.transform.is_empty()) {
        let hint = "name one with `--transform`, or in the run file's `[view.text.main]`; `vlhub plugins list` has them under `caption`";
        return Err(Failure::usage(format!("`{}` has no caption transform; {hint}", args.data)));
    }
    let wants = session::wants::of_run(Wants::NOTHING.text(Want::Required).label(Want::Optional), &views);
    let cx = SourceCx { folder: &config.folder, wants, extent: Extent::Whole, host: &data::Opener(&config.registry) };
    let source = data::open(chosen.config.as_ref(), &cx).map_err(|error| Failure::usage(format!("data.train: {error}")))?;
    let mut out = match &args.out {
        Some(path) => Some((path, BufWriter::new(File::create(path).map_err(|error| Error::io(path, error))?))),
        None => None,
    };
    let mut write = |sample: &Matched| match &mut out {
        Some((path, file)) => {
            let line = serde_json::to_string(sample).map_err(|error| Error::invalid(error.to_string()))?;
            writeln!(file, "{line}").map_err(|error| Error::io(path.as_path(), error))
        }
        None => Ok(()),
    };
    let found = matches(source.as_ref(), &views, config.top.seed, args.examples, &mut write)?;
    if let Some((path, mut file)) = out {
        file.flush().map_err(|error| Error::io(path, error))?;
    }
    if args.json {
        print_json(&found)?;
    } else {
        say!("{}", to_text(&found, args.top).trim_end());
    }
    match found.kept {
        0 => Err(Failure::new(Failure::DATA, format!("none of {} samples is left", found.samples))),
        _ => Ok(()),
    }
}

/// Replaces the text views by one, `main`, with these transforms.
fn set_transforms(document: &mut Document, transforms: &[String]) -> Outcome {
    let mut list = Vec::new();
    for text in transforms {
        list.push(if text.trim_start().starts_with('{') {
            let mut table: Map<String, Value> = toml::from_str(&format!("it = {text}"))
                .map_err(|error| Failure::usage(format!("--transform `{text}` is no table: {}", error.message())))?;
            table.remove("it").unwrap_or_default()
        } else {
            Value::from(text.as_str())
        });
    }
    document.set("view.text={}")?;
    if let Some(views) = document.tree.get_mut("view").and_then(Value::as_object_mut) {
        views.insert("text".into(), json!({"main": {"transform": list}}));
    }
    Ok(())
}

fn to_text(found: &Matches, top: usize) -> String {
    let total = |counts: &mut dyn Iterator<Item = &usize>| counts.sum::<usize>();
    let (dropped, unusable) = (total(&mut found.dropped.values()), total(&mut found.unusable.values()));
    let mut text = format!("{} samples: {} kept, {dropped} dropped, {unusable} cannot be used\n", found.samples, found.kept);
    for (by, count) in &found.dropped {
        let _ = writeln!(text, "  {count} × dropped by {by}");
    }
    for (reason, count) in &found.unusable {
        let _ = writeln!(text, "  {count} × {reason}");
    }
    if !found.classes.is_empty() {
        let frequent = found.frequent_classes();
        let Matches { one_label, several_labels, without_label, .. } = found;
        let _ = writeln!(text, "labels: {one_label} samples have one, {several_labels} several, {without_label} none");
        let _ = writeln!(text, "classes: {} of {} have captions", frequent.len(), found.classes.len());
        for class in frequent.iter().take(top) {
            let _ = writeln!(text, "  {:>8}  {}", class.samples, class.name);
        }
        let empty: Vec<&str> = found.empty_classes().collect();
        if !empty.is_empty() {
            let more = if empty.len() > SHOWN { ", … (--json has all)" } else { "" };
            let _ = writeln!(text, "  without captions: {}{more}", empty[..empty.len().min(SHOWN)].join(", "));
        }
    }
    for (title, list) in [("kept", &found.kept_examples), ("dropped", &found.dropped_examples)] {
        if !list.is_empty() {
            let _ = writeln!(text, "{title}, for example:");
        }
        for sample in list {
            let _ = writeln!(text, "  {}", example(sample, found));
        }
    }
    text
}

/// `KEY: caption → caption · class, class`.
fn example(sample: &Matched, found: &Matches) -> String {
    let mut line = format!("{}: {}", sample.key, short(&sample.before));
    match &sample.fate {
        Fate::Kept { texts, labels } => {
            if *texts != sample.before {
                let _ = write!(line, " → {}", short(texts));
            }
            let name =
                |label: &i64| usize::try_from(*label).ok().and_then(|label| found.classes.get(label)).map_or("?", |class| &class.name);
            let names: Vec<&str> = labels.iter().map(name).collect();
            if !names.is_empty() {
                let _ = write!(line, " · {}", names.join(" | "));
            }
        }
        Fate::Dropped { by } => {
            let _ = write!(line, " · {by}");
        }
        Fate::Unusable { reason, .. } => {
            let _ = write!(line, " · {reason}");
        }
    }
    line
}

/// Captions on one line, quoted and cut.
fn short(texts: &[String]) -> String {
    let quoted = texts.iter().map(|text| {
        let cut: String = text.chars().take(WIDTH).collect();
        format!("{:?}{}", cut, if cut.len() < text.len() { "…" } else { "" })
    });
    quoted.collect::<Vec<_>>().join(" | ")
}
