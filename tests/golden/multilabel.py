"""Writes multilabel.json: the average precision of each class as clip_benchmark computes it, and scikit-learn's where scores are equal.

Run in an environment with torch, clip_benchmark and scikit-learn: python tests/golden/multilabel.py
"""
import importlib.metadata
import json
import pathlib

import torch
from clip_benchmark.metrics.zeroshot_classification import average_precision_per_class
from sklearn.metrics import average_precision_score

torch.manual_seed(0)
cases = []
for name, rows, classes, share in [("few", 9, 4, 0.4), ("rare", 60, 3, 0.05), ("a class that nothing has", 20, 2, 0.0)]:
    targets = (torch.rand(rows, classes) < share).int()
    scores = torch.randn(rows, classes) + targets
    values = average_precision_per_class(scores, targets)
    cases.append({"name": name, "scores": scores.tolist(), "targets": targets.tolist(), "average_precision": values.tolist()})
targets = (torch.rand(40, 3) < 0.3).int()
scores = (torch.randn(40, 3) + targets).round()
values = [average_precision_score(targets[:, at].numpy(), scores[:, at].numpy()) for at in range(3)]
cases.append({"name": "equal scores", "scores": scores.tolist(), "targets": targets.tolist(), "average_precision": values})

version = importlib.metadata.version
origin = f"tests/golden/multilabel.py, torch {torch.__version__}, clip_benchmark {version('clip_benchmark')}, scikit-learn {version('scikit-learn')}"
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps({"origin": origin, "cases": cases}))
