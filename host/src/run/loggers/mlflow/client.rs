//! Requests to a tracking server.

use std::time::Duration;

use base64::Engine as _;
use serde_json::Value;
use ureq::Agent;

use super::super::background::Refused;
use super::MlflowSettings;
use crate::hub::http::tls;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Asks one server.
#[derive(Debug)]
pub(super) struct MlflowClient {
    agent: Agent,
    server: String,
    authorization: Option<String>,
}

/// What a server answered instead of what was asked for.
#[derive(Debug)]
pub(super) enum MlflowError {
    /// MLflow's error code, such as `RESOURCE_DOES_NOT_EXIST`, and the whole answer in words.
    Answer(String, Refused),
    /// Anything else.
    Other(Refused),
}

impl From<MlflowError> for Refused {
    fn from(error: MlflowError) -> Self {
        match error {
            MlflowError::Answer(_, refused) | MlflowError::Other(refused) => refused,
        }
    }
}

impl MlflowClient {
    /// # Errors
    /// Certificates that cannot be read.
    pub fn new(settings: &MlflowSettings) -> Result<Self, String> {
        let tls = tls(settings.certificates.as_deref()).map_err(|why| why.to_string())?;
        let agent = Agent::config_builder()
            .tls_config(tls)
            // Another host must not be shown what this one may know.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(concat!("vlhub/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(TIMEOUT / 3))
            .timeout_global(Some(TIMEOUT))
            .build()
            .new_agent();
        let basic = |(user, password): &(String, String)| base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        let authorization = match (&settings.token, &settings.user) {
            (Some(token), _) => Some(format!("Bearer {token}")),
            (None, user) => user.as_ref().map(|user| format!("Basic {}", basic(user))),
        };
        Ok(Self { agent, server: settings.server.clone(), authorization })
    }

    /// `GET /api/2.0/mlflow/PATH`.
    ///
    /// # Errors
    /// No answer, or an error.
    pub fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, MlflowError> {
        let mut request = self.agent.get(format!("{}/api/2.0/mlflow/{path}", self.server));
        for (name, value) in query {
            request = request.query(name, value);
        }
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        self.answer(request.call())
    }

    /// `POST /api/2.0/mlflow/PATH`.
    ///
    /// # Errors
    /// No answer, or an error.
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, MlflowError> {
        let mut request = self.agent.post(format!("{}/api/2.0/mlflow/{path}", self.server)).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        self.answer(request.send(body.to_string().as_bytes()))
    }

    /// Uploads a file where the server takes files for its runs.
    ///
    /// # Errors
    /// No answer, or an error.
    pub fn upload(&self, path: &str, bytes: &[u8]) -> Result<(), MlflowError> {
        let mut request = self.agent.put(format!("{}/api/2.0/mlflow-artifacts/artifacts/{path}", self.server));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        self.answer(request.send(bytes)).map(|_| ())
    }

    fn answer(&self, answer: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<Value, MlflowError> {
        let server = &self.server;
        let mut answer = answer.map_err(|error| MlflowError::Other(Refused::Later(format!("{server}: {error}"))))?;
        let status = answer.status();
        let text = answer.body_mut().read_to_string().map_err(|error| MlflowError::Other(Refused::Later(format!("{server}: {error}"))))?;
        let value: Option<Value> = serde_json::from_str(if text.is_empty() { "{}" } else { &text }).ok();
        if status.is_success() {
            return value.ok_or_else(|| MlflowError::Other(Refused::Never(format!("{server} does not answer as MLflow does"))));
        }
        let value = value.unwrap_or_default();
        let code = value["error_code"].as_str().unwrap_or_default().to_owned();
        let message: String = value["message"].as_str().unwrap_or(&text).chars().filter(|letter| !letter.is_control()).take(300).collect();
        let words = [format!("{server} answered with status {}", status.as_u16()), code.clone(), message];
        let words = words.iter().filter(|word| !word.is_empty()).map(String::as_str).collect::<Vec<_>>().join(": ");
        let passes = matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504);
        let refused = if passes { Refused::Later(words) } else { Refused::Never(words) };
        Err(MlflowError::Answer(code, refused))
    }
}
