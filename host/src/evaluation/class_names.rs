//! What the classes of a supervised head are called: decided when it is trained, kept with its checkpoints, and asked for when it is measured.

use std::path::Path;

use vlhub_sdk::suites::number_names;

use crate::checkpoint::Manifest;
use crate::engine::terms::Term;
use crate::failure::{Failure, Outcome};

/// Where a checkpoint's manifest keeps the names, as a JSON list.
pub const KEY: &str = "class_names";

/// Names shown in a message.
const SHOWN: usize = 8;

/// The class names of the supervised heads that a run trains, in the order of their logits: those of its data, else those `given` by the run
/// file, else the numbers 0, 1, …, because labels without names are numbers. Without a head, those that are given.
///
/// # Errors
/// Exit status 2: names in the run file that are not those of the data, or a head with fewer classes than the data.
pub fn of_run(given: &[String], data: &[String], terms: &[Term]) -> Outcome<Vec<String>> {
    if !given.is_empty() && !data.is_empty() && given != data {
        return Err(Failure::usage(format!(
            "class_names: {}; leave `class_names` out to take those of the data, or give the data this order with its `classes`",
            contrast(given, data)
        )));
    }
    let names = if data.is_empty() { given } else { data };
    let heads: Vec<(&str, usize)> =
        terms.iter().filter_map(|term| Some((term.key.as_str(), term.objective.skills().classifier?.classes()))).collect();
    for &(key, width) in &heads {
        let count = names.len();
        if names.is_empty() || width == count {
            continue;
        }
        let contradiction = format!("objective.{key}: its head has {width} classes, and data.train has {count} ({})", few(names));
        if width < count {
            return Err(Failure::usage(format!("{contradiction}; set `objective.{key}.classes={count}`")));
        }
        tracing::warn!("{contradiction}; the last {} are never trained", width - count);
    }
    Ok(match heads.first() {
        Some(&(_, width)) if names.is_empty() => number_names(width),
        _ => names.to_vec(),
    })
}

/// The class names that the checkpoint of a file of weights has; none when it has none, or is no checkpoint.
pub fn of_checkpoint(weights: &Path) -> Vec<String> {
    let manifest = std::fs::read(weights.with_file_name("manifest.json")).ok().and_then(|bytes| Manifest::unseal(&bytes).ok());
    manifest.and_then(|manifest| parse(manifest.extra.get(KEY)?)).unwrap_or_default()
}

/// As a manifest keeps them.
pub fn to_text(names: &[String]) -> String {
    serde_json::Value::from(names).to_string()
}

/// What [`to_text`] wrote.
pub fn parse(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// How two lists of names differ, for a message.
pub fn contrast(before: &[String], now: &[String]) -> String {
    match before.iter().zip(now).position(|(before, now)| before != now) {
        Some(at) => format!("class {at} is `{}`, and `{}` in data.train", before[at], now[at]),
        None => format!("there are {} names, and {} classes in data.train", before.len(), now.len()),
    }
}

fn few(names: &[String]) -> String {
    let more = if names.len() > SHOWN { ", …" } else { "" };
    names[..names.len().min(SHOWN)].join(", ") + more
}
