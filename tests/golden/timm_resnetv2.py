"""Golden numbers of timm's `ResNetV2`: group norm with standardised convolutions as in BiT, and batch norm."""

from functools import partial

import known
import timm
import torch
from timm.layers import BatchNormAct2d, GroupNormAct, StdConv2d, create_conv2d
from timm.models.resnetv2 import ResNetV2

torch.set_num_threads(1)
torch.manual_seed(0)

STEMS = {"plain": "", "fixed": "fixed", "deep": "deep", "tiered": "tiered"}
NORMS = {"group_norm": partial(GroupNormAct, num_groups=32), "batch_norm": BatchNormAct2d}


def case(side=64, training=False, gradients=True, **options):
    options = {"image_size": side, "stem_type": "plain", "norm_layer": "batch_norm", "std_conv_eps": 0.0, "bottle_ratio": 0.5} | options
    words = {"stem_type": STEMS[options["stem_type"]], "norm_layer": NORMS[options["norm_layer"]]}
    words["conv_layer"] = partial(StdConv2d, eps=options["std_conv_eps"]) if options["std_conv_eps"] else create_conv2d
    same = ("layers", "channels", "width_factor", "stem_chs", "avg_down", "basic", "bottle_ratio")
    trunk = ResNetV2(num_classes=0, **words, **{name: options[name] for name in same if name in options})

    def tokens(x):
        return trunk.forward_features(x).flatten(2).transpose(1, 2)

    outer = known.under("trunk", trunk)
    return known.record(outer, known.pictures(2, side), options, None, tokens if gradients and not training else None, training, gradients)


BIT = {"stem_type": "fixed", "norm_layer": "group_norm", "std_conv_eps": 1e-8, "bottle_ratio": 0.25}

known.write(
    __file__,
    {
        "resnetv2/bit": case(72, layers=[2, 1, 1, 1], channels=[128, 128, 128, 128], stem_chs=32, **BIT),
        "resnetv2/bit_wide": case(layers=[1, 1, 1, 1], channels=[64, 64, 64, 64], width_factor=2, stem_chs=32, gradients=False, **BIT),
        "resnetv2/batch": case(layers=[1, 2, 1, 1], channels=[16, 32, 48, 64], stem_chs=16),
        "resnetv2/training": case(layers=[1, 1, 1, 1], channels=[16, 32, 48, 64], stem_chs=16, training=True),
        "resnetv2/d": case(72, layers=[1, 1, 1, 1], channels=[16, 32, 48, 64], stem_chs=16, stem_type="deep", avg_down=True),
        "resnetv2/t": case(layers=[1, 1, 1, 1], channels=[16, 32, 48, 64], stem_chs=16, stem_type="tiered", gradients=False),
        "resnetv2/basic": case(layers=[2, 1, 1, 2], channels=[16, 32, 48, 64], stem_chs=16, basic=True, bottle_ratio=1.0),
    },
    "timm " + timm.__version__,
)
