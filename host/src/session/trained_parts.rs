//! What of a run's towers is trained: frozen stages, locked groups, adapters, running statistics.

use tch::Device;

use super::towers_of;
use crate::config::RunConfig;
use crate::engine::lora::Adapter;
use crate::engine::towers::Towers;
use crate::engine::{batch_norm, recompute};
use crate::failure::Outcome;

/// Freezes what the run file says of each tower.
pub(super) fn freeze(config: &RunConfig, towers: &mut Towers) -> Outcome {
    for (modality, tower) in towers_of(config) {
        if !tower.training.freeze.is_empty() {
            towers.freeze(modality, &tower.training.freeze)?;
        }
        if let Some(unlocked) = tower.training.unlocked {
            towers.lock(modality, unlocked)?;
        }
        towers.freeze_statistics(modality, tower.training.freeze_bn_stats)?;
    }
    Ok(())
}

/// Attaches low-rank adapters. That freezes what they do not train, so batch norms are looked at again.
pub(super) fn adapt(config: &RunConfig, towers: &mut Towers) -> Outcome<Vec<Adapter>> {
    let mut lora = Vec::new();
    for (modality, tower) in towers_of(config).filter(|(_, tower)| tower.training.lora.rank > 0) {
        lora.extend(Adapter::attach(towers, modality, &tower.training.lora)?);
        towers.freeze_statistics(modality, tower.training.freeze_bn_stats)?;
    }
    Ok(lora)
}

/// Warnings that are known before a run starts: its towers are built on paper, without numbers. None where they cannot be, which building them
/// for the run will tell.
pub fn early_warnings(config: &RunConfig) -> Vec<String> {
    let (cache, batch) = (&config.train.grad_cache, config.train.batch);
    if !cache.splits(batch) && !config.train.grad_checkpointing {
        return Vec::new();
    }
    let warnings = || -> Outcome<Vec<String>> {
        let [image, text] = config.backbones();
        let mut towers = Towers::build(Device::Cpu, config.top.embed, config.top.custom_text, image, text)?;
        freeze(config, &mut towers)?;
        adapt(config, &mut towers)?;
        towers.recompute = config.train.grad_checkpointing;
        Ok([batch_norm::chunked(&towers, cache, batch), recompute::without_effect(&towers)].concat())
    };
    vlhub_torch_ext::on_paper(warnings).ok().and_then(|(warnings, _)| warnings.ok()).unwrap_or_default()
}
