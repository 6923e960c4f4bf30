"""Writes classify.json: losses of a linear classifier with the gradients of its features and parameters, and what mixup and cutmix do.

Usage: python tests/golden/classify.py, in an environment with torch, timm, numpy and scipy.

`cases`: timm's LabelSmoothingCrossEntropy, SoftTargetCrossEntropy behind its Mixup, and BinaryCrossEntropy; torch's cross_entropy; VL Hub's
IntLoss written out. In double precision on random float32 features. VL Hub sums over the rows too, ours is the mean over rows with a label.
`boxes`: timm's rand_bbox and its corrected lambda. `pictures`: timm's Mixup. Random draws of both are given, not drawn.
`beta`: the distribution function of Beta(alpha, alpha) by scipy.
"""

import contextlib
import json
import pathlib
from unittest import mock

import numpy
import scipy
import timm
import torch
import torch.nn.functional as F
from scipy.stats import beta
from timm.data.mixup import Mixup, cutmix_bbox_and_lam
from timm.loss import BinaryCrossEntropy, LabelSmoothingCrossEntropy, SoftTargetCrossEntropy

torch.set_num_threads(1)
WIDTH, CLASSES = 5, 7
ONE = [[3], [0], [6], [3], [5], [1]]
SEVERAL = [[0, 3, -1], [5, -1, -1], [2, 1, 4], [6, 0, -1], [4, -1, -1], [3, -1, -1]]
SOME = [[0, 3, -1], [-1, -1, -1], [2, 1, 4], [6, -1, -1], [-1, -1, -1]]


def listed(values):
    """Numbers with the nine digits that say a float32 exactly."""
    return [listed(value) for value in values] if isinstance(values, list) else float(f"{values:.9g}")


def labels_of(rows):
    return [[label for label in row if label >= 0] for row in rows]


def hot(rows):
    target = torch.zeros(len(rows), CLASSES, dtype=torch.float64)
    for row, labels in enumerate(labels_of(rows)):
        target[row, labels] = 1
    return target


@contextlib.contextmanager
def drawn(lam, at=(0, 0)):
    """The draws of timm's Mixup: lambda, and the middle of the box, first y and then x."""
    with mock.patch("numpy.random.beta", return_value=lam), mock.patch("numpy.random.randint", side_effect=at):
        yield


def mixed_target(rows, lam, smoothing):
    mixup = Mixup(mixup_alpha=1.0, label_smoothing=smoothing, num_classes=CLASSES)
    with drawn(lam):
        _, target = mixup(torch.zeros(len(rows), 3, 2, 2), torch.tensor(rows).squeeze(1))
    return target.double()


def mixed_hot(rows, lam):
    mixup = Mixup(mixup_alpha=1.0, label_smoothing=0.0, num_classes=CLASSES, multi_label=True)
    with drawn(lam):
        return mixup(torch.zeros(len(rows), 3, 2, 2), hot(rows))[1].double()


def sum_over_labels(logits, rows):
    """VL Hub's loss for several labels a row."""
    pairs = [(row, label) for row, labels in enumerate(labels_of(rows)) for label in labels]
    return sum(F.cross_entropy(logits[row : row + 1], torch.tensor([label])) for row, label in pairs)


def flat(logits, rows, **how):
    pairs = [(row, label) for row, labels in enumerate(labels_of(rows)) for label in labels]
    return F.cross_entropy(logits[[row for row, _ in pairs]], torch.tensor([label for _, label in pairs]), **how)


def shares(logits, rows, **how):
    target = hot(rows)
    counted = target.sum(1) > 0
    return F.cross_entropy(logits[counted], (target / target.sum(1, keepdim=True))[counted], **how)


def single(rows):
    return torch.tensor(rows).squeeze(1)


