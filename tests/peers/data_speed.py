"""Images a second of VL Hub's loader and of open_clip's own webdataset pipeline, on the same shards, interleaved; equality of the pixels first.

Needs `VLHUB_BIN` to be a release build to say anything about speed: `cargo build --release`, then VLHUB_BIN=target/release/vlhub. It is a
benchmark, not a test: it fails only when pixels differ.
"""

import io
import json
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from statistics import median
from types import SimpleNamespace

import numpy
import open_clip
import open_clip_train.data
import torch
import webdataset
from _pictures import BOUND, VLHUB, apart
from PIL import Image

# open_clip 3.3.0 reads tar files by parts of webdataset before 1.0; this is the same step with webdataset's own.
open_clip_train.data.tarfile_to_samples_nothrow = webdataset.tarfile_to_samples(handler=open_clip_train.data.log_and_continue)

PICTURES, SHARDS, WORKERS, BATCH, ROUNDS = 1200, 4, 2, 32, 3
RUN = """
embed = 32
[backbone.image]
use = "vit"
image_size = 224
patch_size = 32
width = 32
layers = 1
heads = 2
[backbone.text]
use = "text_transformer"
width = 32
layers = 1
heads = 2
[view.image.main]
augment = [{ use = "random_resized_crop", scale = [0.9, 1.0] }]
[data.train]
use = "webdataset"
shards = "{0..3}.tar"
[objective.clip]
[train]
"""


def picture(generator):
    """A photograph's share of detail: waves and noise, about 60 kB at quality 90."""
    y, x = numpy.mgrid[0:375, 0:500]
    planes = [127 + 90 * numpy.sin(x / generator.uniform(6, 40) + y / generator.uniform(6, 40)) for _ in range(3)]
    pixels = numpy.stack(planes, -1) + generator.normal(0, 9, (375, 500, 3))
    return Image.fromarray(numpy.clip(pixels, 0, 255).astype("uint8"))


def shards(folder):
    generator = numpy.random.default_rng(0)
    kinds, size = [], 0
    for _ in range(60):
        data = io.BytesIO()
        picture(generator).save(data, "JPEG", quality=90)
        kinds.append(data.getvalue())
        size += len(data.getvalue())
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(PICTURES // SHARDS):
                index = shard * PICTURES // SHARDS + number
                for suffix, data in (("jpg", kinds[index % len(kinds)]), ("txt", f"a photo of thing number {index} on a table".encode())):
                    info = tarfile.TarInfo(f"{index:06}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return kinds, size / len(kinds)


def same_pixels(folder, kinds):
    names = [f"{number}.jpg" for number in range(16)]
    for name, data in zip(names, kinds):
        (folder / name).write_bytes(data)
    return apart(folder, names).max().item()


def theirs(folder):
    random.seed(0)
    args = SimpleNamespace(
        train_data=str(folder / "{0..3}.tar"),
        train_num_samples=PICTURES,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=BATCH,
        workers=WORKERS,
        world_size=1,
    )
    transform = open_clip.image_transform(224, is_train=True)
    loader = open_clip_train.data.get_wds_dataset(args, transform, is_train=True, tokenizer=open_clip.get_tokenizer("ViT-B-32")).dataloader
    batches = iter(loader)
    # The first batches wait for processes that begin, and for the shuffle buffer to fill.
    for _ in range(2 * WORKERS):
        next(batches)
    start, rows = time.perf_counter(), 0
    for images, _ in batches:
        rows += len(images)
    return rows / (time.perf_counter() - start)


def ours(folder):
    arguments = [VLHUB, "bench", "data", "run.toml", f"train.workers={WORKERS}", f"train.batch={BATCH}", "--seconds", "15", "--json"]
    return json.loads(subprocess.run(arguments, cwd=folder, check=True, capture_output=True, text=True).stdout)


def main():
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        kinds, size = shards(folder)
        (folder / "run.toml").write_text(RUN)
        error = same_pixels(folder, kinds)
        print(f"pixels: embeddings differ by {error:.1e} at most (bound {BOUND:.0e})")
        if not error <= BOUND:
            sys.exit(1)
        rates = [(theirs(folder), ours(folder)) for _ in range(ROUNDS)]
    peer, whole = median(rate for rate, _ in rates), median(speed["end_to_end"] for _, speed in rates)
    stages = {stage: median(speed[stage] for _, speed in rates) for stage in ("read", "decode", "augment", "tokenise", "of_decode")}
    print(f"500x375, {size / 1000:.1f} kB, {WORKERS} workers, random resized crop to 224: {peer:.0f} images/s of open_clip's pipeline, {whole:.0f} of ours")
    rounds = ", ".join(format(speed["end_to_end"] / rate, ".2f") for rate, speed in rates)
    print(f"ratio {whole / peer:.2f} (rounds: {rounds})")
    print("ours by stage: " + ", ".join(f"{stage} {value:.2f}" if value < 10 else f"{stage} {value:.0f}/s" for stage, value in stages.items()))


main()
