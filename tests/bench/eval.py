"""Evaluation against a plain open_clip script on the same weights, classes and pictures, interleaved; equality of the results first.

  classifier   1000 classes of ImageNet x 80 templates, text tower of ViT-B-32. open_clip encodes a share of the classes, ten at a time as it
               always does, so its time for all of them is a multiple: its cost per class does not depend on how many there are
  embed        a folder of 500x375 JPEG
  zeroshot     both together, in the proportion that they have on ImageNet: 10 classes x 80 templates and 500 pictures to 1000 and 50,000

Speeds are measured with a release build alone: `cargo build --release`, then VLHUB_BIN=target/release/vlhub. With another, a few classes and
pictures are compared. It is a benchmark, not a test: it fails only when results differ. Ours is the time that a part took, or where it says
so that of the whole process, its start included; Python's is taken after its imports and after its weights are loaded.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy
import open_clip
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset

VLHUB = os.environ.get("VLHUB_BIN", "target/debug/vlhub")
RELEASE = "release" in VLHUB
MODEL, ROUNDS, WORKERS, BATCH = "ViT-B-32", int(os.environ.get("ROUNDS", "3")) if RELEASE else 1, 2, 64
CLASSES = open_clip.IMAGENET_CLASSNAMES
TEMPLATES = open_clip.OPENAI_IMAGENET_TEMPLATES
# Of the 1000 classes, those that open_clip encodes; ours encodes all.
SHARE = 20 if RELEASE else 2
PICTURES = 256 if RELEASE else 8


class Folder(Dataset):
    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, at):
        return self.transform(Image.open(self.files[at]))


def pictures(folder, count):
    generator = numpy.random.default_rng(0)
    y, x = numpy.mgrid[0:375, 0:500]
    files = []
    for number in range(count):
        planes = [127 + 90 * numpy.sin(x / generator.uniform(6, 40) + y / generator.uniform(6, 40)) for _ in range(3)]
        pixels = numpy.clip(numpy.stack(planes, -1) + generator.normal(0, 9, (375, 500, 3)), 0, 255).astype("uint8")
        files.append(folder / f"{number:05}.jpg")
        Image.fromarray(pixels).save(files[-1], "JPEG", quality=90)
    return files


def ours(arguments, out):
    """The seconds of each part and of the whole process, and what was written."""
    begin = time.perf_counter()
    command = [VLHUB, "embed", "--model", MODEL, *arguments, "--out", str(out), "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return told["seconds"], time.perf_counter() - begin, load_file(out)


def apart(name, left, right):
    largest = (left - right).abs().max().item()
    print(f"  {name}: largest difference {largest:.1e}", flush=True)
    if not largest < 1e-5:
        sys.exit(f"{name} differs")


def report(name, pairs):
    ratios = [theirs / own for own, theirs in pairs]
    own, theirs = (median(side) for side in zip(*pairs))
    print(f"{name}: ours {own:.2f} s, open_clip {theirs:.2f} s, {median(ratios):.2f} times ({', '.join(f'{ratio:.2f}' for ratio in ratios)})", flush=True)


def main():
    torch.manual_seed(0)
    model, _, transform = open_clip.create_model_and_transforms(MODEL)
    model.eval()
    tokenizer = open_clip.get_tokenizer(MODEL)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        weights = folder / "weights.safetensors"
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, weights)
        photos = folder / "photos"
        photos.mkdir()
        files = pictures(photos, PICTURES)
        share = CLASSES[:: len(CLASSES) // SHARE][:SHARE]
        names = folder / "names.txt"
        names.write_text("\n".join(share if not RELEASE else CLASSES) + "\n")
        checkpoint = ["--checkpoint", str(weights)]

        def classify():
            begin = time.perf_counter()
            with torch.no_grad():
                made = open_clip.build_zero_shot_classifier(model, tokenizer, share, TEMPLATES, num_classes_per_batch=10)
            return time.perf_counter() - begin, made.T

        def encode():
            begin = time.perf_counter()
            loader = DataLoader(Folder(files, transform), batch_size=BATCH, num_workers=WORKERS)
            with torch.no_grad():
                rows = torch.cat([torch.nn.functional.normalize(model.encode_image(batch), dim=-1) for batch in loader])
            return time.perf_counter() - begin, rows

        times = {"classifier": [], "embed": [], "embed (whole process)": [], "zeroshot": []}
        for number in range(ROUNDS):
            seconds, _, out = ours([*checkpoint, "--classes", str(names), "--templates", "imagenet"], folder / "c.safetensors")
            theirs, made = classify()
            if number == 0:
                rows = out["classifier"][:: len(CLASSES) // SHARE][:SHARE] if RELEASE else out["classifier"]
                apart("classifier", rows, made)
            scale = len(CLASSES) / SHARE if RELEASE else 1
            classifier = seconds["classifier"], theirs * scale
            seconds, whole, out = ours([*checkpoint, "--images", str(photos), "--batch", str(BATCH)], folder / "i.safetensors")
            theirs, rows = encode()
            if number == 0:
                apart("embeddings", out["image"], rows)
            embed = seconds["images"], theirs
            times["classifier"].append(classifier)
            times["embed"].append(embed)
            times["embed (whole process)"].append((whole, theirs))
            pace = [10 / len(CLASSES) if RELEASE else 1, 500 / PICTURES]
            times["zeroshot"].append(tuple(side[0] * pace[0] + side[1] * pace[1] for side in zip(classifier, embed)))
        if RELEASE:
            for name, pairs in times.items():
                report(name, pairs)


main()
