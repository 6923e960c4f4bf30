//! MLflow: a run at a tracking server, over its REST interface.
//!
//! The run is found again by a tag, `vlhub.run`, whose value `loggers.json` remembers. MLflow never forgets a number, so those of steps that a
//! resumed run takes again are not sent a second time: each metric goes on after the last step that the server has of it.

mod client;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use vlhub_core::Result;

use super::background::{BackgroundLogger, Patience, RecordSink, Refused};
use super::redact::redacted_options;
use super::state::LoggerState;
use super::{LogRecord, RunAbout, RunEnding, random_id, seconds};
use crate::config::document::{flat, to_toml};
use crate::config::log::MlflowConfig;
use crate::failure::{Failure, Outcome};
use client::{MlflowClient, MlflowError};
use names::MlflowNames;

/// Tag by which a run is found again.
const TAG: &str = "vlhub.run";
/// Limits of `runs/log-batch`.
const METRICS: usize = 1000;
const PARAMS: usize = 100;
/// Most characters of a parameter; what servers before 2.8 took.
const LONGEST: usize = 500;

/// Which server, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct MlflowSettings {
    /// Its address without a slash at the end, and without user and password.
    server: String,
    /// The experiment's name.
    experiment: String,
    /// The experiment's id, which goes before its name.
    experiment_id: Option<String>,
    token: Option<String>,
    user: Option<(String, String)>,
    /// Certificates that are believed instead of the ones that the program ships, in PEM.
    certificates: Option<PathBuf>,
}

impl std::fmt::Debug for MlflowSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MlflowSettings").field("server", &self.server).field("experiment", &self.experiment).finish_non_exhaustive()
    }
}

