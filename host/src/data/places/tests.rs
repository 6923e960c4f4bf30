//! Places through a web server on this machine, commands, and compressed files.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use base64::Engine;
use md5::{Digest as _, Md5};
use serde_json::json;
use vlhub_core::{Extent, LocalFile, ObjectStore, Registry, Result};

use vlhub_sdk::testkit::{LawOutcome, all, store};

use super::Places;
use super::cache::DataCache;

const ETAG: &str = "\"one\"";

/// What a server does with a request.
#[derive(Clone, Copy, Debug, Default)]
struct Manners {
    /// It cuts the first so many answers in the middle.
    cuts: usize,
    /// It refuses the first so many requests with this status.
    refuses: (usize, u16),
    /// It knows no ranges.
    whole: bool,
    /// It tells no length.
    chunked: bool,
    /// It tells so many bytes more than come.
    longer: usize,
    /// It tells the MD5 of something else.
    lies: bool,
    /// It tells an ETag.
    etag: bool,
    /// After the first answer the file is another.
    changes: bool,
    /// It redirects to another path.
    redirects: bool,
}

/// A web server with one file at every path, and what it was asked.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(file: &[u8], manners: Manners) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (file, log) = (file.to_vec(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                // A client that goes away is its own business.
                drop(answer(stream, &file, manners, number, &log));
            }
        });
        Self { url, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

fn answer(mut stream: TcpStream, file: &[u8], manners: Manners, number: usize, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line? {
            line if line.is_empty() => break,
            line => lines.push(line.to_lowercase()),
        }
    }
    let value = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    log.lock().expect("nobody panicked").push(format!("{} {}", lines[0], value("range:").unwrap_or("-")));
    let close = "connection: close\r\n";
    if lines[0].contains("/absent") {
        return write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n{close}\r\n");
    }
    if number < manners.refuses.0 {
        return write!(stream, "HTTP/1.1 {} No\r\ncontent-length: 0\r\n{close}\r\n", manners.refuses.1);
    }
    if manners.redirects && !lines[0].contains("elsewhere") {
        return write!(stream, "HTTP/1.1 302 Found\r\nlocation: /elsewhere/x.tar\r\ncontent-length: 0\r\n{close}\r\n");
    }
    let other: Vec<u8> = file.iter().rev().copied().collect();
    let changed = manners.changes && number > 0;
    let (file, etag) = if changed { (&other[..], "\"two\"") } else { (file, ETAG) };
    let from = value("range:").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let same = value("if-range:").is_none_or(|known| known == etag);
    let from = from.filter(|_| !manners.whole && same);
    let body = &file[from.unwrap_or(0)..];
    match from {
        None => write!(stream, "HTTP/1.1 200 OK\r\n{close}")?,
        Some(from) => {
            let length = file.len();
            write!(stream, "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {from}-{}/{length}\r\n{close}", length - 1)?;
        }
    }
    if manners.etag {
        write!(stream, "etag: {etag}\r\n")?;
    }
    if manners.lies {
        let md5 = base64::engine::general_purpose::STANDARD.encode(Md5::digest(b"something else"));
        write!(stream, "x-goog-hash: crc32c=AAAAAA==\r\nx-goog-hash: md5={md5}\r\n")?;
    }
    let sent = if number < manners.cuts { &body[..body.len() / 2] } else { body };
    if manners.chunked {
        write!(stream, "transfer-encoding: chunked\r\n\r\n{:x}\r\n", sent.len())?;
        stream.write_all(sent)?;
        if sent.len() == body.len() {
            stream.write_all(b"\r\n0\r\n\r\n")?;
        }
    } else {
        write!(stream, "content-length: {}\r\n\r\n", body.len() + manners.longer)?;
        stream.write_all(sent)?;
    }
    stream.shutdown(Shutdown::Write)
}

/// A cache in a folder, and places that use it.
struct Home {
    folder: tempfile::TempDir,
    registry: Registry,
    stores: serde_json::Value,
    limit: u64,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        Self { folder, registry: Registry::linked().expect("names are unique"), stores: json!({}), limit: 1 << 30 }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn cache(&self) -> DataCache {
        DataCache::at(&self.path().join("cache"), self.limit)
    }

