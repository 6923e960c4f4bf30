"""Writes simclr.json: NT-Xent, SimCLR and BYOL with gradients, by the packages that define them.

Usage: python simclr.py, in an environment with torch, lightly, x-clip and byol-pytorch.

`nt_xent`: the loss alone, on random vectors in double precision. `slip_a`, `slip_b` and `slip` are the halves and the mean of SIMCLRLoss of
facebookresearch/SLIP (losses.py, commit d1de3e7), restated for one process; `lightly` is NTXentLoss of lightly, `x_clip` is nt_xent_loss of
x-clip on unit vectors. They must agree; the gradients are lightly's.
`simclr`: the same behind SLIP's head (models.py, `_build_mlp`), which sees each view alone.
`byol`: loss function and MLPs of byol-pytorch. `loss` is with each view alone in the heads, as in the code of BYOL's authors; `joined` is what
byol-pytorch's own class gives, whose batch norms see both views at once. `moved` holds the target projector after the class moved it.

Weights and features are a function of their names (known.py); the file holds what came out.
"""

import collections
import json
import pathlib
from importlib.metadata import version

import byol_pytorch
import known
import lightly.loss
import torch
import torch.nn.functional as F
from byol_pytorch.byol_pytorch import MLP, cosine_loss_fn
from torch import nn
from x_clip.visual_ssl import nt_xent_loss

torch.set_num_threads(1)
WIDTH, ROWS = 12, 6


def table(name, shape):
    """Features as float32 has them."""
    count = torch.Size(shape).numel()
    return torch.tensor(known.numbers(name, count)).float().reshape(shape).double() * 2


def listed(tensor):
    return [float(f"{x:.9g}") for x in tensor.detach().reshape(-1).tolist()]


def slip(a, b, temperature):
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    right = torch.arange(len(a))
    masks = F.one_hot(right, len(a)) * 1e9
    half = lambda x, y: F.cross_entropy(torch.cat([x @ y.T / temperature, x @ x.T / temperature - masks], 1), right)
    return half(a, b), half(b, a)


def same(first, *others):
    for other in others:
        assert abs(first.item() - other.item()) <= 1e-9 * max(1, abs(first.item())), (first, other)


def nt_xent(name, rows, width, temperature, alike):
    a = table(f"{name}.a", (rows, width))
    b = (table(f"{name}.b", (rows, width)) + alike * a).float().double()
    a.requires_grad_(), b.requires_grad_()
    loss_a, loss_b = slip(a, b, temperature)
    theirs = lightly.loss.NTXentLoss(temperature=temperature)(a, b)
    clips = nt_xent_loss(F.normalize(a, dim=-1), F.normalize(b, dim=-1), temperature=temperature)
    same((loss_a + loss_b) / 2, theirs, clips)
    theirs.backward()
    case = {"name": name, "rows": rows, "width": width, "temperature": temperature, "alike": alike}
    case |= {"slip_a": loss_a.item(), "slip_b": loss_b.item(), "slip": ((loss_a + loss_b) / 2).item()}
    case |= {"lightly": theirs.item(), "x_clip": clips.item()}
    return case | {"gradients": {"a": listed(a.grad), "b": listed(b.grad)}}


def fill(prefix, mlp):
    """Known values under our names; returns the parameters by them."""
    ours = {}
    layers = [layer for layer in mlp if not isinstance(layer, nn.ReLU)]
    for at, layer in enumerate(layers):
        kind = "norms" if isinstance(layer, nn.BatchNorm1d) else "linears"
        for name, parameter in layer.named_parameters():
            ours[f"{prefix}.{kind}.{at // 2}.{name}"] = parameter
    with torch.no_grad():
        for name, parameter in ours.items():
            parameter.copy_(known.value(name, tuple(parameter.shape)))
    return ours


def gradients(leaves):
    return {name: listed(leaf.grad) for name, leaf in leaves.items()}


def views():
    a, b = (table(f"features.{view}", (ROWS, WIDTH)).requires_grad_() for view in "ab")
    return {"features.a": a, "features.b": b}


