"""Small networks of both versions of Swin, by timm."""

import known
import timm
import torch
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2

torch.set_num_threads(1)


def case(kind, size, depths, heads, window, pool="avg", **more):
    args = dict(depths=depths, num_heads=heads, window_size=window, embed_dim=16, mlp_ratio=2.0)
    model = kind(img_size=size, num_classes=0, drop_path_rate=0.0, global_pool=pool, **args, **more)
    options = dict(args, image_size=size, pool=pool, **more)
    tokens = lambda x: model.forward_features(x).flatten(1, 2)
    return known.record(known.under("trunk", model), known.pictures(2, size), options=options, tokens=tokens)


cases = {
    "swin/shifted": case(SwinTransformer, 64, [2, 2], [2, 4], 4, pool="avgmax"),
    "swin/padded": case(SwinTransformer, 60, [2, 2, 1], [1, 2, 4], 7, pool="max"),
    "swinv2/shifted": case(SwinTransformerV2, 64, [2, 2], [2, 4], 4, pretrained_window_sizes=[0, 0]),
    "swinv2/padded": case(SwinTransformerV2, 60, [2, 2, 1], [1, 2, 4], 7, pretrained_window_sizes=[3, 12, 1]),
}
known.write(__file__, cases, "timm " + timm.__version__)
