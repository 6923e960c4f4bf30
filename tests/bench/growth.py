"""How the cost of ours grows: a step over batches and over lengths of captions, a zero-shot classifier over classes, evaluation over samples. No peer.

Models are small, so that the largest point takes minutes. What a process takes to start is taken off, where the whole process is measured.

    cargo vlhub bench --peers growth                          # twenty minutes
    CASES=captions ROUNDS=3 cargo vlhub bench --peers growth
"""

import json
import tempfile
from pathlib import Path
from statistics import median

import numpy

import _inputs
from _growth import Growth, growths
from _program import bench_train, vlhub
from _results import report
from _rounds import THREADS, in_turns, rounds, wanted

ROUNDS = max(1, rounds(3))
BATCHES, LENGTHS, CLASSES = [2**power for power in range(5, 13)], [8, 16, 32, 48, 64, 77], [10, 100, 1000, 10_000]
SAMPLES, PAIRS, PLAIN = [1000, 10_000, 100_000, 1_000_000], [1000, 2000, 4000, 8000], 64
TRAIN = f"""[objective.clip]
[train]
workers = 1
torch_threads = {THREADS}
[schedule]
use = "constant"
"""
TEXT = '[backbone.text]\nuse = "text_transformer"\n'
SMALL = '[backbone.image]\nuse = "vit"\nimage_size = 48\npatch_size = 8\nwidth = 128\nlayers = 4\nheads = 4\n'
# As little as there can be of what is not measured.
TINY = '[backbone.image]\nuse = "vit"\nimage_size = 32\npatch_size = 32\nwidth = 32\nlayers = 1\nheads = 2\n'
STEP = f'embed = 128\n{SMALL}{TEXT}width = 128\nlayers = 4\nheads = 4\n[data.train]\nuse = "shapes"\n{TRAIN}'
TEXTS = f'embed = 128\n{TINY}{TEXT}width = 256\nlayers = 6\nheads = 4\n[data.train]\nuse = "csv"\n{TRAIN}'
EVAL = f"""embed = 32
{TINY}{TEXT}width = 32
layers = 1
heads = 2
[eval.zeroshot]
data = {{ use = "shapes", size = 32 }}
[eval.retrieval]
data = {{ use = "shapes", size = 32 }}
"""
CLASSIFIER = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 4},
}


def along(places, measure):
    """For each place the medians of the numbers that `measure` gave there."""
    found = in_turns({place: lambda place=place: measure(place) for place in places}, ROUNDS)
    return {place: [median(values) for values in zip(*(each[place] for each in found))] for place in places}


def points(found, at, scale=1.0):
    return [(place, values[at] / scale) for place, values in found.items()]


def batches(folder):
    (folder / "run.toml").write_text(STEP)
    memory = bench_train(folder, f"train.batch={PLAIN}", steps=1)["peak"]

    def step(batch):
        told = bench_train(folder, f"train.batch={batch}", f'train.memory="{memory} B"', steps=3)
        return told["seconds"], told["peak"]

    found = along(BATCHES, step)
    pace = lambda batch: batch / found[batch][0]
    print(f"  samples a second at {BATCHES[-1]} over those at {PLAIN}: {pace(BATCHES[-1]) / pace(PLAIN):.2f}")
    cut = {batch: values for batch, values in found.items() if batch > PLAIN}
    return [
        Growth(f"a step, in the memory of a plain step of {PLAIN}", "batch", points(found, 0), 1.1),
        Growth("its tensors beside weights and batch", "batch", points(cut, 1, 2**20), 0.2, "{:,.0f} MiB"),
    ]


def lengths(folder):
    (folder / "run.toml").write_text(TEXTS)
    for length in LENGTHS:
        inside = folder / str(length)
        inside.mkdir()
        # Start and end are two of the tokens.
        _inputs.table(inside, 512, (length - 2, length - 2), pictures=1, size=32)
    step = lambda length: [bench_train(folder, "train.batch=128", f'data.train.path="{length}/train.tsv"', steps=3)["seconds"]]
    found = along(LENGTHS, step)
    return [Growth("a step of 128 captions, with next to no image tower", "tokens", points(found, 0), 1.1)]


def classes(folder):
    (folder / "model.json").write_text(json.dumps(CLASSIFIER))
    # Names of one to five words, each once.
    names = list(dict.fromkeys(_inputs.captions(2 * CLASSES[-1], 1, 5, numpy.random.default_rng(0))))
    for count in CLASSES:
        (folder / f"{count}.txt").write_text("\n".join(names[:count]) + "\n")

    def classifier(count):
        arguments = ["--model", "model.json", "--random-weights", "--classes", f"{count}.txt", "--templates", "simple", "--out", "out.safetensors"]
        return [json.loads(vlhub(folder, "embed", *arguments, "--json").output)["seconds"]["classifier"]]

    return [Growth("a zero-shot classifier, 7 templates", "classes", points(along(CLASSES, classifier), 0), 1.1)]


def suite(folder, name, what, places, most):
    (folder / "run.toml").write_text(EVAL)

    def evaluate(count):
        ended = vlhub(folder, "eval", "run.toml", "--random-weights", "--no-classifier-cache", "--suite", name, f"eval.{name}.data.samples={count}")
        return ended.seconds, ended.resident

    found = along([2, *places], evaluate)
    start = found.pop(2)
    beyond = {place: [value - least for value, least in zip(values, start)] for place, values in found.items()}
    return [
        Growth(what, "pictures", points(beyond, 0), most),
        Growth("its resident memory", "pictures", points(beyond, 1, 2**20), 1.1, "{:,.0f} MiB"),
    ]


CASES = {
    "batches": batches,
    "captions": lengths,
    "classes": classes,
    "zeroshot": lambda folder: suite(folder, "zeroshot", "zero-shot evaluation, intervals included", SAMPLES, 1.1),
    "retrieval": lambda folder: suite(folder, "retrieval", "retrieval both ways, intervals included", PAIRS, 2.1),
}


def main():
    rows = []
    for name in wanted(CASES):
        print(name, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            found = CASES[name](Path(folder))
        for row in found:
            print("  " + " | ".join(row.cells()), flush=True)
        rows += found
    about = (
        "Medians of ours alone, on small models; the exponent is the slope of a line through the logarithms. Evaluation: seconds and memory of the "
        "whole process beyond those of two pictures. Retrieval compares all pictures with all texts."
    )
    report("growth", "How costs grow", about, [], ROUNDS, growths(rows))


main()
