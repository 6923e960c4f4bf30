//! The memory of a step, told before it is taken: a few rows are measured, and scaled to the batch.

use tch::Tensor;
use vlhub_core::{Batch, Features, Need, Result, Scope};
use vlhub_torch_ext::metered;

use super::cache::Keep;
use super::graph_memory::{GroupMemory, bytes};
use super::memory_plan::FEW;
use super::step::Engine;
use super::terms::{self, Numbers};
use super::towers::Seeds;

/// Rows that are measured: so many, and twice as many.
const MEASURED: i64 = 4;

/// The memory of a step, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StepMemory {
    /// What is there before the step and after it.
    pub standing: Vec<(&'static str, u64)>,
    /// The graphs that are there at once, by layer group; the blocks of a tower are one line.
    pub graphs: Vec<(String, u64)>,
    /// What comes and goes besides.
    pub passing: Vec<(&'static str, u64)>,
    /// The most that is there at once, beside what is standing.
    pub peak: u64,
}

/// Memory that a run's tensors take before a step and after it, beside the batch, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StandingMemory {
    /// Parameters and buffers of towers and objectives.
    pub weights: u64,
    /// Optimiser states.
    pub optimizer: u64,
    /// The moving average of `[ema]`.
    pub average: u64,
    /// The moving average that objectives read.
    pub read_average: u64,
    /// Weights of the teachers.
    pub teachers: u64,
}

/// Bytes of a batch's views and labels.
///
/// # Errors
/// Those of [`Batch::image`] and [`Batch::text`].
pub fn batch_bytes(batch: &Batch) -> Result<u64> {
    let (images, texts) = batch.views();
    let images = images.into_iter().map(|view| batch.image(view));
    let views = images.chain(texts.into_iter().map(|view| batch.text(view))).collect::<Result<Vec<_>>>()?;
    Ok(views.into_iter().chain(batch.extra(Batch::LABELS).ok()).map(bytes).sum())
}

impl Engine {
    /// Tells what step `step` over `batch` takes. Where `train.memory` is yet to be planned, it is planned. Running statistics in heads of objectives
    /// may move: this is for runs of which nothing is kept.
    ///
    /// # Errors
    /// As [`Engine::gradients`].
    pub fn step_memory(&mut self, mut batch: Batch, step: u64) -> Result<StepMemory> {
        self.forget_gradients()?;
        self.add_inputs(&mut batch, step)?;
        let (seeds, needs) = (self.seeds(&batch, step), terms::needs(&self.terms, None));
        let StandingMemory { weights, optimizer, average, read_average, teachers } = self.standing();
        let standing = [
            ("weights", weights),
            ("towers that are only read", read_average + teachers),
            ("state of the optimiser", optimizer),
            ("moving average", average),
            ("batch", batch_bytes(&batch)?),
        ];
        let trained = self.towers.trained();
        let gradients = trained.iter().map(|(_, weight)| bytes(weight)).sum::<u64>();
        // Sharpness-aware steps keep parameters and gradients from before the perturbation through their second pass.
        let parameters = trained.iter().filter(|(name, _)| !self.lora.iter().any(|adapter| adapter.is(name)));
        let aside = if self.optimizer.gsam().is_some() { 2 * parameters.map(|(_, weight)| bytes(weight)).sum::<u64>() } else { 0 };
        // What is measured, and what a backward pass leaves, is that of rounded weights where a step has those.
        let rounded = self.rounded()?;
        let copies = rounded.bytes();
        if let Some(memory) = self.memory.take() {
            self.plan_memory(memory, &batch, &needs, seeds)?;
        }
        let again = self.towers.recompute;
        let mut groups = self.measured(&batch, MEASURED, again, &needs, seeds)?.groups;
        let block = if again { self.measured(&batch, FEW, false, &needs, seeds)?.largest_block() } else { 0 };
        let features = self.few_features(&batch, &needs, seeds)?;
        let coupled = self.coupled_peak(&features, &batch)?;

        let rows = batch.rows().max(1);
        let chunk = if self.cache.splits(rows as usize) { self.cache.rows } else { rows };
        let chunks = (rows as u64).div_ceil(chunk as u64);
        let of_chunk = |group: &GroupMemory| group.fixed + group.each * chunk as u64;
        let graph: u64 = groups.iter().map(of_chunk).sum();
        let held = self.held(chunks, graph);
        let mut graphs = lines(&groups, |group| of_chunk(group) * held);
        // Losses of single samples come with their chunk, one after the other.
        let losses = self.sample_losses(&features, &batch)?;
        if let Some(rest) = groups.last_mut() {
            rest.each += losses;
        }
        graphs.extend(Some(("losses of single samples".to_owned(), losses * chunk as u64)).filter(|(_, bytes)| *bytes > 0));
        let of_groups: Vec<(u64, u64)> = groups.iter().map(|group| (of_chunk(group), group.gradients)).collect();
        let again = block * chunk as u64;
        let pass = most(&of_groups, again);
        // Gradients of later chunks are added in place, but for those of rounded weights, which stand beside the float sums until their pass is over.
        let last = if copies > 0 { pass } else { graph + losses * chunk as u64 + again };
        let later = if chunks > 1 { ((held - 1).max(1) - 1) * graph + last + gradients } else { 0 };
        let moments = [
            aside + copies + (held - 1) * graph + pass,
            aside + copies + later,
            aside + copies + held * graph + coupled,
            aside + copies + gradients,
            if self.optimizer.clips_norm() { 2 * gradients } else { gradients },
        ];
        let passing = [
            ("gradients", gradients),
            ("weights in bfloat16", copies),
            ("weights and gradients from before the perturbation", aside),
            ("objectives over the whole batch", coupled),
            ("a block that is computed again", again),
        ];
        Ok(StepMemory {
            standing: standing.into_iter().filter(|(_, bytes)| *bytes > 0).collect(),
            graphs,
            passing: passing.into_iter().filter(|(_, bytes)| *bytes > 0).collect(),
            peak: moments.into_iter().max().unwrap_or(0),
        })
    }

