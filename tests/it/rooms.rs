//! The rooms of the host (files and folders of `host/src`) depend on each other in one direction.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The rooms, lowest first: each may use those before it, and none behind it. So no two files of different folders can depend on each other
/// in a circle, and the engine knows neither run files nor runs.
const ORDER: &[&str] = &[
    "failure",
    "section",
    "files",
    "formats",
    "libraries",
    "device",
    "measuring",
    "hub",
    "linked",
    "data",
    "engine",
    "models",
    "checkpoint",
    "weights",
    "config",
    "compat",
    "identity",
    "session",
    "evaluation",
    "serve",
    "inspect",
    "run",
    "training",
    "catalog",
    "cli",
];

/// The source of every file below a folder, by its path, without tests: those are told by the folder or the attribute.
fn sources(root: &Path) -> Vec<(PathBuf, String)> {
    let mut folders = vec![root.to_path_buf()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("it is there").flatten() {
            let path = entry.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            let of_tests = name == "tests" || name.ends_with("_tests") || name == "testing" || name == "sim";
            if path.is_dir() && !of_tests {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !of_tests {
                let text = std::fs::read_to_string(&path).expect("it is text");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let code = code.split("#[cfg(test)]\n#[path").next().unwrap_or_default();
                let lines: Vec<&str> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
                found.push((path.strip_prefix(root).expect("inside").to_owned(), lines.join("\n")));
            }
        }
    }
    found
}

/// The rooms that a file names: `crate::ROOM…` and `use crate::{ROOM…, ROOM…}`.
fn named(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '_').collect::<String>();
    let mut rooms = BTreeSet::new();
    for (at, found) in code.match_indices("crate::") {
        // `$crate::` of a macro belongs to whoever calls it.
        if code[..at].ends_with('$') {
            continue;
        }
        let rest = &code[at + found.len()..];
        match rest.strip_prefix('{') {
            None => drop(rooms.insert(word(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut start = true;
                for (at, letter) in list.char_indices() {
                    match letter {
                        '}' if depth == 0 => break,
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        ',' if depth == 0 => start = true,
                        _ if start && letter.is_alphabetic() => {
                            rooms.insert(word(&list[at..]));
                            start = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    rooms
}

#[test]
fn rooms_are_told_from_paths() {
    let code = "use crate::{engine::{a, b}, data};\nlet x = crate::run::folder();\n$crate::command::say();";
    assert_eq!(named(code).into_iter().collect::<Vec<_>>(), ["data", "engine", "run"]);
}

#[test]
fn the_rooms_of_the_host_use_only_those_below_them() {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../host/src"));
    let all = sources(root);
    assert!(all.len() > 100, "{} files", all.len());
    let place = |room: &str| ORDER.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for (path, code) in &all {
        let first = path.iter().next().expect("a name").to_string_lossy().into_owned();
        let room = first.trim_end_matches(".rs");
        // The programs, and the commands on top of everything.
        if ["lib", "main", "command"].contains(&room) {
            continue;
        }
        let Some(own) = place(room) else {
            wrong.push(format!("{}: room `{room}` has no place in the order", path.display()));
            continue;
        };
        for other in named(code) {
            if other != room && place(&other).is_none_or(|other| other >= own) {
                wrong.push(format!("{} uses `{other}`, which does not lie below `{room}`", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
