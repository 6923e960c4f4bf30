"""JPEG pictures of every kind through open_clip's preprocessing and through VL Hub's: embeddings of one ViT-S-32 with random weights.

Other pixels show: one level in a hundredth of the bytes moves an embedding by about 1e-5, equal ones agree to rounding.
"""

import io
import itertools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import open_clip
import PIL
import torch
from PIL import Image, ImageFile, features
from safetensors.torch import load_file, save_file

VLHUB = os.environ["VLHUB_BIN"]
MODEL, BOUND = "ViT-S-32", 2e-6
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
    torch.manual_seed(0)
    model = open_clip.create_model(MODEL)
    model.eval()
    transform = open_clip.image_transform(224, is_train=False)
    random = numpy.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        names = []
        for size, (mode, options) in itertools.product(SIZES, kinds()):
            name = f"{len(names):03}_{mode}_{size[0]}x{size[1]}_" + "_".join(f"{key}={value}" for key, value in options.items()).replace(":", "")
            data = io.BytesIO()
            picture(size, mode, random).save(data, "JPEG", **options)
            (folder / f"{name}.jpg").write_bytes(data.getvalue())
            names.append(name)
        # Converted first, as an image folder or WebDataset do: open_clip resizes CMYK and grey in their own mode otherwise.
        with torch.no_grad():
            images = torch.stack([transform(Image.open(folder / f"{name}.jpg").convert("RGB")) for name in names])
            wanted = torch.cat([model.encode_image(part, normalize=True) for part in images.split(32)])
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, folder / "model.safetensors")
        done = subprocess.run(
            [VLHUB, "embed", "--model", MODEL, "--checkpoint", "model.safetensors", "--out", "out.safetensors", "--images", *(f"{name}.jpg" for name in names)],
            cwd=folder,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"vlhub embed ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        errors = (load_file(folder / "out.safetensors")["image"] - wanted).norm(dim=1)
    other = [(name, error.item()) for name, error in zip(names, errors, strict=True) if not error <= BOUND]
    for name, error in other:
        print(f"FAILED {name}: {error:.2e} (bound {BOUND:.0e})")
    versions = f"Pillow {PIL.__version__}, libjpeg-turbo {features.version('libjpeg_turbo')}"
    print(f"{len(names) - len(other)} of {len(names)} JPEG pictures have open_clip's embedding; the largest difference is {errors.max():.1e} ({versions})")
    sys.exit(1 if other else 0)


main()
