"""FILIP's loss alone, forward and backward, against x-clip's fine-grained loss on the same tokens; equality first.

x-clip runs its own `CLIP` with tables of tokens in the place of its encoders: what is compared is projection, similarities of all tokens, loss
and gradients. As written, x-clip's image-to-text half lacks a transpose; ours computes the same with `compat = "vlhub"`, at the same cost.
Tokens are those of a ViT-B-32 and of CLIP's text tower: 49 patches of width 768; 77 places of width 512, of which 10 to 18 are words.

    cargo vlhub bench --peers filip                           # five minutes
"""

import math
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy
from safetensors.numpy import save_file

import _alone
from _growth import grown, growths
from _results import comparisons, report
from _rounds import THREADS, rounds, wanted

ROUNDS, SIZES, DIM = rounds(5), {"32": 32, "64": 64, "128": 128, "256": 256}, 256
IMAGE, TEXT, LENGTHS = (49, 768), (77, 512), (10, 18)
OPTIONS = [f"dim={DIM}", 'compat="vlhub"']


def peer(path, repeat):
    import torch
    from safetensors.torch import load_file
    from x_clip import x_clip

    class Tokens(torch.nn.Module):
        """The same tokens, whatever goes in."""

        def __init__(self, tokens):
            super().__init__()
            self.tokens = tokens

        def forward(self, *_):
            return self.tokens

    torch.set_num_threads(THREADS)
    given = load_file(path)
    images, texts, mask = given["image.main.tokens"].requires_grad_(), given["text.main.tokens"].requires_grad_(), given["text.main.mask"]
    model = x_clip.CLIP(
        image_encoder=Tokens(images), text_encoder=Tokens(texts), dim_image=IMAGE[1], dim_text=TEXT[1], dim_latent=DIM,
        use_all_token_embeds=True, visual_has_cls_token=False, text_has_cls_token=False,
    ).train()
    leaves = {
        "image.main.tokens": images, "text.main.tokens": texts, "logit_scale": model.temperature,
        "objective.image.weight": model.to_visual_latent.weight, "objective.text.weight": model.to_text_latent.weight,
    }
    with torch.no_grad():
        for name in ["logit_scale", "objective.image.weight", "objective.text.weight"]:
            leaves[name].copy_(given[name])
    # x-clip takes the mask from ids, and pictures for nothing but their encoder.
    ids, pictures = mask.long(), torch.zeros(len(mask), 3, 1, 1)
    _alone.serve(path, repeat, lambda: model(ids, pictures, return_loss=True), leaves)


def tokens(rows, path):
    random = numpy.random.default_rng(0)
    normal = lambda *shape: random.standard_normal(shape, dtype="float32")
    lengths = random.integers(*LENGTHS, rows, endpoint=True)
    save_file(
        {
            # Not read here; every view has an embedding.
            "image.main": normal(rows, 8), "text.main": normal(rows, 8),
            "image.main.tokens": normal(rows, *IMAGE), "text.main.tokens": normal(rows, *TEXT),
            "text.main.mask": numpy.arange(TEXT[0]) < lengths[:, None],
            "objective.image.weight": normal(DIM, IMAGE[1]) / math.sqrt(IMAGE[1]), "objective.text.weight": normal(DIM, TEXT[1]) / math.sqrt(TEXT[1]),
            "logit_scale": numpy.array(math.log(1 / 0.07), dtype="float32"),
        },
        path,
    )


def main():
    rows, times, peaks = [], [], []
    for size in (SIZES[name] for name in wanted(SIZES)):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in.safetensors"
            tokens(size, path)
            goals = (3.0, 10.0) if size == 256 else (None, None)
            run_ours = lambda repeat: _alone.ours("filip", path, repeat, OPTIONS)
            run_theirs = lambda repeat: _alone.theirs(__file__, path, repeat)
            speeds, found = _alone.compare(f"batch {size}", path, run_ours, run_theirs, ROUNDS, goals=goals)
        rows += found
        if speeds:
            times.append((size, median(speed["seconds"] for speed in speeds)))
            peaks.append((size, median(speed["peak"] for speed in speeds) / 2**20))
    about = "Loss and gradients of 49 image tokens of width 768 and 77 text tokens of width 512, of which 10 to 18 count, compared in 256 dimensions."
    report("filip", "FILIP's loss alone, against x-clip", about, ["x-clip"], ROUNDS, comparisons(rows), growths(grown("filip", times, peaks)))


if sys.argv[1:2] == ["--peer"]:
    peer(Path(sys.argv[2]), int(sys.argv[3]))
else:
    main()
