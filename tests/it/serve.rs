//! `vlhub serve`: a page and a JSON API, asked over a socket as a browser asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use vlhub_sdk::image::{Rgb, RgbImage};

use crate::program::{SMALL, command, must, run};

/// A running server, ended when this goes.
struct Server {
    child: Child,
    /// `127.0.0.1:PORT`.
    address: String,
    /// What was printed as the address to open.
    printed: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Server {
    fn start(folder: &Path, args: &[&str]) -> Self {
        let mut program = command(folder);
        program.args(["serve", "logs/small", "--port", "0"]).args(args).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = program.spawn().expect("it starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
        let printed = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap_or_else(|| panic!("no address in {line:?}"));
        let address = printed.trim_start_matches("http://").split('/').next().expect("a host").to_owned();
        Self { child, printed: printed.to_owned(), address: address.replace("0.0.0.0", "127.0.0.1") }
    }

    /// The status, the head and the body of the answer to a request with further lines in its head.
    fn ask(&self, line: &str, head: &str, body: &[u8]) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        let host = if head.to_lowercase().contains("host:") { String::new() } else { format!("host: {}\r\n", self.address) };
        let head = format!("{line} HTTP/1.1\r\n{host}{head}content-length: {}\r\nconnection: close\r\n\r\n", body.len());
        // A server that has seen enough may close before everything is sent.
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).ok();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap_or_else(|| panic!("no head in {answer:?}"));
        let head = String::from_utf8_lossy(&answer[..end]).into_owned();
        (head.split(' ').nth(1).expect("a status").parse().expect("a number"), head, answer[end + 4..].to_vec())
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, answer) = self.ask(&format!("POST {path}"), "content-type: application/json\r\n", body.to_string().as_bytes());
        (status, serde_json::from_slice(&answer).unwrap_or_default())
    }
}

/// A trained run `logs/small`, and pictures in `photos`.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a directory");
    std::fs::write(folder.path().join("run.toml"), SMALL).expect("written");
    must(folder.path(), &["train", "run.toml", "train.steps=3"]);
    std::fs::create_dir(folder.path().join("photos")).expect("made");
    for (name, colour) in [("red", [200, 20, 20]), ("green", [20, 200, 20]), ("blue", [20, 20, 200])] {
        RgbImage::from_pixel(40, 30, Rgb(colour)).save(folder.path().join(format!("photos/{name}.png"))).expect("written");
    }
    folder
}

fn data_of(path: &Path) -> String {
    STANDARD.encode(std::fs::read(path).expect("it is there"))
}

#[test]
fn a_page_and_an_api_answer_about_pictures() {
    let folder = prepared();
    let server = Server::start(folder.path(), &["--images", "photos"]);

    let (status, head, page) = server.ask("GET /", "", b"");
    let page = String::from_utf8(page).expect("text");
    assert!(status == 200 && page.contains("<title>VL Hub</title>") && head.contains("default-src 'none'"), "{head}");
    assert!(!page.contains("http://") && !page.contains("https://"), "the page needs nothing from elsewhere");
    let about: Value = serde_json::from_slice(&server.ask("GET /api/about", "", b"").2).expect("JSON");
    assert_eq!((&about["indexed"], &about["texts"], &about["model"]), (&json!(3), &json!(true), &json!("logs/small")));

    let red = data_of(&folder.path().join("photos/red.png"));
    let (status, answer) = server.post(
        "/api/classify",
        &json!({"image": red, "classes": ["red square", "blue circle", "red square"], "templates": ["a {}", "one {c}"]}),
    );
    assert_eq!(status, 200, "{answer}");
    let scores: Vec<f64> =
        answer["scores"].as_array().expect("scores").iter().map(|row| row["score"].as_f64().expect("a number")).collect();
    assert!(scores.len() == 3 && scores.is_sorted_by(|a, b| a >= b), "{answer}");
    let sum: f64 = answer["scores"].as_array().expect("scores").iter().map(|row| row["probability"].as_f64().expect("a number")).sum();
    assert!((sum - 1.0).abs() < 1e-5, "{answer}");

    let (status, answer) = server.post("/api/search", &json!({"image": format!("data:image/png;base64,{red}"), "top": 2}));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["results"][0]["file"], json!("photos/red.png"), "a picture is nearest to itself: {answer}");
    assert!((answer["results"][0]["score"].as_f64().expect("a number") - 1.0).abs() < 1e-4, "{answer}");
    assert_eq!(server.post("/api/search", &json!({"text": "a red square"})).1["results"].as_array().map(Vec::len), Some(3));
    let (status, head, small) = server.ask("GET /picture/0", "", b"");
    assert!(status == 200 && head.contains("image/jpeg") && small.starts_with(&[0xff, 0xd8]), "{head}");
}

#[test]
fn wrong_and_oversized_requests_are_turned_away_and_the_server_goes_on() {
    let folder = prepared();
    let server = Server::start(folder.path(), &[]);
    for (line, head, body, wanted) in [
        ("GET /nothing", "", &b""[..], 404),
        ("GET /api/classify", "", b"", 405),
        ("DELETE /", "", b"", 405),
        ("POST /api/classify", "", b"{", 422),
        ("POST /api/classify", "", br#"{"image":"AAAA","classes":["a"]}"#, 422),
        ("POST /api/search", "", br#"{"text":"a"}"#, 422),
        ("GET /picture/0", "", b"", 404),
        ("GET /picture/-1", "", b"", 404),
        ("GET /", "host: example.org\r\n", b"", 403),
        ("POST /api/search", "origin: http://example.org\r\n", br#"{"text":"a"}"#, 403),
    ] {
        let (status, _, answer) = server.ask(line, head, body);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(status == wanted && answer.contains("error"), "{line} {head}: {status} {answer}");
    }
    let large = vec![b'a'; 33 << 20];
    assert_eq!(server.ask("POST /api/classify", "", &large).0, 413);
    assert_eq!(server.ask("GET /api/about", "", b"").0, 200, "it goes on");
}

#[test]
fn beyond_this_machine_a_token_is_asked_for() {
    let folder = prepared();
    let server = Server::start(folder.path(), &["--host", "0.0.0.0"]);
    let token = server.printed.split("?token=").nth(1).expect("a token is printed").to_owned();
    assert_eq!(server.ask("GET /api/about", "", b"").0, 401);
    assert_eq!(server.ask("GET /api/about", "authorization: Bearer nonsense\r\n", b"").0, 401);
    assert_eq!(server.ask("GET /api/about", &format!("authorization: Bearer {token}\r\n"), b"").0, 200);
    let (status, head, _) = server.ask(&format!("GET /?token={token}"), "", b"");
    assert!(status == 303 && head.contains("HttpOnly") && head.contains("location: /"), "{head}");
    assert_eq!(server.ask("GET /", &format!("cookie: vlhub_token={token}\r\n"), b"").0, 200);
    assert_eq!(server.ask("GET /?token=nonsense", "", b"").0, 401);

    let short = run(folder.path(), &["serve", "logs/small", "--token", "short"]);
    assert!(short.code == 2 && short.err.contains("at least 8"), "{}", short.err);
    let port = server.address.rsplit(':').next().expect("a port");
    let taken = run(folder.path(), &["serve", "logs/small", "--host", "0.0.0.0", "--port", port]);
    assert!(taken.code == 2 && taken.err.contains("cannot listen"), "{}", taken.err);
}
