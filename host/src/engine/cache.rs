//! Gradient caching: how many rows run at once, and of how many chunks the graph is kept.

use serde::{Deserialize, Serialize};

use crate::section::memory_amount;

/// `train.grad_cache`. Chunks run through the towers one after the other: first without a graph, for the features that objectives compare;
/// then, when the objectives' gradients are known, once more with it. A chunk whose graph is kept from the first time does not run again.
///
/// Loss and gradients are those of the whole batch, for every objective, where a tower's output for a row depends on that row alone. A batch
/// norm that normalises by the rows it is given does not: see [`super::batch_norm`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GradCacheConfig {
    /// Chunk size in rows; 0 runs the whole batch at once.
    pub rows: i64,
    /// How many chunks keep their graph: a number, or `auto` for as many as fit `budget`. Memory beyond one chunk is flat with 0.
    pub keep: Keep,
    /// Memory budget of kept graphs with `auto`, such as `4 GiB`; empty takes half of what is free when the run starts (CPU only).
    pub budget: String,
}

/// How many chunks keep their graph: memory for activations against a second forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "is a number of chunks, or `auto`")]
pub enum Keep {
    /// This number of chunks.
    Chunks(u64),
    /// As many as fit into the budget.
    Word(Auto),
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// As many as fit into the budget.
    Auto,
}

impl Default for Keep {
    fn default() -> Self {
        Self::Chunks(0)
    }
}

impl GradCacheConfig {
    /// Whether a batch of `batch` rows is cut into more than one chunk.
    pub fn splits(&self, batch: usize) -> bool {
        u64::try_from(self.rows).is_ok_and(|rows| rows > 0 && rows < batch as u64)
    }

    /// `budget` in bytes; `None` when it is not given.
    ///
    /// # Errors
    /// A text that is no amount of memory.
    pub fn bytes(&self) -> Result<Option<u64>, String> {
        memory_amount(&self.budget)
    }

    /// `budget`, or half of what is free on this machine.
    pub fn budget(&self) -> u64 {
        self.bytes().ok().flatten().unwrap_or_else(|| available() / 2)
    }
}

/// Available memory in bytes, as the kernel estimates it; 0 where it does not tell.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_an_amount_of_memory_or_what_is_free() {
        let bytes = |text: &str| GradCacheConfig { budget: text.into(), ..GradCacheConfig::default() }.bytes();
        assert_eq!((bytes(""), bytes("4 GiB")), (Ok(None), Ok(Some(4 << 30))));
        assert!(bytes("much").is_err());
        assert!(available() > 0);
    }

    #[test]
    fn what_is_kept_is_a_number_or_a_word() {
        let read = |text: &str| serde_json::from_str::<GradCacheConfig>(text).map(|config| config.keep);
        assert_eq!(read(r#"{"keep": 3}"#).expect("a number"), Keep::Chunks(3));
        assert_eq!(read(r#"{"keep": "auto"}"#).expect("a word"), Keep::Word(Auto::Auto));
        assert!(read(r#"{"keep": "all"}"#).expect_err("unknown").to_string().contains("`auto`"));
    }
}
