//! The crate of a new plugin, from `template/`. `examples/template` is what it makes of the name `my-loss`, and a test keeps it so.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use crate::new_kinds::Kind;
use crate::paths::Project;
use crate::{Outcome, fetch, paths, setup};

/// Options of `cargo vlhub new`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Name of the crate, and of its folder: `my-loss`.
    name: String,
    /// What the plugin is.
    #[arg(long, value_enum, default_value_t = Kind::Objective)]
    kind: Kind,
    /// Folder of the `vlhub-sdk` crate to depend on; the published one when it is left out and this program was not built in a checkout.
    #[arg(long, value_name = "DIR")]
    sdk: Option<PathBuf>,
}

/// File in the crate, and its template. Templates do not have the names of what they make: Cargo leaves out of a published crate every folder
/// that holds a `Cargo.toml`. The source file of the kind is beside them.
const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../template/Cargo.toml.in")),
    ("build.rs", include_str!("../template/build.rs.in")),
    ("src/lib.rs", include_str!("../template/lib.rs.in")),
    ("tests/conformance.rs", include_str!("../template/conformance.rs.in")),
    ("run.toml", include_str!("../template/run.toml.in")),
    ("README.md", include_str!("../template/README.md.in")),
];
/// What a crate needs when it stands alone; in the checkout, the checkout has it.
const ALONE: &[(&str, &str)] = &[(".gitignore", include_str!("../template/gitignore.in")), (".cargo/config.toml", setup::CONFIG)];

/// Names that a crate cannot have: words of the language, crates whose names the sources use, and words that the sources use as types.
const TAKEN: &str = "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod move mut pub \
    ref return self static struct super trait true type unsafe use where while gen try box do final macro virtual yield abstract become \
    override priv typeof unsized vlhub std core alloc test image tch augmentation augmentation_cx backbone batch block caption caption_cx \
    config counts dataset device encoded error features hidden kind loss modality model need noise object_info object_sink object_store objective \
    option projection region report requires result scope skills some store_cx store_fault tensor tokens vec weights";

/// `cargo vlhub new`.
pub fn run(args: &Args) -> Outcome {
    check(&args.name)?;
    let folder = PathBuf::from(&args.name);
    if folder.exists() {
        return Err(format!("{} is there already; choose another name, or remove it", folder.display()).into());
    }
    let sdk = match &args.sdk {
        Some(sdk) => Some(fs::canonicalize(sdk).map_err(|error| format!("{}: {error}", sdk.display()))?),
        None => beside_us(),
    };
    if let Some(sdk) = &sdk
        && !sdk.join("build").join("Cargo.toml").exists()
    {
        return Err(format!("{} is not the folder of vlhub-sdk: it has no `build/Cargo.toml`", sdk.display()).into());
    }
    let mut files = render(args.kind, &args.name, sdk.as_deref());
    files.extend(ALONE.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())));
    // Inside another workspace, Cargo wants to be told that the crate is not a part of it.
    if Project::here()?.is_some()
        && let Some((_, manifest)) = files.iter_mut().find(|(path, _)| path == Path::new("Cargo.toml"))
    {
        manifest.push_str("\n[workspace]\n");
    }
    for (path, text) in files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(|error| format!("{}: {error}", parent.display()))?;
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    println!("wrote {}", folder.display());
    match fetch::kept(fetch::Variant::Slim, &paths::cache()?) {
        Some(root) => {
            setup::link(&folder.join(".cargo").join("libtorch"), &root)?;
            println!("next: cd {} && cargo test", folder.display());
        }
        None => println!("next: cd {} && cargo vlhub setup && cargo test", folder.display()),
    }
    Ok(())
}

/// The `vlhub-sdk` of the checkout in which this program was built, if it is still there.
fn beside_us() -> Option<PathBuf> {
    let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    let manifest = fs::read_to_string(sdk.join("Cargo.toml")).ok()?;
    manifest.contains("name = \"vlhub-sdk\"").then(|| sdk.to_owned())
}

/// A name that is a crate's and, with `_` for `-`, a plugin's.
fn check(name: &str) -> Outcome {
    let plain = name.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || matches!(letter, '-' | '_'));
    if !plain || !name.starts_with(|first: char| first.is_ascii_lowercase()) || name.ends_with(['-', '_']) {
        return Err(format!("`{name}` is no name for a plugin: small letters, digits and `-`, a letter first, as in `my-loss`").into());
    }
    if TAKEN.split_whitespace().any(|word| word == name.replace('-', "_")) {
        return Err(format!("`{name}` has a meaning in Rust or in the template; take another name, as in `my-{name}`").into());
    }
    Ok(())
}

