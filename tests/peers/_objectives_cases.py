"""What a comparison of an objective with another program is made of, and the random numbers for it."""

import dataclasses
import json
import typing
import zlib

import torch

import _objectives_reference as ref


@dataclasses.dataclass
class Shape:
    rows: int
    embed: int
    image: int
    text: int
    log_scale: float
    # How much of an image is its text.
    alike: float


SHAPES = [Shape(6, 8, 6, 5, 2.6592600369327783, 0.0), Shape(17, 32, 24, 40, 1.0, 0.5), Shape(40, 64, 48, 32, 3.4, 0.3)]


@dataclasses.dataclass
class Case:
    """An objective with options, and what it should give."""

    objective: str
    reference: str
    # (draw, shape) to the tensors of the file.
    inputs: typing.Callable
    # (leaves, what came out of `try`) to the reference's loss.
    loss: typing.Callable
    options: dict = dataclasses.field(default_factory=dict)
    metadata: dict = dataclasses.field(default_factory=dict)
    # Parameters that the reference does not have: their gradients are not compared.
    beyond: tuple = ()
    # The reference's loss is `scale` times ours and `shift` more.
    scale: float = 1.0
    shift: float = 0.0
    note: str = ""

    @property
    def name(self):
        options = ", ".join(f"{key} = {json.dumps(value)}" for key, value in self.options.items())
        return self.objective + (f" ({options})" if options else "") + (f", {self.note}" if self.note else "")


class Draw:
    """Random numbers that the name of a case and the place of its shape determine, as single precision has them."""

    def __init__(self, name, at):
        self.generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {at}".encode()))

    def normal(self, *shape, size=1.0):
        return torch.randn(*shape, generator=self.generator) * size

    def integers(self, low, high, *shape):
        return torch.randint(low, high, shape, generator=self.generator)

    def lengths(self, rows, least, most):
        """`[rows, most]`: the first tokens of each row; one row has all of them."""
        lengths = self.integers(least, most + 1, rows)
        lengths[0] = most
        return torch.arange(most) < lengths[:, None]

    def head(self, prefix, widths, last_norm=False):
        made = {}
        for at, (into, out) in enumerate(zip(widths, widths[1:])):
            linear, norm = f"{prefix}.linears.{at}", f"{prefix}.norms.{at}"
            made |= {f"{linear}.weight": self.normal(out, into, size=into**-0.5), f"{linear}.bias": self.normal(out, size=0.1)}
            if at + 2 < len(widths) or last_norm:
                made |= {f"{norm}.weight": 1 + self.normal(out, size=0.2), f"{norm}.bias": self.normal(out, size=0.1)}
        return made


def pairs(draw, shape, images=("main",), texts=("main",)):
    """Embeddings of views, and a scale."""
    made = {f"text.{view}": draw.normal(shape.rows, shape.embed, size=2.0) for view in texts}
    common = made[f"text.{texts[0]}"]
    made |= {f"image.{view}": draw.normal(shape.rows, shape.embed) + shape.alike * common for view in images}
    return made | {"logit_scale": torch.tensor(shape.log_scale)}


def main_pair(x):
    return x["image.main"], x["text.main"], x["logit_scale"]


MANY = [["main", "main"], ["main", "eda"], ["alt", "main"]]


def many(draw, shape):
    return pairs(draw, shape, ("main", "alt"), ("main", "eda"))


def over_pairs(loss):
    """The mean over `MANY`."""
    return lambda x, _: ref.mean(loss(x[f"image.{image}"], x[f"text.{text}"], x["logit_scale"]) for image, text in MANY)
