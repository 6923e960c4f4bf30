//! Whose names a file of weights uses, and what those parameters are called here.
//!
//! A file is read in every way that is known; the reading of which most names are the model's is taken. So no maker has to be named.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

/// Tensors by name.
pub type Tensors = BTreeMap<String, Tensor>;

/// One way to read a file.
struct Reading {
    /// Whose names these are, for the log.
    of: &'static str,
    read: fn(&Tensors, &str) -> Tensors,
}

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
    Reading { of: "timm", read: |tensors, _| renamed(tensors, |name| Some(format!("visual.trunk.{name}"))) },
    Reading { of: "a text tower of open_clip", read: |tensors, text| renamed(tensors, |name| Some(format!("{text}{name}"))) },
    Reading { of: "transformers (text encoder)", read: text_encoder },
    Reading { of: "transformers (CLIPModel)", read: super::hf_clip::clip },
    Reading { of: "transformers (SiglipModel)", read: super::hf_clip::siglip },
];

/// The tensors under this program's names, and whose names they had. `wanted` are the model's names; `text` is the path of its text tower,
/// `text.` or nothing.
pub fn translate(tensors: &Tensors, wanted: &BTreeSet<String>, text: &str) -> (Tensors, &'static str) {
    let fits = |tensors: &Tensors| tensors.keys().filter(|name| wanted.contains(*name)).count();
    let mut best = (renamed(tensors, |name| Some(name.to_owned())), READINGS[0].of);
    let mut most = fits(&best.0);
    for reading in &READINGS[1..] {
        let read = (reading.read)(tensors, text);
        let fitting = fits(&read);
        if fitting > most {
            (best, most) = ((read, reading.of), fitting);
        }
    }
    best
}

/// Tensors with other names; those without a name are left out.
pub(super) fn renamed(tensors: &Tensors, name: impl Fn(&str) -> Option<String>) -> Tensors {
    tensors.iter().filter_map(|(old, tensor)| Some((name(old)?, tensor.shallow_clone()))).collect()
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
        names.iter().map(|name| ((*name).to_owned(), Tensor::zeros([2, 2], (Kind::Float, Device::Cpu)))).collect()
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
}
