"""Writes kernel_blur.json: what torchvision's gaussian_blur, which goes through a kernel of pixels, makes of small Pillow pictures.

Run with an interpreter that holds Pillow 12.3 and torchvision, in tests/golden: `python kernel_blur.py`.
"""

import json
import pathlib

import torchvision
from drawn import picture
from torchvision.transforms import functional as F

cases = []
for size in ((9, 7), (3, 5), (31, 20)):
    for kernel, sigma in ((1, 0.5), (3, 0.1), (5, 0.1), (5, 1.3), (5, 2.0), (9, 0.7)):
        if kernel // 2 < min(size):
            pixels = F.gaussian_blur(picture(*size, 1), [kernel, kernel], [sigma, sigma])
            cases.append({"size": size, "kernel": kernel, "sigma": sigma, "pixels": list(pixels.tobytes())})
text = '{\n"versions": ' + json.dumps({"torchvision": torchvision.__version__.split("+")[0]}) + ',\n"cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]\n}\n"
pathlib.Path(__file__).with_suffix(".json").write_text(text)
