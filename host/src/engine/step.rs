//! One optimiser step: gradient caching, gathering and the sum of objectives, for every objective, in one code path.
//!
//! Losses are shares of the mean over everyone's rows, so gradients are summed, over chunks and over processes. Objectives that couple
//! samples get everyone's features as leaves; their gradients flow back into the encoders chunk by chunk, as the gradient of ⟨features,
//! pull⟩.

use rand_core::RngCore;
use tch::Tensor;
use vlhub_core::{Batch, Error, Features, Forward, Modality, Need, Result, Scope};
use vlhub_torch_ext::span;

use super::cache::{Auto, GradCacheConfig, Keep};
use super::comm::Comm;
use super::ema::Ema;
use super::lora::Adapter;
use super::optim::Optimizer;
use super::precision::Precision;
use super::readonly::ReadOnly;
use super::rounded::RoundedWeights;
use super::scaler::LossScaler;
use super::sharpness::{GsamConfig, Perturbation};
use super::terms::{self, Numbers, Term};
use super::towers::{Seeds, Towers};
use super::{seed_of, seed_of_name};
use crate::data::philox::Philox;

/// Everything that one step needs.
#[derive(Debug)]
pub struct Engine {
    /// Towers, projections and all parameters.
    pub towers: Towers,
    /// The moving average and the teachers, where objectives read them.
    pub readonly: ReadOnly,
    /// The objectives and their weights.
    pub terms: Vec<Term>,
    /// The optimiser and its state.
    pub optimizer: Optimizer,
    /// Collectives over the other processes.
    pub comm: Box<dyn Comm>,
    /// The exponential moving average of all weights, where one is kept.
    pub ema: Option<Ema>,
    /// Low-rank adapters.
    pub lora: Vec<Adapter>,
    /// Gradient caching: the size of chunks, and how many keep their graph.
    pub cache: GradCacheConfig,
    /// Memory that the graphs of towers may take, until the first batch has told how it is to be cut.
    pub memory: Option<u64>,
    /// The precision in which towers compute.
    pub precision: Precision,
    /// The scale of the loss, where the precision needs one.
    pub scaler: Option<LossScaler>,
    /// How many chunks' graphs fit into the memory budget of `keep = "auto"`, once that is known.
    pub graphs_that_fit: Option<u64>,
    /// Seed of the run.
    pub seed: u64,
}

/// The result of one optimiser step.
#[derive(Clone, Debug, Default)]
pub struct StepOutcome {
    /// The weighted sum of all terms.
    pub loss: f64,
    /// Losses by term, and what objectives show.
    pub numbers: Numbers,
    /// L2 norm of all gradients together, before clipping. It is that of the loss as it is, whatever it was scaled by.
    pub grad_norm: f64,
    /// What the loss was scaled by, where it was.
    pub loss_scale: Option<f64>,
}

impl StepOutcome {
    /// Whether the step may be taken.
    pub fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.grad_norm.is_finite()
    }

    /// Whether the gradients are not finite because of the loss's scale, as far as can be told: the loss is finite, and a smaller scale is left.
    /// Such a step is not taken, and is no fault: the next has a smaller scale.
    pub fn overflowed(&self) -> bool {
        self.loss.is_finite() && !self.grad_norm.is_finite() && self.loss_scale.is_some_and(|scale| scale > 1.0)
    }
}

