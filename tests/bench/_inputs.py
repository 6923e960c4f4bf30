"""Pictures and captions that both sides read."""

import io
import tarfile

import numpy
from PIL import Image

# Each is one token of CLIP's.
WORDS = "red green small circle dog of a photo in the on house tree car two very bright old".split()


def captions(rows, least, most, random):
    return [" ".join(random.choice(WORDS, random.integers(least, most, endpoint=True))) for _ in range(rows)]


def table(folder, rows, words, pictures=None, size=224, labels=1000):
    """Writes `0.png`, …, `captions.txt`, `labels.txt`, and `train.tsv`, whose lines share the pictures where there are fewer pictures than rows."""
    random, pictures = numpy.random.default_rng(0), pictures or rows
    for at in range(pictures):
        Image.fromarray(random.integers(0, 256, (size, size, 3), dtype=numpy.uint8)).save(folder / f"{at}.png")
    texts, classes = captions(rows, *words, random), random.integers(0, labels, rows)
    (folder / "captions.txt").write_text("\n".join(texts) + "\n")
    (folder / "labels.txt").write_text("\n".join(map(str, classes)) + "\n")
    lines = [f"{at % pictures}.png\t{text}\t{label}" for at, (text, label) in enumerate(zip(texts, classes))]
    (folder / "train.tsv").write_text("\n".join(["filepath\ttitle\tlabel", *lines]) + "\n")


def photograph(random, width, height):
    """A JPEG with a photograph's share of detail: waves and noise, about 60 kB for 500x375."""
    y, x = numpy.mgrid[0:height, 0:width] / (width / 500)
    planes = [127 + 90 * numpy.sin(x / random.uniform(6, 40) + y / random.uniform(6, 40)) for _ in range(3)]
    pixels = numpy.stack(planes, -1) + random.normal(0, 9, (height, width, 3))
    data = io.BytesIO()
    Image.fromarray(numpy.clip(pixels, 0, 255).astype("uint8")).save(data, "JPEG", quality=90)
    return data.getvalue()


def shard(path, samples):
    """A tar file in the layout of WebDataset: `samples` are pairs of a key and of contents by suffix."""
    with tarfile.open(path, "w") as tar:
        for key, contents in samples:
            for suffix, data in contents.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
