//! What is fetched, how often, and where it goes.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

#[test]
fn what_is_fetched_once_is_not_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[("b.bin", "weights")]);
    let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin", "b.bin"]).unwrap();
    assert_eq!(std::fs::read_to_string(&found).unwrap(), "weights");
    let blob = &sha256(b"weights")[..40];
    assert_eq!(std::fs::read_link(&found).unwrap(), Path::new(&format!("../../blobs/{blob}")));
    let head = |file: &str| format!("HEAD /org/model/resolve/main/{file}");
    assert_eq!(hub.lines(), [head("a.bin"), head("b.bin"), format!("GET /org/model/resolve/{COMMIT}/b.bin")]);
    assert_eq!(
        tree(&folder.path().join("hub")),
        [
            format!(".locks/models--org--model/{blob}.lock"),
            format!("models--org--model/.no_exist/{COMMIT}/a.bin"),
            format!("models--org--model/blobs/{blob}"),
            "models--org--model/refs/main".into(),
            format!("models--org--model/snapshots/{COMMIT}/b.bin"),
        ]
    );
    assert_eq!(std::fs::read_to_string(folder.path().join("hub/models--org--model/refs/main")).unwrap(), COMMIT);

    for again in [cache(folder.path(), &hub), offline(folder.path(), &hub)] {
        assert_eq!(again.first_of(REPOSITORY, "main", &["a.bin", "b.bin"]).unwrap(), found);
    }
    assert_eq!(hub.lines(), Vec::<String>::new());
}

#[test]
fn revisions_are_kept_apart_and_a_known_commit_is_kept_to() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[("a", "1"), ("sub/b", "2")]);
    let cache = cache(folder.path(), &hub);
    for revision in ["v1.0", "refs/pr/3", COMMIT] {
        cache.first_of(REPOSITORY, revision, &["a"]).unwrap();
    }
    // The file of a commit that is there already is asked about, for the revision is new, and not sent again.
    let lines = hub.lines();
    assert_eq!(lines.iter().filter(|line| line.starts_with("GET")).count(), 1, "{lines:?}");
    assert!(lines.contains(&"HEAD /org/model/resolve/refs%2Fpr%2F3/a".into()), "{lines:?}");
    let found = cache.first_of(REPOSITORY, "v1.0", &["sub/b"]).unwrap();
    assert!(std::fs::read_link(&found).unwrap().starts_with("../../../blobs"));
    assert_eq!(hub.lines()[0], format!("HEAD /org/model/resolve/{COMMIT}/sub/b"));
    let refs = tree(&folder.path().join("hub/models--org--model/refs"));
    assert_eq!(refs, ["refs/pr/3", "v1.0"]);

    // The hub has lost the commit that the cache knows: the branch is asked for.
    std::fs::write(folder.path().join("hub/models--org--model/refs/main"), "f".repeat(40)).unwrap();
    cache.first_of(REPOSITORY, "main", &["sub/b"]).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("hub/models--org--model/refs/main")).unwrap(), COMMIT);
    let error = cache.first_of(REPOSITORY, "v9", &["a"]).unwrap_err();
    assert!(error.contains("no revision `v9`"), "{error}");
}

/// A hub whose large file is at another host, which cuts each connection after `cut` bytes.
fn large(bytes: Vec<u8>, cut: usize) -> (Server, Server) {
    let whole = bytes.clone();
    let store = Server::start(move |request| {
        let reply = Reply::body(request, &whole);
        let cut = cut.min(reply.body.len());
        Reply { cut: Some(cut), ..reply }
    });
    let place = format!("{}/signed?x=1", store.address);
    (Server::start(move |_| described(302, &bytes).with("location", place.clone())), store)
}

#[test]
fn a_cut_connection_goes_on_where_it_was_cut() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..1_000_000u32).map(|at| at as u8).collect();
    let (hub, store) = large(bytes.clone(), 300_000);
    let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin"]).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), bytes);
    assert_eq!(store.asked().iter().map(|request| request.from).collect::<Vec<_>>(), [0, 300_000, 600_000, 900_000]);

    // The same over two runs of the program.
    let folder = tempfile::tempdir().unwrap();
    let blobs = folder.path().join("hub/models--org--model/blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(format!("{}.incomplete", sha256(&bytes))), &bytes[..700_000]).unwrap();
    let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin"]).unwrap();
    assert_eq!(std::fs::read(found).unwrap(), bytes);
    assert_eq!(store.asked().iter().map(|request| request.from).collect::<Vec<_>>(), [700_000]);
    assert_eq!(tree(&blobs), [sha256(&bytes)]);
}