impl Engine {
    /// Computes gradients for `batch` as step `step` of the run. Returns them in the parameters, and this step's features, detached.
    pub fn gradients(&mut self, mut batch: Batch, step: u64) -> Result<(StepOutcome, Option<Features>)> {
        self.forget_gradients()?;
        self.add_inputs(&mut batch, step)?;
        let seeds = self.seeds(&batch, step);
        let (all, shared) = (terms::needs(&self.terms, None), terms::needs(&self.terms, Some(Scope::Batch)));
        // The second forward of a chunk leaves out towers that get no gradient, unless a per-sample loss reads them.
        let sampled = terms::needs(&self.terms, Some(Scope::Sample));
        let reads = |needs: &[Need], forward: &Forward| needs.iter().any(|need| need.forward == *forward);
        let recomputed = |need: &&Need| need.forward.is_trained() || reads(&sampled, &need.forward);
        let recomputed: Vec<Need> = all.iter().filter(recomputed).cloned().collect();
        let differentiated: Vec<Need> = shared.iter().filter(|need| need.forward.is_trained()).cloned().collect();
        let totals = self.totals(&batch)?;
        let mut numbers = Numbers::default();
        let mut rounded = self.rounded()?;
        if let Some(memory) = self.memory.take() {
            self.plan_memory(memory, &batch, &all, seeds)?;
        }
        let chunks = batch.split(if self.cache.rows > 0 { self.cache.rows } else { i64::MAX });

        // 1. Features that couple samples. Chunks whose graph is kept do not run again; of the others only the numbers stay.
        let kept = match chunks.len() {
            1 => 1,
            _ if shared.is_empty() => 0,
            _ => self.graphs_to_keep(&chunks, &all, seeds)?,
        };
        // With the tokens that the second forward will make: dropout must draw the same numbers.
        let rest = if kept < chunks.len() && !shared.is_empty() {
            let with_tokens: Vec<Need> = all.iter().filter(|need| reads(&shared, &need.forward)).cloned().collect();
            Some(self.forward_only(&chunks[kept..], &with_tokens, seeds)?.only(&shared, ""))
        } else {
            None
        };
        let graphs = chunks[..kept].iter().map(|(range, chunk)| self.features(chunk, &all, seeds, range.start));
        let mut graphs = graphs.collect::<Result<Vec<_>>>()?.into_iter();
        let pull = if shared.is_empty() {
            None
        } else {
            let parts = graphs.as_slice().iter().map(|features| features.only(&shared, "").map(Tensor::detach));
            let local = Features::cat(&parts.chain(rest).collect::<Vec<_>>())?;
            // 2. Everyone's features as leaves. One backward: d loss / d feature, and the gradients of the heads, once.
            let leaves = self.leaves(&local)?;
            let together = self.comm.gather_batch(&batch)?;
            span(c"step/objectives", || -> Result<()> {
                if let Some(loss) = terms::coupled(&self.terms, &leaves, &together, &mut numbers)? {
                    self.scaled(loss)?.f_backward()?;
                }
                Ok(())
            })?;
            Some((self.pull(&leaves.only(&differentiated, ""))?, local))
        };

        // 3. ⟨features, pull⟩ carries them into the encoders, chunk by chunk; per-sample losses ride along.
        for (range, chunk) in &chunks {
            let features = match graphs.next() {
                Some(features) => features,
                None => self.features(chunk, &recomputed, seeds, range.start)?,
            };
            let own = terms::per_sample(&self.terms, &totals, &features, chunk, &mut numbers)?;
            let mut surrogate = own.map(|loss| self.scaled(loss)).transpose()?;
            if let Some((pull, _)) = &pull {
                let seen = features.only(&differentiated, "");
                for (feature, pull) in seen.tensors().into_iter().zip(pull) {
                    if let Some(pull) = pull.as_ref().filter(|_| feature.requires_grad()) {
                        let dot = feature.f_mul(&pull.f_narrow(0, range.start, chunk.rows())?)?.f_sum(tch::Kind::Float)?;
                        surrogate = Some(match surrogate {
                            Some(sum) => sum + dot,
                            None => dot,
                        });
                    }
                }
            }
            if let Some(surrogate) = surrogate.filter(Tensor::requires_grad) {
                span(c"step/backward", || surrogate.f_backward())?;
            }
            rounded.collect()?;
        }
        rounded.restore()?;
        self.lora.iter().try_for_each(Adapter::pull)?;
        self.sum_gradients()?;
        // 4. Everything that flowed back was scaled, so everything is divided.
        let loss_scale = self.scaler.as_ref().map(LossScaler::scale);
        if let Some(scale) = loss_scale {
            self.optimizer.scale_gradients(scale.recip())?;
        }

        let loss = self
            .terms
            .iter()
            .map(|term| term.weight * numbers.losses.iter().find(|(key, _)| *key == term.key).map_or(0.0, |(_, loss)| *loss));
        let loss = self.comm.sum_number(loss.sum())?;
        let outcome = StepOutcome { loss, numbers, grad_norm: self.optimizer.grad_norm()?, loss_scale };
        Ok((outcome, pull.map(|(_, local)| local)))
    }

