//! Data that are not plain files of this machine, through the command line: compressed, on a web server, written by a command.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use vlhub_sdk::image::{ImageFormat, Rgb, RgbImage};

use crate::program::{Ran, SMALL, SMALL_DATA, command, ran};

/// Runs the program with a data cache of the test's own.
fn run(folder: &Path, args: &[&str]) -> Ran {
    ran(command(folder).env("VLHUB_DATA_CACHE", folder.join("cache")).args(args).output().expect("it starts"))
}

#[track_caller]
fn must(folder: &Path, args: &[&str]) -> String {
    let ran = run(folder, args);
    assert_eq!(ran.code, 0, "vlhub {}\n{}\n{}", args.join(" "), ran.out, ran.err);
    ran.out
}

/// A shard of pictures with captions.
fn shard(first: u8) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut put = |name: String, data: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_size(data.len() as u64);
        builder.append_data(&mut header, name, data).expect("memory does not fail");
    };
    for number in first..first + 12 {
        let picture = RgbImage::from_fn(20, 18, |x, y| Rgb([number.wrapping_mul(37), (x * 12) as u8, (y * 14) as u8]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).expect("memory does not fail");
        put(format!("{number:05}.png"), bytes.get_ref());
        put(format!("{number:05}.txt"), format!("picture number {number}").as_bytes());
    }
    builder.into_inner().expect("memory does not fail")
}

/// A folder with `a.tar`, the same compressed, and a run file.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let tar = shard(0);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(&tar).expect("memory does not fail");
    let gzip = gzip.finish().expect("memory does not fail");
    let cut = &gzip[..gzip.len() * 3 / 4];
    let zstandard = zstd::encode_all(&tar[..], 3).expect("memory does not fail");
    for (name, bytes) in [("a.tar", &tar[..]), ("a.tar.gz", &gzip), ("a.tar.zst", &zstandard), ("cut.tar.gz", cut)] {
        std::fs::write(folder.path().join(name), bytes).expect("room");
    }
    let text = SMALL.replace(SMALL_DATA, "").replace("batch = 16\nsteps = 14", "batch = 4\nsteps = 1\nmax_bad_fraction = 1.0");
    std::fs::write(folder.path().join("run.toml"), text).expect("room");
    folder
}

fn of(shards: &str) -> String {
    format!("data.train={{use=\"webdataset\",shards=\"{shards}\"}}")
}

/// The first batch of training as a picture, with its captions.
#[track_caller]
fn batch(folder: &Path, shards: &str, more: &[&str]) -> (Vec<u8>, String) {
    let out = folder.join("preview.png");
    let args = ["data", "preview", "run.toml", &of(shards), "--out", "preview.png"];
    must(folder, &[&args[..], more].concat());
    let text = std::fs::read_to_string(out.with_extension("txt")).expect("it was written");
    (std::fs::read(out).expect("it was written"), text)
}

/// Serves the files of a folder, and counts requests.
fn serve(folder: &Path) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let asked = Arc::new(AtomicUsize::new(0));
    let (folder, count) = (folder.to_owned(), Arc::clone(&asked));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let mut lines = BufReader::new(stream.try_clone().expect("a handle")).lines();
            let request = lines.next().and_then(Result::ok).unwrap_or_default();
            while lines.next().and_then(Result::ok).is_some_and(|line| !line.is_empty()) {}
            let path = request.split(' ').nth(1).unwrap_or("/").split('?').next().unwrap_or("/").to_owned();
            let (status, body) = match std::fs::read(folder.join(path.trim_start_matches('/'))) {
                Ok(body) => ("200 OK", body),
                Err(_) => ("404 Not Found", Vec::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"1\"\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok();
            stream.shutdown(Shutdown::Write).ok();
        }
    });
    (url, asked)
}

#[test]
fn batches_of_compressed_shards_are_those_of_the_plain_one() {
    let folder = folder();
    let plain = batch(folder.path(), "a.tar", &[]);
    assert!(plain.1.contains("picture number"), "{}", plain.1);
    for shards in ["a.tar.gz", "a.tar.zst", "{a.tar.gz,a.tar.zst}"] {
        let out = must(folder.path(), &["train", "run.toml", "--dry-run", &of(shards)]);
        let samples = if shards.starts_with('{') { "24 samples" } else { "12 samples" };
        assert!(out.contains(samples), "{shards}: {out}");
    }
    for shards in ["a.tar.gz", "a.tar.zst"] {
        assert!(batch(folder.path(), shards, &[]) == plain, "{shards}: another batch than that of a.tar");
    }
    must(folder.path(), &["data", "check", "a.tar.zst"]);
    let listed: Value = serde_json::from_str(&must(folder.path(), &["data", "cache", "--json"])).expect("JSON");
    assert_eq!(listed["files"].as_array().map(Vec::len), Some(2), "each was unpacked once: {listed}");
}

