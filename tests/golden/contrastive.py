"""Writes contrastive.json: losses and gradients of open_clip's ClipLoss and SigLipLoss on random features.

Run in an environment with torch and open_clip_torch: python tests/golden/contrastive.py
"""
import json
import pathlib

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import ClipLoss, SigLipLoss

CASES = [
    # loss, name, rows, width, log scale, bias, how alike the pairs are
    ("clip", "start", 6, 8, 2.6592600369327783, None, 0.0),
    ("clip", "trained", 7, 5, 4.605170185988092, None, 3.0),
    ("siglip", "start", 6, 8, 2.302585092994046, -10.0, 0.0),
    ("siglip", "trained", 7, 5, 4.2, -12.5, 3.0),
]


def case(loss_name, name, rows, width, log_scale, bias, alike):
    text = torch.randn(rows, width) * 2
    image = torch.randn(rows, width) + alike * text
    image.requires_grad_()
    text.requires_grad_()
    scale = torch.tensor(log_scale, requires_grad=True)
    offset = None if bias is None else torch.tensor(bias, requires_grad=True)
    features = F.normalize(image, dim=-1), F.normalize(text, dim=-1), scale.exp()
    loss = ClipLoss()(*features) if loss_name == "clip" else SigLipLoss()(*features, offset)
    loss.backward()
    out = {
        "loss_name": loss_name,
        "name": name,
        "logit_scale": log_scale,
        "image": image.tolist(),
        "text": text.tolist(),
        "loss": loss.item(),
        "image_grad": image.grad.tolist(),
        "text_grad": text.grad.tolist(),
        "logit_scale_grad": scale.grad.item(),
    }
    if offset is not None:
        out |= {"logit_bias": bias, "logit_bias_grad": offset.grad.item()}
    return out


torch.manual_seed(0)
golden = {
    "origin": f"tests/golden/contrastive.py, torch {torch.__version__}, open_clip_torch {open_clip.__version__}",
    "cases": [case(*row) for row in CASES],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
