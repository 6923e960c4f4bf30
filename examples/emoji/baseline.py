"""What colours alone know: each drawing of Twitter's is compared with all of Google's by a histogram of 4x4x4 colours (L1 distance).

    python baseline.py [FOLDER]     FOLDER as prepare.sh wrote it, data/ beside this file otherwise; needs numpy and Pillow
"""

import csv
import pathlib
import sys

import numpy
from PIL import Image

folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent / "data"


def histogram(path: pathlib.Path) -> numpy.ndarray:
    picture = Image.open(path).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    pixels = numpy.asarray(Image.alpha_composite(white, picture).convert("RGB")).reshape(-1, 3) // 64
    counts = numpy.bincount(pixels @ [16, 4, 1], minlength=64)
    return counts / counts.sum()


def table(style: str) -> tuple[numpy.ndarray, numpy.ndarray]:
    with open(folder / f"{style}.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    labels = numpy.array([int(row["label"]) for row in rows])
    return numpy.stack([histogram(folder / row["filepath"]) for row in rows]), labels


def recall(queries: numpy.ndarray, items: numpy.ndarray, ks: tuple[int, ...], same: numpy.ndarray) -> list[float]:
    distance = numpy.abs(queries[:, None] - items[None]).sum(-1)
    right = distance[same]
    # Of several at the same distance the right one counts as the middle one: order must not decide.
    nearer = (distance < right[:, None]).sum(1)
    tied = (distance == right[:, None]).sum(1) - 1
    return [float((nearer + tied / 2 < k).mean()) for k in ks]


google, google_labels = table("google")
twitter, twitter_labels = table("twitter")
assert (google_labels == twitter_labels).all(), "both tables list the same emoji in the same order"
same = numpy.eye(len(google), dtype=bool)

print(f"{len(google)} emoji; chance: top-1 {1 / len(google):.2%}, top-5 {5 / len(google):.2%}, R@10 {10 / len(google):.2%}")
top1, top5 = recall(twitter, google, (1, 5), same)
print(f"Twitter's drawing finds Google's: top-1 {top1:.2%}, top-5 {top5:.2%}")
for name, queries, items in (("Twitter to Google", twitter, google), ("Google to Twitter", google, twitter)):
    print(f"{name}: " + ", ".join(f"R@{k} {value:.2%}" for k, value in zip((1, 5, 10), recall(queries, items, (1, 5, 10), same))))
