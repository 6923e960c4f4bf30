"""Writes captions.json: lemmas of NLTK, and what VL Hub's caption functions make of generated captions, without VL Hub's known bugs.

Run in an environment with nltk 3.10.4, with the folder of WordNet 3.0's files (Debian's package wordnet-base): python tests/golden/captions.py FOLDER
"""
import json
import pathlib
import random
import sys

import nltk

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "peers/data"))
import _vlhub_captions as vlhub  # noqa: E402

folder = pathlib.Path(sys.argv[1])
lemmatize = vlhub.wordnet_of(folder)
nouns = [line.split(" ", 1)[0] for line in (folder / "index.noun").read_text().splitlines() if not line.startswith(" ")]
irregular = [line.split()[0] for line in (folder / "noun.exc").read_text().splitlines()]
draw = random.Random(0)
words = [noun + end for noun in draw.sample(nouns, 700) for end in draw.sample(["", "s", "es", "ses", "men", "ves"], 2)]
words += [noun[:-1] + "ies" for noun in draw.sample([noun for noun in nouns if noun.endswith("y")], 60)]
words += draw.sample(irregular, 500) + "us has was less boss sunglasses jeans pants species leaves axes data men women geese Dogs is this".split()
classes = vlhub.class_names()
matcher = vlhub.Matcher(classes, lemmatize)
captions = []
for caption in vlhub.generated(classes, nouns, 260, 1):
    found = [caption, matcher.labels(caption), matcher.strict(caption), matcher.simple(caption), matcher.cipher(caption)]
    captions.append(found)
golden = {
    "origin": f"tests/golden/captions.py, nltk {nltk.__version__}, WordNet 3.0, VL Hub's functions at commit fe468a4 as tests/peers/data/_vlhub_captions.py has them",
    "lemmas": [[word, lemmatize(word)] for word in dict.fromkeys(words)],
    "classes": classes,
    "columns": ["caption", "multi", "strict", "simple", "ds_cipher"],
    "captions": captions,
}
text = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace("],[", "],\n[")
HERE.joinpath("captions.json").write_text(text + "\n")
