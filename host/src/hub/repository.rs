//! One repository in the cache: `models--ORGANISATION--NAME/{refs,blobs,snapshots,.no_exist}`, read and written as Python does.

use std::path::{Path, PathBuf};

use super::download::{Lock, WantedFile, download, on_disk, unique};
use super::http::{Client, Refusal, header};
use super::names;
use super::settings::Settings;

/// A repository at a revision.
#[derive(Debug)]
pub(super) struct Repository<'a> {
    settings: &'a Settings,
    pub name: &'a str,
    pub revision: &'a str,
    pub folder: PathBuf,
}

/// What the hub says of a file.
#[derive(Debug)]
struct Entry {
    commit: String,
    blob: String,
    size: Option<u64>,
}

impl<'a> Repository<'a> {
    /// # Errors
    /// A name that is none.
    pub(super) fn new(settings: &'a Settings, name: &'a str, revision: &'a str) -> Result<Self, String> {
        names::repository(name)?;
        names::revision(revision)?;
        let folder = settings.root.join(format!("models--{}", name.replace('/', "--")));
        Ok(Self { settings, name, revision, folder })
    }

    /// The commit that the cache has for the revision; a revision without a reference is a commit.
    pub(super) fn commit(&self) -> String {
        let known = std::fs::read_to_string(self.folder.join("refs").join(self.revision)).unwrap_or_default();
        let known = known.trim();
        if names::revision(known).is_ok() && !known.contains('/') { known.to_owned() } else { self.revision.to_owned() }
    }

