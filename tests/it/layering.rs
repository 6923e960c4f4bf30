//! Who may depend on whom.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Crates of this workspace with those of it on which they depend, tests and build scripts aside.
fn crates() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");
    let metadata = MetadataCommand::new().manifest_path(manifest).no_deps().exec().expect("cargo metadata runs");
    let ours: BTreeSet<String> = metadata.packages.iter().map(|package| package.name.to_string()).collect();
    let of = |package: &cargo_metadata::Package| {
        let normal = package.dependencies.iter().filter(|dependency| dependency.kind == DependencyKind::Normal);
        normal.map(|dependency| dependency.name.clone()).filter(|name| ours.contains(name)).collect()
    };
    metadata.packages.iter().map(|package| (package.name.to_string(), of(package))).collect()
}

#[test]
fn plugins_know_the_sdk_and_neither_each_other_nor_the_host() {
    let crates = crates();
    let plugins: Vec<_> = crates.iter().filter(|(name, _)| name.starts_with("vlhub-plugin-")).collect();
    assert!(plugins.len() >= 6, "{plugins:?}");
    for (plugin, needs) in plugins {
        let needs: Vec<&str> = needs.iter().map(String::as_str).collect();
        assert_eq!(needs, ["vlhub-sdk"], "{plugin}: mathematics that plugins share goes to vlhub-sdk");
    }
}

#[test]
fn the_layers_below_know_nothing_of_those_above() {
    let crates = crates();
    for (name, allowed) in [
        ("vlhub-core", &[][..]),
        ("vlhub-torch-ext", &[]),
        ("vlhub-build", &[]),
        // It finds libtorch by the rules of the build scripts, and links none.
        ("cargo-vlhub", &["vlhub-build"]),
        // The laws of backbones count the parameters of a preset without making them.
        ("vlhub-sdk", &["vlhub-core", "vlhub-torch-ext"]),
    ] {
        let needs: Vec<&str> = crates[name].iter().map(String::as_str).collect();
        let extra: Vec<_> = needs.iter().filter(|need| !allowed.contains(*need)).collect();
        assert!(extra.is_empty(), "{name} may depend on {allowed:?} and depends on {extra:?} too");
    }
}

#[test]
fn the_host_names_no_plugin_crate_but_in_tests() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../host/src"));
    let mut folders = vec![root.to_path_buf()];
    let mut naming = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).unwrap_or_default().contains("vlhub_plugin_") {
                naming.push(path.strip_prefix(root).expect("inside").display().to_string());
            }
        }
    }
    assert_eq!(naming, ["linked.rs"]);
}

#[test]
fn unsafe_stands_where_the_architecture_allows_it() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let allowed = [
        "core/torch-ext/src/filled.rs",
        "core/torch-ext/src/grouped.rs",
        "core/torch-ext/src/lib.rs",
        "core/torch-ext/src/memory.rs",
        "core/torch-ext/src/mixed.rs",
        "core/torch-ext/src/products.rs",
        "core/torch-ext/src/profile.rs",
        "core/torch-ext/src/recompute.rs",
        "core/torch-ext/src/slices.rs",
        "core/torch-ext/src/stream.rs",
        "core/torch-ext/src/watch.rs",
        "core/src/abi.rs",
        "host/src/libraries.rs",
        "sdk/src/macros.rs",
        "sdk/cargo-vlhub/src/probe.rs",
    ];
    let mut folders: Vec<_> = ["core", "sdk", "host", "plugins"].iter().map(|folder| root.join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it is there").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).expect("inside").display().to_string();
                let text = std::fs::read_to_string(&path).expect("it is text");
                let block = ["unsafe", " {"].concat();
                let uses = text.lines().filter(|line| !line.trim_start().starts_with("//")).any(|line| line.contains(&block));
                assert!(!uses || allowed.contains(&name.as_str()), "{name} has an unsafe block");
            }
        }
    }
}

#[test]
fn the_top_level_holds_what_it_should() {
    let root = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let known = [
        "Cargo.toml",
        "Cargo.lock",
        "core",
        "plugins",
        "host",
        "sdk",
        "examples",
        "findings",
        "tests",
        "findings",
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "SECURITY.md",
        "LICENSE-MIT",
        "LICENSE-APACHE",
        "target",
        "logs",
    ];
    for entry in std::fs::read_dir(root).expect("it is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        assert!(name.starts_with('.') || known.contains(&name.as_str()), "`{name}` does not belong at the top level");
    }
}