    /// Computes gradients, and takes the step unless the loss or a gradient is not finite: no parameter and no running statistic is changed then.
    /// `progress` is the share of the run that is done after it.
    pub fn step(&mut self, batch: Batch, step: u64, lr: f64, progress: f64) -> Result<StepOutcome> {
        let second_pass = self.optimizer.gsam().map(|gsam| (gsam.clone(), batch.slice(0..batch.rows())));
        let buffers = self.buffers();
        let (mut outcome, seen) = self.gradients(batch, step)?;
        if !outcome.is_finite() {
            return self.not_taken(outcome, buffers);
        }
        if let Some((gsam, batch)) = second_pass {
            let perturbed = self.sharpness_gradients(&gsam, batch, step, lr)?;
            outcome.grad_norm = perturbed.grad_norm;
            if !perturbed.is_finite() {
                outcome.loss = perturbed.loss;
                return self.not_taken(outcome, buffers);
            }
        }
        span(c"step/optimizer", || self.optimizer.step(lr, outcome.grad_norm))?;
        self.scaler.iter_mut().for_each(LossScaler::good);
        self.lora.iter().try_for_each(Adapter::push)?;
        if let Some(ema) = &mut self.ema {
            ema.follow(step + 1)?;
        }
        let _no_grad = tch::no_grad_guard();
        if let Some(momentum) = self.terms.iter().find_map(|term| term.objective.momentum(progress)) {
            self.readonly.follow(&self.towers, momentum)?;
        }
        let seen = match seen {
            Some(local) => self.comm.gather(&local)?,
            None => Features::new(0..0, 0),
        };
        for term in self.terms.iter_mut().filter(|term| term.scope == Scope::Batch) {
            let visible = seen.only(&term.needs, &term.key);
            term.objective.after_step(&visible, progress).map_err(|error| error.within(format!("objective.{}", term.key)))?;
        }
        Ok(outcome)
    }

    /// Resets all gradients to undefined.
    pub fn forget_gradients(&self) -> Result<()> {
        self.optimizer.forget_gradients()?;
        self.lora.iter().try_for_each(Adapter::forget)
    }

    /// Adds what objectives derive from a batch before anything is encoded.
    pub(super) fn add_inputs(&self, batch: &mut Batch, step: u64) -> Result<()> {
        self.terms.iter().try_for_each(|term| {
            let mut rng = self.rng(step, &term.key);
            term.objective.prepare(batch, &mut rng).map_err(|error| error.within(format!("objective.{}", term.key)))
        })
    }

    /// The seeds of a step's draws.
    pub(super) fn seeds(&self, batch: &Batch, step: u64) -> Option<Seeds> {
        Some(Seeds { step: seed_of(&[self.seed, step]), offset: self.comm.own(batch.rows()).start })
    }

    /// A step that is not taken, after which the scale of the loss halves if it was too large. `buffers` are those before it: one batch that is not
    /// finite would leave running statistics so for good.
    fn not_taken(&mut self, outcome: StepOutcome, buffers: Vec<(Tensor, Tensor)>) -> Result<StepOutcome> {
        restore(buffers)?;
        if outcome.overflowed() {
            self.scaler.iter_mut().for_each(LossScaler::overflowed);
        }
        Ok(outcome)
    }

