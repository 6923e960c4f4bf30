"""Shards read by VL Hub and by webdataset, as lists of (key, {suffix: bytes}), and shards with names of every kind."""

import io
import json
import logging
import subprocess
import tarfile
import warnings
from pathlib import Path


def tar(members, **options):
    """Bytes of a shard; a member is (name, data)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", errors="surrogateescape", **options) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def listed(program, folder, shards):
    """What VL Hub finds in each shard: {shard: (samples, [(offset, reason) of what was lost])}."""
    ran = subprocess.run([program, "data", "index", shards, "--list"], cwd=folder, capture_output=True, text=True)
    if ran.returncode != 0:
        return {shards: ([], [(0, ran.stderr.strip())])}
    found, read = {}, {}
    for line in ran.stdout.splitlines():
        entry = json.loads(line)
        name = entry["shard"]
        samples, lost = found.setdefault(name, ([], []))
        if "key" not in entry:
            lost.append((entry["offset"], entry["reason"]))
            continue
        if name not in read:
            read = {name: (Path(folder) / name).read_bytes()}
        samples.append((entry["key"], {suffix: read[name][offset : offset + size] for suffix, (offset, size) in entry["members"].items()}))
        if "odd" in entry:
            lost.append((0, entry["odd"]))
    return found


def ours(program, folder, shards):
    """Samples of all shards, and all that was lost."""
    found = listed(program, folder, shards).values()
    return [sample for samples, _ in found for sample in samples], [one for _, lost in found for one in lost]


def shown(name):
    """A name as VL Hub shows it: what is no UTF-8 is replaced."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def webdatasets(paths, nothrow):
    """Samples, and what webdataset said: warnings, log lines, or the error that ended it. `nothrow`: grouped as open_clip groups."""
    import webdataset

    said = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger().addHandler(handler)

    def note(error):
        said.append(repr(error))
        return True

    sources = [{"url": str(path)} for path in paths]
    samples = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            files = webdataset.tariterators.tar_file_expander(webdataset.tariterators.url_opener(sources, handler=note), handler=note)
            grouped = nothrow(files, handler=note) if nothrow else webdataset.tariterators.group_by_keys(files, handler=note)
            for sample in grouped:
                samples.append((shown(sample["__key__"]), {shown(suffix): data for suffix, data in sample.items() if suffix not in ("__key__", "__url__", "__local_path__")}))
        except Exception as error:
            said.append(repr(error))
    logging.getLogger().removeHandler(handler)
    said += [str(warning.message) for warning in caught if "ResourceWarning" not in str(warning.category)]
    return samples, said


def group_by_keys_nothrow(files, handler=None):
    """open_clip's grouping, which differs from webdataset's in one thing: a suffix that repeats begins a new sample."""
    from webdataset.tariterators import base_plus_ext, valid_sample

    current = None
    for file in files:
        if not isinstance(file, dict) or "fname" not in file:
            continue
        prefix, suffix = base_plus_ext(file["fname"])
        if prefix is None:
            continue
        suffix = suffix.lower()
        if current is None or prefix != current["__key__"] or suffix in current:
            if valid_sample(current):
                yield current
            current = {"__key__": prefix, "__url__": file["__url__"]}
        current[suffix] = file["data"]
    if valid_sample(current):
        yield current
