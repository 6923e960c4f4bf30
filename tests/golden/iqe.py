"""Writes iqe.json: interval quasimetric distances of torchqmet, and losses and gradients made of them, on random features.

`cases` hold torchqmet's distances d(image i, text j) and d(text i, image j), and the loss whose logits are minus the scale times their mean.
`vlhub` holds what VL Hub's ClipLossIQE gives for the same kind of input. Both are run in double precision on numbers that single precision
holds exactly.

Needs checkouts of quasimetric-learning/torch-quasimetric (0365394) and penfever/vlhub (fe468a4), and an environment with torch:
python tests/golden/iqe.py TORCH_QUASIMETRIC VLHUB
"""
import importlib.util
import json
import pathlib
import sys
import types

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
QUASIMETRIC, VLHUB = sys.argv[1:]
sys.path.insert(0, QUASIMETRIC)
import torchqmet  # noqa: E402

CASES = [
    # name, rows, width, component, reduction, log scale, how alike the pairs are
    ("start", 6, 32, 16, "sum", 2.6592600369327783, 0.0),
    ("trained", 7, 24, 8, "sum", 1.5, 1.0),
    ("one component", 5, 12, 12, "sum", 3.0, 0.5),
    ("maxmean", 6, 32, 8, "maxmean", 2.5, 0.3),
]


def vlhub():
    """VL Hub's loss.py, without the package around it."""
    package, utils = types.ModuleType("vlhub_losses"), types.ModuleType("vlhub_losses.utils")
    package.__path__, utils.all_gather_batch_with_grad, utils.GatherLayer = [], None, None
    sys.modules |= {package.__name__: package, utils.__name__: utils}
    path = pathlib.Path(VLHUB) / "src/open_clip/loss.py"
    spec = importlib.util.spec_from_file_location("vlhub_losses.loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(rows, width, log_scale, alike):
    text = torch.randn(rows, width) * 2
    image = torch.randn(rows, width) + alike * text
    image, text = image.double().requires_grad_(), text.double().requires_grad_()
    return image, text, torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)


def outcome(loss, image, text, scale):
    loss.backward()
    return {
        "logit_scale": scale.item(),
        "image": image.tolist(),
        "text": text.tolist(),
        "loss": loss.item(),
        "image_grad": image.grad.tolist(),
        "text_grad": text.grad.tolist(),
        "logit_scale_grad": scale.grad.item(),
    }


def case(name, rows, width, component, reduction, log_scale, alike):
    image, text, scale = inputs(rows, width, log_scale, alike)
    metric = torchqmet.IQE(width, component, reduction=reduction).double()
    units = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    there = metric(units[0][:, None], units[1])
    back = metric(units[1][:, None], units[0])
    logits = -scale.exp() * (0.5 * there + 0.5 * back.T)
    right = torch.arange(rows)
    loss = 0.5 * F.cross_entropy(logits, right) + 0.5 * F.cross_entropy(logits.T, right)
    out = {"name": name, "component": component, "reduce": reduction, "there": there.tolist(), "back": back.tolist()}
    out |= outcome(loss, image, text, scale)
    if reduction == "maxmean":
        out |= {"raw_alpha": metric.reduction.raw_alpha.item(), "raw_alpha_grad": metric.reduction.raw_alpha.grad.item()}
    return out


def vlhub_case(name, rows, width, log_scale, alike):
    image, text, scale = inputs(rows, width, log_scale, alike)
    loss = vlhub().ClipLossIQE()(F.normalize(image, dim=-1), F.normalize(text, dim=-1), scale.exp())
    return {"name": name, "component": 16, "reduce": "sum"} | outcome(loss, image, text, scale)


torch.manual_seed(0)
golden = {
    "origin": f"tests/golden/iqe.py, torch {torch.__version__}, torchqmet {torchqmet.__version__} (0365394), VL Hub fe468a4",
    "cases": [case(*row) for row in CASES],
    "vlhub": [vlhub_case("start", 6, 32, 2.6592600369327783, 0.0), vlhub_case("trained", 5, 16, 3.5, 3.0)],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
