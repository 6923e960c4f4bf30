//! Pages for readers: where they point, there is something.

use std::path::{Path, PathBuf};

use crate::cargo::root;

/// Pages of the repository.
fn pages() -> Vec<PathBuf> {
    let mut folders = vec![root().to_path_buf()];
    let mut pages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() && !name.starts_with('.') && name != "target" && name != "logs" {
                folders.push(path);
            } else if name.ends_with(".md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// What stands between two marks.
fn between<'a>(text: &'a str, open: &'static str, close: &'static str) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split(close).next())
}

/// Whether words in code marks are a path from the root: `tests/peers/models.md`, and not `clip/logs` or `plugins/NAME`.
fn is_path(code: &str) -> bool {
    let rooms = ["core/", "sdk/", "host/", "plugins/", "tests/", "examples/", "findings/"];
    let plain = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || "/_.-".contains(letter);
    rooms.iter().any(|room| code.starts_with(room)) && Path::new(code).extension().is_some() && code.chars().all(plain)
}

#[test]
fn links_and_paths_lead_to_files() {
    let pages = pages();
    assert!(pages.len() >= 10, "{pages:?}");
    let mut wrong = Vec::new();
    for page in &pages {
        let text = std::fs::read_to_string(page).expect("a page");
        let folder = page.parent().expect("it has one");
        for link in
            between(&text, "](", ")").filter(|link| !link.contains("://") && !link.starts_with('#') && !link.contains(char::is_whitespace))
        {
            let file = link.split('#').next().unwrap_or(link);
            if !folder.join(file).exists() {
                wrong.push(format!("{}: ({link})", page.display()));
            }
        }
        for path in text.split('`').skip(1).step_by(2).filter(|code| is_path(code)) {
            // Some are files that every plugin crate has.
            if ![root(), folder, &root().join("plugins/clip")].iter().any(|folder| folder.join(path).exists()) {
                wrong.push(format!("{}: `{path}`", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
