"""Gradient caching of a ViT-S-32 against GradCache (arXiv 2101.06983; its own package over open_clip's model) and against open_clip's own loop with
`--accum-freq`, at the same total batch in chunks of 32; equality of loss and gradients first. Then a batch of 4096 in the memory of a plain step
of 64 (`train.memory`) against that plain step.

    cargo vlhub bench --peers grad_cache                      # an hour and a half
    CASES=256 cargo vlhub bench --peers grad_cache            # the batch of 256 alone
    CASES=budget cargo vlhub bench --peers grad_cache         # three quarters of an hour
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

import _inputs
from _peer import Peer, serve
from _program import ONE_STEP, bench_train, ensure_equal, first_step, gradients_apart
from _results import Comparison, comparisons, in_mib, in_seconds, report
from _rounds import THREADS, in_turns, rounds, wanted

MODEL, ROWS, PICTURES, PLAIN, LARGE, ROUNDS = "ViT-S-32", 32, 64, 64, 4096, rounds(3)
WAYS = ["GradCache", "open_clip --accum-freq"]
CHUNKS = f"train.grad_cache.rows={ROWS}"
BUDGET = f"budget: batch {LARGE} in the memory of a plain step of {PLAIN}"
CASES = {f"batch {batch}": batch for batch in [64, 256, 1024]} | {BUDGET: LARGE}
GOAL, BUDGET_GOAL = 1.3, 0.9
RUN = f"""
model = "{MODEL}"
name = "run"
pretrained = "start.safetensors"
[data.train]
use = "csv"
path = "train.tsv"
[objective.clip]
{ONE_STEP}"""


def peer(way, batch, folder):
    """Tells the loss of the first step and leaves its gradients in `gradients.safetensors`; the first peer leaves its weights too."""
    import open_clip
    import torch
    from PIL import Image
    from safetensors.torch import load_file, save_file

    from _caching_peers import WAYS

    torch.manual_seed(0)
    torch.set_num_threads(THREADS)
    model, _, transform = open_clip.create_model_and_transforms(MODEL)
    start = folder / "start.safetensors"
    if start.exists():
        model.load_state_dict(load_file(start), strict=False)
    else:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "attn_mask"}, start)
    model.train()
    images = torch.stack([transform(Image.open(folder / f"{at}.png")) for at in range(PICTURES)]).repeat(batch // PICTURES, 1, 1, 1)
    texts = open_clip.get_tokenizer(MODEL)((folder / "captions.txt").read_text().splitlines()[:batch])
    step = WAYS[way](model, torch.optim.AdamW(model.parameters(), lr=1e-5), images, texts, ROWS)
    loss = step()
    gradients = {name: parameter.grad.contiguous() for name, parameter in model.named_parameters()}
    if way == "open_clip --accum-freq":
        # It adds the whole gradient of the scale once for each chunk (findings/open_clip_accum_freq_scale.sh).
        gradients["logit_scale"] /= batch // ROWS
    save_file(gradients, folder / "gradients.safetensors")
    serve(loss, step)


def equal(folder):
    """Loss and gradients of one batch: plain, in chunks of 32, and in chunks that do not divide it, against both peers."""
    # The run draws its batch from a table in any order, so this one has no more rows than the batch.
    lines = (folder / "train.tsv").read_text().splitlines()[: PLAIN + 1]
    (folder / "equal.tsv").write_text("\n".join(lines) + "\n")
    for way in WAYS:
        other = Peer(__file__, way, PLAIN, folder)
        other.end()
        for rows in [0, 24, ROWS]:
            name = f"{way.split()[-1].strip('-')}_{rows}"
            loss = first_step(folder, name, 'data.train.path="equal.tsv"', f"train.batch={PLAIN}", f"train.grad_cache.rows={rows}")
            ensure_equal(f"{way}, ours in chunks of {rows}", loss, other.first, gradients_apart(folder, name, folder / "gradients.safetensors"))


def compare(case, batch, folder):
    """Time and memory of a step of `batch` rows."""
    peers = {way: Peer(__file__, way, batch, folder) for way in WAYS}
    # The peers' step that told the loss was the one before.
    ways = {way: lambda peer=peer: peer.seconds(1, before=0) for way, peer in peers.items()}
    found = in_turns({"ours": lambda: bench_train(folder, f"train.batch={batch}", CHUNKS, steps=1)} | ways, ROUNDS)
    resident = {way: peer.end() for way, peer in peers.items()}
    seconds, memory = ([each["ours"][what] for each in found] for what in ["seconds", "resident"])
    rows = []
    for way in WAYS:
        theirs = [each[way] for each in found]
        slower, larger = [right / left for left, right in zip(seconds, theirs)], [resident[way] / own for own in memory]
        rows.append(Comparison(f"{case}, time, {way}", in_seconds(seconds), in_seconds(theirs), slower, goal=GOAL))
        rows.append(Comparison(f"{case}, resident memory, {way}", in_mib(memory), in_mib([resident[way]]), larger))
    for row in rows:
        print("  " + " | ".join(row.cells()), flush=True)
    return rows


def budget(folder):
    """Samples a second of a large batch within the memory of a small plain one, over those of the small one."""
    peak = bench_train(folder, f"train.batch={PLAIN}", steps=1)["peak"]
    ways = {
        "plain": lambda: bench_train(folder, f"train.batch={PLAIN}", steps=5),
        "large": lambda: bench_train(folder, f"train.batch={LARGE}", f'train.memory="{peak} B"', steps=1),
    }
    found = in_turns(ways, ROUNDS)
    rates = {way: [each[way]["batch"] / each[way]["seconds"] for each in found] for way in ways}
    peaks = {way: [each[way]["peak"] for each in found] for way in ways}
    shown = {way: f"{median(rates[way]):.1f} samples/s, {in_mib(peaks[way])} of tensors" for way in ways}
    ratios = [large / plain for large, plain in zip(rates["large"], rates["plain"])]
    row = Comparison(BUDGET, shown["large"], f"ours, plain: {shown['plain']}", ratios, goal=BUDGET_GOAL)
    print("  " + " | ".join(row.cells()), flush=True)
    return [row]


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        _inputs.table(folder, LARGE, (8, 16), PICTURES)
        (folder / "run.toml").write_text(RUN)
        equal(folder)
        for case in wanted(CASES) if ROUNDS else []:
            print(case, flush=True)
            rows += budget(folder) if case == BUDGET else compare(case, CASES[case], folder)
    about = (
        f"A step of a {MODEL} in chunks of {ROWS} rows: forward, loss, backward, AdamW; fp32; captions of 10 to 18 tokens, which open_clip pads to 77. "
        "Memory of chunks is that of whole processes, batch included (0.6 MiB a row). The budget's ratio is that of samples a second; its peer is our "
        "own plain step. Tensors: the most that they took beside weights, optimiser state and batch."
    )
    report("grad_cache", "Gradient caching", about, ["open_clip_torch", "gradcache"], ROUNDS, comparisons(rows))


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
else:
    main()
