//! What a run is, for people: at its start, and at the top of its report.

use super::Training;
use crate::device::{TORCH, in_words};
use crate::engine::{batch_norm, recompute};
use crate::session::parameters;

impl Training<'_> {
    /// Lines that tell what will run, for people.
    pub fn banner(&self) -> Vec<String> {
        let table = parameters::table(&self.engine.towers);
        let (all, open) = table.iter().fold((0, 0), |(all, open), (_, count, trained)| (all + count, open + trained));
        let mut lines = vec![
            format!(
                "vlhub {} · libtorch {} · {} · {}",
                env!("CARGO_PKG_VERSION"),
                TORCH,
                in_words(self.device),
                self.engine.precision.name()
            ),
            format!("{:.2} M parameters, {:.2} M trained", all as f64 / 1e6, open as f64 / 1e6),
        ];
        lines.extend(table.iter().map(|(group, count, trained)| format!("  {group:<24} {:>12} {:>12} trained", count, trained)));
        let cache = &self.engine.cache;
        let chunks = if cache.splits(self.config.train.batch) { format!(", in chunks of {}", cache.rows) } else { String::new() };
        let again = if self.engine.towers.recompute { " · gradient checkpointing" } else { "" };
        lines.push(format!(
            "{} samples · batch {}{chunks} · {} steps an epoch · {} steps{again}",
            self.loader.samples(),
            self.config.train.batch,
            self.steps_per_epoch,
            self.total
        ));
        lines
    }

    /// What may not be meant as it is written, or does not do what it seems to.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = batch_norm::chunked(&self.engine.towers, &self.engine.cache, self.config.train.batch);
        warnings.extend(batch_norm::unset(&self.engine.towers));
        warnings.extend(self.engine.precision.warning(self.device));
        warnings.extend(recompute::without_effect(&self.engine.towers));
        if self.config.schedule.warmup >= self.total && self.total > 0 {
            warnings.push(format!("schedule.warmup = {} is not shorter than the run of {} steps", self.config.schedule.warmup, self.total));
        }
        warnings
    }

    /// Facts for the table at the top of the report.
    pub fn facts(&self) -> Vec<(String, String)> {
        let table = parameters::table(&self.engine.towers);
        let all: i64 = table.iter().map(|(_, count, _)| count).sum();
        let data = self.config.data.as_ref().map(|data| data.plugin.as_str()).unwrap_or_default();
        let objectives: Vec<String> = self.engine.terms.iter().map(|term| format!("{} × {}", term.weight, term.key)).collect();
        [
            ("objectives", objectives.join(" + ")),
            ("data", format!("{data}, {} samples", self.loader.samples())),
            ("parameters", format!("{:.2} M", all as f64 / 1e6)),
            ("batch", self.config.train.batch.to_string()),
            ("steps", self.total.to_string()),
            ("device", format!("{}, {}", in_words(self.device), self.engine.precision.name())),
            ("version", format!("vlhub {}, libtorch {}", env!("CARGO_PKG_VERSION"), TORCH)),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// Every parameter with its shape, whether it is trained, and the optimiser's rates: the page `parameters.tsv`.
    pub fn parameters(&self) -> String {
        let rates: std::collections::BTreeMap<&str, (f64, f64)> =
            self.engine.optimizer.rates().map(|(name, wd, factor)| (name, (wd, factor))).collect();
        let mut page = String::from("name\tshape\tnumber\ttrained\tlr_factor\tweight_decay\n");
        for (name, tensor) in self.engine.towers.variables() {
            let rate = rates.get(name.as_str());
            let (factor, wd) = rate.map_or((String::new(), String::new()), |(wd, factor)| (factor.to_string(), wd.to_string()));
            let trained = if rate.is_some() { "yes" } else { "no" };
            page += &format!("{name}\t{:?}\t{}\t{trained}\t{factor}\t{wd}\n", tensor.size(), tensor.numel());
        }
        page
    }
}
