//! Weights by address, in the folder that OpenAI's and open_clip's programs share.

use std::path::{Path, PathBuf};

use super::download::{Lock, WantedFile, download, on_disk, sha256};
use super::http::{Client, Refusal};
use super::names;
use super::settings::Settings;

/// The first digits of the file's SHA-256, which addresses of OpenAI's have before the name and open_clip's releases at its end.
fn digits(url: &str) -> Option<&str> {
    let (folder, name) = url.rsplit_once('/')?;
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let digits = match url {
        _ if url.contains("openaipublic") => folder.rsplit('/').next(),
        _ if url.contains("mlfoundations") => stem.rsplit_once('-').map(|(_, digits)| digits),
        _ => None,
    };
    digits.filter(|digits| digits.len() >= 8 && digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)))
}

/// The file of an address, fetched if it is not there.
///
/// # Errors
/// Where it was looked for, why it could not be fetched, and what to do.
pub(super) fn file(settings: &Settings, url: &str) -> Result<PathBuf, String> {
    let name = url.rsplit('/').next().unwrap_or_default();
    if names::file(name).is_err() || name.starts_with('.') || name.contains(['?', '#']) || name.ends_with(".incomplete") {
        return Err(format!("`{url}` does not end in the name of a file"));
    }
    let path = settings.clip.join(name);
    let expected = digits(url);
    match (sound(&path, expected), settings.offline) {
        (Ok(true), _) => return Ok(path),
        (Ok(false), true) if path.is_file() => {
            return Err(format!(
                "`{}` is not the file of {url}: its SHA-256 does not begin with {}, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE keeps from \
                 fetching it again. Replace it by the right one",
                path.display(),
                expected.unwrap_or_default()
            ));
        }
        (Ok(false), true) => {
            return Err(format!(
                "there is no `{}`, and HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE keeps from fetching it. Fetch {url} on a machine with a \
                 network, and put it there",
                path.display()
            ));
        }
        (Ok(false), false) => {}
        (Err(why), _) => return Err(why.to_string()),
    }
    fetch(settings, url, &path, expected).map_err(|why| match why {
        Refusal::Other(why) => why,
        why => format!(
            "there is no `{}`, and {url} cannot be fetched: {why}. To work without a network, fetch it on a machine that has one, and put \
             it there",
            path.display()
        ),
    })?;
    Ok(path)
}

/// Whether the file is there and is the right one.
fn sound(path: &Path, expected: Option<&str>) -> Result<bool, Refusal> {
    match (path.is_file(), expected) {
        (false, _) if path.exists() => Err(Refusal::Other(format!("`{}` is not a file", path.display()))),
        (there, None) => Ok(there),
        (false, _) => Ok(false),
        (true, Some(expected)) => Ok(sha256(path)?.starts_with(expected)),
    }
}

fn fetch(settings: &Settings, url: &str, path: &Path, expected: Option<&str>) -> Result<(), Refusal> {
    let client = Client::new(settings)?;
    std::fs::create_dir_all(&settings.clip).map_err(|error| on_disk(&settings.clip, &error))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let lock = Lock::wait(settings.clip.join(".locks").join(format!("{name}.lock")))?;
    // Another process may have been here meanwhile.
    if sound(path, expected)? {
        return Ok(());
    }
    if path.is_file() {
        tracing::warn!("`{}` is not the file of {url}: its SHA-256 is another. Fetching it again", path.display());
    }
    let (partial, shared) = lock.partial(path);
    // Without a hash nobody could tell a file that changed between two beginnings.
    let resume = shared && expected.is_some();
    download(&client, &WantedFile { url, to: path, partial: &partial, size: None, sha256: expected, resume, pause: settings.pause })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_name_the_hash_of_their_file() {
        let openai =
            "https://openaipublic.example/clip/models/40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af/ViT-B-32.pt";
        assert_eq!(digits(openai), Some("40d365715913c9da98579312b702a82c18be219cc2a73407c4526f58eba950af"));
        let release = "https://releases.example/mlfoundations/open_clip/v0.2/vit_b_32-laion2b_e16-af8dbd0c.pth";
        assert_eq!(digits(release), Some("af8dbd0c"));
        assert_eq!(digits("https://releases.example/mlfoundations/open_clip/v0.2/vit-large.pth"), None);
        assert_eq!(digits("https://other.example/metaclip/b32_400m.pt"), None);
    }
}
