//! Layers that towers and heads share, with the parameter names and initial values of open_clip 3.3.0.
//!
//! Each layer is made on a [`Path`], and is an error where a name is taken. Where `forward` takes [`Noise`](crate::Noise), that switches
//! dropout on: an element of a token draws the same number whatever the batch and the length of its row. Layers use plain tensor operations,
//! so a wrong shape inside a plugin is a panic that the plugin's guard turns into an error: towers check what comes from outside.

mod attention;
mod block;
mod conv;
mod layers;
mod logit_scale;
mod projector;
mod recomputed;
pub mod timm;

pub use attention::{Attention, AttentionExtras, KeysValues, Mask, join_heads, scaled_dot_product, split_heads};
pub use block::{Block, BlockConfig, BlockExtras, Start, Transformer, up_to};
pub use conv::{BatchNorm, Conv2d, ConvConfig, channels_last, drop_path};
pub use layers::{Activation, LayerNorm, Linear, default_bound, dropout};
pub use logit_scale::LogitScale;
pub use projector::Projector;
pub use recomputed::Recomputed;
pub use tch::nn::{Init, Path};

use tch::Tensor;

use crate::{Error, Result};

/// Makes the trainable parameter `name` on `path`.
///
/// # Errors
/// When the name is taken: libtorch's bindings would silently make a second parameter under another name.
pub fn parameter(path: &Path<'_>, name: &str, dims: &[i64], init: Init) -> Result<Tensor> {
    if path.get(name).is_some() {
        return Err(Error::invalid(format!("there is a parameter `{}` already; each tower needs a path of its own", path.path(name))));
    }
    Ok(path.f_var(name, dims, init)?)
}

/// Shape check: refuses what is no batch of pictures `[B, 3, height, width]`, float.
///
/// # Errors
/// What was given instead.
pub fn check_pictures(images: &Tensor, [height, width]: [i64; 2]) -> Result<()> {
    let size = images.size();
    if !images.is_floating_point() || size.len() != 4 || size[1..] != [3, height, width] {
        let kind = images.kind();
        return Err(Error::invalid(format!("the image tower reads float pictures [B, 3, {height}, {width}], not {kind:?} {size:?}")));
    }
    Ok(())
}

/// Normal initialisation with mean 0.
pub fn normal(stdev: f64) -> Init {
    Init::Randn { mean: 0.0, stdev }
}
