"""Writes retrieval.json: get_clip_metrics of open_clip on random features, and the recalls of clip_benchmark where pictures have several texts.

Run in an environment with torch, open_clip_torch and clip_benchmark: python tests/golden/retrieval.py
"""
import importlib.metadata
import json
import pathlib

import torch
import torch.nn.functional as F
from clip_benchmark.metrics.zeroshot_retrieval import batchify, recall_at_k
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


SEVERAL = [
    # name, texts of each picture, width, how alike the pairs are
    ("five each", [5] * 12, 6, 0.4),
    ("one to seven", [1, 7, 2, 3, 1, 5, 4, 2, 6], 5, 0.8),
]


def several(name, counts, width, alike):
    owner = [picture for picture, count in enumerate(counts) for _ in range(count)]
    image = torch.randn(len(counts), width)
    text = torch.randn(len(owner), width) + alike * image[owner]
    scores = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).t()
    positive = torch.zeros_like(scores, dtype=bool)
    positive[torch.arange(len(scores)), owner] = True
    metrics = {}
    for k in [1, 5]:
        for to, x, y in [("text_to_image", scores, positive), ("image_to_text", scores.T, positive.T)]:
            recall = batchify(recall_at_k, x, y, 4, "cpu", k=k)
            metrics[f"{to}_R@{k}"] = float((recall > 0).float().mean())
    return {"name": name, "counts": counts, "image": image.tolist(), "text": text.tolist(), "metrics": metrics}


torch.manual_seed(0)
version = importlib.metadata.version
golden = {
    "origin": f"tests/golden/retrieval.py, torch {torch.__version__}, open_clip_torch {version('open_clip_torch')}, "
    f"clip_benchmark {version('clip_benchmark')}",
    "cases": [case(*row) for row in CASES],
    "several": [several(*row) for row in SEVERAL],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
