#!/usr/bin/env bash
# Pillow 12.1, 12.2 and 13 resize the same picture to three different results.
#
# Guess:    `Image.resize(…, BICUBIC)` gives the same bytes in 12.1, 12.2, 12.3 and 13.0, as it did from 9 to 12.1.
# Seen:     the order of the two passes, between which values are rounded, has changed twice. 12.2 and 12.3 go vertically first where the height
#           shrinks and is more than 100 times the width. 13.0 goes vertically first where the height loses more than twice as many pixels as
#           the width: 300 x 500, or 450 x 800, squashed to 224 x 224.
# Versions: Pillow 11.3.0, 12.1.1, 12.2.0, 12.3.0, 13.0.0.
# Hurts:    comparisons of embeddings and accuracies to the last digit, above all of models that squash (SigLIP), and caches of features that
#           were made with another Pillow.
# VL Hub:   `preprocess.pass_order` and the option of that name of each augmentation that resizes: `horizontal`, `pillow12`, `pillow13`. It is
#           kept with the run.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
versions="11.3.0 12.1.1 12.2.0 12.3.0 13.0.0"
for version in $versions; do
  python3 -m venv "$work/$version" && "$work/$version/bin/pip" install --quiet numpy==2.4.6 "pillow==$version" || exit 2
  "$work/$version/bin/python" - >"$work/$version.txt" <<'PY'
import hashlib

import numpy
from PIL import Image

for (width, height), target in (((500, 375), (224, 224)), ((375, 500), (224, 224)), ((300, 500), (224, 224)), ((4, 401), (8, 224))):
    pixels = numpy.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    resized = Image.fromarray(pixels).resize(target, Image.Resampling.BICUBIC)
    print(f"{width}x{height}", hashlib.sha256(resized.tobytes()).hexdigest()[:12])
PY
done
for version in $versions; do
  echo "Pillow $version: $(tr '\n' ' ' <"$work/$version.txt")"
done
same() { [ "$(sed -n "$1p" "$work/$2.txt")" = "$(sed -n "$1p" "$work/$3.txt")" ]; }
cmp -s "$work/11.3.0.txt" "$work/12.1.1.txt" && cmp -s "$work/12.2.0.txt" "$work/12.3.0.txt" || exit 1
for picture in 1 2 3; do same $picture 12.1.1 12.2.0 || exit 1; done
! same 4 12.1.1 12.2.0 && same 1 12.3.0 13.0.0 && same 2 12.3.0 13.0.0 && ! same 3 12.3.0 13.0.0 || exit 1
