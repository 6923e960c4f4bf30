//! `report_to` and `[log]`: where the numbers of a run go besides its JSON lines.

use serde::{Deserialize, Serialize};

use crate::failure::hint;
use crate::section::Section;

/// The table that holds [`WandbConfig`] and [`MlflowConfig`]. It never changes a number that a run computes.
pub const LOG: &str = "log";

/// A logger that `report_to` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoggerName {
    /// Event files for TensorBoard, in `tensorboard/`.
    TensorBoard,
    /// `metrics.csv` and `evaluations.csv`.
    Csv,
    /// An offline run of Weights & Biases, in `wandb/`.
    Wandb,
    /// An MLflow tracking server.
    Mlflow,
}

impl LoggerName {
    /// Every logger, as `report_to` names it.
    pub const ALL: [(&'static str, Self); 4] =
        [("tensorboard", Self::TensorBoard), ("csv", Self::Csv), ("wandb", Self::Wandb), ("mlflow", Self::Mlflow)];

    /// The loggers of a list, each once. As open_clip's `--report-to` does, one text may name several with commas between them, `all` stands for
    /// `tensorboard` and `wandb`, and `none` or an empty text for no logger.
    ///
    /// # Errors
    /// The first name that is no logger's, and the nearest one that is.
    pub fn parse(list: &[String]) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        for word in list.iter().flat_map(|text| text.split(',')).map(str::trim) {
            let named: &[Self] = match word {
                "" | "none" => &[],
                "all" => &[Self::TensorBoard, Self::Wandb],
                _ => match Self::ALL.iter().find(|(name, _)| *name == word) {
                    Some((_, logger)) => std::slice::from_ref(logger),
                    None => {
                        let names = Self::ALL.map(|(name, _)| name);
                        return Err(format!("there is no logger `{word}`{}", hint(word, &names)));
                    }
                },
            };
            named.iter().for_each(|logger| {
                if !found.contains(logger) {
                    found.push(*logger);
                }
            });
        }
        Ok(found)
    }
}

/// `[log.wandb]`: what an offline run of Weights & Biases is called. Options that are empty take the variable of W&B, where it is set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WandbConfig {
    /// Project; without it `WANDB_PROJECT`, else `vlhub`.
    pub project: String,
    /// Entity (user or team); without it `WANDB_ENTITY`, else whoever syncs.
    pub entity: String,
    /// Group of runs; without it `WANDB_RUN_GROUP`.
    pub group: String,
    /// Tags; without them `WANDB_TAGS`, which has commas between them.
    pub tags: Vec<String>,
    /// Notes in Markdown; without them `WANDB_NOTES`.
    pub notes: String,
}

impl Section for WandbConfig {
    const NAME: &'static str = "log.wandb";
}

/// `[log.mlflow]`: which tracking server, and where in it. Who asks is said by the environment alone: `MLFLOW_TRACKING_TOKEN`, or
/// `MLFLOW_TRACKING_USERNAME` and `MLFLOW_TRACKING_PASSWORD`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MlflowConfig {
    /// Address of the tracking server, such as `http://localhost:5000`; without it `MLFLOW_TRACKING_URI`.
    pub uri: String,
    /// Experiment, made when it is not there; without it `MLFLOW_EXPERIMENT_NAME`, else `vlhub`.
    pub experiment: String,
}

impl Section for MlflowConfig {
    const NAME: &'static str = "log.mlflow";

    fn check(&self) -> Vec<(&'static str, String)> {
        let wrong = !self.uri.is_empty() && !self.uri.starts_with("http://") && !self.uri.starts_with("https://");
        let message = || format!("`{}` is no address of a tracking server; write `http://HOST:PORT`", self.uri);
        if wrong { vec![("uri", message())] } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loggers_are_named_as_open_clip_names_them() {
        use LoggerName::{Csv, Mlflow, TensorBoard, Wandb};
        for (list, expected) in [
            (&["wandb,tensorboard"][..], vec![Wandb, TensorBoard]),
            (&["all"], vec![TensorBoard, Wandb]),
            (&["none"], vec![]),
            (&[""], vec![]),
            (&["csv", "mlflow", "csv"], vec![Csv, Mlflow]),
        ] {
            let list: Vec<String> = list.iter().map(|text| (*text).to_owned()).collect();
            assert_eq!(LoggerName::parse(&list).as_ref(), Ok(&expected), "{list:?}");
        }
        let wrong = LoggerName::parse(&["tensorbord".into()]).expect_err("a wrong name");
        assert!(wrong.contains("`tensorbord`") && wrong.contains("did you mean `tensorboard`?"), "{wrong}");
    }
}
