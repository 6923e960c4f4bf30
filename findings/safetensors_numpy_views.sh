#!/usr/bin/env bash
# safetensors' NumPy writer stores a view's memory, not its values.
#
# Guess:    `safetensors.numpy.save_file({"w": kernel.T})` writes the transposed matrix, or refuses it, as `safetensors.torch` refuses a tensor
#           that is not contiguous.
# Seen:     it writes the untransposed memory under the transposed shape, without a word: the file is valid and the numbers are wrong. Arrays in
#           Fortran order and columns picked by a step go the same way. `numpy.ascontiguousarray` first is right.
# Versions: safetensors 0.8.0, NumPy 2.4.6. safetensors 0.5.3, 0.6.2 and 0.7.0 wrote the values.
# Hurts:    whoever turns JAX or Flax weights (big_vision's SigLIP: kernels are stored transposed) into safetensors with NumPy, or hands features
#           to `vlhub plugins try --input`.
# VL Hub:   reads what is in the file and cannot know better; what it writes is copied in order first (and its golden files are torch's).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet safetensors==0.8.0 numpy==2.4.6 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys

import numpy as np
from safetensors.numpy import load_file, save_file

kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
wide = np.arange(8, dtype=np.float32).reshape(2, 4)
views = {"transposed": kernel.T, "fortran": np.asfortranarray(kernel), "every second": wide[:, ::2]}
save_file(views, "views.safetensors")
save_file({name: np.ascontiguousarray(view) for name, view in views.items()}, "copies.safetensors")
read, copies = load_file("views.safetensors"), load_file("copies.safetensors")
for name, view in views.items():
    print(f"{name}: given {view.tolist()}, written {read[name].tolist()}")
as_stated = (
    read["transposed"].tolist() == [[0, 1], [2, 3], [4, 5]]
    and read["fortran"].tolist() == [[0, 3, 1], [4, 2, 5]]
    and read["every second"].tolist() == [[0, 1], [2, 3]]
    and all(np.array_equal(copies[name], view) for name, view in views.items())
)
sys.exit(0 if as_stated else 1)
PY
