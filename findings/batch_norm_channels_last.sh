#!/usr/bin/env bash
# With channels last, PyTorch's batch norm on the CPU adds up its statistics in float32, one place after the other.
#
# Guess:    `channels_last` is a layout: the numbers of a layer stay the same to the usual rounding of float32, 1e-7.
# Seen:     for 16 maps of 112 x 112 places the running variance is 1e-5 off what double precision gives, and 3e-8 with the default layout; the more
#           places and rows there are, the worse. Outputs and gradients follow. A randomly initialised RN50 of open_clip has gradients 2e-3 from those of
#           double precision, and 4e-4 with the default layout.
# Versions: torch 2.11.0 (CPU), two threads.
# Hurts:    who turns channels_last on for the speed (a fifth of a ResNet's step, 1.8 times for an EfficientNet) and then compares gradients with a run
#           that has the default layout, or calibrates running statistics with large batches on a CPU.
# VL Hub:   convolutional towers use channels last on a GPU alone (`sdk/src/nn/conv.rs`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.4.6 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys

import torch

torch.manual_seed(0)
# More threads add up shorter sums.
torch.set_num_threads(2)
x = torch.randn(16, 64, 112, 112)


def variance(x):
    """The variance of each channel, as a batch norm keeps it."""
    mean, kept = torch.zeros(64, dtype=x.dtype), torch.ones(64, dtype=x.dtype)
    torch.nn.functional.batch_norm(x, mean, kept, training=True, momentum=1.0)
    return kept.double()


exact = variance(x.double())
off = {name: ((variance(given) - exact).norm() / exact.norm()).item() for name, given in
       [("default layout", x), ("channels last", x.contiguous(memory_format=torch.channels_last))]}
print(f"torch {torch.__version__}: " + ", ".join(f"{name}: variance off by {error:.1e}" for name, error in off.items()))
sys.exit(0 if off["default layout"] < 1e-6 and off["channels last"] > 3e-6 else 1)
PY
