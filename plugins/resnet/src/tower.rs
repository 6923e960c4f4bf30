//! The tower around each network of timm: pooling, tokens, and projection.

use std::fmt::Debug;

use vlhub_sdk::nn::timm::AttentionPool;
use vlhub_sdk::nn::{channels_last, check_pictures};
use vlhub_sdk::prelude::*;

use crate::options::{Common, Pool, places};

/// A network from pictures to its last map.
pub(crate) trait Trunk: Debug + Send {
    /// `[B, 3, H, W]` to `[B, width, h, w]`, with the last norm and activation.
    fn map(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor;
    /// Prefixes of its parameters relative to `trunk`, from input to output.
    fn stages(&self) -> Vec<String>;
}

/// A network of timm as an image tower.
#[derive(Debug)]
pub(crate) struct Tower<T> {
    trunk: T,
    attention: Option<AttentionPool>,
    common: Common,
    width: i64,
    classifier: &'static str,
    embed: i64,
}

impl<T: Trunk + 'static> Tower<T> {
    /// Around a trunk whose last map has `width` channels and `side` · `side` places. `classifier` is its own last layer, with `trunk.`.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn around(
        trunk: T,
        cx: &BackboneCx<'_>,
        common: Common,
        (width, side): (i64, i64),
        classifier: &'static str,
    ) -> Result<Box<dyn Backbone>> {
        let attention = match common.pool {
            Pool::AbsAttn => Some(AttentionPool::new(&cx.path.sub("head").sub("pool"), width, cx.embed, side * side)?),
            Pool::Avg | Pool::Max => None,
        };
        Ok(Box::new(Self { trunk, attention, common, width, classifier, embed: cx.embed }))
    }
}

impl<T: Trunk> Backbone for Tower<T> {
    fn input(&self) -> InputSpec {
        self.common.input()
    }

    fn width(&self) -> i64 {
        if self.attention.is_some() { self.embed } else { self.width }
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.common.image_size; 2])?;
        if tokens && self.width != self.width() {
            return Err(Error::invalid(format!(
                "`pool` = \"abs_attn\" gives {} numbers, and a token has {}; for tokens set `pool` = \"avg\"",
                self.embed, self.width
            )));
        }
        let map = self.trunk.map(&channels_last(input), noise);
        let pooled = match (&self.attention, self.common.pool) {
            (Some(attention), _) => attention.forward(&map),
            (None, Pool::Max) => map.amax([2i64, 3].as_slice(), false),
            (None, _) => map.mean_dim([2i64, 3].as_slice(), false, None::<Kind>),
        };
        Ok(Hidden { pooled, tokens: tokens.then(|| places(&map)) })
    }

    fn stages(&self) -> Vec<String> {
        let trunk = self.trunk.stages().into_iter().map(|stage| format!("trunk.{stage}"));
        trunk.chain(self.attention.as_ref().map(|_| String::from("head.pool"))).collect()
    }

    fn projection(&self) -> Projection {
        self.common.proj.projection(self.common.proj_bias, self.classifier, self.embed)
    }
}

/// Half of a side, rounded up, `times` times: what convolutions and pools of stride 2 leave of it.
pub(crate) fn halved(side: i64, times: u32) -> i64 {
    (0..times).fold(side, |side, _| (side + 1) / 2)
}

#[cfg(test)]
mod tests {
    use vlhub_sdk::nn::timm::Proj;
    use vlhub_sdk::tch::nn::VarStore;

    use super::*;
    use crate::regnet::RegNetConfig;
    use crate::resnet::{AntiAliasing, BlockKind, ResNetConfig};
    use crate::resnetv2::ResNetV2Config;

    fn build(config: &dyn Config<dyn Backbone>, embed: i64) -> Result<Box<dyn Backbone>> {
        config.build(&BackboneCx { path: VarStore::new(Device::Cpu).root(), embed })
    }

    fn attention() -> ResNetConfig {
        ResNetConfig { image_size: 32, pool: Pool::AbsAttn, proj: Proj::None, ..ResNetConfig::default() }
    }

