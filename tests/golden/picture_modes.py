"""Writes picture_modes.json: pictures of each mode, and the pixels that open_clip's evaluation transform makes of them, by the way in which a file
is opened.

The transform resizes a picture in the mode in which it comes and converts it to RGB afterwards. A CSV, and the code of open_clip's README, open a
file as Pillow does (`opened`); torchvision's ImageFolder and WebDataset convert it to RGB first (`converted`). The table of the differences is
picture_modes.md, which a test of host/src/data/decode.rs writes.
"""

import base64
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy
from open_clip.transform import image_transform
from PIL import Image

SIZE = 28
transform = image_transform(SIZE, is_train=False, mean=(0.0,) * 3, std=(1.0,) * 3)
rng = numpy.random.default_rng(7)
smooth = Image.fromarray((rng.random((5, 6, 3)) * 255).astype("uint8")).resize((60, 45), Image.BICUBIC)
noise = numpy.asarray(smooth).astype("int16") + rng.integers(-20, 21, (45, 60, 3))
base = Image.fromarray(noise.clip(0, 255).astype("uint8"))
alpha = Image.fromarray((rng.random((4, 5)) * 255).astype("uint8")).resize(base.size, Image.BICUBIC)
grey, rgba = base.convert("L"), base.convert("RGBA")
rgba.putalpha(alpha)
grey_alpha = grey.convert("LA")
grey_alpha.putalpha(alpha)
sixteen = Image.fromarray(numpy.asarray(grey).astype("uint16") * 257)
palette = base.convert("P", palette=Image.Palette.ADAPTIVE, colors=32)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


pictures = {
    "RGB, PNG": encoded(base, "PNG"),
    "RGB, TIFF": encoded(base, "TIFF"),
    "RGB, WebP lossless": encoded(base, "WEBP", lossless=True),
    "grey, PNG": encoded(grey, "PNG"),
    "1 bit, PNG": encoded(grey.convert("1"), "PNG"),
    "palette, PNG": encoded(palette, "PNG"),
    "palette, GIF": encoded(palette, "GIF"),
    "palette, TIFF": encoded(palette, "TIFF"),
    "RGB with alpha, PNG": encoded(rgba, "PNG"),
    "grey with alpha, PNG": encoded(grey_alpha, "PNG"),
    "16-bit grey, PNG": encoded(sixteen, "PNG"),
    "CMYK, TIFF": encoded(base.convert("CMYK"), "TIFF"),
    "CMYK, JPEG 4:4:4": encoded(base.convert("CMYK"), "JPEG", quality=95, subsampling=0),
    "RGB, JPEG 4:4:4": encoded(base, "JPEG", quality=95, subsampling=0),
    "RGB, JPEG 4:2:0": encoded(base, "JPEG", quality=95),
    "RGB, JPEG 4:2:0 progressive": encoded(base, "JPEG", quality=95, progressive=True),
}


def pixels(image):
    levels = (transform(image) * 255).round().clamp(0, 255).permute(1, 2, 0).numpy().astype("uint8")
    return base64.b64encode(levels.tobytes()).decode()


cases = []
for name, data in pictures.items():
    image = Image.open(io.BytesIO(data))
    file = base64.b64encode(data).decode()
    cases.append({"name": name, "mode": image.mode, "file": file, "opened": pixels(image), "converted": pixels(image.convert("RGB"))})
versions = {name: version(name) for name in ["open_clip_torch", "torchvision", "Pillow"]}
origin = ", ".join(f"{name} {number}" for name, number in versions.items())
page = {"origin": f"{origin}, by picture_modes.py", "size": SIZE, "cases": cases}
Path(__file__).with_suffix(".json").write_text(json.dumps(page, indent=1) + "\n")
