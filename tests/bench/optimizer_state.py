"""Three hundred steps of a small CLIP with AdamW's moments in float, in bfloat16 and in 8 bits: losses, bytes of the moments, time of a step.

    VLHUB_BIN=target/release/vlhub python tests/bench/optimizer_state.py    # three seeds; writes tests/bench/optimizer_state.md; ten minutes
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import mean, median

STATES, SEEDS, STEPS, WINDOW, THREADS = ["fp32", "bf16", "8bit"], [1, 2, 3], 300, 50, os.cpu_count()
HERE = Path(__file__)

RUN = f"""
embed = 128
[backbone.image]
use = "vit"
image_size = 32
patch_size = 8
width = 128
layers = 4
heads = 4
[backbone.text]
use = "text_transformer"
context = 32
width = 128
layers = 4
heads = 4
[view.image.main]
augment = [{{ use = "random_resized_crop" }}]
[data.train]
use = "shapes"
samples = 4096
size = 32
[objective.clip]
[train]
batch = 64
steps = {STEPS}
save_every = {STEPS}
torch_threads = {THREADS}
show_batch = false
[optimizer]
lr = 1e-3
beta2 = 0.999
[schedule]
warmup = 30
"""


def moments(folder, name):
    """Bytes of both moments, as the checkpoint holds them."""
    with open(folder / f"logs/{name}/checkpoints/step-{STEPS:09}/rank-0.safetensors", "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    spans = [entry["data_offsets"] for key, entry in header.items() if key.startswith("optimizer.exp_avg")]
    return sum(end - begin for begin, end in spans)


def train(folder, state, seed):
    """Losses, median time of a step, bytes of the moments."""
    name = f"{state}_{seed}"
    command = [str(Path(os.environ["VLHUB_BIN"]).resolve()), "train", "run.toml", f"name={name}", f"seed={seed}", f"optimizer.state={state}"]
    ran = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if ran.returncode:
        sys.exit(f"{' '.join(command)} ended with {ran.returncode}\n{ran.stdout}")
    steps = [json.loads(line) for line in (folder / f"logs/{name}/metrics.jsonl").read_text().splitlines()]
    assert len(steps) == STEPS
    return [step["loss"] for step in steps], median(step["batch_time"] for step in steps), moments(folder, name)


def main():
    lines, windows = [], range(0, STEPS, WINDOW)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "run.toml").write_text(RUN)
        # Seeds outside, so that what else the machine does falls on all states alike.
        runs = {(state, seed): train(folder, state, seed) for seed in SEEDS for state in STATES}
    float_losses = {seed: runs["fp32", seed][0] for seed in SEEDS}
    for state in STATES:
        losses, times, sizes = zip(*(runs[state, seed] for seed in SEEDS))
        cells = [f"{mean(mean(of[at:at + WINDOW]) for of in losses):.3f}" for at in windows]
        off = max(abs(mean(of[at:at + WINDOW]) - mean(float_losses[seed][at:at + WINDOW])) for seed, of in zip(SEEDS, losses) for at in windows)
        lines.append(f"| {state} | {' | '.join(cells)} | {off:.3f} | {sizes[0] / 2**20:.1f} | {1000 * median(times):.0f} |")
    # What chance alone does to a curve: another seed.
    spread = max(abs(mean(a[at:at + WINDOW]) - mean(b[at:at + WINDOW])) for a in float_losses.values() for b in float_losses.values() for at in windows)
    head = " | ".join(f"{at + 1} to {at + WINDOW}" for at in windows)
    text = f"""# AdamW's moments in float, bfloat16 and 8 bits

A small CLIP (two towers of four layers, width 128) on drawn pictures, batch 64, β₂ = 0.999, {STEPS} steps on {THREADS} cores, means of {len(SEEDS)} seeds.
Written by `tests/bench/optimizer_state.py`. "Off": the largest difference of any window's mean from that of the run in float with the same seed; two runs in
float with different seeds are up to {spread:.3f} apart.

| `optimizer.state` | loss, steps {head} | off | moments, MiB | a step, ms |
|---|{'---|' * (len(windows) + 3)}
""" + "\n".join(lines) + "\n"
    print(text)
    HERE.with_suffix(".md").write_text(text)


if __name__ == "__main__":
    main()
