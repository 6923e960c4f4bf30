//! The ViT image tower.

use vlhub_sdk::nn::{LayerNorm, Mask, Start, Transformer, default_bound, normal, parameter};
use vlhub_sdk::prelude::*;

use crate::options::{Dimensions, Problems};

/// ViT image tower with a class token (arXiv 2010.11929), as in CLIP.
///
/// Parameters are named as in open_clip's `visual`. Tokens are those of the patches, row by row, normalised by `ln_post`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub struct VitConfig {
    /// Height and width of the picture, in pixels; a multiple of `patch_size`.
    pub image_size: i64,
    /// Height and width of a patch, in pixels.
    pub patch_size: i64,
    /// Width of a token.
    pub width: i64,
    /// Number of blocks.
    pub layers: i64,
    /// Attention heads of each block; they share the width equally (open_clip: width / head_width).
    pub heads: i64,
    /// Width inside the MLP, as a multiple of `width`.
    pub mlp_ratio: f64,
    /// Share of the patches that is left out of each picture while training, drawn anew each time (FLIP, arXiv 2212.00794); the class token
    /// stays. 0 keeps all.
    pub patch_dropout: f64,
    /// Share of the MLP's inner elements that is zeroed while training.
    pub dropout: f64,
    /// Use x·σ(1.702 x) instead of GELU, as OpenAI's weights want it.
    pub quick_gelu: bool,
    /// Where the pooled output comes from.
    pub pool: Pool,
    /// Mean of each channel, for values in 0..1.
    pub mean: [f64; 3],
    /// Standard deviation of each channel, for values in 0..1.
    pub std: [f64; 3],
}

/// Where the pooled output comes from; `ln_post` comes before either, as in open_clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase", crate = "vlhub_sdk::serde")]
#[schemars(crate = "vlhub_sdk::schemars")]
pub enum Pool {
    /// The class token.
    Tok,
    /// The mean over the patches.
    Avg,
}

impl Default for VitConfig {
    /// A model for experiments on small pictures: 64 px in 8 px patches, width 192, 6 blocks, 3 heads; 2.7 million parameters.
    fn default() -> Self {
        Self {
            image_size: 64,
            patch_size: 8,
            width: 192,
            layers: 6,
            heads: 3,
            mlp_ratio: 4.0,
            patch_dropout: 0.0,
            dropout: 0.0,
            quick_gelu: false,
            pool: Pool::Tok,
            mean: [0.48145466, 0.4578275, 0.40821073],
            std: [0.26862954, 0.26130258, 0.27577711],
        }
    }
}

impl VitConfig {
    /// For a CPU and seconds: 32 px in 8 px patches, width 128, 4 blocks, 2 heads; 0.8 million parameters. Not the published ViT-Ti.
    pub fn tiny_8() -> Self {
        Self { image_size: 32, patch_size: 8, width: 128, layers: 4, heads: 2, ..Self::default() }
    }
    /// ViT-S/32: 224 px, width 384, 12 blocks, 6 heads.
    pub fn s_32() -> Self {
        Self { image_size: 224, patch_size: 32, width: 384, layers: 12, heads: 6, ..Self::default() }
    }
    /// ViT-S/16: 224 px, width 384, 12 blocks, 6 heads.
    pub fn s_16() -> Self {
        Self { patch_size: 16, ..Self::s_32() }
    }
    /// ViT-B/32: 224 px, width 768, 12 blocks, 12 heads.
    pub fn b_32() -> Self {
        Self { image_size: 224, patch_size: 32, width: 768, layers: 12, heads: 12, ..Self::default() }
    }
    /// ViT-B/16: 224 px, width 768, 12 blocks, 12 heads.
    pub fn b_16() -> Self {
        Self { patch_size: 16, ..Self::b_32() }
    }
    /// ViT-L/14: 224 px, width 1024, 24 blocks, 16 heads.
    pub fn l_14() -> Self {
        Self { image_size: 224, patch_size: 14, width: 1024, layers: 24, heads: 16, ..Self::default() }
    }

    fn dimensions(&self) -> Dimensions {
        let Self { width, layers, heads, mlp_ratio, quick_gelu, dropout, .. } = *self;
        Dimensions { width, layers, heads, mlp_ratio, quick_gelu, dropout }
    }

    /// # Errors
    /// Everything that is wrong, at once.
    fn check(&self) -> Result<()> {
        let mut problems = Problems::default();
        problems.at_least_one(&[("image_size", self.image_size), ("patch_size", self.patch_size)]);
        if self.patch_size > 0 && self.image_size % self.patch_size != 0 {
            problems.add(format!("`patch_size` = {} does not divide `image_size` = {}", self.patch_size, self.image_size));
        }
        self.dimensions().check(&mut problems);
        problems.share("patch_dropout", self.patch_dropout);
        if self.std.iter().any(|std| *std <= 0.0) {
            problems.add(format!("`std` = {:?} must be above 0 in each channel", self.std));
        }
        problems.finish()
    }
}

