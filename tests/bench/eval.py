"""Evaluation on the same weights, classes and pictures against open_clip and CLIP_benchmark, in turns; equality of the results first.

  classifier   1000 classes of ImageNet x 80 templates, text tower of ViT-B-32. open_clip encodes a share of the classes, ten at a time as it
               always does, so its time for all of them is a multiple: its cost per class does not depend on how many there are
  embed        a folder of 500x375 JPEG, against a plain script with a DataLoader
  zeroshot     `vlhub eval --benchmark` against CLIP_benchmark's own evaluation of the same shards: 10 classes x 80 templates, 500 pictures

Of the first two, ours is the time that the part took; of the last, that of the whole process, its start included. The peers' is taken after their
imports and after their weights are loaded. The first round is also the one in which both sides are compared.

    cargo vlhub bench --peers eval                            # half an hour
"""

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "peers/eval"))
import _accuracy  # noqa: F401
import numpy
import open_clip
import torch
from clip_benchmark.datasets.builder import build_wds_dataset
from clip_benchmark.metrics import zeroshot_classification
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset

from _inputs import photograph, shard
from _program import vlhub
from _results import Comparison, comparisons, in_seconds, report
from _rounds import in_turns, rounds, spread, wanted

MODEL, ROUNDS, WORKERS, BATCH, PICTURES = "ViT-B-32", rounds(3), 2, 64, 500
CLASSES, TEMPLATES = open_clip.IMAGENET_CLASSNAMES, open_clip.OPENAI_IMAGENET_TEMPLATES
# Of the 1000 classes, those that open_clip encodes; ours encodes all.
SHARE = CLASSES[::50]
FEW = CLASSES[::100]
BOUND = 1e-5


class Folder(Dataset):
    def __init__(self, files, transform):
        self.files, self.transform = files, transform

    def __len__(self):
        return len(self.files)

    def __getitem__(self, at):
        return self.transform(Image.open(self.files[at]))


class Batches:
    """What CLIP_benchmark's command line makes of a WebDataset."""

    def __init__(self, folder, transform):
        self.dataset = build_wds_dataset("things", transform, "test", str(folder))

    def __iter__(self):
        return iter(DataLoader(self.dataset.batched(BATCH), batch_size=None, shuffle=False, num_workers=WORKERS))


class Setting:
    """A folder with weights, pictures and the same pictures in CLIP_benchmark's layout; and open_clip's model."""

    def __init__(self, folder):
        self.folder = folder
        torch.manual_seed(0)
        self.model, _, self.transform = open_clip.create_model_and_transforms(MODEL)
        self.model.eval()
        self.tokenizer = open_clip.get_tokenizer(MODEL)
        save_file({name: value.contiguous() for name, value in self.model.state_dict().items()}, folder / "weights.safetensors")
        (folder / "names.txt").write_text("\n".join(CLASSES) + "\n")
        (folder / "run.toml").write_text(f'name = "run"\nmodel = "{MODEL}"\npretrained = "weights.safetensors"\n')
        photos, data = folder / "photos", folder / "wds_things"
        photos.mkdir()
        (data / "test").mkdir(parents=True)
        generator, samples = numpy.random.default_rng(0), []
        self.files = [photos / f"{number:05}.jpg" for number in range(PICTURES)]
        for number, file in enumerate(self.files):
            file.write_bytes(photograph(generator, 500, 375))
            samples.append((f"s{number:07}", {"jpg": file.read_bytes(), "cls": str(number % len(FEW)).encode()}))
        (data / "classnames.txt").write_text("\n".join(FEW))
        (data / "zeroshot_classification_templates.txt").write_text("\n".join(template("{c}") for template in TEMPLATES))
        # A shard for each of the workers.
        (data / "test/nshards.txt").write_text(str(WORKERS))
        for worker in range(WORKERS):
            shard(data / f"test/{worker}.tar", samples[worker::WORKERS])

    def embed(self, part, *arguments):
        """The seconds of a part of `vlhub embed`, and what it wrote."""
        named = ["--model", MODEL, "--checkpoint", "weights.safetensors", "--out", "out.safetensors", "--json"]
        told = json.loads(vlhub(self.folder, "embed", *named, *arguments).output)
        return told["seconds"][part], load_file(self.folder / "out.safetensors")


