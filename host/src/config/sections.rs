//! The tables of a run file that the host owns.

use serde::{Deserialize, Serialize};

/// Top-level keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopConfig {
    /// Name of the run; its folder is `logs/name`. Made from date, model and rates when empty.
    pub name: String,
    /// Folder of all runs.
    pub logs: String,
    /// Seed of every draw.
    pub seed: u64,
    /// Width of the joint space.
    pub embed: i64,
    /// Keep the text tower's parameters under `text.`, as open_clip does with what it calls custom text towers.
    pub custom_text: bool,
    /// An open_clip model name, which stands for the two `backbone` tables and `embed`.
    pub model: String,
    /// Weights to start from: a safetensors file with open_clip's names.
    pub pretrained: String,
    /// Plugin libraries to load.
    pub libraries: Vec<String>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// Where token ids come from: `clip`, or a `tokenizer.json`.
    pub tokenizer: String,
}

impl Default for TopConfig {
    fn default() -> Self {
        Self {
            name: String::new(),
            logs: "logs".into(),
            seed: 0,
            embed: 512,
            custom_text: false,
            model: String::new(),
            pretrained: String::new(),
            libraries: Vec::new(),
            device: "auto".into(),
            tokenizer: "clip".into(),
        }
    }
}

/// `[train]`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Rows of a batch.
    pub batch: usize,
    /// Passes over the data.
    pub epochs: u64,
    /// Steps of the run; 0 takes `epochs`.
    pub steps: u64,
    /// Rows that run through the towers at once: gradient caching, exact for every objective. 0 runs the whole batch.
    pub chunk_rows: i64,
    /// Threads that read, decode and augment.
    pub workers: usize,
    /// Threads of libtorch; 0 takes one for each core.
    pub torch_threads: i32,
    /// Steps between two lines of the log.
    pub log_every: u64,
    /// Steps between two checkpoints; 0 saves at the end of every epoch. The end of the run is always saved.
    pub save_every: u64,
    /// How many of the newest checkpoints are kept; at least 2.
    pub keep_last: usize,
    /// Every checkpoint whose step is a multiple of this is kept too; 0 for none.
    pub keep_every: u64,
    /// Share of unusable samples at which the run stops.
    pub max_bad_fraction: f64,
    /// Unusable samples in a row at which the run stops.
    pub max_bad_run: u64,
    /// How many steps with a loss or gradient that is not finite are passed over before the run stops.
    pub skip_nonfinite: u64,
    /// Cut the token matrix to the longest text of the batch, where the text tower allows it; exact.
    pub truncate: bool,
    /// Write `train_batch0.png` before the first step.
    pub show_batch: bool,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            batch: 64,
            epochs: 1,
            steps: 0,
            chunk_rows: 0,
            workers: 2,
            torch_threads: 0,
            log_every: 100,
            save_every: 0,
            keep_last: 2,
            keep_every: 0,
            max_bad_fraction: 0.01,
            max_bad_run: 1000,
            skip_nonfinite: 0,
            truncate: true,
            show_batch: true,
        }
    }
}

/// When a suite runs: `end`, `never`, `N epochs` or `N steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Every {
    /// After the last step.
    End,
    /// Only with `vlhub eval`.
    Never,
    /// After every N epochs, and at the end.
    Epochs(u64),
    /// After every N steps, and at the end.
    Steps(u64),
}

impl Every {
    /// Parses the text of the option.
    ///
    /// # Errors
    /// What may be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no time; write `end`, `never`, `1 epoch`, `500 steps`");
        match text.trim() {
            "end" => return Ok(Self::End),
            "never" => return Ok(Self::Never),
            _ => {}
        }
        let (number, unit) = text.trim().split_once(' ').ok_or_else(wrong)?;
        let number: u64 = number.parse().ok().filter(|number| *number > 0).ok_or_else(wrong)?;
        match unit.trim().trim_end_matches('s') {
            "epoch" => Ok(Self::Epochs(number)),
            "step" => Ok(Self::Steps(number)),
            _ => Err(wrong()),
        }
    }

    /// Whether it is time after `done` steps of `total`.
    pub fn is_due(self, done: u64, total: u64, epoch: u64) -> bool {
        match self {
            Self::Never => false,
            Self::End => done == total,
            Self::Epochs(number) => done == total || done.is_multiple_of(epoch.saturating_mul(number).max(1)),
            Self::Steps(number) => done == total || done.is_multiple_of(number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_parsed_and_come_due() {
        for (text, done, due, why) in [
            ("end", 100, true, "the last step"),
            ("end", 50, false, "not yet"),
            ("never", 100, false, "never"),
            ("1 epoch", 25, true, "after an epoch of 25 steps"),
            ("2 epochs", 25, false, "after two"),
            ("30 steps", 60, true, "a multiple"),
            ("30 steps", 100, true, "the end is always measured"),
        ] {
            assert_eq!(Every::parse(text).expect(text).is_due(done, 100, 25), due, "{text} at {done}: {why}");
        }
        for text in ["", "soon", "0 epochs", "1 week", "epoch"] {
            assert!(Every::parse(text).is_err(), "{text}");
        }
    }
}
