#!/usr/bin/env bash
# In bfloat16 on a CPU, PyTorch's layer norm stops adding to the gradients of its weight and bias after 256 rows.
#
# Guess:    autocast keeps what is delicate in float32, and gradients of float32 parameters are added up in float32.
# Seen:     autocast on a CPU leaves a layer norm in the kind of its input. Behind a linear layer that is bfloat16, and the gradients of weight and bias are
#           added up row by row in bfloat16, in each thread by itself: 256 + 1 is 256 there. The gradient of a bias that is the number of rows,
#           4096, comes out as 512 with two threads. On a GPU autocast computes the norm in float32.
# Versions: torch 2.11.0 (CPU), two threads.
# Hurts:    who trains in mixed precision on a CPU, by open_clip's `--precision amp_bf16` for one: of a BEiT or a ConvNeXt, norms got gradients that were half
#           of what they should be, and nothing says so. More rows, larger error; more threads, smaller error.
# VL Hub:   layer norms compute in float32 on a CPU, whatever comes in (`sdk/src/nn/layers.rs`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.4.6 || exit 2
cd "$work" && ONEDNN_MAX_CPU_ISA=AVX2 venv/bin/python - <<'PY'
import sys

import torch

torch.set_num_threads(2)
ROWS = 4096


def gradient(kind):
    """That of the bias of a norm, for a sum over rows: the number of rows."""
    linear, norm = torch.nn.Linear(8, 8), torch.nn.LayerNorm(8)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=kind == "bfloat16"):
        norm(linear(torch.randn(ROWS, 8))).sum(0).float().sum().backward()
    return norm.bias.grad[0].item()


seen = {kind: gradient(kind) for kind in ["float32", "bfloat16"]}
print(f"torch {torch.__version__}, {ROWS} rows: gradient of the bias {seen}")
sys.exit(0 if seen["float32"] == ROWS and seen["bfloat16"] < ROWS / 2 else 1)
PY
