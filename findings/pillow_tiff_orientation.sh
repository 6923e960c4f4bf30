#!/usr/bin/env bash
# Pillow turns a TIFF by its orientation tag while it is read, and no other format.
#
# Guess:    Pillow leaves pixels as they are stored and `ImageOps.exif_transpose` is for those who want them upright, whatever the format.
# Seen:     of one picture with orientation 6, saved as JPEG, PNG, WebP and TIFF, only the TIFF comes out turned: its size is swapped when it is
#           opened, and its tag is gone once it is read. Converting a data set from TIFF to PNG thus changes what a model sees.
# Versions: Pillow 12.3.0.
# Hurts:    mixed folders of pictures; whoever re-encodes TIFF exports and keeps the tag; labels and boxes in stored coordinates.
# VL Hub:   ignores the tag in every format alike, so open_clip, which reads with Pillow, sees such a TIFF turned and VL Hub does not.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet pillow==12.3.0 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys

from PIL import Image, ImageOps

picture = Image.new("RGB", (40, 20))
picture.paste((250, 0, 0), (0, 0, 20, 10))  # the upper left quarter is red
exif = Image.Exif()
exif[0x0112] = 6  # to be turned clockwise by a quarter
seen = {}
for suffix in ("jpg", "png", "webp", "tiff"):
    picture.save(f"picture.{suffix}", exif=exif)
    with Image.open(f"picture.{suffix}") as image:
        opened = image.size
        pixels = image.convert("RGB")
        red = "right" if pixels.getpixel((pixels.width - 4, 3))[0] > 200 else "left"
        tag = image.getexif().get(0x0112)
    with Image.open(f"picture.{suffix}") as image:
        upright = ImageOps.exif_transpose(image).size
    seen[suffix] = (opened, pixels.size, red, tag, upright)
    print(f"{suffix}: opened as {opened}, read as {pixels.size}, red is {red}, tag then {tag}, upright it is {upright}")
stored = ((40, 20), (40, 20), "left", 6, (20, 40))
turned = ((20, 40), (20, 40), "right", None, (20, 40))
sys.exit(0 if seen == {"jpg": stored, "png": stored, "webp": stored, "tiff": turned} else 1)
PY
