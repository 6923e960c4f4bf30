//! Against a server on loopback that keeps a run as MLflow does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use vlhub_core::Metric;

use super::super::super::folder::Measurement;
use super::super::RunLogger;
use super::*;
use crate::formats::WeightSet;

/// What the server has.
#[derive(Default)]
struct Kept {
    /// Whether it answers with 503.
    busy: bool,
    /// Whether it refuses whoever asks.
    forbidden: bool,
    /// Whether it refuses files.
    full: bool,
    experiment: Option<String>,
    run: Option<Value>,
    params: Vec<Value>,
    /// Name, step and value, as they came.
    metrics: Vec<(String, u64, Value)>,
    files: Vec<String>,
    authorization: Option<String>,
}

struct Tracking {
    address: String,
    kept: Arc<Mutex<Kept>>,
}

impl Tracking {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let kept = Arc::new(Mutex::new(Kept::default()));
        let shared = kept.clone();
        std::thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &shared)));
        Self { address, kept }
    }

    fn kept<T>(&self, read: impl FnOnce(&mut Kept) -> T) -> T {
        read(&mut self.kept.lock().expect("no panic"))
    }
}

fn serve(mut stream: TcpStream, kept: &Mutex<Kept>) {
    let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
    let mut line = String::new();
    reader.read_line(&mut line).ok();
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok();
        match header.trim().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().expect("a length"),
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                kept.lock().expect("no panic").authorization = Some(value.trim().to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok();
    let (status, answer) = answer(&mut kept.lock().expect("no panic"), &path, &serde_json::from_slice(&body).unwrap_or_default());
    let text = answer.to_string();
    write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{text}", text.len()).ok();
}

fn answer(kept: &mut Kept, path: &str, body: &Value) -> (u16, Value) {
    if kept.forbidden {
        return (403, json!({ "error_code": "PERMISSION_DENIED", "message": "not for you" }));
    }
    if kept.busy {
        return (503, json!({}));
    }
    if let Some((_, file)) = path.split_once("/mlflow-artifacts/artifacts/") {
        if kept.full {
            return (500, json!({ "message": "no room" }));
        }
        kept.files.push(file.to_owned());
        return (200, json!({}));
    }
    let (what, _) = path.strip_prefix("/api/2.0/mlflow/").map(|rest| rest.split_once('?').unwrap_or((rest, ""))).expect("a path of MLflow");
    match what {
        "experiments/get-by-name" => match &kept.experiment {
            Some(_) => (200, json!({ "experiment": { "experiment_id": "7", "lifecycle_stage": "active" } })),
            None => (404, json!({ "error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none" })),
        },
        "experiments/create" => {
            kept.experiment = body["name"].as_str().map(str::to_owned);
            (200, json!({ "experiment_id": "7" }))
        }
        "runs/search" => {
            let tag = |run: &Value| {
                run["tags"].as_array().is_some_and(|tags| {
                    tags.iter().any(|tag| {
                        body["filter"]
                            .as_str()
                            .is_some_and(|filter| filter.contains(&format!("'{}'", tag["value"].as_str().unwrap_or("-"))))
                    })
                })
            };
            let runs: Vec<Value> = kept.run.iter().filter(|run| tag(run)).map(|run| described(run, kept)).collect();
            (200, json!({ "runs": runs }))
        }
        "runs/create" => {
            assert!(kept.run.is_none(), "a run is made once");
            kept.run = Some(body.clone());
            (200, json!({ "run": described(body, kept) }))
        }
        "runs/update" => {
            if let Some(run) = &mut kept.run {
                run["status"] = body["status"].clone();
            }
            (200, json!({}))
        }
        "runs/log-batch" => {
            let list = |key: &str| body[key].as_array().cloned().unwrap_or_default();
            kept.params.extend(list("params"));
            assert!(list("metrics").len() <= 1000 && list("params").len() <= 100, "MLflow's limits");
            let metric = |metric: &Value| {
                (metric["key"].as_str().expect("a name").to_owned(), metric["step"].as_u64().expect("a step"), metric["value"].clone())
            };
            kept.metrics.extend(list("metrics").iter().map(metric));
            (200, json!({}))
        }
        other => panic!("asked for {other}"),
    }
}

fn described(run: &Value, kept: &Kept) -> Value {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    for (name, step, _) in &kept.metrics {
        let known = last.entry(name).or_default();
        *known = (*known).max(*step);
    }
    let metrics: Vec<Value> = last.iter().map(|(key, step)| json!({ "key": key, "step": step, "value": 0 })).collect();
    json!({
        "info": { "run_id": "run1", "artifact_uri": "mlflow-artifacts:/7/run1/artifacts", "name": run["run_name"] },
        "data": { "metrics": metrics, "params": kept.params },
    })
}

fn open(folder: &Path, server: &str, past: Vec<LogRecord>, lr: f64) -> BackgroundLogger {
    let options = json!({ "optimizer": { "lr": lr }, "class_names": vec!["a class"; 100] });
    let options = options.as_object().expect("a table");
    let about = RunAbout { name: "small", folder, options, toml: "", resumed: None, past };
    let config = MlflowConfig { uri: server.replace("http://", "http://me:secret@"), ..MlflowConfig::default() };
    let settings = MlflowSettings::of(&config, &|_| None).expect("an address");
    let patience = Patience { pause: Duration::from_millis(20), longest: Duration::from_millis(50), last: Duration::from_millis(400) };
    start(&about, settings, patience).expect("it starts")
}

fn step(step: u64) -> LogRecord {
    LogRecord::Step { step, epoch: 0, values: vec![("loss".into(), 1.0 / step as f64)] }
}

fn evaluation(step: u64) -> LogRecord {
    let metrics = vec![Metric { name: "R@1".into(), value: f64::NAN, chance: None, interval: None }];
    LogRecord::Evaluation { suite: "shapes".into(), place: Measurement { step, epoch: 1, weights: WeightSet::Raw }, metrics }
}

/// The steps of a metric, as they came.
fn steps(server: &Tracking, name: &str) -> Vec<u64> {
    server.kept(|kept| kept.metrics.iter().filter(|(key, ..)| key == name).map(|(_, step, _)| *step).collect())
}

#[test]
fn a_resumed_run_is_found_again_and_no_step_is_sent_twice() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), Tracking::start());
    let mut logger = open(folder.path(), &server.address, Vec::new(), 0.1);
    for record in [step(1), step(2), evaluation(2), step(3)] {
        logger.write(&record).expect("room");
    }
    let png = Arc::new(b"png".to_vec());
    logger.write(&LogRecord::Image { tag: "train_batch", step: 3, size: (1, 1), png }).expect("room");
    assert_eq!(logger.finish(RunEnding::Stopped).expect("it ends").lost, 0);
    assert_eq!(server.kept(|kept| kept.run.clone().expect("it was made")["status"].clone()), "KILLED");
    // Step 2 was committed; what was sent of step 3 stays.
    let mut logger = open(folder.path(), &server.address, vec![step(1), step(2), evaluation(2)], 0.2);
    for record in [step(3), step(4), evaluation(4)] {
        logger.write(&record).expect("room");
    }
    let end = logger.finish(RunEnding::Finished).expect("it ends");
    assert!(end.lost == 0 && end.advice.is_some_and(|advice| advice.ends_with("/#/experiments/7/runs/run1")));
    assert_eq!(steps(&server, "train/loss"), [1, 2, 3, 4]);
    assert_eq!(steps(&server, "val/shapes-R_at_1"), [2, 4]);
    server.kept(|kept| {
        assert_eq!(kept.run.as_ref().expect("it was made")["status"], "FINISHED");
        let param =
            |name: &str| kept.params.iter().filter(|param| param["key"] == name).map(|param| param["value"].clone()).collect::<Vec<_>>();
        assert_eq!(param("optimizer.lr"), ["0.1"], "a parameter never changes");
        assert_eq!(param("class_names")[0].as_str().expect("a text").chars().count(), LONGEST, "cut to what MLflow takes");
        assert!(
            kept.files.contains(&"7/run1/artifacts/config.toml".into())
                && kept.files.contains(&"7/run1/artifacts/train_batch_3.png".into())
        );
        assert_eq!(kept.authorization.as_deref(), Some("Basic bWU6c2VjcmV0"));
        assert!(kept.metrics.iter().any(|(key, _, value)| key == "val/shapes-R_at_1" && value == "NaN"));
    });
}

