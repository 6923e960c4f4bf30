"""Training steps against open_clip's, interleaved in one run: the same weights, pictures and captions; loss and gradients first.

A step is forward, loss, backward and AdamW in fp32. open_clip's model runs as its trainer runs it (`eager`), and compiled (`compiled`, its
`--torchcompile`); torch's AdamW has its defaults, as open_clip leaves them. Batches are ready on both sides: neither waits for data.

    VLHUB_BIN=target/release/vlhub python tests/bench/train.py                  # all cases, seven rounds: an hour
    VLHUB_BIN=target/release/vlhub ROUNDS=3 python tests/bench/train.py RN50    # cases with RN50 in their name
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

THREADS, ROUNDS, STEPS = os.cpu_count(), int(os.environ.get("ROUNDS", "7")), 3
# Model, rows of a batch, least and most words of a caption. Six to fourteen words are the 8 to 18 tokens of names and short captions.
CASES = {
    "ViT-B-32": ("ViT-B-32", 32, (6, 14)),
    "ViT-B-32, 77 tokens": ("ViT-B-32", 32, (90, 90)),
    "ViT-B-16": ("ViT-B-16", 16, (6, 14)),
    "RN50": ("RN50", 16, (6, 14)),
    "coca_ViT-B-32": ("coca_ViT-B-32", 16, (6, 14)),
}
LOSS_READS = ["image_features", "text_features", "logits", "labels", "logit_scale"]
WORDS = "red green small circle dog of a photo in the on house tree car two very bright old".split()


def peer(case, folder, compiled):
    """Loads the model, tells the loss and leaves the gradients in a file; then takes as many steps as each line asks for, and tells their seconds."""
    import open_clip
    import torch
    from open_clip.loss import ClipLoss, CoCaLoss
    from PIL import Image
    from safetensors.torch import load_file, save_file

    torch.set_num_threads(THREADS)
    name, rows, _ = CASES[case]
    model, _, preprocess = open_clip.create_model_and_transforms(name)
    model.load_state_dict(load_file(folder / "start.safetensors"), strict=False)
    model.train()
    images = torch.stack([preprocess(Image.open(folder / f"{at}.png")) for at in range(rows)])
    texts = open_clip.get_tokenizer(name)((folder / "captions.txt").read_text().splitlines())
    # open_clip's two groups: what has one dimension does not decay.
    parameters = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    still = lambda name, parameter: parameter.ndim < 2 or "bn" in name or "ln" in name or "bias" in name or "logit_scale" in name
    groups = [
        {"params": [parameter for pair in parameters if still(*pair) for parameter in pair[1:]], "weight_decay": 0.0},
        {"params": [parameter for pair in parameters if not still(*pair) for parameter in pair[1:]], "weight_decay": 0.2},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-5, betas=(0.9, 0.98), eps=1e-6)
    is_coca = name.startswith("coca")
    loss_of, run = CoCaLoss(2.0, 1.0) if is_coca else ClipLoss(), torch.compile(model) if compiled else model

    def step(update=True):
        optimizer.zero_grad()
        out = run(images, texts)
        loss = sum(loss_of(**{key: out[key] for key in LOSS_READS})) if is_coca else loss_of(*out)
        loss.backward()
        if update:
            optimizer.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, 4.6052)
        return loss.item()

    loss = step(update=False)
    save_file({name: parameter.grad.contiguous() for name, parameter in parameters}, folder / "gradients.safetensors")
    print(json.dumps(loss), flush=True)
    for line in sys.stdin:
        step()
        seconds = []
        for _ in range(int(line)):
            begin = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(median(seconds)), flush=True)


class Peer:
    def __init__(self, case, folder, way):
        command = [sys.executable, __file__, "--peer", case, str(folder), way]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.loss = self.told()

    def told(self):
        line = self.child.stdout.readline()
        if not line:
            sys.exit("the peer ended; run this script with --peer and the same arguments to see why")
        return json.loads(line)

    def seconds(self):
        self.child.stdin.write(f"{STEPS}\n")
        self.child.stdin.flush()
        return self.told()

    def end(self):
        self.child.stdin.close()
        self.child.wait()


def run_file(case):
    name, rows, _ = CASES[case]
    return f"""
