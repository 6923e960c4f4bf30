//! Files that options name: patterns, lists of them, and folders.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use vlhub_core::{Error, LocalFile, Result, SourceCx};

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

impl Files {
    /// The patterns, one by one.
    pub fn patterns(&self) -> Vec<&str> {
        let parts: Vec<&str> = match self {
            Self::One(text) => text.split("::").collect(),
            Self::Many(list) => list.iter().flat_map(|text| text.split("::")).collect(),
        };
        parts.into_iter().map(str::trim).filter(|pattern| !pattern.is_empty()).collect()
    }
}

impl Default for Files {
    fn default() -> Self {
        Self::One(String::new())
    }
}

/// The files that patterns name, in the order of the patterns; those of one pattern or folder by the bytes of their paths. Braces are
/// expanded as by a shell, then `*`, `?`, `[…]` and `**`; a folder stands for the files in it and below whose names end in `suffix` (such as
/// `.parquet`). Hidden files are passed over in folders. Relative patterns start at `cx.folder`, and names of files too; `option` is the
/// option's name, for messages. Addresses (`s3://…`, where `*` is the one pattern) and commands become local files by way of the host.
///
/// # Errors
/// No file, a pattern that does not parse or that matches nothing, or a place that the host cannot bring; of a
/// [glance](vlhub_core::Extent::Glance), [`Error::Elsewhere`].
pub fn find_files(files: &Files, cx: &SourceCx<'_>, suffix: &str, option: &str) -> Result<Vec<LocalFile>> {
    let mut found = Vec::new();
    for pattern in files.patterns() {
        let pattern = pattern.strip_prefix("file://").unwrap_or(pattern);
        for name in brace::expand(pattern)? {
            if name.contains("://") || name.starts_with("pipe:") {
                found.append(&mut cx.host.local(&cx.host.names(&name, cx)?, cx)?);
                continue;
            }
            let path = cx.folder.join(&name);
            let mut paths = Vec::new();
            if path.is_dir() {
                below(&path, suffix, 0, &mut paths)?;
                if paths.is_empty() {
                    return Err(Error::invalid(format!("`{option}`: {} holds no file that ends in {suffix}", path.display())));
                }
                paths.sort();
            } else if name.contains(['*', '?', '[']) && !path.exists() {
                paths.append(&mut matching(&path, &name, option)?);
            } else {
                paths.push(path);
            }
            found.extend(paths.into_iter().map(|path| named_file(path, cx.folder)));
        }
    }
    if found.is_empty() {
        return Err(Error::invalid(format!("`{option}` names no file; write, for example, {option} = \"data/train-*{suffix}\"")));
    }
    Ok(found)
}

/// A file of this machine, called by its path from `folder` on.
pub fn named_file(path: PathBuf, folder: &Path) -> LocalFile {
    let name = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
    LocalFile { name, ..LocalFile::of(path) }
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
            let found = find_files(&files, &SourceCx::new(folder.path()), ".pq", "path").map_err(|error| error.to_string());
            found.map(|files| files.into_iter().map(|file| file.name).collect::<Vec<_>>().join(" "))
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
            // Without a host there is nobody to ask.
            ("s3://a/b.pq", "b.pq"),
            ("b/deep/../../b/deep", "b/deep/0.pq"),
        ] {
            let told = find(Files::One(pattern.into())).unwrap_or_else(|error| error);
            assert!(told.contains(wanted) || wanted == "b/deep/0.pq", "{pattern}: {told}");
        }
        std::fs::create_dir(folder.path().join("empty")).expect("room");
        assert!(find(Files::One("empty".into())).expect_err("nothing").contains("ends in .pq"));
    }
}
