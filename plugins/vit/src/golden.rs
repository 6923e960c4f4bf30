//! Both towers against the tiny model of open_clip that `tests/golden/open_clip_tiny.py` wrote.

use std::collections::HashMap;

use vlhub_sdk::nn::{Init, parameter};
use vlhub_sdk::ops::{cross_entropy_sum, normalize};
use vlhub_sdk::prelude::*;
use vlhub_sdk::tch::{nn::VarStore, no_grad};

use crate::text::TextConfig;
use crate::vit::{ImageSize, Pool, VitConfig};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/open_clip_tiny.safetensors");

/// The largest difference of two elements.
pub(crate) fn apart(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size(), "they differ in shape");
    (a - b).abs().max().double_value(&[])
}

/// A tower of its own.
pub(crate) fn build(config: &dyn Config<dyn Backbone>) -> Result<(VarStore, Box<dyn Backbone>)> {
    let store = VarStore::new(Device::Cpu);
    let tower = config.build(&BackboneCx { path: store.root(), embed: 8 })?;
    Ok((store, tower))
}

/// Seeds for rows.
pub(crate) fn noise(seeds: &[i64]) -> Noise {
    Noise::new(Tensor::from_slice(seeds))
}

/// Each parameter's number of stages; a stage is a whole name or a part of it up to a dot.
pub(crate) fn stages_of_each(store: &VarStore, tower: &dyn Backbone) -> Vec<(String, usize)> {
    let stages = tower.stages();
    let covers = |stage: &String, name: &str| name == stage || name.strip_prefix(stage.as_str()).is_some_and(|rest| rest.starts_with('.'));
    store
        .variables()
        .into_keys()
        .map(|name| {
            let count = stages.iter().filter(|stage| covers(stage, &name)).count();
            (name, count)
        })
        .collect()
}

/// The standard deviation of a parameter, and its largest magnitude.
pub(crate) fn spread(store: &VarStore, name: &str) -> (f64, f64) {
    let value = &store.variables()[name];
    (value.std(false).double_value(&[]), value.abs().max().double_value(&[]))
}

struct Clip {
    golden: HashMap<String, Tensor>,
    store: VarStore,
    image: Box<dyn Backbone>,
    text: Box<dyn Backbone>,
}

impl Clip {
    fn new(quick_gelu: bool, pool: Pool) -> Result<Self> {
        let golden: HashMap<_, _> = Tensor::read_safetensors(FILE)?.into_iter().collect();
        let store = VarStore::new(Device::Cpu);
        let visual = store.root().sub("visual");
        let sizes = VitConfig {
            image_size: ImageSize::Square(16),
            patch_size: 8,
            width: 16,
            layers: 2,
            heads: 2,
            mlp_ratio: 2.0,
            ..VitConfig::default()
        };
        let image = VitConfig { quick_gelu, pool, ..sizes }.build(&BackboneCx { path: visual.clone(), embed: 8 })?;
        let sizes = TextConfig { context: 8, vocab: 32, width: 16, layers: 2, heads: 2, mlp_ratio: 2.0, ..TextConfig::default() };
        let text = TextConfig { quick_gelu, ..sizes }.build(&BackboneCx { path: store.root(), embed: 8 })?;
        // What the host makes.
        let _ = parameter(&visual, "proj", &[16, 8], Init::Const(0.0))?;
        let _ = parameter(&store.root(), "text_projection", &[16, 8], Init::Const(0.0))?;
        let _ = parameter(&store.root(), "logit_scale", &[], Init::Const(0.0))?;
        let graded = golden.keys().filter(|name| name.starts_with("grad.")).count();
        assert_eq!(store.len(), graded, "as many parameters as open_clip's model has");
        for (name, mut variable) in store.variables() {
            no_grad(|| variable.copy_(golden.get(&name).unwrap_or_else(|| panic!("open_clip has no parameter `{name}`"))));
        }
        Ok(Self { golden, store, image, text })
    }

    /// Embeddings that are not normalised, and the hidden outputs behind them.
    fn embed(&self, tokens: bool) -> Result<[(Tensor, Hidden); 2]> {
        let image = self.image.encode(&self.golden["images"], tokens, None)?;
        let text = self.text.encode(&self.golden["ids"], tokens, None)?;
        let weights = self.store.variables();
        Ok([(image.pooled.matmul(&weights["visual.proj"]), image), (text.pooled.matmul(&weights["text_projection"]), text)])
    }

