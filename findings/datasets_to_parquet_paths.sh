#!/usr/bin/env bash
# An export of pictures by Hugging Face datasets has no pictures in it: `to_parquet` writes the paths of this machine.
#
# Guess:    `Dataset.to_parquet` writes what the hub has in its Parquet files: the bytes of every picture, as `push_to_hub` does.
# Seen:     pictures that came as files (`cast_column("image", Image())`, `load_dataset("imagefolder")`) are written as `{bytes: null, path: "/…"}`.
#           On another machine the rows are there and the pictures are not. Only pictures that came as bytes are written as bytes.
# Versions: datasets 5.2.0, pyarrow 26.0.1.
# Hurts:    whoever exports a data set to move it, or to give it to another program.
# VL Hub:   the source `parquet` follows such paths where they lead somewhere, and lists each row whose file is missing; `vlhub data pack` then puts
#           the pictures into shards.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1 pillow==12.3.0 || exit 2
cd "$work" && HF_HOME="$work/home" venv/bin/python - <<'PY'
import io
import os
import sys

import pyarrow.parquet
from datasets import Dataset, Image, disable_progress_bars, load_dataset
from PIL import Image as Pillow

disable_progress_bars()
os.makedirs("pictures/cat")
Pillow.new("RGB", (40, 30), (200, 0, 0)).save("pictures/cat/0.png")
data = open("pictures/cat/0.png", "rb").read()
made = {
    "a column of paths": Dataset.from_dict({"image": ["pictures/cat/0.png"]}).cast_column("image", Image()),
    "an image folder": load_dataset("imagefolder", data_dir="pictures", split="train"),
    "a column of bytes": Dataset.from_dict({"image": [{"bytes": data, "path": None}]}).cast_column("image", Image()),
}
seen = {}
for name, dataset in made.items():
    dataset.to_parquet("out.parquet")
    row = pyarrow.parquet.read_table("out.parquet").to_pylist()[0]["image"]
    seen[name] = row["bytes"] is None
    print(f"{name}: bytes {'null' if row['bytes'] is None else len(row['bytes'])}, path {row['path']!r}")
sys.exit(0 if list(seen.values()) == [True, True, False] else 1)
PY
