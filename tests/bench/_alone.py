"""An objective alone, loss and gradients of features in a file: `vlhub plugins try` and the peer's function, each in a process of its own."""

import json
import resource
import subprocess
import sys
import time
from statistics import median

import numpy
from safetensors import safe_open

from _program import ensure_equal, vlhub
from _results import Comparison, in_mib, in_seconds
from _rounds import in_turns


def ours(objective, path, repeat, options=()):
    """The loss, and with `repeat` the seconds and the bytes beside the inputs; the gradients are in `ours.safetensors`."""
    files = ["--input", path, "--out", path.with_name("ours.safetensors")]
    return json.loads(vlhub(path.parent, "plugins", "try", f"objective/{objective}", *options, *files, "--repeat", repeat, "--json").output)


def serve(path, repeat, loss_of, leaves):
    """In the peer's process: the same of `loss_of()`, whose gradients come to `leaves`; `grown` is how much the process grew meanwhile."""
    from safetensors.torch import save_file

    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for _ in range(repeat + 1):
        for leaf in leaves.values():
            leaf.grad = None
        begin = time.perf_counter()
        loss = loss_of()
        loss.backward()
        seconds.append(time.perf_counter() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    save_file({name: leaf.grad.contiguous() for name, leaf in leaves.items()}, path.with_name("theirs.safetensors"))
    print(json.dumps({"seconds": median(seconds[1:] or seconds), "loss": loss.item(), "grown": grown * 1024}))


def theirs(script, *arguments):
    done = subprocess.run([sys.executable, script, "--peer", *map(str, arguments)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(done.args)} ended with {done.returncode}\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


def gradients_apart(path):
    """The worst of the gradients in `theirs.safetensors`, relative to it."""
    with safe_open(path.with_name("ours.safetensors"), framework="np") as own, safe_open(path.with_name("theirs.safetensors"), framework="np") as other:
        pairs = [(own.get_tensor(f"grad.{key}"), other.get_tensor(key)) for key in other.keys()]
    return float(max(numpy.linalg.norm(left - right) / numpy.linalg.norm(right) for left, right in pairs))


def compare(case, path, run_ours, run_theirs, rounds, repeat=3, goals=(None, None)):
    """Seconds of ours in each round, and two rows, time and memory, where the two compute the same. `run_theirs` is None where it does not fit."""
    if run_theirs is None:
        return [each["ours"]["speed"] for each in in_turns({"ours": lambda: run_ours(repeat)}, rounds)], []
    left, right = run_ours(0), run_theirs(0)
    ensure_equal(case, left["loss"], right["loss"], gradients_apart(path))
    if not rounds:
        return [], []
    found = in_turns({"ours": lambda: run_ours(repeat), "theirs": lambda: run_theirs(repeat)}, rounds)
    speeds, rows = [each["ours"]["speed"] for each in found], []
    for what, own, other, shown, goal in [("time", "seconds", "seconds", in_seconds, goals[0]), ("memory", "peak", "grown", in_mib, goals[1])]:
        mine, their = [speed[own] for speed in speeds], [each["theirs"][other] for each in found]
        ratios = [right / left for left, right in zip(mine, their)]
        rows.append(Comparison(f"{case}, {what}", shown(mine), shown(their), ratios, goal=goal))
        print("  " + " | ".join(rows[-1].cells()), flush=True)
    return speeds, rows
