//! FastViT.

use vlhub_sdk::nn::timm::Proj;
use vlhub_sdk::nn::{Path, channels_last, check_pictures};
use vlhub_sdk::options::OptionProblems;
use vlhub_sdk::pixels::{CLIP_MEAN, CLIP_STD};
use vlhub_sdk::prelude::*;

use crate::layers::{Pool, centred};
use crate::metaformer::{Block, HEAD, PosEnc};
use crate::mobileone::{Branches, Downsample, MobileOne};

/// FastViT (arXiv 2303.14189), with MobileCLIP's encoders (arXiv 2311.17049, 2508.20691), in the form in which it is trained: its
/// convolutions have several branches, which are not added up into one.
///
/// Parameters are named as in open_clip's `visual`. Tokens are the places of the last map, row by row, as wide as the pooled output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct FastVitConfig {
    /// Height and width of the picture, in pixels.
    pub image_size: i64,
    /// Number of blocks of each stage. The stem leaves a quarter of the picture's height and width, and each stage but the first halves it.
    pub layers: Vec<i64>,
    /// Channels of each stage.
    pub embed_dims: Vec<i64>,
    /// Channels inside the MLPs, as a multiple of the stage's.
    pub mlp_ratio: f64,
    /// Token mixer of each stage: what mixes the places.
    pub token_mixers: Vec<TokenMixer>,
    /// Which stages have squeeze-and-excitation (arXiv 1709.01507) where they halve the map.
    pub se_downsamples: Vec<bool>,
    /// Which stages begin with positions made by a convolution (arXiv 2102.10882).
    pub pos_embs: Vec<bool>,
    /// GELU after the large convolution that halves the map.
    pub lkc_use_act: bool,
    /// Whether the stem's convolutions have a 1 × 1 convolution beside them.
    pub stem_use_scale_branch: bool,
    /// The norm before attention.
    pub norm_layer: Norm,
    /// Layer scale (arXiv 2103.17239): where the factors of the learned scale of each branch start.
    pub layer_scale_init_value: f64,
    /// Channels of the pooled output, as a multiple of the last stage's; whole.
    pub cls_ratio: i64,
    /// Pooling: where the pooled output comes from.
    pub pool: Pool,
    /// Projection head: what maps the pooled output into the joint space.
    pub proj: Proj,
    /// Whether that map has a bias.
    pub proj_bias: bool,
    /// Stochastic depth (arXiv 1603.09382): probability of leaving out a branch of the last block for a row while training; less in earlier
    /// blocks.
    pub drop_path: f64,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// What mixes the places in a stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum TokenMixer {
    /// A depthwise 3 × 3 convolution.
    RepMixer,
    /// Attention with heads of 32 channels.
    Attention,
}

/// The norm before attention: timm's `norm_layer`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Norm {
    /// Batch norm.
    Batch,
    /// Layer norm over the channels of a place.
    Layer,
}

impl Default for FastVitConfig {
    /// For experiments on small pictures: 64 px, four stages of 24 to 192 channels, attention in the last; 0.6 million parameters.
    fn default() -> Self {
        Self { image_size: 64, lkc_use_act: true, ..Self::sized(&[1, 1, 2, 1], 24, 3.0, 1) }
    }
}

impl FastVitConfig {
    /// Stages of these depths, each twice as wide as the one before, and attention in the last `attention` of them.
    fn sized(layers: &[i64], width: i64, mlp_ratio: f64, attention: usize) -> Self {
        let stages = layers.len();
        let last = |stage: usize| stage + attention >= stages;
        Self {
            image_size: 256,
            layers: layers.to_vec(),
            embed_dims: (0..stages).map(|stage| width << stage).collect(),
            mlp_ratio,
            token_mixers: (0..stages).map(|stage| if last(stage) { TokenMixer::Attention } else { TokenMixer::RepMixer }).collect(),
            se_downsamples: vec![false; stages],
            pos_embs: (0..stages).map(last).collect(),
            lkc_use_act: false,
            stem_use_scale_branch: true,
            norm_layer: Norm::Batch,
            layer_scale_init_value: 1e-5,
            cls_ratio: 2,
            pool: Pool::Avg,
            proj: Proj::Linear,
            proj_bias: false,
            drop_path: 0.0,
            mean: CLIP_MEAN,
            std: CLIP_STD,
        }
    }