    fn places(&self) -> Places {
        let configs: BTreeMap<_, _> = self
            .stores
            .as_object()
            .expect("tables")
            .iter()
            .map(|(name, options)| {
                let listed = self.registry.get::<dyn ObjectStore>(name).expect("it is there");
                (name.clone(), listed.parse(options).expect("options"))
            })
            .collect();
        Places::new(self.path(), configs).with_cache(self.cache())
    }

    fn all(&self, places: &[&str], extent: Extent) -> Result<Vec<LocalFile>> {
        let places: Vec<String> = places.iter().map(|place| (*place).to_owned()).collect();
        self.places().local(&self.registry, &places, self.path(), extent)
    }

    fn local(&self, place: &str) -> Result<LocalFile> {
        self.all(&[place], Extent::Whole).map(|mut files| files.remove(0))
    }

    fn bytes(&self, place: &str) -> Vec<u8> {
        let file = self.local(place).unwrap_or_else(|error| panic!("{place}: {error}"));
        assert_eq!(file.damage, None, "{place}");
        std::fs::read(file.path).expect("it is there")
    }

    fn refused(&self, place: &str) -> String {
        self.local(place).expect_err(place).to_string()
    }

    fn cached(&self) -> usize {
        self.cache().entries().expect("a folder").len()
    }
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u64).map(|at| (at.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory does not fail");
    encoder.finish().expect("memory does not fail")
}

fn zstandard(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 1).expect("memory does not fail")
}

#[test]
fn whatever_a_server_does_a_file_comes_whole_or_not_at_all() {
    let file = noise(300_000);
    let etag = Manners { etag: true, ..Manners::default() };
    for (manners, requests, why) in [
        (Manners::default(), 1, "a plain server"),
        (Manners { chunked: true, ..etag }, 1, "no length is told"),
        (Manners { cuts: 2, ..etag }, 3, "two cuts, and ranges"),
        (Manners { cuts: 2, whole: true, ..etag }, 3, "two cuts, and no ranges"),
        (Manners { cuts: 1, ..Manners::default() }, 2, "a cut, and nothing tells whether it is the same file"),
        (Manners { cuts: 1, chunked: true, ..etag }, 2, "a cut of a file without a length"),
        (Manners { refuses: (2, 503), ..etag }, 3, "busy twice"),
        (Manners { redirects: true, ..etag }, 2, "a redirect"),
    ] {
        let (home, server) = (Home::new(), Server::start(&file, manners));
        let place = format!("{}/a/x.tar?key=secret", server.url);
        assert_eq!(home.bytes(&place), file, "{why}");
        assert_eq!(server.asked().len(), requests, "{why}: {:?}", server.asked());
        // Another process would find it too, and nothing is asked again.
        assert_eq!(home.bytes(&place), file, "{why}");
        assert_eq!((server.asked().len(), home.cached()), (requests, 1), "{why}");
        let entry = home.cache().entries().expect("a folder").remove(0);
        assert!(!entry.place.contains("secret") && entry.place.ends_with("/a/x.tar"), "{why}: {}", entry.place);
    }
    let ranged = Server::start(&file, Manners { cuts: 2, ..etag });
    assert_eq!(Home::new().bytes(&format!("{}/x", ranged.url)), file);
    assert!(ranged.asked()[1].ends_with("bytes=150000-") && ranged.asked()[2].ends_with("bytes=225000-"), "{:?}", ranged.asked());
}

#[test]
fn the_stores_of_the_host_keep_the_laws() {
    let here = |origin: &vlhub_core::Origin| origin.package == env!("CARGO_PKG_NAME");
    for entry in vlhub_core::registered_here().store.into_iter().filter(|entry| here(&entry.origin)) {
        for (law, keeps) in all::laws::<dyn ObjectStore>().iter().chain(store::LAWS) {
            let outcome = keeps(entry);
            assert!(!matches!(outcome, LawOutcome::Broken(_)), "{} breaks `{law}`: {outcome:?}", entry.name);
        }
    }
    let file = noise(50_000);
    let server = Server::start(&file, Manners { etag: true, ..Manners::default() });
    let registry = Registry::linked().expect("names are unique");
    let listed = registry.get::<dyn ObjectStore>("http").expect("it is there");
    let config = listed.parse(&listed.defaults()).expect("its defaults");
    store::every_law(&*config, &format!("{}/a/x.tar", server.url), &file, &format!("{}/absent", server.url)).expect("every law");
}

