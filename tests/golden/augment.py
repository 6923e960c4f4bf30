"""Writes augment.json: what the operations of torchvision's and timm's RandAugment and a JPEG of Pillow make of pictures that a formula draws, as digests.

Run with an interpreter that holds Pillow 12.3, torchvision and timm, in tests/golden: `python augment.py`.
"""

import io
import json
import pathlib
import random

import drawn
import PIL
import timm
import torchvision
from drawn import picture
from PIL import Image
from timm.data import auto_augment
from torchvision.transforms.autoaugment import InterpolationMode, RandAugment, _apply_op

FILL = (9, 80, 200)
TIMM = {"AutoContrast": "", "Equalize": "", "Invert": "", "Rotate": "", "Posterize": "Increasing", "Solarize": "Increasing", "SolarizeAdd": "",
        "Color": "Increasing", "Contrast": "Increasing", "Brightness": "Increasing", "Sharpness": "Increasing", "ShearX": "", "ShearY": "",
        "TranslateX": "Rel", "TranslateY": "Rel", "Desaturate": "", "GaussianBlur": ""}
cases = []


def case(op, source, arguments, out):
    cases.append(drawn.case(op, source, arguments, out))


def jpeg(image, quality):
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


for source in ([64, 48, 1], [97, 61, 2], [1, 1, 3], [1, 40, 4], [17, 16, 5], [224, 224, 6]):
    image = picture(*source)
    for quality in (1, 10, 30, 50, 75, 90, 100):
        case("jpeg", source, [quality], jpeg(image, quality))

for number, source in enumerate(([64, 48, 7], [33, 97, 8])):
    image = picture(*source)
    for magnitude, bins in ((0, 31), (9, 31), (22, 31), (30, 31), (1, 2), (4, 10)):
        table = RandAugment(2, magnitude, bins)._augmentation_space(bins, (image.height, image.width))
        for which, (name, (magnitudes, signed)) in enumerate(table.items()):
            value = float(magnitudes[magnitude].item()) if magnitudes.ndim > 0 else 0.0
            for direction in (1, -1) if signed else (1,):
                mode = "bilinear" if (magnitude + which) % 2 else "nearest"
                out = _apply_op(image, name, direction * value, InterpolationMode(mode), list(FILL))
                case("rand_augment", source, [magnitude, bins, which, direction, mode], out)
    for base, ending in TIMM.items():
        for level, increasing, negative in ((0.0, True, False), (3.7, False, False), (3.7, True, True), (9.0, True, False), (10.0, False, True), (15.0, True, False)):
            name = base + (ending if increasing or ending == "Rel" else "")
            random.random = lambda: 0.9 if negative else 0.1
            mode = "bicubic" if negative else "bilinear"
            arguments = auto_augment.LEVEL_TO_ARG[name](level, {}) if auto_augment.LEVEL_TO_ARG[name] else ()
            resample = Image.BICUBIC if negative else Image.BILINEAR
            out = auto_augment.NAME_TO_OP[name](image, *arguments, fillcolor=FILL, resample=resample)
            case("timm", source, [base, level, increasing, negative, mode], out)

versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__.split("+")[0], "timm": timm.__version__}
text = '{\n"versions": ' + json.dumps(versions) + ',\n"cases": [\n' + ",\n".join(map(json.dumps, cases)) + "\n]\n}\n"
pathlib.Path(__file__).with_suffix(".json").write_text(text)