    /// The towers' weights rounded for the passes of a step, where the precision says so, until this is restored or dropped.
    pub(super) fn rounded(&self) -> Result<RoundedWeights> {
        if self.precision == Precision::PureBf16 { RoundedWeights::round(&self.towers) } else { Ok(RoundedWeights::default()) }
    }

    /// A loss as it is sent back: scaled, where the precision needs that.
    fn scaled(&self, loss: Tensor) -> Result<Tensor> {
        Ok(match &self.scaler {
            Some(scaler) => loss.f_mul_scalar(scaler.scale())?,
            None => loss,
        })
    }

    /// Runs the forwards that `needs` name over `chunk`, whose first row is row `first` of the whole batch.
    pub(super) fn features(&self, chunk: &Batch, needs: &[Need], seeds: Option<Seeds>, first: i64) -> Result<Features> {
        let mut features = Features::new(0..chunk.rows(), chunk.rows());
        for need in needs {
            let name = match (need.forward.is_trained(), need.forward.modality) {
                (true, Modality::Image) => c"step/forward image",
                (true, Modality::Text) => c"step/forward text",
                (false, _) => c"step/forward of what is only read",
            };
            let encode = || {
                if need.forward.is_trained() {
                    self.towers.encode_need(need, chunk, seeds, first)
                } else {
                    self.readonly.encode(need, chunk, &self.towers, seeds, first)
                }
            };
            let encoded = span(name, || self.precision.forward(self.towers.vars.device(), encode))?;
            features.insert_for(need.forward.clone(), encoded);
        }
        Ok(features)
    }

    /// Everyone's features as leaves, which collect gradients where towers are trained.
    pub(super) fn leaves(&self, local: &Features) -> Result<Features> {
        let whole = self.comm.gather(local)?;
        let mut leaves = Features::new(whole.own(), whole.total());
        for (forward, encoded) in whole.forwards() {
            leaves.insert_for(forward.clone(), encoded.map(|tensor| tensor.detach().set_requires_grad(forward.is_trained())));
        }
        Ok(leaves)
    }

    /// The second gradient of sharpness-aware minimisation, which is left in the parameters: taken at the perturbed weights, on the same
    /// batch with the same draws. The parameters are where they were, and running statistics have moved once.
    fn sharpness_gradients(&mut self, gsam: &GsamConfig, batch: Batch, step: u64, lr: f64) -> Result<StepOutcome> {
        let perturbation = Perturbation::apply(self.optimizer.params_with_grads(), gsam.rho(lr, self.optimizer.lr()), gsam.adaptive)?;
        self.lora.iter().try_for_each(Adapter::push)?;
        let buffers = self.buffers();
        let outcome = self.gradients(batch, step)?.0;
        restore(buffers)?;
        perturbation.undo(gsam.alpha)?;
        self.lora.iter().try_for_each(Adapter::push)?;
        Ok(StepOutcome { grad_norm: if outcome.is_finite() { self.optimizer.grad_norm()? } else { outcome.grad_norm }, ..outcome })
    }

    /// How many chunks keep their graph: as many as the options say, or as fit. The first chunk tells once what a graph takes.
    fn graphs_to_keep(&mut self, chunks: &[(std::ops::Range<i64>, Batch)], needs: &[Need], seeds: Option<Seeds>) -> Result<usize> {
        let wanted = match (self.cache.keep, self.graphs_that_fit) {
            (Keep::Chunks(count), _) | (_, Some(count)) => count,
            (Keep::Word(Auto::Auto), None) => {
                let buffers = self.buffers();
                let (range, first) = &chunks[0];
                let (features, usage) = vlhub_torch_ext::metered(|| self.features(first, needs, seeds, range.start))?;
                drop(features?);
                restore(buffers)?;
                let fit = self.cache.budget() / u64::try_from(usage.live).unwrap_or(0).max(1);
                tracing::info!(
                    "a chunk's graph takes {:.1} MiB: {} of {} are kept",
                    usage.live as f64 / 1048576.0,
                    fit.min(chunks.len() as u64),
                    chunks.len()
                );
                *self.graphs_that_fit.insert(fit)
            }
        };
        Ok(usize::try_from(wanted).unwrap_or(usize::MAX).min(chunks.len()))
    }

