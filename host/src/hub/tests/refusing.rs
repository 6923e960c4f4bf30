//! What is refused, in which words, and what stays on the disk.

use super::*;

#[test]
fn a_file_with_another_hash_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::start(|request| match request.method.as_str() {
        "HEAD" => described(200, b"weights"),
        _ => Reply::body(request, b"WEIGHTS"),
    });
    let error = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin", "b.bin"]).unwrap_err();
    assert!(error.contains("SHA-256") && error.contains("a.bin"), "{error}");
    let left = tree(&folder.path().join("hub/models--org--model"));
    assert_eq!(left, Vec::<String>::new());
}

#[test]
fn a_file_of_another_length_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::start(|request| match request.method.as_str() {
        "HEAD" => described(200, b"weights"),
        _ => Reply::body(request, b"more weights than that"),
    });
    let error = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin"]).unwrap_err();
    assert!(error.contains("22 bytes where 7 were announced"), "{error}");
}

#[test]
fn a_gated_repository_says_how_to_give_a_token() {
    let folder = tempfile::tempdir().unwrap();
    let hub = Server::start(|_| Reply::status(401).with("x-error-code", "GatedRepo").with("x-error-message", "Access is restricted"));
    let error = cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a", "b"]).unwrap_err();
    assert!(
        error.contains("HF_TOKEN") && error.contains("GatedRepo: Access is restricted") && error.contains("/settings/tokens"),
        "{error}"
    );
    assert_eq!(hub.asked().len(), 1);
    let token = Some(Token("secret".into()));
    let error = Cache::of(Settings { token, ..settings(folder.path(), &hub.address) }).first_of(REPOSITORY, "main", &["a"]).unwrap_err();
    assert!(error.contains("not open to your token") && !error.contains("secret"), "{error}");
}

#[test]
fn what_a_repository_lacks_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let hub = hub(&[]);
    let error = cache(folder.path(), &hub).first_of(REPOSITORY, "v1.0", &["a.bin", "b.bin"]).unwrap_err();
    assert_eq!(error, "the repository `hf-hub:org/model@v1.0` has no a.bin nor b.bin");
    let none = Server::start(|_| Reply::status(404).with("x-error-code", "RepoNotFound"));
    let error = cache(folder.path(), &none).first_of(REPOSITORY, "main", &["a.bin"]).unwrap_err();
    assert!(error.contains("there is no repository `hf-hub:org/model`"), "{error}");
    let page = Server::start(|request| Reply::body(request, b"<html>sign in</html>"));
    let error = cache(folder.path(), &page).first_of(REPOSITORY, "main", &["a.bin"]).unwrap_err();
    assert!(error.contains("this is no hub"), "{error}");
}

#[test]
fn without_an_answer_the_cache_is_taken_or_the_way_without_a_network_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let there = hub(&[("b.bin", "weights")]);
    cache(folder.path(), &there).first_of(REPOSITORY, "main", &["b.bin"]).unwrap();
    // A port on which nobody listens.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cache = Cache::of(settings(folder.path(), &format!("http://{closed}")));
    assert!(cache.first_of(REPOSITORY, "main", &["a.bin", "b.bin"]).is_ok());
    let error = cache.first_of(REPOSITORY, "main", &["a.bin"]).unwrap_err();
    assert!(error.contains(&format!("no connection to {closed}")) && error.contains("local-dir:FOLDER"), "{error}");

    let slow = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", slow.local_addr().unwrap());
    let timeout = Duration::from_millis(200);
    let error =
        Cache::of(Settings { timeout, ..settings(folder.path(), &endpoint) }).first_of("other/model", "main", &["a.bin"]).unwrap_err();
    assert!(error.contains("did not answer in time"), "{error}");
}

#[test]
fn a_server_that_is_busy_is_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let hub = Server::start(move |request| match count.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 2 {
        0 => Reply::status(503),
        _ => small(request, b"weights"),
    });
    cache(folder.path(), &hub).first_of(REPOSITORY, "main", &["a.bin"]).unwrap();
    assert_eq!(hub.asked().len(), 4);
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let index = r#"{"weight_map": {"a": "../../../../evil.bin"}}"#;
    let hub = hub(&[("x.index.json", index)]);
    let own = cache(folder.path(), &hub);
    for (repository, revision, file) in [
        ("../..", "main", "a"),
        ("org/../x", "main", "a"),
        ("org/model", "../main", "a"),
        ("org/model", "main", "../a"),
        ("org/model", "main", "/etc/passwd"),
    ] {
        assert!(own.first_of(repository, revision, &[file]).is_err(), "{repository} {revision} {file}");
    }
    assert_eq!(tree(folder.path()), Vec::<String>::new());
    assert_eq!(hub.lines(), Vec::<String>::new());
    let error = own.first_of(REPOSITORY, "main", &["x.index.json"]).unwrap_err();
    assert!(error.contains("not the name of a weight file beside it"), "{error}");

    // What a server says is no path either.
    for (commit, etag) in [("../../x", "\"abc\""), (COMMIT, "\"../../x\"")] {
        let bad = Server::start(move |_| Reply::status(200).with("x-repo-commit", commit).with("etag", etag));
        let error = cache(folder.path(), &bad).first_of("org/bad", "main", &["a"]).unwrap_err();
        assert!(error.contains("this is no hub"), "{error}");
    }
}
