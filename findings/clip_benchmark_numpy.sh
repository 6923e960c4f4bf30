#!/usr/bin/env bash
# CLIP_benchmark's zero-shot classification ends with a TypeError under current NumPy.
#
# Guess:    `pip install clip-benchmark` gives a program that measures a classification data set: its newest release asks for no version of NumPy.
# Seen:     its `accuracy` turns an array of one element and one dimension into a number by `float`, which was a warning since NumPy 1.25 and is an
#           error since 2.4: every classification ends after all pictures are encoded, before a number is written. With NumPy 2.3 the same call
#           gives a warning and the right number. Retrieval is not affected.
# Versions: clip-benchmark 1.6.2, numpy 2.4.6 against 2.3.5, torch 2.11.0.
# Hurts:    whoever installs it today and evaluates a large data set: the error comes after the work.
# VL Hub:   writes result files that its `build` reads (`eval --output`), and has the same numbers without it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
  "$work/venv/bin/pip" install --quiet torch==2.11.0 clip-benchmark==1.6.2 requests==2.34.2 numpy==2.4.6 || exit 2
cat > "$work/measure.py" <<'PY'
import sys
import warnings

import numpy
import torch
from clip_benchmark.metrics.zeroshot_classification import accuracy

warnings.simplefilter("ignore")
scores, labels = torch.eye(5), torch.tensor([0, 1, 2, 3, 0])
try:
    said = accuracy(scores, labels, topk=(1, 5))
except TypeError as error:
    said = f"TypeError: {error}"
print(f"numpy {numpy.__version__}: {said}")
wanted = sys.argv[1]
sys.exit(0 if str(said).startswith(wanted) else 1)
PY
cd "$work"
venv/bin/python measure.py "TypeError" || { echo "NOT as stated"; exit 1; }
venv/bin/pip install --quiet numpy==2.3.5 || exit 2
venv/bin/python measure.py "[0.8, 1.0]" || { echo "NOT as stated"; exit 1; }
echo "as stated"
