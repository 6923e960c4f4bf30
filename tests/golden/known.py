"""Weights and inputs that a name determines, and what a tower makes of them: golden files then hold outputs alone.

The same numbers are made in Rust by `vlhub_sdk::testkit::golden`. Use it from a script beside this one:

    import known
    tower = known.under("trunk", timm.create_model("resnet18", num_classes=0).eval())
    cases["resnet18"] = known.record(tower, known.pictures(2, 64), options={"layers": [2, 2, 2, 2]})
    known.write(__file__, cases, "timm " + timm.__version__)
"""

import json
import math
import os

import numpy
import torch


def numbers(name, count):
    """`count` numbers in (-1, 1): splitmix64 of the FNV-1a hash of the name and the index."""
    hash = 0xCBF29CE484222325
    for byte in name.encode():
        hash = ((hash ^ byte) * 0x100000001B3) % 2**64
    with numpy.errstate(over="ignore"):
        x = numpy.uint64(hash) + numpy.arange(count, dtype=numpy.uint64) * numpy.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        x = x ^ (x >> numpy.uint64(31))
    return (x >> numpy.uint64(40)).astype(numpy.float64) / 2.0**23 - 1.0


def value(name, shape):
    """What a parameter or buffer of this name holds: matrices keep the size of what they map, gains are near 1, biases near 0."""
    count = math.prod(shape)
    u = numbers(name, count)
    if name.endswith("running_var"):
        u = 1 + 0.5 * u
    elif len(shape) <= 1:
        u = 1 + 0.2 * u if name.split(".")[-1] == "weight" else 0.2 * u
    else:
        u = u * math.sqrt(3.0 * shape[0] / max(count, 1))
    return torch.tensor(u.astype(numpy.float32)).reshape(shape)


def fill(model):
    """Gives every floating-point parameter and buffer of the state its known value."""
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(value(name, tuple(tensor.shape)))
    return model


def pictures(rows, height, width=None):
    """Pictures `[rows, 3, H, W]`."""
    shape = (rows, 3, height, width or height)
    return torch.tensor(numbers("pictures", math.prod(shape)).astype(numpy.float32)).reshape(shape)


def under(prefix, model):
    """The model as a child of this name, as open_clip keeps timm's under `trunk`."""
    outer = torch.nn.Module()
    outer.add_module(prefix, model)
    outer.forward = model.forward
    return outer


def listed(tensor):
    return [float(f"{x:.7g}") for x in tensor.detach().double().reshape(-1).tolist()]


def record(model, x, options=None, forward=None, tokens=None, training=False, gradients=True):
    """A case: parameters by name with shape, the pooled output, and the norm of each parameter's gradient of Σ pooled · known."""
    fill(model)
    model.train(training)
    names = {name: list(t.shape) for name, t in model.state_dict().items() if t.is_floating_point()}
    pooled = (forward or model.forward)(x)
    case = {"options": options or {}, "shape": list(x.shape), "training": training, "parameters": names}
    if not x.is_floating_point():
        case["ids"] = x.reshape(-1).tolist()
    case["pooled_shape"], case["pooled"] = list(pooled.shape), listed(pooled)
    if tokens is not None:
        values = tokens(x)
        case["tokens_shape"], case["tokens"] = list(values.shape), listed(values[:, :3])
    if gradients:
        weights = torch.tensor(numbers("cotangent", pooled.numel()).astype(numpy.float32)).reshape(pooled.shape)
        model.zero_grad()
        (pooled * weights).sum().backward()
        case["gradients"] = {n: float(f"{p.grad.double().norm():.6g}") for n, p in model.named_parameters() if p.grad is not None}
    return case


def write(script, cases, wrote):
    """Writes the JSON file beside the script, under its name."""
    path = os.path.splitext(script)[0] + ".json"
    text = json.dumps({"written_by": f"{os.path.basename(script)}, {wrote}, torch {torch.__version__}", "cases": cases})
    assert len(text) < 200_000, f"{path} would have {len(text)} bytes; use smaller models"
    with open(path, "w") as file:
        file.write(text.replace('"options"', '\n"options"') + "\n")
    print(path, len(text), "bytes")