#[test]
fn a_file_that_changes_in_between_is_begun_again() {
    let file = noise(200_000);
    let server = Server::start(&file, Manners { cuts: 1, etag: true, changes: true, ..Manners::default() });
    let reversed: Vec<u8> = file.iter().rev().copied().collect();
    assert_eq!(Home::new().bytes(&format!("{}/x", server.url)), reversed);
}

#[test]
fn what_a_server_refuses_or_contradicts_is_told_and_not_kept() {
    let file = noise(100_000);
    for (manners, requests, words) in [
        (Manners { refuses: (99, 404), ..Manners::default() }, 1, "status 404: there is no such file"),
        (Manners { refuses: (99, 403), ..Manners::default() }, 1, "does not give it to you"),
        (Manners { refuses: (99, 503), ..Manners::default() }, 5, "busy or broken"),
        (Manners { longer: 7, ..Manners::default() }, 5, "the connection was cut"),
        (Manners { lies: true, ..Manners::default() }, 1, "another digest than the server tells"),
    ] {
        let (home, server) = (Home::new(), Server::start(&file, manners));
        let error = home.refused(&format!("{}/a/x.tar?key=secret", server.url));
        assert!(error.contains(words) && error.contains("/a/x.tar") && !error.contains("secret"), "{error}");
        assert_eq!((server.asked().len(), home.cached()), (requests, 0), "{manners:?}");
    }
    let error = Home::new().refused("http://127.0.0.1:1/x.tar");
    assert!(error.contains("no connection to 127.0.0.1:1"), "{error}");
}

#[test]
fn a_transfer_that_was_given_up_is_gone_on_with_later() {
    let file = noise(1 << 20);
    let home = Home::new();
    let server = Server::start(&file, Manners { refuses: (0, 0), cuts: 1, etag: true, ..Manners::default() });
    let place = format!("{}/x", server.url);
    // As a process leaves it that is killed in the middle.
    let key = super::Key::of_object("", &place);
    drop(home.cache().lock(&key).expect("a folder"));
    std::fs::write(home.cache().partial(&key), &file[..1000]).expect("room");
    std::fs::write(home.cache().partial(&key).with_extension("version"), ETAG).expect("room");
    assert_eq!(home.bytes(&place), file);
    assert!(server.asked()[0].ends_with("bytes=1000-"), "{:?}", server.asked());
}

