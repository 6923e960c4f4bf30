//! EfficientNet (arXiv 1905.11946) and EfficientNetV2 (arXiv 2104.00298).

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{ConvConfig, Path};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::mbconv::{Block, ConvNorm, Stage, Style, divisible};
use crate::tower::{Common, Pictures, Pool, Trunk, places};

/// Stages of inverted residuals, scaled in width and depth together (EfficientNet, arXiv 1905.11946; V2, arXiv 2104.00298).
///
/// Parameters are named as in timm's `EfficientNet`. Tokens are the places of the last map, row by row. Batch norm uses the batch
/// it is given while training, so rows are coupled, and the running statistics are part of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct EfficientNetConfig {
    /// Height and width of a picture in pixels.
    pub image_size: i64,
    /// The stages in timm's words, as `ir_r2_k3_s2_e6_c24_se0.25`: block type `cn`, `ds`, `ir` or `er`, then `r` repeats, `k` kernel, `s`
    /// stride, `e` expansion, `c` channels, `se` squeeze ratio, `skip` or `noskip`.
    pub arch_def: Vec<String>,
    /// Channels of the stem, before `channel_multiplier`.
    pub stem_size: i64,
    /// Channels of the last map, before `channel_multiplier`.
    pub num_features: i64,
    /// Multiplies all channels, rounded to multiples of 8.
    pub channel_multiplier: f64,
    /// Multiplies the repeats of each stage, rounded up.
    pub depth_multiplier: f64,
    /// Pad as TensorFlow does (timm's `pad_type = "same"`).
    pub same_padding: bool,
    /// ε of all batch norms.
    pub bn_eps: f64,
    /// Pooling: how the places of the last map become one vector.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Stochastic depth: each block with a shortcut is left out for a share of the rows while training; the share grows linearly with the
    /// block's place, from 0 to almost this.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel.
    pub std: [f64; 3],
}

/// B0; the other sizes multiply its channels and repeats.
const B: &[&str] = &[
    "ds_r1_k3_s1_e1_c16_se0.25",
    "ir_r2_k3_s2_e6_c24_se0.25",
    "ir_r2_k5_s2_e6_c40_se0.25",
    "ir_r3_k3_s2_e6_c80_se0.25",
    "ir_r3_k5_s1_e6_c112_se0.25",
    "ir_r4_k5_s2_e6_c192_se0.25",
    "ir_r1_k3_s1_e6_c320_se0.25",
];

const V2_S: &[&str] = &[
    "cn_r2_k3_s1_e1_c24_skip",
    "er_r4_k3_s2_e4_c48",
    "er_r4_k3_s2_e4_c64",
    "ir_r6_k3_s2_e4_c128_se0.25",
    "ir_r9_k3_s1_e6_c160_se0.25",
    "ir_r15_k3_s2_e6_c256_se0.25",
];

/// timm's own small V2, from before the paper's was published.
const V2_RW_S: &[&str] = &[
    "er_r2_k3_s1_e1_c24",
    "er_r4_k3_s2_e4_c48",
    "er_r4_k3_s2_e4_c64",
    "ir_r6_k3_s2_e4_c128_se0.25",
    "ir_r9_k3_s1_e6_c160_se0.25",
    "ir_r15_k3_s2_e6_c272_se0.25",
];

/// The same, with 1.2 times the repeats, 1.6 times in the last two stages.
const V2_RW_M: &[&str] = &[
    "er_r3_k3_s1_e1_c24",
    "er_r5_k3_s2_e4_c48",
    "er_r5_k3_s2_e4_c64",
    "ir_r8_k3_s2_e4_c128_se0.25",
    "ir_r15_k3_s1_e6_c160_se0.25",
    "ir_r24_k3_s2_e6_c272_se0.25",
];

const V2_M: &[&str] = &[
    "cn_r3_k3_s1_e1_c24_skip",
    "er_r5_k3_s2_e4_c48",
    "er_r5_k3_s2_e4_c80",
    "ir_r7_k3_s2_e4_c160_se0.25",
    "ir_r14_k3_s1_e6_c176_se0.25",
    "ir_r18_k3_s2_e6_c304_se0.25",
    "ir_r5_k3_s1_e6_c512_se0.25",
];

