//! What a name in a run file may be: a path, an address or a command.

use std::path::{Path, PathBuf};

use vlhub_core::{Error, Result};

use super::stores::PIPE;

/// Letters of a command that are shown.
const SHOWN: usize = 80;

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DataPlace {
    /// On this machine.
    Path(PathBuf),
    /// In a store.
    Stored {
        /// The store.
        scheme: String,
        /// The whole address, with the scheme.
        address: String,
    },
}

impl DataPlace {
    /// Relative paths start at `folder`.
    pub fn parse(text: &str, folder: &Path) -> Self {
        if text.starts_with("pipe:") {
            return Self::Stored { scheme: PIPE.to_owned(), address: text.to_owned() };
        }
        if let Some(path) = text.strip_prefix("file://").or(text.strip_prefix("file:")) {
            return Self::Path(folder.join(path));
        }
        let is_scheme =
            |scheme: &str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._".contains(&byte));
        match text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
            None => Self::Path(folder.join(text)),
            Some((scheme, rest)) => {
                let scheme = scheme.to_ascii_lowercase();
                Self::Stored { address: format!("{scheme}://{rest}"), scheme }
            }
        }
    }

    /// For messages and lists: without what signs an address, and without a password.
    pub fn shown(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Stored { scheme, address } => shown(scheme, address),
        }
    }

    /// The last part, for people.
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) => path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned()),
            Self::Stored { scheme, address } if scheme == PIPE => shown(scheme, address),
            Self::Stored { scheme, address } => {
                shown(scheme, address).rsplit('/').find(|part| !part.is_empty()).unwrap_or(address).to_owned()
            }
        }
    }
}

fn shown(scheme: &str, address: &str) -> String {
    if scheme == PIPE {
        let mut text: String = address.chars().take(SHOWN).map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
        if text.len() < address.len() {
            text.push('…');
        }
        return text;
    }
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit_once('@').filter(|_| scheme.starts_with("http")).map_or(host, |(_, host)| host);
    let mut text = format!("{scheme}://{host}");
    if let Some(path) = path {
        let end = if scheme.starts_with("http") { path.find(['?', '#']).unwrap_or(path.len()) } else { path.len() };
        text = format!("{text}/{}", &path[..end]);
    }
    text
}

/// Whether an address fits a pattern in which `*` is anything but `/`, and what all that fit begin with.
pub(super) fn star(pattern: &str) -> Result<(impl Fn(&str) -> bool, String)> {
    let escaped: Vec<String> = pattern.split('*').map(glob::Pattern::escape).collect();
    let fits = glob::Pattern::new(&escaped.join("*")).map_err(|error| Error::invalid(format!("pattern `{pattern}`: {error}")))?;
    let how = glob::MatchOptions { require_literal_separator: true, ..glob::MatchOptions::new() };
    let prefix = pattern.split('*').next().unwrap_or_default().to_owned();
    Ok((move |name: &str| fits.matches_with(name, how), prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_told_apart_and_shown_without_secrets() {
        let folder = Path::new("/run");
        for (text, shown, name) in [
            ("a/b.tar", "/run/a/b.tar", "b.tar"),
            ("/c.tar", "/c.tar", "c.tar"),
            ("file:///d/e.tar", "/d/e.tar", "e.tar"),
            ("file:f.tar", "/run/f.tar", "f.tar"),
            ("s3://bucket/a?b/c.tar", "s3://bucket/a?b/c.tar", "c.tar"),
            ("HTTPS://me:secret@h.test:8/a/b.tar?X-Signature=secret#x", "https://h.test:8/a/b.tar", "b.tar"),
            ("http://h.test", "http://h.test", "h.test"),
            ("pipe:cat x/y.tar", "pipe:cat x/y.tar", "pipe:cat x/y.tar"),
            // No scheme has a slash.
            ("a/b://c", "/run/a/b://c", "c"),
        ] {
            let place = DataPlace::parse(text, folder);
            assert_eq!((place.shown().as_str(), place.name().as_str()), (shown, name), "{text}");
        }
        assert_eq!(DataPlace::parse("S3://B/k", folder), DataPlace::Stored { scheme: "s3".into(), address: "s3://B/k".into() });
    }

    #[test]
    fn a_star_stays_within_a_folder() {
        let (fits, prefix) = star("s3://b/x[1]/part-*.tar").expect("a pattern");
        assert_eq!(prefix, "s3://b/x[1]/part-");
        assert!(fits("s3://b/x[1]/part-7.tar") && !fits("s3://b/x[1]/part-7/8.tar") && !fits("s3://b/x1/part-7.tar"));
    }
}
