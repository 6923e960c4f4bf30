"""Writes entities.tsv, mojibake.json and letters.tsv beside itself, from Python's html.entities, ftfy 6.3.1 and regex 2026.11.19."""

import html.entities
import json
import pathlib

import ftfy
import regex
from ftfy import badness, chardata

assert ftfy.__version__ == "6.3.1", ftfy.__version__
here = pathlib.Path(__file__).parent


def plain(pattern: str) -> str:
    """A verbose Python pattern as Rust's `regex` reads it: no layout, and Python's idea of white space and words."""
    out, inside, at = "", False, 0
    while at < len(pattern):
        char = pattern[at]
        if char == "\\":
            pair = pattern[at : at + 2]
            out += {"\\s": r"[\s\x1c-\x1f]", "\\w": r"[\p{L}\p{N}_]"}.get(pair, pair)
            at += 2
            continue
        if not inside and char == "#":
            at = pattern.index("\n", at)
        elif inside or not char.isspace():
            out += char
            inside = {"[": True, "]": False}.get(char, inside)
        at += 1
    # Characters that nobody can see become escapes.
    return "".join(c if c.isprintable() or c == " " else f"\\x{{{ord(c):x}}}" for c in out)


def of_bytes(pattern: bytes) -> str:
    return "".join(chr(b) if 0x20 <= b < 0x7F else f"\\x{b:02x}" for b in pattern)


def charset(name: str) -> dict:
    return {"name": name, "substitute": b"\x1a".decode(name), "high": bytes(range(0x80, 0x100)).decode(name)}


detector = plain(chardata.UTF8_DETECTOR_RE.pattern)
strict, detector = detector.removeprefix("(?<!").split(")", 1)
data = {
    "origin": f"ftfy {ftfy.__version__}, Apache-2.0; written by make.py",
    "bad": plain(badness.BADNESS_RE.pattern),
    "detector": detector,
    "detector_not_after": strict,
    "altered_utf8": of_bytes(chardata.ALTERED_UTF8_RE.pattern),
    "lossy_utf8": of_bytes(chardata.LOSSY_UTF8_RE.pattern),
    "charsets": [charset(name) for name in chardata.CHARMAP_ENCODINGS],
    "replacements": {chr(at): text for table in (chardata.LIGATURES, chardata.WIDTH_MAP) for at, text in table.items()},
}
(here / "mojibake.json").write_text(json.dumps(data, ensure_ascii=True, indent=1) + "\n")
lines = (f"{name}\t{' '.join(f'{ord(c):X}' for c in text)}\n" for name, text in sorted(html.entities.html5.items()))
(here / "entities.tsv").write_text("".join(lines))

# As open_clip's pattern sees them: the categories L and N, by the Unicode of the package `regex`.
ranges, last = [], ""
for code in range(0x110000):
    kind = "" if 0xD800 <= code < 0xE000 else "L" if regex.match(r"\p{L}", chr(code)) else "N" if regex.match(r"\p{N}", chr(code)) else ""
    if kind and kind == last:
        ranges[-1][2] = code
    elif kind:
        ranges.append([kind, code, code])
    last = kind
(here / "letters.tsv").write_text("".join(f"{kind}\t{first:X}\t{end:X}\n" for kind, first, end in ranges))
