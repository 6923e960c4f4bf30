//! Projection heads of self-supervised objectives.

use tch::Tensor;
use tch::nn::{Init, Path};

use super::{Linear, default_bound, parameter};
use crate::{Error, Result};

/// A multilayer perceptron with batch norm, which SimCLR, BYOL, SimSiam and DeCLIP project and predict with: linear maps with bias, batch
/// norm and ReLU between them, and at the end, where it is asked for, batch norm alone.
///
/// Parameters: `linears.N.weight`, `linears.N.bias`, `norms.N.weight`, `norms.N.bias`. Batch norm uses the rows it is given and keeps
/// nothing: a head runs over the whole batch, once a step, and never in evaluation.
#[derive(Debug)]
pub struct Projector {
    layers: Vec<(Linear, Option<Norm>)>,
    parameters: Vec<Tensor>,
}

/// Batch norm over `[B, C]` by the batch's own statistics.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
}

impl Projector {
    /// Makes the parameters for `widths[0]` to `widths[1]` and so on; `last_norm` puts a batch norm behind the last map.
    ///
    /// # Errors
    /// Fewer than two widths, one below 1, or a name that is taken.
    pub fn new(path: &Path<'_>, widths: &[i64], last_norm: bool) -> Result<Self> {
        if widths.len() < 2 || widths.iter().any(|width| *width < 1) {
            return Err(Error::Options(format!("a head of the widths {widths:?} maps nothing; there are at least two, each at least 1")));
        }
        let mut layers = Vec::new();
        let mut parameters = Vec::new();
        for (index, pair) in widths.windows(2).enumerate() {
            let (input, output) = (pair[0], pair[1]);
            let place = path.sub("linears").sub(index);
            let linear = Linear::new(&place, input, output, default_bound(input), default_bound(input))?;
            parameters.extend([place.get("weight"), place.get("bias")].into_iter().flatten());
            let norm = if last_norm || index + 2 < widths.len() {
                let place = path.sub("norms").sub(index);
                let weight = parameter(&place, "weight", &[output], Init::Const(1.0))?;
                let bias = parameter(&place, "bias", &[output], Init::Const(0.0))?;
                parameters.extend([weight.shallow_clone(), bias.shallow_clone()]);
                Some(Norm { weight, bias })
            } else {
                None
            };
            layers.push((linear, norm));
        }
        Ok(Self { layers, parameters })
    }

    /// A head that nothing trains and that begins as a copy of this one: the target of BYOL.
    ///
    /// # Errors
    /// As [`Projector::new`], which gets the same widths.
    pub fn average(&self, path: &Path<'_>, widths: &[i64], last_norm: bool) -> Result<Self> {
        let copy = Self::new(path, widths, last_norm)?;
        for parameter in &copy.parameters {
            let _ = parameter.set_requires_grad(false);
        }
        copy.follow(self, 0.0);
        Ok(copy)
    }

    /// Moves every parameter towards those of `online`: `momentum · self + (1 − momentum) · online`.
    pub fn follow(&self, online: &Self, momentum: f64) {
        tch::no_grad(|| {
            for (mine, theirs) in self.parameters.iter().zip(&online.parameters) {
                match momentum {
                    0.0 => mine.shallow_clone().copy_(theirs),
                    _ => {
                        let _ = mine.shallow_clone().lerp_(&theirs.detach(), 1.0 - momentum);
                    }
                }
            }
        });
    }

    /// `[B, input]` to `[B, output]`.
    ///
    /// # Errors
    /// Fewer than two rows, which have no variance.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if x.size()[0] < 2 {
            return Err(Error::invalid("a head with batch norm needs a batch of at least 2 rows"));
        }
        let mut x = x.shallow_clone();
        let last = self.layers.len() - 1;
        for (index, (linear, norm)) in self.layers.iter().enumerate() {
            x = linear.forward(&x);
            if let Some(Norm { weight, bias }) = norm {
                x = x.batch_norm(Some(weight), Some(bias), None::<&Tensor>, None::<&Tensor>, true, 0.1, 1e-5, true);
            }
            if index < last {
                x = x.relu();
            }
        }
        Ok(x)
    }
}

#[cfg(test)]
mod tests {
    use tch::nn::VarStore;
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn a_head_normalises_by_the_batch_and_keeps_nothing() -> Result<()> {
        let store = VarStore::new(Device::Cpu);
        let head = Projector::new(&store.root(), &[6, 5, 4], true)?;
        let out = head.forward(&(Tensor::randn([8, 6], (Kind::Float, Device::Cpu)) * 3.0 + 7.0))?;
        assert!(out.mean_dim([0i64].as_slice(), false, None::<Kind>).abs().max().double_value(&[]) < 1e-5);
        assert_eq!(store.variables().len(), 8, "four of the maps, four of the norms, no buffers");
        assert!(head.forward(&Tensor::zeros([1, 6], (Kind::Float, Device::Cpu))).is_err(), "one row has no variance");
        assert!(Projector::new(&store.root(), &[6], true).is_err());
        Ok(())
    }

    #[test]
    fn an_average_begins_equal_and_follows() -> Result<()> {
        let store = VarStore::new(Device::Cpu);
        let online = Projector::new(&(store.root() / "online"), &[3, 2], false)?;
        let target = online.average(&(store.root() / "target"), &[3, 2], false)?;
        assert_eq!(store.variables().into_values().filter(Tensor::requires_grad).count(), 2);
        assert!(target.parameters[0].equal(&online.parameters[0]));
        let before = target.parameters[0].copy();
        let _ = tch::no_grad(|| online.parameters[0].shallow_clone().f_add_scalar_(1.0))?;
        target.follow(&online, 0.75);
        assert!((&target.parameters[0] - before - 0.25).abs().max().double_value(&[]) < 1e-6);
        Ok(())
    }
}