const V2_L: &[&str] = &[
    "cn_r4_k3_s1_e1_c32_skip",
    "er_r7_k3_s2_e4_c64",
    "er_r7_k3_s2_e4_c96",
    "ir_r10_k3_s2_e4_c192_se0.25",
    "ir_r19_k3_s1_e6_c224_se0.25",
    "ir_r25_k3_s2_e6_c384_se0.25",
    "ir_r7_k3_s1_e6_c640_se0.25",
];

const V2_XL: &[&str] = &[
    "cn_r4_k3_s1_e1_c32_skip",
    "er_r8_k3_s2_e4_c64",
    "er_r8_k3_s2_e4_c96",
    "ir_r16_k3_s2_e4_c192_se0.25",
    "ir_r24_k3_s1_e6_c256_se0.25",
    "ir_r32_k3_s2_e6_c512_se0.25",
    "ir_r8_k3_s1_e6_c640_se0.25",
];

impl Default for EfficientNetConfig {
    /// A model for a CPU and seconds: 64 px, one block of each type, 128 channels at the end; 0.04 million parameters.
    fn default() -> Self {
        let stages = ["cn_r1_k3_s1_e1_c16_skip", "ds_r1_k3_s2_e1_c16_se0.25", "er_r1_k3_s2_e4_c24", "ir_r2_k5_s2_e4_c32_se0.25"];
        Self {
            image_size: 64,
            arch_def: stages.map(String::from).to_vec(),
            stem_size: 16,
            num_features: 128,
            channel_multiplier: 1.0,
            depth_multiplier: 1.0,
            same_padding: false,
            bn_eps: 1e-5,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }
}

impl EfficientNetConfig {
    fn sized(image_size: i64, stages: &[&str], stem_size: i64) -> Self {
        let arch_def = stages.iter().copied().map(String::from).collect();
        Self { image_size, arch_def, stem_size, num_features: 1280, ..Self::default() }
    }

    /// B0 with multiplied channels and repeats.
    fn b(image_size: i64, channel_multiplier: f64, depth_multiplier: f64) -> Self {
        Self { channel_multiplier, depth_multiplier, ..Self::sized(image_size, B, 32) }
    }

    /// L2 as Noisy Student (arXiv 1911.04252) trained it, at 475 px.
    fn l2() -> Self {
        Self::b(475, 4.3, 5.3).tf()
    }

    fn v2_xl() -> Self {
        Self::sized(384, V2_XL, 32).tf()
    }

    /// timm's own V2: the last map has 1792 channels.
    fn rw(self) -> Self {
        Self { num_features: 1792, ..self }
    }

    /// As the authors' TensorFlow networks compute.
    fn tf(self) -> Self {
        Self { same_padding: true, bn_eps: 1e-3, ..self }
    }

    fn common(&self) -> Common {
        let Self { image_size: side, pool, proj, proj_bias, drop_path, mean, std, .. } = *self;
        Common { pictures: Pictures { side, mean, std }, pool, proj, proj_bias, drop_path }
    }

    fn channels(&self, unscaled: i64) -> i64 {
        divisible(unscaled as f64 * self.channel_multiplier)
    }

