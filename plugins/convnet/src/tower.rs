//! What the families share: the tower around a trunk, its pooling, and what the options must fulfil.

use std::fmt::Debug;

use vlhub_sdk::nn::timm::{AttentionPool, Proj};
use vlhub_sdk::nn::{Conv2d, ConvConfig, Init, Path};
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::no_grad;

/// How the places of the last map become one vector: timm's `global_pool`.
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
        let (size, side) = (input.size(), self.pictures.side);
        if !input.is_floating_point() || size.len() != 4 || size[1..] != [3, side, side] {
            let kind = input.kind();
            return Err(Error::invalid(format!("the image tower reads float pictures [B, 3, {side}, {side}], not {kind:?} {size:?}")));
        }
        let values = self.trunk.features(input, noise);
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
        let tokens = tokens.then(|| {
            let size = values.size();
            Tokens { mask: Tensor::ones([size[0], size[1]], (Kind::Bool, values.device())), values }
        });
        Ok(Hidden { pooled, tokens })
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
    pub fn check(&self, least: i64, problems: &mut Problems) {
        let Pictures { side, std, .. } = self.pictures;
        problems.ensure(side >= least, || format!("`image_size` = {side} must be at least {least}"));
        let share = self.drop_path;
        problems.ensure((0.0..1.0).contains(&share), || format!("`drop_path` = {share} must be at least 0 and below 1"));
        problems.ensure(std.iter().all(|std| *std > 0.0), || format!("`std` = {std:?} must be above 0 in each channel"));
    }
}

/// Everything that is wrong with a table of options, to be told at once.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<String>);

impl Problems {
    /// Adds the problem unless all is well.
    pub fn ensure(&mut self, well: bool, problem: impl FnOnce() -> String) {
        if !well {
            self.0.push(problem());
        }
    }

    pub fn finish(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Error::Options(self.0.join("; "))) }
    }
}
