"""Evaluation numbers of VL Hub against CLIP_benchmark's and open_clip's, for one open_clip-initialised ViT on generated data sets in the layouts
that are published: top-1, top-5, mean per-class recall, retrieval recalls and ranks are the same numbers, the linear probe has scikit-learn's
accuracy. Data sets are read by CLIP_benchmark's own classes (torchvision's among them) and by our presets. Exit status 1 names what differs.

Ties are the one difference on purpose: of equal scores our lower index comes first, where `topk` leaves the order open; the generated pictures
are all different, so that there is none.
"""

import csv
import inspect
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections import Counter
from pathlib import Path

import _accuracy  # noqa: F401
import datasets
import numpy
import open_clip
import scipy.io
import torch
import torchvision
from clip_benchmark.datasets import builder, imagenetv2
from clip_benchmark.datasets.builder import build_dataset, get_dataset_collate_fn, get_dataset_default_task
from clip_benchmark.metrics import image_caption_selection, zeroshot_classification, zeroshot_retrieval
from open_clip_train.train import get_clip_metrics
from PIL import Image
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression

VLHUB = os.environ.get("VLHUB_BIN", "target/debug/vlhub")
MODEL = "tiny-eval"
CONFIG = {
    "embed_dim": 64,
    "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
generator = numpy.random.default_rng(0)
# Flowers102 looks at the digests of the published files, which generated ones do not have.
torchvision.datasets.Flowers102._check_integrity = lambda self: True


def picture(path, hue=None):
    """A picture of noise around a colour, of its own size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = (int(side) for side in generator.integers(60, 120, 2))
    colour = generator.integers(0, 256, 3) if hue is None else numpy.array([(hue * 73) % 256, (hue * 131) % 256, (hue * 29) % 256])
    pixels = numpy.clip(generator.normal(0, 60, (height, width, 3)) + colour, 0, 255).astype("uint8")
    Image.fromarray(pixels).save(path, quality=95)
    return path


def food101(root):
    base, listed = root / "food-101", {}
    for number, name in enumerate(["apple_pie", "beef_tartare", "cheese_plate", "french_fries", "ice_cream", "pho", "sushi"]):
        listed[name] = [f"{name}/{1000 * number + at}" for at in range(4)]
        for key in listed[name]:
            picture(base / f"images/{key}.jpg")
    (base / "meta").mkdir()
    (base / "meta/test.json").write_text(json.dumps(listed))
    (base / "meta/test.txt").write_text("".join(f"{key}\n" for keys in listed.values() for key in keys))
    for name in ["classes", "labels"]:
        (base / f"meta/{name}.txt").write_text("".join(f"{name}\n" for name in listed))


def aircraft(root):
    base = root / "fgvc-aircraft-2013b/data"
    variants = ["707-320", "A310", "Cessna 172", "DC-9-30", "F-16A/B", "Spitfire"]
    lines = []
    for number in range(18):
        picture(base / f"images/{1000 + number}.jpg", number % 6)
        lines.append(f"{1000 + number} {variants[number % 6]}\n")
    (base / "variants.txt").write_text("".join(f"{name}\n" for name in variants))
    (base / "images_variant_test.txt").write_text("".join(lines))


def cars(root):
    base = root / "stanford_cars"
    names = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "Audi TT Hatchback 2011", "BMW M3 Coupe 2012", "Volvo 240 Sedan 1993", "smart fortwo Convertible 2012"]
    rows = []
    for number in range(18):
        picture(base / f"cars_test/{number + 1:05}.jpg", number % 6)
        rows.append((1, 2, 3, 4, number % 6 + 1, f"{number + 1:05}.jpg"))
    fields = ["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]
    annotations = numpy.array(rows, dtype=[(name, object) for name in fields])
    scipy.io.savemat(base / "cars_test_annos_withlabels.mat", {"annotations": annotations})
    (base / "devkit").mkdir()
    scipy.io.savemat(base / "devkit/cars_meta.mat", {"class_names": numpy.array(names, dtype=object)})


def flowers(root):
    base = root / "flowers-102"
    for number in range(204):
        picture(base / f"jpg/image_{number + 1:05}.jpg", number % 102)
    scipy.io.savemat(base / "imagelabels.mat", {"labels": numpy.arange(204)[None] % 102 + 1})
    scipy.io.savemat(base / "setid.mat", {"trnid": numpy.array([[1, 2]]), "valid": numpy.array([[3, 4]]), "tstid": numpy.arange(5, 205)[None]})


def folders(root, wnids, each):
    for number, wnid in enumerate(wnids):
        for at in range(each):
            picture(root / wnid / f"{wnid}_{at}.jpg", number)


def wnids(name):
    text = inspect.getsource(builder.build_dataset)
    start = text.index(f"imagenet_{name}_wnids = ")
    return sorted(eval(text[start + len(f"imagenet_{name}_wnids = ") : text.index("\n", start)]))


def captions_of(number):
    words = ["red", "green", "blue", "small", "large", "old", "new", "round", "flat", "bright"]
    return [f"a {words[(number + at) % 10]} thing that has number {number} in row {at}" for at in range(5)]


def flickr(name):
    def make(root):
        lines = ["image,caption\n"]
        for number in range(40):
            picture(root / f"{number:07}.jpg")
            lines += [f"{number:07}.jpg,{caption}\n" for caption in captions_of(number)]
        (root / f"{name}_test_karpathy.txt").write_text("".join(lines))

    return make


def wds(root):
    base, names = root / "test", ["first thing", "second thing", "third thing", "fourth thing", "fifth thing", "sixth thing"]
    base.mkdir(parents=True)
    (root / "classnames.txt").write_text("\n".join(names))
    (root / "zeroshot_classification_templates.txt").write_text("a photo of {c}.\na bad picture of the {c}.")
    (base / "nshards.txt").write_text("2")
    for shard in range(2):
        with tarfile.open(base / f"{shard}.tar", "w") as tar:
            for number in range(15):
                key, label = f"s{shard * 15 + number:07}", number % 6
                path = picture(root / "pictures" / f"{key}.jpg", label)
                (root / "pictures" / f"{key}.cls").write_text(str(label))
                for suffix in ["cls", "jpg"]:
                    tar.add(root / "pictures" / f"{key}.{suffix}", f"{key}.{suffix}")


def sketch(root):
    folders(root, sorted(builder.all_imagenet_wordnet_ids), 1)


def v2(root):
    for number in range(1000):
        picture(root / f"ImageNetV2-matched-frequency/{number}/{number}.jpeg", number)


def coco(root):
    images, annotations = [], []
    for number in range(40):
        name = f"COCO_val2014_{number:012}.jpg"
        picture(root / "val2014" / name)
        images.append({"id": 1000 + number, "file_name": name})
        annotations += [{"image_id": 1000 + number, "id": 5 * number + at, "caption": text} for at, text in enumerate(captions_of(number))]
    (root / "coco_test_karpathy.json").write_text(json.dumps({"images": images, "annotations": annotations}))


def sugarcrepe(root):
    items = {}
    for number in range(60):
        picture(root / "val2017" / f"{number:012}.jpg")
        right, wrong = captions_of(number)[:2]
        items[str(3 * number)] = {"filename": f"{number:012}.jpg", "caption": right, "negative_caption": wrong}
    (root / "swap_att.json").write_text(json.dumps(items))


def winoground(root):
    lines = []
    for number in range(60):
        for at in range(2):
            picture(root / "images" / f"ex_{number}_img_{at}.png")
        captions = captions_of(number)
        lines.append(
            {"id": number, "image_0": f"ex_{number}_img_0", "image_1": f"ex_{number}_img_1", "caption_0": captions[0], "caption_1": captions[1], "collapsed_tag": "Object"}
        )
    (root / "examples.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def from_the_hub(_, cache_dir):
    """Winoground's rows as `datasets` gives them, of the generated folder."""
    rows = [json.loads(line) for line in (Path(cache_dir) / "examples.jsonl").read_text().splitlines()]
    for row in rows:
        row |= {key: Image.open(Path(cache_dir) / f"images/{row[key]}.png") for key in ["image_0", "image_1"]}
    return {"test": rows}


# It counts the published pictures, and there are 10,000.
imagenetv2.V2_DATASET_SIZE = 1000
datasets.load_dataset = from_the_hub

# Ours, CLIP_benchmark's name, how the folder is made, and the table of the run file beside `path`.
SETS = [
    ("food101", "food101", food101, ""),
    ("fgvc_aircraft", "fgvc_aircraft", aircraft, ""),
    ("stanford_cars", "cars", cars, ""),
    ("flowers102", "flowers", flowers, ""),
    ("imagenet_a", "imagenet-a", lambda root: folders(root, wnids("a"), 1), ""),
    ("imagenet_r", "imagenet-r", lambda root: folders(root, wnids("r"), 1), ""),
    ("imagenet_sketch", "imagenet_sketch", sketch, ""),
    ("imagenet_v2", "imagenetv2", v2, ""),
    ("coco_captions", "mscoco_captions", coco, ', split = "test"'),
    ("sugarcrepe", "sugar_crepe/swap_att", sugarcrepe, ""),
    ("winoground", "winoground", winoground, ""),
    ("flickr8k", "flickr8k", flickr("flickr8k"), ""),
    ("flickr30k", "flickr30k", flickr("flickr30k"), ""),
    ("wds", "wds/made", wds, ""),
]
CHOICES = {"sugarcrepe": {"accuracy": "text_acc"}, "winoground": {"text_score": "text_acc", "image_score": "image_acc", "group_score": "acc"}}
METRICS = {"top1": "acc1", "top5": "acc5", "mean_per_class_recall": "mean_per_class_recall"}
RETRIEVAL = {f"{ours}_R@{k}": f"{theirs}_retrieval_recall@{k}" for ours, theirs in [("text_to_image", "image"), ("image_to_text", "text")] for k in [1, 5, 10]}


seen = {}
run_classification = zeroshot_classification.run_classification


def noting(*arguments, **options):
    """CLIP_benchmark's scores and labels, noted on their way."""
    seen["scores"], seen["labels"] = run_classification(*arguments, **options)
    return seen["scores"], seen["labels"]


zeroshot_classification.run_classification = noting


def theirs(model, transform, tokenizer, name, root):
    task = get_dataset_default_task(name)
    data = build_dataset(name, root=str(root), transform=transform, split="test", download=False, task=task)
    retrieval = task == "zeroshot_retrieval"
    collate = get_dataset_collate_fn(name)
    if name.startswith("wds/"):
        loader = torch.utils.data.DataLoader(data.batched(16), batch_size=None, num_workers=0)
    else:
        loader = torch.utils.data.DataLoader(data, batch_size=16, num_workers=0, collate_fn=collate)
    if task == "image_caption_selection":
        return image_caption_selection.evaluate(model, loader, tokenizer, "cpu", amp=False)
    if retrieval:
        return zeroshot_retrieval.evaluate(model, loader, tokenizer, "cpu", amp=False, recall_k_list=[1, 5, 10])
    found = zeroshot_classification.evaluate(model, loader, tokenizer, data.classes, data.templates, "cpu", amp=False)
    predicted = seen["scores"].argmax(1).tolist()
    # Which class was taken for which, and how often.
    found["taken"] = Counter((data.classes[true], data.classes[taken]) for true, taken in zip(seen["labels"].tolist(), predicted))
    return found


def open_clips_ranks(model, transform, tokenizer, root):
    """open_clip's own ranks and recalls on the first caption of each picture."""
    files = sorted(root.glob("*.jpg"))
    with torch.no_grad():
        images = torch.stack([transform(Image.open(file)) for file in files])
        image, text = model.encode_image(images, normalize=True), model.encode_text(tokenizer([captions_of(at)[0] for at in range(len(files))]), normalize=True)
        return get_clip_metrics(image, text, torch.tensor(1.0))


def probe(model, transform, root):
    """scikit-learn's logistic regression on the embeddings, with our penalty: C is 1 / (l2 N)."""
    features, labels = {}, {}
    for part in ["train", "test"]:
        files = sorted((root / part).glob("*/*.jpg"))
        with torch.no_grad():
            rows = model.encode_image(torch.stack([transform(Image.open(file)) for file in files]))
        features[part], labels[part] = rows.double().numpy(), [file.parent.name for file in files]
    count = len(labels["train"])
    best = LogisticRegression(C=1 / (1e-3 * count), tol=1e-10, max_iter=10000).fit(features["train"], labels["train"])
    return best.score(features["test"], labels["test"])


def main():
    faults = []
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "configs").mkdir()
        (folder / f"configs/{MODEL}.json").write_text(json.dumps(CONFIG))
        open_clip.add_model_config(folder / "configs")
        model, _, transform = open_clip.create_model_and_transforms(MODEL)
        # Initial weights find everything alike; these do not.
        with torch.no_grad():
            for name, value in model.named_parameters():
                if "class_embedding" not in name and "positional" not in name and value.ndim > 1:
                    value.mul_(3)
        model.eval()
        tokenizer = open_clip.get_tokenizer(MODEL)
        save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / "weights.safetensors")
        run = [f'model = "{MODEL}"', 'pretrained = "weights.safetensors"']
        wanted, taken = {}, {}
        for ours, name, make, extra in SETS:
            root = folder / ours
            root.mkdir()
            make(root)
            if ours == "wds":
                run.append('eval.wds = { use = "zeroshot", templates = "data", data = { use = "clip_benchmark", path = "wds" } }')
            elif ours == "coco_captions":
                run.append(f'eval.{ours} = {{ path = "{ours}", recall_k = [1, 5, 10]{extra} }}')
            elif "flickr" in ours:
                run.append(f'eval.{ours} = {{ path = "{ours}", recall_k = [1, 5, 10]{extra} }}')
                lines = "".join(f"{number:07}.jpg\t{captions_of(number)[0]}\n" for number in range(40))
                (root / "first.tsv").write_text("filepath\ttitle\n" + lines)
                run.append(f'eval.{ours}_first = {{ use = "retrieval", data = {{ use = "csv", path = "{ours}/first.tsv" }} }}')
                wanted[f"{ours}_first"] = {
                    name: float(value) for name, value in open_clips_ranks(model, transform, tokenizer, root).items()
                }
            else:
                run.append(f'eval.{ours} = {{ path = "{ours}"{extra} }}')
            found = theirs(model, transform, tokenizer, name, root)
            names = CHOICES.get(ours) or (RETRIEVAL if "flickr" in ours or ours == "coco_captions" else METRICS)
            wanted[ours] = {mine: found[other] for mine, other in names.items() if other in found}
            if "taken" in found:
                taken[ours] = found["taken"]
        for part in ["train", "test"]:
            for number in range(60 if part == "train" else 30):
                picture(folder / f"probe/{part}/class{number % 5}/{number}.jpg", None if number % 3 else number % 5)
        run.append(
            'eval.probe = { use = "linear_probe", features = "embed", standardise = false, tolerance = 1e-9, l2 = [1e-3], iterations = 1000,'
            ' train = { use = "imagefolder", path = "probe/train" }, data = { use = "imagefolder", path = "probe/test" } }'
        )
        wanted["probe"] = {"top1": probe(model, transform, folder / "probe")}
        (folder / "run.toml").write_text("\n".join(run) + "\n")
        command = [str(Path(VLHUB).resolve()), "eval", "run.toml", "--json", "--model-configs", "configs", "--no-classifier-cache", "--out", "measured"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        results = {result["name"]: result for result in json.loads(done.stdout)["results"]}
        compared = 0
        for suite, metrics in wanted.items():
            report = results[suite]["report"]
            if report is None:
                faults.append(f"{suite}: {results[suite]['why_not']}")
                continue
            ours = {metric["name"]: metric["value"] for metric in report["metrics"]}
            for name, value in metrics.items():
                compared += 1
                # Theirs are sums of float32.
                same = name in ours and abs(ours[name] - value) < 2e-7 * max(1, abs(value))
                if not same:
                    faults.append(f"{suite} {name}: ours {ours.get(name)}, theirs {value}")
            print(f"{suite}: {report['samples']} samples, {', '.join(f'{name} {value:.4f}' for name, value in metrics.items())}", flush=True)
        for suite, pairs in taken.items():
            with open(folder / f"measured/per_sample/{suite}.csv", newline="") as file:
                ours = Counter((row["class"], row["predicted"]) for row in csv.DictReader(file))
            kinds = len({predicted for _, predicted in pairs})
            print(f"{suite}: {kinds} classes predicted", flush=True)
            if ours != pairs or kinds < 2:
                faults.append(f"{suite}: {kinds} classes predicted; ours not theirs: {ours - pairs}, theirs not ours: {pairs - ours}")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{compared} numbers of {len(wanted)} suites are the same")


main()
