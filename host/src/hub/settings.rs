//! What the environment says about published files: the one place that reads it.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the public hub is asked.
const ENDPOINT: &str = "https://huggingface.co";

/// A secret that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(pub(super) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Folders, addresses and rules for published files.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Repositories of the hub, as Python's `huggingface_hub` keeps them.
    pub root: PathBuf,
    /// Files of addresses, as OpenAI's and open_clip's programs keep them.
    pub clip: PathBuf,
    /// The hub, without a slash at the end.
    pub endpoint: String,
    /// Shown to the hub, and to it alone.
    pub token: Option<Token>,
    /// Where a token is looked for when no variable holds one.
    pub token_path: PathBuf,
    /// The network is not asked.
    pub offline: bool,
    /// Certificates that are believed instead of the ones that the program ships, in PEM.
    pub certificates: Option<PathBuf>,
    /// How long a connection may be silent.
    pub timeout: Duration,
    /// How long to wait before a request is repeated.
    pub pause: Duration,
}

impl Settings {
    pub(crate) fn of_environment() -> Self {
        Self::of(&|name| std::env::var_os(name))
    }

    /// What other web servers than the hub are asked with: no token, and their own patience.
    pub(crate) fn elsewhere(timeout: Duration) -> Self {
        Self { token: None, timeout, ..Self::of_environment() }
    }

    /// Reads variables with the meaning and the precedence that `huggingface_hub` gives them. An empty variable is none.
    pub(super) fn of(variable: &dyn Fn(&str) -> Option<OsString>) -> Self {
        let value = |name: &str| variable(name).filter(|value| !value.is_empty());
        let words = |name: &str| value(name).map(|value| value.to_string_lossy().into_owned());
        let home = value("HOME").map(PathBuf::from).unwrap_or_default();
        let folder = |name: &str| {
            let path = PathBuf::from(value(name)?);
            Some(path.strip_prefix("~").map(|rest| home.join(rest)).unwrap_or(path))
        };
        let hub = folder("HF_HOME").unwrap_or_else(|| folder("XDG_CACHE_HOME").unwrap_or_else(|| home.join(".cache")).join("huggingface"));
        let token_path = folder("HF_TOKEN_PATH").unwrap_or_else(|| hub.join("token"));
        let token = match words("HF_HUB_DISABLE_IMPLICIT_TOKEN").is_some_and(|word| yes(&word)) {
            true => None,
            false => words("HF_TOKEN").or_else(|| words("HUGGING_FACE_HUB_TOKEN")).or_else(|| read(&token_path)),
        };
        Self {
            root: folder("HF_HUB_CACHE").or_else(|| folder("HUGGINGFACE_HUB_CACHE")).unwrap_or_else(|| hub.join("hub")),
            clip: home.join(".cache/clip"),
            endpoint: words("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()).trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()).map(Token),
            token_path,
            // The first that is set decides, so `HF_HUB_OFFLINE=0` overrules the other.
            offline: words("HF_HUB_OFFLINE").or_else(|| words("TRANSFORMERS_OFFLINE")).is_some_and(|word| yes(&word)),
            certificates: ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"].iter().find_map(|name| folder(name)),
            timeout: Duration::from_secs(
                words("HF_HUB_DOWNLOAD_TIMEOUT").and_then(|word| word.parse().ok()).filter(|&it| it > 0).unwrap_or(10),
            ),
            pause: Duration::from_secs(1),
        }
    }
}

fn yes(word: &str) -> bool {
    ["1", "ON", "YES", "TRUE"].contains(&word.to_uppercase().as_str())
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}
