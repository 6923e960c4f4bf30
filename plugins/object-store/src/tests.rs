//! Against a server on this machine that speaks as much of S3's protocol as is asked of it. A whole server (moto) is asked by
//! `cargo vlhub test --peers stores`.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use vlhub_sdk::testkit::store::every_law;
use vlhub_sdk::{Config, ObjectInfo, ObjectSink, ObjectStore, StoreCx};

use crate::az::AzConfig;
use crate::gs::GsConfig;
use crate::s3::S3Config;

const ETAG: &str = "\"0123456789abcdef0123456789abcdef\"";
const KEY: &str = "shards/a b.tar";

/// Starts a server with the one object `/bucket/shards/a b.tar`; returns its address, and what it was asked.
fn serve(object: Vec<u8>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // A client that goes away is its own business.
            drop(answer(stream, &object, &log));
        }
    });
    (url, asked)
}

fn answer(mut stream: TcpStream, object: &[u8], log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = Vec::new();
    for line in BufReader::new(stream.try_clone()?).lines() {
        match line? {
            line if line.is_empty() => break,
            line => lines.push(line),
        }
    }
    let value = |name: &str| lines.iter().find_map(|line| line.split_once(": ").filter(|(key, _)| key.eq_ignore_ascii_case(name)));
    let path = lines[0].split(' ').nth(1).unwrap_or_default().to_owned();
    log.lock().expect("nobody panicked").push(lines.join("\n"));
    let mut send = |status: &str, headers: &str, body: &[u8]| {
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close\r\n\r\n")?;
        stream.write_all(body)?;
        stream.shutdown(Shutdown::Write)
    };
    let about = format!("etag: {ETAG}\r\nlast-modified: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
    if path.contains("list-type=2") {
        let contents = format!(
            "<Contents><Key>{KEY}</Key><LastModified>2015-10-21T07:28:00.000Z</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
            ETAG.replace('"', "&quot;"),
            object.len()
        );
        let list = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult><Name>bucket</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"
        );
        return send("200 OK", "", list.as_bytes());
    }
    if path == "/bucket/denied" {
        return send("403 Forbidden", "", b"<Error><Code>AccessDenied</Code></Error>");
    }
    if path == "/bucket/busy" {
        return send("503 Slow Down", "", b"<Error><Code>SlowDown</Code></Error>");
    }
    if path != "/bucket/shards/a%20b.tar" {
        return send("404 Not Found", "", b"<Error><Code>NoSuchKey</Code></Error>");
    }
    if value("if-match").is_some_and(|(_, known)| known != ETAG) {
        return send("412 Precondition Failed", "", b"");
    }
    let range = value("range").and_then(|(_, range)| range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok());
    match range {
        None => send("200 OK", &about, object),
        Some(from) => {
            let range = format!("{about}content-range: bytes {from}-{}/{}\r\n", object.len() - 1, object.len());
            send("206 Partial Content", &range, &object[from..])
        }
    }
}

/// Takes anything.
struct Anything;

impl ObjectSink for Anything {
    fn begin(&mut self, _: &ObjectInfo, _: u64) -> std::io::Result<()> {
        Ok(())
    }
    fn write(&mut self, _: &[u8]) -> std::io::Result<()> {
        Ok(())
    }
}

fn build(config: &dyn Config<dyn ObjectStore>) -> Box<dyn ObjectStore> {
    config.build(&StoreCx { folder: Path::new(".") }).expect("options")
}

fn public(endpoint: String) -> S3Config {
    S3Config { endpoint, anonymous: true, timeout: 5.0, ..S3Config::default() }
}

#[test]
fn s3_keeps_the_laws() {
    let object: Vec<u8> = (0..300_000u32).map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
    let (url, asked) = serve(object.clone());
    every_law(&public(url), &format!("s3://bucket/{KEY}"), &object, "s3://bucket/none.tar").expect("every law");
    let asked = asked.lock().expect("nobody panicked");
    assert!(asked.iter().all(|request| !request.to_lowercase().contains("authorization:")), "nobody is named to a public bucket");
    assert!(asked.iter().any(|request| request.to_lowercase().contains("range: bytes=150000-")), "the half is asked for: {asked:?}");
}

#[test]
fn refusals_say_what_helps_and_what_may_pass() {
    let (url, _) = serve(Vec::new());
    let store = build(&public(url));
    for (address, passes, words) in [
        ("s3://bucket/denied", false, "`anonymous = true`"),
        ("s3://bucket/none", false, "no such object"),
        ("s3://bucket/busy", true, "503"),
        ("s3://", false, "s3://BUCKET/KEY"),
        ("s3://bucket//x", false, "no key"),
    ] {
        let fault = store.fetch(address, None, &mut Anything).expect_err(address);
        assert!(fault.passes == passes && fault.why.contains(words), "{address}: {fault:?}");
    }
    let silent = build(&public("http://127.0.0.1:1".into())).fetch("s3://bucket/x", None, &mut Anything).expect_err("nobody is there");
    assert!(silent.passes, "{silent:?}");
}

#[test]
fn options_are_checked_and_decide_where_an_object_is() {
    let cx = StoreCx { folder: Path::new(".") };
    for (config, words) in [
        (S3Config { timeout: 0.0, ..S3Config::default() }, "`timeout`"),
        (S3Config { timeout: f64::NAN, ..S3Config::default() }, "`timeout`"),
        (S3Config { endpoint: "minio:9000".into(), ..S3Config::default() }, "https://minio"),
    ] {
        let error = config.build(&cx).expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    let realms = [
        build(&public("http://a".into())).realm(),
        build(&public("http://b".into())).realm(),
        build(&AzConfig { account: "one".into(), ..AzConfig::default() }).realm(),
        build(&AzConfig { account: "two".into(), ..AzConfig::default() }).realm(),
    ];
    assert!(realms[0] != realms[1] && realms[2] != realms[3], "{realms:?}");
    assert!(build(&GsConfig { endpoint: "http://gcs".into(), ..GsConfig::default() }).realm().contains("gcs"));
}