    /// CLIP's loss: the mean of both directions.
    fn loss(&self, tokens: bool) -> Result<Tensor> {
        let [(image, _), (text, _)] = self.embed(tokens)?;
        let logits = normalize(&image).matmul(&normalize(&text).tr()) * self.store.variables()["logit_scale"].exp();
        let target = Tensor::arange(4, (Kind::Int64, Device::Cpu));
        Ok((cross_entropy_sum(&logits, &target) + cross_entropy_sum(&logits.tr(), &target)) / 8.0)
    }
}

#[test]
fn embeddings_and_loss_equal_open_clips_with_both_activations() -> Result<()> {
    for (quick_gelu, prefix) in [(false, ""), (true, "quick.")] {
        let clip = Clip::new(quick_gelu, Pool::Tok)?;
        for tokens in [false, true] {
            let [(image, _), (text, _)] = clip.embed(tokens)?;
            for (name, ours) in [("image", image), ("text", text), ("loss", clip.loss(tokens)?)] {
                let apart = apart(&ours, &clip.golden[&format!("{prefix}{name}")]);
                assert!(apart < 1e-5, "{prefix}{name} with tokens {tokens}: {apart}");
            }
        }
    }
    let clip = Clip::new(true, Pool::Tok)?;
    let [(image, _), _] = clip.embed(false)?;
    assert!(apart(&image, &clip.golden["image"]) > 1e-4, "the golden file can tell the activations apart");
    Ok(())
}

#[test]
fn the_average_pool_equals_open_clips() -> Result<()> {
    let clip = Clip::new(false, Pool::Avg)?;
    for tokens in [false, true] {
        let [(image, _), _] = clip.embed(tokens)?;
        assert!(apart(&image, &clip.golden["average.image"]) < 1e-5, "with tokens {tokens}");
    }
    Ok(())
}

#[test]
fn tokens_equal_open_clips_and_come_only_when_asked() -> Result<()> {
    let clip = Clip::new(false, Pool::Tok)?;
    let [(_, image), (_, text)] = clip.embed(false)?;
    assert!(image.tokens.is_none() && text.tokens.is_none());
    let [(_, image), (_, text)] = clip.embed(true)?;
    let (image, text) = (image.tokens.expect("they were asked for"), text.tokens.expect("they were asked for"));
    assert!(apart(&image.values, &clip.golden["image_tokens"]) < 1e-5);
    assert!(apart(&text.values, &clip.golden["text_tokens"]) < 1e-5);
    assert_eq!(image.mask.size(), [4, 4]);
    assert!(image.mask.all().int64_value(&[]) == 1, "every patch counts");
    let lengths = Vec::<i64>::try_from(text.mask.sum_dim_intlist([1i64].as_slice(), false, Kind::Int64))?;
    assert_eq!(lengths, [3, 8, 5, 6], "up to and including the end token");
    assert_eq!(text.mask.int64_value(&[0, 2]), 1, "the end token itself");
    Ok(())
}

#[test]
fn gradients_of_every_parameter_equal_open_clips() -> Result<()> {
    for tokens in [false, true] {
        let clip = Clip::new(false, Pool::Tok)?;
        clip.loss(tokens)?.backward();
        for (name, variable) in clip.store.variables() {
            let golden = &clip.golden[&format!("grad.{name}")];
            let apart = apart(&variable.grad(), golden);
            let allowed = 1e-4 * golden.abs().max().double_value(&[]) + 1e-7;
            assert!(apart <= allowed, "grad.{name} with tokens {tokens}: {apart} above {allowed}");
        }
    }
    Ok(())
}

#[test]
fn clip_vit_b_32_has_as_many_parameters_as_the_published_model() -> Result<()> {
    let count = |store: &VarStore| store.variables().values().map(|value| value.numel() as i64).sum::<i64>();
    let image = count(&build(&VitConfig::b_32())?.0);
    let text = count(&build(&TextConfig::default())?.0);
    let projections = 768 * 512 + 512 * 512;
    assert_eq!(image + text + projections + 1, 151_277_313, "towers, projections and the logit scale");
    Ok(())
}
