//! The projection of a tower into the joint space.

use tch::Tensor;
use tch::nn::{Init, Path};
use vlhub_core::{Error, Projection, Result};
use vlhub_sdk::nn::{default_bound, normal, parameter};

/// A projection head with its parameters: linear layers with GELU between them.
#[derive(Debug)]
pub struct ProjectionHead {
    layers: Vec<LinearLayer>,
}

/// `x · weightᵀ + bias`.
#[derive(Debug)]
struct LinearLayer {
    weight: Tensor,
    /// `weight` is stored the other way round, `[input, output]`.
    transposed: bool,
    bias: Option<Tensor>,
}

impl ProjectionHead {
    /// Makes the parameters of a projection from `width` to `embed`.
    ///
    /// # Errors
    /// When a name is taken, or nothing projects and the widths differ.
    pub fn new(path: &Path<'_>, projection: Projection, width: i64, embed: i64) -> Result<Self> {
        let layers = match projection {
            Projection::Matrix(name) => {
                let weight = parameter(path, name, &[width, embed], normal((width as f64).powf(-0.5)))?;
                vec![LinearLayer { weight, transposed: true, bias: None }]
            }
            Projection::Linear { name, bias } => vec![LinearLayer::new(path, name, width, embed, bias)?],
            Projection::Mlp { names, hidden, bias } => {
                vec![LinearLayer::new(path, names[0], width, hidden, bias[0])?, LinearLayer::new(path, names[1], hidden, embed, bias[1])?]
            }
            Projection::Identity if width == embed => Vec::new(),
            Projection::Identity => {
                return Err(Error::Options(format!(
                    "this tower has no projection, so its width {width} must be that of the joint space, `embed` = {embed}"
                )));
            }
        };
        Ok(Self { layers })
    }

    /// `[B, width]` to `[B, D]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = x.shallow_clone();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(&if index > 0 { x.f_gelu("none")? } else { x })?;
        }
        Ok(x)
    }
}

impl LinearLayer {
    fn new(path: &Path<'_>, name: &str, input: i64, output: i64, bias: bool) -> Result<Self> {
        let path = name.split('.').fold(path.clone(), |path, part| path.sub(part));
        let weight = parameter(&path, "weight", &[output, input], default_bound(input))?;
        let bias = if bias { Some(parameter(&path, "bias", &[output], Init::Const(0.0))?) } else { None };
        Ok(Self { weight, transposed: false, bias })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(if self.transposed { x.f_matmul(&self.weight)? } else { x.f_linear(&self.weight, self.bias.as_ref())? })
    }
}
