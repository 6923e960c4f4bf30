"""Writes tables.parquet (Hugging Face `datasets`), tables.xlsx (pandas with openpyxl) and tables.json: what these programs read back of their own files.

Needs datasets, pandas, openpyxl and Pillow.
"""

import base64
import hashlib
import io
import json
from importlib.metadata import version
from pathlib import Path

import numpy
import pandas
from datasets import ClassLabel, Dataset, Features, Image, List, Value, disable_progress_bars, load_dataset
from datasets import Image as ImageFeature
from PIL import Image as Pillow

disable_progress_bars()
here = Path(__file__).with_suffix("")
random = numpy.random.default_rng(5)


def picture(number, kind):
    buffer = io.BytesIO()
    pixels = random.integers(0, 255, (18, 20, 3), dtype="uint8")
    pixels[..., 0] = 37 * number % 256
    Pillow.fromarray(pixels).resize((20, 18)).save(buffer, kind)
    return buffer.getvalue()


rows = 12
features = Features(
    {
        "image": Image(),
        "text": Value("string"),
        "captions": List(Value("string")),
        "label": ClassLabel(names=["cat", "dog", "sea horse"]),
        "score": Value("float32"),
        "count": Value("int32"),
    }
)
columns = {
    "image": [{"bytes": picture(row, ("JPEG", "PNG")[row % 2]), "path": f"{row}.{('jpg', 'png')[row % 2]}"} for row in range(rows)],
    "text": [None if row == 7 else f"a picture, number {row}" for row in range(rows)],
    "captions": [[f"one {row}", f"two {row}"][: row % 3] for row in range(rows)],
    "label": [None if row == 3 else -1 if row == 5 else row % 3 for row in range(rows)],
    "score": [None if row % 4 == 1 else row / 10 for row in range(rows)],
    "count": list(range(rows)),
}
path = here.with_suffix(".parquet")
Dataset.from_dict(columns, features=features).to_parquet(path, batch_size=5)
told = []
for row in load_dataset("parquet", data_files=str(path), split="train", cache_dir="/tmp/vlhub-golden-tables").cast_column(
    "image", ImageFeature(decode=False)
):
    told.append({**row, "image": {"sha256": hashlib.sha256(row["image"]["bytes"]).hexdigest(), "path": row["image"]["path"]}})

sheet = pandas.DataFrame(
    {
        "filepath": ["a.jpg", "b.jpg", "a.jpg", None, "a.jpg", "a.jpg"],
        "title": ["a dog", "nan", None, "no picture", 7, " spaced "],
        "kind": ["dog", "cat", "dog", "cat", "dog", "cat"],
        "number": [1, 2.5, 3, 4, None, 1e6],
        "when": pandas.to_datetime(["2024-02-29 12:30:00"] * 6),
        "good": [True, False] * 3,
    }
)
path = here.with_suffix(".xlsx")
with pandas.ExcelWriter(path, engine="openpyxl") as book:
    pandas.DataFrame({"notes": ["not the table"]}).to_excel(book, sheet_name="notes", index=False)
    sheet.to_excel(book, sheet_name="pairs", index=False, startrow=1)
again = pandas.read_excel(path, sheet_name="pairs", header=1, keep_default_na=False, na_values=[""]).astype(object)
again = again.where(again.notna(), None)
sheet_rows = [{name: str(value) if isinstance(value, pandas.Timestamp) else value for name, value in row.items()} for row in again.to_dict("records")]

versions = ", ".join(f"{name} {version(name)}" for name in ["datasets", "pyarrow", "pandas", "openpyxl"])
content = {"origin": f"tests/golden/tables.py, {versions}", "parquet": told, "xlsx": sheet_rows}
here.with_suffix(".json").write_text(json.dumps(content, indent=1) + "\n")
