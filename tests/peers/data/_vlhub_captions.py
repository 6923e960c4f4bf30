"""VL Hub's caption functions (commit fe468a4) as a specification in Python: class by class, gram by gram, with NLTK's own lemmatiser.

Each function takes the set of VL Hub's bugs that it is to have; with none of them it is what VL Hub means to do, and what ours does.
"""
import gzip
import random
import tempfile
from ast import literal_eval
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
CODES = {letter: "@#$%"[place % 4] + "^&*()+="[place // 4] for place, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}

LABEL_BUGS = {
    "name": "class names are not cleaned as captions are, where `st bernard` becomes `street bernard`",
    "one": "a caption of one label is dropped (the literal `7` is a number, not a list)",
    "digits": "a label whose digits stand in those before it is lost (1 behind 12)",
    "cut": "the list is cut at 75 characters, within a number too",
}
STRICT_BUGS = {"gram": "`strict` stops at the first name and sees no other"}
SIMPLE_BUGS = {
    "lemma": "the words that were found are written, not the class's name",
    "comma": "no comma between names",
    "part": "a name that is part of what is written already is left out",
    "cut": "the sentence is cut at 75 characters",
}
CIPHER_BUGS = {"part": "names within longer words are enciphered too", "cut": "the caption is cut at 75 characters"}


def wordnet_of(folder=None):
    """NLTK's lemmatiser over WordNet files: those of `folder`, or the nouns that the plugin packs, in NLTK's own format."""
    import nltk
    from nltk.stem import WordNetLemmatizer

    home = Path(tempfile.mkdtemp())
    corpus = home / "corpora" / "wordnet"
    corpus.mkdir(parents=True)
    # The reader opens all of these, and a lemma of a noun needs two of them.
    parts = ["noun", "verb", "adj", "adv"]
    for name in ["lexnames", "index.sense", *(f"{kind}.{part}" for kind in ["index", "data"] for part in parts), *(f"{part}.exc" for part in parts)]:
        (corpus / name).write_text("")
    if folder is None:
        word, lines = "", []
        for line in gzip.decompress((ROOT / "plugins/subset/data/nouns.gz").read_bytes()).decode().splitlines():
            word = word[: ord(line[0]) - ord("A")] + line[1:]
            lines.append(f"{word} n 1 0 1 0 00000000")
        (corpus / "index.noun").write_text("\n".join(lines) + "\n")
        (corpus / "noun.exc").write_bytes(gzip.decompress((ROOT / "plugins/subset/data/noun_exceptions.gz").read_bytes()))
    else:
        for name in ["index.noun", "noun.exc", "data.noun"]:
            (corpus / name).write_bytes((Path(folder) / name).read_bytes())
        # Files of lexicographers, of which the reader wants names.
        (corpus / "lexnames").write_text("".join(f"{number:02}\tfile{number}\t1\n" for number in range(45)))
    nltk.data.path.insert(0, str(home))
    lemmatizer = WordNetLemmatizer()
    assert lemmatizer.lemmatize("wolves") == "wolf"
    return lemmatizer.lemmatize


def clean(text):
    text = text.lower()
    text = "".join(" " if letter in ":;-_.,!?\n" else letter for letter in text if letter not in "&<^*>\\|+=[]~`\"@/'\u00a9#)(")
    for old, new in [(" www ", " "), (" com ", " "), (" flickr ", " "), (" st ", " street "), (" de ", ""), ("http", " "), ("href", " ")]:
        text = text.replace(old, new)
    return " ".join(word for word in text.strip().split(" ") if len(word) < 30 and not word.isnumeric())


def variants(name, bugs=frozenset()):
    spellings = {name.lower().strip()}
    if "name" not in bugs:
        for cleaned in [clean(name), clean(f"a {name} a")[2:-2]]:
            spellings |= {cleaned.strip(), " ".join(cleaned.split())}
    every = set()
    for spelling in spellings - {""}:
        every |= {spelling, "".join(reversed(spelling.split())), spelling + "s", spelling.replace(" ", "")}
    return every


class Matcher:
    def __init__(self, classes, lemmatize):
        self.classes, self.lemmatize = classes, lemmatize
        self.variants = [variants(name) for name in classes]
        self.plain_variants = [variants(name, {"name"}) for name in classes]

    def words(self, caption):
        return [self.lemmatize(word) for word in clean(caption).split(" ")]

    def found(self, words, bugs=frozenset()):
        """(place, size, gram, class) of every match, in VL Hub's order."""
        variants = self.plain_variants if "name" in bugs else self.variants
        for place in range(len(words)):
            for size in range(1, min(3, len(words) - place) + 1):
                gram = " ".join(words[place : place + size])
                for number, own in enumerate(variants):
                    if gram in own:
                        yield place, size, gram, number

    def labels(self, caption, bugs=frozenset()):
        """Labels of `--multiclass`."""
        numbers, text = [], ""
        for _, _, _, number in self.found(self.words(caption), bugs):
            known = text.find(str(number)) != -1 if "digits" in bugs else number in numbers
            if not known:
                numbers.append(number)
                text += (", " if text else "") + str(number)
        if "one" in bugs and len(numbers) == 1:
            return []
        if "cut" in bugs and len(text) > 76:
            # A cut behind a comma leaves no number there.
            numbers = list(literal_eval(text[:75]))
        return numbers

    def single(self, caption):
        return self.labels(caption)[:1]

    def strict(self, caption, bugs=frozenset()):
        if "gram" in bugs:
            first = None
            numbers = set()
            for place, size, _, number in self.found(self.words(caption)):
                first = first or (place, size)
                if (place, size) == first:
                    numbers.add(number)
            numbers = sorted(numbers)
        else:
            numbers = self.labels(caption)
        return numbers if len(numbers) == 1 else []

    def simple(self, caption, bugs=frozenset()):
        text, names = "", []
        for _, _, gram, number in self.found(self.words(caption)):
            name = gram if "lemma" in bugs else self.classes[number]
            known = text.find(name) != -1 if "part" in bugs else name in names
            if not known:
                text += (("An image of " if not names else " " if "comma" in bugs else ", ")) + name
                names.append(name)
        return text[:75] if "cut" in bugs and len(text) > 76 else text

    def cipher(self, caption, bugs=frozenset()):
        def code(text):
            return "".join(CODES.get(letter, letter) for letter in text)

        words = self.words(caption)
        text, out, done = " ".join(words), list(words), set()
        for place, size, gram, _ in self.found(words):
            run = range(place, place + size)
            text = text.replace(gram, code(gram))
            if not done & set(run):
                for at in run:
                    out[at] = code(words[at])
            done |= set(run) if not done & set(run) else set()
        if not done:
            return ""
        text = text if "part" in bugs else " ".join(out)
        return text[:75] if "cut" in bugs and len(text) > 76 else text


def generated(classes, nouns, count, seed):
    """Captions as the web has them: class names in several spellings, other nouns in the plural, signs, numbers, other alphabets."""
    draw = random.Random(seed)
    filler = "a the of two in on my with and is has was us at photo picture old new st de www com flickr red boss less glass bus men".split()
    signs = ["", "", "", "", "!", ",", ".", " -", "?", "'s", ":", " &", " (1)", " #", "\u2014"]
    odd = ["2023", "\u00bd", "http://www.flickr.com/photos/1", "caf\u00e9", "\u5c0f\u72d7", "x" * 31, "\U0001f415", "100%", "T-shirt", ""]

    def name():
        name = draw.choice(classes)
        way = draw.random()
        if way < 0.25:
            return name + "s"
        if way < 0.32:
            return name.replace(" ", "")
        if way < 0.38:
            return "".join(reversed(name.split()))
        if way < 0.42:
            return " ".join(reversed(name.split()))
        return name.upper() if way < 0.46 else name.title() if way < 0.55 else name

    def word():
        kind = draw.random()
        if kind < 0.22:
            return name()
        if kind < 0.45:
            noun = draw.choice(nouns).replace("_", " ")
            return noun + draw.choice(["", "s", "es"]) if not noun.endswith("y") else noun[:-1] + "ies"
        return draw.choice(odd) if kind < 0.5 else draw.choice(filler)

    lengths = [1, 2, 3, 5, 8, 8, 12, 12, 20, 40]
    return [" ".join(word() + draw.choice(signs) for _ in range(draw.choice(lengths))) for _ in range(count)]


def class_names():
    """ImageNet's classes as VL Hub's list has them: cleaned."""
    lines = (ROOT / "sdk/assets/class_names/imagenet.txt").read_text().splitlines()
    return [" ".join(clean(line).split()) for line in lines]
