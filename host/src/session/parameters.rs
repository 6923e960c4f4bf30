//! Parameters of a session: which are trained, how many there are, and a hash of them.

use tch::{Device, Tensor};

use crate::engine::lora::Adapter;
use crate::engine::optim::Param;
use crate::engine::towers::Towers;

/// What the optimiser trains: everything that has gradients, but for weights whose gradients go to adapters.
pub fn trained(towers: &Towers, lora: &[Adapter]) -> Vec<Param> {
    let trained = towers.trained().into_iter().filter(|(name, _)| !lora.iter().any(|adapter| adapter.is(name)));
    trained.map(|(name, tensor)| Param { depth: towers.depth(&name), name, tensor }).collect()
}

/// A table of parameters: group, number, number trained. Groups are the towers and the objectives.
pub fn table(towers: &Towers) -> Vec<(String, i64, i64)> {
    let mut table: Vec<(String, i64, i64)> = Vec::new();
    for (name, tensor) in towers.variables() {
        let group = match name.split('.').collect::<Vec<_>>()[..] {
            ["visual", ..] => "image tower".to_owned(),
            ["objective", key, ..] => format!("objective.{key}"),
            [one] if one.starts_with("logit_") => one.to_owned(),
            _ => "text tower".to_owned(),
        };
        let count = tensor.numel() as i64;
        let trained = if tensor.requires_grad() { count } else { 0 };
        match table.iter_mut().find(|(known, ..)| *known == group) {
            Some((_, all, open)) => {
                *all += count;
                *open += trained;
            }
            None => table.push((group, count, trained)),
        }
    }
    table
}

/// A hash of all parameters: equal hashes, equal weights.
pub fn hash(variables: &[(String, Tensor)]) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    for (name, tensor) in variables {
        hash.update(name.as_bytes());
        let flat = tensor.detach().to_device(Device::Cpu).contiguous();
        let mut bytes = vec![0u8; vlhub_torch_ext::tensor_bytes(&flat)];
        flat.copy_data_u8(&mut bytes, flat.numel());
        hash.update(&bytes);
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}