    #[test]
    fn a_pool_that_projects_gives_tokens_only_of_its_own_width() -> Result<()> {
        let x = Tensor::zeros([2, 3, 32, 32], (Kind::Float, Device::Cpu));
        let tower = build(&attention(), 24)?;
        assert_eq!((tower.width(), tower.projection()), (24, Projection::Identity));
        assert_eq!(tower.encode(&x, false, None)?.pooled.size(), [2, 24]);
        let error = tower.encode(&x, true, None).expect_err("24 is not 256").to_string();
        assert!(error.contains("`pool` = \"avg\"") && error.contains("256"), "{error}");
        let tokens = build(&attention(), 256)?.encode(&x, true, None)?.tokens.expect("they were asked for");
        assert_eq!(tokens.values.size(), [2, 1, 256]);
        Ok(())
    }

    #[test]
    fn classifiers_have_the_names_of_timm() -> Result<()> {
        let name = |config: &dyn Config<dyn Backbone>| -> Result<_> { Ok(build(config, 24)?.projection()) };
        let proj = Proj::Classifier;
        let linear = |name| Projection::Linear { name, bias: true };
        assert_eq!(name(&ResNetConfig { proj, ..ResNetConfig::default() })?, linear("trunk.fc"));
        assert_eq!(name(&ResNetV2Config { proj, ..ResNetV2Config::default() })?, linear("trunk.head.fc"));
        assert_eq!(name(&RegNetConfig { proj, ..RegNetConfig::default() })?, linear("trunk.head.fc"));
        Ok(())
    }

    #[test]
    fn stochastic_depth_is_on_in_training_alone_and_repeats_under_one_seed() -> Result<()> {
        // Group norm, because batch norm would differ in training by itself; nothing is zero at the start here.
        let x = Tensor::randn([4, 3, 32, 32], (Kind::Float, Device::Cpu));
        let noise = |first: i64| Noise::new(Tensor::arange_start(first, first + 4, (Kind::Int64, Device::Cpu)));
        let (still, drops) = (ResNetV2Config { image_size: 32, ..ResNetV2Config::default() }, 0.9);
        let tower = build(&still, 24)?;
        assert!(tower.encode(&x, false, Some(&noise(1)))?.pooled.equal(&tower.encode(&x, false, None)?.pooled));
        let tower = build(&ResNetV2Config { drop_path: drops, ..still }, 24)?;
        let pooled = |noise: Option<&Noise>| -> Result<_> { Ok(tower.encode(&x, false, noise)?.pooled) };
        assert!(pooled(None)?.equal(&pooled(None)?));
        assert!(pooled(Some(&noise(1)))?.equal(&pooled(Some(&noise(1)))?));
        assert!(!pooled(Some(&noise(1)))?.equal(&pooled(Some(&noise(9)))?) && !pooled(Some(&noise(1)))?.equal(&pooled(None)?));
        Ok(())
    }

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong = ResNetConfig {
            image_size: 40,
            block: BlockKind::Basic,
            layers: [1, 0, 1, 1],
            channels: [8, 8, 8, 40],
            cardinality: 2,
            aa_layer: AntiAliasing::Avg,
            pool: Pool::AbsAttn,
            drop_path: 1.0,
            std: [0.0; 3],
            ..ResNetConfig::default()
        };
        let error = build(&wrong, 24).expect_err("many mistakes").to_string();
        for part in
            ["`image_size`", "`cardinality` = 1", "`layers` = [1, 0, 1, 1]", "`proj` = \"none\"", "40 channels", "`drop_path`", "`std`"]
        {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
        let uneven = ResNetV2Config { channels: [48, 64, 64, 64], ..ResNetV2Config::default() };
        let error = build(&uneven, 24).expect_err("48 channels have no 32 groups").to_string();
        assert!(error.contains("[48, 24]"), "{error}");
        let short = RegNetConfig { depth: 2, ..RegNetConfig::default() };
        let error = build(&short, 24).expect_err("two blocks have no four widths").to_string();
        assert!(error.contains("[24, 48]"), "{error}");
    }

    #[test]
    fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
        let tower = build(&ResNetConfig { image_size: 32, ..ResNetConfig::default() }, 24)?;
        for (input, found) in [
            (Tensor::zeros([2, 3, 32, 48], (Kind::Float, Device::Cpu)), "Float [2, 3, 32, 48]"),
            (Tensor::zeros([2, 3, 32, 32], (Kind::Uint8, Device::Cpu)), "Uint8 [2, 3, 32, 32]"),
        ] {
            let error = tower.encode(&input, false, None).expect_err(found).to_string();
            assert!(error.contains("[B, 3, 32, 32]") && error.contains(found), "{error}");
        }
        Ok(())
    }
}
