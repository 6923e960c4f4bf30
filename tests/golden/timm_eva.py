"""Small networks of timm's `Eva` that take every way through it that the presets take. Writes timm_eva.json."""

from functools import partial

import timm
import torch
from timm.layers import LayerNorm
from timm.models.eva import Eva

import known

torch.set_num_threads(1)

SIZES = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2}
OURS = {"patch_size": "patch_size", "embed_dim": "width", "depth": "layers", "num_heads": "heads", "img_size": "image_size", "global_pool": "pool"}
# What the plugin's default does not share with timm's.
PLAIN = {"mlp_ratio": 4.0, "swiglu_mlp": False, "use_rot_pos_emb": False, "ref_feat_shape": 0}
ROPE = {"attn_type": "rope", "use_rot_pos_emb": True, "rope_grid_indexing": "xy"}
PE = {**ROPE, "use_pre_transformer_norm": True, "ref_feat_shape": 3, "rope_grid_offset": 1.0, "norm_eps": 1e-5}
EVA02 = {"mlp_ratio": 8 / 3, "swiglu_mlp": True, "use_rot_pos_emb": True, "ref_feat_shape": 3}
MAP = {"global_pool": "map", "attn_pool_num_heads": 4, "attn_pool_mlp_ratio": 2.0}
BARE = {"use_post_transformer_norm": False, "use_fc_norm": False}

NETWORKS = {
    "eva01": {"mlp_ratio": 6144 / 1408},
    "eva01_token": {"global_pool": "token", "mlp_ratio": 2.0},
    "eva02": EVA02,
    "eva02_scaled": {**EVA02, "scale_mlp": True, "qkv_fused": False},
    "eva02_clip": {**EVA02, "scale_mlp": True, "scale_attn_inner": True, "qkv_fused": False, "global_pool": "token"},
    "eva02_enormous": {"use_post_norm": True, "global_pool": "token", "mlp_ratio": 3.0},
    "pe_core": {**PE, **MAP},
    "pe_core_without_class": {**PE, **MAP, "class_token": False, "rope_grid_offset": 0.0},
    "pe_lang": {**PE, **BARE, "init_values": 0.1},
    "rope_vit": {**ROPE, "init_values": 1e-5, "global_pool": "token", "use_abs_pos_emb": False, "rope_temperature": 100.0},
    "rope_vit_learned": {**ROPE, "global_pool": "token", "no_embed_class": True, "rope_temperature": 100.0, "qkv_fused": False},
    "registers": {**EVA02, "class_token": False, "num_reg_tokens": 2, "use_abs_pos_emb": False, "qkv_bias": False, "scale_mlp": False},
    "scaled_gelu": {"scale_mlp": True, "global_pool": "avgmax"},
    "max": {"global_pool": "max", "mlp_ratio": 2.0},
}


def network(img_size=32, norm_eps=1e-6, ref_feat_shape=0, **kwargs):
    reference = (ref_feat_shape, ref_feat_shape) if ref_feat_shape else None
    return Eva(img_size=img_size, num_classes=0, norm_layer=partial(LayerNorm, eps=norm_eps), ref_feat_shape=reference, **SIZES, **kwargs)


cases = {}
for name, kwargs in NETWORKS.items():
    model = network(**kwargs)
    options = {OURS.get(key, key): value for key, value in {**PLAIN, **SIZES, "img_size": 32, **kwargs}.items()}
    tokens = lambda x, model=model: model.forward_features(x)[:, model.num_prefix_tokens :]
    gradients = name in ("eva02_clip", "eva02_enormous", "pe_core", "registers")
    cases[f"eva/{name}"] = known.record(known.under("trunk", model), known.pictures(2, 32), options=options, tokens=tokens, gradients=gradients)
known.write(__file__, cases, "timm " + timm.__version__)
