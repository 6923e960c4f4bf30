#!/usr/bin/env bash
# timm passes over sections of a RandAugment string that it cannot read.
#
# Guess:    `rand-m9-mstdinf` draws magnitudes evenly: the documentation says "uniform sampling if infinity (or > 100)". `rand-m9-inc` is `inc1`, an
#           unknown set of operations (`t3b`) or an unknown section (`noise`) is an error.
# Seen:     a section without a digit is passed over, so `mstdinf` and `inc` change nothing: the pictures are those of `rand-m9`. Infinity can
#           only be asked for with a number above 100. An unknown set is the usual one. `rand-m15` is `rand-m10` unless `mmax` is there too.
# Versions: timm 1.0.31.
# Hurts:    whoever passes such a string through `--aa` or open_clip's `aug_cfg`: training goes on with another augmentation, without a word.
# VL Hub:   `timm_rand_augment` refuses sections and sets that it does not know, and says what each one wants.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
  "$work/venv/bin/pip" install --quiet timm==1.0.31 torch==2.11.0 torchvision==0.26.0 numpy==2.4.6 pillow==12.3.0 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import random
import sys

import numpy
from PIL import Image
from timm.data.auto_augment import rand_augment_transform

image = Image.fromarray(numpy.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=numpy.uint8))


def pictures(policy):
    numpy.random.seed(0)
    random.seed(0)
    transform = rand_augment_transform(policy, {"img_mean": (0, 0, 0)})
    return [transform(image).tobytes() for _ in range(50)]


seen = {}
for policy, other in (
    ("rand-m9-mstdinf", "rand-m9"), ("rand-m9-mstdinf", "rand-m9-mstd101"), ("rand-m9-inc", "rand-m9"), ("rand-m9-inc", "rand-m9-inc1"),
    ("rand-m9-t3b", "rand-m9"), ("rand-m9-noise", "rand-m9"), ("rand-m15", "rand-m10"), ("rand-m15-mmax15", "rand-m10"),
):
    seen[policy, other] = pictures(policy) == pictures(other)
    print(f"50 pictures of {policy} and of {other}: {'the same' if seen[policy, other] else 'others'}")
sys.exit(0 if list(seen.values()) == [True, False, True, False, True, True, True, False] else 1)
PY