def simclr(name, hidden, out, temperature):
    widths = [WIDTH, *hidden, out]
    layers = []
    for at, (into, to) in enumerate(zip(widths, widths[1:])):
        layers += [nn.Linear(into, to)]
        if at < len(hidden):
            layers += [nn.BatchNorm1d(to), nn.ReLU(inplace=True)]
    head = nn.Sequential(*layers).double()
    leaves = fill("objective.projector", head)
    features = views()
    a, b = head(features["features.a"]), head(features["features.b"])
    loss_a, loss_b = slip(a, b, temperature)
    same((loss_a + loss_b) / 2, lightly.loss.NTXentLoss(temperature=temperature)(a, b))
    ((loss_a + loss_b) / 2).backward()
    case = {"name": name, "options": {"hidden": hidden, "out": out, "temperature": temperature}}
    return case | {"loss": ((loss_a + loss_b) / 2).item(), "gradients": gradients(leaves | features)}


class Flat(nn.Module):
    """Pictures of 3 x 2 x 2 are features of width 12."""

    def __init__(self):
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return x.flatten(1) + self.nothing


def byol(name, hidden, out, momentum):
    heads = {
        "projector": MLP(WIDTH, out, hidden).double(),
        "predictor": MLP(out, out, hidden).double(),
        "target": MLP(WIDTH, out, hidden).double(),
    }
    leaves = {}
    for place, head in heads.items():
        made = fill(f"objective.{place}", head)
        if place != "target":
            leaves |= made
    features = views()
    a, b = features["features.a"], features["features.b"]
    average_a, average_b = (table(f"average.{view}", (ROWS, WIDTH)) for view in "ab")
    online = lambda x: heads["predictor"](heads["projector"](x))
    with torch.no_grad():
        target_a, target_b = heads["target"](average_a), heads["target"](average_b)
    loss = (cosine_loss_fn(online(a), target_b) + cosine_loss_fn(online(b), target_a)).mean()
    loss.backward()
    case = {"name": name, "options": {"hidden": hidden, "out": out, "momentum": momentum, "momentum_end": momentum}}
    case |= {"loss": loss.item(), "gradients": gradients(leaves | features)}

    # The class. Its towers do nothing, so that its target reads what the online half reads.
    seen = iter(())
    learner = byol_pytorch.BYOL(
        Flat(), image_size=2, hidden_layer=-1, projection_size=out, projection_hidden_size=hidden, augment_fn=lambda x: next(seen, x),
        augment_fn2=lambda x: next(seen, x), moving_average_decay=momentum, use_simplicial_embeddings=False, sync_batchnorm=False,
    )
    learner = learner.double()
    pictures = [x.detach().reshape(ROWS, 3, 2, 2).requires_grad_() for x in (a, b)]
    seen = iter(pictures)
    fill("objective.projector", learner.online_encoder.projector)
    fill("objective.predictor", learner.online_predictor)
    target = fill("objective.target", learner.target_encoder.projector)
    joined = learner(pictures[0])
    joined.backward()
    learner.update_moving_average()
    case["joined"] = {"loss": joined.item(), "gradients": {f"features.{v}": listed(x.grad) for v, x in zip("ab", pictures)}}
    # `update_moving_average` gives each parameter another tensor.
    names = collections.OrderedDict(zip(target, (p for p in learner.target_encoder.projector.parameters())))
    case["moved"] = {name: listed(parameter) for name, parameter in names.items()}
    return case


golden = {
    "origin": f"tests/golden/simclr.py, torch {torch.__version__}, lightly {version('lightly')}, x-clip {version('x-clip')}, "
    f"byol-pytorch {version('byol-pytorch')}",
    "nt_xent": [
        nt_xent("start", 6, 8, 0.1, 0.0),
        nt_xent("warm", 5, 8, 1.0, 0.5),
        nt_xent("cold", 7, 8, 0.02, 0.0),
        nt_xent("trained", 8, 16, 0.1, 5.0),
        nt_xent("end", 8, 16, 0.04, 30.0),
        nt_xent("two", 2, 4, 0.1, 0.0),
    ],
    "simclr": [simclr("slip", [16, 10], 6, 0.1), simclr("one hidden", [9], 5, 0.5), simclr("linear", [], 7, 0.1)],
    "byol": [byol("plain", 16, 6, 0.99), byol("narrow", 5, 9, 0.5)],
}
text = json.dumps(golden).replace('{"name"', '\n{"name"')
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(text + "\n")
print(path, len(text), "bytes")
for case in golden["nt_xent"] + golden["simclr"] + golden["byol"]:
    print({key: case[key] for key in ("name", "slip", "slip_a", "slip_b", "lightly", "loss") if key in case}, case.get("joined", {}).get("loss"))
