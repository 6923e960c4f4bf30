#!/usr/bin/env bash
# timm and torchvision number the same class folders differently.
#
# Guess:    folders of classes are numbered in the order of their sorted names, by every reader.
# Seen:     torchvision sorts by code points (`1`, `10`, `2`, `Cat`, `bird`), timm by natural order without case (`1`, `2`, `10`, `bird`, `Cat`). A
#           head trained by one and measured by the other names the wrong class for every folder that moved, without an error.
# Versions: timm 1.0.31, torchvision 0.26.0, torch 2.11.0.
# Hurts:    numbered folders without leading zeros, names of mixed case; whoever brings a timm classifier.
# VL Hub:   sorts by bytes, as torchvision does, and matches classes by name wherever both sides have names.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet torch==2.11.0 torchvision==0.26.0 timm==1.0.31 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import os
import sys

from PIL import Image
from timm.data import create_dataset
from torchvision.datasets import ImageFolder

for name in ("1", "2", "10", "Cat", "bird"):
    os.makedirs(f"pictures/{name}")
    Image.new("RGB", (4, 4)).save(f"pictures/{name}/a.png")
order = lambda numbers: sorted(numbers, key=numbers.get)
torchvision, timm = order(ImageFolder("pictures").class_to_idx), order(create_dataset("", "pictures").reader.class_to_idx)
print("torchvision:", torchvision)
print("timm:", timm)
sys.exit(0 if torchvision == ["1", "10", "2", "Cat", "bird"] and timm == ["1", "2", "10", "bird", "Cat"] else 1)
PY
