//! One file from one address: taken up where it was cut, checked, and moved into its place whole.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sha2::{Digest, Sha256};

use super::http::{Client, Refusal, header};

/// Requests in a row that bring nothing before it is given up.
const TRIES: u32 = 5;
/// Bytes of a file that is worth a bar.
const LARGE: u64 = 10 << 20;

/// A file to bring.
#[derive(Debug)]
pub(super) struct WantedFile<'a> {
    /// Its address.
    pub url: &'a str,
    /// Where it goes.
    pub to: &'a Path,
    /// Where it is written meanwhile; in the same folder.
    pub partial: &'a Path,
    /// Its length, where that is known.
    pub size: Option<u64>,
    /// The first digits of its SHA-256, where they are known.
    pub sha256: Option<&'a str>,
    /// Whether what `partial` holds is a beginning of this very file.
    pub resume: bool,
    /// The wait before a request is repeated.
    pub pause: Duration,
}

/// Brings a file. What was cut stays for the next time; what is wrong does not.
///
/// # Errors
/// What the server or the disk refused, or how the file differs from what was announced.
pub(super) fn download(client: &Client, wanted: &WantedFile<'_>) -> Result<(), Refusal> {
    let disk = |error: std::io::Error| on_disk(wanted.partial, &error);
    let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(!wanted.resume).open(wanted.partial).map_err(disk)?;
    let mut have = file.metadata().map_err(disk)?.len();
    if wanted.size.is_some_and(|size| have > size) {
        have = 0;
        file.set_len(0).map_err(disk)?;
    }
    let size = fill(client, wanted, &mut file, have)?;
    file.sync_all().map_err(disk)?;
    let have = file.metadata().map_err(disk)?.len();
    let wrong = match (size, wanted.sha256) {
        (Some(size), _) if size != have => Some(format!("{have} bytes instead of {size}")),
        (_, Some(expected)) => {
            let found = sha256(wanted.partial)?;
            (!found.starts_with(expected)).then(|| format!("SHA-256 {found} instead of {expected}"))
        }
        _ => None,
    };
    if let Some(wrong) = wrong {
        std::fs::remove_file(wanted.partial).map_err(disk)?;
        return Err(Refusal::Other(format!(
            "{} came with {wrong}; nothing of it was kept. Run this again, or fetch the file by other means",
            wanted.url
        )));
    }
    std::fs::rename(wanted.partial, wanted.to).map_err(|error| on_disk(wanted.to, &error))
}

/// Writes the rest of the file, in as many requests as it takes. Returns the length that the file should have, where anyone says it.
fn fill(client: &Client, wanted: &WantedFile<'_>, file: &mut File, mut have: u64) -> Result<Option<u64>, Refusal> {
    let mut size = wanted.size;
    let mut tries = 0;
    let bar = bar(wanted, size);
    while size.is_none_or(|size| have < size) {
        let before = have;
        match part(client, wanted, file, &mut have, &mut size, &bar) {
            Ok(()) => break,
            Err(refusal) if refusal.passes() => {
                tries = if have > before { 1 } else { tries + 1 };
                if tries >= TRIES {
                    return Err(refusal);
                }
                tracing::warn!("{}: {refusal}; going on at byte {have}", wanted.url);
                std::thread::sleep(wanted.pause * (1 << tries.min(4)) / 2);
            }
            Err(refusal) => return Err(refusal),
        }
    }
    bar.finish_and_clear();
    Ok(size)
}

