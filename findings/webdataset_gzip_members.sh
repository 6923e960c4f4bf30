#!/usr/bin/env bash
# webdataset reads a .tar.gz of several gzip members up to the end of the first, without a word.
#
# Guess:    a `.tar.gz` that `tar tzf`, `gzip -t` and Python's `tarfile.open` read whole is read whole by webdataset. RFC 1952 lets a gzip file be a
#           series of members; bgzip, parallel compressors, and writers that end a member after each sample make such files.
# Seen:     with a member for each of 40 samples it yields 1 sample and no error; with members of 64 KiB, as bgzip writes them, it raises
#           `ReadError: unexpected end of data` after the first. It opens shards with `tarfile.open(mode="r|*")`, and the stream reader of Python's
#           tarfile stops at the end of the first member; where that is the end of a tar member too, it looks like the end of the archive.
# Versions: webdataset 1.0.2, Python 3.11.
# Hurts:    whoever compresses shards with such a tool, or appends to compressed shards: most of an epoch is missing, and nothing says so.
# VL Hub:   reads all members (and all frames of a .tar.zst); what follows the last and is neither zeros nor a member is listed as damage.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv" && "$work/venv/bin/pip" install --quiet webdataset==1.0.2 numpy==2.4.6 || exit 2
cd "$work" && venv/bin/python - <<'PY'
import gzip
import io
import sys
import tarfile

import webdataset

raw = io.BytesIO()
with tarfile.open(fileobj=raw, mode="w") as tar:
    for number in range(40):
        info, data = tarfile.TarInfo(f"{number:04d}.txt"), f"caption {number} ".encode() * 200
        info.size = len(data)
        tar.addfile(info, io.BytesIO(data))
raw = raw.getvalue()
with tarfile.open(fileobj=io.BytesIO(raw)) as tar:
    starts = [member.offset for member in tar] + [len(raw)]
each = b"".join(gzip.compress(raw[start:end]) for start, end in zip(starts, starts[1:]))
blocks = b"".join(gzip.compress(raw[start : start + 65280]) for start in range(0, len(raw), 65280))


def read(name):
    try:
        return len(list(webdataset.WebDataset(name, shardshuffle=False)))
    except tarfile.ReadError as error:
        return f"ReadError: {error.args[0]}"


seen = {}
for name, data in (("one.tar.gz", gzip.compress(raw)), ("each.tar.gz", each), ("blocks.tar.gz", blocks)):
    with open(name, "wb") as file:
        file.write(data)
    with tarfile.open(name) as tar:
        seen[name] = (len(tar.getnames()), read(name))
    print(f"{name}: tarfile.open lists {seen[name][0]} members, webdataset yields {seen[name][1]}")
sys.exit(0 if seen == {"one.tar.gz": (40, 40), "each.tar.gz": (40, 1), "blocks.tar.gz": (40, "ReadError: unexpected end of data")} else 1)
PY
