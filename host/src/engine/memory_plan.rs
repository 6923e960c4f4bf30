//! `train.memory`: how a batch is cut, and whether blocks are computed again, so that the graphs of its towers fit into an amount of memory.

use vlhub_core::{Batch, InputSpec, Modality, Need, Result};

use super::cache::{GradCacheConfig, Keep};
use super::graph_memory::GraphMemory;
use super::step::Engine;
use super::towers::Seeds;
use super::{batch_norm, recompute};

/// Rows whose graph is measured: enough that what does not grow with rows counts little. Chunks of fewer rows are not worth their second forward
/// pass, as long as blocks can be computed again instead.
const MEASURED: i64 = 8;

/// Rows that are measured of a model that is asked to compute its blocks again: with all of them at once there may be no room for more. A batch norm
/// needs two.
pub(super) const FEW: i64 = 2;

/// Parts of the memory that a chunk may take: one chunk runs while others are kept, so smaller chunks waste less of it.
const PARTS: u64 = 4;

/// What the graph of a chunk takes, in bytes.
#[derive(Clone, Copy, Debug)]
struct ChunkBytes {
    /// Whatever its rows.
    fixed: u64,
    /// For each row.
    row: u64,
    /// For each row, while a block of it is computed again; 0 where none is.
    block: u64,
}

/// How a batch of `rows` is cut when `memory` may be taken.
fn cut(rows: i64, chunk: ChunkBytes, memory: u64) -> GradCacheConfig {
    let ChunkBytes { fixed, row, block } = chunk;
    let fit = i64::try_from(memory.saturating_sub(fixed) / (row + block).max(1)).unwrap_or(i64::MAX);
    if fit >= rows {
        return GradCacheConfig::default();
    }
    let chunk = (fit / PARTS as i64).max(MEASURED.min(fit)).max(1);
    // One chunk's place is for the one that runs, with the block of it that is computed again.
    let room = memory.saturating_sub(block * chunk as u64) / (fixed + row * chunk as u64).max(1);
    GradCacheConfig { rows: chunk, keep: Keep::Chunks(room.saturating_sub(1)), budget: String::new() }
}

/// `chunk`, or as many rows as are nearest to it, below it first, of which no chunk is left with a single one.
fn without_a_single_row(rows: i64, chunk: i64) -> i64 {
    (2..=chunk).rev().chain(chunk.max(2)..=rows).find(|size| rows % size != 1).unwrap_or(rows)
}