    /// The stages with their own repeats and channels.
    ///
    /// # Errors
    /// Everything that is wrong with the options, at once.
    fn stages(&self) -> Result<Vec<Stage>> {
        let mut problems = OptionProblems::default();
        self.common().check(1, &mut problems);
        if self.pool == Pool::AbsAttn {
            let width = self.channels(self.num_features);
            problems.ensure(self.proj == Proj::None, || {
                "`pool` = \"abs_attn\" projects into the joint space by itself; set `proj` = \"none\"".into()
            });
            problems.ensure(width % 64 == 0, || {
                format!("`pool` = \"abs_attn\" has heads of width 64, which do not divide the last map's {width} channels")
            });
        }
        problems.at_least_one(&[("stem_size", self.stem_size), ("num_features", self.num_features)]);
        let multipliers = [("channel_multiplier", self.channel_multiplier), ("depth_multiplier", self.depth_multiplier)];
        for (name, value) in multipliers.into_iter().chain([("bn_eps", self.bn_eps)]) {
            problems.positive(name, value);
        }
        problems.ensure(!self.arch_def.is_empty(), || "`arch_def` has no stage".into());
        let mut stages = Vec::new();
        for text in &self.arch_def {
            match Stage::parse(text) {
                Ok(stage) => stages.push(Stage {
                    repeats: (stage.repeats as f64 * self.depth_multiplier).ceil() as i64,
                    channels: self.channels(stage.channels),
                    ..stage
                }),
                Err(why) => problems.push(format!("the stage `{text}` of `arch_def` cannot be read: {why}")),
            }
        }
        problems.finish().map(|()| stages)
    }
}

impl Config<dyn Backbone> for EfficientNetConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        let (stages, width) = (self.stages()?, self.channels(self.num_features));
        let trunk = EfficientNet::new(&cx.path.sub("trunk"), self, &stages, width)?;
        // The stem and each stage of stride 2 halve the map.
        let halvings = 1 + stages.iter().filter(|stage| stage.stride == 2).count();
        let side = (0..halvings).fold(self.image_size, |side, _| (side + 1) / 2);
        self.common().tower(Box::new(trunk), cx, (width, side), "trunk.classifier")
    }
}

/// The trunk that [`EfficientNetConfig`] describes.
#[derive(Debug)]
struct EfficientNet {
    stem: ConvNorm,
    stages: Vec<Vec<Block>>,
    head: ConvNorm,
}

impl EfficientNet {
    fn new(path: &Path<'_>, config: &EfficientNetConfig, stages: &[Stage], width: i64) -> Result<Self> {
        let style = Style { same_padding: config.same_padding, epsilon: config.bn_eps };
        let mut channels = config.channels(config.stem_size);
        let stem = ConvConfig { input: 3, output: channels, kernel: 3, stride: 2, ..ConvConfig::default() };
        let stem = ConvNorm::new(path, ["conv_stem", "bn1"], stem, style, true)?;
        let count: i64 = stages.iter().map(|stage| stage.repeats).sum();
        let (mut made, mut built) = (0, Vec::new());
        for (at, stage) in stages.iter().enumerate() {
            let path = path.sub("blocks").sub(at);
            let mut blocks = Vec::new();
            for index in 0..stage.repeats {
                let drop_path = config.drop_path * made as f64 / count as f64;
                let own = Stage { stride: if index == 0 { stage.stride } else { 1 }, ..*stage };
                blocks.push(Block::new(&path.sub(index), channels, &own, style, drop_path)?);
                (channels, made) = (stage.channels, made + 1);
            }
            built.push(blocks);
        }
        let head = ConvConfig { input: channels, output: width, ..ConvConfig::default() };
        Ok(Self { stem, stages: built, head: ConvNorm::new(path, ["conv_head", "bn2"], head, style, true)? })
    }
}

impl Trunk for EfficientNet {
    fn features(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let stem = self.stem.forward(images, noise);
        let last = self.stages.iter().flatten().fold(stem, |x, block| block.forward(&x, noise));
        places(&self.head.forward(&last, noise))
    }

    fn stages(&self) -> Vec<String> {
        let blocks = self.stages.iter().enumerate();
        let blocks = blocks.flat_map(|(stage, blocks)| (0..blocks.len()).map(move |block| format!("blocks.{stage}.{block}")));
        ["conv_stem", "bn1"].map(String::from).into_iter().chain(blocks).chain(["conv_head", "bn2"].map(String::from)).collect()
    }
}

