"""Writes clip_variants.json: losses and gradients of the variants of the contrastive losses, on random features.

Usage: python clip_variants.py, in an environment with torch and x-clip.

`x_clip`: the forward of x-clip's own CLIP in double precision. Its encoders are replaced by tables (pooled features), and its two main
projections by tables too (joint features), so that the gradients of both are seen apart; the extra projections are its own.
`float32`: the same where x-clip's exponentials leave the range of float32, or fall below the 1e-20 that it adds inside its logarithms. The
value `right` is the formula by logsumexp in double precision.
`positives`: several right answers a row, by torch's cross_entropy with soft targets and by logsigmoid, in double precision. No package has the
decoupled loss with several positives: `dcl` is our own formula, written out.
"""

import json
import pathlib
from importlib.metadata import version

import torch
import torch.nn.functional as F
from x_clip import CLIP

torch.set_num_threads(1)
EMBED, IMAGE, TEXT = 8, 6, 5
LABELS = [[0, 2], [1, -1], [0, -1], [-1, -1], [2, 1], [3, -1], [-1, -1]]
IDS = [[7, 3, 9, 0], [7, 3, 0, 0], [7, 3, 9, 0], [8, 9, 0, 0], [7, 3, 0, 0], [7, 3, 9, 0], [9, 3, 7, 0]]


class Table(torch.nn.Module):
    """Returns its rows whatever it is asked."""

    def __init__(self, rows):
        super().__init__()
        self.rows = torch.nn.Parameter(rows)

    def forward(self, *_):
        return self.rows


def drawn(rows, alike):
    """Features as float32 has them, so that the file says exactly what both sides read."""
    text = torch.randn(rows, EMBED) * 2
    image = torch.randn(rows, EMBED) + alike * text
    tables = {"image": image, "text": text, "image_pooled": torch.randn(rows, IMAGE), "text_pooled": torch.randn(rows, TEXT)}
    return tables


def x_clip(tables, log_scale, kind, dcl=False, elp=False, sim_reg=0.0):
    clip = CLIP(
        image_encoder=Table(tables["image_pooled"]),
        text_encoder=Table(tables["text_pooled"]),
        dim_image=IMAGE,
        dim_text=TEXT,
        dim_latent=EMBED,
        text_encode_without_mask=True,
        decoupled_contrastive_learning=dcl,
        extra_latent_projection=elp or sim_reg > 0,
        sim_reg_loss_weight=sim_reg,
    )
    clip.to_visual_latent, clip.to_text_latent = Table(tables["image"]), Table(tables["text"])
    if sim_reg > 0 and not elp:
        # x-clip fails without the extra projections; with the main ones in their place the formula is the plain one.
        clip.to_visual_latent_extra, clip.to_text_latent_extra = clip.to_visual_latent, clip.to_text_latent
    clip = clip.to(kind).train()
    with torch.no_grad():
        clip.temperature.fill_(log_scale)
    rows = len(tables["image"])
    loss = clip(torch.ones(rows, 1, dtype=torch.long), torch.zeros(rows, 3, 1, 1, dtype=kind), return_loss=True)
    return clip, loss


def listed(tensor):
    """Rows of numbers with the nine digits that say a float32 exactly."""
    return [[float(f"{x:.9g}") for x in row] for row in tensor.float().tolist()]


def variant(name, rows, log_scale, alike, **options):
    tables = drawn(rows, alike)
    clip, loss = x_clip(tables, log_scale, torch.float64, **options)
    loss.backward()
    out = {"name": name, "options": options, "log_scale": log_scale, "loss": loss.item(), "inputs": {}, "gradients": {}}
    leaves = {"image": clip.to_visual_latent.rows, "text": clip.to_text_latent.rows}
    if options.get("elp"):
        leaves |= {
            "image_pooled": clip.visual_transformer.rows,
            "text_pooled": clip.text_transformer.rows,
            "image_projection": clip.to_visual_latent_extra.weight,
            "text_projection": clip.to_text_latent_extra.weight,
        }
    for leaf, value in leaves.items():
        # The projections are drawn in float32 too.
        out["inputs"][leaf], out["gradients"][leaf] = listed(value.detach()), listed(value.grad)
    out["gradients"]["logit_scale"] = clip.temperature.grad.item()
    return out


def right(tables, log_scale, dcl):
    image, text = (F.normalize(tables[name].double(), dim=-1) for name in ("image", "text"))
    logits = torch.tensor(log_scale).double().exp() * image @ text.T
    own = torch.eye(len(logits), dtype=torch.bool)
    seen = logits.masked_fill(own, -torch.inf) if dcl else logits
    apart = seen.logsumexp(1) - logits.diag() + seen.logsumexp(0) - logits.diag()
    return (apart / 2).mean().item()


