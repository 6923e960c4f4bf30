"""Pictures that a formula draws, for goldens that hold digests: the tests draw the same ones."""

import hashlib

import numpy
from PIL import Image


def picture(width, height, seed):
    """A ramp with noise that wraps around, so that there are hard edges too."""
    x, y, c = numpy.meshgrid(
        numpy.arange(width, dtype=numpy.uint32),
        numpy.arange(height, dtype=numpy.uint32),
        numpy.arange(3, dtype=numpy.uint32),
        indexing="xy",
    )
    u = numpy.uint32
    h = x * u(0x9E3779B1) ^ y * u(0x85EBCA77) ^ c * u(0xC2B2AE3D) ^ u(seed * 0x27D4EB2F & 0xFFFFFFFF)
    h ^= h >> u(15)
    h *= u(0x2C1B3C6D)
    h ^= h >> u(12)
    values = (x * u(5) + y * u(3) + c * u(40) + (h & u(127))) & u(255)
    return Image.fromarray(values.astype(numpy.uint8), "RGB")


def case(op, source, arguments, out):
    """What came out, as its size, its first bytes and a digest of all."""
    data = out.convert("RGB").tobytes()
    digest = hashlib.sha256(data).hexdigest()
    return {"op": op, "source": source, "arguments": arguments, "size": list(out.size), "first": list(data[:12]), "sha256": digest}