    /// Copies of the towers' buffers (running statistics), each with the buffer itself.
    pub(super) fn buffers(&self) -> Vec<(Tensor, Tensor)> {
        self.towers.buffers.iter().map(|tensor| (tensor.copy(), tensor.shallow_clone())).collect()
    }

    /// The features of chunks, without a graph. Buffers that a tower updates while it trains are put back, since each chunk runs again.
    pub(super) fn forward_only(&self, chunks: &[(std::ops::Range<i64>, Batch)], needs: &[Need], seeds: Option<Seeds>) -> Result<Features> {
        let _no_grad = tch::no_grad_guard();
        let buffers = self.buffers();
        let parts: Result<Vec<_>> = chunks.iter().map(|(range, chunk)| self.features(chunk, needs, seeds, range.start)).collect();
        restore(buffers)?;
        Features::cat(&parts?)
    }

    /// d loss / d feature for our own rows, `None` where no objective read the tensor.
    fn pull(&self, leaves: &Features) -> Result<Vec<Option<Tensor>>> {
        let own = leaves.own();
        let grads: Vec<Tensor> = leaves.tensors().into_iter().map(Tensor::grad).collect();
        let defined: Vec<bool> = grads.iter().map(Tensor::defined).collect();
        let mut summed = self.comm.sum(grads.into_iter().filter(Tensor::defined).collect())?.into_iter();
        let rows = |grad: Tensor| grad.f_narrow(0, own.start, own.end - own.start);
        Ok(defined
            .into_iter()
            .map(|defined| if defined { summed.next().map(rows).transpose() } else { Ok(None) })
            .collect::<Result<_, _>>()?)
    }

    /// The weight of everyone's rows, term by term.
    pub(super) fn totals(&self, batch: &Batch) -> Result<Vec<f64>> {
        let weight = |term: &Term| match term.scope {
            Scope::Sample => self.comm.sum_number(term.objective.weight(batch)),
            Scope::Batch => Ok(0.0),
        };
        self.terms.iter().map(weight).collect()
    }

    fn sum_gradients(&self) -> Result<()> {
        if self.comm.world() == 1 {
            return Ok(());
        }
        let grads: Vec<Tensor> = self.optimizer.grads().into_iter().map(|(_, grad)| grad).collect();
        let summed = self.comm.sum(grads.iter().map(Tensor::shallow_clone).collect())?;
        for (mut grad, sum) in grads.into_iter().zip(summed) {
            grad.f_copy_(&sum)?;
        }
        Ok(())
    }

    fn rng(&self, step: u64, name: &str) -> impl RngCore + use<> {
        Philox::new([self.seed, step, seed_of_name(name), 0])
    }
}

pub(super) fn restore(buffers: Vec<(Tensor, Tensor)>) -> Result<()> {
    let _no_grad = tch::no_grad_guard();
    Ok(buffers.into_iter().try_for_each(|(before, mut tensor)| tensor.f_copy_(&before))?)
}

/// A non-finite step as an error, with what can be known about it.
pub fn nonfinite(outcome: &StepOutcome, step: u64, keys: &[String]) -> Error {
    let parts: Vec<String> = outcome.numbers.losses.iter().map(|(key, loss)| format!("{key} {loss}")).collect();
    let shown: Vec<&str> = keys.iter().take(8).map(String::as_str).collect();
    Error::invalid(format!(
        "step {step}: the loss ({}) or the gradients' norm ({}{}) is not finite; no step was taken. losses: {}. first samples of the batch: {}. lower `optimizer.lr`, set `optimizer.clip_norm`, or allow some such steps with `train.skip_nonfinite`",
        outcome.loss,
        outcome.grad_norm,
        outcome.loss_scale.map(|scale| format!(", at a loss scale of {scale}")).unwrap_or_default(),
        parts.join(", "),
        shown.join(" ")
    ))
}
