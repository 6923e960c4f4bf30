//! Which crates and targets hold the tests that a name means, so that nothing else is built.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::paths::{Package, Project, Target};

/// What `cargo test` is to be called with.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// The crates.
    pub packages: BTreeSet<String>,
    /// The targets, as arguments: `--lib`, `--bins`, `--test=NAME`. None means all targets of the crates.
    pub targets: BTreeSet<String>,
    /// Of which one must be in the name of a test. None means all tests of the targets.
    pub filters: BTreeSet<String>,
}

/// The crate of the tests that run the program.
pub const WHOLE_PRODUCT: &str = "vlhub-tests";
/// Its one test program, as an argument of `cargo test`.
pub const WHOLE_PRODUCT_TARGET: &str = "--test=it";

/// Words with which the names of the laws of plugins begin: `objective::clip::partition`.
const KINDS: [&str; 7] = ["backbone", "objective", "augmentation", "caption", "eval", "source", "store"];

/// A file that has tests.
struct File<'a> {
    path: PathBuf,
    package: &'a str,
    target: String,
    /// The module that it is, as in the names of its tests: `data::brace`.
    module: String,
    /// The functions under `#[test]`.
    tests: Vec<String>,
}

/// Finds what `name` means. In this order: a crate (`clip`, `plugins/clip`, `vlhub-plugin-clip`), a file (`host/src/data/brace.rs`), a module of
/// the tests of the whole product (`cli` for `tests/it/cli.rs`), laws of a plugin (`objective::clip`), the exact name of a test, a part of
/// the full names of tests.
///
/// # Errors
/// Nothing has that name, or a source file cannot be read.
pub fn select(project: &Project, name: &str) -> Outcome<Selection> {
    let plain = name.trim_end_matches('/').trim_start_matches("./");
    if let Some(package) = project.packages.iter().find(|package| is_called(package, &project.root, plain)) {
        return Ok(Selection { packages: [package.name.clone()].into(), ..Selection::default() });
    }
    let mut files = Vec::new();
    for package in &project.packages {
        collect(package, package.folder(), &project.packages, &mut files)?;
    }
    // Names of functions, not of modules: a file may be a module of another name (`#[path]`).
    let of = |chosen: Vec<&File<'_>>, wanted: &dyn Fn(&File<'_>, &str) -> bool| {
        let tests = chosen.iter().flat_map(|file| file.tests.iter().filter(|test| wanted(file, test)));
        let tests: BTreeSet<String> = tests.cloned().collect();
        Selection {
            packages: chosen.iter().map(|file| file.package.to_owned()).collect(),
            targets: chosen.iter().map(|file| file.target.clone()).collect(),
            filters: if tests.iter().all(|test| test.contains(plain)) { [plain.to_owned()].into() } else { tests },
        }
    };
    if let Some(file) = files.iter().find(|file| file.path == project.root.join(plain)) {
        return Ok(of(vec![file], &|_, _| true));
    }
    let modules = files.iter().filter(|file| file.package == WHOLE_PRODUCT);
    if let Some(file) = modules.clone().find(|file| file.module == plain.trim_end_matches("::")) {
        return Ok(Selection { filters: [format!("{}::", file.module)].into(), ..of(vec![file], &|_, _| true) });
    }
    if let Some((kind, rest)) = plain.split_once("::")
        && KINDS.contains(&kind)
    {
        let plugin = rest.split("::").next().unwrap_or(rest);
        let holders = project.packages.iter().filter(|package| package.targets.iter().any(|target| target.name == "conformance"));
        let mut packages = BTreeSet::new();
        for package in holders {
            if mentions(&package.folder().join("src"), &format!("\"{plugin}\""))? {
                packages.insert(package.name.clone());
            }
        }
        if !packages.is_empty() {
            return Ok(Selection { packages, targets: ["--test=conformance".to_owned()].into(), filters: [plain.to_owned()].into() });
        }
    }
    let exact: Vec<_> = files.iter().filter(|file| file.tests.iter().any(|test| test == plain)).collect();
    if !exact.is_empty() {
        return Ok(of(exact, &|_, test| test == plain));
    }
    let part: Vec<_> = files.iter().filter(|file| file.tests.iter().any(|test| file.has(test, plain))).collect();
    if !part.is_empty() {
        return Ok(of(part, &|file, test| file.has(test, plain)));
    }
    let crates: Vec<_> = project.packages.iter().map(|package| short(package, &project.root)).collect();
    let modules: BTreeSet<_> = modules.map(|file| file.module.as_str()).collect();
    Err(format!(
        "no crate, file or test is called `{name}`\n  crates: {}\n  modules of tests/it: {}\n  or a part of a test's name",
        crates.join(" "),
        modules.into_iter().collect::<Vec<_>>().join(" ")
    )
    .into())
}

impl File<'_> {
    /// Whether `part` is in the full name of a test of this file, which may stand in its module `tests`.
    fn has(&self, test: &str, part: &str) -> bool {
        [format!("{}::{test}", self.module), format!("{}::tests::{test}", self.module)].iter().any(|name| name.contains(part))
    }
}

/// The folder of a crate in the workspace.
fn short(package: &Package, root: &Path) -> String {
    package.folder().strip_prefix(root).unwrap_or(package.folder()).display().to_string()
}

fn is_called(package: &Package, root: &Path, name: &str) -> bool {
    package.name == name || short(package, root) == name || package.folder().file_name().is_some_and(|folder| folder == name)
}

