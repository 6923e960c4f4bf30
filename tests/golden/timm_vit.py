"""Writes timm_vit.json: small vision transformers of timm, plain and with relative positions, one for each path that a preset takes."""

from functools import partial

import known
import timm
import torch
from timm.layers import LayerNorm
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos

torch.set_num_threads(1)
SIZES = {"image_size": 20, "patch_size": 6, "width": 12, "layers": 2, "heads": 3, "mlp_ratio": 2.0}
THEIRS = {"img_size": 20, "patch_size": 6, "embed_dim": 12, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0}


def case(cls, options, gradients=True, make=None, pool=None, tokens=True):
    """`make`: timm's words where they differ from ours; `pool`: what open_clip puts in place of the pooling; without `tokens` the last block
    computes no more than is pooled."""
    model = cls(num_classes=0, **THEIRS, **(options if make is None else make)).eval()
    if pool:
        model.reset_classifier(0, global_pool=pool)
        options = {**options, "pool": pool}
    tower = known.under("trunk", model)
    before = model.num_prefix_tokens
    return known.record(
        tower,
        known.pictures(2, 20),
        options={**SIZES, **options},
        tokens=(lambda x: model.forward_features(x)[:, before:]) if tokens else None,
        gradients=gradients,
    )


def clip(act):
    shared = {"pre_norm": True, "act_layer": act}
    return {"options": {**shared, "norm_eps": 1e-5}, "make": {**shared, "norm_layer": partial(LayerNorm, eps=1e-5)}}


siglip = {"class_token": False, "global_pool": "map"}
gap = {"class_token": False, "global_pool": "avg", "qkv_bias": False, "init_values": 0.1, "fc_norm": False}
vit = partial(case, VisionTransformer)
rel = partial(case, VisionTransformerRelPos)
cases = {
    "timm_vit/plain": vit({}, tokens=False),
    "timm_vit/plain_with_tokens": vit({}, gradients=False),
    "timm_vit/avg": vit({}, pool="avg", gradients=False),
    "timm_vit/max": vit({"global_pool": "max"}, gradients=False),
    "timm_vit/avgmax": vit({"global_pool": "avgmax", "fc_norm": False}, gradients=False),
    "timm_vit/made_with_avg": vit({"global_pool": "avg"}, gradients=False),
    "timm_vit/projects_by_itself": vit({"proj": "none", "pool": "avg"}, make={"global_pool": "avg"}, gradients=False),
    "timm_vit/siglip": vit(siglip),
    "timm_vit/siglip2": vit({**siglip, "act_layer": "gelu_tanh"}, gradients=False),
    "timm_vit/siglip_avg": vit(siglip, pool="avg", gradients=False),
    "timm_vit/gap": vit(gap),
    "timm_vit/clip": vit(**clip("gelu")),
    "timm_vit/quick": vit(**clip("quick_gelu"), gradients=False),
    # So large that each norm shows which one it has.
    "timm_vit/epsilon": vit(
        {**siglip, "qk_norm": True, "pre_norm": True, "norm_eps": 0.5},
        make={**siglip, "qk_norm": True, "pre_norm": True, "norm_layer": partial(LayerNorm, eps=0.5)},
        gradients=False,
    ),
    "timm_vit/deit3": vit({"no_embed_class": True, "init_values": 0.1}),
    "timm_vit/registers": vit({"reg_tokens": 2, "qk_norm": True, "final_norm": False}),
    "timm_vit/registers_without_position": vit({"reg_tokens": 2, "no_embed_class": True}, gradients=False),
    "timm_vit/distilled": case(VisionTransformerDistilled, {"distilled": True}, make={}, tokens=False),
    "timm_vit_relpos/cls": rel({"class_token": True, "global_pool": "token", "qkv_bias": False, "rel_pos_dim": 16}, tokens=False),
    "timm_vit_relpos/fc_norm": rel({"fc_norm": True, "init_values": 0.1, "qk_norm": True}, gradients=False),
    "timm_vit_relpos/shared": rel({"shared_rel_pos": True, "rel_pos_dim": 24}),
    "timm_vit_relpos/avg": rel({"class_token": True, "global_pool": "token", "shared_rel_pos": True}, pool="avg", gradients=False),
}
known.write(__file__, cases, "timm " + timm.__version__)
