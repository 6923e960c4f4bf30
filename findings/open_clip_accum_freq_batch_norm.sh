#!/usr/bin/env bash
# open_clip's gradient accumulation moves running statistics of batch norm twice for each batch.
#
# Guess:    the first pass of `--accum-freq`, which only collects features without gradients, leaves the model as it is; each batch moves the
#           statistics once.
# Seen:     the model stays in training mode in both passes, so k joined batches move the statistics 2k times where one large batch moves them once:
#           they forget at 1 - 0.9^(2k) a step instead of 0.1 (57 % for k = 4). The gradients are those of the k batches' own statistics, far
#           from the large batch's, which no option of open_clip changes.
# Versions: open_clip_torch 3.3.0, torch 2.11.0, CPU; towers of the RN50 family.
# Hurts:    whoever trains RN50, RN101, … with accumulation, evaluates by these statistics, or continues such a run here.
# VL Hub:   a chunk moves them once (what the first pass moved is put back), a run warns that chunks have statistics of their own, and
#           `freeze_bn_stats = "all"` makes chunks exact.
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

joined, rows = 4, 16


class Loader(list):
    num_batches, num_samples = joined, rows


loader = Loader()
data = SimpleNamespace(dataloader=loader, set_epoch=lambda epoch: None)
torch.manual_seed(0)
resnet = {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8}
model = CLIP(16, resnet, {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}, output_dict=True)
images, texts = torch.randn(rows, 3, 32, 32), torch.randint(1, 64, (rows, 8))
loader.extend(zip(images.chunk(joined), texts.chunk(joined)))
first = model.visual.bn1
# Layers before it have no statistics: what it is given for a batch does not change during the step.
seen = []
first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().mean(dim=(0, 2, 3))))
options = SimpleNamespace(
    device="cpu", precision="fp32", accum_freq=joined, batch_size=rows // joined, skip_scheduler=True, distill=False, horovod=False,
    grad_clip_norm=None, wandb=False, log_every_n_steps=1, rank=0, local_rank=0, world_size=1, log_local=False,
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
train_one_epoch(model, {"train": data}, ClipLoss(), 0, optimizer, None, None, None, options)
tracked, wanted = first.num_batches_tracked.item(), torch.zeros_like(first.running_mean)
for mean in seen:
    wanted = 0.9 * wanted + 0.1 * mean
off = (first.running_mean - wanted).abs().max().item()
print(f"{joined} batches, one step: statistics moved {tracked} times; running mean = that of {len(seen)} moves (off by {off:.0e})")
sys.exit(0 if tracked == len(seen) == 2 * joined and off < 1e-6 else 1)
PY
