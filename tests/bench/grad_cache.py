"""Gradient caching of a ViT-S-32: VL Hub against plain steps, and against the same idea (GradCache, arXiv 2101.06983) over open_clip in Python.

First loss and gradients of one batch must agree; then memory and time of one step are measured, each in a process of its own, for growing
batches.

    VLHUB_BIN=target/release/vlhub python tests/bench/grad_cache.py                              # batches of 64 and 128
    VLHUB_BIN=target/release/vlhub python tests/bench/grad_cache.py 64 128 256 512 1024 2048     # writes tests/bench/grad_cache.md; half an hour
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODEL, ROWS, THREADS = "ViT-S-32", 32, os.cpu_count()
# A plain step of more rows than this is not tried: about 40 MiB a row in Python. Nor are short captions.
PLAIN = 512
HERE = Path(__file__)


def peer_step(model, images, texts, rows):
    """Loss and gradients of one step; with `rows`, features first, then chunk by chunk."""
    import torch
    from open_clip.loss import ClipLoss

    encode = lambda images, texts: (model.encode_image(images, normalize=True), model.encode_text(texts, normalize=True))
    if rows == 0:
        loss = ClipLoss()(*encode(images, texts), model.logit_scale.exp())
        loss.backward()
        return loss.item()
    chunks = list(zip(images.split(rows), texts.split(rows)))
    with torch.no_grad():
        parts = [encode(*chunk) for chunk in chunks]
    leaves = [torch.cat(part).requires_grad_() for part in zip(*parts)]
    loss = ClipLoss()(*leaves, model.logit_scale.exp())
    loss.backward()
    for chunk, image, text in zip(chunks, leaves[0].grad.split(rows), leaves[1].grad.split(rows)):
        features = encode(*chunk)
        ((features[0] * image).sum() + (features[1] * text).sum()).backward()
    return loss.item()


def peer(batch, rows):
    """One step in this process; prints its seconds."""
    import open_clip
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    model = open_clip.create_model(MODEL).train()
    images = torch.randn(batch, 3, 224, 224)
    # Every row ends at the last of 77 places: nothing is saved by short captions on either side.
    texts = torch.randint(1, 40000, (batch, 77))
    texts[:, -1] = 49407
    start = time.perf_counter()
    peer_step(model, images, texts, rows)
    print(json.dumps({"seconds": time.perf_counter() - start}))


def measured(command, cwd=None):
    """Standard output of a process that ends well, and its largest resident memory in MiB. Only from a small process: a child's largest memory
    begins with its parent's."""
    child = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f"{' '.join(command)} ended with {status}\n{output}")
    return output, usage.ru_maxrss / 1024


def vlhub(folder, *overrides, dry_run=True):
    return measured([str(Path(os.environ["VLHUB_BIN"]).resolve()), "train", "run.toml", *(["--dry-run"] if dry_run else []), *overrides], cwd=folder)


RUN = f"""
model = "{MODEL}"
name = "run"
[data.train]
use = "shapes"
size = 224
samples = 4096
[objective.clip]
[train]
steps = 1
save_every = 1
log_every = 1
workers = 1
torch_threads = {THREADS}
truncate = false
show_batch = false
[optimizer]
wd = 0.0
lr = 1e-5
[schedule]
use = "constant"
"""


def equality(folder):
    """Loss and gradients of one batch of 64 pictures, in chunks of 32 and of 24, on both sides."""
    import numpy
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, folder / "start.safetensors")
    random = numpy.random.default_rng(0)
    captions = [" ".join(random.choice(["red", "green", "small", "circle", "dog", "of", "a", "photo"], 1 + at % 7)) for at in range(64)]
    rows = ["filepath\ttitle"]
    for at, caption in enumerate(captions):
        Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=numpy.uint8)).save(folder / f"{at}.png")
        rows.append(f"{at}.png\t{caption}")
    (folder / "train.tsv").write_text("\n".join(rows) + "\n")
    model.train()
    images = torch.stack([preprocess(Image.open(folder / f"{at}.png")) for at in range(64)])
    texts = open_clip.get_tokenizer(MODEL)(captions)
    loss = peer_step(model, images, texts, ROWS)
    theirs = {name: parameter.grad for name, parameter in model.named_parameters()}
    data = 'data.train={ use = "csv", path = "train.tsv" }'
    for size in [0, 24, ROWS]:
        name = f"chunks_of_{size}"
        vlhub(folder, f"name={name}", "pretrained=start.safetensors", data, "train.batch=64", f"train.grad_cache.rows={size}", dry_run=False)
        found = json.loads((folder / f"logs/{name}/metrics.jsonl").read_text().splitlines()[0])["loss"]
        moments = load_file(folder / f"logs/{name}/checkpoints/step-000000001/rank-0.safetensors")
        ours = torch.cat([(moments[f"optimizer.exp_avg.{name}"] / 0.1).flatten() for name in theirs])
        wanted = torch.cat([gradient.flatten() for gradient in theirs.values()])
        error = ((ours - wanted).norm() / wanted.norm()).item()
        print(f"batch 64, rows {size}: loss off by {abs(found - loss):.1e}, gradients by {error:.1e}", flush=True)
        if not (abs(found - loss) < 1e-5 and error < 1e-4):
            sys.exit("the two do not compute the same; nothing is measured")