/// One request's worth.
fn part(
    client: &Client,
    wanted: &WantedFile<'_>,
    file: &mut File,
    have: &mut u64,
    size: &mut Option<u64>,
    bar: &ProgressBar,
) -> Result<(), Refusal> {
    let disk = |error: std::io::Error| on_disk(wanted.partial, &error);
    let answer = match client.get(wanted.url, *have) {
        // The server has no such range: what is there is no beginning of the file.
        Err(Refusal::Status { status: 416, .. }) if *have > 0 => {
            file.set_len(0).map_err(disk)?;
            *have = 0;
            return Err(Refusal::Network("the server has no such range".into()));
        }
        other => other?,
    };
    // `Content-Range: bytes FROM-TO/TOTAL`
    let range = header(answer.headers(), "content-range").and_then(|range| range.strip_prefix("bytes ")?.split_once('-'));
    if answer.status() != 206 || range.and_then(|(from, _)| from.parse().ok()) != Some(*have) {
        if answer.status() == 206 {
            return Err(Refusal::Other(format!("{} sent another range than was asked for", wanted.url)));
        }
        file.set_len(0).map_err(disk)?;
        *have = 0;
    }
    let rest: Option<u64> = header(answer.headers(), "content-length").and_then(|length| length.parse().ok());
    let total = rest.map(|rest| *have + rest);
    match (*size, total) {
        (Some(size), Some(total)) if size != total => {
            return Err(Refusal::Other(format!("{} has {total} bytes where {size} were announced", wanted.url)));
        }
        (None, Some(total)) => {
            *size = Some(total);
            bar.set_length(total);
        }
        _ => {}
    }
    file.seek(SeekFrom::Start(*have)).map_err(disk)?;
    bar.set_position(*have);
    let mut body = answer.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Refusal::Network(format!("the connection was cut: {error}"))),
        };
        if size.is_some_and(|size| *have + count as u64 > size) {
            return Err(Refusal::Other(format!("{} sends more bytes than were announced", wanted.url)));
        }
        file.write_all(&buffer[..count]).map_err(disk)?;
        *have += count as u64;
        bar.set_position(*have);
    }
    match *size {
        Some(size) if *have < size => Err(Refusal::Network(format!("the connection was cut after {have} of {size} bytes"))),
        _ => Ok(()),
    }
}

/// A bar on a terminal, a line elsewhere, nothing for small files.
fn bar(wanted: &WantedFile<'_>, size: Option<u64>) -> ProgressBar {
    if size.is_some_and(|size| size < LARGE) {
        return ProgressBar::hidden();
    }
    let terminal = std::io::stderr().is_terminal();
    if !terminal {
        let much = size.map_or_else(String::new, |size| format!(" ({} MB)", size / 1_000_000));
        tracing::info!("fetching {}{much}", wanted.url);
    }
    let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(size, target);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
    let bar = if let Ok(style) = style { bar.with_style(style) } else { bar };
    bar.with_message(wanted.url.rsplit('/').next().unwrap_or_default().to_owned())
}

/// The SHA-256 of a file in hexadecimal digits.
pub(super) fn sha256(path: &Path) -> Result<String, Refusal> {
    let mut hasher = Sha256::new();
    let copied = File::open(path).and_then(|mut file| std::io::copy(&mut file, &mut hasher));
    copied.map_err(|error| on_disk(path, &error))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

pub(super) fn on_disk(path: &Path, error: &std::io::Error) -> Refusal {
    Refusal::Other(format!("`{}`: {error}", path.display()))
}

/// Part of a file name that no other thread or process of this host has.
pub(super) fn unique() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Held by the process that brings a file; the others wait. Released when it is dropped.
#[derive(Debug)]
pub(super) struct Lock {
    file: Option<File>,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock; Python's `filelock` and this keep each other out.
    pub(super) fn wait(path: PathBuf) -> Result<Self, Refusal> {
        let failed = |error: std::io::Error| on_disk(&path, &error);
        std::fs::create_dir_all(path.parent().unwrap_or(&path)).map_err(failed)?;
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(failed)?;
        let locked = match file.try_lock() {
            Err(std::fs::TryLockError::WouldBlock) => {
                tracing::info!("waiting for another process that holds `{}`", path.display());
                file.lock()
            }
            Err(std::fs::TryLockError::Error(error)) => Err(error),
            Ok(()) => Ok(()),
        };
        match locked {
            Ok(()) => Ok(Self { file: Some(file), path }),
            // Some network file systems have no locks: then nobody shares an unfinished file.
            Err(error) if error.kind() == std::io::ErrorKind::Unsupported => Ok(Self { file: None, path }),
            Err(error) => Err(on_disk(&path, &error)),
        }
    }

    /// The name of an unfinished file, and whether it may have been begun before.
    pub(super) fn partial(&self, to: &Path) -> (PathBuf, bool) {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let shared = self.file.is_some();
        let own = if shared { String::new() } else { format!(".{}", unique()) };
        (to.with_file_name(format!("{name}{own}.incomplete")), shared)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do as well; the lock file itself stays, as Python's does.
        if let Some(Err(error)) = self.file.as_ref().map(File::unlock) {
            tracing::debug!("`{}`: {error}", self.path.display());
        }
    }
}