#[test]
fn the_token_is_shown_to_the_hub_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (hub, store) = large(vec![7; 1000], usize::MAX);
    let token = Some(Token("secret".into()));
    let cache = Cache::of(Settings { token, ..settings(folder.path(), &hub.address) });
    cache.first_of(REPOSITORY, "main", &["a.bin"]).unwrap();
    let tokens = |server: &Server| server.asked().into_iter().map(|request| request.token).collect::<Vec<_>>();
    assert_eq!(tokens(&hub), vec![Some("Bearer secret".to_owned()); 2]);
    assert_eq!(tokens(&store), [None]);
    let elsewhere = Server::start(|request| Reply::body(request, b"weights"));
    cache.url(&format!("{}/w.pt", elsewhere.address)).unwrap();
    assert_eq!(tokens(&elsewhere), [None]);
}

#[test]
fn a_renamed_repository_is_followed_with_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::start(|request| match request.path.strip_prefix("/org/model/") {
        Some(rest) => Reply::status(307).with("location", format!("/new/name/{rest}")),
        None => small(request, b"weights"),
    });
    let token = Some(Token("secret".into()));
    Cache::of(Settings { token, ..settings(folder.path(), &hub.address) }).first_of(REPOSITORY, "main", &["a"]).unwrap();
    let asked = hub.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|request| request.token.is_some()), "{asked:?}");
}

#[test]
fn a_mirror_that_sends_everything_elsewhere_is_followed_without_the_token() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[("a", "weights")]);
    let place = hub.address.clone();
    let mirror = Server::start(move |request| Reply::status(308).with("location", format!("{place}{}", request.path)));
    let token = Some(Token("secret".into()));
    Cache::of(Settings { token, ..settings(folder.path(), &mirror.address) }).first_of(REPOSITORY, "main", &["a"]).unwrap();
    assert!(mirror.asked().iter().all(|request| request.token.is_some()));
    assert!(hub.asked().iter().all(|request| request.token.is_none()));
}

#[test]
fn an_index_brings_its_shards() {
    let folder = tempfile::tempdir().unwrap();
    let index = r#"{"metadata": {}, "weight_map": {"a": "m-1.safetensors", "b": "m-2.safetensors", "c": "m-1.safetensors"}}"#;
    let hub = hub(&[("m.safetensors.index.json", index), ("m-1.safetensors", "one"), ("m-2.safetensors", "two")]);
    let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["m.safetensors.index.json"]).unwrap();
    assert_eq!(std::fs::read_to_string(found.with_file_name("m-1.safetensors")).unwrap(), "one");
    // A shard that went missing is fetched again, and asked for by name where that is not possible.
    std::fs::remove_file(found.with_file_name("m-2.safetensors")).unwrap();
    let error = offline(folder.path(), &hub).first_of(REPOSITORY, "main", &["m.safetensors.index.json"]).unwrap_err();
    assert!(error.contains("no m-2.safetensors below"), "{error}");
    hub.asked();
    cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["m.safetensors.index.json"]).unwrap();
    assert_eq!(hub.lines(), [format!("HEAD /org/model/resolve/{COMMIT}/m-2.safetensors")]);
}

#[test]
fn a_tokenizer_brings_the_files_that_belong_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[("tokenizer.json", "{}"), ("tokenizer_config.json", "{ }")]);
    let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["tokenizer.json"]).unwrap();
    assert!(found.with_file_name("tokenizer_config.json").is_file());
    hub.asked();
    cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["tokenizer.json"]).unwrap();
    assert_eq!(hub.lines(), Vec::<String>::new());
}

#[test]
fn many_at_once_fetch_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let bytes: Vec<u8> = (0..2_000_000u32).map(|at| (at / 7) as u8).collect();
    let sent = std::sync::Arc::new(AtomicUsize::new(0));
    let (whole, count) = (bytes.clone(), sent.clone());
    let hub = Server::start(move |request| match request.method.as_str() {
        "HEAD" => described(200, &whole),
        _ => {
            count.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_millis(100));
            Reply::body(request, &whole)
        }
    });
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let found = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin"]).unwrap();
                assert_eq!(std::fs::read(found).unwrap(), bytes);
            });
        }
    });
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}
