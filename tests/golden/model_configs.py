"""Writes the model configs that VL Hub knows by name, one a line, and open_clip's table of pretrained weights.

Usage: python model_configs.py FOLDER_OF_VLHUB_MODEL_CONFIGS
Writes ../../host/src/models/{open_clip,vlhub,pretrained}.json. Of penfever/vlhub only what open_clip does not have; its files named "… copy" are copies.
"""

import glob
import json
import os
import re
import sys

import open_clip
from open_clip.pretrained import _PRETRAINED

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../host/src/models")


def natural(name):
    return [int(part) if part.isdigit() else part.lower() for part in re.split(r"(\d+)", name)]


def read(folder):
    return {os.path.basename(path)[:-5]: json.load(open(path)) for path in glob.glob(os.path.join(folder, "*.json"))}


def write(name, table):
    lines = [f" {json.dumps(key)}: {json.dumps(table[key])}" for key in sorted(table, key=natural)]
    with open(os.path.join(OUT, name), "w") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")
    print(name, len(table))


ours = read(os.path.join(os.path.dirname(open_clip.__file__), "model_configs"))
theirs = {name: config for name, config in read(sys.argv[1]).items() if name not in ours}
for name in [name for name in theirs if name.endswith(" copy")]:
    assert theirs[name] in (ours.get(name[:-5]), theirs.get(name[:-5]), read(sys.argv[1])[name[:-5]]), name
    del theirs[name]
write("open_clip.json", ours)
write("vlhub.json", theirs)
keep = ("hf_hub", "url", "mean", "std", "interpolation", "resize_mode", "quick_gelu", "fill_color")
tags = {}
for model, known in _PRETRAINED.items():
    tags[model] = {}
    for tag, about in known.items():
        tags[model][tag] = {key: about[key] for key in keep if about.get(key)}
    tags[model] = dict(sorted(tags[model].items()))
write("pretrained.json", tags)
