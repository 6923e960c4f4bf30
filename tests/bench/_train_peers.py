"""The other side of each case of train.py: modules and losses of open_clip, lightly and timm, on the pictures and captions that ours reads."""

import json
import typing
from dataclasses import dataclass

import open_clip
import timm
import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import ProjectionHead
from open_clip.loss import ClipLoss, CoCaLoss, SigLipLoss
from PIL import Image, ImageOps
from timm.loss import LabelSmoothingCrossEntropy
from torch import nn

from _inputs import WORDS


def same(name):
    return name


@dataclass
class Built:
    # All that is trained.
    module: nn.Module
    # The loss of the batch, by the module or what torch.compile made of it.
    loss: typing.Callable
    # What we call a parameter of the module, and what it is called in the file of weights.
    ours: typing.Callable = same
    in_file: typing.Callable = same


def pictures(folder, rows, transform, change=same):
    return torch.stack([transform(change(Image.open(folder / f"{at}.png"))) for at in range(rows)])


def captions(folder):
    return (folder / "captions.txt").read_text().splitlines()


def clip(case, folder):
    model, _, transform = open_clip.create_model_and_transforms(case.model)
    images, texts = pictures(folder, case.rows, transform), open_clip.get_tokenizer(case.model)(captions(folder))
    return Built(model, lambda run: ClipLoss()(*run(images, texts)))


def coca(case, folder):
    model, _, transform = open_clip.create_model_and_transforms(case.model)
    images, texts = pictures(folder, case.rows, transform), open_clip.get_tokenizer(case.model)(captions(folder))
    # The weights of open_clip's trainer.
    loss = CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)
    return Built(model, lambda run: sum(loss(**run(images, texts))))


def siglip(case, folder):
    half = (0.5, 0.5, 0.5)
    model, _, transform = open_clip.create_model_and_transforms(case.model, image_mean=half, image_std=half, image_resize_mode="squash")
    images = pictures(folder, case.rows, transform)
    words = {"<unk>": 0, "<pad>": 1} | {word: 2 + at for at, word in enumerate(WORDS)}
    (folder / "tokenizer.json").write_text(json.dumps(word_tokenizer(words)))
    texts = torch.full((case.rows, model.context_length), words["<pad>"])
    for row, caption in zip(texts, captions(folder)):
        ids = [words[word] for word in caption.split()]
        row[: len(ids)] = torch.tensor(ids)
    return Built(model, lambda run: SigLipLoss()(*run(images, texts)))


def word_tokenizer(words):
    """A `tokenizer.json` with an id for each word and none around a text."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None,
        "added_tokens": [{"id": words[token], "content": token} | flags for token in ("<unk>", "<pad>")],
        "pre_tokenizer": {"type": "Whitespace"}, "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
    }


class TwoViews(nn.Module):
    """SimCLR as lightly's examples have it: a backbone and a head, once for each view."""

    def __init__(self, visual, head):
        super().__init__()
        self.visual, self.head = visual, head

    def forward(self, a, b):
        return self.head(self.visual(a)), self.head(self.visual(b))


def simclr(case, folder):
    model, _, transform = open_clip.create_model_and_transforms(case.model)
    hidden = [(width, 4096, nn.BatchNorm1d(4096), nn.ReLU(), True) for width in (512, 4096)]
    module = TwoViews(model.visual, ProjectionHead([*hidden, (4096, 256, None, None)]))
    views = [pictures(folder, case.rows, transform, change) for change in (same, ImageOps.solarize)]
    loss = NTXentLoss(temperature=0.1)

    def ours(name):
        if not name.startswith("head."):
            return name
        # A map, a batch norm and a ReLU by turns.
        at, part = name.removeprefix("head.layers.").split(".")
        return f"objective.simclr.projector.{'norms' if int(at) % 3 else 'linears'}.{int(at) // 3}.{part}"

    return Built(module, lambda run: loss(*run(*views)), ours, ours)


def classify(case, folder):
    half, names = (0.5, 0.5, 0.5), {"head.weight": "objective.classify.weight", "head.bias": "objective.classify.bias"}
    images = pictures(folder, case.rows, open_clip.image_transform(224, is_train=False, mean=half, std=half))
    labels = torch.tensor([int(line) for line in (folder / "labels.txt").read_text().split()])
    loss = LabelSmoothingCrossEntropy(0.1)
    module = timm.create_model(case.model, num_classes=1000)
    return Built(module, lambda run: loss(run(images), labels), lambda name: names.get(name, f"visual.trunk.{name}"))


def optimizer(module):
    """torch's AdamW with open_clip's two groups: what has one dimension does not decay."""
    decays = {True: [], False: []}
    for name, parameter in module.named_parameters():
        decays[parameter.ndim > 1 and not any(part in name for part in ("bn", "ln", "bias", "logit_scale"))].append(parameter)
    groups = [{"params": decays[False], "weight_decay": 0.0}, {"params": decays[True], "weight_decay": 0.2}]
    return torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)
