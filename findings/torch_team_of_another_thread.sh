#!/usr/bin/env bash
# One tensor operation on a second thread makes every later operation of the first thread slower, for as long as the second one lives.
#
# Guess:    a thread that once normalised a picture and now sleeps costs the training thread nothing.
# Seen:     that thread got a team of OpenMP threads of its own. GNU's OpenMP (in PyTorch's wheels) counts the threads of all teams; above the number
#           of cores its threads no longer wait actively between loops. Each parallel loop then begins by waking a sleeping thread: two
#           switches of context a loop instead of next to none. `torch.set_num_threads(1)` at the start of the second thread
#           avoids it (and is what every thread that starts later gets, too).
# Versions: torch 2.11.0, its libgomp; 2 cores or more.
# Hurts:    training on the CPU with loader threads (not processes), a monitoring or evaluation thread, a server's thread pool: a small ViT
#           trained on two cores took 1.35 times as long.
# VL Hub:   loader threads make their tensors alone (`vlhub_torch_ext::serial_thread`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet torch==2.11.0 numpy==2.4.6 || exit 2
cd "$work" && env -u OMP_WAIT_POLICY -u GOMP_SPINCOUNT -u OMP_NUM_THREADS venv/bin/python - <<'PY'
import os
import resource
import sys
import threading
import time

import torch

cores = len(os.sched_getaffinity(0))
if cores < 2:
    print("one core: there are no teams to count")
    sys.exit(2)
torch.set_num_threads(cores)
LOOPS = 5000
block = torch.rand(256, 1024)


def loops():
    """Switches of context and microseconds a parallel loop, in the calmest of five rounds."""
    rounds = []
    for _ in range(5):
        switches, start = resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw, time.perf_counter()
        for _ in range(LOOPS):
            block.mul_(1.0)
        seconds = time.perf_counter() - start
        rounds.append(((resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw - switches) / LOOPS, seconds / LOOPS * 1e6))
    return min(rounds)


def beside(prepare):
    """The same while another thread lives that has used one operation."""
    ready, done = threading.Event(), threading.Event()

    def other():
        prepare()
        torch.rand(256, 1024).mul_(2.0)
        ready.set()
        done.wait()

    thread = threading.Thread(target=other)
    thread.start()
    ready.wait()
    seen = loops()
    done.set()
    thread.join()
    return seen


loops()
alone = loops()
team = beside(lambda: None)
serial = beside(lambda: torch.set_num_threads(1))
for name, (switches, micros) in (("alone", alone), ("beside a thread with a team", team), ("beside a thread set to one", serial)):
    print(f"{name}: {switches:.3f} switches of context and {micros:.0f} us a loop")
sys.exit(0 if team[0] > 0.5 and alone[0] < 0.2 and serial[0] < 0.2 else 1)
PY
