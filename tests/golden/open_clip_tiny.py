"""Writes open_clip_tiny.safetensors: a tiny CLIP of open_clip, what it computes, its gradients, and its weights after three AdamW steps.

Run with a Python that has torch and open_clip_torch; versions go into the file's metadata. Tensors:

  NAME          initial weights under open_clip's names. Vectors are moved off their initial 0 and 1, so that a forgotten bias shows
  images, ids   the batch: [4, 3, 16, 16] and [4, 8]; the end token 31 is the largest id and ends each row at another place
  image, text   [4, 8] embeddings, not normalised
  image_tokens  [4, 4, 16] tokens before the projection, text_tokens [4, 8, 16]
  loss          of ClipLoss; grad.NAME its gradients
  quick.image, quick.text, quick.loss   the same weights with quick GELU
  average.image the same weights, pooled as the mean over the patches
  step3.NAME    weights after 3 steps on this batch; losses: the loss before each of them
"""

import json
import math
from pathlib import Path

import open_clip
import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from safetensors.torch import save_file

VISION = {"image_size": 16, "patch_size": 8, "width": 16, "layers": 2, "head_width": 8, "mlp_ratio": 2.0}
TEXT = {"context_length": 8, "vocab_size": 32, "width": 16, "heads": 2, "layers": 2, "mlp_ratio": 2.0}
EMBED, END, STEPS = 8, 31, 3
ADAMW = {"lr": 1e-3, "betas": (0.9, 0.98), "eps": 1e-6, "weight_decay": 0.2}


def build(quick_gelu, tokens=False, pool="tok"):
    vision, text = {**VISION, "output_tokens": tokens, "pool_type": pool}, {**TEXT, "output_tokens": tokens}
    return CLIP(EMBED, vision, text, quick_gelu=quick_gelu).train()


def batch():
    images = torch.randn(4, 3, 16, 16)
    ids = torch.zeros(4, 8, dtype=torch.int64)
    for row, length in enumerate([3, 8, 5, 6]):
        ids[row, :length] = torch.randint(1, END - 1, (length,))
        ids[row, 0], ids[row, length - 1] = END - 1, END
    return images, ids


def loss_of(model, images, ids):
    image, text = model.encode_image(images, normalize=True), model.encode_text(ids, normalize=True)
    return ClipLoss()(image, text, model.logit_scale.exp())


def no_decay(name, parameter):
    # The rule of open_clip's trainer.
    return parameter.ndim < 2 or any(part in name for part in ("bn", "ln", "bias", "logit_scale"))


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = build(False)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 1:
                parameter += 0.1 * torch.randn_like(parameter)
    images, ids = batch()
    out = {name: value.clone() for name, value in model.state_dict().items()}

    with torch.no_grad():
        out |= {"images": images, "ids": ids, "image": model.encode_image(images), "text": model.encode_text(ids)}
        quick = build(True)
        quick.load_state_dict(model.state_dict())
        out |= {"quick.image": quick.encode_image(images), "quick.text": quick.encode_text(ids), "quick.loss": loss_of(quick, images, ids)}
        average = build(False, pool="avg")
        average.load_state_dict(model.state_dict())
        out["average.image"] = average.encode_image(images)
        with_tokens = build(False, tokens=True)
        with_tokens.load_state_dict(model.state_dict())
        out["image_tokens"] = with_tokens.visual(images)[1]
        text = with_tokens.token_embedding(ids) + with_tokens.positional_embedding
        out["text_tokens"] = with_tokens.ln_final(with_tokens.transformer(text, attn_mask=with_tokens.attn_mask))

    named = list(model.named_parameters())
    optimizer = torch.optim.AdamW(
        [
            {"params": [p for n, p in named if no_decay(n, p)], "weight_decay": 0.0},
            {"params": [p for n, p in named if not no_decay(n, p)]},
        ],
        **ADAMW,
    )
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, images, ids)
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            out["loss"] = loss.detach().clone()
            out |= {f"grad.{name}": parameter.grad.clone() for name, parameter in named}
        optimizer.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
    out["losses"] = torch.stack(losses)
    out |= {f"step{STEPS}.{name}": parameter.detach().clone() for name, parameter in named}

    metadata = {
        "script": Path(__file__).name,
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "config": json.dumps({"embed_dim": EMBED, "vision_cfg": VISION, "text_cfg": TEXT, "adamw": ADAMW}),
    }
    path = Path(__file__).with_suffix(".safetensors")
    save_file({name: value.contiguous() for name, value in out.items()}, path, metadata)
    path.chmod(0o644)


if __name__ == "__main__":
    main()
