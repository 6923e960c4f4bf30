//! What is read from the environment and from a cache that Python wrote.

use std::ffi::OsString;
use std::os::unix::fs::symlink;

use super::*;
use crate::hub::PublishedSource;

fn of(variables: &[(&str, &str)]) -> Settings {
    let variables: BTreeMap<_, _> = variables.iter().map(|(name, value)| ((*name).to_owned(), OsString::from(value))).collect();
    Settings::of(&|name| variables.get(name).cloned())
}

#[test]
fn variables_have_the_precedence_that_python_gives_them() {
    let roots = [
        (&[("HOME", "/h")][..], "/h/.cache/huggingface/hub"),
        (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
        (&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")], "/h/hf/hub"),
        (&[("HOME", "/h"), ("HF_HOME", "/hf"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
        (&[("HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old"), ("HF_HUB_CACHE", "/new")], "/new"),
        (&[("HOME", "/h"), ("HF_HUB_CACHE", "")], "/h/.cache/huggingface/hub"),
    ];
    for (variables, root) in roots {
        assert_eq!(of(variables).root, Path::new(root), "{variables:?}");
    }
    assert_eq!(of(&[("HF_ENDPOINT", "http://mirror.test/")]).endpoint, "http://mirror.test");
    for (variables, expected) in [
        (&[("HF_HUB_OFFLINE", "1")][..], true),
        (&[("TRANSFORMERS_OFFLINE", "yes")], true),
        (&[("HF_HUB_OFFLINE", "0"), ("TRANSFORMERS_OFFLINE", "1")], false),
        (&[("HF_HUB_OFFLINE", "")], false),
    ] {
        assert_eq!(of(variables).offline, expected, "{variables:?}");
    }
}

#[test]
fn a_token_comes_from_a_variable_or_the_file_and_is_never_printed() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().to_str().unwrap();
    std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
    let token = |variables: &[(&str, &str)]| of(&[&[("HF_HOME", home)], variables].concat()).token.map(|token| token.0);
    assert_eq!(token(&[]).as_deref(), Some("from-file"));
    assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "old")]).as_deref(), Some("old"));
    assert_eq!(token(&[("HUGGING_FACE_HUB_TOKEN", "old"), ("HF_TOKEN", " new ")]).as_deref(), Some("new"));
    assert_eq!(token(&[("HF_TOKEN_PATH", "/nowhere")]), None);
    assert_eq!(token(&[("HF_TOKEN", "new"), ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")]), None);
    assert!(!format!("{:?}", of(&[("HF_TOKEN", "secret")])).contains("secret"));
}

#[test]
fn a_cache_of_python_is_read_without_a_request() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[]);
    let model = folder.path().join("hub/models--org--model");
    for below in ["refs/refs/pr", "blobs", "snapshots/aaaa", ".no_exist/aaaa"] {
        std::fs::create_dir_all(model.join(below)).unwrap();
    }
    std::fs::write(model.join("refs/main"), "aaaa").unwrap();
    std::fs::write(model.join("refs/refs/pr/3"), "aaaa").unwrap();
    std::fs::write(model.join("blobs/b1"), "weights").unwrap();
    symlink("../../blobs/b1", model.join("snapshots/aaaa/b.bin")).unwrap();
    symlink("../../blobs/gone", model.join("snapshots/aaaa/dangling")).unwrap();
    std::fs::write(model.join(".no_exist/aaaa/a.bin"), "").unwrap();

    for revision in ["main", "refs/pr/3", "aaaa"] {
        let found = cache(folder.path(), &hub).first_of(REPOSITORY, revision, &["a.bin", "b.bin"]).unwrap();
        assert_eq!(found, model.join("snapshots/aaaa/b.bin"));
    }
    assert_eq!(hub.lines(), Vec::<String>::new());
    let error = offline(folder.path(), &hub).first_of(REPOSITORY, "main", &["dangling"]).unwrap_err();
    assert!(error.contains("HF_HUB_OFFLINE") && error.contains("local-dir:FOLDER"), "{error}");
    assert!(error.contains(&format!("{}/org/model/resolve/main/dangling", hub.address)), "{error}");
    assert_eq!(hub.lines(), Vec::<String>::new());
}

#[test]
fn sources_are_read_as_open_clip_writes_them() {
    let hub = |repository: &str, revision: &str| Some(PublishedSource::Hub { repository: repository.into(), revision: revision.into() });
    assert_eq!(PublishedSource::parse("hf-hub:org/model"), hub("org/model", "main"));
    assert_eq!(PublishedSource::parse("hf-hub:org/model@v1"), hub("org/model", "v1"));
    assert_eq!(PublishedSource::parse("local-dir:a/b"), Some(PublishedSource::Folder("a/b".into())));
    assert_eq!(PublishedSource::parse("ViT-B-32"), None);
}
