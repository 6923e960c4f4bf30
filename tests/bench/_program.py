"""VL Hub's program in a folder: what it prints, how long it takes, how much memory, and whether its gradients are those of a peer."""

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy
from safetensors import safe_open

from _rounds import THREADS

PROGRAM = str(Path(os.environ["VLHUB_BIN"]).resolve())
LOSS_BOUND, GRADIENT_BOUND = 1e-5, 1e-4
# The end of a run file whose one step is compared and whose speed is measured; the lines that follow are of `[train]`.
ONE_STEP = f"""[optimizer]
lr = 1e-5
[schedule]
use = "constant"
[train]
steps = 1
save_every = 1
log_every = 1
workers = 1
torch_threads = {THREADS}
show_batch = false
"""


@dataclass
class Ended:
    output: str
    seconds: float
    # Largest resident memory in bytes. That of a child begins with its parent's, so scripts that report it import no torch.
    resident: int


def vlhub(folder, *arguments):
    arguments, begin = [str(argument) for argument in arguments], time.perf_counter()
    with tempfile.TemporaryFile("w+") as errors:
        child = subprocess.Popen([PROGRAM, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=errors, text=True)
        output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            sys.exit(f"vlhub {' '.join(arguments)} ended with {child.returncode}\n{errors.read()[-3000:]}")
    return Ended(output, time.perf_counter() - begin, usage.ru_maxrss * 1024)


def version():
    return vlhub(None, "--version").output.strip()


def bench_train(folder, *overrides, steps=3):
    """What `vlhub bench train` tells of `run.toml`. `share`: how much of the step its products would take at the speed of a large product alone."""
    ended = vlhub(folder, "bench", "train", "run.toml", *overrides, "--steps", steps, "--json")
    told = json.loads(ended.output)
    return told | {"share": told["gflop"] / told["limit"] / told["profiled"], "resident": ended.resident}


def first_step(folder, name, *overrides):
    """Takes one step of `run.toml` as the run `name`; the loss."""
    vlhub(folder, "train", "run.toml", f"name={name}", *overrides)
    return json.loads((folder / f"logs/{name}/metrics.jsonl").read_text().splitlines()[0])["loss"]


def gradients_apart(folder, name, wanted):
    """How far the gradients of a run's first step are from those in the file `wanted`, all together, relative to these. After one step the first
    moments of AdamW are a tenth of the gradients."""
    step, error, norm = folder / f"logs/{name}/checkpoints/step-000000001/rank-0.safetensors", 0.0, 0.0
    with safe_open(step, framework="np") as moments, safe_open(wanted, framework="np") as gradients:
        for key in gradients.keys():
            theirs = gradients.get_tensor(key).reshape(-1)
            ours = moments.get_tensor(f"optimizer.exp_avg.{key}").reshape(-1) / 0.1
            error += numpy.square(ours - theirs, dtype="float64").sum()
            norm += numpy.square(theirs, dtype="float64").sum()
    return float(numpy.sqrt(error / norm))


def ensure_equal(what, loss, theirs, error):
    """Ends the script where two sides do not compute the same."""
    off = abs(loss - theirs) / max(1.0, abs(theirs))
    print(f"  {what}: loss {loss:.6f}, off by {off:.1e}; gradients off by {error:.1e}", flush=True)
    if not (off < LOSS_BOUND and error < GRADIENT_BOUND):
        sys.exit("the two do not compute the same; nothing is measured")
