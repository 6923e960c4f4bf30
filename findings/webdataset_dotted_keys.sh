#!/usr/bin/env bash
# webdataset's writer takes keys with dots that its reader makes one sample of.
#
# Guess:    what `TarWriter` accepts, `WebDataset` reads back: one sample for each key, with its fields.
# Seen:     keys `photo.000`, `photo.001`, `photo.002` come back as one sample `photo` with the fields `000.jpg`, `001.jpg`, … and no field `jpg`. The
#           reader cuts a name at its first dot; the writer does not look. `decode("pil")` decodes them all the same, since it looks at what is
#           behind the last dot, so nothing fails before someone asks for `jpg`.
# Versions: webdataset 1.0.2.
# Hurts:    keys made from file names (`IMG.2024.01.jpg`), hashes with a version, floating-point numbers.
# VL Hub:   cuts at the first dot too, since that is what the format says; `vlhub data check` tells where no sample has a picture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.4.6 pillow==12.3.0 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import io
import sys

import webdataset
from PIL import Image

buffer = io.BytesIO()
Image.new("RGB", (4, 4)).save(buffer, "JPEG")
with webdataset.TarWriter("shard.tar") as writer:
    for number in range(3):
        writer.write({"__key__": f"photo.{number:03d}", "jpg": buffer.getvalue(), "txt": f"caption {number}"})
samples = list(webdataset.WebDataset("shard.tar", shardshuffle=False).decode("pil"))
seen = {sample["__key__"]: {name: type(value).__name__ for name, value in sample.items() if not name.startswith("__")} for sample in samples}
print("3 samples were written; read back:", seen)
fields = {f"{number:03d}.{suffix}": kind for number in range(3) for suffix, kind in (("jpg", "Image"), ("txt", "str"))}
sys.exit(0 if seen == {"photo": fields} else 1)
PY
