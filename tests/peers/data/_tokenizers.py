"""Token ids of the same texts by open_clip's SimpleTokenizer, by transformers' CLIP tokenizer and by VL Hub."""

import json
import os
import subprocess

import ftfy.bad_codecs  # noqa: F401  (names the character sets of `_texts.py`)
from open_clip.tokenizer import SimpleTokenizer
from transformers import CLIPTokenizer

VLHUB = os.environ["VLHUB_BIN"]


def open_clip_tokenizer():
    return SimpleTokenizer()


def transformers_tokenizer():
    """As the files of a published model make it: open_clip's vocabulary with transformers' names of the special tokens."""
    simple = SimpleTokenizer()
    names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocab = {names.get(entry, entry): number for entry, number in simple.encoder.items()}
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.get)
    return CLIPTokenizer(vocab=vocab, merges=[tuple(merge) for merge in merges])


def of_open_clip(tokenizer, texts):
    """Rows of 77 ids, filled up with 0."""
    return [row for start in range(0, len(texts), 512) for row in tokenizer(texts[start : start + 512]).tolist()]


def of_transformers(tokenizer, texts):
    """The same, with 0 where transformers fills up with the end token."""
    rows = tokenizer(texts, truncation=True, max_length=77)["input_ids"]
    return [row + [0] * (77 - len(row)) for row in rows]


def of_vlhub(folder, texts):
    """The same, by `vlhub tokenize`."""
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    done = subprocess.run([VLHUB, "tokenize", "--json-lines", path], check=True, capture_output=True, text=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return [row + [0] * (77 - len(row)) for row in rows]