/// Adds the files below `folder` that have tests; not those of crates inside of it, nor what was built.
fn collect<'a>(package: &'a Package, folder: &Path, all: &[Package], into: &mut Vec<File<'a>>) -> Outcome {
    let failed = |path: &Path, error: std::io::Error| crate::Stop::from(format!("{}: {error}", path.display()));
    for entry in fs::read_dir(folder).map_err(|error| failed(folder, error))?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            let foreign = path.ends_with("target") || all.iter().any(|other| other.folder() == path);
            if !foreign {
                collect(package, &path, all, into)?;
            }
        } else if path.extension().is_some_and(|end| end == "rs") {
            let tests = test_functions(&fs::read_to_string(&path).map_err(|error| failed(&path, error))?);
            if let Some((target, module)) = place(package, &path).filter(|_| !tests.is_empty()) {
                into.push(File { path, package: &package.name, target, module, tests });
            }
        }
    }
    Ok(())
}

/// The target of a source file, as an argument of `cargo test`, and the module that the file is in it.
fn place(package: &Package, path: &Path) -> Option<(String, String)> {
    let is = |target: &Target, kinds: &[&str]| target.kind.iter().any(|kind| kinds.contains(&kind.as_str()));
    let within = |target: &&Target| {
        let whole = target.source.file_name().is_some_and(|name| name == "main.rs" || name == "lib.rs");
        target.source == path || (whole && target.source.parent().is_some_and(|folder| path.starts_with(folder)))
    };
    let candidates = package.targets.iter().filter(|target| !is(target, &["custom-build", "bench", "example"])).filter(within);
    // A test program in the folder of a library is nearer to its own files; a library goes before the program that calls it.
    let target = candidates.max_by_key(|target| (target.source == path, is(target, &["test"]), !is(target, &["bin"])))?;
    let argument = if is(target, &["test"]) {
        format!("--test={}", target.name)
    } else if is(target, &["bin"]) {
        "--bins".to_owned()
    } else {
        "--lib".to_owned()
    };
    let below = path.strip_prefix(target.source.parent()?).ok()?.with_extension("");
    let words: Vec<String> = below.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
    let words = if target.source == path { &[][..] } else { words.strip_suffix(&["mod".to_owned()][..]).unwrap_or(&words) };
    Some((argument, words.join("::")))
}

/// Names of the functions under `#[test]`.
fn test_functions(text: &str) -> Vec<String> {
    let (mut names, mut marked) = (Vec::new(), false);
    for line in text.lines().map(str::trim) {
        if line == "#[test]" {
            marked = true;
        } else if let Some(rest) = line.strip_prefix("fn ").filter(|_| marked) {
            names.push(rest.split(['(', '<']).next().unwrap_or(rest).to_owned());
            marked = false;
        }
    }
    names
}

/// Whether a source file below `folder` holds `text`.
fn mentions(folder: &Path, text: &str) -> Outcome<bool> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for path in entries.flatten().map(|entry| entry.path()) {
        let found = if path.is_dir() {
            mentions(&path, text)?
        } else {
            path.extension().is_some_and(|end| end == "rs") && fs::read_to_string(&path).is_ok_and(|source| source.contains(text))
        };
        if found {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checkout in which this program was built.
    fn checkout() -> Project {
        let here = std::env::current_dir().expect("there is one");
        assert!(here.starts_with(env!("CARGO_MANIFEST_DIR")), "Cargo runs tests in the folder of their crate");
        Project::checkout("test").expect("this is one")
    }

    #[test]
    fn a_name_selects_the_crates_that_hold_such_tests() {
        let project = checkout();
        for (name, package, target, filters, why) in [
            ("clip", "vlhub-plugin-clip", None, &[][..], "the folder of a crate"),
            ("plugins/clip/", "vlhub-plugin-clip", None, &[], "as completed by a shell"),
            ("vlhub-host", "vlhub-host", None, &[], "the name of a crate"),
            ("host/src/data/natural.rs", "vlhub-host", Some("--lib"), &["names_sort_naturally"], "a file"),
            ("cli", "vlhub-tests", Some("--test=it"), &["cli::"], "a module of the whole product's tests"),
            ("objective::siglip", "vlhub-plugin-clip", Some("--test=conformance"), &["objective::siglip"], "the laws of a plugin"),
            ("backbone::vit_b_32::shapes", "vlhub-plugin-vit", Some("--test=conformance"), &["backbone::vit_b_32::shapes"], "of a preset"),
            ("names_sort_naturally", "vlhub-host", Some("--lib"), &["names_sort_naturally"], "a test"),
            ("natural::tests::names", "vlhub-host", Some("--lib"), &["names_sort_naturally"], "a part of its full name"),
            ("a_name_selects_the", "cargo-vlhub", Some("--bins"), &["a_name_selects_the"], "a part of the name of a program's test"),
        ] {
            let found = select(&project, name).unwrap_or_else(|stop| panic!("{why}: {}", stop.message));
            let wanted = Selection {
                packages: [package.to_owned()].into(),
                targets: target.map(str::to_owned).into_iter().collect(),
                filters: filters.iter().map(|filter| (*filter).to_owned()).collect(),
            };
            assert_eq!(found, wanted, "{why}");
        }
        let file = select(&project, "tests/it/cli.rs").unwrap_or_else(|stop| panic!("{}", stop.message));
        assert!(file.targets.contains("--test=it") && file.filters.len() > 5, "each test of the file is named: {file:?}");
        let stop = select(&project, "no_test_is_called_so").map(|found| panic!("{found:?}")).unwrap_or_else(|stop| stop);
        assert!(stop.message.contains("plugins/clip") && stop.message.contains(" cli "), "{}", stop.message);
    }

    #[test]
    fn only_functions_under_the_attribute_are_tests() {
        let text =
            "fn helper() {}\n    #[test]\n    #[should_panic]\n    fn one() {}\n#[cfg(test)]\nfn two() {}\n// #[test]\nfn three() {}\n";
        assert_eq!(test_functions(text), ["one"]);
    }
}
