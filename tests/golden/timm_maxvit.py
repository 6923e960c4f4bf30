"""A small MaxViT of timm's `tf` variants."""

from dataclasses import replace

import known
import timm
import torch
from timm.models.maxxvit import MaxxVit, model_cfgs

torch.set_num_threads(1)


def case(size, widths, depths, ratio, pool="avg", stem_width=16, **more):
    cfg = model_cfgs["maxvit_tiny_tf"]
    cfg = replace(cfg, embed_dim=widths, depths=depths, stem_width=stem_width, head_hidden_size=widths[-1], block_type=("M",) * len(depths))
    model = MaxxVit(cfg, img_size=size, num_classes=0, global_pool=pool, transformer_partition_ratio=ratio)
    options = dict(image_size=size, embed_dim=widths, depths=depths, partition_ratio=ratio, stem_width=stem_width, pool=pool)
    tokens = lambda x: model.forward_features(x).flatten(2).transpose(1, 2)
    return known.record(known.under("trunk", model), known.pictures(2, size), options=options, tokens=tokens, **more)


cases = {
    "maxvit/windows": case(48, [32, 64], [1, 2], 16),
    "maxvit/same-width": case(32, [32, 32], [1, 1], 8, pool="max", stem_width=32),
    "maxvit/training": case(48, [32, 64], [1, 1], 8, training=True),
}
known.write(__file__, cases, "timm " + timm.__version__)
