"""Token ids of 100,000 texts equal those of open_clip's SimpleTokenizer; `tokens.md` counts where transformers' CLIP tokenizer differs from it."""

import pathlib
import sys
import tempfile

import _texts
import ftfy
import open_clip
import regex
import tokenizers
import transformers
from _tokenizers import of_open_clip, of_transformers, of_vlhub, open_clip_tokenizer, transformers_tokenizer

COUNTS = {"caption": 30_000, "mixed": 25_000, "damaged": 15_000, "escaped": 15_000, "noise": 7_500, "letters": 7_500}
# What each of transformers' differences comes from, by the smallest text that shows it.
REASONS = [
    ("ordinary text", "a photo of a dog"), ("no ftfy: curly quotes", "it’s"), ("no ftfy: text that was decoded wrongly", "cafÃ©"), ("no ftfy: ligatures", "ﬁsh"),
    ("no ftfy: full width", "ＡＢ１"), ("no ftfy: controls", "a\0b"), ("no ftfy: colours of a terminal", "\x1b[31mred"), ("no HTML: references", "a &amp; b"), ("no HTML: twice", "&amp;lt;"),
    ("composed characters", "e\u0301"), ("other white space", "a\u3000b\u2028c"), ("separators of ASCII", "a\x1cb"), ("open_clip's special tokens", "a <end_of_text> b"),
    ("transformers' special tokens", "a <|endoftext|> b"), ("the same in capitals", "a <|ENDOFTEXT|> b"), ("capital sigma at the end of a word", "ΟΔΟΣ"),
    ("capital I with a dot", "İz"), ("long s", "<ſtart_of_text>"), ("long s in a contraction", "it'ſ"), ("emoji", "👍🏽 👨‍👩‍👧"), ("Chinese", "你好"), ("Thai marks", "สวัสดี"), ("digits of other scripts", "١٢٣"),
    ("fractions", "½"), ("numbers in a row", "2024"), ("characters beyond Unicode 15", "\U0001fadf \U00010d40"), ("the empty text", ""),
]


def shown(text):
    return f"`{ascii(text)}`".replace("|", "\\|")


def main():
    texts = {kind: _texts.texts(kind, count) for kind, count in COUNTS.items()}
    simple, published = open_clip_tokenizer(), transformers_tokenizer()
    wrong, lines = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for kind, batch in texts.items():
            theirs, ours = of_open_clip(simple, batch), of_vlhub(pathlib.Path(folder), batch)
            assert len(theirs) == len(ours) == len(batch)
            for text, one, other in zip(batch, theirs, ours, strict=True):
                if one != other:
                    wrong += 1
                    if wrong <= 10:
                        print(f"FAILED {kind} {text!r}\n  open_clip {one}\n  vlhub     {other}")
            apart = sum(one != other for one, other in zip(theirs, of_transformers(published, batch), strict=True))
            lines.append(f"| {kind} | {_texts.KINDS_OF_TEXT[kind].__doc__.splitlines()[0]} | {len(batch):,} | {apart:,} |")
            print(f"{kind}: {len(batch)} texts, transformers differs at {apart}")
        samples = [text for _, text in REASONS]
        rows = zip(REASONS, of_open_clip(simple, samples), of_transformers(published, samples), of_vlhub(pathlib.Path(folder), samples), strict=True)
        reasons = []
        for (reason, text), theirs, hugging, ours in rows:
            wrong += ours != theirs
            short = [" ".join(map(str, row[: max(1, 77 - row[::-1].index(next(filter(None, row[::-1]))))][1:-1])) for row in (theirs, hugging)]
            reasons.append(f"| {reason} | {shown(text)} | {short[0]} | {'the same' if theirs == hugging else short[1]} |")
    versions = f"open_clip {open_clip.__version__}, ftfy {ftfy.__version__}, regex {regex.__version__}, transformers {transformers.__version__}, tokenizers {tokenizers.__version__}"
    page = f"""# Token ids of CLIP's tokenizers

Written by `cargo vlhub test --peers tokens` (tests/peers/data/tokens.py; {versions}). Context 77. VL Hub's ids equal those of open_clip's `SimpleTokenizer`
at {sum(COUNTS.values()) - wrong:,} of {sum(COUNTS.values()):,} texts (`_texts.py` makes them). Only characters that Python knows are in them: of capitals that are newer (with 3.11 those of Garay and Beria Erfe) its `str.lower` makes no small letters, so open_clip's ids depend on the Python that runs it. transformers' `CLIPTokenizer`, with the same vocabulary, differs from both as follows; what fills a row up
(0 there, the end token 49407 in transformers) is left out of the comparison.

| kind | texts | number | transformers differs |
| --- | --- | --- | --- |
""" + "\n".join(lines) + """

What it comes from. Ids stand between start and end token.

| reason | text | open_clip, VL Hub | transformers |
| --- | --- | --- | --- |
""" + "\n".join(reasons) + "\n"
    pathlib.Path(__file__).with_suffix(".md").write_text(page)
    print(f"{sum(COUNTS.values()) - wrong} of {sum(COUNTS.values())} texts have open_clip's ids ({versions})")
    sys.exit(1 if wrong else 0)


main()
