//! Names that come from run files, from servers and from files, before they become paths and addresses.

/// A part of a path that leads nowhere else.
fn plain(part: &str) -> bool {
    !part.is_empty() && part != "." && part != ".." && part.len() <= 255
}

/// `NAME` or `ORGANISATION/NAME`, by the rules of the hub.
///
/// # Errors
/// The rule that is broken.
pub(super) fn repository(name: &str) -> Result<(), String> {
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
    let word = |part: &str| {
        let bytes = part.as_bytes();
        let every = bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte));
        every && bytes.len() <= 96 && ends(bytes.first()) && ends(bytes.last())
    };
    let shaped = name.split('/').count() <= 2 && name.split('/').all(word);
    match shaped && !name.contains("--") && !name.contains("..") && !name.ends_with(".git") {
        true => Ok(()),
        false => Err(format!(
            "`{name}` is not the name of a repository: expected ORGANISATION/NAME, of letters, digits and single `-`, `_`, `.`; \
             as in `hf-hub:laion/CLIP-ViT-B-32-laion2B-s34B-b79K`"
        )),
    }
}

/// A branch, a tag, a commit or a reference such as `refs/pr/3`.
///
/// # Errors
/// The revision.
pub(super) fn revision(name: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.+/".contains(&byte);
    match name.bytes().all(known) && name.split('/').all(plain) {
        true => Ok(()),
        false => {
            Err(format!("`{name}` is not a revision: expected a branch, a tag or a commit, of letters, digits, `-`, `_`, `.`, `+` and `/`"))
        }
    }
}

/// A file of a repository: a relative path that stays inside.
///
/// # Errors
/// The name.
pub(super) fn file(name: &str) -> Result<(), String> {
    match name.split('/').all(plain) && !name.contains('\\') && !name.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(format!("{name:?} is not the name of a file in a repository")),
    }
}

/// Whether a file may lie beside an index that names it.
pub(super) fn beside(name: &str) -> bool {
    file(name).is_ok() && !name.contains('/') && !name.starts_with('.') && !name.ends_with(".json")
}

/// Whether this is a whole commit.
pub(super) fn commit(name: &str) -> bool {
    name.len() == 40 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether this is a SHA-256 in hexadecimal digits.
pub(super) fn sha256(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

/// The name that an `ETag` header gives a blob; `None` where it is no name.
pub(super) fn blob(header: &str) -> Option<&str> {
    let name = header.trim().trim_start_matches("W/").trim_matches('"');
    let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (plain(name) && name.len() <= 128 && !name.starts_with('.') && name.bytes().all(known)).then_some(name)
}

/// Writes a path as part of an address; slashes stay where `keep` says so.
pub(super) fn quoted(path: &str, keep: bool) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut text, byte| {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) || (keep && byte == b'/') {
            true => text.push(char::from(byte)),
            false => text.push_str(&format!("%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repositories_are_named_by_the_rules_of_the_hub() {
        for name in ["gpt2", "laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "timm/vit_base.v2", "Foo-BAR_foo/bar123", "a/_b_"] {
            assert!(repository(name).is_ok(), "{name}");
        }
        let long = "a".repeat(97);
        for name in [
            "", "/", "a/", "/a", "a/b/c", "..", "a/..", "../a", "a/b--c", "a/.b", "-a/b", "a/b.git", "a b/c", "a/b?x", "a\\b/c", "é/a",
            "a/b#c", "a/b\n", &long,
        ] {
            assert!(repository(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for name in ["main", "v1.0", "refs/pr/3", "1a5f3c"] {
            assert!(revision(name).is_ok(), "{name}");
        }
        for name in ["", "..", "a/../b", "/main", "main/", "a//b", "a b", "a\0"] {
            assert!(revision(name).is_err(), "{name:?}");
        }
        for name in ["a.bin", "sub/a b.json", "1_Pooling/config.json"] {
            assert!(file(name).is_ok(), "{name}");
        }
        for name in ["", ".", "../a", "/etc/passwd", "a/../../b", "a\\..\\b", "a//b", "a\0b", "a\nb"] {
            assert!(file(name).is_err(), "{name:?}");
        }
        assert!(beside("model-00001-of-00002.safetensors"));
        for name in ["sub/a.bin", "../a.bin", ".a", "a.json", ""] {
            assert!(!beside(name), "{name}");
        }
    }

    #[test]
    fn etags_become_names() {
        assert_eq!(blob("\"abc\""), Some("abc"));
        assert_eq!(blob("W/\"ab-12\""), Some("ab-12"));
        for header in ["", "\"\"", "\"../a\"", "\"a/b\"", "\"..\"", "\".a\"", "a b"] {
            assert_eq!(blob(header), None, "{header}");
        }
        assert_eq!(quoted("refs/pr/3", false), "refs%2Fpr%2F3");
        assert_eq!(quoted("a b/c+.json", true), "a%20b/c%2B.json");
    }
}
