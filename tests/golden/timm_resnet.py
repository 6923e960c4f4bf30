"""Golden numbers of timm's `ResNet`: blocks, stems, shortcuts, anti-aliasing, groups, and the attention pool of open_clip."""

import known
import timm
import torch
from timm.layers import AttentionPool2d, BlurPool2d
from timm.models.resnet import BasicBlock, Bottleneck, ResNet

torch.set_num_threads(1)
torch.manual_seed(0)

EMBED = 24
CHANNELS = [8, 8, 16, 16]
BLOCKS = {"basic": BasicBlock, "bottleneck": Bottleneck}
STEMS = {"plain": "", "deep": "deep", "deep_tiered": "deep_tiered"}
ANTI_ALIASING = {"none": None, "avg": torch.nn.AvgPool2d, "blur": BlurPool2d}


def case(block, layers, side=64, training=False, gradients=True, **options):
    options = {"image_size": side, "block": block, "layers": layers, "channels": CHANNELS} | options
    pool = options.get("pool", "avg")
    words = {
        "stem_width": options.get("stem_width", 32),
        "stem_type": STEMS[options.get("stem_type", "plain")],
        "aa_layer": ANTI_ALIASING[options.get("aa_layer", "none")],
        "block_args": {"attn_layer": "se"} if options.get("se") else None,
        "global_pool": "" if pool == "abs_attn" else pool,
    }
    words |= {name: options[name] for name in ("channels", "cardinality", "base_width", "avg_down") if name in options}
    trunk = ResNet(BLOCKS[block], layers, num_classes=0, **words)
    outer = known.under("trunk", trunk)

    def tokens(x):
        return trunk.forward_features(x).flatten(2).transpose(1, 2)

    if pool == "abs_attn":
        head = AttentionPool2d(trunk.num_features, feat_size=side // 32, out_features=EMBED)
        outer.add_module("head", torch.nn.Sequential())
        outer.head.add_module("pool", head)
        outer.forward = lambda x: head(trunk(x))
    with_tokens = tokens if pool == "avg" and gradients and not training else None
    return known.record(outer, known.pictures(2, side), options, None, with_tokens, training, gradients)


known.write(
    __file__,
    {
        "resnet/basic": case("basic", [1, 2, 1, 1], 72),
        "resnet/bottleneck": case("bottleneck", [2, 1, 1, 1]),
        "resnet/training": case("bottleneck", [1, 1, 1, 1], training=True),
        "resnet/max": case("basic", [1, 1, 1, 1], pool="max", gradients=False),
        "resnet/d": case("bottleneck", [1, 1, 1, 1], 72, stem_type="deep", stem_width=8, avg_down=True),
        "resnet/t": case("basic", [1, 1, 1, 1], stem_type="deep_tiered", stem_width=12, avg_down=True, gradients=False),
        "resnet/mean": case("bottleneck", [1, 1, 1, 1], aa_layer="avg", gradients=False),
        "resnet/mean_basic_d": case("basic", [1, 1, 1, 1], aa_layer="avg", stem_type="deep", stem_width=8, avg_down=True, gradients=False),
        "resnet/blur": case("bottleneck", [1, 1, 1, 1], 72, aa_layer="blur"),
        "resnet/groups": case("bottleneck", [1, 1, 1, 1], cardinality=4, base_width=24),
        "resnet/wide": case("bottleneck", [1, 1, 1, 1], base_width=128, gradients=False),
        "resnet/se": case("bottleneck", [1, 1, 1, 1], se=True, gradients=False),
        "resnet/attention": case("bottleneck", [1, 1, 1, 1], 96, pool="abs_attn", proj="none"),
    },
    "timm " + timm.__version__,
)
