//! The names of CLIP and SigLIP in transformers, which keeps queries, keys and values apart.

use tch::Tensor;

use super::names::{NamedTensor, Tensors};

/// One step from transformers' name to ours.
type Rule = (&'static str, &'static str);

/// The same in both towers of CLIP.
const CLIP_BLOCK: &[Rule] = &[
    ("layer_norm1.", "ln_1."),
    ("layer_norm2.", "ln_2."),
    ("mlp.fc1.", "mlp.c_fc."),
    ("mlp.fc2.", "mlp.c_proj."),
    ("self_attn.out_proj.", "attn.out_proj."),
    ("self_attn.in_proj_", "attn.in_proj_"),
];

const CLIP_IMAGE: &[Rule] = &[
    ("embeddings.class_embedding", "class_embedding"),
    ("embeddings.patch_embedding.weight", "conv1.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("pre_layrnorm.", "ln_pre."),
    ("post_layernorm.", "ln_post."),
];

const TEXT: &[Rule] = &[
    ("embeddings.token_embedding.weight", "token_embedding.weight"),
    ("embeddings.position_embedding.weight", "positional_embedding"),
    ("final_layer_norm.", "ln_final."),
    ("head.", "text_projection."),
];

const TIMM_BLOCK: &[Rule] =
    &[("layer_norm1.", "norm1."), ("layer_norm2.", "norm2."), ("self_attn.out_proj.", "attn.proj."), ("self_attn.in_proj_", "attn.qkv.")];

const SIGLIP_IMAGE: &[Rule] = &[
    ("embeddings.patch_embedding.", "patch_embed.proj."),
    ("embeddings.position_embedding.weight", "pos_embed"),
    ("post_layernorm.", "norm."),
    ("head.probe", "attn_pool.latent"),
    ("head.attention.out_proj.", "attn_pool.proj."),
    ("head.layernorm.", "attn_pool.norm."),
    ("head.mlp.", "attn_pool.mlp."),
];

/// `CLIPModel`.
pub(super) fn clip(tensors: &Tensors, text: &str) -> Tensors {
    let mut out = Tensors::new();
    for (name, named) in joined(tensors) {
        let (name, named) = if let Some(inside) = name.strip_prefix("vision_model.") {
            (format!("visual.{}", block(inside, "transformer.resblocks", CLIP_BLOCK, CLIP_IMAGE)), named)
        } else if let Some(inside) = name.strip_prefix("text_model.") {
            (format!("{text}{}", block(inside, "transformer.resblocks", CLIP_BLOCK, TEXT)), named)
        } else if name == "visual_projection.weight" {
            ("visual.proj".into(), transposed(&named))
        } else if name == "text_projection.weight" {
            (format!("{text}text_projection"), transposed(&named))
        } else {
            (name, named)
        };
        out.insert(name, named);
    }
    out
}

/// `SiglipModel`, whose image tower is timm's here.
pub(super) fn siglip(tensors: &Tensors, text: &str) -> Tensors {
    let mut out = Tensors::new();
    for (name, named) in joined(tensors) {
        if let Some(inside) = name.strip_prefix("vision_model.") {
            // The pooling keeps its queries apart from keys and values.
            if let Some(part) = inside.strip_prefix("head.attention.in_proj_") {
                let Some(width) = named.tensor.size().first().map(|rows| rows / 3) else { continue };
                out.insert(format!("visual.trunk.attn_pool.q.{part}"), named.with(named.tensor.narrow(0, 0, width)));
                out.insert(format!("visual.trunk.attn_pool.kv.{part}"), named.with(named.tensor.narrow(0, width, 2 * width)));
                continue;
            }
            let name = block(inside, "blocks", TIMM_BLOCK, SIGLIP_IMAGE);
            let named = if name == "pos_embed" { named.with(named.tensor.unsqueeze(0)) } else { named };
            out.insert(format!("visual.trunk.{name}"), named);
        } else if let Some(inside) = name.strip_prefix("text_model.") {
            out.insert(format!("{text}{}", block(inside, "transformer.resblocks", CLIP_BLOCK, TEXT)), named);
        } else {
            out.insert(name, named);
        }
    }
    out
}

/// The name inside a tower: `blocks` is what its stack is called here.
fn block(inside: &str, blocks: &str, within: &[Rule], outside: &[Rule]) -> String {
    let replace = |name: &str, rules: &[Rule]| {
        let rule = rules.iter().find_map(|(theirs, ours)| name.strip_prefix(theirs).map(|rest| format!("{ours}{rest}")));
        rule.unwrap_or_else(|| name.to_owned())
    };
    match inside.strip_prefix("encoder.layers.").and_then(|rest| rest.split_once('.')) {
        Some((number, rest)) => format!("{blocks}.{number}.{}", replace(rest, within)),
        None => replace(inside, outside),
    }
}

/// A matrix transposed; what is no matrix is left to be refused by its shape.
fn transposed(named: &NamedTensor) -> NamedTensor {
    if named.tensor.dim() == 2 { named.with(named.tensor.transpose(0, 1)) } else { named.share() }
}

/// Queries, keys and values as one matrix, under `self_attn.in_proj_weight` and `…bias`; tables of positions, which are computed, left out.
fn joined(tensors: &Tensors) -> Tensors {
    let mut out = Tensors::new();
    for (name, named) in tensors {
        if name.ends_with("position_ids") || [".k_proj.", ".v_proj."].iter().any(|part| name.contains(part)) {
            continue;
        }
        let Some((path, kind)) = name.split_once(".q_proj.") else {
            out.insert(name.clone(), named.share());
            continue;
        };
        let others = ["k_proj", "v_proj"].map(|part| tensors.get(&format!("{path}.{part}.{kind}")));
        if let [Some(k), Some(v)] = others {
            let (q, k, v) = (&named.tensor, &k.tensor, &v.tensor);
            let same = k.size() == q.size() && v.size() == q.size();
            let kinds = k.kind() == q.kind() && v.kind() == q.kind();
            if same && kinds && q.dim() > 0 {
                out.insert(format!("{path}.in_proj_{kind}"), named.with(Tensor::cat(&[q, k, v], 0)));
            }
        }
    }
    out
}
