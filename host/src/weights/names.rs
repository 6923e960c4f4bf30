//! Whose names a file of weights uses, and what those parameters are called here.
//!
//! A file is read in every way that is known, and without the names of the wrappers that training puts around a model; the reading of which
//! most names are the model's is taken. So no maker and no wrapper has to be named.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

/// A tensor of a file.
#[derive(Debug)]
pub struct NamedTensor {
    /// Its values. Copy before writing into them: tensors of one storage share memory.
    pub tensor: Tensor,
    /// Its name as it stands in the file; of joined tensors, the first one's.
    pub from: String,
}

/// Tensors by name.
pub type Tensors = BTreeMap<String, NamedTensor>;

/// The tensors of a file under the names that they have there.
pub fn of_file(tensors: Vec<(String, Tensor)>) -> Tensors {
    tensors.into_iter().map(|(name, tensor)| (name.clone(), NamedTensor { tensor, from: name })).collect()
}

/// One way to read a file.
struct Reading {
    /// Whose names these are, for the log.
    of: &'static str,
    read: fn(&Tensors, &str) -> Tensors,
}

/// How timm names its networks.
pub(super) const TIMM: &str = "timm";

/// How transformers names SigLIP.
pub const SIGLIP: &str = "transformers (SiglipModel)";

/// In order of preference.
const READINGS: &[Reading] = &[
    Reading { of: "open_clip", read: |tensors, _| renamed(tensors, |name| Some(name.to_owned())) },
    Reading {
        of: "CLIP (text tower at the root)",
        read: |tensors, _| renamed(tensors, |name| Some(if is_text(name) { format!("text.{name}") } else { name.to_owned() })),
    },
    Reading {
        of: "open_clip (text tower of its own)",
        read: |tensors, _| renamed(tensors, |name| Some(name.strip_prefix("text.").unwrap_or(name).to_owned())),
    },
    Reading { of: "an image tower of open_clip", read: |tensors, _| renamed(tensors, |name| Some(format!("visual.{name}"))) },
    Reading { of: TIMM, read: |tensors, _| renamed(tensors, |name| Some(format!("visual.trunk.{name}"))) },
    Reading { of: "a text tower of open_clip", read: |tensors, text| renamed(tensors, |name| Some(format!("{text}{name}"))) },
    Reading { of: "transformers (text encoder)", read: text_encoder },
    Reading { of: "transformers (CLIPModel)", read: super::hf_clip::clip },
    Reading { of: SIGLIP, read: super::hf_clip::siglip },
];

/// Parts of a name that wrappers add wherever they wrap: data-parallel training (`module`), `torch.compile` (`_orig_mod`), FSDP and activation
/// checkpoints, and Fabric.
const WRAPPERS: &[&str] = &["module", "_orig_mod", "_fsdp_wrapped_module", "_fpw_module", "_checkpoint_wrapped_module", "_forward_module"];
/// What programs call the attribute that holds the model, as Lightning's modules do.
const HOLDERS: &[&str] = &["model", "net", "network", "clip", "clip_model", "state_dict"];
/// How deeply holders may be nested.
const DEPTH: usize = 8;

/// The tensors under this program's names, and whose names they had. `wanted` are the model's names; `text` is the path of its text tower,
/// `text.` or nothing.
pub fn translate(tensors: &Tensors, wanted: &BTreeSet<String>, text: &str) -> (Tensors, &'static str) {
    let fits = |tensors: &Tensors| tensors.keys().filter(|name| wanted.contains(*name)).count();
    let mut best = (renamed(tensors, |name| Some(name.to_owned())), READINGS[0].of);
    let mut most = fits(&best.0);
    let mut unwrapped = Some(renamed(tensors, |name| Some(name.to_owned())));
    for depth in 0..DEPTH {
        let Some(current) = unwrapped else { break };
        // The first reading of names as they stand is the one that was begun with.
        for reading in &READINGS[usize::from(depth == 0)..] {
            let read = (reading.read)(&current, text);
            let fitting = fits(&read);
            if fitting > most {
                (best, most) = ((read, reading.of), fitting);
            }
        }
        unwrapped =
            if depth == 0 { without_wrappers(&current, wanted).or_else(|| without_holder(&current)) } else { without_holder(&current) };
    }
    best
}

