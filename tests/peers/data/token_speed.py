"""Captions a second of VL Hub's tokenizer, of open_clip's and of transformers', by one thread each, interleaved; equality of the ids first.

Speeds are measured with a release build alone: `cargo build --release`, then VLHUB_BIN=target/release/vlhub. With another, ids are compared. It
is a benchmark, not a test: it fails only when ids differ. Seconds are those of the processor, so that other work of the machine hardly counts.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from statistics import median

# One thread: transformers' tokenizer starts others for a list of texts.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import _texts  # noqa: E402
from _tokenizers import VLHUB, of_open_clip, of_vlhub, open_clip_tokenizer, transformers_tokenizer  # noqa: E402

ROUNDS, CAPTIONS, BATCH = 5, 5_000, 64
RELEASE = "release" in pathlib.Path(VLHUB).parts
# Bytes of one text, and how many texts: a word to a megabyte of words.
LENGTHS = [(5, 2000), (64, 1000), (1 << 10, 200), (1 << 14, 20), (1 << 20, 2)]


def rate(tokenizer, texts):
    """Texts a second, in batches as a collator of captions makes them."""
    start = time.process_time()
    for first in range(0, len(texts), BATCH):
        tokenizer(texts[first : first + BATCH])
    return len(texts) / (time.process_time() - start)


def ours(folder, texts, seconds):
    path = pathlib.Path(folder) / "texts.jsonl"
    path.write_text("".join(json.dumps(text) + "\n" for text in texts))
    done = subprocess.run([VLHUB, "bench", "tokens", path, "--json-lines", "--seconds", str(seconds), "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["texts_per_second"]


def compare(folder, name, texts, rounds, seconds, peers):
    rates = [[rate(peer, texts) for peer in peers] + [ours(folder, texts, seconds)] for _ in range(rounds)]
    simple, hugging, vlhub = (median(column) for column in zip(*rates, strict=True))
    print(f"{name}: open_clip {simple:.4g}/s, transformers {hugging:.4g}/s, ours {vlhub:.4g}/s ({1000 / vlhub:.4g} ms each): "
          f"ratio {vlhub / simple:.0f} to open_clip, {vlhub / hugging:.1f} to transformers (rounds: {', '.join(f'{row[2] / row[0]:.0f}' for row in rates)})")


def main():
    simple, published = open_clip_tokenizer(), transformers_tokenizer()
    peers = (simple, lambda texts: published(texts, truncation=True, max_length=77))
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("caption", "mixed", "damaged"):
            texts = _texts.texts(kind, CAPTIONS, seed=12)
            if of_open_clip(simple, texts) != of_vlhub(pathlib.Path(folder), texts):
                sys.exit(f"ids of {kind} differ; `cargo vlhub test --peers tokens` says where")
            if not RELEASE:
                continue
            compare(folder, f"{kind} ({sum(len(text.encode()) for text in texts) / len(texts):.0f} bytes)", texts, ROUNDS, 1, peers)
        for size, count in LENGTHS if RELEASE else []:
            text = ("a dog and " * (size // 10 + 1))[:size]
            compare(folder, f"{size} bytes of words", [text] * count, 1, 0.5, peers)


main()
