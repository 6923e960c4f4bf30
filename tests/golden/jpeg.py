"""Writes jpeg.json: JPEG files of every kind that Pillow writes, and the SHA-256 of the pixels that its convert("RGB") makes of them, whole and
divided by 2, 4 and 8 by its draft mode."""
import base64
import hashlib
import io
import json
from pathlib import Path

import numpy
import PIL
from PIL import Image, features

rng = numpy.random.default_rng(0)
SIZES = [(1, 1), (9, 7), (17, 33), (40, 23)]
cases = []


def picture(size, mode):
    """Waves, a saturated patch and noise: what rounding and colours at half size show in."""
    width, height = size
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [127 + 100 * numpy.sin(x / (7 + 3 * k) + y / (11 - k)) + rng.normal(0, 25, (height, width)) for k in range(len(mode.strip("L")) or 1)]
    pixels = numpy.clip(numpy.stack(planes, -1), 0, 255).astype("uint8")
    pixels[height // 3 : height // 2, width // 4 : width // 2] = [255, 0, 0, 255][: pixels.shape[2]]
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def digest(image):
    return hashlib.sha256(image.convert("RGB").tobytes()).hexdigest()


def drafts(data):
    """Divisor to digest, as far as a side of at least one pixel is left, which Pillow wants."""
    found = {}
    for divisor in (2, 4, 8):
        image = Image.open(io.BytesIO(data))
        width, height = image.size
        if min(width, height) >= divisor:
            image.draft(None, (width // divisor, height // divisor))
            assert image.size == (-(-width // divisor), -(-height // divisor)), image.size
            found[divisor] = digest(image)
    return found


def add(name, data):
    image = Image.open(io.BytesIO(data))
    case = {"name": name, "file": base64.b64encode(data).decode(), "size": image.size, "sha256": digest(image)}
    cases.append(case | {"drafts": drafts(data)})


def encoded(size, mode, **options):
    buffer = io.BytesIO()
    picture(size, mode).save(buffer, "JPEG", **options)
    return buffer.getvalue()


for size in SIZES:
    for mode, subsamplings in (("L", [None]), ("RGB", ["4:4:4", "4:2:2", "4:2:0"]), ("CMYK", ["4:4:4"])):
        for subsampling in subsamplings:
            for quality, progressive in ((75, False), (95, True), (100, False)):
                options = {} if subsampling is None else {"subsampling": subsampling}
                data = encoded(size, mode, quality=quality, progressive=progressive, **options)
                kind = "progressive" if progressive else "baseline"
                add(f"{mode} {subsampling or ''} of {size[0]}x{size[1]}, quality {quality}, {kind}", data)
add("restart marks", encoded((40, 23), "RGB", quality=75, restart_marker_blocks=2))
add("tables of its own", encoded((40, 23), "RGB", quality=75, optimize=True))
for progressive in (False, True):
    kind = "progressive" if progressive else "baseline"
    rgb = encoded((17, 33), "RGB", quality=90, keep_rgb=True, progressive=progressive)
    adobe = rgb.index(b"\xff\xee\x00\x0eAdobe")
    add(f"RGB by Adobe's mark, {kind}", rgb)
    add(f"RGB by the names of its components, {kind}", rgb[:adobe] + rgb[adobe + 16 :])
    add(f"YCbCr by JFIF's mark, whatever Adobe's says, {kind}", rgb[:2] + b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0" + rgb[2:])
origin = f"Pillow {PIL.__version__} with libjpeg-turbo {features.version('libjpeg_turbo')}, by jpeg.py"
Path(__file__).with_suffix(".json").write_text(json.dumps({"origin": origin, "cases": cases}, indent=0) + "\n")