/// Names without the parts that wrappers add, at any depth; `None` if there are none, or if two tensors would get one name. Parts that the
/// model's own names have stay.
fn without_wrappers(tensors: &Tensors, wanted: &BTreeSet<String>) -> Option<Tensors> {
    let own: BTreeSet<&str> = wanted.iter().flat_map(|name| name.split('.')).collect();
    let wrappers: Vec<&str> = WRAPPERS.iter().copied().filter(|wrapper| !own.contains(wrapper)).collect();
    let inside = |name: &str| name.split('.').filter(|part| !wrappers.contains(part)).collect::<Vec<_>>().join(".");
    let out = renamed(tensors, |name| Some(inside(name)));
    let changed = tensors.keys().any(|name| !out.contains_key(name));
    (changed && out.len() == tensors.len()).then_some(out)
}

/// Names without the first part that all of them share, or that is the usual name of an attribute that holds a model: of those, the one
/// with the most tensors.
fn without_holder(tensors: &Tensors) -> Option<Tensors> {
    let mut firsts: BTreeMap<&str, usize> = BTreeMap::new();
    for name in tensors.keys() {
        *firsts.entry(name.split_once('.').map_or("", |(first, _)| first)).or_default() += 1;
    }
    let known = firsts.iter().filter(|(first, count)| !first.is_empty() && (HOLDERS.contains(first) || **count == tensors.len()));
    let (holder, _) = known.max_by_key(|(_, count)| **count)?;
    let inside = |name: &str| name.strip_prefix(holder).and_then(|rest| rest.strip_prefix('.')).unwrap_or(name).to_owned();
    let out = renamed(tensors, |name| Some(inside(name)));
    (out.len() == tensors.len()).then_some(out)
}

/// Names without what wrappers add, for a file of which no model is known.
pub fn unwrapped(tensors: Vec<(String, Tensor)>) -> Vec<(String, Tensor)> {
    let named = of_file(tensors);
    let inside = without_wrappers(&named, &BTreeSet::new()).unwrap_or(named);
    inside.into_iter().map(|(name, named)| (name, named.tensor)).collect()
}

/// Tensors with other names; those without a name are left out.
pub(super) fn renamed(tensors: &Tensors, name: impl Fn(&str) -> Option<String>) -> Tensors {
    tensors.iter().filter_map(|(old, named)| Some((name(old)?, named.share()))).collect()
}

impl NamedTensor {
    /// The same values, sharing memory.
    pub(super) fn share(&self) -> Self {
        self.with(self.tensor.shallow_clone())
    }

    /// Other values that are made of this tensor.
    pub(super) fn with(&self, tensor: Tensor) -> Self {
        Self { tensor, from: self.from.clone() }
    }
}

/// Whether open_clip moves this name below `text.` when the text tower is one of its own.
fn is_text(name: &str) -> bool {
    ["text_projection", "positional_embedding", "token_embedding", "transformer", "ln_final"].iter().any(|part| name.starts_with(part))
}

