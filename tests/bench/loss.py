"""The contrastive losses alone, forward and backward, against open_clip's `ClipLoss` and `SigLipLoss` on the same features; equality first.

Rows from 1,024 to 32,768 of width 512. Memory: ours is what libtorch allocated beside features, their gradients (128 MiB at 32,768 rows) included; theirs
is how much the process grew. Where its matrices would not fit into half of this machine's memory open_clip is not tried.

    cargo vlhub bench --peers loss                            # half an hour
    CASES=siglip ROUNDS=3 cargo vlhub bench --peers loss
"""

import math
import os
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

WIDTH, ROUNDS, SIZES = 512, rounds(5), [1024, 2048, 4096, 8192, 16384, 32768]
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
# open_clip keeps logits, probabilities and gradients of both directions; of the sigmoid, one.
MATRICES = {"clip": 6, "siglip": 5}
GOAL, GOAL_AT = 1.5, 8192


def peer(name, path, repeat):
    import torch
    from open_clip.loss import ClipLoss, SigLipLoss
    from safetensors.torch import load_file
    from torch.nn.functional import normalize

    torch.set_num_threads(THREADS)
    given = {key: value.requires_grad_() for key, value in load_file(path).items()}
    # open_clip's model gives the loss features of unit length; ours makes them so itself.
    unit = lambda: (normalize(given["image.main"], dim=-1), normalize(given["text.main"], dim=-1))
    if name == "clip":
        loss = lambda: ClipLoss()(*unit(), given["logit_scale"].exp())
    else:
        loss = lambda: SigLipLoss()(*unit(), given["logit_scale"].exp(), given["logit_bias"])
    _alone.serve(path, repeat, loss, given)


def features(name, rows, path):
    random = numpy.random.default_rng(0)
    tensors = {key: random.standard_normal((rows, WIDTH), dtype="float32") for key in ["image.main", "text.main"]}
    tensors["logit_scale"] = numpy.array(math.log(10.0), dtype="float32")
    if name == "siglip":
        tensors["logit_bias"] = numpy.array(-10.0, dtype="float32")
    save_file(tensors, path)


def measure(name):
    rows, times, peaks = [], [], []
    for size in SIZES:
        fits = MATRICES[name] * 4 * size * size < MEMORY / 2
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "in.safetensors"
            features(name, size, path)
            run_ours = lambda repeat: _alone.ours(name, path, repeat, [])
            run_theirs = lambda repeat: _alone.theirs(__file__, name, path, repeat)
            goals, repeat = (GOAL if size == GOAL_AT else None, None), 3 if size < GOAL_AT else 1
            speeds, found = _alone.compare(f"{name}, {size:,} rows", path, run_ours, run_theirs if fits else None, ROUNDS, repeat, goals)
        rows += found
        if speeds:
            times.append((size, median(speed["seconds"] for speed in speeds)))
            peaks.append((size, median(speed["peak"] for speed in speeds) / 2**20))
    return rows, grown(name, times, peaks, 1.1)


def main():
    measured = [measure(case) for case in wanted(MATRICES)]
    about = (
        f"Loss and gradients of features of width {WIDTH}, fp32, in whole matrices up to 1,024 rows and in tiles of 512 x 512 above (`tile`). "
        "The goal for memory is 300 MB at 32,768 rows beside features and their gradients, which take 128 MiB each."
    )
    tables = comparisons([row for rows, _ in measured for row in rows]), growths([row for _, rows in measured for row in rows])
    report("loss", "Contrastive losses alone", about, ["open_clip_torch"], ROUNDS, *tables)


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
else:
    main()
