"""Writes pictures.json: small pictures of many kinds, and the pixels that Pillow's convert("RGB") makes of them (null: it refuses)."""
import base64
import io
import json
from pathlib import Path

import numpy
import PIL
from PIL import Image

rng = numpy.random.default_rng(0)
base = Image.fromarray((rng.random((4, 5, 3)) * 255).astype("uint8")).resize((40, 32), Image.BICUBIC)
alpha = base.convert("RGBA")
alpha.putalpha(Image.fromarray((rng.random((32, 40)) * 255).astype("uint8")))


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


jpeg = encoded(base, "JPEG", quality=95, subsampling=0)
palette = base.convert("P", palette=Image.Palette.ADAPTIVE, colors=16)
pictures = {
    "jpg": jpeg,
    "jpg, colours halved": encoded(base, "JPEG", quality=95),
    "jpg, progressive": encoded(base, "JPEG", quality=95, subsampling=0, progressive=True),
    "jpg, grey": encoded(base.convert("L"), "JPEG", quality=95),
    "jpg, CMYK": encoded(base.convert("CMYK"), "JPEG", quality=95, subsampling=0),
    "jpg, turned by its tag": encoded(base, "JPEG", quality=95, subsampling=0, exif=(lambda e: (e.__setitem__(0x112, 6), e)[1])(Image.Exif())),
    "jpg, without its end mark": jpeg[:-2],
    "jpg, half of it": jpeg[: len(jpeg) // 2],
    "png": encoded(base, "PNG"),
    "png, alpha": encoded(alpha, "PNG"),
    "png, grey": encoded(base.convert("L"), "PNG"),
    "png, grey with alpha": encoded(alpha.convert("LA"), "PNG"),
    "png, black and white": encoded(base.convert("1"), "PNG"),
    "png, palette": encoded(palette, "PNG"),
    "png, palette with a transparent colour": encoded(palette, "PNG", transparency=3),
    "png, half of it": encoded(base, "PNG")[:700],
    "webp, lossless": encoded(base, "WEBP", lossless=True),
    "webp, alpha": encoded(alpha, "WEBP", lossless=True, exact=True),
    "gif": encoded(palette, "GIF"),
    "gif, animated": encoded(base, "GIF", save_all=True, append_images=[base.rotate(90), base.rotate(180)]),
    "bmp": encoded(base, "BMP"),
    "bmp, palette": encoded(palette, "BMP"),
    "tif": encoded(base, "TIFF"),
    "tif, lzw": encoded(base, "TIFF", compression="tiff_lzw"),
    "tif, deflate": encoded(base, "TIFF", compression="tiff_adobe_deflate"),
    "tif, alpha": encoded(alpha, "TIFF"),
    "tif, grey": encoded(base.convert("L"), "TIFF"),
    "tif, black and white": encoded(base.convert("1"), "TIFF"),
    "tif, black and white, fax": encoded(base.convert("1"), "TIFF", compression="group4"),
    "tif, palette": encoded(palette, "TIFF"),
    "tif, CMYK": encoded(base.convert("CMYK"), "TIFF"),
    "tif, two pages": encoded(base, "TIFF", save_all=True, append_images=[base.rotate(90)]),
    "tif, half of it": encoded(base, "TIFF")[:2000],
}
cases = {}
for name, data in pictures.items():
    try:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        pixels = base64.b64encode(image.tobytes()).decode()
        size = image.size
    except OSError:
        pixels, size = None, None
    cases[name] = {"file": base64.b64encode(data).decode(), "size": size, "pixels": pixels}
origin = f"Pillow {PIL.__version__}, by pictures.py"
Path(__file__).with_suffix(".json").write_text(json.dumps({"origin": origin, "cases": cases}, indent=1) + "\n")