impl MlflowSettings {
    /// # Errors
    /// Exit status 2 when no server is named.
    pub fn of_environment(config: &MlflowConfig) -> Outcome<Self> {
        Self::of(config, &|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    fn of(config: &MlflowConfig, variables: &dyn Fn(&str) -> Option<String>) -> Outcome<Self> {
        let option = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let uri = option(&config.uri).or_else(|| variables("MLFLOW_TRACKING_URI")).unwrap_or_default();
        let (scheme, rest) = uri.split_once("://").unwrap_or_default();
        if !["http", "https"].contains(&scheme) || rest.is_empty() {
            let given = if uri.is_empty() { String::new() } else { format!("; `{uri}` is none") };
            return Err(Failure::usage(format!(
                "report_to: `mlflow` needs the address of a tracking server, as `log.mlflow.uri` or MLFLOW_TRACKING_URI{given}; write \
                 `http://HOST:PORT` (`mlflow server` starts one)"
            )));
        }
        let (user, host) = rest.rsplit_once('@').map_or((None, rest), |(user, host)| (user.split_once(':'), host));
        let named = variables("MLFLOW_TRACKING_USERNAME").zip(variables("MLFLOW_TRACKING_PASSWORD"));
        let experiment = option(&config.experiment);
        Ok(Self {
            server: format!("{scheme}://{}", host.trim_end_matches('/')),
            experiment_id: if experiment.is_none() { variables("MLFLOW_EXPERIMENT_ID") } else { None },
            experiment: experiment.or_else(|| variables("MLFLOW_EXPERIMENT_NAME")).unwrap_or_else(|| "vlhub".into()),
            token: variables("MLFLOW_TRACKING_TOKEN"),
            user: named.or_else(|| user.map(|(name, password)| (name.to_owned(), password.to_owned()))),
            certificates: ["MLFLOW_TRACKING_SERVER_CERT_PATH", "SSL_CERT_FILE"].iter().find_map(|name| variables(name)).map(PathBuf::from),
        })
    }
}

/// Starts the logger. The server is asked on another thread, so nothing waits for it.
///
/// # Errors
/// What `loggers.json` or the certificates refuse.
pub(super) fn open(about: &RunAbout<'_>, config: &MlflowConfig) -> Result<BackgroundLogger> {
    let settings = MlflowSettings::of_environment(config).map_err(|failure| vlhub_core::Error::Options(failure.message))?;
    start(about, settings, Patience::default())
}

fn start(about: &RunAbout<'_>, settings: MlflowSettings, patience: Patience) -> Result<BackgroundLogger> {
    let mut state = LoggerState::of(about.folder);
    let id = match &state.mlflow {
        Some(id) => id.clone(),
        None => {
            let id = random_id();
            state.mlflow = Some(id.clone());
            state.save(about.folder)?;
            id
        }
    };
    let client = MlflowClient::new(&settings).map_err(vlhub_core::Error::invalid)?;
    let options = redacted_options(about.options);
    let name = about.name.to_owned();
    let sink = MlflowSink {
        client,
        settings,
        id,
        name,
        options,
        place: None,
        takes_files: true,
        shut: None,
        names: MlflowNames::default(),
        told: 0,
    };
    BackgroundLogger::start(sink, about.past.clone(), patience)
}

/// A run at the server.
#[derive(Debug)]
struct MlflowRun {
    experiment: String,
    id: String,
    /// Where its files go; `None` where the server does not take them.
    artifacts: Option<String>,
    /// The last step that the server has of each metric, by MLflow's name.
    sent: BTreeMap<String, u64>,
}

struct MlflowSink {
    client: MlflowClient,
    settings: MlflowSettings,
    id: String,
    name: String,
    options: Map<String, Value>,
    /// The run, once it is found or made. Forgotten when a request failed: what has arrived of it, only the server knows.
    place: Option<MlflowRun>,
    /// Whether files are uploaded.
    takes_files: bool,
    /// Why the server never takes this run.
    shut: Option<String>,
    names: MlflowNames,
    /// Names that are others at MLflow, as far as they were told.
    told: usize,
}

impl MlflowSink {
    /// The run at the server: found by its tag, or made.
    fn connect(&mut self) -> Result<MlflowRun, MlflowError> {
        let experiment = self.experiment()?;
        let filter = format!("tags.`{TAG}` = '{}'", self.id);
        let found = self.client.post("runs/search", &json!({ "experiment_ids": [experiment], "filter": filter, "max_results": 1 }))?;
        let run = match found["runs"].get(0) {
            Some(run) => {
                let body = json!({ "run_id": run["info"]["run_id"], "status": "RUNNING" });
                self.client.post("runs/update", &body)?;
                run.clone()
            }
            None => {
                let tags = [(TAG, self.id.as_str()), ("mlflow.source.name", "vlhub"), ("mlflow.source.type", "LOCAL")];
                let tags: Vec<Value> = tags.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect();
                let body = json!({ "experiment_id": experiment, "run_name": self.name, "start_time": milliseconds(), "tags": tags });
                self.client.post("runs/create", &body)?["run"].clone()
            }
        };
        let id = run["info"]["run_id"].as_str().unwrap_or_default().to_owned();
        let pairs = |list: &Value| list.as_array().cloned().unwrap_or_default();
        let sent: BTreeMap<String, u64> = pairs(&run["data"]["metrics"])
            .iter()
            .filter_map(|metric| Some((metric["key"].as_str()?.to_owned(), step_of(metric)?)))
            .collect();
        if let Some(last) = sent.values().max() {
            tracing::info!("mlflow: the server has this run up to step {last}; what it has stays, and the run goes on behind it");
        }
        let artifacts = run["info"]["artifact_uri"].as_str().and_then(|uri| uri.strip_prefix("mlflow-artifacts:"));
        let artifacts = artifacts.map(|path| match path.strip_prefix("//") {
            Some(rest) => rest.split_once('/').map_or("", |(_, path)| path).to_owned(),
            None => path.trim_start_matches('/').to_owned(),
        });
        self.parameters(&id, &pairs(&run["data"]["params"]))?;
        let run = MlflowRun { experiment, id, artifacts, sent };
        self.upload(&run, "config.toml", to_toml(&self.options).as_bytes());
        Ok(run)
    }

    fn experiment(&self) -> Result<String, MlflowError> {
        if let Some(id) = &self.settings.experiment_id {
            return Ok(id.clone());
        }
        let name = &self.settings.experiment;
        let find = || self.client.get("experiments/get-by-name", &[("experiment_name", name)]);
        let id = |answer: &Value| answer["experiment"]["experiment_id"].as_str().unwrap_or_default().to_owned();
        match find() {
            Ok(answer) if answer["experiment"]["lifecycle_stage"] == "deleted" => Err(MlflowError::Other(Refused::Never(format!(
                "the experiment `{name}` was deleted; restore it, or name another as `log.mlflow.experiment`"
            )))),
            Ok(answer) => Ok(id(&answer)),
            Err(MlflowError::Answer(code, _)) if code == "RESOURCE_DOES_NOT_EXIST" => {
                match self.client.post("experiments/create", &json!({ "name": name })) {
                    Ok(answer) => Ok(answer["experiment_id"].as_str().unwrap_or_default().to_owned()),
                    // Another run was faster.
                    Err(MlflowError::Answer(code, _)) if code == "RESOURCE_ALREADY_EXISTS" => find().map(|answer| id(&answer)),
                    Err(error) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Logs the options that the server does not have; it changes none that it has.
    fn parameters(&mut self, run: &str, there: &[Value]) -> Result<(), MlflowError> {
        let (mut new, mut changed) = (Vec::new(), Vec::new());
        let mut names = MlflowNames::default();
        for (name, value) in flat(&self.options) {
            let value: String = match value.char_indices().nth(LONGEST) {
                Some(_) => value.chars().take(LONGEST - 1).chain(['…']).collect(),
                None => value,
            };
            let key = names.name(&name);
            match there.iter().find(|param| param["key"] == key.as_str()) {
                None => new.push(json!({ "key": key, "value": value })),
                Some(param) if param["value"].as_str().unwrap_or_default() != value => changed.push(name),
                Some(_) => {}
            }
        }
        if !changed.is_empty() {
            let list = changed.join(", ");
            tracing::warn!("mlflow: parameters never change there, so it shows earlier values of {list}; `config.toml` has the new ones");
        }
        for params in new.chunks(PARAMS) {
            self.client.post("runs/log-batch", &json!({ "run_id": run, "params": params }))?;
        }
        Ok(())
    }

    /// Uploads a file of the run, where the server takes files. What it does not take is told once, and numbers go on.
    fn upload(&mut self, run: &MlflowRun, name: &str, bytes: &[u8]) {
        let Some(folder) = run.artifacts.as_ref().filter(|_| self.takes_files) else { return };
        if let Err(error) = self.client.upload(&format!("{folder}/{name}"), bytes) {
            self.takes_files = false;
            let (Refused::Later(why) | Refused::Never(why)) = Refused::from(error);
            tracing::warn!("mlflow: `{name}` was not uploaded ({why}), and no other file will be");
        }
    }

    fn log(&mut self, run: &mut MlflowRun, records: &[LogRecord]) -> Result<(), MlflowError> {
        let mut metrics = Vec::new();
        for record in records {
            let mut values = record.scalars();
            match record {
                LogRecord::Step { epoch, .. } => values.push(("epoch".into(), *epoch as f64)),
                LogRecord::Image { tag, step, png, .. } => self.upload(run, &format!("{tag}_{step}.png"), png),
                LogRecord::Evaluation { .. } | LogRecord::Embeddings { .. } => {}
            }
            for (name, value) in values {
                let (key, step) = (self.names.name(&name), record.step());
                if run.sent.get(&key).is_none_or(|sent| *sent < step) {
                    metrics.push((key, step, value));
                }
            }
        }
        for batch in metrics.chunks(METRICS) {
            let time = milliseconds();
            let list: Vec<Value> = batch
                .iter()
                .map(|(key, step, value)| json!({ "key": key, "value": number(*value), "timestamp": time, "step": step }))
                .collect();
            self.client.post("runs/log-batch", &json!({ "run_id": run.id, "metrics": list }))?;
            for (key, step, _) in batch {
                run.sent.insert(key.clone(), *step);
            }
        }
        let changed: Vec<String> = self.names.changed().map(|(ours, name)| format!("`{ours}` is `{name}`")).collect();
        if changed.len() > self.told {
            self.told = changed.len();
            tracing::info!("mlflow: names that it does not take are changed there: {}", changed.join(", "));
        }
        Ok(())
    }

    /// Does something with the run at the server, and forgets the run where that failed.
    fn with_run<T>(&mut self, act: impl FnOnce(&mut Self, &mut MlflowRun) -> Result<T, MlflowError>) -> Result<T, Refused> {
        if let Some(why) = &self.shut {
            return Err(Refused::Never(why.clone()));
        }
        let mut run = match self.place.take() {
            Some(run) => run,
            None => self.connect().map_err(Refused::from).inspect_err(|refused| {
                if let Refused::Never(why) = refused {
                    self.shut = Some(why.clone());
                }
            })?,
        };
        let done = act(self, &mut run)?;
        self.place = Some(run);
        Ok(done)
    }
}

impl RecordSink for MlflowSink {
    fn name(&self) -> &'static str {
        "mlflow"
    }

    fn send(&mut self, records: &[LogRecord]) -> Result<(), Refused> {
        self.with_run(|this, run| this.log(run, records))
    }

    fn end(&mut self, ending: RunEnding) -> Result<String, Refused> {
        self.with_run(|this, run| {
            let status = match ending {
                RunEnding::Finished => "FINISHED",
                RunEnding::Failed => "FAILED",
                RunEnding::Stopped => "KILLED",
            };
            this.client.post("runs/update", &json!({ "run_id": run.id, "status": status, "end_time": milliseconds() }))?;
            Ok(format!("{}/#/experiments/{}/runs/{}", this.settings.server, run.experiment, run.id))
        })
    }
}

/// A number in JSON, as protocol buffers write it: what is not finite is a text.
fn number(value: f64) -> Value {
    match value {
        value if value.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        value => value.into(),
    }
}

/// The step of a metric, which is a number or a text.
fn step_of(metric: &Value) -> Option<u64> {
    match &metric["step"] {
        Value::String(text) => text.parse().ok(),
        Value::Null => Some(0),
        number => number.as_u64(),
    }
}

fn milliseconds() -> u64 {
    (seconds() * 1000.0) as u64
}
