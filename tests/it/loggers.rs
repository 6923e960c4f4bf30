//! Loggers through the command line: `report_to` and `[log]`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;

use crate::program::{Ran, SMALL, command, must, ran, run};

const SUITE: &str =
    "[eval.shapes]\nuse = \"zeroshot\"\nevery = \"4 steps\"\ndata = { use = \"shapes\", split = \"held_out\", samples = 24, size = 16 }\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("run.toml"), format!("{SMALL}{SUITE}")).expect("written");
    folder
}

/// Runs it without the variables of loggers that whoever runs the tests has.
fn train(folder: &Path, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = command(folder);
    for (name, _) in std::env::vars_os() {
        if ["WANDB_", "MLFLOW_"].iter().any(|tool| name.to_string_lossy().starts_with(tool)) {
            command.env_remove(name);
        }
    }
    ran(command.args(["train", "run.toml"]).args(args).envs(variables.iter().copied()).output().expect("it starts"))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The rows of a CSV file, without the header, by column.
fn column(path: &Path, name: &str) -> Vec<String> {
    let text = read(path);
    let mut lines = text.lines();
    let at = lines.next().expect("a header").split(',').position(|column| column == name).expect(name);
    lines.map(|line| line.split(',').nth(at).expect("as wide as the header").to_owned()).collect()
}

#[test]
fn a_run_that_was_killed_and_resumed_has_every_step_once_everywhere() {
    let folder = folder();
    let loggers = "report_to=tensorboard,csv,wandb";
    let killed = train(folder.path(), &[loggers], &[("VLHUB_FAILPOINT", "step-8=abort")]);
    assert!(killed.code != 0 && !killed.err.contains("error:"), "{}", killed.err);
    let run = folder.path().join("logs/small");
    let offline: Vec<_> = std::fs::read_dir(run.join("wandb")).expect("it is there").flatten().map(|entry| entry.path()).collect();
    let resumed = train(folder.path(), &[loggers, "--resume"], &[("WANDB_PROJECT", "shapes")]);
    assert_eq!(resumed.code, 0, "{}", resumed.err);
    assert!(resumed.err.contains("wandb: `wandb sync"), "it says what to do with the run: {}", resumed.err);
    let lines: Vec<serde_json::Value> =
        read(&run.join("metrics.jsonl")).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let steps: Vec<String> = (1..=14).map(|step| step.to_string()).collect();
    assert_eq!(column(&run.join("metrics.csv"), "step"), steps);
    let losses: Vec<String> = lines.iter().map(|line| line["loss"].as_f64().expect("a number").to_string()).collect();
    assert_eq!(column(&run.join("metrics.csv"), "loss"), losses);
    // Measured after steps 4, 8 and 12, and at the end; the last committed step before the kill was 6.
    let measured: BTreeSet<_> =
        column(&run.join("evaluations.csv"), "step").into_iter().zip(column(&run.join("evaluations.csv"), "metric")).collect();
    assert_eq!(measured.len(), column(&run.join("evaluations.csv"), "step").len(), "no number twice");
    assert_eq!(measured.iter().map(|(step, _)| step.as_str()).collect::<BTreeSet<_>>(), BTreeSet::from(["4", "8", "12", "14"]));
    let [offline] = &offline[..] else { panic!("one offline run, not {offline:?}") };
    assert_eq!(std::fs::read_dir(run.join("wandb")).expect("it is there").count(), 1, "the resumed run goes on in the same");
    for file in ["config.toml", "config.yaml", "wandb-metadata.json", "wandb-summary.json"] {
        assert!(offline.join("files").join(file).is_file(), "{file}");
    }
    let summary: serde_json::Value = serde_json::from_str(&read(&offline.join("files/wandb-summary.json"))).expect("JSON");
    assert_eq!((&summary["_step"], &summary["train/loss"]), (&14.into(), &lines[13]["loss"]));
    assert!(summary["val/shapes-top1"].is_number(), "{summary}");
    assert_eq!(
        std::fs::read_dir(run.join("tensorboard")).expect("it is there").flatten().filter(|entry| entry.path().is_file()).count(),
        3,
        "two event files and the projector's list"
    );
    let rows = read(&run.join("tensorboard/projector/shapes/tensors.tsv")).lines().count();
    assert_eq!(read(&run.join("tensorboard/projector/shapes/metadata.tsv")).lines().count(), rows + 1, "a label for each row");
    assert!(rows > 24, "24 pictures and the classes: {rows}");
}

#[test]
fn wrong_names_get_a_suggestion_and_no_logger_is_no_file() {
    let folder = folder();
    for (argument, expected) in [
        ("report_to=tensorbord", "did you mean `tensorboard`?"),
        ("log.wandb.projct=a", "did you mean `project`?"),
        ("log.wanbd.project=a", "did you mean `wandb`?"),
        ("log.mlflow.uri=sqlite:///a.db", "write `http://HOST:PORT`"),
    ] {
        let refused = train(folder.path(), &[argument], &[]);
        assert!(refused.code == 2 && refused.err.contains(expected), "{argument}: {}", refused.err);
    }
    let refused = train(folder.path(), &["report_to=mlflow"], &[]);
    assert!(refused.code == 2 && refused.err.contains("MLFLOW_TRACKING_URI"), "{}", refused.err);
    assert!(!folder.path().join("logs").exists(), "nothing was written");
    must(folder.path(), &["train", "run.toml", "report_to=none", "train.steps=2"]);
    let run = folder.path().join("logs/small");
    assert!(run.join("metrics.jsonl").is_file());
    for name in ["tensorboard", "metrics.csv", "wandb", "loggers.json"] {
        assert!(!run.join(name).exists(), "{name}");
    }
}

#[test]
fn a_server_that_refuses_costs_no_run() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream.try_clone().expect("a stream"));
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some((_, value)) = line.to_lowercase().split_once("content-length:") {
                    length = value.trim().parse().expect("a length");
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).ok();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").ok();
        }
    });
    let folder = folder();
    let trained = train(folder.path(), &["report_to=mlflow", "eval.shapes.every=never"], &[("MLFLOW_TRACKING_URI", &address)]);
    assert_eq!(trained.code, 0, "{}", trained.err);
    let told: Vec<_> = trained.err.lines().filter(|line| line.contains("mlflow:")).collect();
    assert!(told.len() == 2 && told[0].contains("status 401") && told[1].contains("14 records were lost"), "{told:?}");
    let unchanged = run(folder.path(), &["train", "run.toml", "report_to=csv", "train.steps=15", "--resume", "--allow-changed"]);
    assert_eq!(unchanged.code, 0, "{}", unchanged.err);
    assert_eq!(column(&folder.path().join("logs/small/metrics.csv"), "step").len(), 15, "a logger that begins late has what was before");
}