    /// How many chunks' graphs are there at once, each of which takes `graph` bytes.
    fn held(&self, chunks: u64, graph: u64) -> u64 {
        let kept = match (self.cache.keep, self.graphs_that_fit) {
            _ if terms::needs(&self.terms, Some(Scope::Batch)).is_empty() => 1,
            (Keep::Chunks(count), _) | (_, Some(count)) => count,
            (Keep::Word(_), None) => self.cache.budget() / graph.max(1),
        };
        kept.clamp(1, chunks)
    }

    /// What is there before a step and after it, beside the batch.
    pub fn standing(&self) -> StandingMemory {
        let sum = |tensors: &mut dyn Iterator<Item = (String, Tensor)>| tensors.map(|(_, tensor)| bytes(&tensor)).sum();
        StandingMemory {
            weights: sum(&mut self.towers.variables().into_iter()),
            optimizer: sum(&mut self.optimizer.state().into_iter()),
            average: sum(&mut self.ema.iter().flat_map(|ema| ema.variables())),
            read_average: sum(&mut self.readonly.variables().into_iter()),
            teachers: sum(&mut self.readonly.teachers.iter().flat_map(|(_, towers)| towers.variables())),
        }
    }

    /// Features of the first rows, without a graph.
    fn few_features(&self, batch: &Batch, needs: &[Need], seeds: Option<Seeds>) -> Result<Features> {
        let rows = MEASURED.min(batch.rows());
        self.forward_only(&[(0..rows, batch.slice(0..rows))], needs, seeds)
    }

    /// The most that the objectives take which couple samples, over the whole batch: features of a few rows stand for all of them.
    fn coupled_peak(&self, few: &Features, batch: &Batch) -> Result<u64> {
        let shared = terms::needs(&self.terms, Some(Scope::Batch));
        if shared.is_empty() {
            return Ok(0);
        }
        let rows = batch.rows();
        let order: Vec<i64> = (0..rows).map(|row| row % few.total().max(1)).collect();
        let order = Tensor::f_from_slice(&order)?.f_to_device(self.towers.vars.device())?;
        let together = self.comm.gather_batch(batch)?;
        let run = || -> Result<()> {
            let mut whole = Features::new(0..rows, rows);
            for (forward, encoded) in few.only(&shared, "").permuted(&order).forwards() {
                whole.insert_for(forward.clone(), encoded.map(Tensor::shallow_clone));
            }
            let leaves = self.leaves(&whole)?;
            if let Some(loss) = terms::coupled(&self.terms, &leaves, &together, &mut Numbers::default())? {
                loss.f_backward()?;
            }
            Ok(())
        };
        let (ran, usage) = metered(run)?;
        ran?;
        self.forget_gradients()?;
        Ok(usage.peak.max(0) as u64)
    }

