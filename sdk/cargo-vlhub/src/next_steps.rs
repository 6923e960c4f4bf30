//! What the quick start says at its end: where the report is, how to open it, and three things to try next.

use std::path::{Path, PathBuf};

/// The text; `tests/it/first_minutes.rs` runs its commands.
const TEXT: &str = include_str!("../template/next_steps.txt.in");
/// The run's name, unless it is taken or the user gives one.
const NAME: &str = "quickstart";

/// The run that the quick start makes.
#[derive(Debug, PartialEq, Eq)]
pub struct Run {
    /// Its name.
    pub name: String,
    /// The folder of runs, as the user or the run file wrote it.
    pub logs: String,
    /// Whether the user's own arguments name it.
    pub named: bool,
}

impl Run {
    /// The run that `vlhub train`, called in folder `root` with the arguments `rest`, is to make: its name is the user's, or the first of
    /// `quickstart`, `quickstart-2`, … that no run has.
    pub fn of(root: &Path, rest: &[String]) -> Self {
        let given = |key: &str| {
            let value = rest.iter().rev().find_map(|argument| argument.strip_prefix(key)?.strip_prefix('='));
            value.map(|text| text.trim().trim_matches(['"', '\'']).to_owned())
        };
        let logs = given("logs").unwrap_or_else(|| "logs".into());
        if let Some(name) = given("name") {
            return Self { name, logs, named: true };
        }
        let taken = |name: &String| root.join(&logs).join(name).exists();
        let names = std::iter::once(NAME.to_owned()).chain((2..).map(|number| format!("{NAME}-{number}")));
        let name = names.into_iter().find(|name| !taken(name)).unwrap_or_else(|| NAME.into());
        Self { name, logs, named: false }
    }

    fn folder(&self) -> PathBuf {
        Path::new(&self.logs).join(&self.name)
    }

    /// The closing words, for a program and a run file as they are called in `root`. Nothing when the run has no report, for instance after
    /// `--dry-run`.
    pub fn next_steps(&self, root: &Path, program: &Path, file: &str) -> Option<String> {
        let report = root.join(self.folder()).join("report.html");
        report.exists().then(|| {
            let values = [
                ("@run@", shell(&self.folder())),
                ("@url@", url(&report)),
                ("@root@", root.display().to_string()),
                ("@vlhub@", shell(program)),
                ("@file@", file.to_owned()),
                ("@name@", self.name.clone()),
                ("@logs@", shell(Path::new(&self.logs))),
            ];
            values.iter().fold(TEXT.to_owned(), |text, (key, value)| text.replace(key, value))
        })
    }
}

/// A path as a shell reads it back.
fn shell(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |letter: char| letter.is_alphanumeric() || "/._-+:@%,=".contains(letter);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// The `file://` address of a file.
fn url(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let full = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let encoded = full.as_os_str().as_bytes().iter().map(|byte| {
        let plain = byte.is_ascii_alphanumeric() || b"/-._~".contains(byte);
        if plain { char::from(*byte).to_string() } else { format!("%{byte:02X}") }
    });
    format!("file://{}", encoded.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_run_takes_the_first_free_name_or_the_users() {
        let root = tempfile::tempdir().expect("a folder");
        let name = |rest: &[&str]| Run::of(root.path(), &rest.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>()).name;
        assert_eq!(name(&[]), "quickstart");
        fs::create_dir_all(root.path().join("logs/quickstart")).expect("a folder");
        fs::create_dir_all(root.path().join("logs/quickstart-2")).expect("a folder");
        assert_eq!(name(&["train.steps=20"]), "quickstart-3");
        assert_eq!(name(&["logs=elsewhere"]), "quickstart", "another folder has none of them");
        assert_eq!(name(&["name=first", "name=\"mine\""]), "mine", "the last one counts, as for vlhub");
    }

    #[test]
    fn the_closing_words_are_filled_in_and_need_a_report() {
        let root = tempfile::tempdir().expect("a folder");
        let run = Run::of(root.path(), &["logs=my logs".to_owned()]);
        let words = |run: &Run| run.next_steps(root.path(), Path::new("target/debug/vlhub"), "examples/configs/quickstart.toml");
        assert_eq!(words(&run), None, "there is no report yet");
        fs::create_dir_all(root.path().join("my logs/quickstart")).expect("a folder");
        fs::write(root.path().join("my logs/quickstart/report.html"), "").expect("a file");
        let words = words(&run).expect("there is one now");
        for part in [
            "xdg-open 'my logs/quickstart'/report.html",
            "my%20logs/quickstart/report.html",
            "file:///",
            "--checkpoint 'my logs/quickstart' ",
            "compare 'my logs/quickstart' 'my logs'/quickstart-siglip --out 'my logs'/compare.html",
            "target/debug/vlhub plugins list objective",
        ] {
            assert!(words.contains(part), "{part} is not in {words}");
        }
        assert!(!words.contains('@'), "{words}");
    }

    #[test]
    fn a_path_is_quoted_for_a_shell_where_it_must_be() {
        for (path, quoted) in [("logs/a-1", "logs/a-1"), ("my logs", "'my logs'"), ("it's", r"'it'\''s'")] {
            assert_eq!(shell(Path::new(path)), quoted);
        }
    }
}