    /// MobileCLIP's encoders S0, S1 and S2.
    fn mci(layers: &[i64], width: i64) -> Self {
        Self { se_downsamples: vec![false, false, true, true], lkc_use_act: true, ..Self::sized(layers, width, 3.0, 1) }
    }

    /// MobileCLIP2's encoders S3 and S4, with five stages.
    fn mci_large(layers: &[i64], width: i64) -> Self {
        Self { lkc_use_act: true, stem_use_scale_branch: false, norm_layer: Norm::Layer, ..Self::sized(layers, width, 4.0, 2) }
    }

    pub(crate) fn mlp_width(&self, width: i64) -> i64 {
        (width as f64 * self.mlp_ratio) as i64
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = OptionProblems::default();
        problems.at_least_one(&[("image_size", self.image_size), ("cls_ratio", self.cls_ratio)]);
        let stages = self.layers.len();
        problems.ensure(stages > 0, || "`layers` = [] leaves no stage".into());
        for (name, count) in [
            ("embed_dims", self.embed_dims.len()),
            ("token_mixers", self.token_mixers.len()),
            ("se_downsamples", self.se_downsamples.len()),
            ("pos_embs", self.pos_embs.len()),
        ] {
            problems.one_for_each_stage(name, count, ("layers", stages));
        }
        for (name, values) in [("layers", &self.layers), ("embed_dims", &self.embed_dims)] {
            problems.each_at_least_one(name, values);
        }
        for (stage, (&width, mixer)) in self.embed_dims.iter().zip(&self.token_mixers).enumerate() {
            problems.ensure(*mixer != TokenMixer::Attention || width % HEAD == 0, || {
                format!("`embed_dims`[{stage}] = {width} must be a multiple of {HEAD}, the width of a head of attention")
            });
            problems.mlp_ratio("mlp_ratio", width, self.mlp_ratio);
        }
        for (stage, pair) in self.embed_dims.windows(2).enumerate() {
            problems.divides((&format!("embed_dims[{stage}]"), pair[0]), (&format!("embed_dims[{}]", stage + 1), pair[1]));
        }
        problems.share("drop_path", self.drop_path);
        problems.ensure(self.pool != Pool::Token, || "`pool` = \"token\" reads a class token, and FastViT has none; use \"avg\"".into());
        problems.std(self.std);
        problems.finish()
    }
}

impl Config<dyn Backbone> for FastVitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        Ok(Box::new(FastVit::new(&cx.path.sub("trunk"), self.clone(), cx.embed)?))
    }
}

/// A stage. Parameters: `downsample`, `pos_emb`, `blocks`.
#[derive(Debug)]
struct Stage {
    downsample: Option<Downsample>,
    pos_emb: Option<PosEnc>,
    blocks: Vec<Block>,
}

impl Stage {
    fn forward(&self, x: Tensor, noise: Option<&Noise>) -> Tensor {
        let x = self.downsample.as_ref().map_or_else(|| x.shallow_clone(), |downsample| downsample.forward(&x, noise));
        let x = self.pos_emb.as_ref().map_or_else(|| x.shallow_clone(), |positions| positions.forward(&x));
        self.blocks.iter().fold(x, |x, block| block.forward(&x, noise))
    }
}

/// The tower that [`FastVitConfig`] builds.
#[derive(Debug)]
pub struct FastVit {
    stem: [MobileOne; 3],
    stages: Vec<Stage>,
    final_conv: MobileOne,
    config: FastVitConfig,
    width: i64,
    embed: i64,
}

impl FastVit {
    fn new(path: &Path<'_>, config: FastVitConfig, embed: i64) -> Result<Self> {
        let (first, stem) = (config.embed_dims[0], path.sub("stem"));
        let branches = Branches { scale: config.stem_use_scale_branch, ..Branches::default() };
        let total: i64 = config.layers.iter().sum();
        let (mut stages, mut input, mut before) = (Vec::new(), first, 0);
        for (stage, (&width, &depth)) in config.embed_dims.iter().zip(&config.layers).enumerate() {
            let path = path.sub("stages").sub(stage);
            let (kind, blocks) = (config.token_mixers[stage], path.sub("blocks"));
            let downsample = path.sub("downsample");
            let drop_path = |block: i64| config.drop_path * (before + block) as f64 / (total - 1).max(1) as f64;
            stages.push(Stage {
                downsample: if stage > 0 {
                    Some(Downsample::new(&downsample, input, width, config.se_downsamples[stage], config.lkc_use_act)?)
                } else {
                    None
                },
                pos_emb: if config.pos_embs[stage] { Some(PosEnc::new(&path.sub("pos_emb"), width)?) } else { None },
                blocks: (0..depth)
                    .map(|block| Block::new(&blocks.sub(block), kind, width, &config, drop_path(block)))
                    .collect::<Result<_>>()?,
            });
            (input, before) = (width, before + depth);
        }
        let width = input * config.cls_ratio;
        let excited = Branches { excite: true, ..Branches::default() };
        Ok(Self {
            stem: [
                MobileOne::new(&stem.sub(0), centred(3, first, 3, 2, 1), branches)?,
                MobileOne::new(&stem.sub(1), centred(first, first, 3, 2, first), branches)?,
                MobileOne::new(&stem.sub(2), centred(first, first, 1, 1, 1), branches)?,
            ],
            stages,
            final_conv: MobileOne::new(&path.sub("final_conv"), centred(input, width, 3, 1, input), excited)?,
            config,
            width,
            embed,
        })
    }
}

