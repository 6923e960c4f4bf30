//! What a person reads when a published file cannot be had.

use super::http::Refusal;
use super::repository::Repository;
use super::settings::Settings;

/// The repository, as a user writes it.
fn source(repository: &Repository<'_>) -> String {
    let at = if repository.revision == "main" { String::new() } else { format!("@{}", repository.revision) };
    format!("hf-hub:{}{at}", repository.name)
}

/// Ways to a file without a network.
fn without_network(settings: &Settings, repository: &Repository<'_>, names: &[&str]) -> String {
    let folder = repository.folder.file_name().unwrap_or_default().to_string_lossy();
    format!(
        "To work without a network, fetch {} on a machine that has one, put it into a folder and write `local-dir:FOLDER` instead of \
         `hf-hub:…`; or copy `{folder}` from that machine's cache to `{}`",
        names.first().map_or_else(String::new, |name| repository.url(repository.revision, name)),
        settings.root.display()
    )
}

/// The network may not be asked.
pub(super) fn offline(settings: &Settings, repository: &Repository<'_>, names: &[&str]) -> String {
    format!(
        "`{}` is not in the cache: no {} below `{}`, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE keeps from fetching it. {}",
        source(repository),
        names.join(" nor "),
        repository.snapshot().display(),
        without_network(settings, repository, names)
    )
}

/// The repository has none of the files.
pub(super) fn none(repository: &Repository<'_>, names: &[&str]) -> String {
    format!("the repository `{}` has no {}", source(repository), names.join(" nor "))
}

/// The hub or the disk refused.
pub(super) fn refused(settings: &Settings, repository: &Repository<'_>, names: &[&str], why: &Refusal) -> String {
    let source = source(repository);
    let page = format!("{}/{}", settings.endpoint, repository.name);
    match why {
        Refusal::Status { code, .. } if code == "RevisionNotFound" => {
            format!(
                "the repository `hf-hub:{}` has no revision `{}`; its branches and tags are on {page}",
                repository.name, repository.revision
            )
        }
        Refusal::Status { status: 401 | 403, .. } if settings.token.is_some() => format!(
            "`{source}` is not open to your token ({why}): accept its conditions on {page} with the account of the token, and check \
             that the token may read it"
        ),
        Refusal::Status { status: 401 | 403, .. } => format!(
            "`{source}` is gated or private, or there is no repository of this name ({why}). Check the name; then accept its conditions on \
             {page}, make a token on {}/settings/tokens, and give it in HF_TOKEN or in the file `{}`",
            settings.endpoint,
            settings.token_path.display()
        ),
        Refusal::Status { status: 404, .. } => format!("there is no repository `{source}` ({why}); check the name on {page}"),
        Refusal::Status { .. } | Refusal::Network(_) => format!(
            "`{source}` is not in the cache and cannot be fetched from {}: {why}. {}",
            settings.endpoint,
            without_network(settings, repository, names)
        ),
        Refusal::Other(why) => format!("`{source}`: {why}"),
    }
}
