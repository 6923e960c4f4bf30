#!/usr/bin/env bash
# Hugging Face datasets leaves out classes when one class folder is called like a split.
#
# Guess:    `load_dataset("imagefolder", data_dir=…)` over `dog/` and `train_station/` gives two classes, as torchvision's ImageFolder does.
# Seen:     a folder whose name has `train`, `dev`, `eval`, `test`, … as a word of it (`train_station`, a class of Places365) is taken for a
#           split: every other folder is left out, without a word. With one folder left the label column is gone too. `bus`, `test`, `val`
#           become two splits of classes called `test` and `val`.
# Versions: datasets 5.2.0, huggingface_hub 2.4.0.
# Hurts:    class folders of COCO and CIFAR-100 (`train`), Places365 and SUN397 (`train_station`, `train_interior`), and whoever compares accuracies
#           between the two readers.
# VL Hub:   `imagefolder` takes every folder for a class, whatever it is called.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
  "$work/venv/bin/pip" install --quiet datasets==5.2.0 huggingface_hub==2.4.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 pillow==12.3.0 || exit 2
cd "$work" && HF_HUB_OFFLINE=1 HF_HOME="$work/home" venv/bin/python - <<'PY'
import os
import sys

import datasets
from PIL import Image

datasets.disable_progress_bars()
seen = []
for number, classes in enumerate((["cat", "dog"], ["dog", "train_station"], ["bus", "car", "train"], ["bus", "test", "val"])):
    for name in classes:
        os.makedirs(f"{number}/{name}")
        for picture in range(2):
            Image.new("RGB", (4, 4), (picture, 0, 0)).save(f"{number}/{name}/{picture}.png")
    loaded = datasets.load_dataset("imagefolder", data_dir=str(number))
    splits = {split: (len(rows), rows.features["label"].names if "label" in rows.features else None) for split, rows in loaded.items()}
    print(f"{classes}, 2 pictures each: {splits}")
    seen.append(splits)
as_stated = seen == [
    {"train": (4, ["cat", "dog"])},
    {"train": (2, None)},
    {"train": (2, None)},
    {"validation": (2, ["test", "val"]), "test": (2, ["test", "val"])},
]
sys.exit(0 if as_stated else 1)
PY