impl Backbone for FastVit {
    fn input(&self) -> InputSpec {
        let FastVitConfig { image_size, mean, std, .. } = self.config;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        check_pictures(input, [self.config.image_size; 2])?;
        let x = self.stem.iter().fold(channels_last(input), |x, layer| layer.forward(&x, noise));
        let x = self.stages.iter().fold(x, |x, stage| stage.forward(x, noise));
        let places = self.final_conv.forward(&x, noise).flatten(2, 3).transpose(1, 2);
        // `check` has refused the one way to pool that does not read the places.
        let pooled = self.config.pool.places(&places).unwrap_or_else(|| places.select(1, 0));
        Ok(Hidden { pooled, tokens: tokens.then(|| Tokens::unmasked(places)) })
    }

    fn stages(&self) -> Vec<String> {
        let mut stages = vec!["trunk.stem".to_string()];
        for (at, stage) in self.stages.iter().enumerate() {
            let named = [("downsample", stage.downsample.is_some()), ("pos_emb", stage.pos_emb.is_some())];
            stages.extend(named.into_iter().filter(|(_, there)| *there).map(|(name, _)| format!("trunk.stages.{at}.{name}")));
            stages.extend((0..stage.blocks.len()).map(|block| format!("trunk.stages.{at}.blocks.{block}")));
        }
        stages.push("trunk.final_conv".into());
        stages
    }

    fn projection(&self) -> Projection {
        self.config.proj.projection(self.config.proj_bias, "trunk.head.fc", self.embed)
    }
}

register!(dyn Backbone, "fastvit", FastVitConfig);
register!(dyn Backbone, "fastvit_t8", FastVitConfig, || FastVitConfig::sized(&[2, 2, 4, 2], 48, 3.0, 0));
register!(dyn Backbone, "fastvit_t12", FastVitConfig, || FastVitConfig::sized(&[2, 2, 6, 2], 64, 3.0, 0));
register!(dyn Backbone, "fastvit_s12", FastVitConfig, || FastVitConfig::sized(&[2, 2, 6, 2], 64, 4.0, 0));
register!(dyn Backbone, "fastvit_sa12", FastVitConfig, || FastVitConfig::sized(&[2, 2, 6, 2], 64, 4.0, 1));
register!(dyn Backbone, "fastvit_sa24", FastVitConfig, || FastVitConfig::sized(&[4, 4, 12, 4], 64, 4.0, 1));
register!(dyn Backbone, "fastvit_sa36", FastVitConfig, || FastVitConfig::sized(&[6, 6, 18, 6], 64, 4.0, 1));
register!(dyn Backbone, "fastvit_ma36", FastVitConfig, || FastVitConfig::sized(&[6, 6, 18, 6], 76, 4.0, 1));
register!(dyn Backbone, "fastvit_mci0", FastVitConfig, || FastVitConfig::mci(&[2, 6, 10, 2], 64));
register!(dyn Backbone, "fastvit_mci1", FastVitConfig, || FastVitConfig::mci(&[4, 12, 20, 4], 64));
register!(dyn Backbone, "fastvit_mci2", FastVitConfig, || FastVitConfig::mci(&[4, 12, 24, 4], 80));
register!(dyn Backbone, "fastvit_mci3", FastVitConfig, || FastVitConfig::mci_large(&[2, 12, 24, 4, 2], 96));
register!(dyn Backbone, "fastvit_mci4", FastVitConfig, || FastVitConfig::mci_large(&[2, 12, 24, 4, 4], 128));
