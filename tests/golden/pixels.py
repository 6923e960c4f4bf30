"""Writes pixels.json: what Pillow and torchvision make of pictures that a formula draws, as digests.

Run with the interpreter that holds Pillow 12.3, torchvision and open_clip_torch: `python tests/golden/pixels.py`.
"""

import json
import pathlib

import drawn
import numpy
import open_clip
import PIL
import torchvision
from drawn import picture
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import functional as F

FILTERS = {
    "nearest": Image.NEAREST,
    "box": Image.BOX,
    "bilinear": Image.BILINEAR,
    "hamming": Image.HAMMING,
    "bicubic": Image.BICUBIC,
    "lanczos": Image.LANCZOS,
}
INTERPOLATIONS = {name: FILTERS[name] for name in ("nearest", "bilinear", "bicubic")}


def all_colours():
    """Every fifth value of each channel, and 255: colour operations see each branch."""
    levels = numpy.arange(0, 256, 5, dtype=numpy.uint8)
    cube = numpy.stack(numpy.meshgrid(levels, levels, levels, indexing="ij"), -1)
    return Image.fromarray(cube.reshape(len(levels), -1, 3), "RGB")


def evaluate(image, size, fit, filter):
    """open_clip's evaluation steps up to the tensor."""
    transform = open_clip.image_transform(size[0] if size[0] == size[1] else size, False, resize_mode=fit, interpolation=filter)
    steps = [s for s in transform.transforms if type(s).__name__ not in ("MaybeToTensor", "Normalize")]
    assert all(type(s).__name__ in ("Resize", "CenterCrop", "CenterCropOrPad", "ResizeKeepRatio", "MaybeConvertMode") for s in steps)
    for step in steps:
        image = step(image)
    return image


cases = []


def case(op, source, arguments, out):
    cases.append(drawn.case(op, source, arguments, out))


sizes = [
    ((64, 48), (31, 29)), ((64, 48), (224, 168)), ((97, 61), (97, 20)), ((97, 61), (20, 61)), ((97, 61), (97, 61)),
    ((1, 1), (7, 5)), ((1, 400), (16, 16)), ((400, 1), (16, 16)), ((300, 200), (1, 1)), ((3, 5), (2, 64)),
    ((320, 240), (299, 224)), ((333, 97), (48, 48)), ((50, 700), (64, 70)), ((500, 375), (224, 224)),
    # More than 100 times as tall as wide: Pillow 12.2 and 12.3 take the vertical pass first, unless the height grows.
    ((3, 700), (20, 70)), ((7, 701), (5, 60)), ((3, 301), (9, 400)), ((7, 700), (5, 60)),
]
for seed, (source, target) in enumerate(sizes):
    image = picture(*source, seed)
    for name, filter in FILTERS.items():
        case("resize", [*source, seed], [*target, name], image.resize(target, filter))
    box = (source[0] // 4, source[1] // 3, source[0] - source[0] // 5, source[1] - source[1] // 7)
    region = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
    case("resized_crop", [*source, seed], [*region, *target, "bicubic"], image.crop(box).resize(target, Image.BICUBIC))

evaluations = [
    ((64, 48), (32, 32)), ((48, 64), (32, 32)), ((500, 375), (224, 224)), ((375, 501), (224, 224)), ((31, 17), (48, 48)), ((1, 1), (16, 16)),
    ((1, 40), (16, 16)), ((333, 200), (63, 63)), ((200, 333), (96, 48)), ((333, 200), (96, 48)), ((100, 101), (33, 70)), ((224, 224), (224, 224)),
    ((225, 224), (224, 224)),
]
for seed, (source, target) in enumerate(evaluations):
    image = picture(*source, 100 + seed)
    for fit in ("shortest", "longest", "squash"):
        for filter in ("bicubic", "bilinear"):
            if fit == "longest" and source == (1, 40):
                continue  # a side of no pixels: Pillow refuses
            case("prepare", [*source, 100 + seed], [*target, fit, filter], evaluate(image, target, fit, filter))
    case("center_crop", [*source, 100 + seed], list(target), F.center_crop(image, list(target)))

# `None` stands for the picture of all colours.
for source in (None, [64, 48, 7], [1, 1, 8], [5, 1, 9], [1, 9, 10], [40, 97, 11]):
    image = all_colours() if source is None else picture(*source)
    case("greyscale", source, [], F.to_grayscale(image, 3))
    case("flip", source, [], F.hflip(image))
    for factor in (0.0, 0.2, 0.6183, 1.0, 1.4, 3.7):
        case("brightness", source, [factor], F.adjust_brightness(image, factor))
        case("contrast", source, [factor], F.adjust_contrast(image, factor))
        case("saturation", source, [factor], F.adjust_saturation(image, factor))
    for shift in (-0.5, -0.1, -0.003, 0.0, 0.05, 0.1, 0.25, 0.5):
        case("hue", source, [shift], F.adjust_hue(image, shift))
    for threshold in (0, 1, 128, 255):
        case("solarize", source, [threshold], ImageOps.solarize(image, threshold))
    case("invert", source, [], ImageOps.invert(image))
    case("autocontrast", source, [], ImageOps.autocontrast(image))
    case("equalize", source, [], ImageOps.equalize(image))
    for bits in (0, 1, 3, 8):
        case("posterize", source, [bits], ImageOps.posterize(image, bits))
    for factor in (0.0, 0.1, 0.73, 1.0, 1.9, 7.3):
        case("sharpness", source, [factor], F.adjust_sharpness(image, factor))
    if source is not None:
        for name, interpolation in INTERPOLATIONS.items():
            for degrees in (0, 13.7, -30, 90, 180, 270, 359.9):
                case("rotate", source, [degrees, name], image.rotate(degrees, interpolation, fillcolor=(9, 80, 200)))
            for matrix in ((1, 0, -3.4, 0, 1, 2.5), (1, 0.3, 0, 0, 1, 0), (1, 0, 0, -0.21, 1, 0), (0.7, 0.2, 3, -0.4, 1.3, -2), (2, 0.5, 4e4, 0, 1, 0)):
                case("affine", source, [*matrix, name], image.transform(image.size, Image.AFFINE, matrix, interpolation, fillcolor=(9, 80, 200)))
        size = [image.width * 0.5, image.height * 0.5]
        for arguments in ((25.0, (3, -2), 0.8, (10.0, -5.0)), (-170.0, (0, 0), 1.7, (0.0, 30.0))):
            out = F.affine(image, *arguments, interpolation=F.InterpolationMode.BILINEAR, fill=[9, 80, 200])
            case("torchvision_affine", source, [size, *arguments], out)
        for sigma in (0.0, 0.1, 0.5, 1.0, 1.7321, 2.0, 3.3, 12.0):
            case("gaussian_blur", source, [sigma], image.filter(ImageFilter.GaussianBlur(sigma)))

versions = {"pillow": PIL.__version__, "torchvision": torchvision.__version__.split("+")[0], "open_clip_torch": open_clip.__version__}
text = '{\n"versions": ' + json.dumps(versions) + ',\n"cases": [\n' + ",\n".join(json.dumps(c) for c in cases) + "\n]\n}\n"
pathlib.Path(__file__).with_suffix(".json").write_text(text)
