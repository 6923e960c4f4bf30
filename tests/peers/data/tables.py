"""Tables that Hugging Face `datasets`, pandas and img2dataset wrote, read sample by sample as these programs read them back.

What VL Hub reads is seen in the shards that `vlhub data pack` makes of a source, and in what `vlhub data check` counts.
"""

import functools
import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import venv
from pathlib import Path

import datasets
import numpy
import pandas
import pyarrow.parquet
from PIL import Image

datasets.disable_progress_bars()
VLHUB = os.environ["VLHUB_BIN"]
IMG2DATASET = "1.47.0"
random = numpy.random.default_rng(0)


def picture(kind, size=(60, 40)):
    buffer = io.BytesIO()
    Image.fromarray(random.integers(0, 255, (*size, 3), dtype="uint8")).save(buffer, kind)
    return buffer.getvalue()


def vlhub(folder, *arguments, allowed=(0, 3)):
    done = subprocess.run([VLHUB, *arguments, "--json"], cwd=folder, capture_output=True, text=True)
    if done.returncode not in allowed:
        raise RuntimeError(f"vlhub {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def packed(folder, name, *arguments):
    """Samples of the shards that `vlhub data pack` writes: a dictionary of suffixes each."""
    out = f"packed-{name}"
    vlhub(folder, "data", "pack", *arguments, "--out", out)
    samples = {}
    for shard in sorted((folder / out).glob("*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, suffix = member.name.split(".", 1)
                samples.setdefault(key, {})[suffix] = tar.extractfile(member).read()
    return list(samples.values())


def of_datasets(folder):
    """Every layout that `to_parquet` writes: one row group or many, compressed or not, shards, lists of captions, holes."""
    rows = 230
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "text": datasets.List(datasets.Value("string")),
            "label": datasets.ClassLabel(names=["cat", "dog", "sea horse"]),
            "score": datasets.Value("float64"),
            "word": datasets.Value("string"),
        }
    )
    texts = [[f"caption {row}", None, f"other {row}, \u00e9 \U0001f600"][: row % 4] for row in range(rows)]
    columns = {
        "image": [{"bytes": picture(("JPEG", "PNG")[row % 2]), "path": None} for row in range(rows)],
        "text": texts,
        "label": [None if row % 10 == 9 else row % 3 for row in range(rows)],
        "score": [None if row % 5 == 0 else row / 8 for row in range(rows)],
        "word": [None if row % 7 == 0 else "nan" for row in range(rows)],
    }
    data = datasets.Dataset.from_dict(columns, features=features)
    # `to_parquet` cannot be told how to compress (findings/datasets_to_parquet_compression.sh), so these two are written by pyarrow.
    compressed = {"zstd": {"row_group_size": 50, "compression": "zstd"}, "gzip": {"compression": "gzip"}}
    layouts = {"default": {}, "small": {"batch_size": 16}, **compressed}
    wrong = []
    for name, options in layouts.items():
        place = folder / name / "data"
        place.mkdir(parents=True)
        for shard in range(3):
            part, path = data.shard(3, shard, contiguous=True), place / f"train-{shard:05}-of-00003.parquet"
            if name in compressed:
                table = part.with_format("arrow")[:].replace_schema_metadata(features.arrow_schema.metadata)
                pyarrow.parquet.write_table(table, path, **options)
            else:
                part.to_parquet(path, **options)
        again = datasets.load_dataset("parquet", data_files=str(place / "*.parquet"), split="train", cache_dir=str(folder / "cache" / name))
        again = again.cast_column("image", datasets.Image(decode=False))
        samples = packed(folder, name, f"{name}/data")
        if len(samples) != rows or len(again) != rows:
            wrong.append(f"{name}: {len(samples)} samples, {len(again)} rows")
        for number, (sample, row) in enumerate(zip(samples, again, strict=True)):
            suffix = ("jpg", "png")[number % 2]
            words = [text for text in row["text"] if text is not None]
            meta = json.loads(sample.get("json", b"{}"))
            got = (
                hashlib.sha256(sample[suffix]).hexdigest(),
                [sample["txt"].decode(), *meta.get("captions", [])[1:]] if "txt" in sample else [],
                int(sample["cls"]) if "cls" in sample else None,
                float(meta["score"]) if "score" in meta else None,
                meta.get("word"),
            )
            wanted = (hashlib.sha256(row["image"]["bytes"]).hexdigest(), words, row["label"], row["score"], row["word"])
            if got != wanted:
                wrong.append(f"{name}, row {number}: {got} against {wanted}")
        told = vlhub(folder, "data", "check", f"{name}/data")
        if told["classes"] != {label: again["label"][:].count(at) for at, label in enumerate(["cat", "dog", "sea horse"])}:
            wrong.append(f"{name}: classes {told['classes']}")
    return wrong, f"{len(layouts)} layouts of {rows} rows of datasets {datasets.__version__}"


def of_pandas(folder):
    """One frame as Parquet, with bytes and with paths, and as a workbook: what pandas reads back, holes included."""
    rows = 40
    for row in range(rows):
        (folder / f"{row}.png").write_bytes(picture("PNG"))
    frame = pandas.DataFrame(
        {
            "filepath": [f"{row}.png" for row in range(rows)],
            "title": [None if row % 9 == 8 else "nan" if row == 3 else f"title {row}" for row in range(rows)],
            "kind": pandas.Categorical([("dog", "cat", "old bird")[row % 3] for row in range(rows)]),
            "number": [None if row % 6 == 5 else row % 4 for row in range(rows)],
        }
    )
    pictures = frame.assign(image=[(folder / name).read_bytes() for name in frame.filepath]).drop(columns="filepath")
    pictures.to_parquet(folder / "bytes.parquet")
    frame.to_parquet(folder / "paths.parquet", engine="pyarrow", compression="snappy", row_group_size=7)
    frame.to_excel(folder / "frame.xlsx", index=False)
    keys = ("--caption-key", "title", "--label-key", "kind")
    wrong = []
    for name, arguments in {
        "bytes": ("bytes.parquet", *keys),
        "paths": ("paths.parquet", "--img-key", "filepath", *keys),
        "xlsx": ("frame.xlsx", *keys),
    }.items():
        samples = packed(folder, name, *arguments)
        if len(samples) != rows:
            wrong.append(f"{name}: {len(samples)} samples")
        order = list(dict.fromkeys(frame.kind))
        for sample, row in zip(samples, frame.itertuples(), strict=True):
            title = None if pandas.isna(row.title) else row.title
            # A sheet has no holes, so a caption that is not there is an empty one.
            got = (sample["png"], sample["txt"].decode() if "txt" in sample else None, order[int(sample["cls"])])
            wanted = ((folder / row.filepath).read_bytes(), title, row.kind)
            number = json.loads(sample.get("json", b"{}")).get("number") or None
            if got != wanted or (number is None) != pandas.isna(row.number) or (number is not None and float(number) != row.number):
                wrong.append(f"{name}, {row.filepath}: {got[1:]} and {number} against {wanted[1:]} and {row.number}")
    return wrong, f"3 tables of {rows} rows of pandas {pandas.__version__}"


def img2dataset():
    """The Python of an environment beside this one, made once: img2dataset wants older pandas and webdataset than the other peers."""
    place = Path(f"{sys.prefix}-img2dataset-{IMG2DATASET}")
    python = place / "bin" / "python"
    if not (place / "done").exists():
        venv.create(place, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", f"img2dataset=={IMG2DATASET}"], check=True)
        (place / "done").touch()
    return python


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def of_img2dataset(folder):
    """Each output format of img2dataset, downloaded from a server on this machine; some addresses fail."""
    python = img2dataset()
    (folder / "www").mkdir()
    for number in range(24):
        (folder / "www" / f"{number}.jpg").write_bytes(picture("JPEG"))
    (folder / "www" / "bad.jpg").write_text("<html>")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder / "www"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    rows = [(f"{address}/{number}.jpg", f"caption {number}") for number in range(24)]
    rows += [(f"{address}/bad.jpg", "bad"), (f"{address}/gone.jpg", "gone"), (f"{address}/3.jpg", None), (f"{address}/4.jpg", "nan")]
    pandas.DataFrame(rows, columns=["url", "caption"]).to_parquet(folder / "urls.parquet")
    script = "import sys; from img2dataset import download\nif __name__ == '__main__': download(**__import__('json').loads(sys.argv[1]))\n"
    (folder / "get.py").write_text(script)
    wrong, seen = [], {}
    for form in ("webdataset", "parquet", "files"):
        options = {
            "url_list": "urls.parquet", "input_format": "parquet", "url_col": "url", "caption_col": "caption", "output_folder": form,
            "output_format": form, "processes_count": 1, "thread_count": 4, "image_size": 32, "number_sample_per_shard": 10, "retries": 0, "timeout": 5,
        }
        subprocess.run([python, "get.py", json.dumps(options)], cwd=folder, check=True, capture_output=True)
        tables = pandas.concat([pandas.read_parquet(path) for path in sorted((folder / form).glob("*.parquet"))])
        good = tables[tables.status == "success"]
        told = vlhub(folder, "data", "check", form)
        captions = [caption for caption in good.caption if not pandas.isna(caption) and caption]
        if (told["samples"], told["good"], told["captions"]) != (len(good), len(captions), len(captions)):
            wrong.append(f"{form}: {told['samples']} samples, {told['good']} good; {len(good)} and {len(captions)} are right")
        if not any("got 26 of 28 pictures" in note and "404" in note for note in told["notes"]):
            wrong.append(f"{form}: {told['notes']}")
        seen[form] = len(good)
    if len(set(seen.values())) != 1:
        wrong.append(f"img2dataset itself: {seen}")
    return wrong, f"3 output formats of img2dataset {IMG2DATASET}, {seen['files']} of {len(rows)} downloaded"


problems = []
for part in (of_datasets, of_pandas, of_img2dataset):
    with tempfile.TemporaryDirectory() as folder:
        wrong, told = part(Path(folder))
    print(f"{told}: {'ok' if not wrong else f'{len(wrong)} differ'}")
    problems += wrong
for problem in problems[:20]:
    print(f"FAILED {problem}")
sys.exit(1 if problems else 0)
