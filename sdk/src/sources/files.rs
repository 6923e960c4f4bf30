//! Files that options name: patterns, lists of them, and folders.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, Result};

use super::brace;

/// Folders deeper than this are not looked into.
const DEEPEST: usize = 16;

/// One pattern or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Files {
    /// Patterns joined by `::`.
    One(String),
    /// Patterns.
    Many(Vec<String>),
}

impl Default for Files {
    fn default() -> Self {
        Self::One(String::new())
    }
}

/// The local files that patterns name, in the order of the patterns; those of one pattern or folder by the bytes of their paths. Braces are
/// expanded as by a shell, then `*`, `?`, `[…]` and `**`; a folder stands for the files in it and below whose names end in `suffix` (such as
/// `.parquet`). Hidden files are passed over in folders. Relative patterns start at `folder`; `option` is the option's name, for messages.
///
/// # Errors
/// No file, a pattern that does not parse or that matches nothing, or a place that is not a local file.
pub fn find_files(files: &Files, folder: &Path, suffix: &str, option: &str) -> Result<Vec<PathBuf>> {
    let patterns: Vec<&str> = match files {
        Files::One(text) => text.split("::").collect(),
        Files::Many(list) => list.iter().flat_map(|text| text.split("::")).collect(),
    };
    let mut paths = Vec::new();
    for pattern in patterns.iter().map(|pattern| pattern.trim()).filter(|pattern| !pattern.is_empty()) {
        if let Some((scheme, _)) = pattern.split_once("://").filter(|(scheme, _)| *scheme != "file") {
            return Err(Error::invalid(format!(
                "`{option}`: `{pattern}`: `{scheme}` is not read here; copy the files to a local folder first"
            )));
        }
        for name in brace::expand(pattern.strip_prefix("file://").unwrap_or(pattern))? {
            let path = folder.join(&name);
            if path.is_dir() {
                let before = paths.len();
                below(&path, suffix, 0, &mut paths)?;
                if paths.len() == before {
                    return Err(Error::invalid(format!("`{option}`: {} holds no file that ends in {suffix}", path.display())));
                }
                paths[before..].sort();
            } else if name.contains(['*', '?', '[']) && !path.exists() {
                paths.append(&mut matching(&path, &name, option)?);
            } else {
                paths.push(path);
            }
        }
    }
    if paths.is_empty() {
        return Err(Error::invalid(format!("`{option}` names no file; write, for example, {option} = \"data/train-*{suffix}\"")));
    }
    Ok(paths)
}

fn matching(path: &Path, name: &str, option: &str) -> Result<Vec<PathBuf>> {
    let bad = |error: String| Error::invalid(format!("`{option}`: pattern `{name}`: {error}"));
    let found = glob::glob(&path.to_string_lossy()).map_err(|error| bad(error.to_string()))?;
    let mut found: Vec<PathBuf> = found.collect::<Result<_, _>>().map_err(|error| bad(error.to_string()))?;
    if found.is_empty() {
        return Err(bad("no file matches".into()));
    }
    found.sort();
    Ok(found)
}

fn below(folder: &Path, suffix: &str, depth: usize, paths: &mut Vec<PathBuf>) -> Result<()> {
    if depth > DEEPEST {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).map_err(|error| Error::io(folder, error))? {
        let path = entry.map_err(|error| Error::io(folder, error))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        if path.is_dir() {
            below(&path, suffix, depth + 1, paths)?;
        } else if name.ends_with(suffix) {
            paths.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_folders_and_lists_name_files() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b/2.pq", "b/1.pq", "b/deep/0.pq", "b/.hidden.pq", "b/note.txt", "a-10.pq", "a-2.pq"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("room");
            std::fs::write(path, "x").expect("room");
        }
        let find = |files: Files| {
            find_files(&files, folder.path(), ".pq", "path").map_err(|error| error.to_string()).map(|paths| {
                let inner = |path: &PathBuf| path.strip_prefix(folder.path()).expect("inside").display().to_string();
                paths.iter().map(inner).collect::<Vec<_>>().join(" ")
            })
        };
        for (pattern, expected) in [
            ("b", "b/1.pq b/2.pq b/deep/0.pq"),
            ("a-*.pq", "a-10.pq a-2.pq"),
            ("a-{2,10}.pq::b/1.pq", "a-2.pq a-10.pq b/1.pq"),
            ("**/0.pq", "b/deep/0.pq"),
        ] {
            assert_eq!(find(Files::One(pattern.into())).expect(pattern), expected, "{pattern}");
        }
        assert_eq!(find(Files::Many(vec!["b/2.pq".into(), "b/1.pq".into()])).expect("two"), "b/2.pq b/1.pq");
        for (pattern, wanted) in [
            ("", "names no file"),
            ("c-*.pq", "no file matches"),
            ("{a", "do not balance"),
            ("s3://a/b.pq", "`s3` is not read here"),
            ("b/deep/../../b/deep", "b/deep/0.pq"),
        ] {
            let told = find(Files::One(pattern.into())).unwrap_or_else(|error| error);
            assert!(told.contains(wanted) || wanted == "b/deep/0.pq", "{pattern}: {told}");
        }
        std::fs::create_dir(folder.path().join("empty")).expect("room");
        assert!(find(Files::One("empty".into())).expect_err("nothing").contains("ends in .pq"));
    }
}
