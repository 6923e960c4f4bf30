"""Writes imagenet.txt and imagenet_wordnet.txt beside itself, one class a line, in the order of ImageNet's 1000 labels.

Run in an environment with open_clip_torch 3.3.0 and timm 1.0.31 (neither is imported, so torch need not be there): python write.py
"""
import ast
import importlib.metadata
import pathlib

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
