#!/usr/bin/env bash
# Hugging Face datasets reads several Parquet files with the class names of the first, and turns labels of the others into other classes.
#
# Guess:    each file carries the names of its classes, so `load_dataset("parquet", data_files=[…])` matches them by name, or refuses files that
#           number them otherwise, as `concatenate_datasets` does for features that differ.
# Seen:     labels keep their numbers and get the first file's names. Of two files with cat and dog, the second written with the names in the other
#           order, every cat of the second is a dog afterwards. Nothing is said. `concatenate_datasets` of the same two refuses them.
# Versions: datasets 5.2.0, pyarrow 26.0.1.
# Hurts:    whoever puts exports together that were made at different times, or with `class_encode_column` of subsets with other classes.
# VL Hub:   the source `parquet` refuses files that number their classes otherwise; two sources of a `mix` are matched by name.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet datasets==5.2.0 pyarrow==26.0.1 || exit 2
cd "$work" && HF_HOME="$work/home" venv/bin/python - <<'PY'
import sys

from datasets import ClassLabel, Dataset, Features, concatenate_datasets, disable_progress_bars, load_dataset

disable_progress_bars()
words = ["cat", "dog", "dog"]
parts = []
for name, classes in (("a", ["cat", "dog"]), ("b", ["dog", "cat"])):
    part = Dataset.from_dict({"label": words}, features=Features({"label": ClassLabel(names=classes)}))
    part.to_parquet(f"{name}.parquet")
    parts.append(part)
    print(f"{name}.parquet: {[part.features['label'].int2str(label) for label in part['label'][:]]}")
both = load_dataset("parquet", data_files=["a.parquet", "b.parquet"], split="train")
read = [both.features["label"].int2str(label) for label in both["label"][:]]
print(f"both:      {read}")
try:
    refused = concatenate_datasets(parts) is None
except ValueError as error:
    refused = True
    print(f"concatenate_datasets: {str(error).splitlines()[0][:90]}")
sys.exit(0 if read == ["cat", "dog", "dog", "dog", "cat", "cat"] and refused else 1)
PY