def float32(name, log_scale, alike, dcl):
    tables = drawn(5, alike)
    if name == "underflow":
        # Every image is opposite to every text: all exponentials are e^-100.
        tables["text"] = -(tables["image"][:1] + 1e-3 * torch.randn(5, EMBED))
        tables["image"] = tables["image"][:1] + 1e-3 * torch.randn(5, EMBED)
    _, loss = x_clip(tables, log_scale, torch.float32, dcl=dcl)
    _, double = x_clip(tables, log_scale, torch.float64, dcl=dcl)
    out = {"name": name, "dcl": dcl, "log_scale": log_scale, "x_clip": str(loss.item()), "x_clip_double": double.item()}
    out |= {"right": right(tables, log_scale, dcl), "image": listed(tables["image"]), "text": listed(tables["text"])}
    return out


def same(kind):
    """Which rows are positives of which, with the own pair."""
    keys = [{label for label in row if label >= 0} for row in LABELS] if kind == "labels" else [{tuple(row)} for row in IDS]
    return torch.tensor([[row == column or bool(a & b) for column, b in enumerate(keys)] for row, a in enumerate(keys)])


def positives(loss_name, kind, log_scale, bias, alike):
    rows = len(LABELS)
    tables = drawn(rows, alike)
    image, text = (tables[name].double().requires_grad_() for name in ("image", "text"))
    scale = torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)
    offset = torch.tensor(bias, dtype=torch.float64, requires_grad=True)
    logits = scale.exp() * F.normalize(image, dim=-1) @ F.normalize(text, dim=-1).T
    right = same(kind)
    targets = right.double() / right.sum(1, keepdim=True)
    if loss_name == "clip":
        loss = (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2
    elif loss_name == "dcl":
        seen = logits.masked_fill(right, -torch.inf)
        loss = (seen.logsumexp(1) - (targets * logits).sum(1) + seen.logsumexp(0) - (targets * logits.T).sum(1)).mean() / 2
    else:
        loss = -F.logsigmoid((2 * right.double() - 1) * (logits + offset)).sum() / rows
    loss.backward()
    out = {"loss_name": loss_name, "positives": kind, "log_scale": log_scale, "bias": bias, "loss": loss.item()}
    out |= {"inputs": {"image": listed(image), "text": listed(text)}}
    out["gradients"] = {"image": listed(image.grad), "text": listed(text.grad), "logit_scale": scale.grad.item()}
    if loss_name == "siglip":
        out["gradients"]["logit_bias"] = offset.grad.item()
    return out


torch.manual_seed(0)
VARIANTS = [
    variant("plain", 6, 2.66, 0.0),
    variant("dcl", 6, 2.66, 0.0, dcl=True),
    variant("dcl trained", 7, 4.605170185988092, 3.0, dcl=True),
    variant("elp", 6, 2.66, 0.0, elp=True),
    variant("elp trained", 7, 3.9, 3.0, elp=True),
    variant("elp dcl", 6, 2.0, 0.5, elp=True, dcl=True),
    variant("sim_reg", 6, 2.66, 0.0, sim_reg=0.7),
    variant("all", 5, 2.66, 1.0, elp=True, dcl=True, sim_reg=10.0),
]
FLOAT32 = [
    float32("inside", 3.0, 1.0, True),
    float32("overflow", 4.605170185988092, 20.0, True),
    float32("overflow", 4.605170185988092, 20.0, False),
    float32("underflow", 4.605170185988092, 0.0, True),
    float32("underflow", 4.605170185988092, 0.0, False),
]
POSITIVES = [
    positives(loss_name, kind, log_scale, -10.0, alike)
    for loss_name in ("clip", "dcl", "siglip")
    for kind in ("labels", "texts")
    for log_scale, alike in ((2.66, 0.0), (4.605170185988092, 3.0))
]
golden = {
    "origin": f"tests/golden/clip_variants.py, torch {torch.__version__}, x-clip {version('x-clip')}",
    "labels": LABELS,
    "ids": IDS,
    "x_clip": VARIANTS,
    "float32": FLOAT32,
    "positives": POSITIVES,
}
text = json.dumps(golden).replace('{"name"', '\n{"name"').replace('{"loss_name"', '\n{"loss_name"')
pathlib.Path(__file__).with_suffix(".json").write_text(text + "\n")
for case in FLOAT32:
    print({key: case[key] for key in ("name", "dcl", "x_clip", "x_clip_double", "right")})
