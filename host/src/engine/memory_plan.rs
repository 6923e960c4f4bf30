//! `train.memory`: how a batch is cut so that the graphs of its towers fit into an amount of memory.

use vlhub_core::{Batch, InputSpec, Modality, Need, Result};

use super::batch_norm;
use super::cache::{GradCacheConfig, Keep};
use super::step::Engine;
use super::towers::Seeds;

/// Rows whose graph is measured: enough that what does not grow with rows counts little.
const MEASURED: i64 = 8;

/// Parts of the memory that a chunk may take: one chunk runs while others are kept, so smaller chunks waste less of it.
const PARTS: u64 = 4;

/// How a batch of `rows` is cut when the graph of a row takes `bytes` and `memory` may be taken.
fn cut(rows: i64, bytes: u64, memory: u64) -> GradCacheConfig {
    let fit = i64::try_from(memory / bytes.max(1)).unwrap_or(i64::MAX);
    if fit >= rows {
        return GradCacheConfig::default();
    }
    let chunk = (fit / PARTS as i64).max(MEASURED.min(fit)).max(1);
    // One chunk's place is for the one that runs.
    let kept = (fit / chunk - 1).max(0);
    GradCacheConfig { rows: chunk, keep: Keep::Chunks(kept as u64), budget: String::new() }
}

impl Engine {
    /// The rows with texts that fill the context: later batches may have longer ones than this.
    fn longest(&self, mut rows: Batch) -> Result<Batch> {
        let Ok(&InputSpec::Text { context, vocab, pad, .. }) = self.towers.net(Modality::Text).map(|net| &net.input) else {
            return Ok(rows);
        };
        let views: Vec<String> = rows.views().1.into_iter().map(str::to_owned).collect();
        for view in views {
            let ids = rows.text(&view)?;
            let longer = ids.f_pad([0, (context - ids.size()[1]).max(0)], "constant", ((pad + 1) % vocab) as f64)?;
            rows.set_text(view, longer)?;
        }
        Ok(rows)
    }

    /// Measures what a row's graph takes, and cuts batches accordingly from now on.
    pub(super) fn plan_memory(&mut self, memory: u64, batch: &Batch, needs: &[Need], seeds: Option<Seeds>) -> Result<()> {
        let rows = MEASURED.min(batch.rows());
        let buffers = self.buffers();
        let few = self.longest(batch.slice(0..rows))?;
        let (features, usage) = vlhub_torch_ext::metered(|| self.features(&few, needs, seeds, 0))?;
        drop(features?);
        super::step::restore(buffers)?;
        let bytes = u64::try_from(usage.live).unwrap_or(0) / rows.max(1) as u64;
        self.cache = cut(batch.rows(), bytes, memory);
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let GradCacheConfig { rows: chunk, keep, .. } = &self.cache;
        match (*chunk, keep) {
            (0, _) => tracing::info!(
                "train.memory: the graphs of {} rows take {:.1} MiB: nothing is cut",
                batch.rows(),
                mib(bytes * batch.rows() as u64)
            ),
            (chunk, Keep::Chunks(kept)) => tracing::info!(
                "train.memory: the graph of a row takes {:.2} MiB, those of {} rows {:.1} MiB; so chunks of {chunk} rows (train.grad_cache.rows), of which {kept} keep their graph (train.grad_cache.keep)",
                mib(bytes),
                batch.rows(),
                mib(bytes * batch.rows() as u64)
            ),
            (_, Keep::Word(_)) => {}
        }
        for warning in batch_norm::chunked(&self.towers, &self.cache, batch.rows() as usize) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_not_cut_and_what_is_cut_fits() {
        assert_eq!(cut(64, 10, 640).rows, 0);
        for (rows, bytes, memory) in [(64, 10, 639), (4096, 31 << 20, 8 << 30), (32, 100, 150), (32, 100, 10), (1000, 7, 700)] {
            let plan = cut(rows, bytes, memory);
            let Keep::Chunks(kept) = plan.keep else { panic!("a number") };
            assert!(plan.rows >= 1);
            let taken = (kept + 1) * plan.rows as u64 * bytes;
            // A single row must run, whatever it takes.
            assert!(taken <= memory || (plan.rows, kept) == (1, 0), "{rows} rows of {bytes} in {memory}: {plan:?}");
        }
        let Keep::Chunks(kept) = cut(4096, 1, 1024).keep else { panic!("a number") };
        assert_eq!((cut(4096, 1, 1024).rows, kept), (256, 3));
    }
}
