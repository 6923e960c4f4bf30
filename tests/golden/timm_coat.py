"""Small CoaT and CoaT-Lite networks, by timm. Its blocks share layers that the state dict repeats; here each has its first name alone."""

import known
import timm
import torch
from timm.models.coat import CoaT

torch.set_num_threads(1)


def case(size, widths, depths, parallel, ratios, pool="token"):
    args = dict(embed_dims=widths, serial_depths=depths, parallel_depth=parallel, mlp_ratios=ratios, patch_size=4)
    model = CoaT(img_size=size, num_classes=0, global_pool=pool, **args)
    outer = known.under("trunk", model)
    outer.state_dict = lambda: dict(outer.named_parameters())

    def tokens(x):
        features = model.forward_features(x)
        return (features[-1] if isinstance(features, list) else features)[:, 1:]

    return known.record(outer, known.pictures(2, size), options=dict(args, image_size=size, pool=pool), tokens=tokens)


cases = {
    "coat/parallel": case(64, [16, 24, 24, 24], [1, 1, 1, 1], 2, [3.0, 2.0, 2.0, 2.0]),
    "coat/parallel-average": case(96, [8, 16, 16, 16], [1, 1, 1, 1], 1, [2.0] * 4, pool="avg"),
    "coat/lite": case(64, [8, 16, 24, 32], [1, 2, 1, 1], 0, [4.0, 4.0, 2.0, 2.0]),
    "coat/lite-average": case(64, [8, 16, 24, 32], [1, 1, 1, 1], 0, [4.0, 4.0, 2.0, 2.0], pool="avg"),
}
known.write(__file__, cases, "timm " + timm.__version__)
