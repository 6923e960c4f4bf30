"""Whole training steps against open_clip's, lightly's and timm's: forward, loss, backward and AdamW in fp32, from the same weights, on the same
pictures and captions; loss and gradients first.

The peer runs as its users run it (`eager`) and through torch.compile (`compiled`). Batches are ready on both sides: neither waits for data.

    cargo vlhub bench --peers train                           # all cases, seven rounds: three hours on two cores
    CASES=RN50 ROUNDS=3 cargo vlhub bench --peers train       # the cases with RN50 in their name; the others keep their rows
"""

import sys
import tempfile
from pathlib import Path
from statistics import median

from _inputs import table
from _peer import Peer, serve
from _program import bench_train, ensure_equal, first_step, gradients_apart
from _results import Comparison, comparisons, in_seconds, report
from _rounds import THREADS, in_turns, rounds, spread, wanted
from _train_cases import CASES, PEERS, TOWER, run_file

ROUNDS, STEPS = rounds(7), 3


def peer(name, folder, way):
    """Tells the loss and leaves the gradients, under our names, in a file of the way's name; the first peer leaves its weights too."""
    import torch
    from safetensors.torch import load_file, save_file

    import _train_peers

    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    case, start = CASES[name], folder / "start.safetensors"
    built = getattr(_train_peers, case.kind)(case, folder)
    module = built.module.train()
    if start.exists():
        weights = load_file(start)
        module.load_state_dict({name: weights[built.in_file(name)] for name in module.state_dict() if built.in_file(name) in weights}, strict=False)
    else:
        state = module.state_dict().items()
        save_file({built.in_file(name): tensor.contiguous() for name, tensor in state if name != "attn_mask"}, start)
    run, optimizer = torch.compile(module) if way == "compiled" else module, _train_peers.optimizer(module)
    scale = getattr(module, "logit_scale", None)

    def backward():
        optimizer.zero_grad()
        loss = built.loss(run)
        loss.backward()
        return loss.item()

    def step():
        backward()
        optimizer.step()
        if scale is not None:
            with torch.no_grad():
                scale.clamp_(0, 4.6052)

    loss = backward()
    gradients = {built.ours(name): parameter.grad.contiguous() for name, parameter in module.named_parameters() if parameter.grad is not None}
    save_file(gradients, folder / f"{way}.safetensors")
    serve(loss, step)


def measure(name):
    case, rows = CASES[name], []
    what = f"{name}, batch {case.rows}"
    print(what, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table(folder, case.rows, case.words)
        (folder / "tower.json").write_text(TOWER)
        (folder / "run.toml").write_text(run_file(case))
        peers = {way: Peer(__file__, name, folder, way) for way in ["eager", "compiled"]}
        loss = first_step(folder, "first")
        for way, peer in peers.items():
            ensure_equal(way, loss, peer.first, gradients_apart(folder, "first", folder / f"{way}.safetensors"))
        ways = {"ours": lambda: bench_train(folder, steps=STEPS)} | {way: lambda peer=peer: peer.seconds(STEPS) for way, peer in peers.items()}
        found = in_turns(ways, ROUNDS)
        for peer in peers.values():
            peer.end()
    if not found:
        return rows
    ours, share = [each["ours"]["seconds"] for each in found], median(each["ours"]["share"] for each in found)
    products = median(each["ours"]["products"] / each["ours"]["profiled"] for each in found)
    print(f"  ours {in_seconds(ours)}, of which {100 * products:.0f} % are products of matrices ({found[0]['ours']['device']})")
    for way in peers:
        theirs = [each[way] for each in found]
        ratios = [their / own for their, own in zip(theirs, ours)]
        goal = case.eager if way == "eager" else case.compiled
        print(f"  {way} {in_seconds(theirs)}: {spread(ratios)} times", flush=True)
        rows.append(Comparison(f"{what}, {PEERS[case.kind]} {way}", in_seconds(ours), in_seconds(theirs), ratios, share, goal))
    return rows


def main():
    rows = [row for name in wanted(CASES) for row in measure(name)]
    about = (
        "A step: forward, loss, backward, AdamW; fp32. Captions have 10 to 18 tokens where nothing else is said, as names and short captions have; "
        "open_clip pads them to its context. SigLIP's tower reads padding too, so nothing of it can be left out."
    )
    report("train", "Training steps", about, ["open_clip_torch", "lightly", "timm"], ROUNDS, comparisons(rows))


if sys.argv[1:2] == ["--peer"]:
    peer(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
else:
    main()
