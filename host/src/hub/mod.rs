//! Published repositories: `hf-hub:ORGANISATION/NAME` in the cache that Python shares, fetched where it lacks something, and
//! `local-dir:FOLDER` on disk.

mod address;
mod cache;
mod download;
pub(crate) mod http;
mod names;
mod repository;
pub(crate) mod settings;
#[cfg(test)]
mod tests;
mod words;

use std::path::{Path, PathBuf};

pub use cache::Cache;

/// Where the files of a published model are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublishedSource {
    /// A repository of the hub, at a revision.
    Hub {
        /// `ORGANISATION/NAME`.
        repository: String,
        /// A branch, tag or commit.
        revision: String,
    },
    /// A folder.
    Folder(PathBuf),
}

impl PublishedSource {
    /// Reads `hf-hub:ORGANISATION/NAME[@REVISION]` and `local-dir:FOLDER`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(folder) = text.strip_prefix("local-dir:") {
            return Some(Self::Folder(folder.into()));
        }
        let name = text.strip_prefix("hf-hub:")?;
        let (repository, revision) = name.split_once('@').unwrap_or((name, "main"));
        Some(Self::Hub { repository: repository.trim_matches('/').to_owned(), revision: revision.to_owned() })
    }

    /// A file of the repository, fetched if it is not on this disk; relative folders start at `base`.
    ///
    /// # Errors
    /// Where it was looked for, and what to do.
    pub fn file(&self, base: &Path, name: &str) -> Result<PathBuf, String> {
        self.first_of(base, &[name])
    }

    /// The first of these files that there is.
    ///
    /// # Errors
    /// Where they were looked for, and what to do.
    pub fn first_of(&self, base: &Path, names: &[&str]) -> Result<PathBuf, String> {
        match self {
            Self::Folder(folder) => {
                let folder = base.join(folder);
                let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
                found.ok_or_else(|| match folder.is_dir() {
                    true => format!("the folder `{}` holds no {}", folder.display(), names.join(" nor ")),
                    false => format!("there is no folder `{}`", folder.display()),
                })
            }
            Self::Hub { repository, revision } => Cache::of_environment().first_of(repository, revision, names),
        }
    }
}
