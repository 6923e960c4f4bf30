"""Small ConvNeXts of timm: both versions, both shapes of the MLPs' weights, ε, the pools. Writes timm_convnext.json."""

import timm
import torch
from timm.models.convnext import ConvNeXt

import known

torch.set_num_threads(1)
cases = {}


def add(name, options, size=64, gradients=True, **arguments):
    sizes = {"depths": [1, 1, 2, 1], "dims": [8, 8, 16, 24]}
    model = ConvNeXt(num_classes=0, **sizes, **arguments)
    options = {"image_size": size, **sizes, **options}
    tokens = lambda x: model.forward_features(x).flatten(2).transpose(1, 2)
    cases[name] = known.record(known.under("trunk", model), known.pictures(2, size), options, tokens=tokens, gradients=gradients)


add("convnext/v1", {})
add("convnext/eps_avgmax", {"norm_eps": 1e-2, "pool": "avgmax"}, norm_eps=1e-2, global_pool="avgmax", gradients=False)
add("convnext/conv_max", {"conv_mlp": True, "pool": "max"}, conv_mlp=True, global_pool="max", gradients=False)
# 75 px is no multiple of 32: the last places are left out, as convolutions without padding do.
add("convnext/v2", {"use_grn": True, "ls_init_value": 0.0}, size=75, use_grn=True, ls_init_value=None)
v2 = {"use_grn": True, "conv_mlp": True}
add("convnext/v2_conv", {**v2, "ls_init_value": 0.0}, ls_init_value=None, gradients=False, **v2)
known.write(__file__, cases, "timm " + timm.__version__)
