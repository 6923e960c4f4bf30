"""Writes pixels_pillow13.json: what the resize of Pillow 13 makes of pictures that a formula draws, as digests.

Run with an interpreter that holds Pillow 13.0 and numpy, in tests/golden: `python pixels_pillow13.py`.
"""

import json
import pathlib

import drawn
import PIL
from drawn import picture
from PIL import Image

assert PIL.__version__.startswith("13."), PIL.__version__
FILTERS = {"nearest": Image.NEAREST, "box": Image.BOX, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
sizes = [
    ((64, 48), (31, 29)), ((64, 48), (224, 168)), ((97, 61), (20, 61)), ((50, 700), (64, 70)), ((375, 500), (224, 299)), ((61, 97), (60, 20)),
    # On the border of the rule: the height loses twice as many pixels as the width, and one more.
    ((40, 60), (30, 40)), ((40, 60), (30, 39)), ((41, 60), (30, 38)), ((40, 60), (50, 59)), ((40, 60), (40, 20)), ((40, 60), (50, 61)),
    ((3, 700), (20, 70)), ((3, 301), (9, 400)), ((700, 50), (70, 40)), ((1, 400), (16, 16)),
]
cases = []
for seed, (source, target) in enumerate(sizes):
    image = picture(*source, seed)
    for name, filter in FILTERS.items():
        cases.append(drawn.case("resize_pillow13", [*source, seed], [*target, name], image.resize(target, filter)))
text = '{\n"versions": ' + json.dumps({"pillow": PIL.__version__}) + ',\n"cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]\n}\n"
pathlib.Path(__file__).with_suffix(".json").write_text(text)