#[test]
fn a_glance_brings_nothing() {
    let (home, server) = (Home::new(), Server::start(&noise(1000), Manners::default()));
    std::fs::write(home.path().join("a.tar.gz"), gzip(b"packed")).expect("room");
    for place in [format!("{}/x.tar", server.url), "a.tar.gz".into()] {
        let error = home.all(&[&place], Extent::Glance).expect_err("it is elsewhere");
        assert!(error.is_elsewhere(), "{error}");
        home.local(&place).expect("it is brought");
        home.all(&[&place], Extent::Glance).expect("it is there");
    }
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn an_unknown_scheme_is_refused_with_what_would_bring_it() {
    for (place, words) in [("htp://host/x.tar", "did you mean `http`?"), ("pipe:cat x.tar", "`--allow-pipe`"), ("http://", "no address")] {
        let error = Home::new().refused(place);
        assert!(error.contains(words), "{place}: {error}");
    }
    let home = Home::new();
    let error =
        home.places().names(&home.registry, "http://127.0.0.1:1/*.tar", home.path(), Extent::Whole).expect_err("no list").to_string();
    assert!(error.contains("write braces"), "{error}");
}

#[test]
fn a_command_is_run_once_and_its_complaints_are_told() {
    let home = Home { stores: json!({"pipe": {"allow": true}}), ..Home::new() };
    std::fs::write(home.path().join("in"), gzip(b"from a command")).expect("room");
    let place = "pipe:echo noise >&2; echo ran >> log; cat in";
    for _ in 0..2 {
        assert_eq!(home.bytes(place), b"from a command", "what it writes is unpacked too");
    }
    assert_eq!(std::fs::read(home.path().join("log")).expect("it ran"), b"ran\n");
    let error = home.refused("pipe:cat in; echo 'no such bucket' >&2; exit 3");
    assert!(error.contains("exit status: 3") && error.contains("no such bucket"), "{error}");
    assert_eq!(home.cached(), 1);
}

#[test]
fn compressed_files_are_unpacked_whatever_they_are_called() {
    let text = noise(200_000);
    let twice = [gzip(&text[..70_000]), gzip(&text[70_000..])].concat();
    let frames = [zstandard(&text[..70_000]), vec![0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3], zstandard(&text[70_000..])].concat();
    for (bytes, why) in [
        (gzip(&text), "gzip"),
        (twice.clone(), "two members"),
        ([twice, vec![0; 700]].concat(), "zeros behind the last member"),
        (zstandard(&text), "Zstandard"),
        (frames, "two frames, and one to be skipped"),
    ] {
        let home = Home::new();
        std::fs::write(home.path().join("x.tar"), bytes).expect("room");
        assert_eq!(home.bytes("x.tar"), text, "{why}");
        let file = home.local("x.tar").expect("it is there");
        assert_eq!((file.name.as_str(), file.folder.as_deref()), ("x.tar", Some(home.path())), "{why}");
    }
}

#[test]
fn what_stands_before_damage_is_read_and_the_damage_is_told_each_time() {
    let text = noise(1_000_000);
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() * 3 / 4].to_vec();
    for (bytes, least, why) in [
        (cut(gzip(&text)), 650_000, "it ends too early"),
        (cut(zstandard(&text)), 500_000, "it ends too early"),
        ([gzip(&text), b"garbage".to_vec()].concat(), 1_000_000, "no gzip"),
    ] {
        let home = Home::new();
        std::fs::write(home.path().join("x.tar.gz"), &bytes).expect("room");
        for _ in 0..2 {
            let file = home.local("x.tar.gz").expect("what is left");
            let damage = file.damage.expect("it is told");
            assert!(damage.reason == "damaged compression" && damage.detail.contains(why), "{damage}");
            let read = std::fs::read(file.path).expect("it is there");
            assert!(read.len() >= least && text.starts_with(&read), "{why}: {} bytes", read.len());
        }
    }
}

#[test]
fn a_bomb_is_refused() {
    for bomb in [gzip(&vec![0; 300 << 20]), zstandard(&vec![0; 300 << 20])] {
        let home = Home::new();
        std::fs::write(home.path().join("x"), bomb).expect("room");
        let error = home.refused("x");
        assert!(error.contains("more than 200 times"), "{error}");
        let left: u64 = std::fs::read_dir(home.path().join("cache/partial"))
            .expect("it is there")
            .flatten()
            .map(|file| file.metadata().expect("a file").len())
            .sum();
        assert_eq!((left, home.cached()), (0, 0), "nothing of it is kept");
    }
}

#[test]
fn one_broken_shard_of_many_is_named() {
    let server = Server::start(&noise(1000), Manners { refuses: (1, 404), ..Manners::default() });
    let home = Home::new();
    let places: Vec<String> = (0..20).map(|number| format!("{}/{number}.tar", server.url)).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let error = home.all(&places, Extent::Whole).expect_err("one is not there").to_string();
    assert!(error.contains("status 404") && error.contains(".tar`"), "{error}");
    let files = home.all(&places, Extent::Whole).expect("now it is");
    assert_eq!(files.len(), 20);
    assert_eq!(files[7].name, "7.tar", "in their order");
    let mut body = Vec::new();
    std::fs::File::open(&files[19].path).and_then(|mut file| file.read_to_end(&mut body)).expect("it is there");
    assert_eq!(body, noise(1000));
}