#[test]
fn a_server_that_takes_no_files_gets_the_numbers() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), Tracking::start());
    server.kept(|kept| kept.full = true);
    let mut logger = open(folder.path(), &server.address, Vec::new(), 0.1);
    logger.write(&step(1)).expect("room");
    assert_eq!(logger.finish(RunEnding::Finished).expect("it ends").lost, 0);
    assert_eq!((steps(&server, "train/loss"), server.kept(|kept| kept.files.len())), (vec![1], 0));
}

#[test]
fn a_server_that_comes_back_gets_everything() {
    let (folder, server) = (tempfile::tempdir().expect("a folder"), Tracking::start());
    server.kept(|kept| kept.busy = true);
    let mut logger = open(folder.path(), &server.address, Vec::new(), 0.1);
    (1..=3000).for_each(|number| logger.write(&step(number)).expect("room"));
    std::thread::sleep(Duration::from_millis(100));
    server.kept(|kept| kept.busy = false);
    assert_eq!(logger.finish(RunEnding::Finished).expect("it ends").lost, 0);
    assert_eq!(steps(&server, "train/loss"), (1..=3000).collect::<Vec<_>>());
}

#[test]
fn a_server_that_is_away_or_refuses_costs_a_count_and_no_time() {
    let nobody = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let forbidden = Tracking::start();
    forbidden.kept(|kept| kept.forbidden = true);
    for address in [format!("http://{nobody}"), forbidden.address.clone()] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut logger = open(folder.path(), &address, Vec::new(), 0.1);
        let begin = std::time::Instant::now();
        (1..=10).for_each(|number| logger.write(&step(number)).expect("room"));
        assert!(begin.elapsed() < Duration::from_millis(200), "{address}: nothing waits for the server");
        let end = logger.finish(RunEnding::Finished).expect("it ends");
        assert_eq!((end.lost, end.advice), (10, None), "{address}");
        assert!(begin.elapsed() < Duration::from_secs(5), "{address}: the end of the run is not held up");
    }
}

#[test]
fn the_server_and_who_asks_are_read_from_options_and_environment() {
    let config = |uri: &str| MlflowConfig { uri: uri.into(), ..MlflowConfig::default() };
    let variables = |name: &str| match name {
        "MLFLOW_TRACKING_URI" => Some("https://tracking.example/base/".to_owned()),
        "MLFLOW_TRACKING_TOKEN" => Some("secret".to_owned()),
        "MLFLOW_EXPERIMENT_ID" => Some("3".to_owned()),
        _ => None,
    };
    let settings = MlflowSettings::of(&config(""), &variables).expect("an address");
    assert_eq!((settings.server.as_str(), settings.experiment_id.as_deref()), ("https://tracking.example/base", Some("3")));
    assert!(!format!("{settings:?}").contains("secret"));
    assert_eq!(MlflowSettings::of(&config("http://other:5000"), &variables).expect("an address").server, "http://other:5000");
    for uri in ["", "sqlite:///mlflow.db", "http://"] {
        let wrong = MlflowSettings::of(&config(uri), &|_| None).expect_err(uri);
        assert!(wrong.code == Failure::USAGE && wrong.message.contains("MLFLOW_TRACKING_URI"), "{wrong}");
    }
}
