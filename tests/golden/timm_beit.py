"""Writes timm_beit.json: small BEiTs of timm, one for each path that a preset takes."""

import known
import timm
import torch
from timm.models.beit import Beit

torch.set_num_threads(1)
SIZES = {"image_size": 20, "patch_size": 6, "width": 12, "layers": 2, "heads": 3, "mlp_ratio": 2.0}
THEIRS = {"img_size": 20, "patch_size": 6, "embed_dim": 12, "depth": 2, "num_heads": 3, "mlp_ratio": 2.0}


def case(options, pool=None, gradients=True, tokens=True):
    model = Beit(num_classes=0, use_abs_pos_emb=False, use_rel_pos_bias=True, **THEIRS, **options).eval()
    if pool:
        model.reset_classifier(0, global_pool=pool)
        options = {**options, "pool": pool}
    return known.record(
        known.under("trunk", model),
        known.pictures(2, 20),
        options={**SIZES, **options},
        tokens=(lambda x: model.forward_features(x)[:, 1:]) if tokens else None,
        gradients=gradients,
    )


cases = {
    "timm_beit/scaled": case({"init_values": 0.1}),
    "timm_beit/token": case({"init_values": 0.1, "global_pool": "token"}, tokens=False),
    "timm_beit/token_instead": case({"init_values": 1e-5}, pool="token", gradients=False),
    "timm_beit/without_scale_and_bias": case({"init_values": 0.0, "qkv_bias": False}),
}
known.write(__file__, cases, "timm " + timm.__version__)
