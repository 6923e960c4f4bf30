"""The contrastive loss alone, forward and backward, against open_clip's `ClipLoss` and `SigLipLoss` on the same features; equality first.

Rows from 1,024 to 32,768 of width 512, in turns, median of the rounds. Memory: ours is what libtorch allocated beside features and gradients; theirs is
how much the process grew, in a process of its own. Where their matrices would not fit into half of this machine's memory they are not tried.

    VLHUB_BIN=target/release/vlhub python tests/bench/loss.py
    VLHUB_BIN=target/release/vlhub ROUNDS=3 python tests/bench/loss.py 1024 8192
"""

import json
import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

WIDTH, THREADS, ROUNDS = 512, os.cpu_count(), int(os.environ.get("ROUNDS", "5"))
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
# open_clip keeps logits, probabilities and gradients of both directions; of the sigmoid, one.
MATRICES = {"clip": 6, "siglip": 5}
HERE = Path(__file__).resolve()


def peer(name, path, repeat):
    """Median seconds, loss, gradients, and how much this process grew."""
    import torch
    from open_clip.loss import ClipLoss, SigLipLoss
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(THREADS)
    given = {key: value.requires_grad_() for key, value in load_file(path).items()}
    image, text, scale = given["image.main"], given["text.main"], given["logit_scale"].exp()
    loss_of = (lambda: ClipLoss()(image, text, scale)) if name == "clip" else (lambda: SigLipLoss()(image, text, scale, given["logit_bias"]))
    before, seconds = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for at in range(repeat + 1):
        image.grad = text.grad = None
        scale = given["logit_scale"].exp()
        begin = time.perf_counter()
        loss = loss_of()
        loss.backward()
        seconds.append(time.perf_counter() - begin)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    save_file({"image": image.grad, "text": text.grad}, path.with_name("theirs.safetensors"))
    print(json.dumps({"seconds": median(seconds[1:]), "loss": loss.item(), "grown": grown * 1024}))


def ours(name, path, repeat):
    out = path.with_name("ours.safetensors")
    command = [os.environ["VLHUB_BIN"], "plugins", "try", f"objective/{name}", "--input", path, "--out", out, "--repeat", str(repeat), "--json"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def theirs(name, path, repeat):
    return json.loads(subprocess.run([sys.executable, HERE, "--peer", name, path, str(repeat)], check=True, capture_output=True, text=True).stdout)


def same(name, path):
    import torch
    from safetensors.torch import load_file

    left, right = ours(name, path, 0), theirs(name, path, 0)
    gradients, wanted = load_file(path.with_name("ours.safetensors")), load_file(path.with_name("theirs.safetensors"))
    error = max(((gradients[f"grad.{key}.main"] - wanted[key]).norm() / wanted[key].norm()).item() for key in wanted)
    if not (abs(left["loss"] - right["loss"]) < 1e-5 * max(1.0, abs(right["loss"])) and error < 1e-4):
        sys.exit(f"{name}: losses {left['loss']} and {right['loss']}, gradients apart by {error}")
    return error


def main(sizes):
    import torch
    from safetensors.torch import save_file

    for name in ["clip", "siglip"]:
        points = []
        for rows in sizes:
            torch.manual_seed(0)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "in.safetensors"
                unit = lambda: torch.nn.functional.normalize(torch.randn(rows, WIDTH), dim=-1)
                scalars = {"logit_scale": torch.tensor(math.log(10.0)), "logit_bias": torch.tensor(-10.0)}
                save_file({"image.main": unit(), "text.main": unit(), **(scalars if name == "siglip" else {"logit_scale": scalars["logit_scale"]})}, path)
                fits = MATRICES[name] * 4 * rows * rows < MEMORY / 2
                error = same(name, path) if fits else None
                pairs = [(ours(name, path, 3)["speed"], theirs(name, path, 3) if fits else None) for _ in range(ROUNDS)]
            seconds = median(own["seconds"] for own, _ in pairs)
            points.append((rows, seconds))
            line = f"{name} {rows}: ours {seconds:.3f} s, {pairs[0][0]['peak'] / 2**20:.0f} MiB"
            if fits:
                ratios = sorted(other["seconds"] / own["seconds"] for own, other in pairs)
                grown = median(other["grown"] for _, other in pairs) / 2**20
                line += f"; open_clip {median(ratios):.2f} times as long ({ratios[0]:.2f} to {ratios[-1]:.2f}), {grown:.0f} MiB; gradients apart by {error:.1e}"
            print(line, flush=True)
        if len(points) > 1:
            (few, short), (many, long) = points[0], points[-1]
            print(f"{name}: time grows with rows to the power {math.log(long / short) / math.log(many / few):.2f}", flush=True)


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
else:
    main([int(size) for size in sys.argv[1:]] or [1024, 2048, 4096, 8192, 16384, 32768])
