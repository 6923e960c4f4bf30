"""Small EfficientNets of timm: every block type, both paddings, rounding of channels, training. Writes timm_efficientnet.json."""

from functools import partial

import timm
import torch
from timm.layers import AttentionPool2d
from timm.models._efficientnet_builder import decode_arch_def, round_channels
from timm.models.efficientnet import EfficientNet

import known

torch.set_num_threads(1)
cases = {}
EMBED = 8


def add(name, stages, size=64, channels=1.0, depth=1.0, eps=1e-5, same=False, pool="avg", training=False, gradients=True):
    round_chs = partial(round_channels, multiplier=channels)
    model = EfficientNet(
        decode_arch_def([[stage] for stage in stages], depth),
        num_classes=0,
        num_features=round_chs(40),
        stem_size=12,
        round_chs_fn=round_chs,
        act_layer=torch.nn.SiLU,
        norm_layer=partial(torch.nn.BatchNorm2d, eps=eps),
        pad_type="same" if same else "",
        global_pool=pool,
    )
    options = {"image_size": size, "arch_def": stages, "stem_size": 12, "num_features": 40, "pool": pool}
    options |= {"channel_multiplier": channels, "depth_multiplier": depth, "bn_eps": eps, "same_padding": same}
    # Two passes in training would move the running statistics twice, which no output of this pass shows.
    tokens = lambda x: model.forward_features(x).flatten(2).transpose(1, 2)
    x = known.pictures(2, size)
    cases[name] = known.record(known.under("trunk", model), x, options, tokens=tokens, training=training, gradients=gradients)


v1 = ["ds_r1_k3_s1_e1_c16_se0.25", "ir_r2_k3_s2_e6_c24_se0.25", "ir_r1_k5_s2_e6_c40_se0.25"]
v2 = ["cn_r2_k3_s1_e1_c16_skip", "er_r2_k3_s2_e4_c16", "er_r1_k3_s2_e1_c24", "ir_r2_k3_s2_e4_c24_se0.25_noskip"]
add("efficientnet/v1", v1, gradients=False)
# An odd size: TensorFlow's padding depends on it at each stride.
add("efficientnet/v1_tf", v1, size=75, eps=1e-3, same=True, gradients=False)
add("efficientnet/v1_scaled", v1, channels=1.4, depth=1.1, pool="max", gradients=False)
add("efficientnet/v2", v2, gradients=False)
add("efficientnet/v2_tf", v2, eps=1e-3, same=True, pool="avgmax", gradients=False)
add("efficientnet/v2_tiny", v2, channels=0.8, depth=0.9, gradients=False)
add("efficientnet/v1_training", v1, training=True)
add("efficientnet/v2_training", v2, training=True)


def attention(name, stages, size, places):
    """open_clip's `timm_pool = "abs_attn"`: the pool projects into the joint space."""
    model = EfficientNet(
        decode_arch_def([[stage] for stage in stages]), num_classes=0, num_features=64, stem_size=12, act_layer=torch.nn.SiLU,
        norm_layer=partial(torch.nn.BatchNorm2d, eps=1e-5), global_pool="")
    outer = known.under("trunk", model)
    pool = AttentionPool2d(64, feat_size=places, out_features=EMBED)
    outer.add_module("head", torch.nn.Sequential())
    outer.head.add_module("pool", pool)
    outer.forward = lambda x: pool(model(x))
    options = {"image_size": size, "arch_def": stages, "stem_size": 12, "num_features": 64, "pool": "abs_attn", "proj": "none"}
    cases[name] = known.record(outer, known.pictures(2, size), options, None, None, False, False)


attention("efficientnet/attention", v1, 72, 9)
known.write(__file__, cases, "timm " + timm.__version__)
