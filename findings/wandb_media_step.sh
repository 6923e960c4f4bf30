#!/usr/bin/env bash
# wandb names the file of a picture after the step before the one that it was logged at.
#
# Guess:    `run.log({"img": wandb.Image(...)}, step=10)` writes `media/images/img_10_HASH.png`: the name is tag, step and hash.
# Seen:     pictures of the steps 0, 4, 10 and 11 are `img_0_…`, `img_0_…`, `img_4_…` and `img_10_…`. The history has them at the right steps;
#           only the files are called after the last step that was logged before.
# Versions: wandb 0.31.0, numpy 2.4.6, pillow 12.3.0, offline.
# Hurts:    whoever gathers pictures of a run by the names of its files.
# VL Hub:   names the pictures of an offline run after their own step.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet wandb==0.31.0 numpy==2.4.6 pillow==12.3.0 || exit 2
cd "$work" && HOME="$work" venv/bin/python - <<'PY'
import pathlib
import sys

import numpy as np
import wandb

run = wandb.init(mode="offline", project="findings", settings=wandb.Settings(silent=True))
images = {step: wandb.Image(np.full((4, 4, 3), step, dtype=np.uint8)) for step in [0, 4, 10, 11]}
for step, image in images.items():
    run.log({"img": image}, step=step)
run.finish()
files = list(pathlib.Path("wandb").glob("offline-run-*/files/media/images/img_*"))
# The hash in a name tells which picture it is.
named = {step: int(file.name.split("_")[1]) for step, image in images.items() for file in files if file.stem.split("_")[2] in image._sha256}
print("step: step in the file's name", named)
sys.exit(0 if named == {0: 0, 4: 0, 10: 4, 11: 10} else 1)
PY
