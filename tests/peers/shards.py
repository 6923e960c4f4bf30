"""Shards that `vlhub data pack` wrote, read by webdataset: the same samples, pictures to the byte, captions, classes and keys."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import webdataset
from PIL import Image

CAPTIONS = ["a cat", "two dogs, one ball", "caf\u00e9 \U0001f600", "tab and \"quotes\"", "x" * 300] * 5


def main(folder):
    random = numpy.random.default_rng(0)
    rows = ["filepath\ttitle\tlabel"]
    for index, caption in enumerate(CAPTIONS):
        name = f"{index}.{['png', 'jpg'][index % 2]}"
        Image.fromarray(random.integers(0, 256, (20, 30, 3), dtype=numpy.uint8)).save(folder / name)
        quoted = caption.replace('"', '""')
        rows.append(f'{name}\t"{quoted}"\t{index % 3}')
    (folder / "all.tsv").write_text("\n".join(rows) + "\n")
    (folder / "classes.txt").write_text("cat\ndog\nother\n")
    pack = [os.environ["VLHUB_BIN"], "data", "pack", "all.tsv", "--out", "shards", "--shard-size", "7", "--label-key", "label", "--classes", "classes.txt"]
    subprocess.run(pack, cwd=folder, check=True, capture_output=True)
    shards = sorted(str(path) for path in (folder / "shards").glob("*.tar"))
    samples = list(webdataset.WebDataset(shards, shardshuffle=False, empty_check=False))
    wrong = []
    if len(samples) != len(CAPTIONS) or len(shards) != 4:
        wrong.append(f"{len(samples)} samples in {len(shards)} shards")
    for index, (sample, caption) in enumerate(zip(samples, CAPTIONS)):
        kind = ["png", "jpg"][index % 2]
        if sample.get(kind) != (folder / f"{index}.{kind}").read_bytes():
            wrong.append(f"sample {index}: the picture differs; members {sorted(sample)}")
        if sample["txt"].decode() != caption or sample["cls"].decode().strip() != str(index % 3):
            wrong.append(f"sample {index}: {sample['txt']!r}, class {sample['cls']!r}")
    return wrong


with tempfile.TemporaryDirectory() as folder:
    problems = main(Path(folder))
print("\n".join(problems) or "ok")
sys.exit(bool(problems))
