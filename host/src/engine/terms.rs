//! The weighted sum of objectives.

use std::collections::BTreeMap;

use tch::Tensor;
use vlhub_core::{Batch, Error, Features, Need, Objective, Result, Scope};

/// A term of the loss: one objective of a run, and its weight.
#[derive(Debug)]
pub struct Term {
    /// Its key in the run file.
    pub key: String,
    /// Its share of the loss.
    pub weight: f64,
    /// The objective.
    pub objective: Box<dyn Objective>,
    /// The needs of the objective, asked once.
    pub needs: Vec<Need>,
    /// The scope of the objective, asked once.
    pub scope: Scope,
}

/// Numbers of one step, summed over chunks.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// Loss of each term, unweighted, by key.
    pub losses: Vec<(String, f64)>,
    /// Metrics that objectives show beside their loss.
    pub metrics: Vec<(String, f64)>,
    /// Key of the term that shows a metric.
    owners: BTreeMap<String, String>,
}

impl Numbers {
    fn add(&mut self, key: &str, loss: f64) {
        match self.losses.iter_mut().find(|(name, _)| name == key) {
            Some((_, sum)) => *sum += loss,
            None => self.losses.push((key.to_owned(), loss)),
        }
    }

    /// Adds what a term shows, `share` of it. A name that another term shows too gets its term's key before it.
    fn show(&mut self, key: &str, metrics: &[(&'static str, f64)], share: f64) {
        for (name, value) in metrics {
            let mut shown = (*name).to_owned();
            if self.owners.get(&shown).is_some_and(|owner| owner != key) {
                shown = format!("{key}_{name}");
            }
            self.owners.insert(shown.clone(), key.to_owned());
            match self.metrics.iter_mut().find(|(known, _)| *known == shown) {
                Some((_, sum)) => *sum += value * share,
                None => self.metrics.push((shown, value * share)),
            }
        }
    }
}

impl Term {
    /// A term; its objective is asked for its needs and scope.
    pub fn new(key: impl Into<String>, weight: f64, objective: Box<dyn Objective>) -> Self {
        let (needs, scope) = (objective.needs(), objective.scope());
        Self { key: key.into(), weight, objective, needs, scope }
    }

    fn loss(&self, features: &Features, batch: &Batch) -> Result<vlhub_core::Loss> {
        let seen = features.only(&self.needs, &self.key);
        self.objective.loss(&seen, batch).map_err(|error| error.within(format!("objective.{}", self.key)))
    }
}

/// The needs of the terms of one scope, or of all, one for each forward pass.
pub fn needs(terms: &[Term], scope: Option<Scope>) -> Vec<Need> {
    Need::union(terms.iter().filter(|term| scope.is_none_or(|scope| scope == term.scope)).flat_map(|term| &term.needs))
}

/// The weighted sum of the terms that couple samples, over everyone's features. `None` when there are none.
pub fn coupled(terms: &[Term], features: &Features, batch: &Batch, numbers: &mut Numbers) -> Result<Option<Tensor>> {
    let mut sum = None;
    for term in terms.iter().filter(|term| term.scope == Scope::Batch) {
        let loss = term.loss(features, batch)?;
        numbers.add(&term.key, loss.value());
        numbers.show(&term.key, &loss.metrics, 1.0);
        sum = Some(plus(sum, &loss.total * term.weight));
    }
    Ok(sum)
}

/// The weighted sum of the per-sample terms over one chunk, each scaled by the chunk's share of what counts: `totals` has, for each term, the
/// weight of everyone's rows. `None` when there are none, or no row counts.
pub fn per_sample(terms: &[Term], totals: &[f64], features: &Features, chunk: &Batch, numbers: &mut Numbers) -> Result<Option<Tensor>> {
    let mut sum = None;
    for (term, total) in terms.iter().zip(totals).filter(|(term, _)| term.scope == Scope::Sample) {
        let weight = term.objective.weight(chunk);
        if !weight.is_finite() || weight < 0.0 {
            return Err(Error::invalid(format!(
                "objective.{}: the weight of {} rows is {weight}; it must be a number from 0",
                term.key,
                chunk.rows()
            )));
        }
        if weight == 0.0 {
            continue;
        }
        let share = weight / total;
        let loss = term.loss(features, chunk)?;
        numbers.add(&term.key, loss.value() * share);
        numbers.show(&term.key, &loss.metrics, share);
        sum = Some(plus(sum, &loss.total * (term.weight * share)));
    }
    Ok(sum)
}

fn plus(sum: Option<Tensor>, more: Tensor) -> Tensor {
    match sum {
        Some(sum) => sum + more,
        None => more,
    }
}
