#!/usr/bin/env bash
# Pillow reads an uncompressed 16-bit TIFF whose channels are stored apart with wrong values.
#
# Guess:    a TIFF that Pillow opens as RGB has the right values, or it is refused; compression does not change them.
# Seen:     with PlanarConfiguration = 2 (channels one after the other), 16 bits and no compression, the pixels are off by up to 184 of 255 levels,
#           in strips and in tiles, in either byte order. The same picture compressed (deflate) or with its channels
#           interleaved is right. No error and no warning.
# Versions: Pillow 12.3.0 (13.0.0 too); the files are written, and read back right, by tifffile 2026.3.3.
# Hurts:    training and evaluation sets from microscopes and satellites, whose exports look so; whoever compares pixels with Pillow's.
# VL Hub:   decodes TIFF without Pillow. A difference from open_clip's pixels on such a file is Pillow's.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet pillow==12.3.0 tifffile==2026.3.3 numpy==2.4.6 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys

import numpy as np
import tifffile
from PIL import Image

ramp = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
picture = np.stack([ramp, 65535 - ramp, np.full_like(ramp, 20000)])  # channels, height, width
wanted = (picture >> 8).transpose(1, 2, 0).astype(int)
off = {}
for name, options in {
    "apart": {},
    "apart, big-endian": {"byteorder": ">"},
    "apart, in tiles": {"tile": (16, 16)},
    "apart, compressed": {"compression": "zlib"},
}.items():
    tifffile.imwrite("picture.tif", picture, photometric="rgb", planarconfig="separate", **options)
    assert np.array_equal(tifffile.imread("picture.tif"), picture)
    with Image.open("picture.tif") as image:
        assert image.mode == "RGB"
        off[name] = int(abs(np.asarray(image).astype(int) - wanted).max())
tifffile.imwrite("picture.tif", picture.transpose(1, 2, 0), photometric="rgb")
with Image.open("picture.tif") as image:
    off["together"] = int(abs(np.asarray(image).astype(int) - wanted).max())
for name, levels in off.items():
    print(f"channels {name}: off by at most {levels} of 255 levels")
right = {name for name, levels in off.items() if levels == 0}
sys.exit(0 if right == {"apart, compressed", "together"} and off["apart"] > 100 else 1)
PY
