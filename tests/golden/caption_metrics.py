"""Writes caption_metrics.json: words, BLEU and CIDEr of captions as pycocoevalcap 1.2 computes them, its Java tokenizer included.

Run in an environment with pycocoevalcap and Java: python tests/golden/caption_metrics.py
"""
import importlib.metadata
import json
import pathlib

from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

# For each picture: a caption that a model might write, and those of people. The last are for the rules of the tokenizer.
PICTURES = [
    ("a man riding a wave on top of a surfboard", ["A man rides a large wave on his surfboard.", "A surfer in a black wetsuit, riding a wave.",
     "There's a man surfing in the ocean", "a man on a surf board riding a wave ", "A person surfing; the wave is breaking."]),
    ("a group of people standing around a table with food", ["Several people stand around a buffet table.", "A group of friends is eating at a table",
     "People are getting food from a table.", "Men and women (some of them seated) at a long table.", "A group of people standing around a food table."]),
    ("a black dog running through the grass", ["A black dog runs through the green grass.", "A dog running in a field", "The dog's running fast!",
     "A big black dog, with a red collar, is running.", "Black dog in grass"]),
    ("two children playing with a ball", ["Two kids play with a ball on the beach.", "Two small children are playing ball.", "Children playing"]),
    ("a red bus driving down a street next to tall buildings", ["A red double-decker bus drives down the street.",
     "A bus on St. James's street in the U.K.", "the #5 bus, on its way", "A city street with a red bus, cars & people"]),
    ("a cat sitting on a couch", ["A cat that's sitting on a couch.", "A gray-and-white cat lies on the sofa...", "Cat on couch"]),
    ("a a a a", ["a plate of food"]),
    ("dog", ["A completely different sentence about mountains."]),
    ("", ["An empty caption gets nothing."]),
    ("a sign that says stop", ['A sign that says "STOP".', "a stop sign isn't visible", "It's a sign, and it won't move!!", "They're stopping; we can't go."]),
    ("a clock showing the time", ["It's 3:30pm by the clock.", "A clock at 5 p.m. in the square.", "10,000 people, 50% off, $5.00, 1.5 miles",
     "He said: 'It's late' and I cannot, gonna, wanna go", "w/ a hat and/or w/o shoes -- or not - maybe..", "Mr. Smith vs. Dr. Jones. No. 5 etc."]),
    ("people in the rain", ["Rock 'n' roll in the '90s; the 80's; dogs' toys", "I've seen ma'am at 5 o'clock; I'd, he'll, we're, I'm", "‘quoted’ “double” – dash — dash",
     "a dog.a cat; tv. TV's", "What?! Really! ok?? [sic] {x} a = b + c * d", "the colour of the grey theatre", "email a@b.com or http://www.foo.com/x."]),
    ("a board of 1.5m", ["a 1.5m board, 5ft high", "a .net sign and .5 inches", "a dog 😀 smiles"]),
]


def captions(texts):
    return [{"caption": text} for text in texts]


tokenizer = PTBTokenizer()
written = tokenizer.tokenize({at: captions([caption or "."]) for at, (caption, _) in enumerate(PICTURES)})
people = tokenizer.tokenize({at: captions(texts) for at, (_, texts) in enumerate(PICTURES)})
bleu, _ = Bleu(4).compute_score(people, written, verbose=0)
cider, each = Cider().compute_score(people, written)
golden = {
    "origin": f"tests/golden/caption_metrics.py, pycocoevalcap {importlib.metadata.version('pycocoevalcap')}, Stanford CoreNLP 3.4.1",
    "pictures": [
        {"caption": caption, "references": texts, "caption_words": written[at][0], "reference_words": people[at], "cider": float(each[at])}
        for at, (caption, texts) in enumerate(PICTURES)
    ],
    "bleu": bleu,
    "cider": float(cider),
}
pathlib.Path(__file__).with_suffix(".json").write_text(json.dumps(golden, indent=1, ensure_ascii=False) + "\n")