register!(dyn Backbone, "efficientnet", EfficientNetConfig);
register!(dyn Backbone, "efficientnet_b0", EfficientNetConfig, || EfficientNetConfig::b(224, 1.0, 1.0));
register!(dyn Backbone, "efficientnet_b1", EfficientNetConfig, || EfficientNetConfig::b(240, 1.0, 1.1));
register!(dyn Backbone, "efficientnet_b2", EfficientNetConfig, || EfficientNetConfig::b(256, 1.1, 1.2));
register!(dyn Backbone, "efficientnet_b3", EfficientNetConfig, || EfficientNetConfig::b(288, 1.2, 1.4));
register!(dyn Backbone, "efficientnet_b4", EfficientNetConfig, || EfficientNetConfig::b(320, 1.4, 1.8));
register!(dyn Backbone, "efficientnet_b5", EfficientNetConfig, || EfficientNetConfig::b(448, 1.6, 2.2));
register!(dyn Backbone, "efficientnet_b6", EfficientNetConfig, || EfficientNetConfig::b(528, 1.8, 2.6));
register!(dyn Backbone, "efficientnet_b7", EfficientNetConfig, || EfficientNetConfig::b(600, 2.0, 3.1));
register!(dyn Backbone, "tf_efficientnet_b0", EfficientNetConfig, || EfficientNetConfig::b(224, 1.0, 1.0).tf());
register!(dyn Backbone, "tf_efficientnet_b1", EfficientNetConfig, || EfficientNetConfig::b(240, 1.0, 1.1).tf());
register!(dyn Backbone, "tf_efficientnet_b2", EfficientNetConfig, || EfficientNetConfig::b(260, 1.1, 1.2).tf());
register!(dyn Backbone, "tf_efficientnet_b3", EfficientNetConfig, || EfficientNetConfig::b(300, 1.2, 1.4).tf());
register!(dyn Backbone, "tf_efficientnet_b4", EfficientNetConfig, || EfficientNetConfig::b(380, 1.4, 1.8).tf());
register!(dyn Backbone, "tf_efficientnet_b5", EfficientNetConfig, || EfficientNetConfig::b(456, 1.6, 2.2).tf());
register!(dyn Backbone, "tf_efficientnet_b6", EfficientNetConfig, || EfficientNetConfig::b(528, 1.8, 2.6).tf());
register!(dyn Backbone, "tf_efficientnet_b7", EfficientNetConfig, || EfficientNetConfig::b(600, 2.0, 3.1).tf());
register!(dyn Backbone, "tf_efficientnet_l2", EfficientNetConfig, EfficientNetConfig::l2);
register!(dyn Backbone, "tf_efficientnet_l2_ns_475", EfficientNetConfig, EfficientNetConfig::l2);
register!(dyn Backbone, "efficientnetv2_rw_t", EfficientNetConfig, || EfficientNetConfig {
    channel_multiplier: 0.8,
    depth_multiplier: 0.9,
    ..EfficientNetConfig::sized(224, V2_S, 24)
});
register!(dyn Backbone, "efficientnetv2_rw_s", EfficientNetConfig, || EfficientNetConfig::sized(288, V2_RW_S, 24).rw());
register!(dyn Backbone, "efficientnetv2_rw_m", EfficientNetConfig, || EfficientNetConfig {
    channel_multiplier: 1.2,
    ..EfficientNetConfig::sized(320, V2_RW_M, 24).rw()
});
register!(dyn Backbone, "efficientnetv2_s", EfficientNetConfig, || EfficientNetConfig::sized(288, V2_S, 24));
register!(dyn Backbone, "efficientnetv2_m", EfficientNetConfig, || EfficientNetConfig::sized(320, V2_M, 24));
register!(dyn Backbone, "efficientnetv2_l", EfficientNetConfig, || EfficientNetConfig::sized(384, V2_L, 32));
register!(dyn Backbone, "efficientnetv2_xl", EfficientNetConfig, || EfficientNetConfig::sized(384, V2_XL, 32));
register!(dyn Backbone, "tf_efficientnetv2_s", EfficientNetConfig, || EfficientNetConfig::sized(300, V2_S, 24).tf());
register!(dyn Backbone, "tf_efficientnetv2_m", EfficientNetConfig, || EfficientNetConfig::sized(384, V2_M, 24).tf());
register!(dyn Backbone, "tf_efficientnetv2_l", EfficientNetConfig, || EfficientNetConfig::sized(384, V2_L, 32).tf());
register!(dyn Backbone, "tf_efficientnetv2_xl", EfficientNetConfig, EfficientNetConfig::v2_xl);
register!(dyn Backbone, "tf_efficientnetv2_xl_in21ft1k", EfficientNetConfig, EfficientNetConfig::v2_xl);
