"""From the start of the process to the first step, and the largest resident memory of a short run: `vlhub train` against open_clip's own trainer, with the
same flags on the same table of pictures, in turns. Both log their first step; the losses of all steps are finite on both sides.

    VLHUB_BIN=target/release/vlhub python tests/bench/start.py
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy
from PIL import Image

ROUNDS, ROWS, BATCH = int(os.environ.get("ROUNDS", "5")), 32, 8
FIRST = "Train Epoch: 0 ["


def first_step(command, folder):
    """Seconds to the first logged step and to the end, and MiB."""
    begin = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen, said = None, []
    for line in child.stdout:
        said.append(line)
        if seen is None and FIRST in line:
            seen = time.perf_counter() - begin
    _, status, usage = os.wait4(child.pid, 0)
    text = "".join(said)
    if status or seen is None or "nan" in text.lower().split("loss:", 1)[-1][:40]:
        sys.exit(f"{' '.join(map(str, command))} ended with {status}\n{text[-3000:]}")
    return seen, time.perf_counter() - begin, usage.ru_maxrss / 1024


def main():
    random = numpy.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for at in range(ROWS):
            Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=numpy.uint8)).save(folder / f"{at}.jpg")
        lines = [f"{folder / f'{at}.jpg'}\ta picture of number {at}" for at in range(ROWS)]
        (folder / "train.csv").write_text("\n".join(["filepath\ttitle", *lines]) + "\n")
        flags = ["--train-data", "train.csv", "--dataset-type", "csv", "--model", "ViT-S-32", "--batch-size", str(BATCH), "--epochs", "1"]
        flags += ["--precision", "fp32", "--workers", "1", "--warmup", "2", "--log-every-n-steps", "1"]
        ways = {
            "ours": [str(Path(os.environ["VLHUB_BIN"]).resolve()), "train", *flags],
            "open_clip": [sys.executable, "-m", "open_clip_train.main", *flags],
        }
        rounds = []
        for at in range(ROUNDS + 1):
            order = list(ways) if at % 2 == 0 else list(ways)[::-1]
            rounds.append({way: first_step([*ways[way], "--name", f"{way}_{at}"], folder) for way in order})
        # The first round reads programs and libraries from the disk.
        rounds = rounds[1:]
    for place, what, unit in [(0, "start to first step", "s"), (1, f"start to end, {ROWS // BATCH} steps and a checkpoint", "s"), (2, "largest resident memory", "MiB")]:
        ratios = sorted(found["open_clip"][place] / found["ours"][place] for found in rounds)
        ours, theirs = (median(found[way][place] for found in rounds) for way in ways)
        print(f"{what}: ours {ours:.2f} {unit}, open_clip {theirs:.2f} {unit}: {median(ratios):.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f})")


main()
