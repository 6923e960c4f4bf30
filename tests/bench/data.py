"""Images a second, and memory, of VL Hub's loader and of open_clip's own webdataset pipeline, on the same shards, in turns; equality of the pixels
first. Pictures of 500x375 and of 2000x1500, the training transform (exact and, of ours, `train.decode = "fast"`) and that of evaluation.

    cargo vlhub bench --peers data                            # ten minutes
"""

import json
import os
import random
import subprocess
import sys
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

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "peers/data"))
from _inputs import photograph, shard
from _pictures import BOUND, apart
from _program import PROGRAM
from _results import Comparison, comparisons, in_mib, report
from _rounds import in_turns, rounds, spread, wanted

# open_clip 3.3.0 reads tar files by parts of webdataset before 1.0; this is the same step with webdataset's own.
open_clip_train.data.tarfile_to_samples_nothrow = webdataset.tarfile_to_samples(handler=open_clip_train.data.log_and_continue)

ROUNDS, SHARDS, WORKERS, BATCH, SECONDS = rounds(3), 4, 2, 32, 10
# Width, height, how many.
SIZES = {"500x375": (500, 375, 1200), "2000x1500": (2000, 1500, 240)}
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
[data.train]
use = "webdataset"
shards = "{0..3}.tar"
[objective.clip]
"""
TRAIN = """[view.image.main]
augment = [{ use = "random_resized_crop", scale = [0.9, 1.0] }]
"""


def shards(folder, width, height, count):
    """Writes the shards; the pictures that they repeat."""
    generator = numpy.random.default_rng(0)
    kinds = [photograph(generator, width, height) for _ in range(min(60, count // 4))]
    each = count // SHARDS
    for number in range(SHARDS):
        indices = range(number * each, (number + 1) * each)
        text = lambda index: f"a photo of thing number {index} on a table".encode()
        shard(folder / f"{number}.tar", [(f"{index:06}", {"jpg": kinds[index % len(kinds)], "txt": text(index)}) for index in indices])
    return kinds


def pixels_apart(folder, kinds):
    names = [f"{number}.jpg" for number in range(16)]
    for name, data in zip(names, kinds):
        (folder / name).write_bytes(data)
    return apart(folder, names[: len(kinds)]).max().item()


def memory(process):
    """Resident bytes of a process and its children; what they share is counted once (proportional set size)."""
    total = 0
    for name in [process, *children(process)]:
        for line in Path(f"/proc/{name}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                total += int(line.split()[1]) * 1024
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
    arguments = [PROGRAM, "bench", "data", "run.toml", f"train.workers={WORKERS}", f"train.batch={BATCH}", "--seconds", f"{SECONDS}", "--json"]
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
    speed = json.loads(text)
    return speed["end_to_end"], used, speed["of_decode"]


def compare(folder, case, count, is_train, *options):
    """The rows of rate and memory."""
    found = in_turns({"ours": lambda: ours(folder, *options), "theirs": lambda: theirs(folder, count, is_train)}, ROUNDS)
    (mine, own, share), (peer, other) = (list(zip(*(each[way] for each in found))) for way in ["ours", "theirs"])
    ratios, decoding = [left / right for left, right in zip(mine, peer)], median(share)
    print(f"{case}: {spread(ratios)} times as fast; {decoding:.0%} of decoding alone", flush=True)
    rate = lambda values: f"{median(values):,.0f} images/s"
    return [
        Comparison(f"{case}, rate", rate(mine), rate(peer), ratios, decoding),
        Comparison(f"{case}, memory of all processes", in_mib(own), in_mib(other), [right / left for left, right in zip(own, other)]),
    ]


def main():
    torch.set_num_threads(2)
    rows = []
    for size in wanted(SIZES):
        width, height, count = SIZES[size]
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            kinds = shards(folder, width, height, count)
            (folder / "run.toml").write_text(RUN + TRAIN)
            error, kilobytes = pixels_apart(folder, kinds), sum(map(len, kinds)) / len(kinds) / 1000
            print(f"{size}, {kilobytes:.1f} kB: embeddings differ by {error:.1e} at most (bound {BOUND:.0e})", flush=True)
            if not error <= BOUND:
                sys.exit("the pixels differ; nothing is measured")
            if not ROUNDS:
                continue
            rows += compare(folder, f"{size}, random crops, exact", count, True)
            rows += compare(folder, f"{size}, random crops, fast", count, True, 'train.decode="fast"')
            (folder / "run.toml").write_text(RUN)
            rows += compare(folder, f"{size}, evaluation", count, False)
    about = f"JPEG of quality 90 from {SHARDS} shards to 224 x 224, {WORKERS} workers. The limit is decoding alone, with the same threads."
    report("data", "Loading pictures, against open_clip's webdataset pipeline", about, ["open_clip_torch", "webdataset", "pillow"], ROUNDS, comparisons(rows))


main()
