"""Pictures through one augmentation of VL Hub, by `vlhub plugins try`."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image
from safetensors.numpy import load_file, save_file

VLHUB = os.environ["VLHUB_BIN"]


def picture(size, random):
    """Waves with noise and hard edges."""
    width, height = size
    y, x = numpy.mgrid[0:height, 0:width]
    planes = [127 + 100 * numpy.sin(x / (7 + 3 * k) + y / (11 - k)) + random.normal(0, 20, (height, width)) for k in range(3)]
    pixels = numpy.clip(numpy.stack(planes, -1), 0, 255).astype("uint8")
    pixels[height // 3 : height // 2, width // 4 : width // 2] = (250, 10, 60)
    return Image.fromarray(pixels)


def augmented(plugin, options, images, seed=0, size=None):
    """The pictures as the augmentation makes them with the numbers of a seed, each from the start; `size` is (height, width) of the tower."""
    with tempfile.TemporaryDirectory() as folder:
        given = {f"image.{number:04}": numpy.ascontiguousarray(numpy.array(image)) for number, image in enumerate(images)}
        if size is not None:
            given["size"] = numpy.array(size, dtype="int64")
        save_file(given, Path(folder) / "in.safetensors")
        written = [f"{key}={json.dumps(value)}" for key, value in options.items()]
        ends = ["--input", "in.safetensors", "--out", "out.safetensors", "--seed", str(seed)]
        done = subprocess.run([VLHUB, "plugins", "try", f"augmentation/{plugin}", *written, *ends], cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"vlhub plugins try augmentation/{plugin} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        out = load_file(Path(folder) / "out.safetensors")
        return [out[name] for name in sorted(given) if name != "size"]