/// The files of the crate `name` with a plugin of a kind, which depends on the `vlhub-sdk` in a folder or on the published one.
fn render(kind: Kind, name: &str, sdk: Option<&Path>) -> Vec<(PathBuf, String)> {
    let snake = name.replace('-', "_");
    let pascal: String = snake
        .split('_')
        .flat_map(|word| {
            let mut letters = word.chars();
            letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters)
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    let dependency = |folder: Option<PathBuf>, extra: &str| match folder {
        Some(folder) => format!("{{ path = \"{}\"{extra} }}", folder.display()),
        None if extra.is_empty() => format!("\"{version}\""),
        None => format!("{{ version = \"{version}\"{extra} }}"),
    };
    let sdk_folder = sdk.map(Path::to_owned);
    let parts = kind.parts();
    // Those that hold others go first.
    let values = [
        ("@used@", parts.used.to_owned()),
        ("@tower@", parts.tower.to_owned()),
        ("@view@", parts.view.to_owned()),
        ("@objective@", parts.objective.to_owned()),
        ("@data@", parts.data.to_owned()),
        ("@suite@", parts.suite.to_owned()),
        ("@kind@", parts.kind.to_owned()),
        ("@A kind@", parts.a_kind.to_owned()),
        ("@module@", parts.module.to_owned()),
        ("@summary@", parts.summary.to_owned()),
        ("@What@", parts.what.to_owned()),
        ("@name@", name.to_owned()),
        ("@snake@", snake),
        ("@Pascal@", pascal),
        ("@sdk@", dependency(sdk_folder.clone(), "")),
        ("@testkit@", dependency(sdk_folder.clone(), ", features = [\"testkit\"]")),
        ("@build@", dependency(sdk_folder.map(|folder| folder.join("build")), "")),
    ];
    let fill = |template: &str| values.iter().fold(template.to_owned(), |text, (key, value)| text.replace(key, value));
    let source = (format!("src/{}.rs", parts.module), parts.source);
    let files = FILES.iter().map(|(path, template)| ((*path).to_owned(), *template)).chain([source]);
    files.map(|(path, template)| (PathBuf::from(path), fill(template))).collect()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    #[test]
    fn the_example_is_what_the_template_makes() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/template");
        let mut stale = Vec::new();
        for (path, text) in render(Kind::Objective, "my-loss", Some(Path::new("../../sdk"))) {
            let file = example.join(&path);
            if fs::read_to_string(&file).ok().as_deref() != Some(&text) {
                fs::create_dir_all(file.parent().expect("it is in the example")).expect("a folder");
                fs::write(&file, text).expect("it can be written");
                stale.push(path);
            }
        }
        assert!(stale.is_empty(), "examples/template was stale and is written anew: {stale:?}; look at the difference and commit it");
    }

    #[test]
    fn nothing_of_the_template_is_left_unfilled() {
        for (kind, sdk) in Kind::value_variants().iter().flat_map(|kind| [(*kind, None), (*kind, Some(Path::new("/sdk")))]) {
            let files = render(kind, "a-b2-c", sdk);
            for (path, text) in &files {
                assert!(!text.contains('@'), "{kind:?} {}: {text}", path.display());
            }
            let text = |wanted: &str| files.iter().find(|(path, _)| path.ends_with(wanted)).map(|(_, text)| text.as_str()).expect(wanted);
            let source = format!("{}.rs", kind.parts().module);
            assert!(text(&source).contains("\"a_b2_c\", AB2CConfig"), "{kind:?} has a plugin of the crate's name");
            assert!(text("run.toml").contains("a_b2_c") && text("README.md").contains(&source), "{kind:?}: the run file names it");
        }
        let files = render(Kind::Objective, "my-loss", None);
        assert!(files[0].1.contains(&format!("vlhub-sdk = \"{}\"", env!("CARGO_PKG_VERSION"))), "without a folder, the published one");
    }

    #[test]
    fn names_that_cannot_be_crates_are_refused() {
        for (name, good, why) in [
            ("my-loss", true, "as in the guide"),
            ("hinge2", true, "a digit inside"),
            ("2hinge", false, "a digit first"),
            ("MyLoss", false, "capitals"),
            ("my loss", false, "a space"),
            ("my-", false, "an end that is no word"),
            ("../evil", false, "a path"),
            ("", false, "nothing"),
            ("fn", false, "a word of the language"),
            ("loss", false, "a type of the sdk"),
            ("caption-cx", false, "another one"),
        ] {
            assert_eq!(check(name).is_ok(), good, "{why}");
        }
    }
}