    /// Where the files of the revision are.
    pub(super) fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(self.commit())
    }

    /// A file that the cache holds.
    pub(super) fn cached(&self, file: &str) -> Option<PathBuf> {
        Some(self.snapshot().join(file)).filter(|path| path.is_file())
    }

    /// Whether the cache knows that the repository has no such file.
    pub(super) fn absent(&self, file: &str) -> bool {
        self.folder.join(".no_exist").join(self.commit()).join(file).is_file()
    }

    /// The address of a file.
    pub(super) fn url(&self, revision: &str, file: &str) -> String {
        format!("{}/{}/resolve/{}/{}", self.settings.endpoint, self.name, names::quoted(revision, false), names::quoted(file, true))
    }

    /// Brings a file into the cache; `None` if the repository has no such file.
    ///
    /// # Errors
    /// What the hub or the disk refused.
    pub(super) fn fetch(&self, client: &Client, file: &str) -> Result<Option<PathBuf>, Refusal> {
        // A commit that the cache knows is kept to, so that all files are of one commit; unless the hub has lost it.
        let known = self.commit();
        let lost = |refusal: &Refusal| matches!(refusal, Refusal::Status { code, .. } if code == "RevisionNotFound");
        let entry = match self.entry(client, &known, file) {
            Err(refusal) if known != self.revision && lost(&refusal) => self.entry(client, self.revision, file)?,
            other => other?,
        };
        let Some(entry) = entry else { return Ok(None) };
        let blob = self.folder.join("blobs").join(&entry.blob);
        let link = self.folder.join("snapshots").join(&entry.commit).join(file);
        let whole = |path: &Path| path.metadata().is_ok_and(|it| it.is_file() && entry.size.is_none_or(|size| size == it.len()));
        if whole(&link) {
            // Nothing is needed from a cache that cannot be written.
            if let Err(why) = self.refer(&entry.commit) {
                tracing::debug!("{why}");
            }
            return Ok(Some(link));
        }
        for path in [&blob, &link] {
            std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(|error| on_disk(path, &error))?;
        }
        let folder = self.folder.file_name().unwrap_or_default();
        let lock = Lock::wait(self.settings.root.join(".locks").join(folder).join(format!("{}.lock", entry.blob)))?;
        if !whole(&blob) && !whole(&link) {
            let (partial, resume) = lock.partial(&blob);
            let url = self.url(&entry.commit, file);
            let sha256 = names::sha256(&entry.blob).then_some(entry.blob.as_str());
            let pause = self.settings.pause;
            download(client, &WantedFile { url: &url, to: &blob, partial: &partial, size: entry.size, sha256, resume, pause })?;
        }
        if !whole(&link) {
            let up = "../".repeat(2 + file.matches('/').count());
            self.link(&blob, &format!("{up}blobs/{}", entry.blob), &link)?;
        }
        drop(lock);
        self.refer(&entry.commit)?;
        Ok(Some(link))
    }

    /// Asks the hub; `None` if there is no such file, which the cache remembers.
    fn entry(&self, client: &Client, revision: &str, file: &str) -> Result<Option<Entry>, Refusal> {
        let url = self.url(revision, file);
        let mut tries = 0;
        let answer = loop {
            match client.head(&url) {
                // A server that is busy is asked again; one that cannot be reached is not waited for.
                Err(refusal @ Refusal::Status { .. }) if refusal.passes() && tries < 2 => {
                    tries += 1;
                    std::thread::sleep(self.settings.pause * tries);
                }
                other => break other,
            }
        };
        let answer = match answer {
            Err(Refusal::Status { status: 404, code, commit, .. }) if code == "EntryNotFound" || code.is_empty() => {
                self.remember_absent(&commit, file);
                return Ok(None);
            }
            other => other?,
        };
        let headers = answer.headers();
        let foreign = |what: &str| {
            Refusal::Other(format!("{url} answered without {what}, so this is no hub; check HF_ENDPOINT, and the proxy if there is one"))
        };
        let commit = header(headers, "x-repo-commit").filter(|commit| names::commit(commit)).ok_or_else(|| foreign("X-Repo-Commit"))?;
        let tag = header(headers, "x-linked-etag").or_else(|| header(headers, "etag"));
        let blob = tag.and_then(names::blob).ok_or_else(|| foreign("an ETag"))?;
        let length = if answer.status().is_redirection() { None } else { header(headers, "content-length") };
        let size = header(headers, "x-linked-size").or(length).and_then(|size| size.parse().ok());
        Ok(Some(Entry { commit: commit.to_owned(), blob: blob.to_owned(), size }))
    }

    /// Notes that a commit has no such file. Where that cannot be written, the hub is asked again next time.
    fn remember_absent(&self, commit: &str, file: &str) {
        if names::commit(commit) {
            let path = self.folder.join(".no_exist").join(commit).join(file);
            let noted = std::fs::create_dir_all(path.parent().unwrap_or(&path)).and_then(|()| std::fs::write(&path, ""));
            if let Err(error) = noted {
                tracing::debug!("`{}`: {error}", path.display());
            }
        }
    }

    /// Makes the file of a snapshot: a link into the blobs, or the blob itself where a file system has no links.
    fn link(&self, blob: &Path, target: &str, link: &Path) -> Result<(), Refusal> {
        let fresh = blob.with_extension(unique());
        let made = std::os::unix::fs::symlink(target, &fresh).and_then(|()| std::fs::rename(&fresh, link));
        made.or_else(|_| std::fs::rename(blob, link)).map_err(|error| on_disk(link, &error))
    }

    /// Notes which commit the revision is, once a file of it is there.
    fn refer(&self, commit: &str) -> Result<(), Refusal> {
        if self.revision == commit || self.commit() == commit {
            return Ok(());
        }
        let path = self.folder.join("refs").join(self.revision);
        let fresh = path.with_file_name(format!("{}.{}.tmp", path.file_name().unwrap_or_default().to_string_lossy(), unique()));
        std::fs::create_dir_all(path.parent().unwrap_or(&path))
            .and_then(|()| std::fs::write(&fresh, commit))
            .and_then(|()| std::fs::rename(&fresh, &path))
            .map_err(|error| on_disk(&path, &error))
    }
}
