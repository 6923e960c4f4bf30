"""Resized pictures have Pillow's pixels, with the filters and the order of passes of each of its releases.

Releases that the environment does not hold are installed beside it for the time of the comparison.
"""

import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from _try import augmented, picture

SIZES = [(224, 224), (333, 250), (97, 61), (61, 97), (48, 300), (300, 48), (500, 375), (1, 1), (1, 60), (7, 720), (3, 301)]
TARGETS = [(224, 224), (64, 80), (31, 130), (200, 20), (300, 40), (1, 1)]
FILTERS = ["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
RELEASES = {"12.1.1": "horizontal", "12.3.0": "pillow12", "13.0.0": "pillow13"}
# Run by an interpreter that finds the release: pictures in, every one to every target with every filter out.
RESIZE = """
import sys, numpy, PIL
from PIL import Image
assert PIL.__version__ == sys.argv[1], PIL.__version__
given, out = numpy.load(sys.argv[2]), {}
for line in open(sys.argv[3]).read().splitlines():
    name, height, width, filter = line.split()
    out[line] = numpy.asarray(Image.fromarray(given[name]).resize((int(width), int(height)), getattr(Image, filter.upper())))
numpy.savez(sys.argv[4], **out)
"""


def main():
    generator = numpy.random.default_rng(0)
    images = [picture(size, generator) for size in SIZES]
    wrong, total, orders = [], 0, {}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        numpy.savez(folder / "in.npz", **{str(number): numpy.asarray(image) for number, image in enumerate(images)})
        matrix = list(itertools.product(range(len(images)), TARGETS, FILTERS))
        lines = [f"{number} {height} {width} {filter}" for number, (height, width), filter in matrix]
        (folder / "matrix.txt").write_text("\n".join(lines))
        for release, pass_order in RELEASES.items():
            place = folder / release
            subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, f"pillow=={release}"], check=True)
            script = f"import sys; sys.path.insert(0, {str(place)!r})\n{RESIZE}"
            subprocess.run([sys.executable, "-c", script, release, folder / "in.npz", folder / "matrix.txt", folder / f"{release}.npz"], check=True)
            theirs = numpy.load(folder / f"{release}.npz")
            orders[release] = {line: theirs[line] for line in lines}
            for (height, width), filter in itertools.product(TARGETS, FILTERS):
                ours = augmented("resize", {"height": height, "width": width, "filter": filter, "pass_order": pass_order}, images)
                for number, pixels in enumerate(ours):
                    total += 1
                    line = f"{number} {height} {width} {filter}"
                    if pixels.shape != orders[release][line].shape or (pixels != orders[release][line]).any():
                        wrong.append(f"Pillow {release}, {pass_order}: {SIZES[number]} to {(width, height)}, {filter}")
    for line in wrong[:40]:
        print(f"FAILED {line}")
    print(f"{total - len(wrong)} of {total} resized pictures are Pillow's to the bit ({', '.join(RELEASES)})")
    for earlier, later in itertools.pairwise(RELEASES):
        changed = [(line, numpy.abs(orders[earlier][line].astype(int) - orders[later][line])) for line in lines]
        changed = [(line, apart.max()) for line, apart in changed if apart.any()]
        print(f"Pillow {later} differs from {earlier} in {len(changed)} of {len(lines)}, by up to {max((most for _, most in changed), default=0)} levels")
    sys.exit(1 if wrong else 0)


main()
