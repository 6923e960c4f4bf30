"""Writes retrieval.json: get_clip_metrics of open_clip on random features.

Run in an environment with torch and open_clip_torch: python tests/golden/retrieval.py
"""
import importlib.metadata
import json
import pathlib

import torch
import torch.nn.functional as F
from open_clip_train.train import get_clip_metrics

CASES = [
    # name, rows, width, how alike the pairs are; an even and an odd number of rows, because of the median
    ("chance", 24, 6, 0.0),
    ("trained", 31, 8, 0.7),
    ("fewer than ten", 5, 4, 0.4),
]


def case(name, rows, width, alike):
    text = torch.randn(rows, width)
    image = torch.randn(rows, width) + alike * text
    metrics = get_clip_metrics(F.normalize(image, dim=-1), F.normalize(text, dim=-1), torch.tensor(100.0))
    return {
        "name": name,
        "image": image.tolist(),
        "text": text.tolist(),
        "metrics": {key: float(value) for key, value in metrics.items()},
    }


torch.manual_seed(0)
golden = {
    "origin": f"tests/golden/retrieval.py, torch {torch.__version__}, open_clip_torch {importlib.metadata.version('open_clip_torch')}",
    "cases": [case(*row) for row in CASES],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
