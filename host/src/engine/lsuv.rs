//! Layer-sequential unit variance (LSUV, arXiv 1511.06422): weights begin orthogonal, and each layer in turn is scaled until what comes out
//! of it has a standard deviation of 1 on a real batch. Works on any tower: layers are found by watching libtorch use the weights.

use tch::{Kind, Tensor};
use vlhub_core::{Batch, Modality, Need, Result};
use vlhub_torch_ext::watched;

use super::towers::Towers;

/// Tolerance: how far from 1 a standard deviation may be.
const TOLERANCE: f64 = 0.1;
/// Iterations: how often a layer is scaled at most.
const TRIES: usize = 10;

/// Initialises the matrices and convolutions of a tower that are trained, on the view `main` of a batch. Returns how many layers were scaled.
///
/// # Errors
/// Whatever the tower refuses.
pub fn initialise(towers: &Towers, modality: Modality, batch: &Batch) -> Result<usize> {
    let _no_grad = tch::no_grad_guard();
    let named = towers.variables().into_iter();
    let weights: Vec<Tensor> = named
        .filter(|(name, tensor)| towers.owner(name) == Some(modality) && tensor.requires_grad() && tensor.dim() >= 2)
        .map(|(_, tensor)| tensor)
        .collect();
    let need = match modality {
        Modality::Image => Need::image("main"),
        Modality::Text => Need::text("main"),
    };
    // Without noise: dropout would be part of the deviation.
    let look = || -> Result<_> {
        let (ran, seen) = watched(&weights, || towers.encode_need(&need, batch, None, 0))?;
        ran.map(|_| seen)
    };
    let mut order: Vec<(usize, usize)> =
        look()?.iter().enumerate().filter_map(|(index, seen)| seen.map(|seen| (seen.place, index))).collect();
    order.sort_unstable();
    for (_, index) in &order {
        let weight = &weights[*index];
        let flat = weight.size()[0];
        weight.shallow_clone().f_copy_(&orthogonal(flat, weight.numel() as i64 / flat, weight).f_reshape(weight.size())?)?;
    }
    for (_, index) in &order {
        for _ in 0..TRIES {
            let Some(seen) = look()?[*index] else { break };
            if !(seen.deviation.is_finite() && seen.deviation > 0.0) || (seen.deviation - 1.0).abs() <= TOLERANCE {
                break;
            }
            let _ = weights[*index].shallow_clone().f_div_scalar_(seen.deviation)?;
        }
    }
    Ok(order.len())
}

/// A matrix with orthonormal rows, or columns where there are fewer: drawn uniformly, as torch's `orthogonal_`.
fn orthogonal(rows: i64, columns: i64, like: &Tensor) -> Tensor {
    let tall = Tensor::randn([rows.max(columns), rows.min(columns)], (Kind::Float, like.device()));
    let (q, r) = Tensor::linalg_qr(&tall, "reduced");
    let q = q * r.diagonal(0, 0, 1).sign().unsqueeze(0);
    if rows < columns { q.tr().contiguous() } else { q }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn an_orthogonal_start_keeps_lengths() {
        let like = Tensor::zeros([1], (Kind::Float, Device::Cpu));
        for (rows, columns) in [(5, 3), (3, 5), (4, 4)] {
            let q = orthogonal(rows, columns, &like);
            assert_eq!(q.size(), [rows, columns]);
            let product = if rows < columns { q.matmul(&q.tr()) } else { q.tr().matmul(&q) };
            let eye = Tensor::eye(rows.min(columns), (Kind::Float, Device::Cpu));
            assert!((product - eye).abs().max().double_value(&[]) < 1e-5);
        }
    }
}