impl Config<dyn Backbone> for VitConfig {
    fn build(&self, cx: &BackboneCx<'_>) -> Result<Box<dyn Backbone>> {
        self.check()?;
        let (path, width) = (&cx.path, self.width);
        let grid = self.image_size / self.patch_size;
        let scale = normal((width as f64).powf(-0.5));
        let patch = default_bound(3 * self.patch_size * self.patch_size);
        Ok(Box::new(Vit {
            conv1: parameter(&path.sub("conv1"), "weight", &[width, 3, self.patch_size, self.patch_size], patch)?,
            class_embedding: parameter(path, "class_embedding", &[width], scale)?,
            positional_embedding: parameter(path, "positional_embedding", &[grid * grid + 1, width], scale)?,
            ln_pre: LayerNorm::new(&path.sub("ln_pre"), width)?,
            transformer: Transformer::new(&path.sub("transformer"), self.layers, &self.dimensions().block(Start::Torch))?,
            ln_post: LayerNorm::new(&path.sub("ln_post"), width)?,
            config: self.clone(),
        }))
    }
}

/// The tower that [`VitConfig`] builds.
#[derive(Debug)]
pub struct Vit {
    conv1: Tensor,
    class_embedding: Tensor,
    positional_embedding: Tensor,
    ln_pre: LayerNorm,
    transformer: Transformer,
    ln_post: LayerNorm,
    config: VitConfig,
}

impl Vit {
    /// `[B, 3, H, W]` to `[B, 1 + patches kept, width]`, the class token first.
    fn embed(&self, images: &Tensor, noise: Option<&Noise>) -> Tensor {
        let side = self.config.patch_size;
        let patches = images.conv2d(&self.conv1, None::<&Tensor>, [side, side], [0, 0], [1, 1], 1).flatten(2, 3).transpose(1, 2);
        let class = self.class_embedding.to_kind(patches.kind()).view([1, 1, -1]).expand([patches.size()[0], -1, -1], false);
        let x = Tensor::cat(&[class, patches], 1) + &self.positional_embedding;
        match noise {
            Some(noise) if self.config.patch_dropout > 0.0 => self.ln_pre.forward(&self.drop_patches(&x, noise)),
            _ => self.ln_pre.forward(&x),
        }
    }

    /// Keeps the class token and a random share of the patches, at least one: as many in each row, but other ones, in the order of the draw.
    fn drop_patches(&self, x: &Tensor, noise: &Noise) -> Tensor {
        let size = x.size();
        let (rows, patches) = (size[0], size[1] - 1);
        let kept = ((patches as f64 * (1.0 - self.config.patch_dropout)) as i64).max(1);
        let (_, chosen) = noise.uniform(&[patches]).topk(kept, -1, true, true);
        let places = Tensor::cat(&[Tensor::zeros([rows, 1], (Kind::Int64, x.device())), chosen + 1], 1);
        x.gather(1, &places.unsqueeze(-1).expand([-1, -1, size[2]], false), false)
    }

    fn check(&self, images: &Tensor) -> Result<()> {
        let (size, side) = (images.size(), self.config.image_size);
        if !images.is_floating_point() || size.len() != 4 || size[1..] != [3, side, side] {
            let kind = images.kind();
            return Err(Error::invalid(format!("the image tower reads float pictures [B, 3, {side}, {side}], not {kind:?} {size:?}")));
        }
        Ok(())
    }
}

impl Backbone for Vit {
    fn input(&self) -> InputSpec {
        let VitConfig { image_size, mean, std, .. } = self.config;
        InputSpec::Image { size: (image_size, image_size), mean, std }
    }

    fn width(&self) -> i64 {
        self.config.width
    }

    fn encode(&self, input: &Tensor, tokens: bool, noise: Option<&Noise>) -> Result<Hidden> {
        self.check(input)?;
        let x = self.embed(input, noise);
        if !tokens && self.config.pool == Pool::Tok {
            // Nothing but the class token is read after the last block, so only that is computed there.
            let class = Tensor::zeros([x.size()[0]], (Kind::Int64, x.device()));
            let pooled = self.ln_post.forward(&self.transformer.forward_at(&x, &class, Mask::Full, noise));
            return Ok(Hidden { pooled, tokens: None });
        }
        let x = self.ln_post.forward(&self.transformer.forward(&x, Mask::Full, noise));
        let patches = x.narrow(1, 1, x.size()[1] - 1);
        let pooled = match self.config.pool {
            Pool::Tok => x.select(1, 0),
            Pool::Avg => patches.mean_dim([1i64].as_slice(), false, None::<Kind>),
        };
        let tokens = tokens.then(|| {
            let size = patches.size();
            Tokens { mask: Tensor::ones([size[0], size[1]], (Kind::Bool, patches.device())), values: patches }
        });
        Ok(Hidden { pooled, tokens })
    }

