"""Writes open_clip_towers.json: what open_clip's VisionTransformer and TextTransformer compute, in each of their variants.

Run with a Python that has torch and open_clip_torch. The projections belong to the host, so they are taken away before anything is
recorded. Where open_clip pools nothing, the first token is recorded as the pooled output. Two kinds of cases are not open_clip's own:
register tokens, which it does not have, and cosine attention, where version 3.3.0 gives four-dimensional tensors to a product of
three-dimensional ones and fails; here that product takes both.
"""

import known
import open_clip
import torch
from open_clip import transformer
from open_clip.model import CLIPTextCfg, CLIPVisionCfg, _build_text_tower, _build_vision_tower
from open_clip.transformer import TextTransformer

EMBED, END, PAD = 8, 63, 0
IMAGE = {"image_size": 24, "patch_size": 8, "width": 12, "mlp_ratio": 2.0}
TEXT = {"width": 8, "heads": 2, "mlp_ratio": 2.0}
CUSTOM = ["qk_norm", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"]


def add_registers(tower, count):
    """Puts further tokens in front of the blocks, and takes them away behind them."""
    tower.register_tokens = torch.nn.Parameter(torch.zeros(1, count, tower.class_embedding.numel()))
    norm, blocks = tower.ln_pre.forward, tower.transformer.forward

    def before(x):
        return norm(torch.cat([x[:, :1], tower.register_tokens.expand(len(x), -1, -1), x[:, 1:]], 1))

    def after(x):
        x = blocks(x)
        return torch.cat([x[:, :1], x[:, 1 + count :]], 1)

    tower.ln_pre.forward, tower.transformer.forward = before, after


def image(options=None, quick_gelu=False, ours=None, registers=0, gradients=False, **more):
    options = {"layers": 1, **(options or {})}
    config = CLIPVisionCfg(**{**IMAGE, "head_width": IMAGE["width"] // 2, "output_tokens": True, **options, **more})
    tower = _build_vision_tower(EMBED, config, quick_gelu=quick_gelu)
    tower.proj = None
    if registers:
        add_registers(tower, registers)
    height, width = tower.image_size

    def pooled(x):
        out = tower(x)[0]
        return out if out.ndim == 2 else out[:, 0]

    table = tower.positional_embedding.detach().clone()
    named = {**IMAGE, "heads": 2, "quick_gelu": quick_gelu, **options, **(ours or {})}
    case = known.record(tower, known.pictures(2, height, width), named, pooled, lambda x: tower(x)[1], gradients=gradients)
    if not tower.positional_embedding.requires_grad:
        case["positions"] = known.listed(table)
    return case


def ids(kind):
    """Rows of 9, 4 and 6 tokens with their end in a matrix of 9. SigLIP's end fills up, too."""
    end, pad = {"clip": (END, PAD), "siglip": (1, 1), "eos": (2, PAD), "coca": (END, PAD)}[kind]
    rows = torch.full((3, 9), pad)
    words = 3 + (known.numbers("words", 27).reshape(3, 9) * 28 + 28).astype(int)
    for row, length in enumerate([9, 4, 6]):
        rows[row, :length] = torch.tensor(words[row, :length])
        rows[row, length - 1] = end
    return rows


def text(kind="clip", options=None, ours=None, quick_gelu=False, gradients=False, beyond=None, **more):
    options = {"layers": 1, **(options or {})}
    config = {**TEXT, "context_length": 9, "vocab_size": 64, "output_tokens": True, **options, **more}
    if beyond:
        # The class has options that no configuration can name.
        tower = TextTransformer(output_dim=EMBED, **config, **beyond)
    else:
        tower = _build_text_tower(EMBED, CLIPTextCfg(**config), quick_gelu=quick_gelu)
    tower.text_projection = None

    def pooled(x):
        out = tower(x)[0]
        return out if out.ndim == 2 else out[:, 0]

    named = {**TEXT, "context": 9, "vocab": 64, "quick_gelu": quick_gelu, **options, **(ours or {}), **(beyond or {})}
    return known.record(tower, ids(kind), named, pooled, lambda x: tower(x)[1], gradients=gradients)


def custom(*names):
    return {name: True for name in names}


def images():
    yield "plain", image({"layers": 2}, gradients=True)
    yield "quick_gelu", image(quick_gelu=True)
    yield "gelu_tanh", image(act_kwargs={"approximate": "tanh"}, ours={"gelu_tanh": True})
    yield "norm_eps", image(norm_kwargs={"eps": 1e-2}, ours={"norm_eps": 1e-2})
    yield "avg", image(pool_type="avg", ours={"pool": "avg"})
    yield "none", image(pool_type="none", ours={"pool": "none"})
    yield "not_square", image(image_size=[16, 24], ours={"image_size": [16, 24]})
    yield "layer_scale", image(ls_init_value=1e-4, ours={"layer_scale": 1e-4}, gradients=True)
    yield "no_ln_pre", image({"no_ln_pre": True})
    for pool in ("tok", "avg", "none"):
        yield f"final_ln_after_pool/{pool}", image({"final_ln_after_pool": True}, pool_type=pool, ours={"pool": pool})
    clipa = {"no_ln_pre": True, "final_ln_after_pool": True}
    made = {"pool": "avg", "position": "sin_cos_2d"}
    yield "clipa", image(clipa, pool_type="avg", pos_embed_type="sin_cos_2d", ours=made, gradients=True)
    asked = {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2}
    for pool in ("tok", "avg", "none"):
        yield f"attentional/{pool}", image(asked, pool_type=pool, ours={"pool": pool}, gradients=pool == "tok")
    same = {**asked, "width": EMBED}
    for kind in (True, "parallel", "cascade"):
        options = {**same, "attentional_pool": kind}
        made = image(options, head_width=EMBED // 2, norm_kwargs={"eps": 1e-2}, ours={"norm_eps": 1e-2}, gradients=True)
        yield f"attentional_same_width/{kind}", made
    for names in [[name] for name in CUSTOM] + [CUSTOM]:
        yield "custom/" + "+".join(names), image(custom(*names), gradients=names == CUSTOM)
    yield "custom/scaled_cosine_attn", image(custom("scaled_cosine_attn"), gradients=True)
    yield "registers", image(registers=3, ours={"registers": 3}, gradients=True)


def texts():
    tanh = {"approximate": "tanh"}
    yield "clip", text(options={"layers": 2}, gradients=True)
    yield "quick_gelu", text(quick_gelu=True)
    yield "layer_scale", text(ls_init_value=0.5, ours={"layer_scale": 0.5})
    bidirectional = {"no_causal_mask": True}
    made = {"pool": "last", "pad": 1, "norm_eps": 1e-6, "gelu_tanh": True, "projection": "linear"}
    siglip = {"pool_type": "last", "pad_id": 1, "norm_kwargs": {"eps": 1e-6}, "act_kwargs": tanh, "proj_bias": True}
    yield "siglip", text("siglip", bidirectional, ours=made, gradients=True, **siglip)
    yield "clipa", text("clip", bidirectional, ours={"pool": "last"}, pool_type="last")
    for pool in ("first", "last", "eos", "none"):
        options = {"eos_id": 2}
        yield pool, text("eos", options, ours={"pool": pool}, pool_type=pool)
        yield f"{pool}/bidirectional", text("eos", {**options, **bidirectional}, ours={"pool": pool}, pool_type=pool)
    yield "argmax/pad_mask", text("clip", bidirectional, beyond={"use_pad_mask": True}, gradients=True)
    yield "argmax/bidirectional", text("clip", bidirectional)
    cls = {"embed_cls": True}
    yield "coca", text("coca", {**cls, "layers": 2}, gradients=True)
    yield "coca/bidirectional", text("coca", {**cls, **bidirectional})
    yield "coca/correct", text("coca", cls, beyond={"correct_cls_mask": True})
    yield "coca/pad_mask", text("coca", {**cls, **bidirectional}, beyond={"correct_cls_mask": True, "use_pad_mask": True})
    yield "custom", text("clip", custom(*CUSTOM), gradients=True)
    yield "custom/coca", text("coca", {**cls, **custom("scaled_cosine_attn", "scale_heads")})


def main():
    torch.set_num_threads(1)
    transformer.torch.bmm = torch.matmul
    cases = {f"vit/{name}": case for name, case in images()} | {f"text_transformer/{name}": case for name, case in texts()}
    known.write(__file__, cases, f"open_clip {open_clip.__version__}")


if __name__ == "__main__":
    main()