model = "{name}"
name = "run"
pretrained = "start.safetensors"
[data.train]
use = "csv"
path = "train.tsv"
[objective.clip]
{"[objective.caption]" if name.startswith("coca") else ""}
{"weight = 2.0" if name.startswith("coca") else ""}
[train]
batch = {rows}
steps = 1
save_every = 1
log_every = 1
workers = 1
torch_threads = {THREADS}
show_batch = false
[optimizer]
lr = 1e-5
[schedule]
use = "constant"
"""


def prepare(case, folder):
    import numpy
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import save_file

    name, rows, (least, most) = CASES[case]
    torch.manual_seed(0)
    model = open_clip.create_model(name)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, folder / "start.safetensors")
    random = numpy.random.default_rng(0)
    captions = [" ".join(random.choice(WORDS, random.integers(least, most, endpoint=True))) for _ in range(rows)]
    (folder / "captions.txt").write_text("\n".join(captions) + "\n")
    for at in range(rows):
        Image.fromarray(random.integers(0, 256, (224, 224, 3), dtype=numpy.uint8)).save(folder / f"{at}.png")
    lines = [f"{at}.png\t{caption}" for at, caption in enumerate(captions)]
    (folder / "train.tsv").write_text("\n".join(["filepath\ttitle", *lines]) + "\n")
    (folder / "run.toml").write_text(run_file(case))


def vlhub(folder, *arguments):
    done = subprocess.run([str(Path(os.environ["VLHUB_BIN"]).resolve()), *arguments], cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vlhub {' '.join(arguments)} ended with {done.returncode}\n{done.stderr}")
    return done.stdout


def equal(folder, theirs):
    """Ours after one step from the same weights: the first moments are a tenth of the gradients."""
    import torch
    from safetensors.torch import load_file

    vlhub(folder, "train", "run.toml")
    loss = json.loads((folder / "logs/run/metrics.jsonl").read_text().splitlines()[0])["loss"]
    moments = load_file(folder / "logs/run/checkpoints/step-000000001/rank-0.safetensors")
    wanted = load_file(folder / "gradients.safetensors")
    ours = torch.cat([(moments[f"optimizer.exp_avg.{name}"] / 0.1).flatten() for name in wanted])
    wanted = torch.cat([gradient.flatten() for gradient in wanted.values()])
    error = ((ours - wanted).norm() / wanted.norm()).item()
    print(f"  loss {loss:.6f}, off by {abs(loss - theirs):.1e}; gradients off by {error:.1e}", flush=True)
    if not (abs(loss - theirs) < 1e-5 and error < 1e-4):
        sys.exit("the two do not compute the same; nothing is measured")


def main(wanted):
    for case in [case for case in CASES if wanted in case]:
        print(f"{case}, batch {CASES[case][1]}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            prepare(case, folder)
            peers = {way: Peer(case, folder, way) for way in ["eager", "compiled"]}
            equal(folder, peers["eager"].loss)
            rounds = []
            for at in range(ROUNDS):
                ways = {"ours": lambda: json.loads(vlhub(folder, "bench", "train", "run.toml", "--steps", str(STEPS), "--json"))}
                ways |= {way: peer.seconds for way, peer in peers.items()}
                # Whoever comes first has a cooler processor.
                order = list(ways) if at % 2 == 0 else list(ways)[::-1]
                rounds.append({way: ways[way]() for way in order})
            for peer in peers.values():
                peer.end()
        ours = [found["ours"]["seconds"] for found in rounds]
        products = median(found["ours"]["products"] / found["ours"]["profiled"] for found in rounds)
        print(f"  ours {median(ours):.3f} s, of which {100 * products:.0f} % are products of matrices ({rounds[0]['ours']['device']})")
        for way in peers:
            ratios = sorted(found[way] / found["ours"]["seconds"] for found in rounds)
            seconds = median(found[way] for found in rounds)
            print(f"  open_clip {way} {seconds:.3f} s: {median(ratios):.2f} times ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2], Path(sys.argv[3]), sys.argv[4] == "compiled")
else:
    main(sys.argv[1] if len(sys.argv) > 1 else "")
