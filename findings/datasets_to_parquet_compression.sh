#!/usr/bin/env bash
# Hugging Face datasets refuses to be told how `to_parquet` compresses.
#
# Guess:    `Dataset.to_parquet(path, compression="zstd")` writes columns with Zstandard: its documentation passes further arguments on to
#           pyarrow.parquet.ParquetWriter, whose option that is.
# Seen:     a TypeError for every data set, with or without a column of pictures, because `to_parquet` gives the same argument itself; so do
#           `use_dictionary` and `column_encoding`. What it writes: pictures uncompressed, everything else with Snappy. An empty file is left behind.
# Versions: datasets 5.2.0, pyarrow 26.0.1.
# Hurts:    whoever writes a table of pictures with Zstandard, or text without a dictionary, as the documentation says; after an error that is
#           caught, a file of the right name that no reader reads.
# VL Hub:   `parquet` reads pages without compression, Snappy, gzip, Zstandard and LZ4; an empty file is an error that names it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" &&
  "$work/venv/bin/pip" install --quiet datasets==5.2.0 huggingface_hub==2.4.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6 pillow==12.3.0 || exit 2
cd "$work" && HF_HUB_OFFLINE=1 HF_HOME="$work/home" venv/bin/python - <<'PY'
import io
import os
import sys

import datasets
import pyarrow.parquet
from PIL import Image

datasets.disable_progress_bars()
picture = io.BytesIO()
Image.new("RGB", (4, 4)).save(picture, "PNG")
features = datasets.Features({"image": datasets.Image(), "text": datasets.Value("string")})
pictures = datasets.Dataset.from_dict({"image": [{"bytes": picture.getvalue(), "path": None}] * 4, "text": ["a dog"] * 4}, features=features)
seen = []
for name, data in (("text alone", pictures.remove_columns("image")), ("pictures and text", pictures)):
    for options in ({}, {"compression": "zstd"}, {"use_dictionary": False}):
        path = f"{len(seen)}.parquet"
        try:
            data.to_parquet(path, **options)
            group = pyarrow.parquet.ParquetFile(path).metadata.row_group(0)
            said = {group.column(at).path_in_schema: group.column(at).compression for at in range(group.num_columns)}
        except TypeError as error:
            said = ("TypeError", "multiple values" in str(error), os.path.getsize(path))
        print(f"{name}, {options}: {said}")
        seen.append(said)
refused = ("TypeError", True, 0)
as_stated = seen == [
    {"text": "SNAPPY"},
    refused,
    refused,
    {"image.bytes": "UNCOMPRESSED", "image.path": "UNCOMPRESSED", "text": "SNAPPY"},
    refused,
    refused,
]
print("as stated" if as_stated else "NOT as stated")
sys.exit(0 if as_stated else 1)
PY
