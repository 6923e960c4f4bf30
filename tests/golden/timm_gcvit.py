"""Small Global Context ViTs, by timm."""

import known
import timm
import torch
from timm.models.gcvit import GlobalContextVit

torch.set_num_threads(1)


def case(size, depths, heads, ratios, pool="avg", layer_scale=None):
    args = dict(depths=depths, num_heads=heads, window_ratio=ratios, embed_dim=16, mlp_ratio=2.0, layer_scale=layer_scale)
    model = GlobalContextVit(img_size=size, num_classes=0, global_pool=pool, **args)
    tokens = lambda x: model.forward_features(x).flatten(2).transpose(1, 2)
    return known.record(known.under("trunk", model), known.pictures(2, size), options=dict(args, image_size=size, pool=pool), tokens=tokens)


cases = {
    "gcvit/windows": case(64, [2, 3], [2, 4], [16, 16]),
    "gcvit/scaled": case(96, [3, 2, 2], [1, 2, 4], [32, 16, 16], pool="avgmax", layer_scale=1e-5),
}
known.write(__file__, cases, "timm " + timm.__version__)
