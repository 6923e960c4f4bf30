//! Licences, bans and sources of dependencies, as `.deny.toml` has them for `cargo deny check`, which few have installed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cargo_metadata::MetadataCommand;
use serde_json::{Map, Value};
use vlhub_host::config::document::Document;

use crate::cargo::root;

/// The rules.
fn rules() -> Map<String, Value> {
    let text = fs::read_to_string(root().join(".deny.toml")).expect("it is there");
    Document::parse(&text, ".deny.toml", root().to_owned()).unwrap_or_else(|failure| panic!("{}", failure.message)).tree
}

fn words(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

/// Name, version and source of every package of `Cargo.lock`.
fn locked() -> Vec<(String, String, Option<String>)> {
    let text = fs::read_to_string(root().join("Cargo.lock")).expect("it is there");
    let lock = Document::parse(&text, "Cargo.lock", root().to_owned()).unwrap_or_else(|failure| panic!("{}", failure.message)).tree;
    let packages = lock["package"].as_array().expect("packages");
    let word = |package: &Value, key: &str| package[key].as_str().map(str::to_owned);
    packages
        .iter()
        .map(|package| (word(package, "name").expect("a name"), word(package, "version").expect("one"), word(package, "source")))
        .collect()
}

/// Whether a licence expression is met by licences that are allowed: `OR` binds less than `AND`, and `/` is an old `OR`.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = expression.split_whitespace().collect();
    let (mut at, mut level, mut parts) = (0, 0, Vec::new());
    // The parts between operators of the outermost level, with the operator in front of each.
    let mut operator = "OR";
    for (place, word) in words.iter().enumerate() {
        match *word {
            "(" => level += 1,
            ")" => level -= 1,
            "OR" | "AND" if level == 0 => {
                parts.push((operator, &words[at..place]));
                (operator, at) = (word, place + 1);
            }
            _ => {}
        }
    }
    parts.push((operator, &words[at..]));
    let met = |part: &[&str]| match part {
        ["(", inner @ .., ")"] => is_met(&inner.join(" "), allowed),
        licence => allowed.contains(&licence.join(" ")),
    };
    let mut groups: Vec<bool> = Vec::new();
    for (operator, part) in parts {
        match groups.last_mut() {
            Some(group) if operator == "AND" => *group &= met(part),
            _ => groups.push(met(part)),
        }
    }
    groups.contains(&true)
}

#[test]
fn licences_are_among_the_allowed_ones() {
    let allowed = words(&rules()["licenses"]["allow"]);
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut command = MetadataCommand::new();
    command.manifest_path(root().join("Cargo.toml")).other_options(["--offline".to_owned(), "--filter-platform".to_owned(), platform]);
    let metadata = command.exec().expect("cargo metadata runs");
    assert!(metadata.packages.len() > 200, "all dependencies, not only ours: {}", metadata.packages.len());
    let mut used = BTreeSet::new();
    for package in &metadata.packages {
        let licence = package.license.as_deref().unwrap_or("none");
        assert!(
            is_met(licence, &allowed),
            "{} {}: the licence `{licence}` is not allowed by .deny.toml: {allowed:?}",
            package.name,
            package.version
        );
        used.extend(allowed.iter().filter(|known| licence.contains(known.as_str())).cloned());
    }
    assert_eq!(used, allowed, "every allowed licence is used");
}

#[test]
fn dependencies_come_from_the_registry_and_banned_ones_are_absent() {
    let rules = rules();
    let registries: BTreeSet<String> = words(&rules["sources"]["allow-registry"]).iter().map(|url| format!("registry+{url}")).collect();
    let mut versions: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, version, source) in locked() {
        let known = source.as_ref().is_none_or(|source| registries.contains(source));
        assert!(known, "{name} {version} comes from {source:?}; allowed: {registries:?}");
        versions.entry(name).or_default().push(version);
    }
    for ban in rules["bans"]["deny"].as_array().expect("a list") {
        let name = ban["crate"].as_str().expect("a crate");
        let found = versions.get(name).map_or(&[][..], Vec::as_slice);
        if ban["deny-multiple-versions"] == true {
            assert_eq!(found.len(), 1, "{name} has one version: {found:?}");
        } else {
            assert!(found.is_empty(), "{name} is banned, and something depends on it: {found:?}");
        }
    }
}

#[test]
fn licence_expressions_are_read_as_spdx_has_them() {
    let allowed: BTreeSet<String> = ["MIT", "ISC", "Apache-2.0"].map(str::to_owned).into();
    for (expression, met) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("MIT/GPL-3.0", true),
        ("MIT AND GPL-3.0", false),
        ("Apache-2.0 AND ISC", true),
        ("GPL-3.0 OR MIT AND ISC", true),
        ("(MIT OR GPL-3.0) AND Unicode-3.0", false),
        ("(MIT OR GPL-3.0) AND (ISC OR Unicode-3.0)", true),
        ("Apache-2.0 WITH LLVM-exception", false),
        ("none", false),
    ] {
        assert_eq!(is_met(expression, &allowed), met, "{expression}");
    }
}
