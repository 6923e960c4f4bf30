"""Writes synsets.json: names that NLTK finds related to class names in WordNet 3.0.

Run in an environment with nltk 3.10.4, with the folder of WordNet 3.0's files (Debian's package wordnet-base): python tests/golden/synsets.py FOLDER
"""
import json
import pathlib
import random
import sys

import nltk

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "peers/data"))
import _vlhub_captions as vlhub  # noqa: E402

vlhub.wordnet_of(pathlib.Path(sys.argv[1]))
from nltk.corpus import wordnet  # noqa: E402


def words(synsets):
    return sorted({name.lower().replace("_", " ") for synset in synsets for name in synset.lemma_names()})


draw = random.Random(3)
names = draw.sample(sorted(wordnet.all_lemma_names("n")), 300) + draw.sample(sorted(wordnet._exception_map["n"]), 40)
names += "tench car cars goose geese crane bank school_bus sunglasses axes data Siberian_husky St._Bernard T-shirt dog cats entity thing 747 xyzzy".split()
# What is right below the most general synsets would be most of the file.
names = [name for name in dict.fromkeys(names) if sum(len(synset.hyponyms()) for synset in wordnet.synsets(name, "n")) < 60]
related = {}
for name in names:
    senses = wordnet.synsets(name, "n")
    below, above = ([other for sense in senses for other in of(sense)] for of in (lambda sense: sense.hyponyms(), lambda sense: sense.hypernyms()))
    related[name.replace("_", " ")] = [words(senses), words(below), words(above)]
golden = {"origin": f"tests/golden/synsets.py, nltk {nltk.__version__}, WordNet 3.0", "columns": ["synonyms", "hyponyms", "hypernyms"], "names": related}
HERE.joinpath("synsets.json").write_text(json.dumps(golden, separators=(",", ":")).replace("],\"", "],\n\"") + "\n")
