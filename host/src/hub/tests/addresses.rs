//! Files by address.

use super::*;

/// A server of one file, and its address in the form of OpenAI's.
fn store(bytes: &'static [u8], expected: &[u8]) -> (Server, String) {
    let server = Server::start(move |request| Reply { cut: (request.from == 0).then_some(4), ..Reply::body(request, bytes) });
    let url = format!("{}/openaipublic/{}/M.pt", server.address, sha256(expected));
    (server, url)
}

#[test]
fn a_file_is_kept_by_its_name_and_its_hash_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = store(b"weights", b"weights");
    let cache = Cache::of(settings(folder.path(), &server.address));
    let found = cache.url(&url).unwrap();
    assert_eq!(found, folder.path().join("clip/M.pt"));
    assert_eq!(std::fs::read(&found).unwrap(), b"weights");
    assert_eq!(server.asked().iter().map(|request| request.from).collect::<Vec<_>>(), [0, 4]);
    cache.url(&url).unwrap();
    assert_eq!(server.lines(), Vec::<String>::new());

    // Another file of the same name is replaced, or refused where the network may not be asked.
    std::fs::write(&found, "other").unwrap();
    let error = offline(folder.path(), &server).url(&url).unwrap_err();
    assert!(error.contains("is not the file of") && error.contains("HF_HUB_OFFLINE"), "{error}");
    cache.url(&url).unwrap();
    assert_eq!(std::fs::read(&found).unwrap(), b"weights");
    assert_eq!(tree(&folder.path().join("clip")), [".locks/M.pt.lock", "M.pt"]);
}

#[test]
fn a_wrong_file_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (server, url) = store(b"weights", b"others");
    let error = Cache::of(settings(folder.path(), &server.address)).url(&url).unwrap_err();
    assert!(error.contains("SHA-256"), "{error}");
    assert_eq!(tree(&folder.path().join("clip")), [".locks/M.pt.lock"]);
    let error = offline(folder.path(), &server).url(&url).unwrap_err();
    assert!(error.contains("there is no") && error.contains(&url), "{error}");
}

#[test]
fn an_address_without_a_file_or_an_answer_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(|_| Reply::status(404));
    let cache = Cache::of(settings(folder.path(), &server.address));
    let error = cache.url(&format!("{}/M.pt", server.address)).unwrap_err();
    assert!(error.contains("status 404"), "{error}");
    for url in ["https://host.test/a/..", "https://host.test/a/", "https://host.test/a?x=b"] {
        let error = cache.url(url).unwrap_err();
        assert!(error.contains("does not end in the name of a file"), "{error}");
    }
}
