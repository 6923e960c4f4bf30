"""Writes filip.json: losses and gradients of x-clip's fine-grained loss, as it is and with its missing transpose.

Run in an environment with torch and x-clip: python tests/golden/filip.py
The towers are replaced by tables of known numbers, so that a case tests the projections, the similarities and the loss alone. x-clip gives the
image-to-text similarities a text in each row, so both of its halves choose among images; the cases `transposed` are of its own source with one
line more, which gives them an image in each row, as in the paper (arXiv 2111.07783).
"""

import importlib.metadata
import inspect
import json
import os
import types

import torch
import x_clip.x_clip as original

import known

torch.set_num_threads(1)
PATCHES, LENGTH, IMAGE_WIDTH, TEXT_WIDTH, DIM = 4, 6, 5, 7, 8
CASES = [
    # name, transposed, dcl, rows, log scale, class tokens
    ("x-clip's temperature", True, False, 5, 1.0, False),
    ("CLIP's temperature", True, False, 7, 2.6592600369327783, False),
    ("as written", False, False, 5, 1.0, False),
    ("as written at CLIP's temperature", False, False, 7, 2.6592600369327783, False),
    ("decoupled", True, True, 5, 1.0, False),
    ("decoupled at CLIP's temperature", True, True, 7, 2.6592600369327783, False),
    ("as written, decoupled", False, True, 7, 2.0, False),
    ("class tokens", True, False, 5, 2.0, True),
]


def transposed_x_clip():
    """x-clip with the line that it lacks."""
    before = "        # calculate loss\n\n        text_to_image = rearrange"
    source = inspect.getsource(original)
    assert source.count(before) == 1
    line = "        image_to_text = rearrange(image_to_text, '... x y -> ... y x')\n"
    module = types.ModuleType("x_clip.transposed")
    module.__package__ = "x_clip"
    exec(source.replace(before, line + before), module.__dict__)
    return module


def table(name, shape):
    count = 1
    for size in shape:
        count *= size
    return torch.tensor((known.numbers(name, count) * 2.0).astype("float32")).reshape(shape)


class Tower(torch.nn.Module):
    """The same tokens, whatever goes in."""

    def __init__(self, tokens):
        super().__init__()
        self.tokens = tokens

    def forward(self, *_):
        return self.tokens


def ids(rows):
    """Texts of 1 to LENGTH tokens; 0 is padding."""
    lengths = torch.tensor([1 + (row * 4 + 2) % LENGTH for row in range(rows)])
    return (torch.arange(LENGTH) < lengths[:, None]).long() * 3


def case(name, transposed, dcl, rows, log_scale, class_tokens):
    extra = int(class_tokens)
    images = table("images", (rows, PATCHES + extra, IMAGE_WIDTH)).requires_grad_()
    texts = table("texts", (rows, LENGTH + extra, TEXT_WIDTH)).requires_grad_()
    model = (transposed_x_clip() if transposed else original).CLIP(
        image_encoder=Tower(images),
        text_encoder=Tower(texts),
        dim_image=IMAGE_WIDTH,
        dim_text=TEXT_WIDTH,
        dim_latent=DIM,
        use_all_token_embeds=True,
        decoupled_contrastive_learning=dcl,
        visual_has_cls_token=class_tokens,
        text_has_cls_token=class_tokens,
    )
    with torch.no_grad():
        model.to_visual_latent.weight.copy_(table("objective.image.weight", (DIM, IMAGE_WIDTH)))
        model.to_text_latent.weight.copy_(table("objective.text.weight", (DIM, TEXT_WIDTH)))
        model.temperature.fill_(log_scale)
    loss = model(ids(rows), torch.zeros(rows, 3, 8, 8), return_loss=True)
    loss.backward()
    return {
        "name": name,
        "compat": None if transposed else "vlhub",
        "dcl": dcl,
        "logit_scale": log_scale,
        "class_tokens": class_tokens,
        "text_lengths": (ids(rows) != 0).sum(1).tolist(),
        "loss": loss.item(),
        "gradients": {
            "images": known.listed(images.grad),
            "texts": known.listed(texts.grad),
            "objective.image.weight": known.listed(model.to_visual_latent.weight.grad),
            "objective.text.weight": known.listed(model.to_text_latent.weight.grad),
            "logit_scale": known.listed(model.temperature.grad),
        },
    }


def main():
    wrote = f"torch {torch.__version__}, x-clip {importlib.metadata.version('x-clip')}"
    golden = {"origin": f"tests/golden/filip.py, {wrote}", "cases": [case(*row) for row in CASES]}
    path = os.path.splitext(__file__)[0] + ".json"
    with open(path, "w") as file:
        file.write(json.dumps(golden).replace('{"name"', '\n{"name"') + "\n")
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