def main(sizes):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "run.toml").write_text(RUN)
        print(measured([sys.executable, str(HERE), "--equality", str(folder)])[0], end="", flush=True)
        lines = []
        for batch in sizes:
            ways = {
                "ours": ["train.grad_cache.rows=%d" % ROWS],
                "peer": ROWS,
                "short": ["train.grad_cache.rows=%d" % ROWS, "train.truncate=true"],
                "ours plain": [],
                "peer plain": 0,
            }
            found = {}
            for way, how in ways.items():
                if way in ["ours plain", "peer plain", "short"] and batch > PLAIN:
                    continue
                if isinstance(how, list):
                    output, resident = vlhub(folder, f"train.batch={batch}", *how)
                    seconds, tensors = map(float, re.search(r"computed in ([\d.]+) s, with at most ([\d.]+) MiB", output).groups())
                else:
                    output, resident = measured([sys.executable, str(HERE), "--peer", str(batch), str(how)])
                    seconds, tensors = json.loads(output.splitlines()[-1])["seconds"], None
                found[way] = (seconds, resident, tensors)
            cell = lambda way, at, form: form.format(found[way][at]) if way in found else "not tried"
            ratio = lambda way, over: f"{found[way][0] / found[over][0]:.2f}" if way in found and over in found else "not tried"
            line = [
                str(batch),
                cell("ours", 2, "{:.0f}"), cell("ours plain", 2, "{:.0f}"),
                cell("ours", 1, "{:.0f}"), cell("peer", 1, "{:.0f}"), cell("peer plain", 1, "{:.0f}"),
                ratio("ours", "ours plain"), ratio("peer", "ours"), ratio("peer plain", "ours"), ratio("peer", "short"),
            ]
            lines.append("| " + " | ".join(line) + " |")
            print(lines[-1], {way: round(row[0], 2) for way, row in found.items()}, flush=True)
        if len(sizes) > 2:
            write(lines)


def write(lines):
    import importlib.metadata

    peers = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ["open_clip_torch", "torch"])
    text = f"""# Gradient caching: memory and time of one step

One fp32 step (forward, loss, backward) of a {MODEL}, in chunks of {ROWS} rows and plain, on {THREADS} cores, each in a process of its own,
once. Written by `tests/bench/grad_cache.py` with {peers}, after loss and gradients of one batch agreed.
MiB. "Tensors": the most that VL Hub's tensors took beside weights and batch. "Process": the most that the whole process took, batch included
(0.6 MiB a row). "Python": open_clip with the idea of GradCache written out. Times are ratios: what VL Hub's chunks take over its plain
step, then what Python takes over VL Hub's chunks. "Short captions" lets VL Hub cut the text matrix to the longest caption (`train.truncate`),
which open_clip does not; everything else has 77 tokens on both sides.

| batch | tensors, chunks | tensors, plain | process, chunks | process, Python chunks | process, Python plain | chunks / plain, time | Python chunks / ours | Python plain / our chunks | Python chunks / ours, short captions |
|---|---|---|---|---|---|---|---|---|---|
"""
    HERE.with_suffix(".md").write_text(text + "\n".join(lines) + "\n")


if sys.argv[1:2] == ["--peer"]:
    peer(int(sys.argv[2]), int(sys.argv[3]))
elif sys.argv[1:2] == ["--equality"]:
    equality(Path(sys.argv[2]))
else:
    main([int(size) for size in sys.argv[1:]] or [64, 128])
