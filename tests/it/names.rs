//! One name, one thing: a type that is visible outside its file shares its name with no other type of core, sdk and host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a type is declared, and whether other files may see it.
struct Declaration {
    place: String,
    visible: bool,
}

/// The type that a line declares at the outermost level of its file. Types inside of functions, tests and `impl`s are indented.
fn declared(line: &str) -> Option<(&str, bool)> {
    let (visible, rest) = match line.strip_prefix("pub") {
        Some(rest) => (true, rest.trim_start_matches(|letter: char| letter != ' ').trim_start()),
        None => (false, line),
    };
    let rest = ["struct ", "enum ", "trait ", "type ", "union "].iter().find_map(|keyword| rest.strip_prefix(keyword))?;
    let end = rest.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(rest.len());
    Some((&rest[..end], visible))
}

/// Whether a file holds tests alone.
fn is_test(path: &Path) -> bool {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    name == "tests" || name == "testing" || name.ends_with("_tests") || path.components().any(|part| part.as_os_str() == "tests")
}

fn sources(folder: PathBuf, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())).flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn a_type_name_has_one_meaning_in_core_sdk_and_host() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let mut declarations: BTreeMap<String, Vec<Declaration>> = BTreeMap::new();
    for folder in ["core/src", "core/torch-ext/src", "sdk/src", "host/src"] {
        let mut files = Vec::new();
        sources(root.join(folder), &mut files);
        assert!(files.len() > 1, "{folder} has sources");
        for file in files {
            let inside = file.strip_prefix(root).expect("inside").to_path_buf();
            if is_test(&inside) {
                continue;
            }
            for (at, line) in std::fs::read_to_string(&file).expect("it is text").lines().enumerate() {
                if let Some((name, visible)) = declared(line) {
                    let declaration = Declaration { place: format!("{}:{}", inside.display(), at + 1), visible };
                    declarations.entry(name.to_owned()).or_default().push(declaration);
                }
            }
        }
    }
    assert!(declarations.contains_key("Need") && declarations.contains_key("Forward"), "declarations are found");
    let shared = |all: &[Declaration]| all.len() > 1 && all.iter().any(|declaration| declaration.visible);
    let twice: Vec<String> = declarations
        .iter()
        .filter(|(_, all)| shared(all))
        .map(|(name, all)| {
            let places: Vec<&str> = all.iter().map(|declaration| declaration.place.as_str()).collect();
            format!("`{name}` is declared at {}", places.join(" and "))
        })
        .collect();
    assert!(twice.is_empty(), "a type that other files see has a name of its own:\n{}", twice.join("\n"));
}

#[test]
fn declarations_are_read_with_their_visibility() {
    for (line, expected) in [
        ("pub struct Need {", Some(("Need", true))),
        ("pub(crate) enum Part {", Some(("Part", true))),
        ("struct Slot;", Some(("Slot", false))),
        ("pub type Result<T, E = Error> = std::result::Result<T, E>;", Some(("Result", true))),
        ("    struct Inner {", None),
        ("pub fn structure() {", None),
        ("type Rows = Vec<Vec<f32>>;", Some(("Rows", false))),
    ] {
        assert_eq!(declared(line), expected, "{line}");
    }
}
