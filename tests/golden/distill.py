"""Writes distill.json: the distillation part of open_clip's DistillClipLoss, with gradients, in double precision on random float32 features.

Usage: python tests/golden/distill.py, in an environment with torch and open_clip_torch.
"""

import json
import pathlib

import open_clip
import torch
import torch.nn.functional as F
from open_clip.loss import DistillClipLoss

torch.set_num_threads(1)
LN100 = 4.605170185988092
CASES = [
    # name, rows, the student's width, the teacher's, log scales of both, how alike the student's pairs are and the teacher's
    ("start", 6, 8, 5, 2.6592600369327783, LN100, 0.0, 1.0),
    ("a teacher that doubts", 7, 5, 8, 2.6592600369327783, 0.5, 0.0, 0.0),
    ("trained", 9, 8, 6, LN100, LN100, 0.6, 1.0),
    ("two rows", 2, 3, 4, 1.0, 2.0, 0.0, 0.0),
]


def pair(rows, width, alike):
    text = torch.randn(rows, width) * 2
    return torch.randn(rows, width) + alike * text, text


def listed(tensor):
    """Numbers with the nine digits that say a float32 exactly."""
    return [[float(f"{x:.9g}") for x in row] for row in tensor.tolist()]


def case(name, rows, width, teacher_width, log_scale, teacher_log_scale, alike, teacher_alike):
    student, teacher = pair(rows, width, alike), pair(rows, teacher_width, teacher_alike)
    leaves = [features.double().requires_grad_() for features in student]
    scale = torch.tensor(log_scale, dtype=torch.float32).double().requires_grad_()
    image, text = (F.normalize(features, dim=-1) for features in leaves)
    teacher_image, teacher_text = (F.normalize(features.double(), dim=-1) for features in teacher)
    teacher_scale = torch.tensor(teacher_log_scale).double().exp()
    loss = DistillClipLoss()(image, text, scale.exp(), teacher_image, teacher_text, teacher_scale, output_dict=True)["distill_loss"]
    loss.backward()
    return {
        "name": name,
        "logit_scale": log_scale,
        "teacher_log_scale": teacher_log_scale,
        "image": listed(student[0]),
        "text": listed(student[1]),
        "teacher_image": listed(teacher[0]),
        "teacher_text": listed(teacher[1]),
        "loss": loss.item(),
        "image_grad": listed(leaves[0].grad),
        "text_grad": listed(leaves[1].grad),
        "logit_scale_grad": scale.grad.item(),
    }


torch.manual_seed(0)
golden = {
    "origin": f"tests/golden/distill.py, torch {torch.__version__}, open_clip_torch {open_clip.__version__}",
    "cases": [case(*row) for row in CASES],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
