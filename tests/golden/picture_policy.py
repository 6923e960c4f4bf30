"""Writes picture_policy.json: what Pillow makes of pictures where orientation, transparency or 16 bits are treated otherwise than by default.

Each case has a file, the options of VL Hub, and Pillow's pixels: `exif_transpose(image).convert("RGB")`, the picture pasted on a colour with its alpha
channel for a mask, `convert("RGB")` of channels of 16 bits, and the first frame of an animation.
"""

import base64
import io
import json
import struct
import zlib
from pathlib import Path

import numpy
import PIL
from PIL import Image, ImageOps

rng = numpy.random.default_rng(3)
base = Image.fromarray((rng.random((3, 4, 3)) * 255).astype("uint8")).resize((18, 11), Image.BICUBIC)
alpha = base.convert("RGBA")
alpha.putalpha(Image.fromarray(rng.integers(0, 256, (11, 18), dtype="uint8")))
cases = []


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def opened(data):
    return Image.open(io.BytesIO(data))


def case(name, data, options, pixels):
    text = lambda data: base64.b64encode(data).decode()
    cases.append({"name": name, "file": text(data), "options": options, "size": pixels.size, "pixels": text(pixels.tobytes())})


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def sixteen_bits(kind, levels):
    height, width = levels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in levels)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>'
for orientation in range(10):
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, options in (("JPEG", {"quality": 95, "subsampling": 0}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        data = encoded(base, kind, exif=exif, **options)
        case(f"{kind}, orientation {orientation}", data, {"exif": "apply"}, ImageOps.exif_transpose(opened(data)).convert("RGB"))
    if orientation in (6, 8):
        data = encoded(base, "PNG", exif=exif)
        at = data.index(b"eXIf") - 4
        length = 12 + struct.unpack(">I", data[at : at + 4])[0]
        late = data[:at] + data[at + length : -12] + data[at : at + length] + data[-12:]
        case(f"PNG, orientation {orientation} behind the pixels", late, {"exif": "apply"}, ImageOps.exif_transpose(opened(late)).convert("RGB"))
        xmp = (XMP % orientation).encode()
        data = encoded(base, "JPEG", quality=95, subsampling=0, xmp=xmp)
        case(f"JPEG, orientation {orientation} in XMP", data, {"exif": "apply"}, ImageOps.exif_transpose(opened(data)).convert("RGB"))
        data = encoded(base, "WEBP", lossless=True, xmp=xmp)
        case(f"WEBP, orientation {orientation} in XMP", data, {"exif": "apply"}, ImageOps.exif_transpose(opened(data)).convert("RGB"))
        text = b"XML:com.adobe.xmp\0\0\0\0\0" + xmp
        plain = encoded(base, "PNG")
        data = plain[:33] + chunk(b"iTXt", text) + plain[33:]
        case(f"PNG, orientation {orientation} in XMP", data, {"exif": "apply"}, ImageOps.exif_transpose(opened(data)).convert("RGB"))

palette = base.convert("P", palette=Image.Palette.ADAPTIVE, colors=8)
transparent = {
    "PNG": encoded(alpha, "PNG"),
    "PNG, grey": encoded(alpha.convert("LA"), "PNG"),
    "PNG, palette": encoded(palette, "PNG", transparency=3),
    "WEBP": encoded(alpha, "WEBP", lossless=True, exact=True),
    "TIFF": encoded(alpha, "TIFF"),
    "GIF": encoded(palette, "GIF", transparency=2),
    "JPEG, which has none": encoded(base, "JPEG", quality=95, subsampling=0),
}
for colour in ("white", "black"):
    for name, data in transparent.items():
        image = opened(data).convert("RGBA")
        flat = Image.new("RGB", image.size, colour)
        flat.paste(image, mask=image.getchannel("A"))
        case(f"{name}, on {colour}", data, {"alpha": colour}, flat)

levels = numpy.array([[0, 1, 127, 128, 255, 256, 257, 383, 384, 1000, 32768, 65280, 65534, 65535]], dtype="uint16")
for kind, channels, name in ((0, 1, "grey"), (2, 3, "RGB"), (4, 2, "grey with alpha"), (6, 4, "RGBA")):
    data = sixteen_bits(kind, numpy.stack([levels] * channels, -1))
    case(f"PNG of 16 bits, {name}", data, {"sixteen_bit": "pil"}, opened(data).convert("RGB"))
data = encoded(Image.fromarray(levels), "TIFF")
case("TIFF of 16 bits, grey", data, {"sixteen_bit": "pil"}, opened(data).convert("RGB"))

frames = [base.rotate(angle) for angle in (90, 180, 270)]
for kind, options in (("WEBP", {"lossless": True}), ("PNG", {})):
    data = encoded(base, kind, save_all=True, append_images=frames, duration=40, **options)
    case(f"{kind}, animated", data, {}, opened(data).convert("RGB"))

origin = f"tests/golden/picture_policy.py, Pillow {PIL.__version__}"
Path(__file__).with_suffix(".json").write_text(json.dumps({"origin": origin, "cases": cases}, indent=1) + "\n")