def timed(work):
    begin = time.perf_counter()
    with torch.no_grad():
        found = work()
    return time.perf_counter() - begin, found


def classifier(setting):
    def ours():
        seconds, out = setting.embed("classifier", "--classes", "names.txt", "--templates", "imagenet")
        return seconds, out["classifier"][:: len(CLASSES) // len(SHARE)]

    def theirs():
        build = lambda: open_clip.build_zero_shot_classifier(setting.model, setting.tokenizer, SHARE, TEMPLATES, num_classes_per_batch=10)
        seconds, found = timed(build)
        return seconds * len(CLASSES) / len(SHARE), found.T

    return ours, theirs


def embed(setting):
    def ours():
        seconds, out = setting.embed("images", "--images", "photos", "--batch", BATCH)
        return seconds, out["image"]

    def theirs():
        loader = DataLoader(Folder(setting.files, setting.transform), batch_size=BATCH, num_workers=WORKERS)
        unit = torch.nn.functional.normalize
        return timed(lambda: torch.cat([unit(setting.model.encode_image(batch), dim=-1) for batch in loader]))

    return ours, theirs


def zeroshot(setting):
    def ours():
        ended = vlhub(setting.folder, "eval", "run.toml", "--benchmark", "wds_things", "--no-classifier-cache", "--json")
        metrics = {metric["name"]: metric["value"] for metric in json.loads(ended.output)["results"][0]["report"]["metrics"]}
        return ended.seconds, torch.tensor([metrics[name] for name in ["top1", "top5", "mean_per_class_recall"]])

    def theirs():
        batches = Batches(setting.folder / "wds_things", setting.transform)
        data, evaluate = batches.dataset, zeroshot_classification.evaluate
        seconds, found = timed(lambda: evaluate(setting.model, batches, setting.tokenizer, data.classes, data.templates, "cpu", amp=False))
        return seconds, torch.tensor([found[name] for name in ["acc1", "acc5", "mean_per_class_recall"]])

    return ours, theirs


# What makes the two functions to be measured, and whose the second is.
CASES = {
    "classifier of 1000 classes x 80 templates": (classifier, "open_clip"),
    f"embeddings of {PICTURES} pictures": (embed, "a script over open_clip"),
    f"zero-shot evaluation, {len(FEW)} classes x 80 templates, {PICTURES} pictures": (zeroshot, "CLIP_benchmark"),
}


def main():
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(Path(folder))
        for case in wanted(CASES):
            make, peer = CASES[case]
            ours, theirs = make(setting)
            # The first round also tells whether the two compute the same.
            (own, left), (other, right) = ours(), theirs()
            error = (left - right).abs().max().item()
            print(f"{case}: largest difference {error:.1e}", flush=True)
            if not error < BOUND:
                sys.exit("the two do not compute the same; nothing is measured")
            found = [{"ours": own, "theirs": other}, *in_turns({"theirs": lambda: theirs()[0], "ours": lambda: ours()[0]}, ROUNDS - 1)]
            own, other = ([each[way] for each in found] for way in ["ours", "theirs"])
            ratios = [right / left for left, right in zip(own, other)]
            print(f"  {in_seconds(own)}, {peer} {in_seconds(other)}: {spread(ratios)} times", flush=True)
            rows.append(Comparison(f"{case}, {peer}", in_seconds(own), in_seconds(other), ratios))
    about = (
        f"{MODEL}, fp32, pictures of 500x375. open_clip's classifier is measured on {len(SHARE)} of the classes and multiplied. CLIP_benchmark's time "
        "begins when it is imported and has its weights; ours is that of the whole process."
    )
    report("eval", "Evaluation, against open_clip and CLIP_benchmark", about, ["open_clip_torch", "clip-benchmark"], ROUNDS, comparisons(rows))


main()
