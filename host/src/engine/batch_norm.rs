//! Batch norm in towers: which statistics normalise while a tower is trained, and what gradient caching makes of them.
//!
//! A batch norm in training mode normalises by the mean and variance of the rows that it is given. Under gradient caching these are a chunk's rows,
//! so loss and gradients are those of a model with other statistics ("ghost batch norm", arXiv 1705.08741). With running statistics a row's
//! output depends on that row alone, and chunks of any size are exact again.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tch::Tensor;
use vlhub_core::{Modality, Result};

use super::cache::GradCacheConfig;
use super::towers::Towers;

/// What the running mean of a batch norm is called behind the name of its layer, here and in PyTorch.
const RUNNING_MEAN: &str = ".running_mean";

/// `freeze_bn_stats`: which batch norms of a tower normalise by their running statistics while it is trained, and leave these as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "is `true`, `false` or \"all\"")]
pub enum FreezeStatistics {
    /// `true` means those whose weight is not trained, as with open_clip's `--lock-image-freeze-bn-stats`; `false` means none.
    Untrained(bool),
    /// Every batch norm; weights and biases are trained as ever.
    Every(All),
}

/// `all`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum All {
    /// Every batch norm.
    All,
}

impl Default for FreezeStatistics {
    fn default() -> Self {
        Self::Untrained(false)
    }
}

impl Towers {
    /// Batch norms of a tower by the name of their layer (`visual.trunk.bn1`), each with its running mean.
    pub(super) fn batch_norms(&self, modality: Modality) -> Vec<(String, Tensor)> {
        let means = self.variables().into_iter().filter_map(|(name, mean)| Some((name.strip_suffix(RUNNING_MEAN)?.to_owned(), mean)));
        means.filter(|(layer, _)| self.owner(&format!("{layer}{RUNNING_MEAN}")) == Some(modality)).collect()
    }

    /// Batch norms of a tower, split by what normalises them while the tower is trained: running statistics, or those of the rows.
    fn by_statistics(&self, modality: Modality) -> Result<(Vec<String>, Vec<String>)> {
        let net = self.net(modality)?;
        let all = self.vars.variables();
        let runs = |layer: &String| match net.freeze_statistics {
            FreezeStatistics::Every(All::All) => true,
            FreezeStatistics::Untrained(asked) => {
                let is_trained = all.get(&format!("{layer}.weight")).is_some_and(Tensor::requires_grad);
                net.locked || asked && !is_trained
            }
        };
        Ok(self.batch_norms(modality).into_iter().map(|(layer, _)| layer).partition(runs))
    }

    /// Sets which batch norms of a tower keep their running statistics. Call it again when something else is frozen or trained.
    ///
    /// # Errors
    /// When the run has no such tower.
    pub fn freeze_statistics(&mut self, modality: Modality, which: FreezeStatistics) -> Result<()> {
        self.net_mut(modality)?.freeze_statistics = which;
        let (running, _) = self.by_statistics(modality)?;
        self.keep_running(modality, &running)
    }

    /// Makes these towers, a moving average, normalise as the trained ones do: an average has no trained weights to tell it.
    ///
    /// # Errors
    /// When the trained towers have a tower that these lack.
    pub fn normalise_like(&mut self, trained: &Self) -> Result<()> {
        for modality in [Modality::Image, Modality::Text] {
            let Ok(net) = trained.net(modality) else { continue };
            self.net_mut(modality)?.locked = net.locked;
            let (running, _) = trained.by_statistics(modality)?;
            self.keep_running(modality, &running)?;
        }
        Ok(())
    }

    fn keep_running(&mut self, modality: Modality, layers: &[String]) -> Result<()> {
        let norms = self.batch_norms(modality).into_iter().filter(|(layer, _)| layers.contains(layer));
        let kept: BTreeSet<usize> = norms.map(|(_, mean)| mean.data_ptr() as usize).collect();
        self.net_mut(modality)?.kept = Some(Arc::new(kept));
        Ok(())
    }
}

/// Warnings where gradient caching cuts a batch of `batch` rows into chunks and a tower that is trained has batch norms that see one chunk at
/// a time. Reads no number of any tensor.
pub fn chunked(towers: &Towers, cache: &GradCacheConfig, batch: usize) -> Vec<String> {
    let warning = |modality: Modality| {
        let (_, by_rows) = towers.by_statistics(modality).ok()?;
        let first = by_rows.first().filter(|_| cache.splits(batch))?;
        Some(format!(
            "backbone.{modality}: train.grad_cache.rows = {} cuts the batch of {batch} rows into chunks, and {} batch norms of the tower ({first}, …) \
             normalise by the statistics of one chunk: loss and gradients are not those of the whole batch. They are with \
             `backbone.{modality}.freeze_bn_stats = \"all\"` (running statistics, for a tower with loaded weights), with \
             `train.grad_cache.rows = 0`, or with a tower without batch norm",
            cache.rows,
            by_rows.len(),
        ))
    };
    [Modality::Image, Modality::Text].into_iter().filter_map(warning).collect()
}

/// Warnings where running statistics are to stay as they are and nothing has ever set them: mean 0 and variance 1 normalise nothing.
pub fn unset(towers: &Towers) -> Vec<String> {
    let all = towers.vars.variables();
    let is_unset = |layer: &String| {
        let value =
            |name: &str, start: f64| all.get(&format!("{layer}.{name}")).is_some_and(|tensor| tensor.eq(start).all().int64_value(&[]) == 1);
        value("running_mean", 0.0) && value("running_var", 1.0)
    };
    let warning = |modality: Modality| {
        let net = towers.net(modality).ok().filter(|net| net.freeze_statistics != FreezeStatistics::default())?;
        let (running, _) = towers.by_statistics(modality).ok()?;
        let count = running.iter().filter(|layer| is_unset(layer)).count();
        (count > 0 && !net.locked).then(|| {
            format!(
                "backbone.{modality}.freeze_bn_stats: {count} of {} running statistics are still mean 0 and variance 1, which normalise nothing; \
                 load weights (`pretrained`, `backbone.{modality}.init`), or leave the option out",
                running.len()
            )
        })
    };
    [Modality::Image, Modality::Text].into_iter().filter_map(warning).collect()
}
