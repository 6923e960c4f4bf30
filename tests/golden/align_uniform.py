"""Writes align_uniform.json: alignment and uniformity of random features, and their gradients.

`features` come from Wang and Isola's functions, `logits` from VL Hub's ClipLossAlignUnif. Both are run in double precision on numbers that
single precision holds exactly; `single` says what VL Hub gives in single precision, where its exponentials underflow.

Needs checkouts of ssnl/align_uniform (78ccdb1) and penfever/vlhub (fe468a4), and an environment with torch:
python tests/golden/align_uniform.py ALIGN_UNIFORM VLHUB
"""
import importlib.util
import json
import pathlib
import sys
import types

import torch
import torch.nn.functional as F

torch.set_num_threads(1)
ALIGN_UNIFORM, VLHUB = sys.argv[1:]
sys.path.insert(0, ALIGN_UNIFORM)
from align_uniform import align_loss, uniform_loss  # noqa: E402

FEATURES = [
    # name, rows, width, alpha, t, weight of alignment, weight of uniformity, how alike the pairs are, how alike all rows are
    ("start", 6, 8, 2.0, 2.0, 1.0, 1.0, 0.0, 0.0),
    ("trained", 7, 5, 2.0, 2.0, 0.75, 0.5, 3.0, 0.0),
    ("other powers", 6, 8, 1.0, 3.0, 1.0, 2.0, 1.0, 0.0),
    ("a narrow cone", 8, 16, 2.0, 2.0, 1.0, 1.0, 0.0, 50.0),
]
LOGITS = [
    # name, rows, width, log scale, how alike the pairs are
    ("small scale", 6, 8, 1.0, 0.0),
    ("start", 5, 8, 2.6592600369327783, 1.0),
]


def vlhub():
    """VL Hub's loss.py, without the package around it and what this loss does not use."""
    package, utils = types.ModuleType("vlhub_losses"), types.ModuleType("vlhub_losses.utils")
    package.__path__, utils.all_gather_batch_with_grad, utils.GatherLayer = [], None, None
    sys.modules |= {package.__name__: package, utils.__name__: utils, "torchqmet": types.ModuleType("torchqmet")}
    path = pathlib.Path(VLHUB) / "src/open_clip/loss.py"
    spec = importlib.util.spec_from_file_location("vlhub_losses.loss", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def inputs(rows, width, alike, cone=0.0):
    text = torch.randn(rows, width) * 2
    image = torch.randn(rows, width) + alike * text
    image, text = image + cone, text + cone
    return image.double().requires_grad_(), text.double().requires_grad_()


def outcome(loss, image, text):
    loss.backward()
    return {
        "image": image.tolist(),
        "text": text.tolist(),
        "loss": loss.item(),
        "image_grad": image.grad.tolist(),
        "text_grad": text.grad.tolist(),
    }


def features(name, rows, width, alpha, t, align_weight, uniform_weight, alike, cone):
    image, text = inputs(rows, width, alike, cone)
    x, y = F.normalize(image, dim=-1), F.normalize(text, dim=-1)
    align, uniform = align_loss(x, y, alpha=alpha), [uniform_loss(x, t=t), uniform_loss(y, t=t)]
    loss = align_weight * align + uniform_weight * (uniform[0] + uniform[1]) / 2
    options = {"alpha": alpha, "t": t, "align_weight": align_weight, "uniform_weight": uniform_weight}
    parts = {"align": align.item(), "uniform_image": uniform[0].item(), "uniform_text": uniform[1].item()}
    return {"name": name, "options": options} | parts | outcome(loss, image, text)


def logits(name, rows, width, log_scale, alike):
    image, text = inputs(rows, width, alike)
    scale = torch.tensor(log_scale, dtype=torch.float64, requires_grad=True)
    loss = vlhub().ClipLossAlignUnif()
    total = loss(F.normalize(image, dim=-1), F.normalize(text, dim=-1), scale.exp())
    with torch.no_grad():
        single = loss(F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1), scale.float().exp())
    out = {"name": name, "options": {"on": "logits", "init_log_scale": log_scale}, "single": str(single.item())}
    out |= outcome(total, image, text)
    return out | {"logit_scale_grad": scale.grad.item()}


torch.manual_seed(0)
golden = {
    "origin": f"tests/golden/align_uniform.py, torch {torch.__version__}, ssnl/align_uniform 78ccdb1, VL Hub fe468a4",
    "features": [features(*row) for row in FEATURES],
    "logits": [logits(*row) for row in LOGITS],
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1) + "\n")