    fn stages(&self) -> Vec<String> {
        let embedding = ["conv1", "class_embedding", "positional_embedding", "ln_pre"].map(String::from);
        embedding.into_iter().chain(self.transformer.stages("transformer")).chain([String::from("ln_post")]).collect()
    }
}

register!(dyn Backbone, "vit", VitConfig);
register!(dyn Backbone, "vit_tiny_8", VitConfig, VitConfig::tiny_8);
register!(dyn Backbone, "vit_s_32", VitConfig, VitConfig::s_32);
register!(dyn Backbone, "vit_s_16", VitConfig, VitConfig::s_16);
register!(dyn Backbone, "vit_b_32", VitConfig, VitConfig::b_32);
register!(dyn Backbone, "vit_b_16", VitConfig, VitConfig::b_16);
register!(dyn Backbone, "vit_l_14", VitConfig, VitConfig::l_14);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::{apart, build, noise, spread, stages_of_each};

    fn small() -> VitConfig {
        VitConfig { image_size: 16, patch_size: 4, width: 32, layers: 2, heads: 2, ..VitConfig::default() }
    }

    fn pictures(rows: i64) -> Tensor {
        Tensor::randn([rows, 3, 16, 16], (Kind::Float, Device::Cpu))
    }

    #[test]
    fn parameters_start_as_in_open_clip() -> Result<()> {
        let config = VitConfig { image_size: 64, patch_size: 8, width: 128, layers: 2, heads: 2, ..VitConfig::default() };
        let (store, _) = build(&config)?;
        let bounds = |bound: f64| (bound / 3f64.sqrt(), Some(bound));
        let block = |name: &str| format!("transformer.resblocks.1.{name}");
        for (name, (std, bound), why) in [
            ("positional_embedding".into(), (128f64.powf(-0.5), None), "width^-0.5"),
            ("conv1.weight".into(), bounds(192f64.powf(-0.5)), "torch's convolution of 3·8·8 inputs"),
            (block("attn.in_proj_weight"), bounds((6.0f64 / 512.0).sqrt()), "Xavier over 128 inputs and 3·128 outputs"),
            (block("attn.out_proj.weight"), bounds(128f64.powf(-0.5)), "torch's linear map"),
            (block("mlp.c_fc.weight"), bounds(128f64.powf(-0.5)), "torch's linear map"),
            (block("mlp.c_proj.weight"), bounds(512f64.powf(-0.5)), "torch's linear map"),
            (block("mlp.c_fc.bias"), bounds(128f64.powf(-0.5)), "torch's linear map"),
            (block("attn.in_proj_bias"), (0.0, Some(0.0)), "zero"),
            (block("attn.out_proj.bias"), (0.0, Some(0.0)), "zero"),
            (block("ln_1.weight"), (0.0, Some(1.0)), "ones"),
            (block("ln_2.bias"), (0.0, Some(0.0)), "zero"),
        ] {
            let (found, most) = spread(&store, &name);
            assert!((found - std).abs() <= 0.12 * std, "{name}: standard deviation {found}, not {std}: {why}");
            if let Some(bound) = bound {
                assert!(most <= bound * 1.0001 && most >= bound * 0.95, "{name}: largest magnitude {most}, not {bound}: {why}");
            } else {
                assert!(most > 2.5 * std, "{name}: normal, not uniform");
            }
        }
        Ok(())
    }

    #[test]
    fn every_parameter_is_in_exactly_one_stage() -> Result<()> {
        // Twelve blocks: the name of the second begins the name of the twelfth.
        let (store, tower) = build(&VitConfig { layers: 12, ..small() })?;
        for (name, count) in stages_of_each(&store, &*tower) {
            assert_eq!(count, 1, "{name}");
        }
        assert_eq!(tower.stages().len(), 4 + 12 + 1);
        Ok(())
    }

    #[test]
    fn patch_dropout_keeps_a_share_of_the_patches_and_is_a_matter_of_the_rows_seeds() -> Result<()> {
        for (share, kept, why) in [(0.5, 8, "half of 16"), (0.7, 4, "4.8 is cut to 4"), (0.99, 1, "never none")] {
            let (_, tower) = build(&VitConfig { patch_dropout: share, ..small() })?;
            let x = pictures(3);
            let seen = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?;
            let tokens = seen.tokens.expect("they were asked for");
            assert_eq!(tokens.values.size(), [3, kept, 32], "{why}");
            assert_eq!(tokens.mask.size(), [3, kept]);
            let again = tower.encode(&x, true, Some(&noise(&[1, 2, 3])))?.pooled;
            assert!(seen.pooled.equal(&again), "the same seeds");
            let part = tower.encode(&x.narrow(0, 1, 2), true, Some(&noise(&[2, 3])))?.pooled;
            assert!(apart(&seen.pooled.narrow(0, 1, 2), &part) < 1e-5, "a chunk sees what the batch saw");
            let other = tower.encode(&x, true, Some(&noise(&[4, 5, 6])))?.pooled;
            assert!(apart(&seen.pooled, &other) > 1e-4, "other seeds");
            let all = tower.encode(&x, true, None)?.tokens.expect("they were asked for");
            assert_eq!(all.values.size(), [3, 16, 32], "evaluation sees every patch");
        }
        Ok(())
    }

    #[test]
    fn patch_dropout_reads_each_kept_patch_once_and_every_patch_in_turn() -> Result<()> {
        let (_, tower) = build(&VitConfig { patch_dropout: 0.5, ..small() })?;
        let x = pictures(64).set_requires_grad(true);
        tower.encode(&x, false, Some(&noise(&(0..64).collect::<Vec<_>>())))?.pooled.square().sum(Kind::Float).backward();
        // A pixel that was not read has no gradient: [64, 3, 4, 4, 4, 4] to [64, 4, 4], one number for each patch.
        let read = x.grad().abs().view([64, 3, 4, 4, 4, 4]).sum_dim_intlist([1i64, 3, 5].as_slice(), false, Kind::Float).gt(0.0);
        let each_row = read.view([64, 16]).sum_dim_intlist([1i64].as_slice(), false, Kind::Int64);
        assert!(each_row.eq(8).all().int64_value(&[]) == 1, "8 of 16 patches in each row: {:?}", Vec::<i64>::try_from(&each_row));
        let each_patch = read.view([64, 16]).sum_dim_intlist([0i64].as_slice(), false, Kind::Int64);
        assert!(each_patch.min().int64_value(&[]) > 12, "about half of the rows read any one patch");
        Ok(())
    }

    #[test]
    fn dropout_is_on_in_training_alone_and_repeats_under_one_seed() -> Result<()> {
        let (_, tower) = build(&VitConfig { dropout: 0.5, ..small() })?;
        let x = pictures(2);
        let plain = tower.encode(&x, false, None)?.pooled;
        assert!(plain.equal(&tower.encode(&x, false, None)?.pooled), "evaluation is deterministic");
        let trained = tower.encode(&x, false, Some(&noise(&[7, 8])))?.pooled;
        assert!(trained.equal(&tower.encode(&x, false, Some(&noise(&[7, 8])))?.pooled));
        assert!(apart(&plain, &trained) > 1e-3 && apart(&trained, &tower.encode(&x, false, Some(&noise(&[9, 8])))?.pooled) > 1e-3);
        Ok(())
    }

    #[test]
    fn pictures_of_another_shape_are_refused_with_both_shapes() -> Result<()> {
        let (_, tower) = build(&small())?;
        for (input, wanted, why) in [
            (Tensor::zeros([2, 3, 16, 20], (Kind::Float, Device::Cpu)), "Float [2, 3, 16, 20]", "not square"),
            (Tensor::zeros([2, 1, 16, 16], (Kind::Float, Device::Cpu)), "Float [2, 1, 16, 16]", "grey"),
            (Tensor::zeros([3, 16, 16], (Kind::Float, Device::Cpu)), "Float [3, 16, 16]", "no rows"),
            (Tensor::zeros([2, 3, 16, 16], (Kind::Uint8, Device::Cpu)), "Uint8 [2, 3, 16, 16]", "bytes"),
        ] {
            let error = tower.encode(&input, false, None).expect_err(why).to_string();
            assert!(error.contains("[B, 3, 16, 16]") && error.contains(wanted), "{why}: {error}");
        }
        Ok(())
    }

    #[test]
    fn everything_wrong_with_the_options_is_told_at_once() {
        let wrong = VitConfig { image_size: 30, heads: 5, patch_dropout: 1.0, layers: 0, mlp_ratio: 0.0, std: [0.0; 3], ..small() };
        let error = build(&wrong).expect_err("six mistakes").to_string();
        for part in [
            "`patch_size` = 4 does not divide `image_size` = 30",
            "`heads` = 5",
            "`patch_dropout` = 1",
            "`layers` = 0",
            "`mlp_ratio`",
            "`std`",
        ] {
            assert!(error.contains(part), "{part} is missing: {error}");
        }
    }

    #[test]
    fn a_second_tower_on_one_path_is_refused() -> Result<()> {
        let (store, _) = build(&small())?;
        let error = small().build(&BackboneCx { path: store.root(), embed: 8 }).expect_err("the names are taken").to_string();
        assert!(error.contains("`conv1.weight`"), "{error}");
        Ok(())
    }
}
