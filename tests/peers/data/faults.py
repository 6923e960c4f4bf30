"""What VL Hub and webdataset find in damaged shards, as `faults.md`: found (intact samples that are read as they were written), missed (intact
samples that are not), false (samples that nobody wrote), told (whether anything is said).

webdataset in the version of the environment, and 0.2.86, which open_clip pins, fetched into a folder of its own; both with the handler that goes on,
as open_clip sets it. Fails when VL Hub misses a sample or reads a false one that it could have known, or the table changes.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from _shards import group_by_keys_nothrow, ours, tar, webdatasets

HERE = Path(__file__).parent
VLHUB = os.environ["VLHUB_BIN"]
OLD = "0.2.86"
SAMPLES = 8


def sample(number):
    return [(f"{number:05}.jpg", bytes((number * 37 + at * 101) % 255 + 1 for at in range(1300 + 11 * number))), (f"{number:05}.txt", f"caption {number}".encode())]


WHOLE = [member for number in range(SAMPLES) for member in sample(number)]
HEAD = 3 * (512 + 1536 + 1024)  # header of 00003.jpg: pictures take three blocks, captions one


def shard(members=WHOLE):
    data = tar(members)
    return data.rstrip(b"\0") + bytes(-len(data.rstrip(b"\0")) % 512 + 1024)


def seal(data, at):
    """A right checksum for a header that was changed."""
    header = bytearray(data[at : at + 512])
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:at] + bytes(header) + data[at + 512 :]


def put(at, new, instead=0):
    return lambda data: data[:at] + new + data[at + instead :]


def flip(at):
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def size(field):
    return lambda data: seal(data[: HEAD + 124] + field + data[HEAD + 136 :], HEAD)


ALL = set(range(SAMPLES))
# Name, damage, numbers of the samples that stay intact.
FAULTS = [
    ("none", lambda data: data, ALL),
    ("a bit of a header", flip(HEAD + 3), ALL - {3}),
    ("a bit of a caption's header", flip(HEAD + 2048 + 3), ALL - {3}),
    ("a header of zeros", put(HEAD, bytes(512), 512), ALL - {3}),
    ("a header overwritten", put(HEAD, b"\xaa" * 512, 512), ALL - {3}),
    ("a sample of zeros", put(HEAD, bytes(3072), 3072), ALL - {3}),
    ("a header cut out", put(HEAD, b"", 512), ALL - {3}),
    ("7 bytes of data cut out", put(HEAD + 700, b"", 7), ALL - {3}),
    ("a block of data cut out", put(HEAD + 1024, b"", 512), ALL - {3}),
    ("9 bytes put into data", put(HEAD + 700, b"\x07" * 9), ALL - {3}),
    ("7 bytes put before a header", put(HEAD, b"\xaa" * 7), ALL),
    ("a block put before a header", put(HEAD, b"\xaa" * 512), ALL),
    ("a zero block put before a header", put(HEAD, bytes(512)), ALL),
    ("a size below zero", size(b"\xff" * 12), ALL - {3}),
    ("a size beyond the end", size(b"77777777777\0"), ALL - {3}),
    ("a size that is no number", size(b"12x456789ab\0"), ALL - {3}),
    ("cut in a header", lambda data: data[: HEAD + 100], {0, 1, 2}),
    ("cut before a header", lambda data: data[:HEAD], {0, 1, 2}),
    ("cut in data", lambda data: data[: HEAD + 900], {0, 1, 2}),
    ("no end mark", lambda data: data[:-1024], ALL),
    ("another shard behind it", lambda data: data + shard(sample(9)), ALL | {9}),
    ("members of samples mixed", lambda _: shard(sample(0) + [sample(1)[0], sample(2)[0], sample(1)[1], sample(2)[1]] + sample(3)), {0, 3}),
    ("a sample twice", lambda _: shard(sample(0) + sample(1) + sample(1) + sample(2)), {0, 1, 2}),
    ("a caption missing", lambda _: shard(sample(0) + sample(1)[:1] + sample(2)), {0, 2}),
    ("a member without suffix", lambda _: shard(sample(0) + [("README", b"x")] + sample(1)), {0, 1}),
    ("names that lead out of the folder", lambda _: shard([(f"../../{name}", data) for name, data in sample(0)] + sample(1)), {1}),
]
# A picture ends one shard, and a caption of the same key begins the next.
TWO = ("two shards, one key at both ends", [shard(sample(0) + sample(1)[:1]), shard([("00001.txt", b"of another picture")] + sample(2))])


def verdict(samples, said, intact):
    """Found, missed and false, where a sample is a picture with its caption."""
    samples = [(key, dict(parts)) for key, parts in samples if {"jpg", "txt"} <= set(parts)]
    written = [(f"{number:05}", {name.split(".")[-1]: data for name, data in sample(number)}) for number in sorted(intact)]
    found = sum(one in samples for one in written)
    every = [(f"{number:05}", {name.split(".")[-1]: data for name, data in sample(number)}) for number in range(10)]
    every += [(f"../../{key}", parts) for key, parts in every]
    return found, len(written) - found, sum(one not in every for one in samples), bool(said)


def webdataset_column(folder):
    """Called in a process of its own, for the version that its path gives."""
    rows = {}
    for path in sorted(Path(folder).glob("[0-9]*")):
        shards = sorted(path.glob("*.tar"))
        samples, said = webdatasets(shards, group_by_keys_nothrow)
        rows[path.name] = ([(key, {suffix: data.hex() for suffix, data in parts.items()}) for key, parts in samples], said)
    print(json.dumps(rows))


def column(folder, path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
    ran = subprocess.run([sys.executable, __file__, "--column", folder], env=environment, capture_output=True, text=True)
    if ran.returncode != 0:
        sys.exit(ran.stderr)
    rows = json.loads(ran.stdout.splitlines()[-1])
    return {name: ([(key, {suffix: bytes.fromhex(data) for suffix, data in parts.items()}) for key, parts in samples], said) for name, (samples, said) in rows.items()}


def main(folder):
    cases = [(name, [damage(shard())], intact) for name, damage, intact in FAULTS] + [(*TWO, {0, 2})]
    for number, (_, shards, _) in enumerate(cases):
        (folder / f"{number:02}").mkdir()
        for at, data in enumerate(shards):
            (folder / f"{number:02}/{at}.tar").write_bytes(data)
    old = folder / "old"
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", "--target", old, f"webdataset=={OLD}"], check=True)
    columns = [column(folder, []), column(folder, [str(old)])]
    import webdataset

    lines = [
        "# Damaged shards: what is found in them",
        "",
        "Written by `cargo vlhub test --peers faults`. Each shard held samples of a picture and a caption; *intact* is how many of them the damage left whole.",
        "*Found / missed / false*: intact samples that were read to the byte, that were not, and samples that nobody wrote. *Told*: whether a word was said.",
        f"webdataset {webdataset.__version__} and {OLD} (which open_clip pins), with a handler that goes on and open_clip's grouping.",
        "",
        f"| damage | intact | VL Hub | told | webdataset {webdataset.__version__} | told | webdataset {OLD} | told |",
        "|---|---|---|---|---|---|---|---|",
    ]
    wrong, sums = [], [[0, 0, 0, 0] for _ in range(3)]
    for number, (name, _, intact) in enumerate(cases):
        path = f"{number:02}"
        mine = verdict(*ours(VLHUB, folder / path, "*.tar"), intact)
        all_three = [mine, *[verdict(*rows[path], intact) for rows in columns]]
        if mine[1] or mine[2]:
            wrong.append(f"{name}: VL Hub found {mine[0]}, missed {mine[1]}, false {mine[2]}")
        silent = "none" if name in ("none", "a caption missing", "a member without suffix", "names that lead out of the folder") or number == len(FAULTS) else ""
        if not mine[3] and not silent:
            wrong.append(f"{name}: VL Hub says nothing")
        cells = [f"{found} / {missed} / {false} | {'yes' if told else 'no'}" for found, missed, false, told in all_three]
        lines.append(f"| {name} | {len(intact)} | {' | '.join(cells)} |")
        for sum_of, row in zip(sums, all_three):
            for at in range(4):
                sum_of[at] += row[at]
    total = sum(len(intact) for *_, intact in cases)
    lines.append(f"| **together** | {total} | " + " | ".join(f"{found} / {missed} / {false} | {told}" for found, missed, false, told in sums) + " |")
    lines += ["", "Nothing is said by `data index` where nothing is damaged: a caption that is missing, or a member without suffix, is told by `data check` and in a run's", "`skipped.jsonl`, which know what is read (`tests/it/faults.rs`).", ""]
    table = "\n".join(lines)
    was = (HERE / "faults.md").read_text() if (HERE / "faults.md").exists() else ""
    if table != was:
        (HERE / "faults.md").write_text(table)
        wrong.append("tests/peers/data/faults.md was another; it is written anew: look at the difference")
    return wrong


if sys.argv[1:2] == ["--column"]:
    webdataset_column(sys.argv[2])
else:
    with tempfile.TemporaryDirectory() as folder:
        problems = main(Path(folder))
    print("\n".join(problems) or "ok")
    sys.exit(bool(problems))