/// BERT, RoBERTa, T5 and M2M-100 as transformers saves them: the encoder with or without the name of its model.
fn text_encoder(tensors: &Tensors, text: &str) -> Tensors {
    let encoder = tensors.keys().any(|name| name.contains("encoder.block.") || name.contains("encoder.layers."));
    renamed(tensors, |name| {
        let mut inside = name;
        for model in ["bert.", "roberta.", "model.", "transformer."] {
            inside = inside.strip_prefix(model).unwrap_or(inside);
        }
        // Encoders of encoder-decoders are kept without their decoder; their embedding is shared between both.
        if encoder {
            inside = match inside {
                "shared.weight" => "embed_tokens.weight",
                _ => inside.strip_prefix("encoder.").filter(|rest| !rest.starts_with("layer."))?,
            };
        }
        // Old checkpoints of BERT have TensorFlow's words.
        let inside = inside.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias");
        Some(format!("{text}transformer.{inside}"))
    })
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn file(names: &[&str]) -> Tensors {
        of_file(names.iter().map(|name| ((*name).to_owned(), Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)))).collect())
    }

    #[test]
    fn the_reading_with_the_most_of_the_models_names_is_taken() {
        for (names, wanted, text, of) in [
            (&["visual.proj", "positional_embedding"][..], &["visual.proj", "positional_embedding"][..], "", "open_clip"),
            (
                &["visual.proj", "positional_embedding"],
                &["visual.proj", "text.positional_embedding"],
                "text.",
                "CLIP (text tower at the root)",
            ),
            (&["visual.proj", "text.ln_final.bias"], &["visual.proj", "ln_final.bias"], "", "open_clip (text tower of its own)"),
            (&["proj", "conv1.weight"], &["visual.proj", "visual.conv1.weight"], "", "an image tower of open_clip"),
            (&["patch_embed.proj.weight", "head.weight"], &["visual.trunk.patch_embed.proj.weight"], "", "timm"),
            (
                &["bert.encoder.layer.0.output.LayerNorm.gamma", "cls.predictions.bias"],
                &["text.transformer.encoder.layer.0.output.LayerNorm.weight"],
                "text.",
                "transformers (text encoder)",
            ),
            (
                &["shared.weight", "encoder.block.0.layer.0.layer_norm.weight", "decoder.block.0.layer.0.layer_norm.weight"],
                &["text.transformer.embed_tokens.weight", "text.transformer.block.0.layer.0.layer_norm.weight"],
                "text.",
                "transformers (text encoder)",
            ),
        ] {
            let wanted = wanted.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
            let (read, found) = translate(&file(names), &wanted, text);
            assert_eq!(found, of, "{names:?}");
            assert!(wanted.iter().all(|name| read.contains_key(name)), "{of}: {:?}", read.keys());
        }
    }

    #[test]
    fn wrappers_are_taken_off_in_any_order_and_depth() {
        let wanted: BTreeSet<String> =
            ["visual.conv1.weight", "visual.ln_post.bias", "ln_final.bias", "logit_scale"].map(str::to_owned).into();
        for wrap in [
            |name: &str| format!("module.{name}"),
            |name: &str| format!("module._orig_mod.{name}"),
            |name: &str| format!("_orig_mod.module.{name}"),
            |name: &str| format!("model.{name}"),
            |name: &str| format!("model.module._orig_mod.{name}"),
            |name: &str| format!("_forward_module.model.net.{name}"),
            |name: &str| format!("anything.{name}"),
            // FSDP and activation checkpoints wrap the layers inside.
            |name: &str| {
                format!("_fsdp_wrapped_module.{}", name.replace("visual.", "visual._checkpoint_wrapped_module._fsdp_wrapped_module."))
            },
            |name: &str| name.replace("visual.", "visual.module."),
        ] {
            let names: Vec<String> = wanted.iter().map(|name| wrap(name)).collect();
            let given = file(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let (read, of) = translate(&given, &wanted, "");
            assert_eq!((read.keys().cloned().collect::<BTreeSet<_>>(), of), (wanted.clone(), "open_clip"), "{names:?}");
            let from: BTreeSet<&String> = read.values().map(|named| &named.from).collect();
            assert_eq!(from, names.iter().collect(), "names of the file are kept");
        }
    }

    #[test]
    fn a_wrappers_name_stays_where_the_model_has_it_or_names_would_meet() {
        let wanted: BTreeSet<String> = ["model.weight", "visual.module.bias"].map(str::to_owned).into();
        let (read, _) = translate(&file(&["model.weight", "visual.module.bias"]), &wanted, "");
        assert_eq!(read.keys().cloned().collect::<BTreeSet<_>>(), wanted);
        let both = ["module.weight", "weight"];
        let kept = unwrapped(both.iter().map(|name| ((*name).to_owned(), Tensor::from(0f32))).collect());
        assert_eq!(kept.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), both, "two tensors never become one");
    }
}
