//! The tower around each network: the check of its input, the shape of its output, and its projection.

use std::fmt::Debug;

use vlhub_sdk::nn::{channels_last, check_pictures};
use vlhub_sdk::prelude::*;

use crate::options::Common;

/// A network of timm without its classifier.
pub(crate) trait Net: Debug + Send {
    /// The pooled output `[B, width]`, and the places of the last map row by row, `[B, T, width]`.
    fn forward(&self, images: &Tensor, noise: Option<&Noise>) -> (Tensor, Tensor);
    /// Of [`Backbone::recomputes`].
    fn recomputes(&self) -> bool {
        false
    }
    /// Prefixes of its parameters, from input to output.
    fn stages(&self) -> Vec<String>;
}

/// A network as a tower of open_clip.
#[derive(Debug)]
pub(crate) struct Tower<N> {
    net: N,
    common: Common,
    width: i64,
    projection: Projection,
}

impl<N: Net + 'static> Tower<N> {
    /// `width` is that of the pooled output and of the tokens, `classifier` the name of timm's own last layer.
    pub fn boxed(net: N, common: Common, width: i64, classifier: &'static str, embed: i64) -> Box<dyn Backbone> {
        let projection = common.proj.projection(common.proj_bias, classifier, embed);
        Box::new(Self { net, common, width, projection })
    }
}

impl<N: Net> Backbone for Tower<N> {
    fn input(&self) -> InputSpec {
        let Common { image_size, mean, std, .. } = self.common;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.common.image_size; 2])?;
        let (pooled, values) = self.net.forward(&channels_last(input), noise);
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(values)) })
    }

    fn recomputes(&self) -> bool {
        self.net.recomputes()
    }

    fn stages(&self) -> Vec<String> {
        self.net.stages().into_iter().map(|stage| format!("trunk.{stage}")).collect()
    }

    fn projection(&self) -> Projection {
        self.projection.clone()
    }
}
