"""Golden numbers of timm's `RegNet`, and of its `NormFreeNet` as NF-RegNet."""

import known
import timm
import torch
from timm.models.nfnet import NfCfg, NormFreeNet
from timm.models.regnet import RegNet, RegNetCfg

torch.set_num_threads(1)
torch.manual_seed(0)


def record(trunk, side, options, training, gradients):
    def tokens(x):
        return trunk.forward_features(x).flatten(2).transpose(1, 2)

    outer = known.under("trunk", trunk)
    options = {"image_size": side} | options
    return known.record(outer, known.pictures(2, side), options, None, tokens if gradients and not training else None, training, gradients)


def regnet(side=64, training=False, gradients=True, **options):
    options = {"depth": 6, "w0": 16, "wa": 13.0, "wm": 1.8, "group_size": 8, "se_ratio": 0.0, "stem_width": 16} | options
    return record(RegNet(RegNetCfg(**options), num_classes=0), side, options, training, gradients)


def nf_regnet(side=64, training=False, gradients=True, **options):
    cfg = NfCfg(
        depths=options["depths"],
        channels=options["channels"],
        width_factor=options["width_factor"],
        bottle_ratio=options["bottle_ratio"],
        group_size=options.get("group_size", 8),
        num_features=options["num_features"],
        alpha=options.get("alpha", 0.2),
        stem_type="3x3",
        reg=True,
        attn_layer="se",
        attn_kwargs={"rd_ratio": 0.5},
    )
    return record(NormFreeNet(cfg, num_classes=0), side, options, training, gradients)


NF = {"channels": [16, 24, 40, 56], "width_factor": 0.75, "bottle_ratio": 2.25, "num_features": 80}

known.write(
    __file__,
    {
        "regnet/x": regnet(72),
        "regnet/y": regnet(se_ratio=0.25),
        "regnet/training": regnet(se_ratio=0.25, training=True),
        "regnet/rounded": regnet(group_size=24, w0=32, wa=26.0, gradients=False),
        "regnet/rounded_as_torchvision": regnet(group_size=24, w0=32, wa=26.0, group_min_ratio=0.9, gradients=False),
        "regnet/narrow_inside": regnet(bottle_ratio=0.5, gradients=False),
        "nf_regnet/b": nf_regnet(72, depths=[1, 2, 1, 1], **NF),
        "nf_regnet/groups": nf_regnet(depths=[2, 1, 2, 1], group_size=4, alpha=0.3, gradients=False, **NF),
        "nf_regnet/training": nf_regnet(depths=[1, 1, 1, 2], training=True, **NF),
    },
    "timm " + timm.__version__,
)