/// Rows of a chunk, whether it is cut or not.
fn chunk_rows(plan: &GradCacheConfig, rows: i64) -> i64 {
    if plan.rows > 0 { plan.rows } else { rows }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Engine {
    /// The batch with texts that fill the context: later batches may have longer ones than this.
    fn longest(&self, mut batch: Batch) -> Result<Batch> {
        let Ok(&InputSpec::Text { context, vocab, pad, .. }) = self.towers.net(Modality::Text).map(|net| &net.input) else {
            return Ok(batch);
        };
        let views: Vec<String> = batch.views().1.into_iter().map(str::to_owned).collect();
        for view in views {
            let ids = batch.text(&view)?;
            let longer = ids.f_pad([0, (context - ids.size()[1]).max(0)], "constant", ((pad + 1) % vocab) as f64)?;
            batch.set_text(view, longer)?;
        }
        Ok(batch)
    }

    /// The graph of `count` and of twice as many rows, with blocks computed again or not.
    pub(super) fn measured(&mut self, few: &Batch, count: i64, again: bool, needs: &[Need], seeds: Option<Seeds>) -> Result<GraphMemory> {
        let before = std::mem::replace(&mut self.towers.recompute, again);
        let measured = self.graph_memory(few, count, needs, seeds);
        self.towers.recompute = before;
        measured
    }

    /// Measures what a row's graph takes, and from now on cuts batches, and lets blocks be computed again, accordingly.
    pub(super) fn plan_memory(&mut self, memory: u64, batch: &Batch, needs: &[Need], seeds: Option<Seeds>) -> Result<()> {
        let rows = batch.rows();
        let few = self.longest(batch.slice(0..MEASURED.min(rows)))?;
        let asked = self.towers.recompute;
        let whole = self.measured(&few, if asked { FEW } else { MEASURED / 2 }, false, needs, seeds)?;
        let all = ChunkBytes { fixed: whole.fixed(), row: whole.each(), block: 0 };
        let mut plan = (cut(rows, all, memory), all, asked);
        if asked || (plan.0.rows > 0 && plan.0.rows < MEASURED && whole.largest_block() > 0) {
            let kept = self.measured(&few, MEASURED / 2, true, needs, seeds)?;
            let again = ChunkBytes { fixed: kept.fixed(), row: kept.each(), block: whole.largest_block() };
            let other = cut(rows, again, memory);
            if asked || chunk_rows(&other, rows) >= 2 * chunk_rows(&plan.0, rows) {
                plan = (other, again, true);
            }
        }
        let (cache, chunk, again) = plan;
        (self.cache, self.towers.recompute) = (cache, again);
        if !batch_norm::chunked(&self.towers, &self.cache, rows as usize).is_empty() {
            // Of one row it may get one value for each channel, which has no variance.
            self.cache.rows = without_a_single_row(rows, self.cache.rows);
        }
        tracing::info!("train.memory: {}", told(rows, &all, &chunk, &self.cache, self.towers.recompute));
        let warnings = batch_norm::chunked(&self.towers, &self.cache, rows as usize);
        for warning in warnings.into_iter().chain(if asked { Vec::new() } else { recompute::without_effect(&self.towers) }) {
            tracing::warn!("{warning}");
        }
        Ok(())
    }
}

/// What was measured, and what follows from it, for the log.
fn told(rows: i64, whole: &ChunkBytes, chunk: &ChunkBytes, plan: &GradCacheConfig, again: bool) -> String {
    let mut told =
        format!("the graph of a row takes {:.2} MiB, those of {rows} rows {:.1} MiB", mib(whole.row), mib(whole.row * rows as u64));
    if again {
        told += &format!(
            "; with blocks that are computed again (train.grad_checkpointing) {:.2} MiB, and {:.2} MiB more while a block is",
            mib(chunk.row),
            mib(chunk.block)
        );
    }
    match plan {
        GradCacheConfig { rows: 1.., keep: Keep::Chunks(kept), .. } => {
            let cut = plan.rows;
            told + &format!("; so chunks of {cut} rows (train.grad_cache.rows), of which {kept} keep their graph (train.grad_cache.keep)")
        }
        _ => told + ": nothing is cut",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows_of(row: u64) -> ChunkBytes {
        ChunkBytes { fixed: 0, row, block: 0 }
    }

    fn kept(plan: &GradCacheConfig) -> u64 {
        let Keep::Chunks(kept) = plan.keep else { panic!("a number") };
        kept
    }

    #[test]
    fn what_fits_is_not_cut_and_what_is_cut_fits() {
        assert_eq!(cut(64, rows_of(10), 640).rows, 0);
        let again = |fixed, row, block| ChunkBytes { fixed, row, block };
        for (rows, chunk, memory) in [
            (64, rows_of(10), 639),
            (4096, rows_of(31 << 20), 8 << 30),
            (32, rows_of(100), 150),
            (32, rows_of(100), 10),
            (1000, rows_of(7), 700),
            (4096, again(100 << 20, 3 << 20, 4 << 20), 8 << 30),
            (64, again(50, 10, 30), 700),
            (64, again(50, 10, 30), 20),
        ] {
            let plan = cut(rows, chunk, memory);
            assert!(plan.rows >= 1);
            let taken = (kept(&plan) + 1) * (chunk.fixed + plan.rows as u64 * chunk.row) + plan.rows as u64 * chunk.block;
            // A single row must run, whatever it takes.
            assert!(taken <= memory || (plan.rows, kept(&plan)) == (1, 0), "{rows} rows of {chunk:?} in {memory}: {plan:?}");
        }
        let plan = cut(4096, rows_of(1), 1024);
        assert_eq!((plan.rows, kept(&plan)), (256, 3));
    }

    #[test]
    fn chunks_for_a_batch_norm_have_two_rows_or_more() {
        for (rows, chunk, wanted) in [(32, 8, 8), (33, 8, 7), (32, 1, 2), (7, 1, 4), (9, 2, 3), (9, 4, 3), (3, 2, 3), (3, 1, 3), (2, 1, 2)]
        {
            let size = without_a_single_row(rows, chunk);
            assert_eq!(size, wanted, "{rows} rows in chunks of {chunk}");
            assert!(size > 1 && rows % size != 1);
        }
    }

    #[test]
    fn the_log_says_what_was_measured_and_what_was_chosen() {
        let (whole, again) = (rows_of(8 << 20), ChunkBytes { fixed: 0, row: 1 << 20, block: 2 << 20 });
        let plan = cut(64, again, 64 << 20);
        let text = told(64, &whole, &again, &plan, true);
        for part in
            ["a row takes 8.00 MiB, those of 64 rows 512.0 MiB", "train.grad_checkpointing) 1.00 MiB, and 2.00 MiB", "so chunks of 8 rows"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let uncut = told(4, &whole, &whole, &cut(4, whole, 64 << 20), false);
        assert!(uncut.ends_with("32.0 MiB: nothing is cut") && !uncut.contains("again"), "{uncut}");
    }
}