#[test]
fn a_compressed_table_is_the_table() {
    let folder = folder();
    std::fs::create_dir(folder.path().join("p")).expect("room");
    let mut table = String::from("filepath,title\n");
    for number in 0..8 {
        RgbImage::from_pixel(9, 9, Rgb([number * 30; 3])).save(folder.path().join(format!("p/{number}.png"))).expect("room");
        table += &format!("p/{number}.png,\"number {number}, of eight\"\n");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(table.as_bytes()).expect("memory does not fail");
    std::fs::write(folder.path().join("t.csv"), &table).expect("room");
    std::fs::write(folder.path().join("t.csv.gz"), gzip.finish().expect("memory does not fail")).expect("room");
    let check = |name| -> Value { serde_json::from_str(&must(folder.path(), &["data", "check", name, "--json"])).expect("JSON") };
    let (plain, packed) = (check("t.csv"), check("t.csv.gz"));
    assert_eq!((&plain["samples"], &plain["captions"]), (&packed["samples"], &packed["captions"]), "{plain} {packed}");
    assert_eq!((&packed["good"], &packed["captions"]), (&8.into(), &8.into()), "{packed}");
}

#[test]
fn what_was_cut_is_listed_and_the_rest_is_read() {
    let folder = folder();
    let ran = run(folder.path(), &["data", "check", "cut.tar.gz", "--json"]);
    let summary: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert!(ran.code == 3 && ran.out.contains("damaged compression") && ran.out.contains("it ends too early"), "{}", ran.out);
    assert!(summary["samples"].as_u64().is_some_and(|count| (6..16).contains(&count)), "{summary}");
}

#[test]
fn shards_of_a_web_server_come_once_and_check_asks_for_none() {
    let folder = folder();
    let (url, asked) = serve(folder.path());
    let shards = format!("{url}/a.tar.gz?signature=secret");
    must(folder.path(), &["check", "run.toml", &of(&shards)]);
    assert_eq!(asked.load(Ordering::SeqCst), 0, "a check brings nothing");
    let plain = batch(folder.path(), "a.tar", &[]);
    for _ in 0..2 {
        assert!(batch(folder.path(), &shards, &[]) == plain, "another batch than that of a.tar");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "it was brought once");

    let gone = run(folder.path(), &["train", "run.toml", "--dry-run", &of(&format!("{url}/{{a,b}}.tar?signature=secret"))]);
    assert!(gone.code == 2 && gone.err.contains("/b.tar`: status 404") && !gone.err.contains("secret"), "{} {}", gone.code, gone.err);

    let listed = must(folder.path(), &["data", "cache"]);
    assert!(listed.contains("/a.tar.gz") && !listed.contains("secret"), "{listed}");
    let cleared = must(folder.path(), &["data", "cache", "127.0.0.1", "--clear"]);
    assert!(cleared.contains("removed 2 files"), "{cleared}");
    batch(folder.path(), &shards, &[]);
    assert_eq!(asked.load(Ordering::SeqCst), 4, "it was brought again");
}

#[test]
fn commands_are_run_only_where_that_is_allowed() {
    let folder = folder();
    let shards = of("pipe:cat a.tar");
    for args in [&["train", "run.toml", "--dry-run", &shards][..], &["check", "run.toml", &shards], &["data", "check", "pipe:cat a.tar"]] {
        let ran = run(folder.path(), args);
        assert!(ran.code == 2 && ran.err.contains("--allow-pipe"), "{args:?}: {} {}", ran.code, ran.err);
    }
    let plain = batch(folder.path(), "a.tar", &[]);
    assert!(batch(folder.path(), "pipe:cat a.tar", &["--allow-pipe"]) == plain, "another batch than that of a.tar");
    let again = ["train", "run.toml", "--dry-run", &of("pipe:cat a.tar.gz"), "store.pipe.allow=true"];
    assert!(must(folder.path(), &again).contains("12 samples"));
    let ran = run(folder.path(), &["train", "run.toml", "--dry-run", "--allow-pipe", &of("pipe:echo no such bucket >&2; exit 4")]);
    assert!(ran.code == 2 && ran.err.contains("exit status: 4") && ran.err.contains("no such bucket"), "{} {}", ran.code, ran.err);
}

#[test]
fn stores_are_checked_with_the_rest_of_a_run_file() {
    let folder = folder();
    let ran = run(folder.path(), &["check", "run.toml", &of("s3://bucket/{00..09}.tar")]);
    assert!(ran.code == 2 && ran.err.contains("--features object-store`"), "{} {}", ran.code, ran.err);
    let text = std::fs::read_to_string(folder.path().join("run.toml")).expect("it is there");
    let stores = "[store.https]\ntimout = 3\n[store.ftp]\n[store.http]\ntimeout = \"long\"\n";
    std::fs::write(folder.path().join("wrong.toml"), format!("{text}{stores}")).expect("room");
    let ran = run(folder.path(), &["check", "wrong.toml"]);
    for wanted in ["did you mean `timeout`?", "store.ftp", "store.http.timeout"] {
        assert!(ran.code == 2 && ran.err.contains(wanted), "{wanted}: {}", ran.err);
    }
    let listed = must(folder.path(), &["plugins", "list", "store", "--all"]);
    assert!(listed.contains("https") && listed.contains("pipe"), "{listed}");
}
