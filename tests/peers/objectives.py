"""Every objective with its important options, against the programs that define it: one random input, there and through `vlhub plugins try`.

A case is run on three shapes, with other random numbers, another scale and pairs that are more alike each time. The reference computes in
double precision, we in single. Parameters of our heads have the same values on both sides. The table is `objectives.md` beside this script; a
run over some of the cases (environment variable VLHUB_OBJECTIVES, a pattern such as `clip*`) prints its lines and leaves the table as it is.
"""

import fnmatch
import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import _objectives_contrast as contrast  # noqa: E402
import _objectives_heads as heads  # noqa: E402
from _objectives_cases import SHAPES, Draw  # noqa: E402

VLHUB = os.environ["VLHUB_BIN"]
TABLE = Path(__file__).resolve().with_suffix(".md")
LOSS_BOUND, GRADIENT_BOUND = 1e-5, 1e-4
# What nothing flows back into.
CONSTANT = ("average.", "teacher.", "pictures.", "objective.target.", "objective.queue")
FAMILIES = (
    contrast.clip, contrast.siglip, contrast.filip, heads.simclr, heads.byol, heads.simsiam, heads.mlm, contrast.nearest, heads.classify,
    contrast.distill, contrast.quasimetric, contrast.align_uniform, heads.caption,
)


def apart(ours, theirs, largest):
    """Relative to the tensor; to the largest one where it is nothing but rounding, as a bias before a batch norm is."""
    size = theirs.norm().item()
    return (ours.double() - theirs).norm().item() / (size if size > 1e-6 * largest else max(largest, 1e-30))


def errors(case, at, shape, folder):
    draw = Draw(case.name, at)
    inputs = case.inputs(draw, shape)
    save_file({name: value.contiguous() for name, value in inputs.items()}, folder / "in.safetensors", metadata=case.metadata)
    options = [f"{key}={json.dumps(value)}" for key, value in case.options.items()]
    files = ["--input", folder / "in.safetensors", "--out", folder / "out.safetensors"]
    arguments = [VLHUB, "plugins", "try", f"objective/{case.objective}", *options, *files, "--seed", str(at)]
    done = subprocess.run(arguments, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    out = load_file(folder / "out.safetensors")
    x = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    leaves = {name: value.requires_grad_() for name, value in x.items() if value.is_floating_point() and not name.startswith(CONSTANT)}
    loss = case.loss(x, out)
    loss.backward()
    ours = {name.removeprefix("grad."): value for name, value in out.items() if name.startswith("grad.")}
    strange = sorted(set(ours) - set(leaves))
    if strange:
        raise RuntimeError(f"gradients of what is no input: {' '.join(strange)}")
    gradients = {name: (leaf.grad if leaf.grad is not None else torch.zeros_like(leaf)) for name, leaf in leaves.items() if name not in case.beyond}
    largest = max(gradient.norm().item() for gradient in gradients.values())
    worst = max(apart(ours.get(name, torch.zeros_like(theirs)) * case.scale, theirs, largest) for name, theirs in gradients.items())
    return abs(out["loss"].item() * case.scale + case.shift - loss.item()) / abs(loss.item()), worst


def run(case):
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = [errors(case, at, shape, Path(folder)) for at, shape in enumerate(SHAPES)]
        loss, gradient = (max(column) for column in zip(*found))
        passed = loss <= LOSS_BOUND and gradient <= GRADIENT_BOUND
        return [case.name, case.reference, f"{loss:.1e}", f"{gradient:.1e}", "done" if passed else "failed"]
    except Exception as why:  # noqa: BLE001 - one case must not stop the others
        return [case.name, case.reference, "-", "-", f"failed: {type(why).__name__} {why}".replace("|", "/").replace("\n", " ")[:300]]


def write(rows):
    packages = ("open_clip_torch", "x-clip", "coca-pytorch", "lightly", "byol-pytorch", "timm", "torch")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    done = sum(row[-1] == "done" for row in rows)
    shapes = ", ".join(f"{shape.rows} rows of width {shape.embed}" for shape in SHAPES)
    head = [
        "# Objectives against the programs that define them", "",
        f"Written by `cargo vlhub test --peers objectives` (tests/peers/objectives.py; {versions}). Each line is the worst of three shapes "
        f"({shapes}). The reference computes in double precision, we in single. Loss error: relative. Gradient error: the largest, over features "
        f"and own parameters, of the norm of the difference over the norm of the reference's. `done` is at most {LOSS_BOUND:.0e} and "
        f"{GRADIENT_BOUND:.0e}.", "",
        f"{done} of {len(rows)} cases are done.", "",
        "| objective | reference | loss error | gradient error | status |", "| --- | --- | --- | --- | --- |",
    ]
    TABLE.write_text("\n".join(head + ["| " + " | ".join(row) + " |" for row in rows]) + "\n")


def main():
    torch.set_num_threads(1)
    pattern = os.environ.get("VLHUB_OBJECTIVES", "*")
    rows = []
    for case in (case for family in FAMILIES for case in family()):
        if fnmatch.fnmatch(case.name, pattern):
            rows.append(run(case))
            print(f"{rows[-1][-1]:8} {' | '.join(rows[-1][:-1])}", flush=True)
    if pattern == "*":
        write(rows)
    failed = [row[0] for row in rows if row[-1] != "done"]
    sys.exit(f"failed: {'; '.join(failed)}" if failed else 0)


main()
