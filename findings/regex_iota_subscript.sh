#!/usr/bin/env bash
# Python's regex, in any case, finds one character by none of four classes that share all characters out.
#
# Guess:    `\p{L}`, `\p{N}`, `\s` and `[^\s\p{L}\p{N}]` share every character out between them, with IGNORECASE too.
# Seen:     U+0345 (Greek iota subscript, a mark) is found by none of them under IGNORECASE: its capital `Ι` is a letter, which keeps it out of the last
#           class, and the mark itself is no letter. It is the only one of 1,112,064 characters, and `[^\p{L}]` by itself does find it. CLIP's tokenizer splits
#           captions by these classes under IGNORECASE, so the character has no token in open_clip and cuts a run of letters or signs in two.
# Versions: regex 2026.11.19.
# Hurts:    decomposed polytonic Greek; ports of CLIP's tokenizer to engines that take the mark as a letter in any case (Rust's regex) have other ids.
# VL Hub:   passes it over, as open_clip does (`host/src/data/tokens/split.rs`).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet regex==2026.11.19 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import sys

import regex

classes = [regex.compile(pattern, regex.IGNORECASE) for pattern in (r"\p{L}", r"\p{N}", r"\s", r"[^\s\p{L}\p{N}]")]
lost = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000 and not any(one.match(chr(code)) for one in classes)]
print("in none of the classes:", [f"U+{code:04X}" for code in lost])
words = regex.compile(r"\p{L}+|\p{N}|[^\s\p{L}\p{N}]+", regex.IGNORECASE).findall("a\u0345b !\u0345?")
print("words of CLIP's pattern:", words)
sys.exit(0 if lost == [0x345] and words == ["a", "b", "!", "?"] else 1)
PY
