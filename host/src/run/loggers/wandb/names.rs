//! What a run is called at W&B: options of `[log.wandb]`, and the variables of W&B where these are empty.

use std::path::PathBuf;

use vlhub_core::{Error, Result};

use crate::config::log::WandbConfig;

/// What the environment says. An empty variable is none.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a run is called.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RunNames {
    /// User or team; empty for whoever syncs.
    pub entity: String,
    pub project: String,
    pub group: String,
    pub job_type: String,
    /// The name that is shown.
    pub name: String,
    pub notes: String,
    pub tags: Vec<String>,
    /// The machine.
    pub host: String,
}

impl RunNames {
    /// The names of a run that is called `run` here.
    pub fn new(config: &WandbConfig, variables: Variables<'_>, run: &str) -> Self {
        let choose = |option: &str, variable: &str| match option {
            "" => variables(variable).unwrap_or_default(),
            given => given.to_owned(),
        };
        let or = |text: String, otherwise: &str| if text.is_empty() { otherwise.to_owned() } else { text };
        let tags = || variables("WANDB_TAGS").unwrap_or_default();
        let tags = || tags().split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect();
        Self {
            entity: choose(&config.entity, "WANDB_ENTITY"),
            project: or(choose(&config.project, "WANDB_PROJECT"), "vlhub"),
            group: choose(&config.group, "WANDB_RUN_GROUP"),
            job_type: choose("", "WANDB_JOB_TYPE"),
            name: or(choose("", "WANDB_NAME"), run),
            notes: choose(&config.notes, "WANDB_NOTES"),
            tags: if config.tags.is_empty() { tags() } else { config.tags.clone() },
            host: crate::checkpoint::host(),
        }
    }
}

/// Whether `WANDB_MODE` switches W&B off.
pub(super) fn is_disabled(variables: Variables<'_>) -> bool {
    variables("WANDB_MODE").is_some_and(|mode| mode == "disabled")
}

/// The folder of offline runs: `wandb` in `WANDB_DIR`, else in the run's folder.
pub(super) fn folder(variables: Variables<'_>, run: &std::path::Path) -> PathBuf {
    variables("WANDB_DIR").map_or_else(|| run.to_owned(), PathBuf::from).join("wandb")
}

/// `WANDB_RUN_ID`, or a new one.
///
/// # Errors
/// An id that W&B does not take.
pub(super) fn id(variables: Variables<'_>) -> Result<String> {
    let Some(id) = variables("WANDB_RUN_ID") else { return Ok(super::super::random_id()) };
    // As wandb checks it; a dot at the start would hide the file.
    if id.len() > 64 || id.starts_with('.') || id.contains(|letter: char| "/\\#?%:".contains(letter) || letter.is_control()) {
        return Err(Error::Options(format!("WANDB_RUN_ID: `{id}` cannot be the id of a run; use at most 64 letters, digits, `-` and `_`")));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_go_before_variables() {
        let variables = |name: &str| match name {
            "WANDB_PROJECT" => Some("from the environment".to_owned()),
            "WANDB_TAGS" => Some("a, b,".to_owned()),
            "WANDB_ENTITY" => Some("team".to_owned()),
            _ => None,
        };
        let config = WandbConfig { project: "mine".into(), ..WandbConfig::default() };
        let names = RunNames::new(&config, &variables, "run");
        assert_eq!((names.project.as_str(), names.entity.as_str(), names.name.as_str()), ("mine", "team", "run"));
        assert_eq!(names.tags, ["a", "b"]);
        let names = RunNames::new(&WandbConfig { tags: vec!["c".into()], ..WandbConfig::default() }, &|_| None, "run");
        assert_eq!((names.project.as_str(), names.tags.as_slice()), ("vlhub", &["c".to_owned()][..]));
    }

    #[test]
    fn ids_are_checked() {
        assert_eq!(id(&|_| Some("my-run_1".into())).expect("a good one"), "my-run_1");
        assert_eq!(id(&|_| None).expect("a new one").len(), 8);
        for bad in ["a/b", "..", "a:b", "a\nb"] {
            assert!(id(&|_| Some(bad.into())).is_err(), "{bad}");
        }
    }
}
