//! What the families share: the tower around a trunk, its pooling, and what the options must fulfil.

use std::fmt::Debug;

use vlhub_sdk::nn::timm::{AttentionPool, Proj};
use vlhub_sdk::nn::{Conv2d, ConvConfig, Init, Path, channels_last, check_pictures};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

/// Pooling: how the places of the last map become one vector: timm's `global_pool`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// Their mean.
    #[default]
    Avg,
    /// The largest value of each channel.
    Max,
    /// Half of the mean and half of the maximum.
    #[serde(rename = "avgmax")]
    AvgMax,
    /// Attention of the mean to all places, with a learned position for each place of the map of `image_size`, under `head.pool`. It maps
    /// into the joint space by itself, so `proj` must be `none`, and there are no tokens unless the map is as wide as the joint space.
    AbsAttn,
}

impl Pool {
    /// `[B, T, width]` to `[B, width]`.
    fn forward(self, places: &Tensor) -> Tensor {
        let mean = || places.mean_dim([1i64].as_slice(), false, None::<Kind>);
        let most = || places.amax([1i64].as_slice(), false);
        match self {
            Self::Avg => mean(),
            Self::Max => most(),
            Self::AvgMax => (mean() + most()) * 0.5,
            // The tower has the layer.
            Self::AbsAttn => places.shallow_clone(),
        }
    }
}

/// A network without pooling and classifier.
pub(crate) trait Trunk: Debug + Send {
    /// `[B, 3, H, W]` to what timm's `forward_features` gives, place by place: `[B, T, width]`.
    fn features(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor;
    /// What follows the pooling, `[B, width]` to `[B, width]`.
    fn head(&self, pooled: Tensor) -> Tensor {
        pooled
    }
    /// Of [`Backbone::recomputes`].
    fn recomputes(&self) -> bool {
        false
    }
    /// Of [`Backbone::stages`], relative to the trunk.
    fn stages(&self) -> Vec<String>;
}

/// What pictures a tower reads.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pictures {
    /// Height and width in pixels.
    pub side: i64,
    pub mean: [f64; 3],
    pub std: [f64; 3],
}

/// The tower of every family.
#[derive(Debug)]
pub(crate) struct Tower {
    trunk: Box<dyn Trunk>,
    pictures: Pictures,
    pool: Pool,
    /// The pool that has parameters.
    attention: Option<AttentionPool>,
    /// Of the pooled output.
    width: i64,
    projection: Projection,
}

impl Backbone for Tower {
    fn input(&self) -> InputSpec {
        let Pictures { side, mean, std } = self.pictures;
        InputSpec::Image { size: (side, side), mean, std }
    }

    fn width(&self) -> i64 {
        self.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.pictures.side; 2])?;
        let values = self.trunk.features(&channels_last(input), noise);
        if tokens && values.size()[2] != self.width {
            return Err(Error::invalid(format!(
                "`pool` = \"abs_attn\" gives {} numbers, and a token has {}; for tokens set `pool` = \"avg\"",
                self.width,
                values.size()[2]
            )));
        }
        let pooled = match &self.attention {
            // A map of one column: the layer takes the places row by row anyway.
            Some(attention) => attention.forward(&values.transpose(1, 2).unsqueeze(-1)),
            None => self.trunk.head(self.pool.forward(&values)),
        };
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(values)) })
    }

    fn recomputes(&self) -> bool {
        self.trunk.recomputes()
    }

    fn stages(&self) -> Vec<String> {
        let trunk = self.trunk.stages().into_iter().map(|stage| format!("trunk.{stage}"));
        trunk.chain(self.attention.as_ref().map(|_| String::from("head.pool"))).collect()
    }

    fn projection(&self) -> Projection {
        self.projection.clone()
    }
}

/// `[B, C, H, W]` to `[B, H · W, C]`, row by row.
pub(crate) fn places(map: &Tensor) -> Tensor {
    map.flatten(2, 3).transpose(1, 2)
}

/// A convolution whose bias, if it has one, starts at 0.
pub(crate) fn conv(path: &Path<'_>, config: ConvConfig, start: Init) -> Result<Conv2d> {
    let mut conv = Conv2d::with(path, config, start)?;
    if let Some(bias) = &mut conv.bias {
        let _ = no_grad(|| bias.f_zero_())?;
    }
    Ok(conv)
}

/// What the families' options have in common, to be checked and used at one place.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Common {
    pub pictures: Pictures,
    pub pool: Pool,
    pub proj: Proj,
    pub proj_bias: bool,
    pub drop_path: f64,
}

impl Common {
    /// The tower around a trunk whose features are `width` wide, in a last map of `side` · `side` places; `classifier` is the name of the
    /// network's own last layer.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn tower(
        &self,
        trunk: Box<dyn Trunk>,
        cx: &BackboneCx<'_>,
        (width, side): (i64, i64),
        classifier: &'static str,
    ) -> Result<Box<dyn Backbone>> {
        let attention = match self.pool {
            Pool::AbsAttn => Some(AttentionPool::new(&cx.path.sub("head").sub("pool"), width, cx.embed, side * side)?),
            _ => None,
        };
        let projection = self.proj.projection(self.proj_bias, classifier, cx.embed);
        let width = if attention.is_some() { cx.embed } else { width };
        Ok(Box::new(Tower { trunk, pictures: self.pictures, pool: self.pool, attention, width, projection }))
    }

    /// Adds what is wrong with them. A picture below `least` pixels has no place left in the last map.
    pub fn check(&self, least: i64, problems: &mut OptionProblems) {
        let Pictures { side, std, .. } = self.pictures;
        problems.at_least("image_size", side, least);
        problems.share("drop_path", self.drop_path);
        problems.std(std);
    }
}
