//! A hub of loopback servers: what is fetched, asked, kept and refused.

mod addresses;
mod fetching;
mod reading;
mod refusing;
mod server;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::Cache;
use super::settings::{Settings, Token};
use server::{Reply, Request, Server};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const REPOSITORY: &str = "org/model";

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn settings(root: &Path, endpoint: &str) -> Settings {
    Settings {
        root: root.join("hub"),
        clip: root.join("clip"),
        endpoint: endpoint.to_owned(),
        token: None,
        token_path: root.join("token"),
        offline: false,
        certificates: None,
        timeout: Duration::from_secs(5),
        pause: Duration::from_millis(1),
    }
}

fn cache(root: &Path, hub: &Server) -> Cache {
    Cache::of(settings(root, &hub.address))
}

fn offline(root: &Path, hub: &Server) -> Cache {
    Cache::of(Settings { offline: true, ..settings(root, &hub.address) })
}

/// A file of the hub, as the hub describes it.
fn described(status: u16, bytes: &[u8]) -> Reply {
    let etag = format!("\"{}\"", sha256(bytes));
    Reply::status(status).with("x-repo-commit", COMMIT).with("x-linked-etag", etag).with("x-linked-size", bytes.len().to_string())
}

/// A small file, as the hub sends it.
fn small(request: &Request, bytes: &[u8]) -> Reply {
    let blob = format!("\"{}\"", &sha256(bytes)[..40]);
    Reply::body(request, bytes).with("x-repo-commit", COMMIT).with("etag", blob)
}

fn no_entry() -> Reply {
    Reply::status(404).with("x-error-code", "EntryNotFound").with("x-repo-commit", COMMIT)
}

/// The part of a path after `/resolve/`.
fn asked_for(request: &Request) -> (&str, &str) {
    request.path.split_once("/resolve/").and_then(|(_, rest)| rest.split_once('/')).unwrap_or_default()
}

/// A hub with one repository of small files.
fn hub(files: &[(&str, &str)]) -> Server {
    let files: BTreeMap<String, Vec<u8>> = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
    Server::start(move |request| {
        assert!(request.path.starts_with(&format!("/{REPOSITORY}/")), "{}", request.path);
        let (revision, file) = asked_for(request);
        if !["main", "v1.0", "refs%2Fpr%2F3", COMMIT].contains(&revision) {
            return Reply::status(404).with("x-error-code", "RevisionNotFound");
        }
        files.get(file).map_or_else(no_entry, |bytes| small(request, bytes))
    })
}

/// Every file below a folder, by its relative path.
fn tree(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, below: &str, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{below}{}", entry.file_name().to_string_lossy());
            if entry.file_type().unwrap().is_dir() {
                walk(&entry.path(), &format!("{name}/"), found);
            } else {
                found.push(name);
            }
        }
    }
    let mut found = Vec::new();
    walk(folder, "", &mut found);
    found.sort();
    found
}