CASES = [
    # name, labels, our options, lambda of a mixed batch, the reference's loss of logits
    ("torch cross_entropy", ONE, {}, None, lambda x: F.cross_entropy(x, single(ONE))),
    ("timm LabelSmoothingCrossEntropy", ONE, {"label_smoothing": 0.1}, None, lambda x: LabelSmoothingCrossEntropy(0.1)(x, single(ONE))),
    ("timm Mixup", ONE, {"mixup": 0.8}, 0.3, lambda x: SoftTargetCrossEntropy()(x, mixed_target(ONE, 0.3, 0.0))),
    (
        "timm Mixup with smoothing",
        ONE,
        {"mixup": 0.8, "label_smoothing": 0.1},
        0.65,
        lambda x: SoftTargetCrossEntropy()(x, mixed_target(ONE, 0.65, 0.1)),
    ),
    ("timm BinaryCrossEntropy", ONE, {"loss": "bce"}, None, lambda x: BinaryCrossEntropy(0.0)(x, single(ONE))),
    (
        "timm BinaryCrossEntropy with smoothing",
        ONE,
        {"loss": "bce", "label_smoothing": 0.1},
        None,
        lambda x: BinaryCrossEntropy(0.1)(x, single(ONE)),
    ),
    (
        "timm BinaryCrossEntropy, sum over classes, several labels",
        SEVERAL,
        {"loss": "bce", "sum_classes": True},
        None,
        lambda x: BinaryCrossEntropy(0.0, sum_classes=True)(x, hot(SEVERAL)),
    ),
    (
        "timm Mixup of several labels, BinaryCrossEntropy",
        SEVERAL,
        {"loss": "bce", "mixup": 0.8},
        0.4,
        lambda x: BinaryCrossEntropy(0.0)(x, mixed_hot(SEVERAL, 0.4)),
    ),
    (
        "timm Mixup with smoothing, BinaryCrossEntropy with a threshold",
        ONE,
        {"loss": "bce", "mixup": 0.8, "label_smoothing": 0.1, "target_threshold": 0.2},
        0.15,
        lambda x: BinaryCrossEntropy(0.1, target_threshold=0.2)(x, mixed_target(ONE, 0.15, 0.1)),
    ),
    ("VL Hub's sum over labels, over rows", SEVERAL, {"several": "sum"}, None, lambda x: sum_over_labels(x, SEVERAL) / len(SEVERAL)),
    ("VL Hub's sum, some rows without a label", SOME, {"several": "sum"}, None, lambda x: sum_over_labels(x, SOME) / 3),
    ("torch cross_entropy of shares", SOME, {}, None, lambda x: shares(x, SOME)),
    (
        "torch cross_entropy of shares with smoothing",
        SEVERAL,
        {"label_smoothing": 0.2},
        None,
        lambda x: shares(x, SEVERAL, label_smoothing=0.2),
    ),
    ("torch cross_entropy, a row for each label", SOME, {"several": "each"}, None, lambda x: flat(x, SOME)),
    (
        "torch cross_entropy, a row for each label, with smoothing",
        SEVERAL,
        {"several": "each", "label_smoothing": 0.2},
        None,
        lambda x: flat(x, SEVERAL, label_smoothing=0.2),
    ),
]


def case(name, labels, options, lam, loss_of):
    pooled, weight, bias = torch.randn(len(labels), WIDTH) * 2, torch.randn(CLASSES, WIDTH), torch.randn(CLASSES)
    leaves = {"pooled": pooled, "weight": weight, "bias": bias}
    live = {name: leaf.double().requires_grad_() for name, leaf in leaves.items()}
    loss = loss_of(live["pooled"] @ live["weight"].T + live["bias"])
    loss.backward()
    return {
        "name": name,
        "options": {"classes": CLASSES} | options,
        "labels": labels,
        "lambda": lam,
        "loss": loss.item(),
        "inputs": {name: listed(leaf.tolist()) for name, leaf in leaves.items()},
        "gradients": {name: listed(leaf.grad.tolist()) for name, leaf in live.items()},
    }


def box(height, width, lam, y, x):
    with drawn(lam, (y, x)):
        (top, bottom, left, right), corrected = cutmix_bbox_and_lam((3, height, width), lam)
    given = {"height": height, "width": width, "lambda": lam, "at": [y, x]}
    return given | {"box": [int(value) for value in (top, bottom, left, right)], "corrected": float(corrected)}


def boxes():
    for height, width in [(7, 5), (4, 4), (224, 224)]:
        for lam in [0.0, 0.05, 0.36, 0.5, 0.93, 0.9999]:
            for y, x in [(0, 0), (height // 2, width // 2), (height - 1, width // 3)]:
                yield box(height, width, lam, y, x)


def picture(lam, at):
    images = torch.randn(4, 3, 5, 4)
    mixup = Mixup(mixup_alpha=0.0 if at else 1.0, cutmix_alpha=1.0 if at else 0.0, label_smoothing=0.0, num_classes=4)
    with drawn(lam, at or (0, 0)):
        out, target = mixup(images.clone(), torch.tensor([0, 1, 2, 3]))
    # Of four rows with a class each, row 0 keeps `share` of its own.
    share = float(target[0, 0])
    return {"lambda": lam, "at": at, "images": listed(images.tolist()), "mixed": listed(out.tolist()), "share": share}


torch.manual_seed(0)
versions = f"torch {torch.__version__}, timm {timm.__version__}, numpy {numpy.__version__}, scipy {scipy.__version__}"
golden = {
    "origin": f"tests/golden/classify.py, {versions}",
    "cases": [case(*row) for row in CASES],
    "boxes": list(boxes()),
    "pictures": [picture(0.3, None), picture(1.0, None), picture(0.6, (2, 1)), picture(0.2, (4, 3))],
    "beta": [
        {"alpha": alpha, "x": x, "below": float(beta.cdf(x, alpha, alpha))}
        for alpha in (0.1, 0.2, 0.8, 1.0, 4.0)
        for x in (0.001, 0.05, 0.3, 0.5, 0.8)
    ],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden) + "\n")
