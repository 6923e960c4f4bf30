"""Small networks of timm's ViTamin, FastViT and MobileCLIP's hybrid vision transformer. Writes timm_hybrid.json."""

from functools import partial

import timm
import torch
from timm.layers import HybridEmbed, LayerNorm2d
from timm.models.fastvit import FastVit, RepConditionalPosEnc
from timm.models.vision_transformer import VisionTransformer
from timm.models.vision_transformer_hybrid import ConvStem
from timm.models.vitamin import GeGluMlp, MbConvStages, VitCfg

import known

torch.set_num_threads(1)
SIZE = 40
cases = {}


def record(name, model, options, tokens, side=SIZE, rows=2, **kwargs):
    options = {"image_size": side, **options}
    cases[name] = known.record(known.under("trunk", model), known.pictures(rows, side), options=options, tokens=tokens, **kwargs)


def vitamin(name, stem_width=8, conv_widths=(8, 16), conv_depths=(1, 2), side=SIZE, pos_embed=True, pool="avg", **kwargs):
    stem = MbConvStages(VitCfg(embed_dim=(*conv_widths, 16), depths=(*conv_depths, 1), stem_width=stem_width))
    model = VisionTransformer(
        img_size=side,
        patch_size=1,
        num_classes=0,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
        embed_dim=16,
        depth=2,
        num_heads=2,
        mlp_ratio=2.0,
        mlp_layer=GeGluMlp,
        class_token=False,
        global_pool=pool,
        pos_embed="learn" if pos_embed else "none",
    )
    options = {"stem_width": stem_width, "conv_widths": conv_widths, "conv_depths": conv_depths, "width": 16, "layers": 2, "heads": 2}
    record(f"vitamin/{name}", model, {**options, "pos_embed": pos_embed, "pool": pool}, model.forward_features, side, **kwargs)


def vit_mci(name, pool="token", training=False, rows=2, **kwargs):
    stem = ConvStem(channels=(4, 4, 16), stride=(4, 2, 2), kernel_size=(4, 2, 2), padding=0, act_layer=torch.nn.GELU)
    model = VisionTransformer(
        img_size=48,
        patch_size=1,
        num_classes=0,
        embed_layer=partial(HybridEmbed, backbone=stem, proj=False),
        embed_dim=16,
        depth=2,
        num_heads=2,
        no_embed_class=True,
        global_pool=pool,
    )
    tokens = None if training else lambda x: model.forward_features(x)[:, 1:]
    options = {"width": 16, "layers": 2, "heads": 2, "pool": pool}
    record(f"vit_mci/{name}", model, options, tokens, 48, rows, training=training, **kwargs)


def fastvit(name, layers, width, ratio, attention, squeeze, batch=True, use_act=True, scale=True, side=SIZE, training=False, rows=2, **kwargs):
    count = len(layers)
    last = [stage + attention >= count for stage in range(count)]
    dims = [width * 2**stage for stage in range(count)]
    mixers = ["attention" if stage else "repmixer" for stage in last]
    model = FastVit(
        layers=layers,
        embed_dims=dims,
        mlp_ratios=(ratio,) * count,
        token_mixers=mixers,
        downsamples=(False,) + (True,) * (count - 1),
        se_downsamples=squeeze,
        pos_embs=[partial(RepConditionalPosEnc, spatial_shape=(7, 7)) if stage else None for stage in last],
        lkc_use_act=use_act,
        stem_use_scale_branch=scale,
        norm_layer=torch.nn.BatchNorm2d if batch else partial(LayerNorm2d, eps=1e-5),
        num_classes=0,
    )
    options = {
        "layers": layers,
        "embed_dims": dims,
        "mlp_ratio": ratio,
        "token_mixers": mixers,
        "se_downsamples": squeeze,
        "pos_embs": last,
        "lkc_use_act": use_act,
        "stem_use_scale_branch": scale,
        "norm_layer": "batch" if batch else "layer",
    }
    tokens = None if training else lambda x: model.forward_features(x).flatten(2).transpose(1, 2)
    record(f"fastvit/{name}", model, options, tokens, side, rows, training=training, **kwargs)


vitamin("small")
vitamin("xlarge", stem_width=12, conv_widths=(12, 24), conv_depths=(2, 1), side=64, pos_embed=False, gradients=False)
vitamin("odd", side=56, pool="max", gradients=False)
vit_mci("token")
vit_mci("avg", pool="avg", gradients=False)
vit_mci("training", training=True, rows=4)
fastvit("mci0", [1, 2, 1], 8, 3, 1, [False, True, True], side=56, gradients=False)
fastvit("mci3", [1, 1, 1], 16, 4, 2, [False] * 3, batch=False, scale=False, gradients=False)
fastvit("t8", [1, 1], 4, 3, 0, [False] * 2, use_act=False, gradients=False)
fastvit("training", [1, 1], 16, 2, 1, [False, True], side=32, training=True, rows=4)
known.write(__file__, cases, "timm " + timm.__version__)
