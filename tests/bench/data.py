"""Images a second, and memory, of VL Hub's loader and of open_clip's own webdataset pipeline, on the same shards, interleaved; equality of the
pixels first. Pictures of 500x375 and of 2000x1500, the training transform (exact and, of ours, `train.decode = "fast"`) and that of evaluation.

Speeds are measured with a release build alone: `cargo build --release`, then VLHUB_BIN=target/release/vlhub. With another, pixels are
compared. It is a benchmark, not a test: it fails only when pixels differ.
"""

import io
import json
import os
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
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peers/data"))
from _pictures import BOUND, VLHUB, apart  # noqa: E402

# open_clip 3.3.0 reads tar files by parts of webdataset before 1.0; this is the same step with webdataset's own.
open_clip_train.data.tarfile_to_samples_nothrow = webdataset.tarfile_to_samples(handler=open_clip_train.data.log_and_continue)

SHARDS, WORKERS, BATCH, ROUNDS, SECONDS = 4, 2, 32, 3, 10
# Width, height, how many.
SIZES = [(500, 375, 1200), (2000, 1500, 240)]
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
TRAIN[data.train]
use = "webdataset"
shards = "{0..3}.tar"
[objective.clip]
[train]
"""
TRAIN = """[view.image.main]
augment = [{ use = "random_resized_crop", scale = [0.9, 1.0] }]
"""


def picture(generator, width, height):
    """A photograph's share of detail: waves and noise, about 60 kB at quality 90 for 500x375."""
    y, x = numpy.mgrid[0:height, 0:width]
    scale = width / 500
    planes = [127 + 90 * numpy.sin(x / scale / generator.uniform(6, 40) + y / scale / generator.uniform(6, 40)) for _ in range(3)]
    pixels = numpy.stack(planes, -1) + generator.normal(0, 9, (height, width, 3))
    return Image.fromarray(numpy.clip(pixels, 0, 255).astype("uint8"))


def shards(folder, width, height, count):
    generator = numpy.random.default_rng(0)
    kinds = []
    for _ in range(min(60, count // 4)):
        data = io.BytesIO()
        picture(generator, width, height).save(data, "JPEG", quality=90)
        kinds.append(data.getvalue())
    for shard in range(SHARDS):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(count // SHARDS):
                index = shard * count // SHARDS + number
                for suffix, data in (("jpg", kinds[index % len(kinds)]), ("txt", f"a photo of thing number {index} on a table".encode())):
                    info = tarfile.TarInfo(f"{index:06}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    return kinds


def same_pixels(folder, kinds):
    names = [f"{number}.jpg" for number in range(16)]
    for name, data in zip(names, kinds):
        (folder / name).write_bytes(data)
    return apart(folder, names[: len(kinds)]).max().item()


def memory(process):
    """Resident memory of a process and its children in MB; what they share is counted once (proportional set size)."""
    total = 0
    for name in [process, *children(process)]:
        for line in Path(f"/proc/{name}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) / 1000
    return total


def children(process):
    found = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return found + [other for child in found for other in children(child)]


def theirs(folder, count, is_train):
    random.seed(0)
    args = SimpleNamespace(
        train_data=str(folder / "{0..3}.tar"),
        train_num_samples=count,
        train_data_upsampling_factors=None,
        dataset_resampled=False,
        seed=0,
        batch_size=BATCH,
        workers=WORKERS,
        world_size=1,
    )
    transform = open_clip.image_transform(224, is_train=is_train)
    loader = open_clip_train.data.get_wds_dataset(args, transform, is_train=True, tokenizer=open_clip.get_tokenizer("ViT-B-32")).dataloader
    batches = iter(loader)
    # The first batches wait for processes that begin, and for the shuffle buffer to fill.
    next(batches)
    next(batches)
    start, rows = time.perf_counter(), 0
    for number, (images, _) in enumerate(batches):
        rows += len(images)
        if number == 1:
            used = memory(os.getpid())
    return rows / (time.perf_counter() - start), used


def ours(folder, *options):
    arguments = [VLHUB, "bench", "data", "run.toml", f"train.workers={WORKERS}", f"train.batch={BATCH}", "--seconds", f"{SECONDS}", "--json"]
    # What the kernel tells of an ended child (ru_maxrss) begins at what this process had when it started it, so it is looked at while it runs.
    process = subprocess.Popen([*arguments, *options], cwd=folder, stdout=subprocess.PIPE, text=True)
    used = 0
    while process.poll() is None:
        time.sleep(0.2)
        try:
            used = max(used, memory(process.pid))
        except (FileNotFoundError, ProcessLookupError):
            break
    text = process.stdout.read()
    if process.wait() != 0:
        sys.exit(f"{arguments} ended with {process.returncode}")
    return json.loads(text), used


def compare(folder, name, count, is_train, options):
    """One line: rates and memory, with all rounds' ratios."""
    rates = [(theirs(folder, count, is_train), ours(folder, *options)) for _ in range(ROUNDS)]
    peer, mine = median(rate for (rate, _), _ in rates), median(speed["end_to_end"] for _, (speed, _) in rates)
    rounds = ", ".join(format(speed["end_to_end"] / rate, ".2f") for (rate, _), (speed, _) in rates)
    share = median(speed["of_decode"] for _, (speed, _) in rates)
    used, own = median(used for (_, used), _ in rates), median(used for _, (_, used) in rates)
    print(
        f"{name}: open_clip's pipeline {peer:.0f} images/s, ours {mine:.0f}, ratio {mine / peer:.2f} (rounds: {rounds}); {share:.0%} of decoding alone; "
        f"memory {used:.0f} MB (of all its processes, what they share once), ours {own:.0f} MB at most",
        flush=True,
    )


def main():
    torch.set_num_threads(2)
    for width, height, count in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            kinds = shards(folder, width, height, count)
            (folder / "run.toml").write_text(RUN.replace("TRAIN", TRAIN))
            error = same_pixels(folder, kinds)
            kilobytes = sum(map(len, kinds)) / len(kinds) / 1000
            print(f"{width}x{height}, {kilobytes:.1f} kB, {WORKERS} workers, to 224: embeddings differ by {error:.1e} at most (bound {BOUND:.0e})")
            if not error <= BOUND:
                sys.exit(1)
            if "release" not in Path(VLHUB).parts:
                continue
            compare(folder, "training, exact", count, True, [])
            compare(folder, "training, fast", count, True, ['train.decode="fast"'])
            (folder / "run.toml").write_text(RUN.replace("TRAIN", ""))
            compare(folder, "evaluation", count, False, [])


main()