    /// What the graphs of the losses of single samples take, for each row.
    fn sample_losses(&self, few: &Features, batch: &Batch) -> Result<u64> {
        let rows = few.total().max(1);
        let chunk = batch.slice(0..rows);
        let (totals, leaves) = (self.totals(&chunk)?, self.leaves(few)?);
        let run = || terms::per_sample(&self.terms, &totals, &leaves, &chunk, &mut Numbers::default());
        let (loss, usage) = metered(run)?;
        drop(loss?);
        Ok(usage.live.max(0) as u64 / rows as u64)
    }
}

/// The most that a chunk's backward pass takes, given graph and gradients of each group: from the last group to the first, its gradients come and its
/// graph goes, while `again` bytes may be there for a block.
fn most(groups: &[(u64, u64)], again: u64) -> u64 {
    let mut live: u64 = groups.iter().map(|(graph, _)| graph).sum();
    let mut most = live;
    for (graph, gradients) in groups.iter().rev() {
        live += gradients;
        most = most.max(live + again);
        live -= graph;
    }
    most
}

/// Groups with their bytes; the blocks of a tower, one after the other, are one line.
fn lines(groups: &[GroupMemory], bytes: impl Fn(&GroupMemory) -> u64) -> Vec<(String, u64)> {
    let line = |run: &[GroupMemory]| {
        let [first, .., last] = run else {
            return run.first().map(|group| (group.name.clone(), bytes(group)));
        };
        Some((format!("{} to {} ({} blocks)", first.name, last.name, run.len()), run.iter().map(&bytes).sum()))
    };
    let runs = groups.chunk_by(|one, next| one.modality == next.modality && one.is_block && next.is_block);
    let named = runs.filter_map(|run| {
        let (name, bytes) = line(run).filter(|(_, bytes)| *bytes > 0)?;
        Some((run[0].modality.map_or_else(|| name.clone(), |modality| format!("{modality}: {name}")), bytes))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};
    use vlhub_core::Modality;

    use super::*;

    #[test]
    fn gradients_come_as_graphs_go() {
        assert_eq!(most(&[(100, 10), (50, 10)], 0), 160, "a large graph: at its beginning");
        assert_eq!(most(&[(10, 100), (5, 50)], 0), 160, "large weights: at its end");
        assert_eq!(most(&[(10, 100), (5, 50)], 7), 167);
        assert_eq!(most(&[], 7), 0);
    }

    #[test]
    fn the_blocks_of_a_tower_are_one_line() {
        let group =
            |modality, name: &str, is_block, each| GroupMemory { modality, name: name.into(), is_block, each, ..GroupMemory::default() };
        let (image, text) = (Some(Modality::Image), Some(Modality::Text));
        let groups = [
            group(image, "conv1", false, 5),
            group(image, "blocks.0", true, 20),
            group(image, "blocks.1", true, 30),
            group(image, "proj", false, 0),
            group(text, "blocks.0", true, 7),
            group(None, "others", false, 1),
        ];
        let lines = lines(&groups, |group| group.each);
        let wanted = [("image: conv1", 5), ("image: blocks.0 to blocks.1 (2 blocks)", 50), ("text: blocks.0", 7), ("others", 1)];
        assert_eq!(lines, wanted.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn the_bytes_of_a_batch_are_those_of_its_views_and_labels() {
        let mut batch = Batch::new(2);
        batch.set_image("main", Tensor::zeros([2, 3, 4, 4], (Kind::Uint8, Device::Cpu))).expect("two rows");
        batch.set_text("main", Tensor::zeros([2, 5], (Kind::Int64, Device::Cpu))).expect("two rows");
        assert_eq!(batch_bytes(&batch).expect("its own views"), 96 + 80);
        batch.set_extra(Batch::LABELS, Tensor::zeros([2, 1], (Kind::Int64, Device::Cpu))).expect("two rows");
        assert_eq!(batch_bytes(&batch.slice(0..1)).expect("its own views"), 48 + 40 + 8);
    }
}
