#!/usr/bin/env bash
# open_clip's gradient accumulation multiplies the gradient of the logit scale by the number of batches that it joins.
#
# Guess:    `--accum-freq k` gives the gradients of one batch that is k times as large, for every parameter.
# Seen:     the towers' gradients are those (1e-7); the gradient of `logit_scale` is exactly k times too large. Each of the k passes computes the
#           whole loss and sends it back into the scale; the towers' features get a share each, the scale gets all of it k times.
# Versions: open_clip_torch 3.3.0, torch 2.11.0, CPU.
# Hurts:    Adam hides a constant factor; `--grad-clip-norm` does not, since the norm is too large and every gradient is cut more, and neither do
#           SGD, LAMB, a change of k in the middle of a run, nor who compares logged norms with VL Hub's.
# VL Hub:   `train.grad_cache` gives every parameter, the scale among them, the gradient of the whole batch (held by tests).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet torch==2.11.0 torchvision==0.26.0 open_clip_torch==3.3.0 timm==1.0.31 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys
from types import SimpleNamespace

import torch
from open_clip.loss import ClipLoss
from open_clip.model import CLIP
from open_clip_train.train import train_one_epoch

ROWS = 16


class Batches(list):
    """What the trainer takes for a data set."""

    num_samples = ROWS
    num_batches = property(len)
    dataloader = property(lambda self: self)

    def set_epoch(self, epoch):
        pass


def gradients(joined):
    """Gradients of one optimiser step over the same 16 rows, in `joined` batches."""
    torch.manual_seed(0)
    vision = {"image_size": 32, "patch_size": 8, "layers": 1, "width": 32, "head_width": 16}
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    model = CLIP(16, vision, text, output_dict=True)
    images, texts = torch.randn(ROWS, 3, 32, 32), torch.randint(1, 64, (ROWS, 8))
    options = {"device": "cpu", "precision": "fp32", "accum_freq": joined, "batch_size": ROWS // joined, "skip_scheduler": True}
    options |= {"distill": False, "horovod": False, "grad_clip_norm": None, "wandb": False, "log_every_n_steps": 1}
    options |= {"rank": 0, "local_rank": 0, "world_size": 1, "log_local": False}
    seen = {}

    class Watch(torch.optim.SGD):
        def step(self, *_, **__):
            seen.update({name: parameter.grad.clone() for name, parameter in model.named_parameters()})

    batches = Batches(zip(images.chunk(joined), texts.chunk(joined)))
    train_one_epoch(model, {"train": batches}, ClipLoss(), 0, Watch(model.parameters(), lr=0.0), None, None, None, SimpleNamespace(**options))
    return seen.pop("logit_scale"), torch.cat([gradient.flatten() for gradient in seen.values()])


scale, towers = gradients(1)
as_stated = True
for joined in (2, 4):
    joined_scale, joined_towers = gradients(joined)
    ratio, off = (joined_scale / scale).item(), ((joined_towers - towers).norm() / towers.norm()).item()
    print(f"--accum-freq {joined}: gradient of logit_scale times {ratio:.4f}, towers off by {off:.1e}")
    as_stated &= abs(ratio - joined) < 1e-3 and off < 1e-5
sys.exit(0 if as_stated else 1)
PY
