#!/usr/bin/env bash
# Hugging Face datasets turns pictures upright by their Exif tag; the same rows through webdataset or open_clip lie on their side.
#
# Guess:    a column of type `Image` gives what `PIL.Image.open` gives of the stored bytes.
# Seen:     a JPEG with orientation 6 has 40 x 20 pixels for Pillow, torchvision's ImageFolder and open_clip, and 20 x 40 from `dataset[0]["image"]`.
# Versions: datasets 5.2.0, Pillow 12.3.0.
# Hurts:    whoever trains with open_clip on an export and evaluates with datasets, or draws boxes on one of the two.
# VL Hub:   ignores the tag, as open_clip does; `exif = "apply"` turns pictures, and then the pixels are those of datasets.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet datasets==5.2.0 pillow==12.3.0 || exit 2
cd "$work" && HF_HOME="$work/home" venv/bin/python - <<'PY'
import io
import sys

from datasets import Dataset, Image
from PIL import Image as Pillow

exif = Pillow.Exif()
exif[0x0112] = 6
buffer = io.BytesIO()
Pillow.new("RGB", (40, 20), (200, 0, 0)).save(buffer, "JPEG", exif=exif)
row = {"bytes": buffer.getvalue(), "path": None}
opened = Pillow.open(io.BytesIO(row["bytes"])).size
given = Dataset.from_dict({"image": [row]}).cast_column("image", Image())[0]["image"].size
print(f"Pillow opens {opened}, datasets gives {given}")
sys.exit(0 if (opened, given) == ((40, 20), (20, 40)) else 1)
PY
