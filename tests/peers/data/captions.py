"""Captions and labels of `vlhub data match` against VL Hub's caption functions, with NLTK's lemmatiser, and the speed of both.

Writes captions.md: how many captions each of VL Hub's known bugs changes. Those that differ for another reason fail.
"""
import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import _vlhub_captions as vlhub

COUNT = 3000
# How often the captions are repeated where speed is measured.
REPEATS = 10
# Lines of captions.md: transform, what VL Hub does otherwise, captions that this changes.
TABLE = []


class Ours:
    def __init__(self, folder, classes, captions):
        self.folder, self.captions = folder, captions
        (folder / "classes.txt").write_text("\n".join(classes) + "\n")
        with open(folder / "captions.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["filepath", "title"])
            rows.writerows([f"{number}.jpg", caption] for number, caption in enumerate(captions))

    def run(self, *transforms):
        command = [os.environ["VLHUB_BIN"], "data", "match", "captions.csv", "--json", "--examples", "0", "--out", "out.jsonl"]
        command += [part for transform in transforms for part in ["--transform", transform]]
        ran = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        lines = [json.loads(line) for line in open(self.folder / "out.jsonl")]
        assert len(lines) == len(self.captions) == json.loads(ran.stdout)["samples"]
        return lines


def differences(name, expected, found, captions, known, wrong):
    """`known`: what each bug alone would give, by its description."""
    different = [at for at, (one, other) in enumerate(zip(expected, found)) if one != other]
    wrong += [f"{name}: {captions[at]!r}: {found[at]!r}, not {expected[at]!r}" for at in different]
    print(f"{name}: {len(expected) - len(different)} of {len(expected)} captions equal")
    for bug, values in known.items():
        count = sum(one != other for one, other in zip(expected, values))
        print(f"    {count} differ in VL Hub: {bug}")
        TABLE.append(f"| `{name}` | {bug} | {count} |")


def main(folder):
    lemmatize = vlhub.wordnet_of()
    from nltk.corpus import wordnet

    nouns = sorted(wordnet.all_lemma_names("n"))
    classes = vlhub.class_names()
    captions = [caption for caption in vlhub.generated(classes, nouns, COUNT, 7) if caption.strip()]
    matcher = vlhub.Matcher(classes, lemmatize)
    ours, wrong = Ours(folder, classes, captions), []

    def options(name, **more):
        given = {"use": name, "classes": "classes.txt", **more}
        return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in given.items()) + "}"

    def labels(mode):
        return [line.get("labels", []) for line in ours.run(options("match_labels", mode=mode))]

    def texts(*transforms):
        return ["".join(line.get("texts", [])) for line in ours.run(*transforms)]

    start = time.perf_counter()
    multi = [matcher.labels(caption) for caption in captions]
    print(f"VL Hub's way, class by class: {len(captions) / (time.perf_counter() - start):.0f} captions/s")
    known = {text: [matcher.labels(caption, {bug}) for caption in captions] for bug, text in vlhub.LABEL_BUGS.items()}
    differences("match_labels multi", multi, labels("multi"), captions, known, wrong)
    differences("match_labels single", [found[:1] for found in multi], labels("single"), captions, {}, wrong)
    known = {text: [matcher.strict(caption, {bug}) for caption in captions] for bug, text in vlhub.STRICT_BUGS.items()}
    differences("match_labels strict", [matcher.strict(caption) for caption in captions], labels("strict"), captions, known, wrong)
    for name, function, bugs in [("simple", matcher.simple, vlhub.SIMPLE_BUGS), ("ds_cipher", matcher.cipher, vlhub.CIPHER_BUGS)]:
        known = {text: [function(caption, {bug}) for caption in captions] for bug, text in bugs.items()}
        differences(name, [function(caption) for caption in captions], texts(options(name)), captions, known, wrong)
    # A caption of which nothing but spaces is left is dropped.
    cleaned = [vlhub.clean(caption) for caption in captions]
    differences("clean", [text if text.strip() else "" for text in cleaned], texts("clean"), captions, {}, wrong)
    scrambled = [" ".join(sorted(text.split())) for text in texts("scramble_words")]
    differences("scramble_words, as sets of words", [" ".join(sorted(caption.split())) for caption in captions], scrambled, captions, {}, wrong)

    # A table of attributes: classes that share digits, several in one row, none.
    draw = random.Random(2)
    rows = [(draw.sample(range(1000), draw.choice([1, 1, 2, 4])), draw.sample(["clothing", "school", "red", "kitchen food", "food"], 3)) for _ in range(200)]
    with open(folder / "attributes.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["idx", "subclass", "relations_locations"])
        table.writerows([", ".join(map(str, numbers)), words[0], ", ".join(words[1:])] for numbers, words in rows)

    def attributes(caption, numbers, digits):
        for number in numbers:
            cells = (words for own, words in rows if (str(number) in ", ".join(map(str, own)) if digits else number in own))
            for word in next(cells, []):
                caption += "" if word in caption else " " + word
        return caption

    matched = [(caption, numbers) for caption, numbers in zip(captions, multi)]
    expected, digits = ([attributes(*pair, digits) if pair[1] else "" for pair in matched] for digits in [False, True])
    meta = '{use = "metacaptions", path = "attributes.csv", columns = ["subclass", "relations_locations"]}'
    known = {"a class is looked up by its digits: 0 finds the row of 400": digits}
    differences("metacaptions", expected, texts(options("match_labels", mode="multi"), meta), captions, known, wrong)

    # Speed over a longer list.
    many = Ours(folder, classes, captions * REPEATS)
    start = time.perf_counter()
    many.run(options("match_labels", mode="multi"))
    print(f"vlhub data match, with reading and writing: {len(captions) * REPEATS / (time.perf_counter() - start):.0f} captions/s")
    return wrong


PAGE = """# Captions: where VL Hub's functions do something else

Written by `cargo vlhub test --peers captions`. The functions of penfever/vlhub at commit fe468a4, stated anew in Python with NLTK's lemmatiser
(`_vlhub_captions.py`), and ours give the same text or labels for each of {count} generated captions, once these are left out of VL Hub's. The number says how
many of the captions each changes.

| transform | in VL Hub | captions |
|---|---|---|
{lines}
"""

with tempfile.TemporaryDirectory() as folder:
    problems = main(Path(folder))
if not problems:
    Path(__file__).with_suffix(".md").write_text(PAGE.format(count=COUNT, lines="\n".join(TABLE)))
print("\n".join(problems[:40]) or "ok")
sys.exit(bool(problems))
