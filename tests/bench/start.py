"""From the start of the process to the first step, and the largest resident memory of a short run: `vlhub train` against open_clip's own trainer, with the
same flags on the same table of pictures, in turns.

Each draws its own weights and crops, so there are no equal numbers to hold against each other first: both log as many steps, with finite losses.

    cargo vlhub bench --peers start                           # three minutes
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from _inputs import table
from _program import PROGRAM
from _results import Comparison, comparisons, in_mib, in_seconds, report
from _rounds import in_turns, rounds

ROUNDS, ROWS, BATCH = max(1, rounds(5)), 32, 8
FIRST, LOSS = "Train Epoch: 0 [", re.compile(r"Loss: ([\d.]+)")
WAYS = {"ours": [PROGRAM, "train"], "open_clip": [sys.executable, "-m", "open_clip_train.main"]}
FLAGS = "--train-data train.tsv --dataset-type csv --model ViT-S-32 --epochs 1 --precision fp32 --workers 1 --warmup 2 --log-every-n-steps 1".split()


def run(way, folder):
    """Seconds to the first logged step and to the end, and the largest resident memory."""
    name = f"{way}_{time.time_ns()}"
    command = [*WAYS[way], *FLAGS, "--batch-size", str(BATCH), "--name", name]
    begin = time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    seen, said = None, []
    for line in child.stdout:
        said.append(line)
        if seen is None and FIRST in line:
            seen = time.perf_counter() - begin
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    text = "".join(said)
    if child.returncode or len(LOSS.findall(text)) < ROWS // BATCH:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}\n{text[-3000:]}")
    return seen, time.perf_counter() - begin, usage.ru_maxrss * 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table(folder, ROWS, (8, 16))
        # open_clip starts at the working folder with paths of pictures, as we do.
        ways = {way: lambda way=way: run(way, folder) for way in WAYS}
        # The first round reads programs and libraries from the disk.
        found = in_turns(ways, ROUNDS + 1)[1:]
    rows = []
    for place, case, shown, goal in [
        (0, "start to first step", in_seconds, 8.0),
        (1, f"start to end: {ROWS // BATCH} steps and a checkpoint", in_seconds, None),
        (2, "largest resident memory", in_mib, 2.0),
    ]:
        ours, theirs = ([each[way][place] for each in found] for way in WAYS)
        rows.append(Comparison(case, shown(ours), shown(theirs), [right / left for left, right in zip(ours, theirs)], goal=goal))
    about = f"ViT-S-32, batch {BATCH}, the same flags: `{' '.join(FLAGS)}`. The processes that open_clip loads pictures with are not counted in its memory."
    report("start", "Start of a run, against open_clip's trainer", about, ["open_clip_torch"], ROUNDS, comparisons(rows))


main()
