//! The cache of published repositories, in the layout that Python's `huggingface_hub` keeps, and what it brings from the network.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::http::{Client, Refusal};
use super::repository::Repository;
use super::settings::Settings;
use super::{address, names, words};

/// Files that belong to a file, where a repository has them.
const COMPANIONS: &[(&str, &[&str])] = &[("tokenizer.json", &["tokenizer_config.json", "special_tokens_map.json"])];

/// A cache folder, and whether the network may be asked for what it lacks.
#[derive(Clone, Debug)]
pub struct Cache {
    settings: Settings,
}

#[derive(Deserialize)]
struct ShardList {
    weight_map: BTreeMap<String, String>,
}

impl Cache {
    /// The cache that `HF_HUB_CACHE`, `HF_HOME` or `XDG_CACHE_HOME` name, else the one in the home folder; `HF_HUB_OFFLINE` and
    /// `TRANSFORMERS_OFFLINE` keep off the network, `HF_ENDPOINT` names another hub, and `HF_TOKEN` or the file of `hf auth login` is
    /// shown to it.
    pub fn of_environment() -> Self {
        Self { settings: Settings::of_environment() }
    }

    #[cfg(test)]
    pub(super) fn of(settings: Settings) -> Self {
        Self { settings }
    }

    /// The file of an address in the folder `~/.cache/clip`, where OpenAI's and open_clip's programs keep it by its name alone; it is
    /// fetched if it is not there. Addresses of both name the SHA-256 of the file, which is checked each time.
    ///
    /// # Errors
    /// Where it was looked for, why it could not be fetched, and what to do.
    pub fn url(&self, url: &str) -> Result<PathBuf, String> {
        address::file(&self.settings, url)
    }

    /// The first of these files that a repository has; it is fetched if the cache lacks it. A file of the cache is taken as it is, without
    /// a question to the hub, unless the cache does not know whether there is one of the names before it.
    ///
    /// With an index of shards (`*.index.json`) come the shards, beside it; with a `tokenizer.json` that is fetched, the files that belong
    /// to it.
    ///
    /// # Errors
    /// Where it was looked for, why it could not be fetched, and what to do.
    pub fn first_of(&self, repository: &str, revision: &str, names: &[&str]) -> Result<PathBuf, String> {
        let repository = Repository::new(&self.settings, repository, revision)?;
        names.iter().try_for_each(|name| names::file(name))?;
        let mut hub = Hub { settings: &self.settings, client: None, silent: None };
        for name in names {
            let there = repository.cached(name).is_some();
            if let Some(path) = hub.file(&repository, name).map_err(|why| words::refused(&self.settings, &repository, names, &why))? {
                if name.ends_with(".index.json") {
                    hub.shards(&repository, name, &path)?;
                } else if !there {
                    hub.companions(&repository, name);
                }
                return Ok(path);
            }
        }
        Err(match hub.silent {
            Some(why) => words::refused(&self.settings, &repository, names, &why),
            None if self.settings.offline => words::offline(&self.settings, &repository, names),
            None => words::none(&repository, names),
        })
    }
}

/// The hub during one question: once it gave no answer, it is not asked again.
struct Hub<'a> {
    settings: &'a Settings,
    client: Option<Client>,
    silent: Option<Refusal>,
}

impl Hub<'_> {
    /// A file from the cache, else from the hub; `None` if neither has it.
    fn file(&mut self, repository: &Repository<'_>, name: &str) -> Result<Option<PathBuf>, Refusal> {
        if let Some(path) = repository.cached(name) {
            if let Some(why) = &self.silent {
                tracing::warn!("`hf-hub:{}`: {why}; taken from the cache: {name}. HF_HUB_OFFLINE=1 keeps from asking", repository.name);
            }
            return Ok(Some(path));
        }
        if self.settings.offline || self.silent.is_some() || repository.absent(name) {
            return Ok(None);
        }
        let client = match self.client.take() {
            Some(client) => client,
            None => Client::new(self.settings)?,
        };
        let fetched = repository.fetch(self.client.insert(client), name);
        match fetched {
            // The cache may still hold another of the names.
            Err(why @ (Refusal::Network(_) | Refusal::Status { .. })) => {
                self.silent = Some(why);
                Ok(None)
            }
            other => other,
        }
    }

    /// Brings the files that belong to a file; it is of use without them.
    fn companions(&mut self, repository: &Repository<'_>, name: &str) {
        let companions = COMPANIONS.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, companions)| companions);
        for companion in companions {
            let found = self.file(repository, companion);
            if let Some(why) = found.as_ref().err().or(self.silent.as_ref()) {
                tracing::warn!("`hf-hub:{}`: {companion} was not fetched: {why}", repository.name);
            }
        }
    }

    /// Brings every file that an index names.
    fn shards(&mut self, repository: &Repository<'_>, name: &str, path: &Path) -> Result<(), String> {
        let bad = |why: String| format!("`hf-hub:{}`: the index `{}`: {why}", repository.name, path.display());
        let text = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
        let index: ShardList = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
        let shards: BTreeSet<_> = index.weight_map.into_values().collect();
        if let Some(shard) = shards.iter().find(|shard| !names::beside(shard)) {
            return Err(bad(format!("it names {shard:?}, which is not the name of a weight file beside it")));
        }
        let folder = name.rsplit_once('/').map_or(String::new(), |(folder, _)| format!("{folder}/"));
        for shard in &shards {
            let file = format!("{folder}{shard}");
            let found = self.file(repository, &file).map_err(|why| words::refused(self.settings, repository, &[&file], &why))?;
            if found.is_none() {
                return Err(match &self.silent {
                    Some(why) => words::refused(self.settings, repository, &[&file], why),
                    None if self.settings.offline => words::offline(self.settings, repository, &[&file]),
                    None => bad(format!("the repository has no {file}, which the index names")),
                });
            }
        }
        Ok(())
    }
}
