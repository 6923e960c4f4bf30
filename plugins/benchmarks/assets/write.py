"""Writes the lists of this folder. Their sources and licences are in README.md.

    python write.py CLIP_BENCHMARK TIMM VLHUB

The folders are those of the unpacked wheels clip_benchmark 1.6.2 and timm 1.0.31, and of a checkout of VL Hub at commit fe468a4.
"""

import ast
import csv
import gzip
import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
benchmark, timm, vlhub = (Path(path) for path in sys.argv[1:4])
metadata = vlhub / "metadata"


def write(name, lines):
    text = "".join(f"{line}\n" for line in lines)
    if name.endswith(".gz"):
        # Without a time, so that the same lists make the same bytes.
        (HERE / name).write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        (HERE / name).write_text(text)


info = timm / "timm/data/_info"
wnids = (info / "imagenet_synsets.txt").read_text().split()
assert len(wnids) == 1000 and wnids == sorted(wnids)
write("imagenet_wnids.txt", wnids)
for name in ["imagenet_a", "imagenet_r"]:
    subset = (info / f"{name}_synsets.txt").read_text().split()
    assert len(subset) == 200 and all(wnid in wnids for wnid in subset)
    write(f"{name}.txt", sorted(subset))

# ObjectNet: folder, name, ImageNet's numbers.
words = (HERE / "../../../sdk/assets/class_names/imagenet_wordnet.txt").read_text().splitlines()
folders = {name: folder for folder, name in json.loads((metadata / "folder_to_objectnet_label.json").read_text()).items()}
overlap = json.loads((metadata / "objectnet_to_imagenet_1k.json").read_text())
rows = [(folders[name], name.lower(), [words.index(words_of) for words_of in imagenet.split("; ")]) for name, imagenet in overlap.items()]
assert len(rows) == 113 and sum(len(numbers) for *_, numbers in rows) == 125
write("objectnet.txt", ["\t".join([folder, name, " ".join(map(str, numbers))]) for folder, name, numbers in sorted(rows)])

# ReaL: for each picture of the validation set, in the order of their file names, ImageNet's numbers of what it shows.
real = json.loads((info / "imagenet_real_labels.json").read_text())
assert len(real) == 50_000
write("imagenet_real.txt.gz", [" ".join(map(str, numbers)) for numbers in real])

write("flowers102.txt", json.loads((benchmark / "clip_benchmark/datasets/en_classnames.json").read_text())["flowers"])

# iNaturalist 2021: VL Hub's names, which are common name, supercategory and genus.
with open(metadata / "inat2021-categories.csv", newline="") as file:
    species = list(csv.DictReader(file))
assert [int(row["id"]) for row in species] == list(range(10_000))
write("inat2021.txt.gz", [row["label"] for row in species])
write("insecta.txt", ast.literal_eval((metadata / "insecta_classes.txt").read_text()))

templates = json.loads((benchmark / "clip_benchmark/datasets/en_zeroshot_classification_templates.json").read_text())
kept = [("food101", "food101"), ("stanford_cars", "cars"), ("fgvc_aircraft", "fgvc_aircraft"), ("flowers102", "flowers")]
lines = []
for name, key in kept:
    lines += [f"{name}\t{sentence}" for sentence in templates[key]]
write("templates.txt", lines)
