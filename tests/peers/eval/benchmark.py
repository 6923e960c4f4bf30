"""CLIP_benchmark's numbers and those of `vlhub eval --benchmark`, on the same folders with the same weights of open_clip; its `build` over the result
files that VL Hub writes; and what its retrieval metrics take at 5,000 pictures with five texts each.
"""

import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import time
import warnings
from pathlib import Path

import _accuracy  # noqa: F401
import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from clip_benchmark import cli
from clip_benchmark.datasets.builder import build_wds_dataset
from clip_benchmark.metrics import zeroshot_classification, zeroshot_retrieval
from PIL import Image

VLHUB = os.environ["VLHUB_BIN"]
CONFIG = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8, "head_width": 32},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
CLASSES = ["blue", "green", "red", "white", "yellow", "a small black thing", "grey"]
TEMPLATES = ["a photo of a {c}.", "art of the {c}.", "a bad photo of {c}"]
checks = []


def check(name, passed):
    checks.append(passed)
    print(f"{'ok    ' if passed else 'FAILED'} {name}")


def dataset(folder, files, samples):
    """A data set in the layout of clip_benchmark_export_wds, in shards of 25."""
    (folder / "test").mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    shards = [samples[at : at + 25] for at in range(0, len(samples), 25)]
    (folder / "test/nshards.txt").write_text(str(len(shards)))
    for number, shard in enumerate(shards):
        with tarfile.open(folder / f"test/{number}.tar", "w") as tar:
            for at, sample in enumerate(shard):
                for suffix, data in sample.items():
                    member = tarfile.TarInfo(f"s{number * 25 + at:07d}.{suffix}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))


def make(root, random):
    def picture(kind):
        file = io.BytesIO()
        size = random.integers(20, 70, 2)
        Image.fromarray(random.integers(0, 255, (*size, 3), dtype=np.uint8)).save(file, kind)
        return file.getvalue()

    def array(values):
        file = io.BytesIO()
        np.save(file, values)
        return file.getvalue()

    texts = {"classnames.txt": "\n".join(CLASSES), "zeroshot_classification_templates.txt": "\n".join(TEMPLATES)}
    kinds = {"png": "PNG", "webp": "WEBP", "jpg": "JPEG"}
    suffix = lambda at: list(kinds)[at % 3]
    dataset(root / "wds_classes", texts, [{suffix(at): picture(kinds[suffix(at)]), "cls": str(int(random.integers(0, 7))).encode()} for at in range(120)])
    labels = lambda: array((random.random(7) < 0.3).astype(np.int64))
    dataset(root / "wds_several", {"dataset_type.txt": "multilabel", **texts}, [{"jpg": picture("JPEG"), "npy": labels()} for _ in range(90)])
    captions = lambda at: "\n".join(f"a {CLASSES[int(random.integers(0, 7))]}, number {at}.{k}" for k in range(int(random.integers(1, 7))))
    dataset(root / "wds_captions", {"dataset_type.txt": "retrieval"}, [{"png": picture("PNG"), "txt": captions(at).encode()} for at in range(80)])


class Batches:
    """What CLIP_benchmark's command line makes of a WebDataset."""

    def __init__(self, folder, transform):
        self.dataset = build_wds_dataset("x", transform, "test", str(folder))

    def __iter__(self):
        return iter(torch.utils.data.DataLoader(self.dataset.batched(64), batch_size=None, shuffle=False))


def compare(root):
    (root / "tiny.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(root / "tiny.json")
    model, _, transform = open_clip.create_model_and_transforms("tiny")
    state = model.state_dict()
    for value in state.values():
        if value.is_floating_point() and value.ndim:
            value.add_(torch.randn_like(value) * 0.05)
    torch.save(state, root / "tiny.pt")
    model.eval()
    tokenizer = open_clip.get_tokenizer("tiny")
    (root / "run.toml").write_text('name = "tiny"\nmodel = "tiny.json"\npretrained = "tiny.pt"\n')
    pattern = "out/{dataset}_{model}_{pretrained}_{language}_{task}.json"
    done = subprocess.run([VLHUB, "eval", "run.toml", "--output", pattern, "--benchmark", "sets"], cwd=root, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"vlhub eval ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    for name in ["classes", "several", "captions"]:
        batches = Batches(root / f"sets/wds_{name}", transform)
        if name == "captions":
            task, theirs = "zeroshot_retrieval", zeroshot_retrieval.evaluate(model, batches, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
        else:
            data, task = batches.dataset, "zeroshot_classification"
            theirs = zeroshot_classification.evaluate(model, batches, tokenizer, data.classes, data.templates, "cpu", amp=False)
        ours = json.loads((root / f"out/{name}_tiny_tiny.pt_en_{task}.json").read_text())["metrics"]
        for metric, value in theirs.items():
            check(f"{name}: {metric} {ours[metric]:.6f}, CLIP_benchmark's {value:.6f}", abs(ours[metric] - value) < 1e-6)
    files = sorted(str(file) for file in (root / "out").glob("*.json"))
    sys.argv = ["clip_benchmark", "build", *files, "--output", str(root / "benchmark.csv")]
    cli.main()
    rows = (root / "benchmark.csv").read_text().splitlines()
    check("clip_benchmark build reads the result files", len(rows) == 4 and "mean_average_precision" in rows[0] and "acc1" in rows[0])


def speed(pictures=5000, texts=5, width=512):
    """CLIP_benchmark's two passes over the scores for one K; `cargo run --release --example ranks -p vlhub-plugin-retrieval` is what to hold it against."""
    text = torch.randn(pictures * texts, width)
    owner = torch.arange(pictures).repeat_interleave(texts)
    image = F.normalize(2 * torch.randn(pictures, width) + text[::texts], dim=-1)
    text = F.normalize(text, dim=-1)
    start = time.time()
    scores = text @ image.t()
    positive = torch.zeros_like(scores, dtype=torch.bool)
    positive[torch.arange(len(scores)), owner] = True
    for x, y in [(scores, positive), (scores.T, positive.T)]:
        zeroshot_retrieval.batchify(zeroshot_retrieval.recall_at_k, x, y, 64, "cpu", k=5)
    print(f"       CLIP_benchmark: R@5 both ways of {pictures} pictures and {pictures * texts} texts in {time.time() - start:.1f} s")


def main():
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make(root / "sets", np.random.default_rng(0))
        compare(root)
    speed()
    sys.exit(0 if all(checks) else 1)


if __name__ == "__main__":
    main()
