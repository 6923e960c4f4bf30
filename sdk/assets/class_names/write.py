"""Writes imagenet.txt and imagenet_wordnet.txt beside itself, one class a line, in the order of ImageNet's 1000 labels.

Run in an environment with open_clip_torch 3.3.0 and timm 1.0.31 (neither is imported, so torch need not be there), with a checkout of VL Hub at
commit fe468a4: python write.py VLHUB
"""
import ast
import importlib.metadata
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def file_of(package, end):
    return next(path.locate() for path in importlib.metadata.files(package) if str(path).endswith(end)).read_text()


def lines(text):
    return [line for line in text.splitlines() if line]


def write(name, names):
    assert len(names) == 1000 and all(name == name.strip() for name in names), name
    (HERE / name).write_text("\n".join(names) + "\n")


assigned = {
    statement.targets[0].id: statement.value
    for statement in ast.parse(file_of("open_clip_torch", "zero_shot_metadata.py")).body
    if isinstance(statement, ast.Assign)
}
write("imagenet.txt", ast.literal_eval(assigned["IMAGENET_CLASSNAMES"]))
words = dict(line.split("\t") for line in lines(file_of("timm", "_info/imagenet_synset_to_lemma.txt")))
write("imagenet_wordnet.txt", [words[synset] for synset in lines(file_of("timm", "_info/imagenet_synsets.txt"))])

metadata = pathlib.Path(sys.argv[1]) / "metadata"
files = {
    "openclip": "imagenet1k_openclip.txt",
    "ours": "imagenet1k_ours.txt",
    "no_overlap": "imagenet_no_overlap_classnames.json",
    "no_overlap_short": "imagenet_no_overlap_short_classnames.json",
    "no_perm": "imagenet_no_perm_classnames.json",
}
# The text files are Python literals: a list, or a dictionary from numbers.
texts = {file: (metadata / file).read_text() for file in files.values()}
read = [json.loads(text) if file.endswith(".json") else ast.literal_eval(text) for file, text in texts.items()]
columns = [[names[at].strip() for at in range(1000)] for names in read]
assert all(name and "\t" not in name for names in columns for name in names)
rows = ["\t".join(row) for row in [files, *zip(*columns)]]
(HERE / "imagenet_vlhub.tsv").write_text("\n".join(rows) + "\n")
