"""JPEG pictures of every kind that Pillow writes have the same pixels in open_clip and in VL Hub."""

import itertools
import sys
import tempfile
from pathlib import Path

import numpy
import PIL
from _pictures import BOUND, apart
from PIL import Image, ImageFile, features

SIZES = [(31, 17), (224, 224), (225, 301), (333, 250), (500, 375), (641, 479)]
# Room for the tables that Pillow writes with `optimize`, also for small pictures.
ImageFile.MAXBLOCK = 1 << 22


def picture(size, mode, random):
    width, height = size
    y, x = numpy.mgrid[0:height, 0:width]
    channels = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    planes = [127 + 100 * numpy.sin(x / (7 + 3 * k) + y / (11 - k)) + random.normal(0, 20, (height, width)) for k in range(channels)]
    pixels = numpy.clip(numpy.stack(planes, -1), 0, 255).astype("uint8")
    return Image.fromarray(pixels[..., 0] if mode == "L" else pixels, mode)


def kinds():
    for mode, quality, progressive in itertools.product(("L", "RGB", "CMYK"), (50, 75, 95, 100), (False, True)):
        for subsampling in ("4:4:4", "4:2:2", "4:2:0") if mode == "RGB" else (None if mode == "L" else "4:4:4",):
            options = {"quality": quality, "progressive": progressive}
            yield mode, options if subsampling is None else {**options, "subsampling": subsampling}
    yield "RGB", {"quality": 75, "restart_marker_blocks": 5}
    yield "RGB", {"quality": 75, "optimize": True}
    yield "RGB", {"quality": 90, "keep_rgb": True}
    yield "RGB", {"quality": 90, "keep_rgb": True, "progressive": True}


def main():
    random = numpy.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = []
        for size, (mode, options) in itertools.product(SIZES, kinds()):
            name = f"{len(names):03}_{mode}_{size[0]}x{size[1]}_" + "_".join(f"{key}={value}" for key, value in options.items()).replace(":", "")
            picture(size, mode, random).save(folder / f"{name}.jpg", "JPEG", **options)
            names.append(f"{name}.jpg")
        errors = apart(folder, names)
    other = [(name, error.item()) for name, error in zip(names, errors, strict=True) if not error <= BOUND]
    for name, error in other:
        print(f"FAILED {name}: {error:.2e} (bound {BOUND:.0e})")
    versions = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"
    print(f"{len(names) - len(other)} of {len(names)} JPEG pictures have open_clip's embedding; the largest difference is {errors.max():.1e} ({versions})")
    sys.exit(1 if other else 0)


main()
