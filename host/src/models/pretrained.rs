//! Published weights by tag, as open_clip 3.3.0 lists them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Map, Value};

/// Weights under a tag.
#[derive(Clone, Debug, Deserialize)]
pub struct Pretrained {
    /// `ORGANISATION/NAME` on the hub, with `/FILE` where it is not one of the usual names.
    #[serde(default)]
    pub hf_hub: String,
    /// Where the file is, for weights that are not on the hub.
    #[serde(default)]
    pub url: String,
    /// The weights were trained with QuickGELU.
    #[serde(default)]
    pub quick_gelu: bool,
    /// Mean, standard deviation, interpolation and resize mode.
    #[serde(flatten)]
    pub preprocess: Map<String, Value>,
}

static TABLE: LazyLock<BTreeMap<String, BTreeMap<String, Pretrained>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("pretrained.json")).unwrap_or_default());

/// The weights that a tag of a model stands for. open_clip takes `-` for `_` and any case.
pub fn tag(model: &str, tag: &str) -> Option<&'static Pretrained> {
    TABLE.get(&model.replace('/', "-"))?.get(&tag.to_lowercase().replace('-', "_"))
}

/// The tags of a model, sorted.
pub fn tags(model: &str) -> Vec<&'static str> {
    TABLE.get(&model.replace('/', "-")).map(|tags| tags.keys().map(String::as_str).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_as_open_clip_finds_them() {
        let weights = tag("ViT-B/32", "LAION2B-s34b-b79k").expect("open_clip knows it");
        assert_eq!(weights.hf_hub, "laion/CLIP-ViT-B-32-laion2B-s34B-b79K/");
        assert!(tag("ViT-B-32", "openai").expect("it is listed").quick_gelu);
        assert_eq!(tag("ViT-B-16-SigLIP", "webli").expect("it is listed").preprocess["resize_mode"], "squash");
        assert!(tag("ViT-B-32", "webli").is_none() && tags("no such model").is_empty());
        assert_eq!(TABLE.values().map(BTreeMap::len).sum::<usize>(), TAGS);
    }

    /// Pairs of model and tag that open_clip lists.
    const TAGS: usize = 196;
}
